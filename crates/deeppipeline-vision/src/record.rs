//! Writing down what was seen, one line for each person in each picture.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use deeppipeline::{BoxError, Give, Stage};
use serde::Serialize;

use crate::part_file::{OutputError, PartFile};
use crate::scene::Scene;

/// Writes one line of JSON for each person in each picture, and passes the scene on.
///
/// A line has `frame` (from 0), `time` (seconds), `track`, `box` (left, top, right, bottom in pixels), `score`,
/// `behaviour` and `behaviour_score`; what is not known is `null`. The file gets its name as that of
/// [`WriteVideo`](crate::WriteVideo) does.
pub struct Record {
    output: Option<(PartFile, BufWriter<File>)>,
}

#[derive(Serialize)]
struct Line<'a> {
    frame: u64,
    time: f64,
    track: Option<u64>,
    #[serde(rename = "box")]
    bounds: [f64; 4],
    score: f64,
    behaviour: Option<&'a str>,
    behaviour_score: Option<f64>,
}

impl Record {
    /// Checks at once that the file can be written.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, OutputError> {
        let (part, file) = PartFile::create(path.as_ref())?;
        Ok(Self { output: Some((part, BufWriter::new(file))) })
    }

    fn write(writer: &mut impl Write, scene: &Scene) -> std::io::Result<()> {
        for person in &scene.people {
            let bounds = &person.bounds;
            let line = Line {
                frame: scene.frame.index,
                time: (scene.frame.time.as_secs_f64() * 1e6).round() / 1e6,
                track: person.track,
                bounds: [bounds.left, bounds.top, bounds.right, bounds.bottom].map(|edge| rounded(edge, 10.0)),
                score: rounded(person.score, 1000.0),
                behaviour: person.behaviour.as_ref().map(|behaviour| behaviour.label.as_str()),
                behaviour_score: person.behaviour.as_ref().map(|behaviour| rounded(behaviour.score, 1000.0)),
            };
            serde_json::to_writer(&mut *writer, &line)?;
            writer.write_all(b"\n")?;
        }
        Ok(())
    }
}

impl Stage for Record {
    type Input = Scene;
    type Output = Scene;

    fn stage_run(&mut self, scene: Scene) -> Result<Give<Scene>, BoxError> {
        if let Some((part, writer)) = &mut self.output {
            Self::write(writer, &scene).map_err(|error| part.error(error))?;
        }
        Ok(Give::One(scene))
    }

    fn finish(&mut self) -> Result<Give<Scene>, BoxError> {
        if let Some((part, mut writer)) = self.output.take() {
            writer.flush().map_err(|error| part.error(error))?;
            part.keep()?;
        }
        Ok(Give::Skip)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        // Not finished means failed: what was written so far goes away.
        self.output = None;
        Ok(())
    }
}

/// Rounds to a number of steps per unit: more digits than were measured would only make the file longer.
fn rounded(value: f32, steps: f64) -> f64 {
    (f64::from(value) * steps).round() / steps
}
