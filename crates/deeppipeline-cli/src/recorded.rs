//! What is done with a timeline in a file: `deeppipeline timeline` draws it, `deeppipeline simulate` does it again with other
//! settings.

use crate::console::print;
use deeppipeline::BoxError;
use deeppipeline::report::{Goal, Prediction, Setting, Timeline, Visit};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

/// The arguments of `timeline`.
#[derive(clap::Args)]
pub(crate) struct TimelineArguments {
    /// The file: what `behaviour --timeline`, `dump_to` or `Timeline.save` has written
    file: PathBuf,

    /// Write it there: as a picture where the name ends in .svg, otherwise as JSON that Perfetto opens
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Only the last seconds
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    last: Option<Duration>,

    /// Print the way of one sample, by its number, or draw it in the picture
    #[arg(long, value_name = "NUMBER")]
    follow: Option<u64>,
}

/// The arguments of `simulate`.
#[derive(clap::Args)]
pub(crate) struct SimulateArguments {
    /// The file: what `behaviour --timeline`, `dump_to` or `Timeline.save` has written
    file: PathBuf,

    /// Set something of a stage otherwise: workers, buffer_size, overflow, max_age in seconds, or batch. May be given several
    /// times
    #[arg(long, value_name = "STAGE.OPTION=VALUE")]
    set: Vec<Setting>,

    /// Search for numbers of workers and buffer sizes with which more comes out, or what comes out is younger
    #[arg(long, value_name = "GOAL", conflicts_with = "set")]
    tune: Option<GoalChoice>,

    /// The workers that all stages may have together [default: as many as there are cores, or as there were]
    #[arg(long, value_name = "NUMBER", requires = "tune")]
    most_workers: Option<usize>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum GoalChoice {
    Rate,
    Age,
}

fn parse_seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or("wants a number of seconds, 0 or more")
}

fn read(file: &Path) -> Result<Timeline, BoxError> {
    let text = fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Timeline::from_json(&text).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Runs `timeline`.
pub(crate) fn timeline(arguments: &TimelineArguments) -> Result<ExitCode, BoxError> {
    let mut timeline = read(&arguments.file)?;
    if let Some(last) = arguments.last {
        timeline = timeline.last(last);
    }
    if let Some(number) = arguments.follow
        && timeline.of_sample(number).is_empty()
    {
        return Err(format!("there is no sample {number}; {}", numbers(&timeline)).into());
    }
    match (&arguments.output, arguments.follow) {
        (Some(output), follow) => {
            let saved = timeline.save(output, follow);
            saved.map_err(|error| format!("cannot write {}: {error}", output.display()))?;
            print(format_args!("wrote {}", output.display()))?;
        }
        (None, Some(number)) => print(way(&timeline, number).trim_end())?,
        (None, None) => print(summary(&timeline).trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The samples that there are, in words.
fn numbers(timeline: &Timeline) -> String {
    let of_all = || timeline.visits.iter().map(|visit| visit.sample.number);
    match (of_all().min(), of_all().max()) {
        (Some(first), Some(last)) => format!("there are {first} to {last}"),
        _ => "there is none".to_owned(),
    }
}

fn summary(timeline: &Timeline) -> String {
    let mut text = format!("samples: {}\n", numbers(timeline));
    for (index, stage) in timeline.stages.iter().enumerate() {
        let visits = || timeline.visits.iter().filter(move |visit| visit.stage == index);
        let lost = visits().filter(|visit| visit.fate.is_some()).count();
        let _ = writeln!(text, "{}: {} samples, {lost} of them ended there", stage.name, visits().count());
    }
    for mark in &timeline.marks {
        let _ = writeln!(text, "at {:.3} s: {}", mark.at.as_secs_f64(), mark.text);
    }
    text
}

/// Where a sample was, and when.
fn way(timeline: &Timeline, number: u64) -> String {
    let mut text = String::new();
    for visit in timeline.of_sample(number) {
        let Visit { came, taken, ended, worker, .. } = visit;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let until = taken.or(*ended).unwrap_or(timeline.until);
        let _ = write!(
            text,
            "{} at {}: came at {:.3} s, waited for {:.1} ms",
            visit.sample,
            timeline.stages[visit.stage].name,
            came.as_secs_f64(),
            milliseconds(until.saturating_sub(*came))
        );
        if let (Some(taken), Some(worker)) = (taken, worker) {
            let took = ended.unwrap_or(timeline.until).saturating_sub(*taken);
            let _ = write!(text, ", worker {worker} took {:.1} ms", milliseconds(took));
        }
        let _ = writeln!(text, ", {}", visit.word());
    }
    text
}

/// Runs `simulate`.
pub(crate) fn simulate(arguments: &SimulateArguments) -> Result<ExitCode, BoxError> {
    let timeline = read(&arguments.file)?;
    if let Some(goal) = arguments.tune {
        let workers = timeline.stages.iter().map(|stage| stage.workers).sum();
        let cores = available_parallelism().map_or(1, |cores| cores.get());
        let most = arguments.most_workers.unwrap_or_else(|| cores.max(workers));
        let goal = match goal {
            GoalChoice::Rate => Goal::Rate,
            GoalChoice::Age => Goal::Age,
        };
        let tuned = timeline.tune(goal, most)?;
        match arguments.json {
            true => print(serde_json::to_string(&tuned)?)?,
            false if tuned.settings.is_empty() => print(tuned)?,
            false => {
                let settings: Vec<String> = tuned.settings.iter().map(|setting| format!("--set {setting}")).collect();
                print(format_args!("{}\n{}", settings.join(" "), compared(&tuned.before, &tuned.after)))?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (before, after) = (timeline.what_if(&[])?, timeline.what_if(&arguments.set)?);
    match (arguments.json, arguments.set.is_empty()) {
        (true, _) => print(serde_json::to_string(&serde_json::json!({"before": before, "after": after}))?)?,
        (false, true) => print(before)?,
        (false, false) => print(compared(&before, &after))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn compared(before: &Prediction, after: &Prediction) -> String {
    let mut text = format!("as it is: {before}\nthen:     {after}");
    let cores = available_parallelism().map_or(1, |cores| cores.get());
    if after.busy_workers > cores as f64 {
        let _ = write!(
            text,
            "\nThat is more workers at the same time than this machine has cores ({cores}): where they compute, and do not \
             wait for a device, less comes out."
        );
    }
    text
}
