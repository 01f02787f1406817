//! `deeppipeline behaviour`: the stages of behaviour recognition, all at work at the same time.

use crate::console::{note, print};
use crate::cost::{Cost, ceiling};
use crate::output::Output;
#[cfg(target_os = "linux")]
use crate::processes;
use crate::progress::{Counter, Progress};
use crate::serial;
use deeppipeline::pipeline::{Sourced, StopSignal, StopSignals};
use deeppipeline::{BoxError, Overflow, Pipeline, Report, stage};
use deeppipeline_vision::{
    Capture, ClassifyBehaviour, DetectPeople, Draw, EstimatePose, Record, Runtime, Scene, Track, WriteVideo,
    available_runtime, without_password,
};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments of the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Whatever FFmpeg opens: a file, a camera such as /dev/video0, an rtsp:// address, - for standard input
    pub(crate) input: OsString,

    /// The folder for the annotated video and the JSON lines
    #[arg(short, long, default_value = "out")]
    output: PathBuf,

    /// Replace results that are there already, instead of numbering the new ones
    #[arg(long)]
    overwrite: bool,

    /// The folder of the models
    #[arg(long, default_value = "models")]
    models: PathBuf,

    /// What runs the models: auto takes ONNX Runtime where its library is found, else pure Rust
    #[arg(long, value_enum, default_value_t = RuntimeChoice::Auto)]
    runtime: RuntimeChoice,

    /// What happens when a buffer is full [default: drop_oldest for live input, block for files]
    #[arg(long, value_parser = parse_overflow, value_name = "drop_oldest|drop_newest|block")]
    overflow: Option<Overflow>,

    /// How many samples wait in front of each stage at most
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    buffer_size: u32,

    /// Stop after that many frames
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Read a file as fast as it would play, as if it were live
    #[arg(long)]
    realtime: bool,

    /// How FFmpeg is to read the input, for what it cannot guess (its -f option, for example v4l2)
    #[arg(long)]
    format: Option<String>,

    /// Run each stage in a process of its own (Linux). One that dies is started again, without what it remembered (the
    /// tracker begins at number 1 again), and the frame that it had in flight is counted as lost; one that was writing
    /// a file ends the run
    #[arg(long)]
    multiprocess: bool,

    /// Afterwards run the same stages in series, and compare
    #[arg(long)]
    compare_serial: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum RuntimeChoice {
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
    fn in_words(self) -> Result<&'static str, BoxError> {
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

/// The input and the models, found to be in order before anything runs.
pub(crate) struct Opened {
    pub(crate) capture: Capture,
    detect: DetectPeople,
    pose: EstimatePose,
    classify: ClassifyBehaviour,
}

/// The stages, in order, before any of them runs.
pub(crate) struct Stages {
    pub(crate) capture: Capture,
    pub(crate) detect: DetectPeople,
    pub(crate) track: Track,
    pub(crate) pose: EstimatePose,
    pub(crate) classify: ClassifyBehaviour,
    pub(crate) record: Record,
    pub(crate) draw: Draw,
    pub(crate) write: WriteVideo,
}

impl Arguments {
    /// The runtime of the models.
    pub(crate) fn runtime(&self) -> Runtime {
        self.runtime.runtime()
    }

    /// The models that find people, read poses and name behaviour.
    pub(crate) fn models(&self) -> [PathBuf; 3] {
        ["nanodet_416.onnx", "movenet_lightning_192.onnx", "pose_classifier_body18.onnx"]
            .map(|name| self.models.join(name))
    }

    /// The input as it may be shown, and be part of a file's name.
    fn shown_input(&self) -> String {
        if self.input == "-" { "stdin".into() } else { without_password(&self.input) }
    }

    /// Opens the input and the models: what is wrong with them is found here, before anything runs.
    fn open(&self) -> Result<Opened, BoxError> {
        let [detect, pose, classify] = self.models();
        let detect = DetectPeople::load_with(detect, self.runtime())?;
        let pose = EstimatePose::load_with(pose, self.runtime())?;
        let classify = ClassifyBehaviour::load_with(classify, self.runtime())?;
        let mut capture = Capture::options(&self.input).realtime(self.realtime);
        if let Some(format) = &self.format {
            capture = capture.format(format);
        }
        if let Some(limit) = self.limit {
            capture = capture.limit(limit);
        }
        Ok(Opened { capture: capture.open()?, detect, pose, classify })
    }
}

impl Opened {
    /// Every stage, here in this process. Creates the files of the output.
    fn stages(self, output: &Output) -> Result<Stages, BoxError> {
        let Opened { capture, detect, pose, classify } = self;
        let record = Record::create(output.jsonl())?;
        let write = WriteVideo::create(output.video(), capture.frame_rate())?;
        Ok(Stages { detect, track: Track::new(), pose, classify, record, draw: Draw::new(), write, capture })
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, BoxError> {
    let output = Output::create(&arguments.output, &arguments.shown_input(), arguments.overwrite)?;
    let opened = arguments.open()?;
    let capture = &opened.capture;
    let live = capture.is_live();
    let overflow = arguments.overflow.unwrap_or(if live { Overflow::DropOldest } else { Overflow::Block });
    note(format_args!(
        "{}: {} x {}, {}; models run by {}; buffers of {}, {overflow}",
        arguments.shown_input(),
        capture.width(),
        capture.height(),
        capture.frame_rate().map_or("frame rate unknown".to_owned(), |rate| format!("{rate:.3} frames/s")),
        arguments.runtime.in_words()?,
        arguments.buffer_size,
    ));

    let progress = Progress::new(if live { None } else { capture.frames() });
    let before = Cost::now();
    let (result, stop) = pipelined(arguments, opened, overflow, &output, &progress);
    // It is how a live stream ends; a file it cuts short.
    let interrupted = || stop.as_ref().and_then(StopSignals::received).filter(|_| !live);
    let cost = Cost::now() - before;
    let frames = progress.finish();

    // The results get their names before anything is said about them: saying it may fail.
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            return Err(match &output.keep_partial()[..] {
                [] => error,
                kept => format!("{error} (what was done before is kept as {})", listed(kept)).into(),
            });
        }
    };
    if let Some(signal) = interrupted() {
        let kept = match &output.keep_partial()[..] {
            [] => "nothing is kept".to_owned(),
            kept => format!("what was done is kept as {}", listed(kept)),
        };
        note(format_args!("interrupted after {frames} frames; {kept}"));
        print(report)?;
        return Ok(signal.exit_code().into());
    }
    let kept = output.keep();
    let rate = frames as f64 / report.elapsed.as_secs_f64();
    let cost = cost.milliseconds_per(frames);
    let summary = format!("{report}\n{frames} frames, {rate:.1} frames/s, {cost:.1} ms of CPU a frame");
    let kept = match kept {
        Ok(kept) => listed(&kept),
        Err(error) => {
            // That the results have no name is the error to tell, also where the report finds no reader.
            let _ = print(summary);
            return Err(error);
        }
    };
    print(format_args!("{summary}\nwrote {kept}")).map_err(|error| format!("{error}; wrote {kept}"))?;
    if arguments.compare_serial && !live {
        compare(arguments, rate, interrupted)
            .map_err(|error| format!("no comparison with the same stages in series: {error}; wrote {kept}"))?;
    }
    Ok(interrupted().map_or(ExitCode::SUCCESS, |signal| signal.exit_code().into()))
}

/// The paths as a list in a sentence.
fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// All stages at work at the same time. Also hands back what tells whether the command was asked to stop.
fn pipelined(
    arguments: &Arguments,
    opened: Opened,
    overflow: Overflow,
    output: &Output,
    progress: &Progress,
) -> (Result<Report, BoxError>, Option<StopSignals>) {
    let pipeline = match start(arguments, opened, overflow, output, progress.counter()) {
        Ok(pipeline) => pipeline,
        Err(error) => return (Err(error), None),
    };
    let stop = pipeline.on_stop_signals();
    let result = progress.while_running(|| pipeline.join(), || pipeline.report());
    (result.map_err(BoxError::from), stop.ok())
}

/// Starts every stage, on a thread or in a process.
fn start(
    arguments: &Arguments,
    opened: Opened,
    overflow: Overflow,
    output: &Output,
    seen: Counter,
) -> Result<Pipeline<Sourced>, BoxError> {
    let builder = Pipeline::builder().buffer_size(arguments.buffer_size as usize).overflow(overflow);
    if arguments.multiprocess {
        #[cfg(target_os = "linux")]
        return Ok(processes::start(arguments, builder, opened.capture, output, seen)?);
        #[cfg(not(target_os = "linux"))]
        return Err("--multiprocess needs Linux: leave it out, and each stage runs on a thread".into());
    }
    let Stages { capture, detect, track, pose, classify, record, draw, write } = opened.stages(output)?;
    let progress = move |scene: Scene| {
        seen.count(scene.people.len());
        scene
    };
    let pipeline = builder
        .source(capture)
        .stage(detect)
        .stage(track)
        .stage(pose)
        .stage(stage(classify).intake(ClassifyBehaviour::window().by_keys(ClassifyBehaviour::sights)))
        .stage(record)
        .stage(stage(progress).name("Progress"))
        .stage(draw)
        .end_stage(write)
        .start()?;
    Ok(pipeline)
}

/// The same stages one after the other on one thread, and what the pipeline gained over that.
fn compare(
    arguments: &Arguments,
    pipelined_rate: f64,
    interrupted: impl Fn() -> Option<StopSignal>,
) -> Result<(), BoxError> {
    let scratch = Output::scratch(&arguments.output, &arguments.shown_input())?;
    let stages = arguments.open()?.stages(&scratch)?;
    let progress = Progress::new(stages.capture.frames());
    let before = Cost::now();
    let serial = serial::run(stages, &progress, || interrupted().is_some())?;
    let cost = Cost::now() - before;
    progress.finish();
    if interrupted().is_some() {
        note("interrupted: no comparison");
        return Ok(());
    }
    let serial_rate = serial.frames as f64 / serial.elapsed.as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (slowest, slowest_time) = serial.slowest();
    let most = ceiling(cores, cost, serial.frames, slowest_time);
    let cost = cost.milliseconds_per(serial.frames);
    print(format_args!(
        "\nthe same stages in series: {serial_rate:.1} frames/s\nspeed-up {:.2}x\n\
         ceiling {most:.1} frames/s = min({cores} cores / {cost:.1} ms of CPU a frame, 1 / {:.1} ms of {slowest}); \
         reached {:.0} %",
        pipelined_rate / serial_rate,
        slowest_time.as_secs_f64() * 1000.0,
        100.0 * pipelined_rate / most,
    ))
}
