//! A window for each of the tracks in a frame: the stage gets every frame, and the windows that are due with it.

use deeppipeline::intake::Windows;
use deeppipeline::{Pipeline, Window, stage};

/// Where each person is.
type Frame = Vec<(&'static str, i32)>;

fn speed(seen: Windows<Frame, &'static str, i32>) -> String {
    let moved: Vec<_> = seen.iter().map(|(name, last)| format!("{name} moved {}", last[1] - last[0])).collect();
    let moved = if moved.is_empty() { "nobody seen long enough".to_owned() } else { moved.join(", ") };
    format!("{} people: {moved}", seen.sample.len())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let frames = [vec![("ann", 0), ("bob", 9)], vec![("ann", 1)], vec![("ann", 4), ("bob", 8)], vec![("bob", 7)]];
    let report = Pipeline::builder()
        .source(frames.into_iter())
        .stage(stage(speed).intake(Window::new(2).idle(30).by_keys(|frame: &Frame| frame.clone())))
        .end_stage(|line: String| println!("{line}"))
        .run()?;
    let speed = &report.stages[0].counts;
    println!("{} frames in, {} out", speed.used, speed.gave);
    Ok(())
}
