//! The name of a stage: what it says itself, what its options say, or its type's.

use deeppipeline::{BoxError, Give, Pipeline, Stage, made_by, retry, stage};

struct Named;

impl Stage for Named {
    type Input = u32;
    type Output = u32;
    fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
        Ok(Give::One(x))
    }
    fn name(&self) -> String {
        "my name".to_owned()
    }
}

fn double(x: u32) -> u32 {
    2 * x
}

#[test]
fn a_stage_has_its_own_name_also_one_that_its_worker_makes() {
    let boxed: Box<dyn Stage<Input = u32, Output = u32> + Send> = Box::new(Named);
    let pipeline = Pipeline::builder()
        .stage(Named)
        .stage(boxed)
        .stage(stage(Named).on_error(retry(1)))
        .stage(made_by(|| Ok(Named)))
        .stage(made_by(|| Ok(Named)).name("said"))
        .stage(double)
        .stage(made_by(|| Ok(double)))
        .stage(made_by(|| Ok(|x: u32| x)))
        .end_stage(|_: u32| {})
        .start()
        .unwrap();
    let report = pipeline.setstop().unwrap();
    let names: Vec<_> = report.stages.iter().map(|stage| stage.name.as_str()).collect();
    let own = ["my name", "my name 2", "my name 3", "my name 4"];
    assert_eq!(names, [&own[..], &["said", "double", "double 2", "closure", "closure 2"]].concat());
}
