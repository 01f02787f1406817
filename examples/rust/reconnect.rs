//! A camera that goes away is opened again, while the other one goes on.

use deeppipeline::builder::Restart;
use deeppipeline::{BoxError, Give, Pipeline, Source, Stage, current_sample};
use std::time::Duration;

struct Camera {
    opened: u32,
    frame: u32,
}

impl Source for Camera {
    type Item = String;

    fn source_next(&mut self) -> Result<Option<String>, BoxError> {
        self.frame += 1;
        match self.frame {
            1..=3 => Ok(Some(format!("opened {} times, frame {}", self.opened, self.frame))),
            _ => Err("went away".into()),
        }
    }
}

struct Show(Vec<String>);

impl Stage for Show {
    type Input = String;
    type Output = ();

    fn stage_run(&mut self, frame: String) -> Result<Give<()>, BoxError> {
        let sample = current_sample().ok_or("no sample")?;
        self.0.push(format!("{}: {frame}", sample.source().ok_or("no source")?));
        Ok(Give::Skip)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.0.sort();
        println!("{}", self.0.join("\n"));
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut opened = 0;
    let camera = Restart::new(move || {
        opened += 1;
        if opened > 2 { Err("no such address".into()) } else { Ok(Camera { opened, frame: 0 }) }
    });
    let pipeline = Pipeline::builder()
        .source_at("north", camera.wait(Duration::from_millis(1)).times(1))
        .source_at("south", ["frame 1", "frame 2"].map(str::to_owned).into_iter())
        .end_stage(Show(Vec::new()))
        .start()?;
    // Without `times` it would be tried for ever.
    let Err(error) = pipeline.join() else { return Err("the camera came back".into()) };
    for row in &error.report().sources {
        println!("{}: {}, {} entered, opened again {} times", row.name, row.state, row.counts.entered, row.restarts);
    }
    Ok(())
}
