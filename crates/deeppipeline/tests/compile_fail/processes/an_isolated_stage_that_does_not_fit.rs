use deeppipeline::{BoxError, Give, Isolated, Pipeline, Stage, Window, isolated};

struct Sum;

impl Stage for Sum {
    type Input = Vec<u64>;
    type Output = u64;
    fn stage_run(&mut self, list: Vec<u64>) -> Result<Give<u64>, BoxError> {
        Ok(Give::One(list.iter().sum()))
    }
}

impl Isolated for Sum {
    const NAME: &str = "sum";
    type Settings = ();
    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Sum)
    }
}

fn fits() {
    let _ = Pipeline::<u64>::builder().end_stage(isolated::<Sum>(()).intake(Window::new(2)));
}

fn one_sample() {
    let _ = Pipeline::<u64>::builder().end_stage(isolated::<Sum>(()));
}

fn main() {}
