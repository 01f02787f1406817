//! A detector that is replaced by another while the pipeline runs: no sample is lost, and the order is kept.

use deeppipeline::error::UpdateError;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, stage};

struct Detect {
    weights: &'static str,
    seen: u32,
}

impl Detect {
    fn new(weights: &'static str) -> Self {
        Detect { weights, seen: 0 }
    }
}

impl Stage for Detect {
    type Input = u32;
    type Output = String;

    fn setup(&mut self) -> Result<(), BoxError> {
        if self.weights == "broken" { Err("these weights cannot be read".into()) } else { Ok(()) }
    }

    fn stage_run(&mut self, frame: u32) -> Result<Give<String>, BoxError> {
        self.seen += 1;
        Ok(Give::One(format!("frame {frame}, seen by the {} one", self.weights)))
    }

    // Before the next one begins, and at the end.
    fn finish(&mut self) -> Result<Give<String>, BoxError> {
        println!("the {} one has seen {}", self.weights, self.seen);
        Ok(Give::Skip)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let detect = stage(Detect::new("small")).name("Detect");
    let pipeline = Pipeline::builder().overflow(Overflow::Block).stage(detect).start_answering()?;
    for frame in [1, 2] {
        println!("{}", pipeline.submit(frame)?.wait()?);
    }
    pipeline.replace("Detect", || Ok(Detect::new("large")))?;
    println!("{}", pipeline.submit(3)?.wait()?);
    if let Err(UpdateError::NotReplaced { cause, .. }) = pipeline.replace("Detect", || Ok(Detect::new("broken"))) {
        println!("not replaced: {cause}");
    }
    println!("{}", pipeline.submit(4)?.wait()?);
    let report = pipeline.setstop()?;
    println!("{} of 4 used", report.stages[0].counts.used);
    Ok(())
}
