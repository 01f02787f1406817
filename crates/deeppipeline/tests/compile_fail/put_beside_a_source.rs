use deeppipeline::Pipeline;

fn main() {
    let pipeline = Pipeline::builder().source(0..3).end_stage(|_: i32| {}).start().unwrap();
    pipeline.put(3).unwrap();
}
