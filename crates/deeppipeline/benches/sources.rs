//! Whether sources keep out of each other's way: the ages of samples of 61 cameras in front of one batch stage, alone and
//! beside one that is ten times too fast, one that cannot be opened and one that stalls.

use deeppipeline::builder::Restart;
use deeppipeline::{Batch, BoxError, Pipeline, Source, entrance, stage};
use std::hint::spin_loop;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CAMERAS: usize = 61;
const EVERY: Duration = Duration::from_millis(20);
const RUNS: Duration = Duration::from_secs(10);
const ROUNDS: usize = 5;
/// The work for one batch, and for each sample of it.
const WORK: (Duration, Duration) = (Duration::from_micros(100), Duration::from_micros(10));
const STALLS_AFTER: Duration = Duration::from_millis(500);

/// A camera that gives its number and the time, at its own pace, until it is closed.
struct Camera {
    number: usize,
    every: Duration,
    next: Instant,
    /// The number of frames after which it gives nothing more.
    frames: usize,
    closed: Receiver<()>,
    close: Sender<()>,
}

impl Camera {
    fn new(number: usize, every: Duration, frames: usize) -> Self {
        let (close, closed) = channel();
        // Not all at the same time.
        let next = Instant::now() + every * (number as u32) / CAMERAS as u32;
        Camera { number, every, next, frames, closed, close }
    }
}

impl Source for Camera {
    type Item = (usize, Instant);

    fn source_next(&mut self) -> Result<Option<Self::Item>, BoxError> {
        if self.frames == 0 {
            let _ = self.closed.recv();
            return Ok(None);
        }
        self.frames -= 1;
        let wait = self.next.saturating_duration_since(Instant::now());
        self.next += self.every;
        match self.closed.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => Ok(Some((self.number, Instant::now()))),
            _ => Ok(None),
        }
    }

    fn is_live(&self) -> bool {
        true
    }

    fn closer(&self) -> Option<Box<dyn Fn() + Send + Sync>> {
        let close = self.close.clone();
        Some(Box::new(move || {
            let _ = close.send(());
        }))
    }
}

fn spin(time: Duration) {
    let since = Instant::now();
    while since.elapsed() < time {
        spin_loop();
    }
}

/// The 99th percentile of the ages of what the cameras gave, in milliseconds, and Jain's index of their rates.
fn run(beside: bool) -> (f64, f64) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let end = move |batch: Vec<(usize, Instant)>| {
        let now = Instant::now();
        kept.lock().expect("not poisoned").extend(batch.iter().map(|(camera, born)| (*camera, now - *born)));
        spin(WORK.0 + WORK.1 * batch.len() as u32);
    };
    let batch = Batch::new(64).max_wait(Duration::from_millis(2)).fold();
    let mut builder = Pipeline::builder().buffer_size(64).end_stage(stage(end).intake(batch));
    for camera in 0..CAMERAS {
        builder = builder.source_at(format!("camera {camera}"), Camera::new(camera, EVERY, usize::MAX));
    }
    if beside {
        builder = builder.source_at("fast", Camera::new(CAMERAS, EVERY / 10, usize::MAX));
        let dead = Restart::new(|| Err::<Camera, _>("no such address".into())).live();
        builder = builder.source_at("dead", dead.wait(Duration::from_millis(100)).at_most(STALLS_AFTER));
        let stalling = Restart::new(|| Ok(Camera::new(CAMERAS, EVERY, 10))).live();
        builder = builder
            .source_at(entrance("stalling").stall_timeout(STALLS_AFTER), stalling.wait(Duration::from_millis(100)));
    }
    let pipeline = builder.start().expect("starts");
    std::thread::sleep(RUNS);
    let report = pipeline.setstop().expect("runs");
    assert!(report.balances());

    let seen = seen.lock().expect("not poisoned");
    let of_cameras = || seen.iter().filter(|(camera, _)| *camera < CAMERAS);
    let mut ages: Vec<f64> = of_cameras().map(|(_, age)| age.as_secs_f64() * 1e3).collect();
    ages.sort_by(f64::total_cmp);
    let mut rates = [0_f64; CAMERAS];
    of_cameras().for_each(|(camera, _)| rates[*camera] += 1.0);
    let (sum, squares) = (rates.iter().sum::<f64>(), rates.iter().map(|rate| rate * rate).sum::<f64>());
    (ages[(ages.len() - 1) * 99 / 100], sum * sum / (CAMERAS as f64 * squares))
}

fn main() {
    println!(
        "{CAMERAS} cameras, alone and beside three that misbehave: p99 of the ages [ms], Jain's index of the rates"
    );
    let mut moved = Vec::new();
    for _ in 0..ROUNDS {
        let ((alone, fair_alone), (beside, fair)) = (run(false), run(true));
        println!("  {alone:.3} {fair_alone:.4}   {beside:.3} {fair:.4}");
        moved.push(100.0 * (beside / alone - 1.0));
    }
    moved.sort_by(f64::total_cmp);
    println!("  the p99 moves by {:.1} %, in the median of {ROUNDS} rounds", moved[ROUNDS / 2]);
}
