//! How much longer a flush takes than the end stage for the sample that it works on: median, p99 and the longest of many.

use deeppipeline::{Overflow, Pipeline};
use std::hint::spin_loop;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FLUSHES: usize = 2_000;
const WORK: Duration = Duration::from_micros(500);

fn spin(time: Duration) {
    let since = Instant::now();
    while since.elapsed() < time {
        spin_loop();
    }
}

fn main() {
    let ended = Arc::new(Mutex::new(Instant::now()));
    let end = Arc::clone(&ended);
    let pipeline = Pipeline::builder()
        .buffer_size(16)
        .overflow(Overflow::Block)
        .stage(|x: usize| x)
        .stage(|x: usize| x)
        .end_stage(move |_: usize| {
            spin(WORK);
            *end.lock().expect("not poisoned") = Instant::now();
        })
        .start()
        .expect("starts");

    let beyond = (0..FLUSHES).map(|round| {
        for x in 0..8 {
            pipeline.put(x).expect("runs");
        }
        // At another point of the work each time.
        spin(WORK * (round % 20) as u32 / 20);
        let begun = Instant::now();
        pipeline.flush();
        let returned = Instant::now();
        let needed = (*ended.lock().expect("not poisoned")).max(begun);
        returned.duration_since(needed).as_secs_f64() * 1e6
    });
    let mut beyond: Vec<f64> = beyond.collect();
    let report = pipeline.setstop().expect("runs");
    assert!(report.balances());

    beyond.sort_by(f64::total_cmp);
    let at = |share: usize| beyond[(FLUSHES - 1) * share / 100];
    println!("a flush, beyond the work of the end stage [µs]");
    println!("  p50 {:.1}, p99 {:.1}, longest {:.1} of {FLUSHES}", at(50), at(99), at(100));
}
