//! The stages in processes of their own: what each is made from there, and under which name.

use std::path::PathBuf;

use deeppipeline::processes::{IsolatedWindows, Workers};
use deeppipeline::{BoxError, Isolated};
use serde::{Deserialize, Serialize};

use crate::{
    ClassifyBehaviour, DetectPeople, Draw, EstimatePose, Record, Runtime, Scene, Sight, Track, TrackId, WriteVideo,
};

/// Makes every stage of this crate known to a program that runs them in processes of their own.
///
/// ```no_run
/// use deeppipeline::processes::OnCrash;
/// use deeppipeline::{Pipeline, isolated};
/// use deeppipeline_vision::{Capture, DetectPeople, DetectPeopleSettings, Runtime, WriteVideo, WriteVideoSettings};
///
/// fn main() -> Result<(), deeppipeline::BoxError> {
///     deeppipeline_vision::workers(deeppipeline::worker()).run();
///
///     let capture = Capture::open("clips/park.mp4")?;
///     let detect = DetectPeopleSettings {
///         model: "models/nanodet_416.onnx".into(),
///         runtime: Runtime::Auto,
///         min_score: None,
///     };
///     let write = WriteVideoSettings { path: "annotated.mp4".into(), frame_rate: capture.frame_rate() };
///     Pipeline::builder()
///         .source(capture)
///         .stage(isolated::<DetectPeople>(detect))
///         .end_stage(isolated::<WriteVideo>(write).on_crash(OnCrash::Stop))
///         .run()?;
///     Ok(())
/// }
/// ```
pub fn workers(workers: Workers) -> Workers {
    workers
        .stage::<DetectPeople>()
        .stage::<Track>()
        .stage::<EstimatePose>()
        .stage_windows::<ClassifyBehaviour>()
        .stage::<Record>()
        .stage::<Draw>()
        .stage::<WriteVideo>()
}

/// The settings from which [`DetectPeople`] is made in a process of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectPeopleSettings {
    /// The model file `nanodet_416.onnx`.
    pub model: PathBuf,
    /// The runtime of the model.
    pub runtime: Runtime,
    /// See [`DetectPeople::min_score`].
    pub min_score: Option<f32>,
}

impl Isolated for DetectPeople {
    const NAME: &str = "vision.detect_people";
    type Settings = DetectPeopleSettings;

    fn make(settings: DetectPeopleSettings) -> Result<Self, BoxError> {
        let detect = Self::load_with(settings.model, settings.runtime)?;
        Ok(match settings.min_score {
            Some(score) => detect.min_score(score),
            None => detect,
        })
    }
}

/// The settings from which [`Track`] is made in a process of its own; nothing has to be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackSettings {
    /// See [`Track::remember`].
    pub remember: Option<usize>,
    /// See [`Track::new_from`].
    pub new_from: Option<f32>,
}

/// A tracker whose process is started again after a crash has forgotten everyone: numbers begin at 1 once more.
impl Isolated for Track {
    const NAME: &str = "vision.track";
    type Settings = TrackSettings;

    fn make(settings: TrackSettings) -> Result<Self, BoxError> {
        let mut track = Self::new();
        if let Some(pictures) = settings.remember {
            track = track.remember(pictures);
        }
        if let Some(score) = settings.new_from {
            track = track.new_from(score);
        }
        Ok(track)
    }
}

/// The settings from which [`EstimatePose`] is made in a process of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EstimatePoseSettings {
    /// The model file `movenet_lightning_192.onnx`.
    pub model: PathBuf,
    /// The runtime of the model.
    pub runtime: Runtime,
}

impl Isolated for EstimatePose {
    const NAME: &str = "vision.estimate_pose";
    type Settings = EstimatePoseSettings;

    fn make(settings: EstimatePoseSettings) -> Result<Self, BoxError> {
        Ok(Self::load_with(settings.model, settings.runtime)?)
    }
}

/// The settings from which [`ClassifyBehaviour`] is made in a process of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifyBehaviourSettings {
    /// The model file `pose_classifier_body18.onnx`.
    pub model: PathBuf,
    /// The runtime of the model.
    pub runtime: Runtime,
}

/// Every person's window is empty once its process has been started again after a crash.
impl Isolated for ClassifyBehaviour {
    const NAME: &str = "vision.classify_behaviour";
    type Settings = ClassifyBehaviourSettings;

    fn make(settings: ClassifyBehaviourSettings) -> Result<Self, BoxError> {
        Ok(Self::load_with(settings.model, settings.runtime)?)
    }
}

impl IsolatedWindows for ClassifyBehaviour {
    type Sample = Scene;
    type Key = TrackId;
    type Item = Sight;

    fn keys(scene: &Scene) -> Vec<(TrackId, Sight)> {
        Self::sights(scene)
    }
}

/// The settings from which [`Record`] is made in a process of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordSettings {
    /// The file to write.
    pub path: PathBuf,
}

/// A process that is started again after a crash begins its file anew: under `OnCrash::Stop` none is. The file is
/// created by the process, and its error is one of `setup`; a process that dies leaves `.NAME.XXXXXX.part` behind.
impl Isolated for Record {
    const NAME: &str = "vision.record";
    type Settings = RecordSettings;

    fn make(settings: RecordSettings) -> Result<Self, BoxError> {
        Ok(Self::create(settings.path)?)
    }
}

impl Isolated for Draw {
    const NAME: &str = "vision.draw";
    type Settings = ();

    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Self::new())
    }
}

/// The settings from which [`WriteVideo`] is made in a process of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteVideoSettings {
    /// The file to write.
    pub path: PathBuf,
    /// The approximate number of pictures per second.
    pub frame_rate: Option<f64>,
}

/// A process that is started again after a crash begins its file anew: under `OnCrash::Stop` none is. The file is
/// created by the process, and its error is one of `setup`; a process that dies leaves `.NAME.XXXXXX.part` behind.
impl Isolated for WriteVideo {
    const NAME: &str = "vision.write_video";
    type Settings = WriteVideoSettings;

    fn make(settings: WriteVideoSettings) -> Result<Self, BoxError> {
        Ok(Self::create(settings.path, settings.frame_rate)?)
    }
}
