//! The options for opening a video.

use std::ffi::OsStr;
use std::time::Duration;

use super::{Capture, CaptureError};
use crate::address::Address;

/// The options for opening a video; made by [`Capture::options`].
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    pub(super) address: Address,
    format: Option<String>,
    pub(super) realtime: bool,
    pub(super) limit: Option<u64>,
    pub(super) open_timeout: Duration,
    pub(super) stall_after: Duration,
}

impl CaptureOptions {
    pub(super) fn new(input: &OsStr) -> Self {
        const OPEN: Duration = Duration::from_secs(30);
        const STALL: Duration = Duration::from_secs(10);
        let address = Address::new(input);
        Self { address, format: None, realtime: false, limit: None, open_timeout: OPEN, stall_after: STALL }
    }

    /// Names the input format where ffmpeg cannot guess it: `v4l2`, `avfoundation`, `x11grab`, `lavfi`.
    /// `/dev/video*` is known to be `v4l2`.
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// Gives a file's pictures out at the pace at which they are to be shown, as a camera would.
    #[must_use]
    pub fn realtime(mut self, realtime: bool) -> Self {
        self.realtime = realtime;
        self
    }

    /// Ends after that many pictures.
    #[must_use]
    pub fn limit(mut self, frames: u64) -> Self {
        self.limit = Some(frames);
        self
    }

    /// Gives up opening when no picture has come after that long; 30 seconds unless said.
    #[must_use]
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.open_timeout = timeout;
        self
    }

    /// Takes the input for stalled when no picture has come for that long, 10 seconds unless said. It goes on waiting,
    /// and a warning is logged (`tracing`); another after twice that time, and so on.
    #[must_use]
    pub fn stall_after(mut self, time: Duration) -> Self {
        self.stall_after = time;
        self
    }

    /// Opens the input and waits for its first picture.
    ///
    /// # Errors
    /// If there is no ffmpeg, or the input cannot be opened or has no pictures.
    pub fn open(self) -> Result<Capture, CaptureError> {
        self.open_while(|| true)
    }

    /// Opens the input as long as `go_on`, which is asked twice a second, agrees.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if `go_on` gives `false`.
    pub fn open_while(self, mut go_on: impl FnMut() -> bool) -> Result<Capture, CaptureError> {
        Capture::start(self, &mut go_on)
    }

    pub(super) fn input_format(&self) -> Option<&str> {
        self.format.as_deref().or_else(|| self.address.starts_with("/dev/video").then_some("v4l2"))
    }

    /// Returns true if it is a camera or a network stream by its name.
    pub(super) fn is_live_by_name(&self) -> bool {
        const DEVICES: [&str; 7] = ["v4l2", "video4linux2", "avfoundation", "dshow", "x11grab", "gdigrab", "kmsgrab"];
        const STREAMS: [&str; 9] = ["rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp", "mms"];
        self.input_format().is_some_and(|format| DEVICES.contains(&format))
            || self.address.scheme().is_some_and(|scheme| STREAMS.contains(&scheme))
    }

    pub(super) fn is_web(&self) -> bool {
        self.address.scheme().is_some_and(|scheme| ["http", "https"].contains(&scheme))
    }
}
