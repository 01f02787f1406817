//! A detector that gets more workers while the pipeline runs, and fewer later: no sample is lost, the order is kept.

use deeppipeline::error::ScaleError;
use deeppipeline::pipeline::current_worker;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, made_by};

struct Detect {
    threshold: u32,
}

impl Stage for Detect {
    type Input = u32;
    type Output = String;

    fn setup(&mut self) -> Result<(), BoxError> {
        match current_worker() {
            Some(worker) if worker.index() == 3 => Err("no memory is left for a fourth model".into()),
            _ => Ok(()),
        }
    }

    fn stage_run(&mut self, frame: u32) -> Result<Give<String>, BoxError> {
        Ok(Give::One(format!("frame {frame} by threshold {}", self.threshold)))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let detect = made_by(|| Ok(Detect { threshold: 1 })).name("Detect").workers(1).max_workers(4);
    let pipeline = Pipeline::builder().overflow(Overflow::Block).stage(detect).start_answering()?;
    println!("{}", pipeline.submit(1)?.wait()?);
    pipeline.update("Detect", |detect: &mut Detect| {
        detect.threshold = 5;
        Ok(())
    })?;
    pipeline.scale("Detect", 3)?; // those that join know the threshold
    let answers = [pipeline.submit(2)?, pipeline.submit(3)?, pipeline.submit(4)?];
    for answer in answers {
        println!("{}", answer.wait()?);
    }
    if let Err(ScaleError::Failed { cause, .. }) = pipeline.scale("Detect", 4) {
        println!("not scaled: {cause}");
    }
    pipeline.scale("Detect", 1)?;
    println!("{}", pipeline.submit(5)?.wait()?);
    let report = pipeline.setstop()?;
    let detect = &report.stages[0];
    println!("{} of 5 used, by {} of {} workers", detect.counts.used, detect.workers, detect.max_workers);
    Ok(())
}
