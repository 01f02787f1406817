//! Each worker knows its index, and takes a device of its own.

use deeppipeline::pipeline::current_worker;
use deeppipeline::{BoxError, Give, Pipeline, Stage, made_by};
use std::sync::Barrier;

const DEVICES: [&str; 2] = ["cuda:0", "cuda:1"];
static BOTH: Barrier = Barrier::new(2);

#[derive(Default)]
struct Detect {
    device: &'static str,
}

impl Stage for Detect {
    type Input = u32;
    type Output = (u32, &'static str);

    fn setup(&mut self) -> Result<(), BoxError> {
        let worker = current_worker().ok_or("a stage runs on a worker")?;
        self.device = DEVICES[worker.index()];
        Ok(())
    }

    fn stage_run(&mut self, frame: u32) -> Result<Give<Self::Output>, BoxError> {
        // Each has a frame.
        BOTH.wait();
        Ok(Give::One((frame, self.device)))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let detect = made_by(|| Ok(Detect::default())).workers(2);
    let results = Pipeline::builder().source([1, 2].into_iter()).stage(detect).stream()?;
    let results = results.collect::<Result<Vec<_>, _>>()?;
    let frames: Vec<u32> = results.iter().map(|(frame, _)| *frame).collect();
    let mut devices: Vec<&str> = results.iter().map(|(_, device)| *device).collect();
    devices.sort_unstable();
    println!("frames: {frames:?}");
    println!("devices: {}", format!("{devices:?}").replace('"', "'"));
    Ok(())
}
