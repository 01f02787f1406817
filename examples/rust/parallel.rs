//! Branches that work on the same samples at the same time; the stage after them gets their results as a tuple.

use deeppipeline::{BoxError, Give, Pipeline, Stage, chain};

struct Odd;

impl Stage for Odd {
    type Input = i32;
    type Output = i32;

    fn stage_run(&mut self, x: i32) -> Result<Give<i32>, BoxError> {
        // What one branch ends is not joined, and holds up nothing.
        Ok(if x % 2 == 0 { Give::Skip } else { Give::One(x) })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let report = Pipeline::builder()
        .source(1..=5)
        .parallel((|x: i32| x * x, chain().stage(Odd).stage(|x: i32| -x)))
        .end_stage(|results: (i32, i32)| println!("{results:?}"))
        .run()?;
    let join = &report.joins[0].counts;
    println!("joined: {}, unjoined: {}", join.joined, join.unjoined);
    Ok(())
}
