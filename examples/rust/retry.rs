//! A stage that is run again on a sample on which it fails, twice at most; after that the sample is skipped.

use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, retry};

/// Asks a server that answers every second time, and never about 3.
#[derive(Default)]
struct Ask {
    calls: u32,
}

impl Stage for Ask {
    type Input = u32;
    type Output = String;

    fn stage_run(&mut self, x: u32) -> Result<Give<String>, BoxError> {
        self.calls += 1;
        if x == 3 || self.calls % 2 == 1 {
            return Err("no answer".into());
        }
        Ok(Give::One(format!("answer {x}")))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let report = Pipeline::builder()
        .overflow(Overflow::Block)
        .source(1..=4)
        .stage(retry(2, Ask::default()).then_skip())
        .end_stage(|answer: String| println!("{answer}"))
        .run()?;
    println!("used: {}, failed: {}", report.stages[0].counts.used, report.stages[0].counts.failed);
    Ok(())
}
