use deeppipeline::Pipeline;

fn text(x: u32) -> String {
    x.to_string()
}

fn behind_a_join() {
    let pipeline = Pipeline::builder().parallel((text, text));
    pipeline.start().unwrap();
}

fn in_each_branch() {
    let _ = Pipeline::builder().end_parallel((text, |_: u32| {}));
}

fn main() {}
