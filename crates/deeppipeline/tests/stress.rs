//! Many threads, random stops: whatever happens, everything ends and every sample has one fate.

use deeppipeline::error::PutError;
use deeppipeline::{All, BoxError, Give, Latest, OnError, Overflow, Pipeline, Stage, stage};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

const RUNS: u64 = 1_500;
const PUTTERS: u64 = 3;
const EACH: u64 = 40;

/// Splitmix64 of a number: chance that repeats.
fn chance(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Skips, splits or fails by chance. Counts those that were set up and not torn down.
struct Moody {
    seed: u64,
    up: Arc<AtomicUsize>,
}

impl Stage for Moody {
    type Input = u64;
    type Output = u64;

    fn setup(&mut self) -> Result<(), BoxError> {
        if chance(self.seed).is_multiple_of(50) {
            return Err("not today".into());
        }
        self.up.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn stage_run(&mut self, x: u64) -> Result<Give<u64>, BoxError> {
        match chance(self.seed ^ x) % 200 {
            0 => Err("bad mood".into()),
            1 => panic!("very bad mood"),
            2..20 => Ok(Give::Skip),
            20..40 => Ok(Give::many([x, x + 1])),
            40..60 => {
                std::thread::yield_now();
                Ok(Give::One(x))
            }
            _ => Ok(Give::One(x)),
        }
    }

    fn finish(&mut self) -> Result<Give<u64>, BoxError> {
        Ok(Give::many([0, 1, 2]))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.up.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

/// One run; what it does follows from its seed, when things happen from the machine's mood.
fn run(seed: u64) {
    let up = Arc::new(AtomicUsize::new(0));
    let moody = |index: u64| Moody { seed: chance(seed * 8 + index), up: Arc::clone(&up) };
    let on_error = |index: u64| match chance(seed * 9 + index) % 2 {
        0 => OnError::Skip,
        _ => OnError::Stop,
    };
    let moody = |index: u64| stage(moody(index)).on_error(on_error(index));
    let builder = Pipeline::builder()
        .buffer_size(1 + (chance(seed) % 3) as usize)
        .overflow(Overflow::ALL[(seed % 3) as usize])
        .stage(moody(0));
    let builder = if seed.is_multiple_of(2) { builder.stage(moody(1).intake(Latest)) } else { builder.stage(moody(1)) };
    let pipeline = builder
        .stage(stage(|list: Vec<u64>| list.len() as u64).intake(All))
        .end_stage(moody(2))
        .start_without_waiting()
        .unwrap();
    let barrier = Barrier::new(PUTTERS as usize + 2);
    std::thread::scope(|scope| {
        let (pipeline, barrier) = (&pipeline, &barrier);
        for putter in 0..PUTTERS {
            scope.spawn(move || {
                barrier.wait();
                for x in 0..EACH {
                    match pipeline.put(putter * EACH + x) {
                        Ok(_) => {}
                        Err(PutError::Closed(back) | PutError::Stage(back, _)) => {
                            return assert_eq!(back, putter * EACH + x);
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
        scope.spawn(move || {
            barrier.wait();
            for _ in 0..chance(seed * 11) % 300 {
                std::thread::yield_now();
            }
            match chance(seed * 12) % 3 {
                0 => drop(pipeline.abort()),
                1 => drop(pipeline.setstop()),
                _ => {}
            }
        });
        barrier.wait();
    });
    let report = match pipeline.setstop() {
        Ok(report) => report,
        Err(error) => error.report().clone(),
    };
    assert!(report.balances(), "seed {seed}: {report:#?}");
    assert!(report.stages.iter().all(|s| s.buffer.waiting == 0 && s.counts.in_flight == 0), "seed {seed}: {report:#?}");
    assert!(report.left_behind.is_empty(), "seed {seed}: {report:#?}");
    assert_eq!(up.load(Ordering::SeqCst), 0, "seed {seed}: set up and not torn down");
}

#[test]
fn random_stops_under_load() {
    // Thousands of panics are part of it; what they say is of no use to anyone.
    std::panic::set_hook(Box::new(|info| {
        if info.payload_as_str() != Some("very bad mood") {
            eprintln!("{info}");
        }
    }));
    (0..RUNS).for_each(run);
}
