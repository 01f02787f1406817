//! `deeppipeline behaviour`: the stages of behaviour recognition, all at work at the same time.

use crate::arguments::{Arguments, Opened, Stages};
use crate::console::{note, print};
use crate::cost::{Cost, ceiling};
use crate::output::Output;
#[cfg(target_os = "linux")]
use crate::processes;
use crate::progress::{Counter, Progress};
use crate::serial;
use deeppipeline::builder::{Chain, IntoStage, Onward};
use deeppipeline::pipeline::{Sourced, StopSignal, StopSignals};
use deeppipeline::{BoxError, Overflow, Pipeline, Report, chain, stage};
use deeppipeline_vision::{ClassifyBehaviour, Detections, Follow, Frame, Scene};
use std::path::PathBuf;
use std::process::ExitCode;

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
        return Ok(processes::start(arguments, builder, overflow, opened.capture, output, seen)?);
        #[cfg(not(target_os = "linux"))]
        return Err("--multiprocess needs Linux: leave it out, and each stage runs on a thread".into());
    }
    let Stages { capture, detect, track, pose, classify, record, draw, write } = opened.stages(output)?;
    let progress = move |scene: Scene| {
        seen.count(scene.people.len());
        scene
    };
    let builder = builder.source(capture);
    let tracked = match arguments.detect_every {
        1 => builder.stage(detect).stage(track),
        every => builder.parallel_latest((frames(), detections(every, overflow, detect))).stage(Follow::new(track)),
    };
    let pipeline = tracked
        .stage(pose)
        .stage(stage(classify).intake(ClassifyBehaviour::window().by_keys(ClassifyBehaviour::sights)))
        .stage(record)
        .stage(stage(progress).name("Progress"))
        .stage(draw)
        .end_stage(write)
        .start()?;
    Ok(pipeline)
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
    let scratch = Output::scratch(&arguments.output, &arguments.shown_input())?;
    let stages = arguments.open()?.stages(&scratch)?;
    let progress = Progress::new(stages.capture.frames());
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
