use deeppipeline::{Pipeline, retry, stage};

struct Unique(u32);

fn main() {
    let _ = Pipeline::builder().stage(stage(|x: Unique| x.0).on_error(retry(2))).end_stage(|_: u32| {});
}
