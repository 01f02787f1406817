//! Writing pictures into a video file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use deeppipeline::{BoxError, Give, Stage};

use crate::address;
use crate::ffmpeg::{Ffmpeg, Process};
use crate::frame::Frame;
use crate::letterbox::letterbox;
use crate::matroska;
use crate::part_file::{OutputError, PartFile};
use crate::scene::Scene;
use crate::warning::warn;

/// Writes the pictures into a video file (H.264 in MP4 unless the name ends otherwise), each at its own time.
///
/// An `ffmpeg` process encodes, with a cheap setting: x264 `ultrafast`, or MPEG-4 Part 2 where ffmpeg lacks x264.
/// Colours are converted to BT.709 and tagged so. The file gets its name when everything that reached it is written; if
/// writing fails or the pipeline is aborted, nothing is left. When a stage before it fails, what had passed that stage
/// is still written: give the file a name that says so, and rename it when the pipeline has succeeded, as `deeppipeline
/// behaviour` does.
///
/// The video has the size of the first picture. One of another size is fitted into it, with black around, and a warning
/// is logged (`tracing`). An odd width or height is padded by one black pixel, which 4:2:0 video needs.
pub struct WriteVideo {
    ffmpeg: Ffmpeg,
    /// The encoder, before the part, because what is dropped first cannot write to it any more.
    encoder: Option<Encoder>,
    part: Option<PartFile>,
    path: PathBuf,
    format: String,
    frame_time: Duration,
    last_time: Option<Duration>,
    fitted: bool,
}

/// The running process; the pipe comes first so that dropping ends the input before the process is waited for.
struct Encoder {
    pixels: ChildStdin,
    process: Process,
    size: (u32, u32),
}

impl WriteVideo {
    /// Checks at once that the file can be written and that there is an ffmpeg. `frame_rate` is about how many pictures
    /// come per second; it counts for the last picture's length only.
    ///
    /// # Errors
    /// If the folder cannot be written to, or there is no ffmpeg.
    pub fn create(path: impl AsRef<Path>, frame_rate: Option<f64>) -> Result<Self, OutputError> {
        const USUAL_RATE: f64 = 25.0;
        let path = path.as_ref();
        let ffmpeg = Ffmpeg::find()?;
        let (part, _) = PartFile::create(path)?;
        let rate = frame_rate.filter(|rate| (1.0..=1000.0).contains(rate)).unwrap_or(USUAL_RATE);
        let format = match path.extension().and_then(|it| it.to_str()).unwrap_or("mp4").to_ascii_lowercase().as_str() {
            "mkv" => "matroska",
            "mov" => "mov",
            "avi" => "avi",
            "ts" => "mpegts",
            _ => "mp4",
        }
        .to_owned();
        let frame_time = Duration::from_secs_f64(1.0 / rate);
        Ok(Self {
            ffmpeg,
            part: Some(part),
            path: path.to_owned(),
            format,
            frame_time,
            encoder: None,
            last_time: None,
            fitted: false,
        })
    }

    fn start(&self, part: &PartFile, frame: &Frame) -> Result<Encoder, OutputError> {
        let mut command = self.ffmpeg.command();
        command.args(["-f", "matroska", "-i", "pipe:0"]);
        let pad = "pad=ceil(iw/2)*2:ceil(ih/2)*2";
        command.args(["-vf", &format!("{pad},scale=out_color_matrix=bt709:out_range=tv,format=yuv420p")]);
        command.args([
            "-colorspace",
            "bt709",
            "-color_primaries",
            "bt709",
            "-color_trc",
            "bt709",
            "-color_range",
            "tv",
        ]);
        if self.ffmpeg.has_encoder("libx264") {
            command.args(["-c:v", "libx264", "-preset", "ultrafast", "-crf", "23"]);
        } else {
            command.args(["-c:v", "mpeg4", "-q:v", "4"]);
        }
        command.args(self.ffmpeg.pass_through());
        if matches!(self.format.as_str(), "mp4" | "mov") {
            // The table of contents in front, so that a player can start before it has the whole file.
            command.args(["-movflags", "+faststart", "-video_track_timescale", "90000"]);
        }
        command.args(["-f", &self.format, "-y"]).arg(address::file(part.path().as_os_str()));
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let (process, _) = Process::start(&mut command, None).map_err(|error| part.error(error))?;
        let pixels = process.take(|child| child.stdin.take()).map_err(|error| part.error(error))?;
        #[cfg(target_os = "linux")]
        // A wider pipe means fewer switches between the two processes; it works without.
        let _ = rustix::pipe::fcntl_setpipe_size(&pixels, 1 << 20);
        let mut encoder = Encoder { pixels, process, size: (frame.width, frame.height) };
        let header = matroska::header(frame.width, frame.height, self.frame_time);
        // If ffmpeg is gone already, the first picture will say so.
        let _ = encoder.pixels.write_all(&header);
        Ok(encoder)
    }

    fn write(&mut self, frame: &Frame) -> Result<(), OutputError> {
        let Some(part) = &self.part else { return Ok(()) };
        if frame.pixels.is_empty() {
            return Err(part.error(format!("picture {} has no pixels", frame.index)));
        }
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => self.start(part, frame)?,
        };
        let (width, height) = encoder.size;
        let fitted = (encoder.size != (frame.width, frame.height)).then(|| letterbox(frame, width, height));
        if fitted.is_some() && !self.fitted {
            self.fitted = true;
            let (changed, path) = (format!("{}x{}", frame.width, frame.height), self.path.display());
            warn(format_args!("{path} is a video of {width}x{height}, into which a picture of {changed} is fitted"));
        }
        let pixels = fitted.as_deref().unwrap_or(&frame.pixels);
        // A container needs rising times; a picture that claims an earlier one is shown right after the last.
        const SHORTEST: Duration = Duration::from_micros(100);
        let time = self.last_time.map_or(frame.time, |last| frame.time.max(last + SHORTEST));
        let written = encoder
            .pixels
            .write_all(&matroska::picture_header(time, pixels.len()))
            .and_then(|()| encoder.pixels.write_all(pixels));
        if let Err(error) = written {
            let Encoder { pixels, mut process, .. } = encoder;
            drop(pixels);
            process.wait();
            return Err(part.error(process.log().reason().unwrap_or_else(|| error.to_string())));
        }
        self.last_time = Some(time);
        self.encoder = Some(encoder);
        Ok(())
    }

    /// Ends the file and gives it its name.
    fn complete(&mut self) -> Result<(), OutputError> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let Some(Encoder { pixels, mut process, .. }) = self.encoder.take() else {
            return Err(part.error("there was no picture to write"));
        };
        drop(pixels);
        if !process.succeeded() {
            return Err(part.error(process.log().reason().unwrap_or_else(|| "ffmpeg failed without saying why".into())));
        }
        part.keep()
    }
}

impl Stage for WriteVideo {
    type Input = Scene;
    type Output = ();

    fn stage_run(&mut self, scene: Scene) -> Result<Give<()>, BoxError> {
        self.write(&scene.frame)?;
        Ok(Give::One(()))
    }

    fn finish(&mut self) -> Result<Give<()>, BoxError> {
        self.complete()?;
        Ok(Give::Skip)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        // Not finished means failed: the process goes first, then the part it was writing.
        self.encoder = None;
        self.part = None;
        Ok(())
    }
}
