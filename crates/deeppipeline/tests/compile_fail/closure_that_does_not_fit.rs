use deeppipeline::Pipeline;

fn main() {
    let _ = Pipeline::builder().stage(|x: u32| x + 1).end_stage(|text: String| println!("{text}"));
}
