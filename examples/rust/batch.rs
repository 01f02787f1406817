//! A stage that takes batches, up to three samples at once or what there is when the first has waited 10 ms, and gives a
//! result for each; and one that folds a batch into one result.

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
        frames.iter().map(|frame| format!("frame {frame}, in a batch of {}", frames.len())).collect::<Vec<_>>()
    };
    let pipeline = Pipeline::builder()
        .buffer_size(4)
        .overflow(Overflow::Block)
        .stage(stage(detect).intake(Batch::new(3).max_wait(Duration::from_millis(10))))
        .end_stage(|detected: String| println!("{detected}"))
        .start()?;
    pipeline.put(1)?;
    is_busy.recv()?; // no second sample came in time
    for x in 2..=5 {
        pipeline.put(x)?;
    }
    drop(go_on);
    println!("{} of 5 frames have a result", pipeline.setstop()?.stages[0].counts.used);

    let sum = |frames: Vec<u32>| frames.iter().sum::<u32>();
    let report = Pipeline::builder()
        .source(1..=6)
        .buffer_size(4)
        .stage(stage(sum).intake(Batch::new(3).max_wait(Duration::from_secs(3600)).fold()))
        .end_stage(|sum: u32| println!("a batch folded into {sum}"))
        .run()?;
    let counts = &report.stages[0].counts;
    println!("{} results from {} frames", counts.used, counts.used + counts.absorbed);
    Ok(())
}
