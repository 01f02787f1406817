use deeppipeline::{Batch, Pipeline, stage};

fn main() {
    let sum = |list: Vec<u32>| list.iter().sum::<u32>();
    let _ = Pipeline::builder().stage(stage(sum).intake(Batch::new(8))).end_stage(|x: u32| println!("{x}"));
}
