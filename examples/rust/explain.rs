//! Which stage limits, and what would another worker give? The report explains it, of a pipeline that runs or, as here, of a
//! simulated one; and the same with another worker tells whether it was right.

use deeppipeline::report::Explanation;
use deeppipeline::{Pipeline, made_by, stage};
use std::time::Duration;

fn explain(workers: usize) -> Result<Explanation, Box<dyn std::error::Error>> {
    let detect = made_by(|| Ok(|frame: u32| frame)).workers(workers);
    let mut simulation =
        Pipeline::builder().stage(detect.name("detect")).end_stage(stage(|_: u32| {}).name("show")).simulate()?;
    for frame in 0..300 {
        simulation.put_at(Duration::from_millis(25 * u64::from(frame)), frame);
    }
    simulation.takes("detect", Duration::from_millis(40))?.takes("show", Duration::from_millis(15))?;
    Ok(simulation.run()?.explain())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for workers in [1, 2] {
        println!("{}", explain(workers)?);
    }
    Ok(())
}
