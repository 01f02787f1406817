use deeppipeline::{Batch, OnError, Pipeline, stage};

struct Image;

fn main() {
    let sizes = |images: Vec<Image>| images.iter().map(std::mem::size_of_val).collect::<Vec<_>>();
    // Where it stops, it is not run again.
    let _ = Pipeline::builder().stage(stage(sizes).intake(Batch::new(8))).end_stage(|x: usize| println!("{x}"));
    let _ = Pipeline::builder()
        .stage(stage(sizes).intake(Batch::new(8)).on_error(OnError::Skip))
        .end_stage(|x: usize| println!("{x}"));
}
