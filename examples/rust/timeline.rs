//! When each of the last samples was at which stage: the way of one, a picture, and a file that Perfetto opens.

use deeppipeline::report::Timeline;
use deeppipeline::{Give, Overflow, Pipeline, stage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let detect = |frame: u32| if frame == 3 { Give::Skip } else { Give::One(frame) };
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(detect).name("detect"))
        .end_stage(stage(|_: u32| {}).name("show"))
        .start()?;
    (1..5).try_for_each(|frame| pipeline.put(frame).map(drop))?;
    pipeline.setstop()?;

    let timeline = pipeline.timeline();
    for number in [2, 3] {
        for visit in timeline.of_sample(number) {
            println!("frame {number} at {}: {}", timeline.stages[visit.stage].name, visit.word());
        }
    }

    let folder = std::env::temp_dir().join(format!("timeline-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let run = folder.join("run.json");
    timeline.save(&run, None)?; // https://ui.perfetto.dev opens it
    timeline.save(folder.join("run.svg"), Some(2))?;
    let read = Timeline::from_json(&std::fs::read(&run)?)? == timeline;
    println!("read again: {}", if read { "True" } else { "False" });
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
