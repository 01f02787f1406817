//! What the last stage gives, asked for one by one: the source waits for whoever asks.

use deeppipeline::Pipeline;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut squares = Pipeline::builder().source(1..=5).stage(|x: u32| x * x).stream()?;
    for square in &mut squares {
        println!("{}", square?);
    }
    let report = squares.report();
    println!("{}: {} samples", report.outcome, report.stages[0].counts.used);
    Ok(())
}
