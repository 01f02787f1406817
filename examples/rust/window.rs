//! A stage that takes windows: the last four samples, with every second one.

use deeppipeline::{Pipeline, Window, stage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let report = Pipeline::builder()
        .source(1..=9)
        .stage(stage(|last: Vec<i32>| f64::from(last.iter().sum::<i32>()) / 4.0).intake(Window::new(4).stride(2)))
        .end_stage(|mean: f64| println!("{mean}"))
        .run()?;
    // Each sample is used once, by the first list that it is in; the ninth was in none.
    let mean = &report.stages[0].counts;
    println!("{} lists used {} samples, {} skipped", mean.used, mean.used + mean.absorbed, mean.skipped);
    Ok(())
}
