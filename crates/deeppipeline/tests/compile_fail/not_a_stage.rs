use deeppipeline::Pipeline;

fn main() {
    let _ = Pipeline::<u32>::builder().stage(42);
}
