//! One hop from this process into another: `process_hop thru|paced BYTES SAMPLES PERIOD_US`, or without arguments what
//! the benchmark page shows. Beside it, one copy of as many bytes with cold caches. Rivals: `benchmarks/processes.py`.

use deeppipeline::processes::{SharedBytes, Transfer};
use deeppipeline::{BoxError, Give, Isolated, Overflow, Pipeline, Stage, current_sample, isolated};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that are written where they are sent from, and read where they arrive.
enum Message {
    Sent(Arc<Vec<u8>>),
    Received(SharedBytes),
}

impl Transfer for Message {
    fn size(&self) -> Result<usize, BoxError> {
        Ok(self.bytes().len())
    }

    fn write(&self, room: &mut [u8]) -> Result<(), BoxError> {
        room.copy_from_slice(self.bytes());
        Ok(())
    }

    fn read(bytes: SharedBytes) -> Result<Self, BoxError> {
        Ok(Message::Received(bytes))
    }
}

impl Message {
    fn bytes(&self) -> &[u8] {
        match self {
            Message::Sent(bytes) => bytes,
            Message::Received(bytes) => bytes,
        }
    }
}

/// Counts what arrives, and says at the end how long it took.
struct Sink {
    first: Option<Instant>,
    latencies: Vec<f64>,
}

impl Stage for Sink {
    type Input = Message;
    type Output = ();

    fn stage_run(&mut self, message: Message) -> Result<Give<()>, BoxError> {
        std::hint::black_box(message.bytes()[0]);
        let birth = current_sample().ok_or("no sample")?.birth();
        self.first.get_or_insert_with(Instant::now);
        self.latencies.push(birth.elapsed().as_secs_f64() * 1e6);
        Ok(Give::Skip)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        let elapsed = self.first.map_or(0.0, |first| first.elapsed().as_secs_f64());
        let rate = self.latencies.len() as f64 / elapsed;
        // The first samples find cold slots, as in `hop.py`.
        let warm = &mut self.latencies[self.latencies.len() / 20..].to_vec();
        warm.sort_by(f64::total_cmp);
        let quantile = |q: f64| warm[((warm.len() - 1) as f64 * q) as usize];
        println!("p50 {:.1} us  p99 {:.1} us  {rate:.0} samples/s", quantile(0.5), quantile(0.99));
        Ok(())
    }
}

impl Isolated for Sink {
    const NAME: &str = "sink";
    type Settings = ();

    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Sink { first: None, latencies: Vec::new() })
    }
}

fn hop(mode: &str, bytes: usize, samples: usize, period: Duration) -> Result<(), BoxError> {
    let pipeline =
        Pipeline::builder().buffer_size(16).overflow(Overflow::Block).end_stage(isolated::<Sink>(())).start()?;
    let message = Arc::new(vec![7; bytes]);
    let begin = Instant::now();
    for index in 0..samples {
        if mode == "paced" {
            std::thread::sleep((begin + period * index as u32).saturating_duration_since(Instant::now()));
        }
        pipeline.put(Message::Sent(Arc::clone(&message)))?;
    }
    pipeline.setstop()?;
    Ok(())
}

/// The median of copies between buffers that are far larger than the caches, in microseconds.
fn cold_copy(bytes: usize) -> f64 {
    const BUFFERS: usize = 40;
    let source: Vec<Vec<u8>> = (0..BUFFERS).map(|_| vec![7; bytes]).collect();
    let mut target: Vec<Vec<u8>> = (0..BUFFERS).map(|_| vec![1; bytes]).collect();
    let mut times: Vec<f64> = source
        .iter()
        .zip(&mut target)
        .map(|(from, to)| {
            let begin = Instant::now();
            to.copy_from_slice(std::hint::black_box(from));
            begin.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[BUFFERS / 2]
}

fn main() -> Result<(), BoxError> {
    deeppipeline::worker().stage::<Sink>().run();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments[..] {
        [mode, bytes] if mode == "copy" => println!("p50 {:.1} us", cold_copy(bytes.parse()?)),
        [mode, bytes, samples, period] => {
            hop(mode, bytes.parse()?, samples.parse()?, Duration::from_micros(period.parse()?))?;
        }
        _ => {
            println!("cold copy of 6.2 MB: p50 {:.1} us", cold_copy(1920 * 1080 * 3));
            for (mode, bytes, samples, period) in [
                ("thru", 1920 * 1080 * 3, 3000, 0),
                ("paced", 1920 * 1080 * 3, 200, 20_000),
                ("thru", 1024, 300_000, 0),
            ] {
                print!("{mode} {bytes} bytes: ");
                hop(mode, bytes, samples, Duration::from_micros(period))?;
            }
        }
    }
    Ok(())
}
