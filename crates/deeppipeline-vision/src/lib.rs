//! Stages for video: capture, detect people, track them, read their pose, name their behaviour, draw, write.
//!
//! A [`Capture`] gives [`Frame`]s. [`DetectPeople`] makes a [`Scene`] of each, and every later stage fills in a little
//! more about the people in it: [`Track`] their number (or [`Follow`], where not every picture is looked at), [`EstimatePose`] their joints, [`ClassifyBehaviour`] what they
//! do. [`Draw`] puts all of it into the picture, [`Record`] writes it down as lines of JSON, [`WriteVideo`] writes the
//! pictures. Each is a `deeppipeline` stage and keeps one core busy at most, so that a pipeline can run them all at
//! once.
//!
//! ```no_run
//! use deeppipeline::{Give, Source, Stage};
//! use deeppipeline_vision::{Capture, DetectPeople, Draw, Track, WriteVideo};
//!
//! let mut capture = Capture::open("clips/park.mp4")?;
//! let mut detect = DetectPeople::load("models/nanodet_416.onnx")?;
//! let (mut track, mut draw) = (Track::new(), Draw::new());
//! let mut write = WriteVideo::create("annotated.mp4", capture.frame_rate())?;
//! while let Some(frame) = capture.source_next()? {
//!     let Give::One(scene) = detect.stage_run(frame)? else { continue };
//!     let Give::One(scene) = track.stage_run(scene)? else { continue };
//!     let Give::One(scene) = draw.stage_run(scene)? else { continue };
//!     write.stage_run(scene)?;
//! }
//! write.finish()?;
//! # Ok::<(), deeppipeline::BoxError>(())
//! ```
//!
//! # What has to be there
//!
//! Nothing is linked, so cargo builds all of it. At run time videos need an `ffmpeg` program (4.4 or newer) and models
//! run faster where there is an ONNX Runtime library (1.17 or newer):
//!
//! | what | looked for in this order | how to get it |
//! |---|---|---|
//! | ffmpeg | `DEEPPIPELINE_FFMPEG`, `PATH`, the Python package `imageio-ffmpeg` | `apt install ffmpeg` or `pip install imageio-ffmpeg` |
//! | ONNX Runtime | `DEEPPIPELINE_ONNXRUNTIME`, `ORT_DYLIB_PATH`, the Python package `onnxruntime`, system folders | `pip install onnxruntime`, or do without |
//!
//! Python packages are looked for in the active virtual environment and where `python3` looks.
//!
//! # Features
//!
//! | feature | what it brings |
//! |---|---|
//! | `onnxruntime` (default) | ONNX Runtime where its library is found |
//! | `pure-rust` (default) | a runtime that cargo builds, used otherwise |
//! | `processes` | the stages in processes of their own, on Linux: they are `Isolated`, frames and scenes are `Transfer` |
//!
//! # When something is wrong
//!
//! Every error is one line that names the file and what is the matter. What can be checked is checked when a stage is
//! made: that an input opens and has a picture, that a model is there, that an output can be written. Output files get
//! their name only when everything that reached them is written.

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod address;
mod behaviour;
mod capture;
mod debug;
mod detect;
mod draw;
mod ffmpeg;
mod follow;
mod frame;
#[cfg(processes)]
mod isolated;
mod letterbox;
mod locate;
mod matroska;
mod model;
mod nanodet;
mod part_file;
mod pixels;
mod pose;
mod record;
mod scene;
mod track;
#[cfg(processes)]
mod transfer;
mod warning;
mod write_video;

pub use address::without_password;
pub use behaviour::{ClassifyBehaviour, Sight, TrackId};
pub use capture::{Capture, CaptureError, CaptureOptions, Reopened};
pub use detect::DetectPeople;
pub use draw::Draw;
pub use ffmpeg::FfmpegError;
pub use follow::{Detections, Follow};
pub use frame::Frame;
#[cfg(processes)]
pub use isolated::{
    ClassifyBehaviourSettings, DetectPeopleSettings, EstimatePoseSettings, RecordSettings, TrackSettings,
    WriteVideoSettings, workers,
};
pub use model::{Model, ModelError, Runtime, Tensor, Values, available_runtime};
pub use part_file::OutputError;
pub use pixels::Pixels;
pub use pose::EstimatePose;
pub use record::Record;
pub use scene::{Behaviour, Bounds, Joint, Keypoint, Person, Pose, Scene};
pub use track::Track;
pub use warning::on_warning;
pub use write_video::WriteVideo;
