use deeppipeline::processes::OnCrash;
use deeppipeline::{Pipeline, stage};

fn main() {
    let _ = Pipeline::builder().stage(stage(|x: u32| x).on_crash(OnCrash::Retry));
}
