//! A stage that takes batches: up to three samples at once, or what there is when the first has waited 10 ms.

use deeppipeline::{Batch, Overflow, Pipeline, stage};
use std::sync::mpsc::channel;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (busy, is_busy) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let detect = move |frames: Vec<u32>| {
        if frames == [1] {
            busy.send(()).expect("the main thread waits for this");
            let _ = may_go_on.recv();
        }
        frames
    };
    let pipeline = Pipeline::builder()
        .buffer_size(4)
        .overflow(Overflow::Block)
        .stage(stage(detect).intake(Batch::new(3).max_wait(Duration::from_millis(10))))
        .end_stage(|frames: Vec<u32>| println!("{frames:?}"))
        .start()?;
    pipeline.put(1)?;
    is_busy.recv()?; // no second sample came in time
    for x in 2..=5 {
        pipeline.put(x)?;
    }
    drop(go_on);
    let counts = pipeline.setstop()?.stages[0].counts.clone();
    println!("{} results from {} samples", counts.used, counts.used + counts.absorbed);
    Ok(())
}
