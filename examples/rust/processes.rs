//! A stage in a process of its own: where it crashes, it is started again, and the pipeline goes on.

use deeppipeline::{BoxError, Give, Isolated, Overflow, Pipeline, Stage, isolated};

struct Square;

impl Stage for Square {
    type Input = u32;
    type Output = u32;

    fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
        Ok(Give::One(x * x))
    }
}

impl Isolated for Square {
    const NAME: &str = "square";
    type Settings = ();

    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Square)
    }
}

fn main() -> Result<(), BoxError> {
    // The process of the stage is this program, started again: there it works from here on.
    deeppipeline::worker().stage::<Square>().run();

    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(isolated::<Square>(()))
        .end_stage(|x: u32| println!("{x}"))
        .start()?;
    for x in 1..=5 {
        pipeline.put(x)?;
    }
    let report = pipeline.setstop()?;
    println!("restarts: {}", report.stages[0].restarts);
    Ok(())
}
