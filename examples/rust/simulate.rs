//! What if the detector were slower? A virtual clock tells, in no time; here the stages run as well.

use deeppipeline::{Pipeline, stage};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for milliseconds in [8, 12, 20] {
        let mut simulation = Pipeline::builder()
            .stage(stage(|frame: u32| frame).name("detect"))
            .end_stage(stage(|_: u32| {}).name("show"))
            .simulate()?;
        for frame in 0..100 {
            simulation.put_at(Duration::from_millis(10 * u64::from(frame)), frame);
        }
        let report = simulation.takes("detect", Duration::from_millis(milliseconds))?.run()?;
        let (dropped, oldest) = (report.dropped(), report.age.max.as_millis());
        println!("detect takes {milliseconds} ms: {dropped} of 100 frames dropped, none older than {oldest} ms");
    }
    Ok(())
}
