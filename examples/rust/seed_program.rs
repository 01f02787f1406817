//! Ten samples, one every 0.3 s, through three stages of 0.5 s: buffers of two that drop their oldest keep it fresh.

use deeppipeline::Pipeline;
use std::thread::sleep;
use std::time::Duration;

fn stage(name: &'static str) -> impl FnMut(Vec<String>) -> Vec<String> {
    move |mut x| {
        sleep(Duration::from_millis(500));
        x.push(name.to_owned());
        x
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = Pipeline::builder()
        .buffer_size(2)
        .stage(stage("stage one"))
        .stage(stage("stage two"))
        .stage(stage("stage three"))
        .end_stage(|x: Vec<String>| println!("{x:?}"))
        .start()?;
    for i in 1..=10 {
        pipeline.put(vec![format!("Pipeline: {i}")])?;
        sleep(Duration::from_millis(300));
    }
    eprintln!("{}", pipeline.setstop()?);
    Ok(())
}
