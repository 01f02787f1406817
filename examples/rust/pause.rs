//! A video that is paused while somebody looks at a picture, and of which nothing is missing.

use deeppipeline::{Overflow, Pipeline, stage};
use std::sync::mpsc::channel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (third, is_third) = channel();
    let show = move |picture: String| {
        println!("{picture}");
        if picture == "picture 3" {
            third.send(()).expect("the main thread waits for this");
        }
    };
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .buffer_size(8)
        .stage(stage(|number: u32| format!("picture {number}")).name("Read"))
        .end_stage(show)
        .start()?;

    for number in 1..=3 {
        pipeline.put(number)?;
    }
    is_third.recv()?;
    pipeline.pause();
    for number in 4..=8 {
        pipeline.put(number)?;
    }
    let read = &pipeline.report().stages[0];
    let paused = if read.paused { "is paused" } else { "goes on" };
    println!("{} {paused}: {} pictures wait", read.name, read.buffer.waiting);
    pipeline.resume();
    let report = pipeline.setstop()?;
    println!("{} pictures shown, {} dropped", report.stages[1].counts.used, report.dropped());
    Ok(())
}
