//! What a stage still holds when the stream ends, it gives out in `finish`.

use deeppipeline::{BoxError, Give, Pipeline, Stage};

/// Adds up two samples at a time.
#[derive(Default)]
struct Pairs {
    held: Option<u32>,
}

impl Stage for Pairs {
    type Input = u32;
    type Output = u32;

    fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
        Ok(match self.held.take() {
            Some(held) => Give::One(held + x),
            None => {
                self.held = Some(x);
                Give::Skip
            }
        })
    }

    fn finish(&mut self) -> Result<Give<u32>, BoxError> {
        Ok(self.held.take().map_or(Give::Skip, Give::One))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Pipeline::builder().source(1..=5).stage(Pairs::default()).end_stage(|x: u32| println!("{x}")).run()?;
    Ok(())
}
