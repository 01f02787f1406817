//! The same stages one after the other on one thread: what a pipeline is to be compared with.

use crate::arguments::Stages;
use crate::each_input::EachInput;
use crate::progress::Progress;
use deeppipeline::engine::WindowStore;
use deeppipeline::{BoxError, Give, Source, Stage};
use deeppipeline_vision::{ClassifyBehaviour, DetectPeople, Detections, Follow, Frame, Scene, Track};
use std::time::{Duration, Instant};

/// The measured time of a serial run.
pub(crate) struct Serial {
    pub(crate) frames: u64,
    pub(crate) elapsed: Duration,
    /// Name and total time of each stage.
    times: Vec<(String, Duration)>,
}

impl Serial {
    /// The stage that takes the longest for a frame, and how long.
    pub(crate) fn slowest(&self) -> (&str, Duration) {
        let slowest = self.times.iter().max_by_key(|(_, time)| *time);
        let frames = u32::try_from(self.frames.max(1)).unwrap_or(u32::MAX);
        slowest.map_or(("", Duration::ZERO), |(name, time)| (name, *time / frames))
    }
}

/// Runs the stages frame by frame, until the input ends or it is interrupted; people are looked for in every so many.
pub(crate) fn run(
    stages: Stages,
    detect_every: u64,
    progress: &Progress,
    interrupted: impl Fn() -> bool,
) -> Result<Serial, BoxError> {
    let Stages { captures, detect, track, pose, classify, record, draw, write } = stages;
    let Some((_, mut capture)) = captures.into_iter().next() else { return Err("there is no input".into()) };
    let mut detect = Timed::new(detect)?;
    let mut track = Tracking::new(track, detect_every)?;
    let mut pose = Timed::new(pose)?;
    let mut classify = Timed::new(classify)?;
    let mut windows = WindowStore::new(ClassifyBehaviour::window());
    let mut record = Timed::new(record)?;
    let mut draw = Timed::new(draw)?;
    let mut write = Timed::new(write)?;
    let seen = progress.counter();
    let mut capturing = Duration::ZERO;
    let mut frames = 0;
    let mut shown = Instant::now();
    let started = Instant::now();
    loop {
        let asked = Instant::now();
        let frame = capture.source_next()?;
        capturing += asked.elapsed();
        let Some(frame) = frame.filter(|_| !interrupted()) else { break };
        frames += 1;
        let Some(scene) = track.run(frame, &mut detect)? else { continue };
        let Some(scene) = pose.run(scene)? else { continue };
        let sights = ClassifyBehaviour::sights(&scene);
        let Some(scene) = classify.run(windows.windows(scene, sights))? else { continue };
        let Some(scene) = record.run(scene)? else { continue };
        seen.count(scene.people.len());
        if shown.elapsed() >= progress.every() {
            shown = Instant::now();
            progress.show(started.elapsed(), 0);
        }
        let Some(scene) = draw.run(scene)? else { continue };
        write.run(scene)?;
    }
    let mut times = vec![("capture".to_owned(), capturing)];
    times.push(detect.end()?);
    times.push(track.end()?);
    times.push(pose.end()?);
    times.push(classify.end()?);
    times.push(record.end()?);
    times.push(draw.end()?);
    times.push(write.end()?);
    drop(capture);
    Ok(Serial { frames, elapsed: started.elapsed(), times })
}

/// The stage that follows people: in every frame, or in those that are looked at and on from there.
enum Tracking {
    EveryFrame(Timed<EachInput<Track>>),
    EveryNth(Timed<EachInput<Follow>>, u64),
}

impl Tracking {
    fn new(track: EachInput<Track>, detect_every: u64) -> Result<Self, BoxError> {
        Ok(match detect_every {
            1 => Tracking::EveryFrame(Timed::new(track)?),
            every => Tracking::EveryNth(Timed::new(track.map(Follow::new))?, every),
        })
    }

    fn run(&mut self, frame: Frame, detect: &mut Timed<DetectPeople>) -> Result<Option<Scene>, BoxError> {
        match self {
            Tracking::EveryFrame(track) => match detect.run(frame)? {
                Some(scene) => track.run(scene),
                None => Ok(None),
            },
            Tracking::EveryNth(follow, every) => {
                let looked_at = frame.index.is_multiple_of(*every).then(|| frame.clone());
                let found = looked_at.map(|frame| detect.run(frame)).transpose()?.flatten();
                follow.run((frame, found.map(Detections::from)))
            }
        }
    }

    fn end(self) -> Result<(String, Duration), BoxError> {
        match self {
            Tracking::EveryFrame(track) => track.end(),
            Tracking::EveryNth(follow, _) => follow.end(),
        }
    }
}

/// A stage and the time spent in it.
struct Timed<S> {
    stage: S,
    time: Duration,
}

impl<S: Stage> Timed<S> {
    fn new(mut stage: S) -> Result<Self, BoxError> {
        stage.setup()?;
        Ok(Timed { stage, time: Duration::ZERO })
    }

    fn run(&mut self, x: S::Input) -> Result<Option<S::Output>, BoxError> {
        let started = Instant::now();
        let gave = self.stage.stage_run(x)?;
        self.time += started.elapsed();
        match gave {
            Give::One(y) => Ok(Some(y)),
            Give::Skip => Ok(None),
            Give::Many(_) => Err("a serial run knows no Many".into()),
        }
    }

    fn end(mut self) -> Result<(String, Duration), BoxError> {
        self.stage.finish()?;
        self.stage.teardown()?;
        Ok((self.stage.name(), self.time))
    }
}
