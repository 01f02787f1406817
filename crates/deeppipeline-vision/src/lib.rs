//! Stages for video.

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod behaviour;
mod capture;
mod detect;
mod draw;
mod ffmpeg;
mod frame;
mod locate;
mod matroska;
mod model;
mod nanodet;
mod part_file;
mod pose;
mod record;
mod scene;
mod track;
mod write_video;

pub use behaviour::ClassifyBehaviour;
pub use capture::{Capture, CaptureError, CaptureOptions};
pub use detect::DetectPeople;
pub use draw::Draw;
pub use ffmpeg::FfmpegError;
pub use frame::Frame;
pub use model::{Model, ModelError, Runtime, Tensor, Values, available_runtime};
pub use part_file::OutputError;
pub use pose::EstimatePose;
pub use record::Record;
pub use scene::{Behaviour, Bounds, Joint, Keypoint, Person, Pose, Scene};
pub use track::Track;
pub use write_video::WriteVideo;
