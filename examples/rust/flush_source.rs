//! An agent that talks to two callers: one interrupts it, and the other hears everything.

use deeppipeline::{Pipeline, cancelled, current_sample};
use std::sync::mpsc::channel;
use std::thread::yield_now;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (talk, talks) = channel();
    let speak = move |sentence: &'static str| {
        let sample = current_sample().expect("a stage runs on a sample");
        println!("to {}: {sentence}", sample.source().unwrap_or_default());
        if sentence.contains("weather") {
            talk.send(()).expect("the main thread waits for this");
            // A long sentence.
            while !cancelled() {
                yield_now();
            }
            println!("stops talking");
        }
    };
    let pipeline = Pipeline::builder().buffer_size(8).entrance("ann").entrance("bob").end_stage(speak).start()?;

    pipeline.put_into("ann", "The weather today")?;
    talks.recv()?;
    pipeline.put_into("ann", "will be sunny.")?;
    pipeline.put_into("bob", "Your bill is paid.")?;
    pipeline.flush_source("ann")?;
    pipeline.put_into("ann", "It is five o'clock.")?;
    let report = pipeline.setstop()?;
    for name in ["ann", "bob"] {
        println!("never said to {name}: {}", report.source(name).map_or(0, |source| source.counts.flushed));
    }
    Ok(())
}
