//! Pictures from anything ffmpeg opens: files, cameras, network streams.

mod error;
mod filters;
mod options;
mod patience;
mod reopened;

pub use error::CaptureError;
pub use options::CaptureOptions;
pub use reopened::Reopened;

#[cfg(unix)]
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use deeppipeline::{BoxError, Source};

#[cfg(unix)]
use crate::ffmpeg::StandardInput;
use crate::ffmpeg::{Ffmpeg, FilterPipe, NutReader, Process, Said};
use crate::frame::{Frame, bytes_of};
use crate::warning::warn;
use patience::Heard;

/// A source of pictures, decoded by an `ffmpeg` process of its own.
///
/// Every picture comes once, with its own presentation time; none is repeated or left out to keep a rate. Colours are
/// converted by the stream's own matrix and range; a stream that names none counts as BT.709 from 720 rows on. High
/// dynamic range is not tone-mapped, and a warning says so. Rotated recordings come upright, anamorphic ones in square
/// pixels. Where the size changes on the way, as network cameras may do, each picture has its own.
///
/// The input is opened once, so that a pipe or a server for one client will do; `-` is this program's standard input.
/// When a file turns out to be cut, everything that could be decoded comes first and the error last. An input that
/// stalls is waited for, and warnings about it are logged (`tracing`, or [`on_warning`](crate::on_warning)). However
/// this program ends, ffmpeg ends with it.
pub struct Capture {
    options: CaptureOptions,
    process: Process,
    pictures: NutReader<ChildStdout>,
    said: Receiver<Said>,
    first: Option<Frame>,
    read: u64,
    /// The time at which the last picture is to be shown.
    time: Duration,
    ended: bool,
    width: u32,
    height: u32,
}

impl Capture {
    /// Opens a file, device or address as it is.
    ///
    /// # Errors
    /// If there is no ffmpeg, or the input cannot be opened or has no pictures.
    pub fn open(input: impl AsRef<OsStr>) -> Result<Self, CaptureError> {
        Self::options(input).open()
    }

    /// Starts to describe how to open a file, device or address.
    pub fn options(input: impl AsRef<OsStr>) -> CaptureOptions {
        CaptureOptions::new(input.as_ref())
    }

    /// The file, device or address, without a password.
    pub fn input(&self) -> String {
        self.options.address.to_string()
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

    /// The length of the input; `None` for cameras and live streams.
    pub fn duration(&self) -> Option<Duration> {
        self.process.log().header().duration
    }

    /// The approximate number of pictures that will come, for a progress display; `None` where it is unknown.
    pub fn frames(&self) -> Option<u64> {
        let announced =
            self.duration().zip(self.frame_rate()).map(|(length, rate)| (length.as_secs_f64() * rate).round() as u64);
        match (announced, self.options.limit) {
            (Some(announced), Some(limit)) => Some(announced.min(limit)),
            (announced, limit) => announced.or(limit),
        }
    }

    /// Returns true if it goes on whether or not anyone keeps up: a camera, a network stream, or a file played in real
    /// time.
    pub fn is_live(&self) -> bool {
        self.options.realtime || self.options.is_live_by_name() || (self.options.is_web() && self.duration().is_none())
    }

    fn start(options: CaptureOptions, go_on: &mut dyn FnMut() -> bool) -> Result<Self, CaptureError> {
        let ffmpeg = Ffmpeg::find()?;
        // More than any clock has left is for ever.
        const FOR_EVER: Duration = Duration::from_secs(1 << 32);
        let deadline = Instant::now() + options.open_timeout.min(FOR_EVER);
        let input = options.address.to_string();
        let cannot_start = |error: std::io::Error| CaptureError::Open { input, reason: error.to_string() };
        let (mut capture, filters) = Self::spawn(&ffmpeg, options).map_err(cannot_start)?;

        // What the filters have to do is known when the input is open, and ffmpeg waits to be told: so it is opened once.
        let mut filters = Some(filters);
        let first = loop {
            match patience::bounded(&capture.said, deadline, go_on) {
                Heard::Said(Said::Opened) => {
                    if let Some(mut filters) = filters.take() {
                        let text = filters::filters(&capture.process.log().header());
                        // If ffmpeg is gone already, its log will say why.
                        let _ = filters.write_all(text.as_bytes());
                    }
                }
                Heard::Said(Said::Picture { width, height }) => break capture.read_picture(width, height)?,
                Heard::Nothing => break capture.end()?,
                Heard::TimedOut => {
                    return Err(CaptureError::TimedOut { input: capture.input(), after: capture.options.open_timeout });
                }
                Heard::Interrupted => return Err(CaptureError::Interrupted { input: capture.input() }),
            }
        };
        let first = first.ok_or_else(|| CaptureError::NoFrames { input: capture.input() })?;
        (capture.width, capture.height) = (first.width, first.height);
        capture.first = Some(first);
        if let Some(transfer) = capture.process.log().header().hdr {
            warn(format_args!(
                "{} has a high dynamic range ({transfer}), which is not tone-mapped: its colours come out dull, and people \
                 may be missed; convert it first, with the filters zscale and tonemap of ffmpeg",
                capture.input()
            ));
        }
        Ok(capture)
    }

    /// Starts ffmpeg, which opens the input and then reads what it is to do with the pictures from the other thing
    /// given back.
    fn spawn(ffmpeg: &Ffmpeg, options: CaptureOptions) -> std::io::Result<(Self, impl Write + use<>)> {
        let mut command = ffmpeg.command_with_lifeline();
        if options.realtime {
            command.arg("-re");
        }
        if options.address.starts_with("rtsp") {
            command.args(["-rtsp_transport", "tcp"]);
        }
        if let Some(format) = options.input_format() {
            command.args(["-f", format]);
        }
        #[cfg(unix)]
        let standard_input = options.address.is_standard_input().then(StandardInput::new).transpose()?;
        #[cfg(unix)]
        let given = standard_input.as_ref().map(|input| Cow::Owned(input.argument().into()));
        #[cfg(not(unix))]
        let given = None;
        command.arg("-i").arg(given.unwrap_or_else(|| options.address.argument(options.input_format())));
        command.args(["-map", "0:V:0", "-map_metadata", "-1", "-map_chapters", "-1"]);
        if let Some(limit) = options.limit {
            command.args(["-frames:v", &limit.to_string()]);
        }
        let filters = FilterPipe::new()?;
        command.args([ffmpeg.filters_from(), &filters.argument()]);
        // Every picture in its own size, as it is when its filter says it. One thread, as several would hold pictures back.
        command.args(["-noautoscale", "-c:v", "rawvideo", "-threads", "1"]);
        command.args(ffmpeg.pass_through()).args(["-enc_time_base", "1:1000000000"]);
        command.args(["-f", "nut", "-write_index", "0", "pipe:1"]);
        command.stdout(Stdio::piped());

        let (process, said) = Process::start(&mut command, Some(&options.address))?;
        let filters = filters.writer(&process)?;
        process.hold_lifeline();
        let pixels = process.take(|child| child.stdout.take())?;
        widen_pipe(&pixels);
        let pictures = NutReader::new(pixels);
        let (first, read, time, ended, width, height) = (None, 0, Duration::ZERO, false, 0, 0);
        Ok((Self { options, process, pictures, said, first, read, time, ended, width, height }, filters))
    }

    fn read_frame(&mut self) -> Result<Option<Frame>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        match patience::unbounded(&self.said, self.options.stall_after, &self.options.address) {
            Heard::Said(Said::Picture { width, height }) => self.read_picture(width, height),
            _ => match self.pictures.next_picture() {
                Ok(Some(_)) => self.give_up("ffmpeg gave a picture that it had not announced".into()),
                _ => self.end(),
            },
        }
    }

    /// Reads the picture that the log has announced. Its length and its time come with it, its size only by the log: if
    /// they do not fit together, nothing is given out.
    fn read_picture(&mut self, width: u32, height: u32) -> Result<Option<Frame>, CaptureError> {
        let header = match self.pictures.next_picture() {
            Ok(Some(header)) => header,
            Ok(None) => return self.end(),
            Err(error) => return self.broken_off(&error),
        };
        if bytes_of(width, height) != Some(header.bytes) {
            let bytes = header.bytes;
            return self
                .give_up(format!("ffmpeg announced a picture of {width}x{height} and gave one of {bytes} bytes"));
        }
        let pixels = match self.pictures.read_picture(header.bytes) {
            Ok(pixels) => pixels,
            Err(error) => return self.broken_off(&error),
        };
        let frame = Frame::new(width, height, self.read, header.time, pixels);
        self.read += 1;
        self.time = header.time;
        Ok(frame)
    }

    /// The pictures end in the middle of one when ffmpeg was stopped or died.
    fn broken_off(&mut self, error: &std::io::Error) -> Result<Option<Frame>, CaptureError> {
        if error.kind() == ErrorKind::UnexpectedEof { self.end() } else { self.give_up(error.to_string()) }
    }

    /// Ends the process, since its output makes no sense.
    fn give_up(&mut self, reason: String) -> Result<Option<Frame>, CaptureError> {
        self.ended = true;
        // Nobody reads what it would still write.
        self.process.end();
        Err(CaptureError::Unreadable { input: self.input(), frames: self.read, reason })
    }

    /// The process gives nothing more: finds out whether that was the end of the video.
    fn end(&mut self) -> Result<Option<Frame>, CaptureError> {
        self.ended = true;
        let succeeded = self.process.succeeded();
        if self.process.was_stopped() || self.options.limit.is_some_and(|limit| self.read >= limit) {
            return Ok(None);
        }
        let (log, input) = (self.process.log(), self.input());
        let reason = || log.reason().unwrap_or_else(|| "ffmpeg failed without saying why".into());
        if self.read == 0 {
            // A file that holds only sound fails at the choice of a stream; to the user that is a file without frames.
            if succeeded || log.mentions("matches no streams") {
                return Err(CaptureError::NoFrames { input });
            }
            let undecodable = log.mentions("Cannot determine format of input stream");
            let reason = if undecodable {
                format!("none of its pictures can be decoded: {}", reason())
            } else {
                bare(&reason())
            };
            return Err(CaptureError::Open { input, reason });
        }
        // A live stream may well lose a packet just before it is over.
        let is_file = !self.is_live() || self.options.realtime;
        let damage = if succeeded { self.damage_at_end().filter(|_| is_file) } else { Some(reason()) };
        match damage {
            Some(reason) => Err(CaptureError::Cut { input, frames: self.read, reason }),
            None => {
                if let Some(damage) = log.damage().filter(|_| is_file) {
                    warn(format_args!("{input} is damaged: what could be decoded was given; the last fault: {damage}"));
                }
                Ok(None)
            }
        }
    }

    /// The message that says that the end of a file is missing or damaged: damage just before it, or any if the
    /// pictures end too early. Damage in the middle is neither.
    fn damage_at_end(&self) -> Option<String> {
        // The sound may be a little longer than the pictures.
        const SLACK: Duration = Duration::from_millis(500);
        let log = self.process.log();
        let too_early = self.duration().is_some_and(|duration| self.time + SLACK < duration);
        log.damage_at_end().or_else(|| log.damage().filter(|_| too_early))
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

/// ffmpeg's message without the file name in front of it, or its own "Error opening input", both of which the error
/// says.
fn bare(reason: &str) -> String {
    reason.rsplit_once(": ").map_or(reason, |(_, last)| last).to_owned()
}
