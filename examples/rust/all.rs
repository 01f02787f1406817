//! A stage that takes lists of `buffer_size` samples; what is left at the end comes as a shorter list.

use deeppipeline::{All, Overflow, Pipeline, stage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = Pipeline::builder()
        .buffer_size(3)
        .overflow(Overflow::Block)
        .stage(stage(|list: Vec<u32>| list).intake(All))
        .end_stage(|list: Vec<u32>| println!("{list:?}"))
        .start()?;
    for x in 1..=7 {
        pipeline.put(x)?;
    }
    let counts = pipeline.setstop()?.stages[0].counts.clone();
    println!("{} results from {} samples", counts.used, counts.used + counts.absorbed);
    Ok(())
}
