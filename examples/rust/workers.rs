//! Two workers for one stage: while one is busy with a slow sample the other goes on, and order is kept all the same.

use deeppipeline::{Overflow, Pipeline, made_by};
use std::sync::{Arc, Barrier};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let others_done = Arc::new(Barrier::new(2));
    let detect = made_by(move || {
        let others_done = Arc::clone(&others_done);
        Ok(move |x: u32| {
            if x == 1 || x == 4 {
                others_done.wait(); // the first is slow
            }
            x
        })
    });
    // With `ordered(false)` the slow sample would be the last.
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(detect.workers(2))
        .end_stage(|x: u32| println!("{x}"))
        .start()?;
    for x in 1..=5 {
        pipeline.put(x)?;
    }
    let detect = &pipeline.setstop()?.stages[0];
    println!("{} workers used {} samples", detect.workers, detect.counts.used);
    Ok(())
}
