//! Puts per second into a full buffer that drops the oldest, in front of a stage that does not come back.

mod support;

use deeppipeline::Pipeline;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Instant;
use support::compare;

const PUTS: u64 = 3_000_000;

fn million_per_second(start: Instant) -> f64 {
    PUTS as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn pipeline() -> f64 {
    let (release, stuck) = channel::<()>();
    let pipeline = Pipeline::builder()
        .buffer_size(16)
        .end_stage(move |x: u64| {
            black_box(x);
            let _ = stuck.recv();
        })
        .start()
        .expect("starts");
    let start = Instant::now();
    for x in 0..PUTS {
        pipeline.put(x).expect("runs");
    }
    let result = million_per_second(start);
    drop(release);
    let report = pipeline.setstop().expect("runs");
    assert!(report.balances() && report.dropped() > PUTS - 100);
    result
}

/// The least that could be done: box, lock, push, pop, free. Nothing is counted and nobody could be waiting.
fn bare_queue() -> f64 {
    let queue = Mutex::new(VecDeque::<Box<u64>>::new());
    let start = Instant::now();
    for x in 0..PUTS {
        let mut queue = queue.lock().expect("not poisoned");
        let oldest = if queue.len() >= 16 { queue.pop_front() } else { None };
        queue.push_back(Box::new(x));
        drop(queue);
        black_box(oldest);
    }
    million_per_second(start)
}

fn main() {
    compare(
        "puts that drop the oldest, 16 boxed values",
        "M puts/s",
        &[("pipeline", &pipeline), ("bare Mutex<VecDeque>", &bare_queue)],
    );
}
