//! `deeppipeline behaviour`: the stages of behaviour recognition, all at work at the same time.

use crate::arguments::{Arguments, Opened, Stages};
use crate::cameras::Cameras;
use crate::console::{note, print};
use crate::cost::{Cost, ceiling};
use crate::output::Output;
#[cfg(target_os = "linux")]
use crate::processes;
use crate::progress::{Counter, Progress};
use crate::serial;
use deeppipeline::builder::{Builder, Chain, IntoStage, Onward};
use deeppipeline::pipeline::{StopSignal, StopSignals};
use deeppipeline::report::SourceState;
use deeppipeline::{BoxError, Overflow, Pipeline, Report, StageError, chain, entrance, stage};
use deeppipeline_vision::{Capture, ClassifyBehaviour, Detections, Follow, Frame, Scene};
use std::cell::RefCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, BoxError> {
    let outputs = Output::create(&arguments.output, &arguments.names()?, arguments.overwrite)?;
    let opened = arguments.open()?;
    let dashboard = arguments.open_dashboard()?;
    if let Some(dashboard) = &dashboard {
        note(format_args!("the dashboard is at {}", dashboard.url()));
    }
    let captures = || opened.captures.iter().map(|(_, capture)| capture);
    let any_live = captures().any(Capture::is_live);
    let overflow = arguments.overflow.unwrap_or(if any_live { Overflow::DropOldest } else { Overflow::Block });
    for (name, capture) in &opened.captures {
        note(format_args!(
            "{name}: {} x {}, {}; models run by {}; buffers of {}, {overflow}",
            capture.width(),
            capture.height(),
            capture.frame_rate().map_or("frame rate unknown".to_owned(), |rate| format!("{rate:.3} frames/s")),
            arguments.runtime.in_words()?,
            arguments.buffer_size,
        ));
    }
    let inputs: Vec<Input> = opened.captures.iter().map(Input::of).collect();

    let progress = Progress::new(if any_live { None } else { captures().map(Capture::frames).sum() });
    let before = Cost::now();
    let watched = |pipeline: &Pipeline<Frame>| {
        if let Some(dashboard) = &dashboard {
            dashboard.watch("behaviour", pipeline.reporter());
        }
    };
    let (result, stop) = pipelined(arguments, opened, overflow, &outputs, &progress, watched);
    let asked_to_stop = || stop.as_ref().and_then(StopSignals::received);
    let cost = Cost::now() - before;
    let frames = progress.finish();

    // The results get their names before anything is said about them: saying it may fail.
    let is_whole = |input: &Input| match &result {
        Err(failed) => failed.is_without(&input.name),
        // It is how a live stream ends; a file it cuts short.
        Ok(_) => input.is_live || asked_to_stop().is_none(),
    };
    let (whole, cut_short): (Vec<_>, Vec<_>) = outputs.into_iter().zip(&inputs).partition(|(_, input)| is_whole(input));
    let is_interrupted = !cut_short.is_empty();
    let partial: Vec<PathBuf> = cut_short.into_iter().flat_map(|(output, _)| output.keep_partial()).collect();
    // One that cannot have its name does not cost the others theirs.
    let kept: Vec<_> = whole.into_iter().map(|(output, _)| output.keep()).collect();
    let kept = kept.into_iter().collect::<Result<Vec<_>, _>>();
    let kept = kept.map(|kept| listed(&[partial, kept.concat()].concat()));

    let report = match result {
        Ok(report) => report,
        Err(failed) => {
            return Err(match kept {
                Ok(kept) if kept.is_empty() => failed.error,
                Ok(kept) => format!("{} (what was done before is kept as {kept})", failed.error).into(),
                Err(error) => format!("{}; {error}", failed.error).into(),
            });
        }
    };
    if let Some(signal) = asked_to_stop().filter(|_| is_interrupted) {
        let kept = match kept {
            Ok(kept) if kept.is_empty() => "nothing is kept".to_owned(),
            Ok(kept) => format!("what was done is kept as {kept}"),
            Err(error) => error.to_string(),
        };
        note(format_args!("interrupted after {frames} frames; {kept}"));
        print(report)?;
        return Ok(signal.exit_code().into());
    }
    let rate = frames as f64 / report.elapsed.as_secs_f64();
    let cost = cost.milliseconds_per(frames);
    let limit = report.explain();
    let summary = format!("{report}\n{limit}\n{frames} frames, {rate:.1} frames/s, {cost:.1} ms of CPU a frame");
    let kept = match kept {
        Ok(kept) => kept,
        Err(error) => {
            // That the results have no name is the error to tell, also where the report finds no reader.
            let _ = print(summary);
            return Err(error);
        }
    };
    print(format_args!("{summary}\nwrote {kept}")).map_err(|error| format!("{error}; wrote {kept}"))?;
    // While the same stages run in series.
    let interrupted = || asked_to_stop().filter(|_| !any_live);
    if arguments.compare_serial && !any_live {
        compare(arguments, rate, interrupted)
            .map_err(|error| format!("no comparison with the same stages in series: {error}; wrote {kept}"))?;
    }
    Ok(interrupted().map_or(ExitCode::SUCCESS, |signal| signal.exit_code().into()))
}

/// The paths as a list in a sentence.
fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// An input, as far as it says what becomes of its results.
struct Input {
    name: String,
    is_live: bool,
}

impl Input {
    fn of((name, capture): &(String, Capture)) -> Self {
        Input { name: name.clone(), is_live: capture.is_live() }
    }
}

/// A run that failed.
struct Failed {
    error: BoxError,
    /// The inputs that failed, each alone; none where it was something else.
    inputs: Vec<String>,
}

impl Failed {
    fn start(error: BoxError) -> Self {
        Failed { error, inputs: Vec::new() }
    }

    fn run(error: StageError) -> Self {
        let sources = error.report().sources.iter().filter(|source| source.state == SourceState::Failed);
        let inputs: Vec<String> = sources.map(|source| source.name.clone()).collect();
        let is_of_an_input = inputs.iter().any(|input| input == error.stage());
        Failed { inputs: if is_of_an_input { inputs } else { Vec::new() }, error: error.into() }
    }

    /// Returns true if everything of that input is there all the same.
    fn is_without(&self, input: &str) -> bool {
        !self.inputs.is_empty() && self.inputs.iter().all(|failed| failed != input)
    }
}

/// All stages at work at the same time. Also hands back what tells whether the command was asked to stop.
fn pipelined(
    arguments: &Arguments,
    opened: Opened,
    overflow: Overflow,
    outputs: &[Output],
    progress: &Progress,
    watched: impl FnOnce(&Pipeline<Frame>),
) -> (Result<Report, Failed>, Option<StopSignals>) {
    let pipeline = match start(arguments, opened, overflow, outputs, progress.counter()) {
        Ok(pipeline) => pipeline,
        Err(error) => return (Err(Failed::start(error)), None),
    };
    watched(&pipeline);
    let stop = pipeline.on_stop_signals();
    let cameras = RefCell::new(Cameras::default());
    let report = || {
        let report = pipeline.report();
        cameras.borrow_mut().tell(&report);
        report
    };
    let mut result = progress.while_running(|| pipeline.join(), report).map_err(Failed::run);
    if let Some(file) = &arguments.timeline
        && let Err(error) = pipeline.timeline().save(file, None)
        && result.is_ok()
    {
        result = Err(Failed::start(format!("cannot write {}: {error}", file.display()).into()));
    }
    (result, stop.ok())
}

/// Starts every stage, on a thread or in a process.
fn start(
    arguments: &Arguments,
    opened: Opened,
    overflow: Overflow,
    outputs: &[Output],
    seen: Counter,
) -> Result<Pipeline<Frame>, BoxError> {
    let mut builder = Pipeline::builder().buffer_size(arguments.buffer_size as usize).overflow(overflow);
    if let Some(folder) = &arguments.dump_to {
        builder = builder.dump_to(folder);
    }
    if arguments.multiprocess {
        #[cfg(target_os = "linux")]
        return Ok(processes::start(arguments, builder, overflow, opened.captures, outputs, seen)?);
        #[cfg(not(target_os = "linux"))]
        return Err("--multiprocess needs Linux: leave it out, and each stage runs on a thread".into());
    }
    let Stages { captures, detect, track, pose, classify, record, draw, write } = opened.stages(outputs)?;
    let progress = move |scene: Scene| {
        seen.count(scene.people.len());
        scene
    };
    let window = ClassifyBehaviour::window_of(captures.len());
    let builder = with_sources(builder, arguments, captures);
    let tracked = match arguments.detect_every {
        1 => builder.stage(detect).stage(track),
        every => {
            let followed = builder.parallel_latest((frames(), detections(every, overflow, detect)));
            followed.stage(track.map(Follow::new))
        }
    };
    let pipeline = tracked
        .stage(pose)
        .stage(stage(classify).intake(window.by_keys(ClassifyBehaviour::sights)))
        .stage(record)
        .stage(stage(progress).name("Progress"))
        .stage(draw)
        .end_stage(write)
        .start()?;
    Ok(pipeline)
}

/// Adds a source for each input. A camera that goes away, or gives nothing for long, is opened again.
pub(crate) fn with_sources(
    builder: Builder<Frame, Frame>,
    arguments: &Arguments,
    captures: Vec<(String, Capture)>,
) -> Builder<Frame, Frame> {
    const GIVES_NOTHING: Duration = Duration::from_secs(10);
    captures.into_iter().zip(&arguments.inputs).fold(builder, |builder, ((name, capture), input)| {
        // What is read in real time is a file, and a limit is an end that is wanted.
        let is_camera = capture.is_live() && !arguments.realtime && arguments.limit.is_none() && input != "-";
        match is_camera {
            true => builder.source_at(entrance(name).stall_timeout(GIVES_NOTHING), capture.restarting()),
            false => builder.source_at(name, capture),
        }
    })
}

/// The branch in which every frame goes on at once.
pub(crate) fn frames() -> Chain<Frame, Frame> {
    chain().stage(stage(|frame: Frame| frame).name("Frames"))
}

/// The branch in which people are looked for, in every so many frames. It must not be late behind a live stream; of a
/// file nothing is left out.
pub(crate) fn detections<S, M>(every: u64, overflow: Overflow, detect: S) -> Chain<Frame, Detections>
where
    S: IntoStage<Frame, M, Onward<Scene>>,
{
    let looked_at = move |frame: Frame| frame.index.is_multiple_of(every).then_some(frame);
    chain()
        .stage(stage(looked_at).name("EveryNth").overflow(overflow))
        .stage(detect)
        .stage(stage(Detections::from).name("Detections"))
}

/// The same stages one after the other on one thread, and what the pipeline gained over that.
fn compare(
    arguments: &Arguments,
    pipelined_rate: f64,
    interrupted: impl Fn() -> Option<StopSignal>,
) -> Result<(), BoxError> {
    let scratch = Output::scratch(&arguments.output)?;
    let stages = arguments.open()?.stages(std::slice::from_ref(&scratch))?;
    let progress = Progress::new(stages.captures.iter().map(|(_, capture)| capture.frames()).sum());
    let before = Cost::now();
    let serial = serial::run(stages, arguments.detect_every, &progress, || interrupted().is_some())?;
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
