//! A stage that takes the newest sample: what waited in front of it is counted as superseded.

use deeppipeline::{Latest, Pipeline, stage};
use std::sync::mpsc::channel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (busy, is_busy) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let detect = move |x: u32| {
        if x == 1 {
            busy.send(()).expect("the main thread waits for this");
            let _ = may_go_on.recv();
        }
        x
    };
    let pipeline = Pipeline::builder()
        .buffer_size(4)
        .stage(stage(detect).intake(Latest))
        .end_stage(|x: u32| println!("{x}"))
        .start()?;
    pipeline.put(1)?;
    is_busy.recv()?;
    for x in 2..=5 {
        pipeline.put(x)?;
    }
    drop(go_on);
    let report = pipeline.setstop()?;
    println!("superseded: {}", report.stages[0].buffer.superseded);
    Ok(())
}
