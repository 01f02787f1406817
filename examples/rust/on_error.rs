//! What a stage's error does: `skip` counts the sample as failed and goes on, `stop` (the default) stops the pipeline.

use deeppipeline::error::RunError;
use deeppipeline::{BoxError, Give, OnError, Pipeline, Stage, stage};

struct Invert;

impl Stage for Invert {
    type Input = i32;
    type Output = i32;

    fn stage_run(&mut self, x: i32) -> Result<Give<i32>, BoxError> {
        100_i32.checked_div(x).map(Give::One).ok_or_else(|| "division by zero".into())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for on_error in [OnError::Skip, OnError::Stop] {
        let result = Pipeline::builder()
            .source([2, 0, 5].into_iter())
            .stage(stage(Invert).on_error(on_error))
            .end_stage(|x: i32| println!("{x}"))
            .run();
        match result {
            Ok(report) => println!("{}, failed: {}", report.outcome, report.stages[0].counts.failed),
            Err(RunError::Stage(error)) => {
                let sample = error.sample().map(|sample| sample.to_string()).unwrap_or_default();
                println!("{} failed on sample {sample}: {}", error.stage(), error.cause());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
