//! Samples that come from a source, here any iterator, on a worker of its own.

use deeppipeline::Pipeline;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let report = Pipeline::builder().source(1..=5).stage(|x: u32| 10 * x).end_stage(|x: u32| println!("{x}")).run()?;
    println!("{}: {} samples", report.outcome, report.stages[0].buffer.entered);
    Ok(())
}
