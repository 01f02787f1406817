//! A pipeline in a few lines: two stages, each on its own thread, with a buffer in front of each.

use deeppipeline::{Overflow, Pipeline};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(|frame: u32| frame * frame)
        .end_stage(|found: u32| println!("found {found}"))
        .start()?;
    for frame in 1..=5 {
        pipeline.put(frame)?;
    }
    let report = pipeline.setstop()?;
    println!("{} in, {} out", report.stages[0].buffer.entered, report.stages[1].counts.used);
    Ok(())
}
