//! Four stages that each sleep 10 ms, against a bare loop of such sleeps: how well stages overlap.

mod support;

use deeppipeline::{Overflow, Pipeline};
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::compare;

const SAMPLES: u32 = 150;
const NAP: Duration = Duration::from_millis(10);

fn pipeline() -> f64 {
    let (told, ends) = channel();
    let nap = |x: u32| {
        sleep(NAP);
        x
    };
    Pipeline::builder()
        .source(0..=SAMPLES)
        .overflow(Overflow::Block)
        .stage(nap)
        .stage(nap)
        .stage(nap)
        .end_stage(move |x: u32| {
            sleep(NAP);
            told.send((x, Instant::now())).expect("open");
        })
        .run()
        .expect("runs");
    let ends: Vec<(u32, Instant)> = ends.iter().collect();
    assert!(ends.iter().map(|(x, _)| *x).eq(0..=SAMPLES));
    f64::from(SAMPLES) / (ends[SAMPLES as usize].1 - ends[0].1).as_secs_f64()
}

fn bare_sleep() -> f64 {
    let start = Instant::now();
    for _ in 0..SAMPLES {
        sleep(NAP);
    }
    f64::from(SAMPLES) / start.elapsed().as_secs_f64()
}

fn main() {
    compare("four stages of 10 ms", "samples/s", &[("pipeline", &pipeline), ("bare sleep loop", &bare_sleep)]);
}
