//! What the pipeline would do if it were set otherwise: its last samples again, on the virtual clock.

use super::{Timeline, TimelineStage, Visit};
use crate::error::{EntranceError, GraphError, UnknownStage};
use crate::executor::simulated::Simulation;
use crate::fates::Fate;
use crate::graph::{BufferSize, EntranceNode, Graph, MAX_ENTRANCES, Node};
use crate::policies::{Intake, Overflow, UnknownPolicy};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// The samples that are simulated: enough for a 99th percentile.
const SAMPLES: usize = 2000;
/// The share of these at the beginning that is left out, as the buffers fill then.
const WARM_UP: f64 = 0.2;
/// The share of the time that those who bring samples wait, from which on they bring as many as there is room for.
const WAITS: f64 = 0.1;

/// A setting of a stage, as it might be: `detect.workers=2`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "String", try_from = "String")
)]
pub struct Setting {
    stage: String,
    option: Setup,
}

/// The option that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setup {
    Workers(usize),
    BufferSize(usize),
    Overflow(Overflow),
    MaxAge(Duration),
    Batch(usize),
}

/// The options that may be set.
const OPTIONS: &str = "workers, buffer_size, overflow, max_age and batch";

/// A setting cannot be understood, or cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WhatIfError {
    /// The text is no setting.
    #[error("{got:?} is no setting: a setting is STAGE.OPTION=VALUE, as detect.workers=2")]
    NoSetting {
        /// The text.
        got: String,
    },
    /// There is no option of that name.
    #[error("{got:?} cannot be set: what can be are {OPTIONS}")]
    UnknownOption {
        /// The name.
        got: String,
    },
    /// An option cannot have that value.
    #[error("{option} is {got:?}, but must be {wants}")]
    Value {
        /// The option.
        option: &'static str,
        /// The value.
        got: String,
        /// What it may be.
        wants: &'static str,
    },
    /// There is no policy of that name.
    #[error(transparent)]
    Policy(#[from] UnknownPolicy),
    /// There is no stage of that name.
    #[error(transparent)]
    UnknownStage(#[from] UnknownStage),
    /// There is no entrance of that name.
    #[error(transparent)]
    Entrance(#[from] EntranceError),
    /// The pipeline would be refused.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Nothing is known of what it would take.
    #[error("nothing is known of {stage:?} yet: it has not ended a sample of those that are kept")]
    NothingKnown {
        /// The stage.
        stage: String,
    },
}

impl Setting {
    /// Makes the setting of a stage's option, as its text has it: `workers` and `buffer_size`, the number in a `batch`,
    /// `overflow`, and `max_age` in seconds.
    ///
    /// # Errors
    /// An option or a value that cannot be.
    pub fn new(stage: impl Into<String>, option: &str, value: &str) -> Result<Self, WhatIfError> {
        const AT_LEAST_1: &str = "a whole number, at least 1";
        let number = |option: &'static str| {
            let number = value.trim().parse().ok().filter(|number| *number >= 1);
            number.ok_or(WhatIfError::Value { option, got: value.to_owned(), wants: AT_LEAST_1 })
        };
        let option = match option {
            "workers" => Setup::Workers(number("workers")?),
            "buffer_size" => Setup::BufferSize(number("buffer_size")?),
            "batch" => Setup::Batch(number("batch")?),
            "overflow" => Setup::Overflow(value.trim().parse()?),
            "max_age" => {
                let seconds = value.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let (got, wants) = (value.to_owned(), "a number of seconds, more than 0");
                let seconds = seconds.filter(|seconds| !seconds.is_zero());
                Setup::MaxAge(seconds.ok_or(WhatIfError::Value { option: "max_age", got, wants })?)
            }
            other => return Err(WhatIfError::UnknownOption { got: other.to_owned() }),
        };
        Ok(Setting { stage: stage.into(), option })
    }

    /// Returns the name of the stage.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Returns the name of the option.
    pub fn option(&self) -> &'static str {
        match self.option {
            Setup::Workers(_) => "workers",
            Setup::BufferSize(_) => "buffer_size",
            Setup::Overflow(_) => "overflow",
            Setup::MaxAge(_) => "max_age",
            Setup::Batch(_) => "batch",
        }
    }

    /// Returns the value, as text.
    pub fn value(&self) -> String {
        match self.option {
            Setup::Workers(number) | Setup::BufferSize(number) | Setup::Batch(number) => number.to_string(),
            Setup::Overflow(overflow) => overflow.to_string(),
            Setup::MaxAge(age) => age.as_secs_f64().to_string(),
        }
    }
}

impl From<Setting> for String {
    fn from(setting: Setting) -> Self {
        setting.to_string()
    }
}

impl TryFrom<String> for Setting {
    type Error = WhatIfError;

    fn try_from(text: String) -> Result<Self, WhatIfError> {
        text.parse()
    }
}

impl FromStr for Setting {
    type Err = WhatIfError;

    fn from_str(text: &str) -> Result<Self, WhatIfError> {
        // A stage's name may have points and signs of its own.
        let parts = text.rsplit_once('=').and_then(|(name, value)| Some((name.rsplit_once('.')?, value)));
        let ((stage, option), value) = parts.ok_or_else(|| WhatIfError::NoSetting { got: text.to_owned() })?;
        Setting::new(stage, option.trim(), value)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}={}", self.stage, self.option(), self.value())
    }
}

/// What a pipeline does, or would do.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Prediction {
    /// Samples that come out in a second; of several end stages, at the last.
    pub rate: f64,
    /// The median age of what comes out, from the moment when it came in.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub age_p50: Duration,
    /// The 99th percentile of it.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub age_p99: Duration,
    /// The share of what comes in that is dropped or too old somewhere, 0 to 1.
    pub dropped: f64,
    /// The workers that are in `stage_run` at the same time, on the average. Where they compute, and this is more than there
    /// are cores for them, less comes out.
    pub busy_workers: f64,
}

impl Prediction {
    /// Returns true if somebody would notice the difference.
    pub(crate) fn differs_from(&self, other: &Prediction) -> bool {
        const NOTICED: f64 = 0.03;
        let differs = |a: f64, b: f64| (a - b).abs() > NOTICED * b.abs();
        differs(self.rate, other.rate)
            || differs(self.age_p99.as_secs_f64(), other.age_p99.as_secs_f64())
            || (self.dropped - other.dropped).abs() > NOTICED
    }
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Prediction { rate, age_p50, age_p99, dropped, busy_workers } = self;
        let milliseconds = |age: &Duration| age.as_secs_f64() * 1e3;
        let (p50, p99) = (milliseconds(age_p50), milliseconds(age_p99));
        write!(f, "{rate:.1} samples a second, {p50:.1} ms old (p50), {p99:.1} ms (p99)")?;
        match dropped {
            0.0 => f.write_str(", none dropped")?,
            dropped => write!(f, ", {:.1} % dropped", 100.0 * dropped)?,
        }
        write!(f, ", {busy_workers:.1} workers busy")
    }
}

/// What a stage took for the samples that it had: each call that ended, and of each sample whether it gave nothing.
#[derive(Default)]
struct Calls {
    took: Vec<Duration>,
    gave_nothing: Vec<bool>,
}

impl Timeline {
    /// Returns what the pipeline would do with these settings, or without any what it does: the samples that are kept come
    /// again, at the same times or, where those who brought them waited for room, as soon as there is some; each stage
    /// takes as long as it took for them, and gives one result, or none as often as it did.
    ///
    /// It does not know of the processor: where [more workers](Prediction::busy_workers) compute at the same time than there
    /// are cores for, they make each other slower. A batch takes as long as those that it had, whatever its size.
    ///
    /// # Errors
    /// A setting that cannot be.
    pub fn what_if(&self, settings: &[Setting]) -> Result<Prediction, WhatIfError> {
        let graph = self.graph_with(settings)?;
        let calls = self.calls()?;
        let arrivals = self.arrivals(&graph.entrances);
        let names: Vec<String> = graph.stages.iter().map(|node| node.name.clone()).collect();
        let gives_nothing = calls.iter().map(|calls| calls.gave_nothing.clone()).collect();
        let mut simulation = Simulation::of_with(graph, gives_nothing)?;
        for (name, Calls { took, .. }) in names.iter().zip(calls) {
            // One call after the other, whichever sample it has: a sample's number may say what a stage before has skipped.
            let next = Cell::new(0);
            simulation.takes_by(name, move |_| took[next.replace(next.get() + 1) % took.len()])?;
        }
        for (at, entrance) in &arrivals {
            match entrance {
                None => drop(simulation.put_at(*at, ())),
                Some(entrance) => {
                    simulation.put_into_at(*at, entrance, ())?;
                }
            }
        }
        while simulation.step().is_some() {}
        let timeline = simulation.timeline();
        Ok(measured(&timeline, &simulation.report(), arrivals.last().map_or(Duration::ZERO, |(at, _)| *at)))
    }

    /// The description of the pipeline, changed so.
    fn graph_with(&self, settings: &[Setting]) -> Result<Graph, WhatIfError> {
        let node = |stage: &TimelineStage| {
            let mut node = Node::new(&*stage.name);
            (node.workers, node.ordered, node.intake) = (stage.workers.max(1), stage.ordered, stage.intake);
            (node.buffer_size, node.max_age) = (Some(stage.buffer_size), stage.max_age);
            node.overflow = (!stage.intake.supersedes()).then_some(stage.overflow);
            node
        };
        let mut stages: Vec<Node> = self.stages.iter().map(node).collect();
        // A batch wants room, whichever of the two is said first.
        let (batches, others): (Vec<_>, Vec<_>) =
            settings.iter().partition(|setting| matches!(setting.option, Setup::Batch(_)));
        for Setting { stage, option } in others.into_iter().chain(batches) {
            let Some(node) = stages.iter_mut().find(|node| node.name == *stage) else {
                let known = self.stages.iter().map(|stage| stage.name.clone()).collect();
                return Err(UnknownStage { got: stage.clone(), known }.into());
            };
            match *option {
                Setup::Workers(workers) => node.workers = workers,
                Setup::BufferSize(size) => node.buffer_size = Some(size),
                Setup::Overflow(overflow) => node.overflow = Some(overflow),
                Setup::MaxAge(age) => node.max_age = Some(age),
                Setup::Batch(max_size) => {
                    let (max_wait, fold) = match node.intake {
                        Intake::Batch { max_wait, fold, .. } => (max_wait, fold),
                        _ => (Duration::ZERO, false),
                    };
                    node.intake = Intake::Batch { max_size, max_wait, fold };
                    let is_said =
                        |other: &Setting| other.stage == *stage && matches!(other.option, Setup::BufferSize(_));
                    if !settings.iter().any(is_said) {
                        node.buffer_size = node.buffer_size.map(|size| size.max(max_size));
                    }
                }
            }
        }
        let mut entrances: Vec<EntranceNode> = Vec::new();
        let entrance = |name: &str, overflow, max_age| EntranceNode {
            name: name.to_owned(),
            source: None,
            overflow: Some(overflow),
            max_age,
            stall_timeout: None,
        };
        entrances.extend(self.plan.entrances.iter().map(|known| entrance(&known.name, known.overflow, known.max_age)));
        // Others may have come while it ran.
        for source in self.visits.iter().filter(|visit| visit.stage == 0).filter_map(|visit| visit.source.as_deref()) {
            let is_new = entrances.iter().all(|known| known.name != source);
            if !self.plan.entrances.is_empty() && is_new && entrances.len() < MAX_ENTRANCES {
                entrances.push(entrance(source, self.stages[0].overflow, None));
            }
        }
        let graph = Graph {
            entrances,
            blocks: self.plan.blocks.clone(),
            stages,
            buffer_size: BufferSize::default(),
            record: Some(SAMPLES),
            ..Graph::default()
        };
        graph.check()?;
        Ok(graph)
    }

    /// What each stage took.
    fn calls(&self) -> Result<Vec<Calls>, WhatIfError> {
        let mut took: Vec<BTreeMap<_, _>> = self.stages.iter().map(|_| BTreeMap::new()).collect();
        let mut gave_nothing = vec![Vec::new(); self.stages.len()];
        for visit in &self.visits {
            if let (Some(taken), Some(ended), Some(worker)) = (visit.taken, visit.ended, visit.worker) {
                // The samples of a list have one call, which goes on until the last has ended.
                let call: &mut Duration = took[visit.stage].entry((taken, worker)).or_default();
                *call = (*call).max(ended.saturating_sub(taken));
                // What a list has absorbed, or a window keeps, gives nothing of its own anyway.
                if !matches!(visit.fate, Some(Fate::Absorbed | Fate::Windowed)) {
                    gave_nothing[visit.stage].push(visit.fate.is_some());
                }
            }
        }
        let of_stage = |((stage, took), gave_nothing): ((&TimelineStage, BTreeMap<_, Duration>), Vec<bool>)| {
            if took.is_empty() {
                return Err(WhatIfError::NothingKnown { stage: stage.name.clone() });
            }
            Ok(Calls { took: took.into_values().collect(), gave_nothing })
        };
        self.stages.iter().zip(took).zip(gave_nothing).map(of_stage).collect()
    }

    /// When samples come in, and where: again and again as they came, from 0 on.
    fn arrivals(&self, entrances: &[EntranceNode]) -> Vec<(Duration, Option<String>)> {
        let first: Vec<&Visit> = self.visits.iter().filter(|visit| visit.stage == 0).collect();
        let (Some(begin), Some(end)) = (first.first(), first.last()) else { return Vec::new() };
        // Of more entrances than there may be at the same time, the first stands for the others.
        let entrance = |visit: &Visit| match &visit.source {
            _ if entrances.is_empty() => None,
            Some(source) if entrances.iter().any(|known| known.name == *source) => Some(source.clone()),
            _ => Some(entrances[0].name.clone()),
        };
        // From one to the next, on the average: also from the last to the first of the next round.
        let apart = (end.came - begin.came).div_f64((first.len().max(2) - 1) as f64);
        if self.plan.bringers_wait > WAITS {
            let own = apart.mul_f64((1.0 - self.plan.bringers_wait).max(0.0));
            return (0..SAMPLES)
                .map(|index| (own.mul_f64(index as f64), entrance(first[index % first.len()])))
                .collect();
        }
        let round = end.came - begin.came + apart;
        let at = |index: usize| {
            let visit = first[index % first.len()];
            (visit.came - begin.came + round.mul_f64((index / first.len()) as f64), entrance(visit))
        };
        (0..SAMPLES).map(at).collect()
    }
}

/// What came out of a simulation while samples came in, once it had warmed up.
fn measured(timeline: &Timeline, report: &crate::Report, last_in: Duration) -> Prediction {
    let came: BTreeMap<u64, Duration> = timeline
        .visits
        .iter()
        .filter(|visit| visit.stage == 0)
        .map(|visit| (visit.sample.number, visit.came))
        .collect();
    let end = timeline.stages.len().saturating_sub(1);
    let used = |visit: &&Visit| visit.stage == end && visit.fate.is_none();
    let mut out: Vec<(Duration, u64)> =
        timeline.visits.iter().filter(used).filter_map(|visit| Some((visit.ended?, visit.sample.number))).collect();
    out.sort();
    // Where those who bring samples wait, the last come in when all was taken; what flows out then is no measure.
    let last_in = came.values().copied().max().unwrap_or(last_in);
    let from = last_in.mul_f64(WARM_UP);
    let steady: Vec<_> = out.iter().filter(|(ended, _)| (from..=last_in).contains(ended)).collect();
    let mut ages: Vec<Duration> =
        steady.iter().filter_map(|(ended, number)| Some(ended.saturating_sub(*came.get(number)?))).collect();
    ages.sort();
    let quantile =
        |share: f64| ages.get((ages.len() as f64 * share) as usize).or(ages.last()).copied().unwrap_or_default();
    let rate = match (steady.first(), steady.last()) {
        (Some((first, _)), Some((last, _))) if last > first => {
            (steady.len() - 1) as f64 / (*last - *first).as_secs_f64()
        }
        _ => 0.0,
    };
    let entered = report.stages.first().map_or(0, |stage| stage.buffer.entered);
    let dropped = report.dropped() as f64 / entered.max(1) as f64;
    let mut calls = BTreeMap::new();
    for visit in &timeline.visits {
        if let (Some(taken), Some(ended)) = (visit.taken, visit.ended) {
            let (begin, end) = (taken.clamp(from, last_in), ended.clamp(from, last_in));
            // The samples of a list have one call.
            calls.insert((visit.stage, visit.worker, taken), end.saturating_sub(begin));
        }
    }
    let busy: Duration = calls.into_values().sum();
    let busy_workers = busy.as_secs_f64() / last_in.saturating_sub(from).as_secs_f64().max(1e-9);
    Prediction { rate, age_p50: quantile(0.5), age_p99: quantile(0.99), dropped, busy_workers }
}
