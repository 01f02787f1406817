//! Errors of a video.

use std::time::Duration;

use crate::ffmpeg::FfmpegError;

/// The reason why a video cannot be opened, or ended before its end. Inputs are named without their passwords.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// There is no `ffmpeg` program.
    #[error(transparent)]
    Ffmpeg(#[from] FfmpegError),
    /// The input cannot be opened.
    #[error("cannot open video {input}: {reason}")]
    Open {
        /// The file, device or address.
        input: String,
        /// The message of ffmpeg.
        reason: String,
    },
    /// The input gave no picture in the time it was given; see [`CaptureOptions::open_timeout`](crate::CaptureOptions).
    #[error("cannot open video {input}: no picture came within {} s; if it needs longer, give a longer open_timeout", after.as_secs_f64())]
    TimedOut {
        /// The file, device or address.
        input: String,
        /// The time it had.
        after: Duration,
    },
    /// Opening was given up; see [`CaptureOptions::open_while`](crate::CaptureOptions::open_while).
    #[error("cannot open video {input}: interrupted")]
    Interrupted {
        /// The file, device or address.
        input: String,
    },
    /// The input was opened but holds no pictures.
    #[error("{input} has no video frames")]
    NoFrames {
        /// The file, device or address.
        input: String,
    },
    /// The input ended early: a file cut in the middle, a camera unplugged.
    #[error("{input} is cut or damaged after frame {frames}: {reason}")]
    Cut {
        /// The file, device or address.
        input: String,
        /// The number of frames that came before.
        frames: u64,
        /// The message of ffmpeg.
        reason: String,
    },
    /// The output of ffmpeg is not what it had announced: no picture is better than a wrong one.
    #[error("{input} cannot be read on after frame {frames}: {reason}")]
    Unreadable {
        /// The file, device or address.
        input: String,
        /// The number of frames that came before.
        frames: u64,
        /// The part that does not fit.
        reason: String,
    },
}
