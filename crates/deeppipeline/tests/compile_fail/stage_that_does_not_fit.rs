use deeppipeline::{BoxError, Give, Pipeline, Stage};

struct Show;

impl Stage for Show {
    type Input = String;
    type Output = ();
    fn stage_run(&mut self, text: String) -> Result<Give<()>, BoxError> {
        println!("{text}");
        Ok(Give::Skip)
    }
}

fn main() {
    let _ = Pipeline::builder().stage(|x: u32| x + 1).end_stage(Show);
}
