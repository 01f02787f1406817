//! Each sample goes one of several ways, and all come out in the order in which they came in.

use deeppipeline::builder::route_by;
use deeppipeline::{Pipeline, chain, stage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let square = stage(|x: u32| format!("{x} squared is {}", x * x)).name("square");
    let halve = stage(|x: u32| x / 2).name("halve");
    let say_half = stage(|half: u32| format!("half of {} is {half}", 2 * half)).name("say_half");

    // A way is a stage, or a chain of them; `otherwise` is for any other key.
    let ways = route_by(|x: &u32| if x.is_multiple_of(2) { "even" } else { "odd" })
        .on("odd", square)
        .on("even", chain().stage(halve).stage(say_half));
    let report = Pipeline::builder().source(1..7).route(ways).end_stage(|text: String| println!("{text}")).run()?;
    for stage in &report.stages[1..4] {
        println!("{}: {}", stage.name, stage.counts.used);
    }
    Ok(())
}
