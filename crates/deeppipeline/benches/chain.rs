//! A chain of four stages that pass a boxed value on under `block`, against the same chain made by hand of channels and
//! threads: with nothing to do, and with work whose ideal time is known.

mod support;

use crossbeam_channel::bounded;
use deeppipeline::report::DEFAULT_RECORD;
use deeppipeline::{Overflow, Pipeline};
use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};
use support::{compare, median};

const STAGES: usize = 4;

/// What flows: 32 bytes, boxed by the channels here and by the engine there.
type Sample = [u64; 4];

/// What each stage does: so many rounds of arithmetic.
fn work(mut sample: Sample, rounds: u32) -> Sample {
    for _ in 0..rounds {
        sample[0] = black_box(sample[0].wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    sample
}

/// One measurement: how many samples, through buffers of which capacity, with how much work at each stage.
#[derive(Clone, Copy)]
struct Job {
    samples: u64,
    capacity: usize,
    rounds: u32,
}

impl Job {
    fn per_second(self, start: Instant) -> f64 {
        self.samples as f64 / start.elapsed().as_secs_f64()
    }

    /// The chain here, with so many samples of each stage kept for the timeline.
    fn pipeline(self, record: usize) -> f64 {
        let stage = move |sample| work(sample, self.rounds);
        let pipeline = Pipeline::builder()
            .buffer_size(self.capacity)
            .overflow(Overflow::Block)
            .record(record)
            .stage(stage)
            .stage(stage)
            .stage(stage)
            .end_stage(move |sample: Sample| {
                black_box(stage(sample));
            })
            .start()
            .expect("starts");
        let start = Instant::now();
        for number in 0..self.samples {
            pipeline.put([number; 4]).expect("runs");
        }
        pipeline.setstop().expect("runs");
        self.per_second(start)
    }

    /// The chain by hand: the same stages on threads, between channels that `open` makes.
    fn by_hand<S, R>(
        self,
        open: impl Fn(usize) -> (S, R),
        send: impl Fn(&S, Box<Sample>) + Copy + Send + 'static,
        receive: impl Fn(&R) -> Option<Box<Sample>> + Copy + Send + 'static,
    ) -> f64
    where
        S: Send + 'static,
        R: Send + 'static,
    {
        let (sender, mut receiver) = open(self.capacity);
        let mut threads = Vec::new();
        for _ in 1..STAGES {
            let (next, behind) = open(self.capacity);
            let from = std::mem::replace(&mut receiver, behind);
            threads.push(thread::spawn(move || {
                while let Some(sample) = receive(&from) {
                    send(&next, Box::new(work(*sample, self.rounds)));
                }
            }));
        }
        threads.push(thread::spawn(move || {
            while let Some(sample) = receive(&receiver) {
                black_box(work(*sample, self.rounds));
            }
        }));
        let start = Instant::now();
        for number in 0..self.samples {
            send(&sender, Box::new([number; 4]));
        }
        drop(sender);
        threads.into_iter().for_each(|thread| thread.join().expect("runs"));
        self.per_second(start)
    }

    fn std(self) -> f64 {
        self.by_hand(sync_channel, |to, sample| to.send(sample).expect("open"), |from| from.recv().ok())
    }

    fn crossbeam(self) -> f64 {
        self.by_hand(bounded, |to, sample| to.send(sample).expect("open"), |from| from.recv().ok())
    }

    fn kanal(self) -> f64 {
        self.by_hand(kanal::bounded, |to, sample| to.send(sample).expect("open"), |from| from.recv().ok())
    }

    /// The most that the cores allow: the same work in one loop on each core, with nothing between the stages.
    fn ideal(self) -> f64 {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get()).min(STAGES) as u64;
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    for number in 0..self.samples / cores {
                        black_box((0..STAGES).fold([number; 4], |sample, _| work(sample, self.rounds)));
                    }
                });
            }
        });
        self.per_second(start)
    }

    fn compare(self, title: &str, with_ideal: bool) {
        let (pipeline, unrecorded, std) = (|| self.pipeline(DEFAULT_RECORD), || self.pipeline(0), || self.std());
        let (crossbeam, kanal, ideal) = (|| self.crossbeam(), || self.kanal(), || self.ideal());
        let mut rivals: Vec<(&str, &dyn Fn() -> f64)> = vec![
            ("pipeline", &pipeline),
            ("record 0", &unrecorded),
            ("std sync_channel", &std),
            ("crossbeam-channel", &crossbeam),
            ("kanal", &kanal),
        ];
        if with_ideal {
            rivals.push(("ideal", &ideal));
        }
        compare(title, "samples/s", &rivals);
    }
}

/// The rounds of arithmetic that take so long here.
fn rounds_in(duration: Duration) -> u32 {
    const ROUNDS: u32 = 100_000;
    let once = || {
        let start = Instant::now();
        black_box(work([1; 4], ROUNDS));
        start.elapsed().as_secs_f64()
    };
    (f64::from(ROUNDS) * duration.as_secs_f64() / median((0..21).map(|_| once()).collect())) as u32
}

fn main() {
    let ten = rounds_in(Duration::from_micros(10));
    Job { samples: 300_000, capacity: 16, rounds: 0 }.compare("four stages that do nothing, block, 16", false);
    Job { samples: 30_000, capacity: 16, rounds: ten }.compare("four stages of 10 µs, block, 16", true);
    Job { samples: 30_000, capacity: 2, rounds: ten }.compare("four stages of 10 µs, block, 2", true);
    Job { samples: 5_000, capacity: 16, rounds: 10 * ten }.compare("four stages of 100 µs, block, 16", true);
}
