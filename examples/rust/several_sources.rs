//! Three cameras and a caller of `put` feed one stage, which takes from them in turn; a sample knows its source.

use deeppipeline::{BoxError, Give, Pipeline, Stage, current_sample};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};

struct Show {
    may_go_on: Receiver<()>,
    shown: BTreeMap<String, Vec<String>>,
}

impl Stage for Show {
    type Input = String;
    type Output = ();

    fn stage_run(&mut self, x: String) -> Result<Give<()>, BoxError> {
        let _ = self.may_go_on.recv(); // until all of them wait
        let sample = current_sample().ok_or("no sample")?;
        let source = sample.source().ok_or("no source")?;
        self.shown.entry(source.to_owned()).or_default().push(x);
        Ok(Give::Skip)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        for (source, shown) in &self.shown {
            println!("{source}: {}", shown.join(" "));
        }
        Ok(())
    }
}

fn camera(name: &'static str, frames: u32) -> impl Iterator<Item = String> + Send {
    (1..=frames).map(move |frame| format!("{name}{frame}"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (go_on, may_go_on) = channel::<()>();
    let pipeline = Pipeline::builder()
        .source_at("north", camera("n", 6))
        .source_at("south", camera("s", 2))
        .entrance("by hand")
        .end_stage(Show { may_go_on, shown: BTreeMap::new() })
        .start()?;
    pipeline.put_into("by hand", "h1".to_owned())?;
    pipeline.put_into("by hand", "h2".to_owned())?;
    pipeline.add_source("east", camera("e", 3))?;
    drop(go_on);
    for row in pipeline.join()?.sources {
        println!("{}: {}, {} entered", row.name, row.state, row.counts.entered);
    }
    Ok(())
}
