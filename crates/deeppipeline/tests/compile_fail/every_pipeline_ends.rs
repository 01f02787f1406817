use deeppipeline::Pipeline;

fn text(x: u32) -> String {
    x.to_string()
}

fn behind_a_join() {
    let pipeline = Pipeline::builder().parallel(|branch| branch.stage(text), |branch| branch.stage(text));
    pipeline.start().unwrap();
}

fn in_each_branch() {
    let _ = Pipeline::builder().end_parallel(|branch| branch.stage(text), |branch| branch.end_stage(|_: u32| {}));
}

fn main() {}
