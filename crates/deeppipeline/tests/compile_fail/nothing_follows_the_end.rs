use deeppipeline::Pipeline;

fn show(x: u32) {
    println!("{x}");
}

fn a_stage() {
    let _ = Pipeline::builder().end_stage(show).stage(|x: u32| x);
}

fn a_join() {
    let _ = Pipeline::builder().parallel((show, |x: u32| x));
}

fn a_stream() {
    let _ = Pipeline::builder().source(0..3).end_stage(show).stream();
}

fn main() {}
