//! The stages as a picture, before anything runs: Mermaid for a README, SVG for a page. A report of a pipeline that runs has
//! the same with its numbers.

use deeppipeline::{Pipeline, chain, stage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let poses = chain().stage(stage(|frame: u32| frame).name("poses"));
    let depth = chain().stage(stage(|frame: u32| frame).name("depth"));
    let report = Pipeline::builder()
        .stage(stage(|frame: u32| frame).name("detect"))
        .parallel((poses, depth))
        .end_stage(stage(|_: (u32, u32)| {}).name("show"))
        .simulate()?
        .report();
    print!("{}", report.to_mermaid());
    println!("an SVG picture: {}", report.to_svg().starts_with("<svg"));
    Ok(())
}
