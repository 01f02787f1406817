//! A stage tested alone, and a pipeline on a virtual clock.

use deeppipeline::simulate::run_stage;
use deeppipeline::{BoxError, Give, Pipeline, Stage, stage};
use std::time::Duration;

/// Gives the mean of each two samples, and what is left at the end.
#[derive(Default)]
struct Smooth {
    last: Option<f64>,
}

impl Stage for Smooth {
    type Input = f64;
    type Output = f64;

    fn stage_run(&mut self, x: f64) -> Result<Give<f64>, BoxError> {
        let mean = self.last.map_or(x, |last| (last + x) / 2.0);
        self.last = Some(x);
        Ok(Give::One(mean))
    }

    fn finish(&mut self) -> Result<Give<f64>, BoxError> {
        Ok(self.last.map_or(Give::Skip, Give::One))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let run = run_stage(Smooth::default(), [2.0, 4.0, 8.0])?;
    println!("gave: {:?}", run.values());

    let mut simulation = Pipeline::builder()
        .stage(stage(|frame: u32| frame).name("detect"))
        .end_stage(stage(|_: u32| {}).name("show"))
        .simulate()?;
    for frame in 0..8 {
        simulation.put_at(Duration::from_millis(10 * u64::from(frame)), frame);
    }
    let report = simulation.takes("detect", Duration::from_millis(30))?.run()?;
    let dropped: Vec<u64> = report.stages[0].buffer.last_dropped.iter().map(|sample| sample.number).collect();
    println!("dropped: {dropped:?}");
    Ok(())
}
