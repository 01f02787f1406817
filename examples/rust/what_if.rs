//! What would the pipeline do with other settings? Its last samples come again on a virtual clock, and tell.

use deeppipeline::report::{Goal, Setting};
use deeppipeline::{Overflow, Pipeline, stage};
use std::thread::sleep;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let detect = |frame: u32| {
        sleep(Duration::from_millis(20));
        frame
    };
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(detect).name("detect"))
        .end_stage(stage(|_: u32| sleep(Duration::from_millis(5))).name("show"))
        .start()?;
    (0..30).try_for_each(|frame| pipeline.put(frame).map(drop))?;
    pipeline.setstop()?;

    let now = pipeline.what_if(&[])?;
    for name in ["detect", "show"] {
        let then = pipeline.what_if(&[format!("{name}.workers=2").parse()?])?;
        println!("another worker for {name}: {:.0} times as many frames a second", then.rate / now.rate);
    }

    let tuned = pipeline.timeline().tune(Goal::Rate, 4)?;
    let of_detect = |setting: &&Setting| setting.stage() == "detect" && setting.option() == "workers";
    let workers = tuned.settings.iter().find(of_detect).map(Setting::value).unwrap_or_default();
    println!("of four workers in all for detect: {workers}");
    Ok(())
}
