//! Every sample that does not come through is told: which one, where, why, and with what error.

use deeppipeline::report::FateEvent;
use deeppipeline::{BoxError, Give, OnError, Pipeline, Stage, stage};
use std::sync::mpsc::channel;

struct Invert;

impl Stage for Invert {
    type Input = i32;
    type Output = i32;

    fn stage_run(&mut self, x: i32) -> Result<Give<i32>, BoxError> {
        match x {
            0 => Err("division by zero".into()),
            ..0 => Ok(Give::Skip),
            _ => Ok(Give::One(100 / x)),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tell, told) = channel();
    let report = Pipeline::builder()
        .source([2, 0, 5, -1].into_iter())
        .stage(stage(Invert).on_error(OnError::Skip))
        .end_stage(|x: i32| println!("{x}"))
        .on_fate(move |event: FateEvent| drop(tell.send(event)))
        .run()?;
    for event in told {
        let error = event.error.map(|error| format!(": {}", error.cause())).unwrap_or_default();
        println!("sample {} {} in {}{error}", event.sample, event.fate, event.stage);
    }
    println!("missed: {}", report.fates_missed);
    Ok(())
}
