//! What the command line says, and what is made of it before anything runs.

use crate::each_input::EachInput;
use crate::output::Output;
use deeppipeline::{BoxError, Overflow};
use deeppipeline_monitor::{Dashboard, OpenError, Options};
use deeppipeline_vision::{
    Capture, CaptureOptions, ClassifyBehaviour, DetectPeople, Draw, EstimatePose, Record, Runtime, Track, WriteVideo,
    available_runtime, without_password,
};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The arguments of the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Whatever FFmpeg opens: a file, a camera such as /dev/video0, an rtsp:// address, - for standard input. Several
    /// share the models, which take from them in turn. A camera that goes away is opened again, unless there is a limit
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<OsString>,

    /// The folder for the annotated video and the JSON lines of each input
    #[arg(short, long, default_value = "out")]
    pub(crate) output: PathBuf,

    /// Replace results that are there already, instead of numbering the new ones
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// The folder of the models
    #[arg(long, default_value = "models")]
    pub(crate) models: PathBuf,

    /// What runs the models: auto takes ONNX Runtime where its library is found, else pure Rust
    #[arg(long, value_enum, default_value_t = RuntimeChoice::Auto)]
    pub(crate) runtime: RuntimeChoice,

    /// What happens when a buffer is full [default: drop_oldest for live input, block for files]
    #[arg(long, value_parser = parse_overflow, value_name = "drop_oldest|drop_newest|block")]
    pub(crate) overflow: Option<Overflow>,

    /// How many samples wait in front of each stage at most
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) buffer_size: u32,

    /// Look for people in every so many frames only. They are tracked and drawn in every frame, with the newest
    /// detections that there are, so that in a file, too, what is written depends a little on how fast the machine is
    #[arg(long, value_name = "FRAMES", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) detect_every: u64,

    /// Stop after that many frames of each input
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,

    /// Read a file as fast as it would play, as if it were live
    #[arg(long)]
    pub(crate) realtime: bool,

    /// How FFmpeg is to read the inputs, for what it cannot guess (its -f option, for example v4l2)
    #[arg(long)]
    pub(crate) format: Option<String>,

    /// Run each stage in a process of its own (Linux). One that dies is started again, without what it remembered (the
    /// tracker begins at number 1 again), and the frame that it had in flight is counted as lost; one that was writing
    /// a file ends the run
    #[arg(long)]
    pub(crate) multiprocess: bool,

    /// Show the pipeline live in the browser while it runs: at port 8910 of this machine, or where this says, a port or an
    /// IP address and a port (with another address than this machine's, whoever looks needs the token that is told)
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, value_parser = parse_dashboard)]
    pub(crate) dashboard: Option<Option<SocketAddr>>,

    /// Write at the end when each of the last 1,000 frames was at which stage: as a picture where the name ends in .svg,
    /// otherwise as JSON that Perfetto opens, and `deeppipeline timeline` and `simulate` read
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,

    /// Write the same into this folder when something goes wrong, or on SIGUSR2
    #[arg(long, value_name = "FOLDER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) dump_to: Option<String>,

    /// Afterwards run the same stages in series, and compare. For one input
    #[arg(long)]
    pub(crate) compare_serial: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum RuntimeChoice {
    Auto,
    Onnxruntime,
    PureRust,
}

impl RuntimeChoice {
    fn runtime(self) -> Runtime {
        match self {
            RuntimeChoice::Auto => Runtime::Auto,
            RuntimeChoice::Onnxruntime => Runtime::OnnxRuntime,
            RuntimeChoice::PureRust => Runtime::PureRust,
        }
    }

    /// The name of the runtime that will run the models.
    pub(crate) fn in_words(self) -> Result<&'static str, BoxError> {
        let runtime = match self.runtime() {
            Runtime::Auto => available_runtime()?,
            chosen => chosen,
        };
        Ok(if runtime == Runtime::PureRust { "pure Rust" } else { "ONNX Runtime" })
    }
}

fn parse_overflow(name: &str) -> Result<Overflow, String> {
    name.parse::<Overflow>().map_err(|error| error.to_string())
}

/// The address of the dashboard, from a port or an address.
fn parse_dashboard(address: &str) -> Result<SocketAddr, &'static str> {
    let port = address.parse::<u16>().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    port.or_else(|_| address.parse()).map_err(|_| "wants a port, or an IP address and a port as in 127.0.0.1:8910")
}

/// The inputs and the models, found to be in order before anything runs.
pub(crate) struct Opened {
    /// Each with its name.
    pub(crate) captures: Vec<(String, Capture)>,
    pub(crate) detect: DetectPeople,
    pub(crate) pose: EstimatePose,
    pub(crate) classify: ClassifyBehaviour,
}

/// The stages, in order, before any of them runs.
pub(crate) struct Stages {
    pub(crate) captures: Vec<(String, Capture)>,
    pub(crate) detect: DetectPeople,
    pub(crate) track: EachInput<Track>,
    pub(crate) pose: EstimatePose,
    pub(crate) classify: ClassifyBehaviour,
    pub(crate) record: EachInput<Record>,
    pub(crate) draw: Draw,
    pub(crate) write: EachInput<WriteVideo>,
}

impl Arguments {
    /// The runtime of the models.
    pub(crate) fn runtime(&self) -> Runtime {
        self.runtime.runtime()
    }

    /// The dashboard, if one is asked for.
    pub(crate) fn open_dashboard(&self) -> Result<Option<Dashboard>, OpenError> {
        let Some(address) = self.dashboard else { return Ok(None) };
        let options = address.map_or_else(Options::new, |address| Options::new().address(address));
        options.open().map(Some)
    }

    /// The models that find people, read poses and name behaviour.
    pub(crate) fn models(&self) -> [PathBuf; 3] {
        ["nanodet_416.onnx", "movenet_lightning_192.onnx", "pose_classifier_body18.onnx"]
            .map(|name| self.models.join(name))
    }

    /// The inputs as they may be shown, and be part of a file's name; no two are the same.
    pub(crate) fn names(&self) -> Result<Vec<String>, BoxError> {
        let shown = |input: &OsString| if input == "-" { "stdin".into() } else { without_password(input) };
        let shown: Vec<String> = self.inputs.iter().map(shown).collect();
        if self.inputs.iter().filter(|input| *input == "-").count() > 1 {
            return Err("standard input (-) is given twice as an input, but can be read once".into());
        }
        if self.compare_serial && shown.len() > 1 {
            return Err(format!("--compare-serial takes one input, but got {}", shown.len()).into());
        }
        let named = shown.iter().enumerate().map(|(place, name)| {
            let before = shown[..place].iter().filter(|other| *other == name).count();
            if before == 0 { name.clone() } else { format!("{name} ({})", before + 1) }
        });
        Ok(named.collect())
    }

    /// Opens the inputs and the models: what is wrong with them is found here, before anything runs.
    pub(crate) fn open(&self) -> Result<Opened, BoxError> {
        let [detect, pose, classify] = self.models();
        let detect = DetectPeople::load_with(detect, self.runtime())?;
        let pose = EstimatePose::load_with(pose, self.runtime())?;
        let classify = ClassifyBehaviour::load_with(classify, self.runtime())?;
        let captures = self.inputs.iter().map(|input| self.options(input).open());
        let captures = self.names()?.into_iter().zip(captures);
        let captures = captures.map(|(name, capture)| Ok((name, capture?))).collect::<Result<_, BoxError>>()?;
        Ok(Opened { captures, detect, pose, classify })
    }

    /// How one of the inputs is to be opened.
    fn options(&self, input: &OsString) -> CaptureOptions {
        let mut options = Capture::options(input).realtime(self.realtime);
        if let Some(format) = &self.format {
            options = options.format(format);
        }
        match self.limit {
            Some(limit) => options.limit(limit),
            None => options,
        }
    }
}

impl Opened {
    /// Every stage, here in this process. Creates the files of the outputs, one for each input.
    pub(crate) fn stages(self, outputs: &[Output]) -> Result<Stages, BoxError> {
        let Opened { captures, detect, pose, classify } = self;
        let names = || captures.iter().map(|(name, _)| name.clone());
        let track = EachInput::new(names().map(|name| (name, Track::new())));
        let records = names().zip(outputs).map(|(name, output)| Ok((name, Record::create(output.jsonl())?)));
        let record = EachInput::new(records.collect::<Result<Vec<_>, BoxError>>()?);
        let writes = captures.iter().zip(outputs).map(|((name, capture), output)| {
            Ok((name.clone(), WriteVideo::create(output.video(), capture.frame_rate())?))
        });
        let write = EachInput::new(writes.collect::<Result<Vec<_>, BoxError>>()?);
        Ok(Stages { captures, detect, track, pose, classify, record, draw: Draw::new(), write })
    }
}
