use deeppipeline::{All, BoxError, Give, Pipeline, Stage, Window, stage};

fn lists_for_one_sample() {
    let _ = Pipeline::builder().stage(|x: u32| x).end_stage(stage(|_: u32| {}).intake(All));
}

fn samples_for_lists() {
    let _ = Pipeline::builder().stage(|x: u32| x).end_stage(stage(|_: Vec<u32>| {}));
}

struct Unique;

struct Last;

impl Stage for Last {
    type Input = Vec<Unique>;
    type Output = ();
    fn stage_run(&mut self, _: Vec<Unique>) -> Result<Give<()>, BoxError> {
        Ok(Give::Skip)
    }
}

fn windows_of_what_is_not_clone() {
    let _ = Pipeline::<Unique>::builder().end_stage(stage(Last).intake(Window::new(2)));
}

fn main() {}
