//! A stage may give many values for one sample, or none.

use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, current_sample};

struct SharedWords;

impl Stage for SharedWords {
    type Input = &'static str;
    type Output = String;

    fn stage_run(&mut self, line: &'static str) -> Result<Give<String>, BoxError> {
        Ok(match line.is_empty() {
            true => Give::Skip,
            false => Give::many(line.split(' ').map(str::to_owned)),
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(SharedWords)
        .end_stage(|word: String| {
            let sample = current_sample().map(|sample| sample.id.to_string());
            println!("sample {}: {word}", sample.unwrap_or_default());
        })
        .start()?;
    for line in ["one line", "", "and another"] {
        pipeline.put(line)?;
    }
    println!("skipped: {}", pipeline.setstop()?.stages[0].counts.skipped);
    Ok(())
}
