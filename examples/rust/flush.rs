//! An agent that drops what it was about to say when it is interrupted: an exact cut.

use deeppipeline::{Pipeline, cancelled};
use std::sync::mpsc::channel;
use std::thread::yield_now;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (talk, talks) = channel();
    let speak = move |sound: String| {
        println!("says {sound}");
        if sound.contains("weather") {
            talk.send(()).expect("the main thread waits for this");
            // A long sentence.
            while !cancelled() {
                yield_now();
            }
            println!("stops talking");
        }
    };
    let pipeline = Pipeline::builder()
        .buffer_size(8)
        .stage(|sentence: &'static str| format!("\"{sentence}\""))
        .end_stage(speak)
        .start()?;

    for sentence in ["The weather today", "will be sunny", "and tomorrow", "it will rain."] {
        pipeline.put(sentence)?;
    }
    talks.recv()?;
    pipeline.flush();
    println!("and listens");
    pipeline.put("It is five o'clock.")?;
    let report = pipeline.setstop()?;
    println!("never said: {}", report.stages.iter().map(|stage| stage.buffer.flushed).sum::<u64>());
    Ok(())
}
