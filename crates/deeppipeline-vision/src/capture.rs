//! Pictures from anything ffmpeg opens: files, cameras, network streams.

use std::io::Read;
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use deeppipeline::{BoxError, Source};

use crate::ffmpeg::{Ffmpeg, FfmpegError, FrameInfo, Process};
use crate::frame::{Frame, bytes_of};

/// Why a video cannot be opened, or ended before its end.
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
        /// What ffmpeg says.
        reason: String,
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
        /// How many frames came before.
        frames: u64,
        /// What ffmpeg says.
        reason: String,
    },
}

/// How to open a video; made by [`Capture::options`].
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    input: String,
    format: Option<String>,
    realtime: bool,
    limit: Option<u64>,
}

impl CaptureOptions {
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

    /// Opens the input and waits for its first picture.
    ///
    /// # Errors
    /// If there is no ffmpeg, or the input cannot be opened or has no pictures.
    pub fn open(self) -> Result<Capture, CaptureError> {
        Capture::start(self)
    }

    fn input_format(&self) -> Option<&str> {
        self.format.as_deref().or_else(|| self.input.starts_with("/dev/video").then_some("v4l2"))
    }
}

/// A source of pictures, decoded by an `ffmpeg` process of its own.
///
/// Every picture comes once, with its own presentation time; none is repeated or left out to keep a rate. Colours are
/// converted by the stream's own matrix and range; a stream that names none counts as BT.709 from 720 rows on. Rotated
/// recordings come upright.
///
/// When a file turns out to be cut, everything that could be decoded comes first and the error last.
pub struct Capture {
    options: CaptureOptions,
    process: Process,
    pixels: ChildStdout,
    infos: Receiver<FrameInfo>,
    first: Option<Frame>,
    read: u64,
    ended: bool,
    width: u32,
    height: u32,
}

impl Capture {
    /// Opens a file, device or address as it is.
    ///
    /// # Errors
    /// If there is no ffmpeg, or the input cannot be opened or has no pictures.
    pub fn open(input: impl Into<String>) -> Result<Self, CaptureError> {
        Self::options(input).open()
    }

    /// Starts to describe how to open a file, device or address.
    pub fn options(input: impl Into<String>) -> CaptureOptions {
        CaptureOptions { input: input.into(), format: None, realtime: false, limit: None }
    }

    /// Columns of the first picture.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows of the first picture.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Pictures per second as the input announces it; the times in the frames are what counts.
    pub fn frame_rate(&self) -> Option<f64> {
        self.process.log().header().frame_rate
    }

    /// How long the input is; `None` for cameras and live streams.
    pub fn duration(&self) -> Option<Duration> {
        self.process.log().header().duration
    }

    /// About how many pictures will come, for a progress display; `None` where nobody knows.
    pub fn frames(&self) -> Option<u64> {
        let announced =
            self.duration().zip(self.frame_rate()).map(|(length, rate)| (length.as_secs_f64() * rate).round() as u64);
        match (announced, self.options.limit) {
            (Some(announced), Some(limit)) => Some(announced.min(limit)),
            (announced, limit) => announced.or(limit),
        }
    }

    /// Whether it goes on whether or not anyone keeps up: a camera, a network stream, or a file played in real time.
    pub fn is_live(&self) -> bool {
        self.options.realtime
            || is_live_input(&self.options)
            || (is_web(&self.options.input) && self.duration().is_none())
    }

    fn start(options: CaptureOptions) -> Result<Self, CaptureError> {
        let ffmpeg = Ffmpeg::find()?;
        let opened = Self::start_with(&ffmpeg, options, "auto")?;
        // Only the opened input tells whether its colours are tagged; if ffmpeg would take them wrong, once more.
        match opened.process.log().header().matrix_to_assume() {
            Some(matrix) => {
                let options = opened.options.clone();
                drop(opened);
                Self::start_with(&ffmpeg, options, matrix)
            }
            None => Ok(opened),
        }
    }

    fn start_with(ffmpeg: &Ffmpeg, options: CaptureOptions, matrix: &str) -> Result<Self, CaptureError> {
        let mut command = ffmpeg.command();
        if options.realtime {
            command.arg("-re");
        }
        if options.input.starts_with("rtsp") {
            command.args(["-rtsp_transport", "tcp"]);
        }
        if let Some(format) = options.input_format() {
            command.args(["-f", format]);
        }
        command.args(["-i", &options.input, "-map", "0:V:0"]);
        if let Some(limit) = options.limit {
            command.args(["-frames:v", &limit.to_string()]);
        }
        let filter = format!("scale=in_color_matrix={matrix},format=rgb24,showinfo=checksum=0");
        command.args(["-vf", &filter]).args(ffmpeg.pass_through()).args(["-f", "rawvideo", "pipe:1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());

        let cannot_start =
            |error: std::io::Error| CaptureError::Open { input: options.input.clone(), reason: error.to_string() };
        let (process, infos) = Process::start(&mut command).map_err(cannot_start)?;
        let pixels = process.child().stdout.take();
        let pixels = pixels.ok_or_else(|| cannot_start(std::io::Error::other("no pipe")))?;
        widen_pipe(&pixels);
        let (width, height) = (0, 0);
        let mut capture = Self { options, process, pixels, infos, first: None, read: 0, ended: false, width, height };
        let first =
            capture.read_frame()?.ok_or_else(|| CaptureError::NoFrames { input: capture.options.input.clone() })?;
        (capture.width, capture.height) = (first.width, first.height);
        capture.first = Some(first);
        Ok(capture)
    }

    fn read_frame(&mut self) -> Result<Option<Frame>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        // `showinfo` speaks before the pixels leave, so the size is known before the first of them is read.
        let Ok(info) = self.infos.recv() else { return self.end() };
        let Some(length) = bytes_of(info.width, info.height) else { return self.end() };
        let mut pixels = Vec::with_capacity(length);
        let complete =
            (&mut self.pixels).take(length as u64).read_to_end(&mut pixels).is_ok_and(|count| count == length);
        if !complete {
            return self.end();
        }
        let time = info.time.unwrap_or_else(|| self.time_by_rate());
        let frame = Frame::new(info.width, info.height, self.read, time, pixels);
        self.read += 1;
        Ok(frame)
    }

    /// For the rare stream without times.
    fn time_by_rate(&self) -> Duration {
        const COMMON_RATE: f64 = 25.0;
        Duration::from_secs_f64(self.read as f64 / self.frame_rate().unwrap_or(COMMON_RATE))
    }

    /// The process gives nothing more: finds out whether that was the end of the video.
    fn end(&mut self) -> Result<Option<Frame>, CaptureError> {
        self.ended = true;
        let status = self.process.wait();
        let input = self.options.input.clone();
        if self.process.was_stopped() || self.options.limit.is_some_and(|limit| self.read >= limit) {
            return Ok(None);
        }
        let log = self.process.log();
        let failed = !status.is_ok_and(|status| status.success());
        let reason = || log.reason().unwrap_or_else(|| "ffmpeg failed without saying why".into());
        if self.read == 0 {
            // A file that holds only sound fails at the choice of a stream; to the user that is a file without frames.
            return Err(if failed && !log.mentions("matches no streams") {
                CaptureError::Open { input, reason: bare(&reason()) }
            } else {
                CaptureError::NoFrames { input }
            });
        }
        let cut = |reason: String| CaptureError::Cut { input: self.options.input.clone(), frames: self.read, reason };
        if failed {
            return Err(cut(reason()));
        }
        match log.damage_at_end() {
            // A live stream may well lose a packet just before it is over.
            Some(reason) if !self.is_live() || self.options.realtime => Err(cut(reason)),
            _ => Ok(None),
        }
    }
}

impl Source for Capture {
    type Item = Frame;

    fn source_next(&mut self) -> Result<Option<Frame>, BoxError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => Ok(self.read_frame()?),
        }
    }

    fn is_live(&self) -> bool {
        Capture::is_live(self)
    }

    fn closer(&self) -> Option<Box<dyn Fn() + Send + Sync>> {
        Some(Box::new(self.process.stopper()))
    }
}

/// Lets ffmpeg run further ahead than the 64 KB that a pipe holds by default; it works without, a little slower.
fn widen_pipe(pipe: &ChildStdout) {
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 20);
}

fn is_live_input(options: &CaptureOptions) -> bool {
    const DEVICES: [&str; 7] = ["v4l2", "video4linux2", "avfoundation", "dshow", "x11grab", "gdigrab", "kmsgrab"];
    const STREAMS: [&str; 9] = ["rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp", "mms"];
    let scheme = options.input.split_once("://").map(|(scheme, _)| scheme);
    options.input_format().is_some_and(|format| DEVICES.contains(&format))
        || scheme.is_some_and(|scheme| STREAMS.contains(&scheme))
}

fn is_web(input: &str) -> bool {
    input.starts_with("http://") || input.starts_with("https://")
}

/// ffmpeg's message without the file name in front of it, or its own "Error opening input", both of which the error says.
fn bare(reason: &str) -> String {
    reason.rsplit_once(": ").map_or(reason, |(_, last)| last).to_owned()
}
