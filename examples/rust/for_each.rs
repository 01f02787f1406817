//! A frame with several people: their crops are classified in one batch across frames, and come back to their frames.

use deeppipeline::error::NoAnswer;
use deeppipeline::{Batch, OnError, Pipeline, chain, stage};
use std::sync::mpsc::channel;
use std::time::Duration;

/// What a detector has found: the people in each frame.
const FRAMES: [&[&str]; 5] = [&["Ada", "Ben"], &[], &["Cleo", "?"], &["Dora"], &["Emil", "Fay", "Gus"]];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What is kept of a frame, and its parts.
    let crop = |frame: usize| (frame, FRAMES[frame - 1].to_vec());
    let classify = |crops: Vec<&str>| {
        println!("a batch of {}: {}", crops.len(), crops.join(", "));
        crops.iter().map(|who| who.to_uppercase()).collect::<Vec<_>>()
    };
    let known = |name: String| if name == "?" { Err("nobody knows who that is") } else { Ok(name) };
    let people = chain()
        .stage(stage(classify).intake(Batch::new(4).max_wait(Duration::from_secs(3600))))
        .stage(stage(known).on_error(OnError::Skip));

    // A part without a result stands there as its fate.
    let (shown, frames) = channel();
    let show = move |(frame, people): (usize, Vec<Result<String, NoAnswer>>)| {
        let name = |(index, person): (usize, Result<String, NoAnswer>)| {
            person.unwrap_or_else(|_| format!("no. {} is missing", index + 1))
        };
        let names: Vec<String> = people.into_iter().enumerate().map(name).collect();
        let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        shown.send(format!("frame {frame}: {names}")).expect("the main thread shows it");
    };
    let report = Pipeline::builder().source(1..=5).buffer_size(4).for_each(crop, people).end_stage(show).run()?;
    // Now, since the next batch may come before a frame is shown.
    frames.iter().for_each(|frame| println!("{frame}"));
    let counts = &report.joins[0].counts;
    println!("{} of {} people", counts.joined, counts.entered);
    Ok(())
}
