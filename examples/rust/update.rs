//! A threshold that is lowered while the pipeline runs: on every worker, between two samples.

use deeppipeline::error::UpdateError;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, made_by};

struct Detect {
    threshold: u32,
}

impl Stage for Detect {
    type Input = u32;
    type Output = u32;

    fn stage_run(&mut self, score: u32) -> Result<Give<u32>, BoxError> {
        Ok(if score >= self.threshold { Give::One(score) } else { Give::Skip })
    }
}

impl Detect {
    fn set_threshold(&mut self, threshold: u32) -> Result<(), BoxError> {
        if threshold > 100 {
            return Err("a score is 100 at most".into());
        }
        self.threshold = threshold;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(made_by(|| Ok(Detect { threshold: 50 })).name("Detect").workers(2))
        .end_stage(|score: u32| println!("found one, with a score of {score}"))
        .start()?;

    for score in [10, 60, 90] {
        pipeline.put(score)?;
    }
    pipeline.update("Detect", |detect: &mut Detect| detect.set_threshold(20))?;
    for score in [10, 30, 60] {
        pipeline.put(score)?;
    }
    let refused = pipeline.update("Detect", |detect: &mut Detect| detect.set_threshold(110));
    let report = pipeline.setstop()?;
    if let Err(UpdateError::Failed { stage, cause, .. }) = refused {
        println!("refused by {stage}: {cause}");
    }
    println!("{} of {} below the threshold", report.stages[0].counts.skipped, report.stages[0].buffer.taken);
    Ok(())
}
