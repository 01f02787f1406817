//! What a stage fails on is tried again: `retry(2)` twice at most; then the pipeline stops, or with `then_skip` goes on.

use deeppipeline::{BoxError, Give, Pipeline, Stage, retry, stage};

#[derive(Default)]
struct Fetch {
    tries: u32,
}

impl Stage for Fetch {
    type Input = u32;
    type Output = String;

    fn stage_run(&mut self, x: u32) -> Result<Give<String>, BoxError> {
        self.tries += 1;
        if x == 3 || (x == 2 && self.tries < 4) {
            return Err("no answer".into());
        }
        Ok(Give::One(format!("{x} after {} tries in all", self.tries)))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let report = Pipeline::builder()
        .source(1..=4)
        .stage(stage(Fetch::default()).on_error(retry(2).then_skip()))
        .end_stage(|text: String| println!("{text}"))
        .run()?;
    println!("used: {}, failed: {}", report.stages[0].counts.used, report.stages[0].counts.failed);
    Ok(())
}
