//! The timeline: when each of the last samples came to a stage, was taken there, and ended, and by which worker.
//!
//! Every buffer keeps the last visits of samples ([`record`](crate::builder::Builder::record) says how many), so that they are
//! there when something has gone wrong. [`Pipeline::timeline`](crate::Pipeline::timeline) reads them.

mod picture;
mod rows;
#[cfg(feature = "timeline")]
mod trace;
mod tune;
mod what_if;

pub use crate::graph::{DEFAULT_RECORD, MOST_RECORD};
#[cfg(feature = "timeline")]
pub use trace::NotATimeline;

pub use tune::{Goal, Tuned};
pub use what_if::{Prediction, Setting, WhatIfError};

use crate::fates::Fate;
use crate::graph::Block;
use crate::policies::{Intake, Overflow};
use crate::sample::SampleId;
#[cfg(feature = "serde")]
use crate::seconds;
use std::time::Duration;

/// The last samples of every stage, and what happened to the pipeline meanwhile. Times are counted from the moment when all
/// workers were up.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Timeline {
    /// The time when it was read.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub until: Duration,
    /// The stages, in reading order.
    pub stages: Vec<TimelineStage>,
    /// The visits of samples, by the time when they came.
    pub visits: Vec<Visit>,
    /// What happened to the pipeline, in order.
    pub marks: Vec<Mark>,
    /// The rest of what it takes to do it again.
    pub(crate) plan: Plan,
    /// The time from which on it is shown, where that was said.
    #[cfg_attr(feature = "serde", serde(default, with = "seconds::optional"))]
    pub(crate) shown_from: Option<Duration>,
}

/// A stage of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TimelineStage {
    /// Its name.
    pub name: String,
    /// The number of its workers.
    pub workers: usize,
    /// True if its samples leave it in the order in which it took them.
    pub ordered: bool,
    /// The way it takes from its buffer.
    pub intake: Intake,
    /// The number of samples for which the buffer in front of it has room.
    pub buffer_size: usize,
    /// The policy when that is full.
    pub overflow: Overflow,
    /// The age beyond which a sample is dropped when it is taken, if there is one.
    #[cfg_attr(feature = "serde", serde(with = "seconds::optional"))]
    pub max_age: Option<Duration>,
}

/// The visit of a sample at a stage: from its arrival in front of it to its end there.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Visit {
    /// The stage, by its place in [`Timeline::stages`].
    pub stage: usize,
    /// The identity of the sample.
    pub sample: SampleId,
    /// The name of the source or entrance that it came from, if that has one.
    pub source: Option<String>,
    /// The time when it came: when the stage before gave it or, where that had to wait for room, when there was some.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub came: Duration,
    /// The time when a worker took it, if one did.
    #[cfg_attr(feature = "serde", serde(with = "seconds::optional"))]
    pub taken: Option<Duration>,
    /// The index of that worker among those of the stage.
    pub worker: Option<usize>,
    /// The time when it ended there: `stage_run` returned, or it was given up. `None` while it is there.
    #[cfg_attr(feature = "serde", serde(with = "seconds::optional"))]
    pub ended: Option<Duration>,
    /// The way in which it ended; `None` where its result went on, where it is there, and where it is tried again.
    pub fate: Option<Fate>,
    /// True if its worker process died with it. Without a fate it is tried again.
    pub crashed: bool,
}

/// Something that happened to the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Mark {
    /// The time when it happened.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub at: Duration,
    /// The event, in words.
    pub text: String,
}

impl Timeline {
    pub(crate) fn new(
        until: Duration,
        stages: Vec<TimelineStage>,
        mut visits: Vec<Visit>,
        mut marks: Vec<Mark>,
        plan: Plan,
    ) -> Self {
        visits.sort_by_key(|visit| (visit.came, visit.stage));
        marks.sort_by_key(|mark| mark.at);
        let until = visits.iter().filter_map(|visit| visit.ended).max().unwrap_or_default().max(until);
        Timeline { until, stages, visits, marks, plan, shown_from: None }
    }

    /// Returns the part of it that is no older than that: visits that ended before it are left out.
    #[must_use]
    pub fn last(&self, time: Duration) -> Timeline {
        let from = self.until.saturating_sub(time);
        let is_in = |visit: &&Visit| visit.ended.is_none_or(|ended| ended >= from);
        Timeline {
            visits: self.visits.iter().filter(is_in).cloned().collect(),
            marks: self.marks.iter().filter(|mark| mark.at >= from).cloned().collect(),
            shown_from: Some(from),
            until: self.until,
            stages: self.stages.clone(),
            plan: self.plan.clone(),
        }
    }

    /// Returns the visits of the sample of that number and of its parts, by the time when they came.
    pub fn of_sample(&self, number: u64) -> Vec<&Visit> {
        self.visits.iter().filter(|visit| visit.sample.number == number).collect()
    }
}

impl Visit {
    /// Returns the word for how it ended, or for what it does.
    pub fn word(&self) -> &'static str {
        match (self.fate, self.ended) {
            (Some(fate), _) => fate.word(),
            (None, Some(_)) if self.crashed => "tried again",
            (None, Some(_)) => "used",
            (None, None) if self.taken.is_some() => "in work",
            (None, None) => "waiting",
        }
    }
}

/// What a timeline knows of the pipeline beside its stages, for [`Timeline::what_if`].
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Plan {
    pub(crate) blocks: Vec<Block>,
    pub(crate) entrances: Vec<PlannedEntrance>,
    /// The share of the last ten seconds for which those who bring samples waited for room.
    pub(crate) bringers_wait: f64,
}

/// An entrance that has a name.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PlannedEntrance {
    pub(crate) name: String,
    pub(crate) overflow: Overflow,
    #[cfg_attr(feature = "serde", serde(with = "seconds::optional"))]
    pub(crate) max_age: Option<Duration>,
}
