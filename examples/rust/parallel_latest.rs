//! A slow branch beside a fast one: every frame is drawn, with what the detector found last.

use deeppipeline::{Pipeline, stage};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let frames = stage(|frame: u32| frame).name("Frames");
    let detect = stage(|frame: u32| format!("what is in frame {frame}")).name("Detect");
    // `None` before the detector has found anything.
    let draw = stage(|(_frame, _found): (u32, Option<String>)| {}).name("Draw");
    let mut simulation = Pipeline::builder().parallel_latest((frames, detect)).end_stage(draw).simulate()?;

    // A camera with a frame every 10 ms, and a detector that takes 35 ms for each that it gets.
    for frame in 0..12 {
        simulation.put_at(Duration::from_millis(10 * u64::from(frame)), frame);
    }
    let report = simulation.takes("Detect", Duration::from_millis(35))?.run()?;
    for stage in &report.stages {
        println!("{}: {} used, {} dropped", stage.name, stage.counts.used, stage.buffer.dropped());
    }
    let join = &report.joins[0].counts;
    println!("{} frames drawn, with {} results of the detector", join.joined, join.renewed);
    Ok(())
}
