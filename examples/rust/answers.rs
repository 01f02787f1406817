//! The answer to each sample, for whoever submits it: what the last stage gave for it, or the sample's fate.

use deeppipeline::error::NoAnswer;
use deeppipeline::{BoxError, Give, OnError, Overflow, Pipeline, stage};

/// Gives each word of a text; a text of one word gives that alone.
fn words(text: &str) -> Result<Give<String>, BoxError> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    match words.len() {
        0 => Ok(Give::Skip),
        1 => Ok(Give::One(text.to_owned())),
        _ if text.contains('?') => Err("questions are not answered".into()),
        _ => Ok(Give::many(words)),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(words).name("words").on_error(OnError::Skip))
        .stage(|word: String| word.to_uppercase())
        .start_answering()?;

    println!("{}", pipeline.submit("hello")?.wait()?);
    println!("{}", pipeline.submit("so long")?.all().wait()?.join(" "));
    for text in ["", "who are you?"] {
        match pipeline.submit(text)?.wait() {
            Err(NoAnswer::Skipped { stage, .. }) => println!("skipped by {stage}"),
            Err(NoAnswer::Failed(failure)) => println!("{} failed: {}", failure.stage(), failure.cause()),
            other => println!("{other:?}"),
        }
    }
    let report = pipeline.setstop()?;
    println!("{} of 4 samples were used", report.stages[0].counts.used);

    // Or all results in order, while others put.
    let (pipeline, mut results) = Pipeline::builder().stage(|x: u32| x * x).results()?;
    for x in 1..=3 {
        pipeline.put(x)?;
        if let Some(square) = results.next() {
            println!("{square}");
        }
    }
    drop(results);
    pipeline.setstop()?;
    Ok(())
}
