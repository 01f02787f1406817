//! What is older than `max_age` when its turn comes is dropped and counted as expired, in front of every stage.

use deeppipeline::{Overflow, Pipeline, stage};
use std::sync::mpsc::channel;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (go_on, may_go_on) = channel::<()>();
    let detect = move |x: u32| {
        if x == 2 {
            let _ = may_go_on.recv(); // slow
        }
        x
    };
    let pipeline = Pipeline::builder()
        .buffer_size(4)
        .overflow(Overflow::Block)
        .max_age(Duration::from_secs(1))
        .stage(stage(detect).name("Detect"))
        .end_stage(stage(|x: u32| println!("{x}")).name("Show"))
        .start()?;
    for x in 1..=3 {
        pipeline.put(x)?;
    }
    std::thread::sleep(Duration::from_millis(1100)); // the second grows old in the stage, and the third behind it
    pipeline.put(4)?;
    drop(go_on);
    for stage in pipeline.setstop()?.stages {
        println!("expired in front of {}: {}", stage.name, stage.buffer.expired);
    }
    Ok(())
}
