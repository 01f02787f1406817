//! Two stages that get the same samples at the same time; the next stage gets the results of both.

use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage};

/// Reads what is written in every second frame.
struct ReadText;

impl Stage for ReadText {
    type Input = u32;
    type Output = String;

    fn stage_run(&mut self, frame: u32) -> Result<Give<String>, BoxError> {
        Ok(if frame % 2 == 0 { Give::Skip } else { Give::One(format!("text {frame}")) })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let report = Pipeline::builder()
        .overflow(Overflow::Block)
        .source(1..=5)
        .parallel(|branch| branch.stage(|frame: u32| frame * frame), |branch| branch.stage(ReadText))
        .end_stage(|(faces, text): (u32, String)| println!("{faces} faces, {text}"))
        .run()?;
    let join = &report.joins[0].counts;
    println!("{} entered, {} joined, {} unjoined", join.entered, join.joined, join.unjoined);
    Ok(())
}
