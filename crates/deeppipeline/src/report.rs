//! The report: what the user is told.

mod explain;
mod picture;
pub(crate) mod table;

use crate::policies::{Intake, Overflow};
#[cfg(feature = "serde")]
use crate::seconds;
use std::fmt;
use std::time::Duration;

#[cfg(feature = "dead-letters")]
pub use crate::dead_letters::{DeadLetter, Replay, replay};
pub use crate::fates::{Fate, FateEvent};
pub use crate::join::JoinCounts;
pub use crate::ledger::{BufferCounts, Spread, StageCounts};
pub use crate::sample::{SampleId, SampleInfo};
pub use crate::supervisor::SOURCE;
#[cfg(feature = "timeline")]
pub use crate::timeline::NotATimeline;
pub use crate::timeline::{
    DEFAULT_RECORD, Goal, MOST_RECORD, Mark, Prediction, Setting, Timeline, TimelineStage, Tuned, Visit, WhatIfError,
};
pub use explain::{Alternative, Explanation};

/// The state of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Outcome {
    /// The pipeline runs: not every worker has ended.
    Running,
    /// Everything that was inside has flowed out.
    Finished,
    /// A stage or the source failed; what was discarded for it is counted.
    Failed,
    /// The pipeline ended early: what was inside was discarded on request or after a time-out, and is counted.
    Aborted,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Running => "running",
            Outcome::Finished => "finished",
            Outcome::Failed => "failed",
            Outcome::Aborted => "aborted",
        })
    }
}

/// An account of every sample, stage by stage. Printing it gives a table with a row per stage.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Report {
    /// The state of the pipeline when the report was made.
    pub outcome: Outcome,
    /// The time from the moment every stage was up until the last worker ended (or now).
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub elapsed: Duration,
    /// One entry per source, and per entrance with a name, in the order in which they were added; a source without a name
    /// is named [`SOURCE`].
    pub sources: Vec<SourceReport>,
    /// One entry per stage, in order, and one per parallel block, in front of its branches.
    pub stages: Vec<StageReport>,
    /// The ages of samples when the end stage was done with them (for a list, its newest).
    pub age: Spread,
    /// The same of the last ten seconds.
    pub recent_age: Spread,
    /// One entry per parallel block whose branches are joined.
    pub joins: Vec<JoinReport>,
    /// Workers that were still in the user's code when the pipeline stopped waiting for them, and what was discarded
    /// and is still in its `Drop`.
    pub left_behind: Vec<String>,
    /// The number of samples that did not come through of which `on_fate` learnt nothing, since it was too slow.
    pub fates_missed: u64,
    /// True if a sample is missing in a relay that brings the results of a branch to their join.
    #[cfg_attr(feature = "serde", serde(skip))]
    has_unbalanced_relay: bool,
    /// The number of samples that wait or are in flight in such relays.
    #[cfg_attr(feature = "serde", serde(skip))]
    in_relays: u64,
}

/// The state of a source, or of an entrance to put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SourceState {
    /// The source is being set up or opened, or waits for the pipeline to come up.
    Opening,
    /// It is asked for samples.
    Streaming,
    /// It has given nothing for longer than its `stall_timeout`.
    Stalled,
    /// It has failed or ended, and waits until it is opened again.
    Waiting,
    /// It has ended, or was removed; nothing more is put into the entrance.
    Ended,
    /// It has failed for good.
    Failed,
    /// Samples may be put into the entrance.
    Open,
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceState::Opening => "opening",
            SourceState::Streaming => "streaming",
            SourceState::Stalled => "stalled",
            SourceState::Waiting => "waiting",
            SourceState::Ended => "ended",
            SourceState::Failed => "failed",
            SourceState::Open => "open",
        })
    }
}

/// One source, or one entrance to put into.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: SourceState,
    /// The text of its last error: the one for which it has failed for good, or for which it is, or was, opened again.
    pub last_error: Option<String>,
    /// The number of times that it was opened again.
    pub restarts: u64,
    /// The time until it is opened again, where it waits for that.
    #[cfg_attr(feature = "serde", serde(with = "seconds::optional"))]
    pub next_try: Option<Duration>,
    /// The counts of its samples in front of the first stage, without the numbers of those that were dropped.
    pub counts: BufferCounts,
    /// The time for which it has been asked for its next sample by now; `None` when it is not being asked. That it waits
    /// for room itself does not count.
    #[cfg_attr(feature = "serde", serde(with = "seconds::optional"))]
    pub wait: Option<Duration>,
    /// The longest that it was asked for one sample, the present wait included.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub longest_wait: Duration,
}

/// One parallel block.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct JoinReport {
    /// The block's name.
    pub name: String,
    /// The number of its branches.
    pub branches: usize,
    /// The counts of its samples.
    pub counts: JoinCounts,
}

/// One stage and the buffer in front of it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct StageReport {
    /// The stage's name.
    pub name: String,
    /// The way it takes.
    pub intake: Intake,
    /// The policy of its buffer when full.
    pub overflow: Overflow,
    /// The number of samples that its buffer holds at most.
    pub buffer_size: usize,
    /// The rows, by their indices in [`Report::stages`], that get what it gives: several behind a block without a stage in
    /// front of it, none behind an end stage. What comes in goes to the first row.
    #[cfg_attr(feature = "serde", serde(default))]
    pub next: Vec<usize>,
    /// The counts of the buffer in front of it.
    pub buffer: BufferCounts,
    /// The counts of the stage.
    pub counts: StageCounts,
    /// The number of its workers.
    pub workers: usize,
    /// What each of its workers does, of those that have not ended.
    #[cfg_attr(feature = "serde", serde(default))]
    pub doing: Vec<WorkerReport>,
    /// The number of workers that it may be [scaled](crate::Pipeline::scale) to.
    pub max_workers: usize,
    /// True if it takes nothing until it is resumed.
    pub paused: bool,
    /// The number of times that a worker process of it was started again after a death.
    pub restarts: u64,
    /// The ages of samples when it took them.
    pub age: Spread,
    /// The times that samples waited in front of it until it took them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub wait: Spread,
    /// Time spent in `stage_run`, all samples together.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub busy: Duration,
    /// The median: half of the calls of `stage_run` took no longer than this.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub p50: Duration,
    /// The 99th percentile: 99 of 100 calls of `stage_run` took no longer than this.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub p99: Duration,
    /// The last ten seconds.
    pub recent: Recent,
    /// Time for which its workers waited until the next stage had room for what they gave, or for the results that come
    /// before theirs, all together; what waits now counts once it is over.
    #[cfg_attr(feature = "serde", serde(with = "seconds", default))]
    pub blocked: Duration,
    /// The time since the birth of the newest sample that it was done with, where it is an end stage: the age of what is
    /// known at the end. It grows while nothing comes out. `None` before the first, and for all other stages.
    #[cfg_attr(feature = "serde", serde(with = "seconds::optional", default))]
    pub age_of_information: Option<Duration>,
}

/// What one worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Doing {
    /// It comes up: its process starts, or it is in `setup`, or waits for the others.
    Starting,
    /// It waits for samples. One in a process that waits for room says this, too.
    Waiting,
    /// It is in `stage_run`.
    Working,
    /// It waits until the next stage has room.
    Blocked,
    /// It is in `finish` or `teardown`.
    Ending,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::Starting => "starting",
            Doing::Waiting => "waiting",
            Doing::Working => "working",
            Doing::Blocked => "blocked",
            Doing::Ending => "ending",
        })
    }
}

/// One worker that has not ended, at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct WorkerReport {
    /// Its index among those of its stage, from 0.
    pub index: usize,
    /// What it does.
    pub doing: Doing,
    /// The time for which it has done so; `None` where that is not known.
    #[cfg_attr(feature = "serde", serde(with = "seconds::optional"))]
    pub since: Option<Duration>,
    /// The number of the sample that it works on or has for the next stage, where that is known.
    pub sample: Option<u64>,
}

/// A stage in the last ten seconds: what changes now does not show in the quantiles of a long run. In steps of two
/// seconds, so up to twelve.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Recent {
    /// The ages of samples when the stage took them.
    pub age: Spread,
    /// The times that samples waited in front of the stage until it took them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub wait: Spread,
    /// The durations of `stage_run`.
    pub run: Spread,
    /// Samples that it took in a second.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rate: f64,
    /// What its workers did.
    #[cfg_attr(feature = "serde", serde(default))]
    pub shares: Shares,
}

/// The shares of the time of a stage's workers, each 0 to 1; together they are 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Shares {
    /// In `stage_run`, in the last ten seconds also in a call that has not come to its end.
    pub busy: f64,
    /// Without a sample.
    pub starved: f64,
    /// Waiting until the next stage had room.
    pub blocked: f64,
}

impl Shares {
    /// Makes the shares of the time that so many workers had.
    pub(crate) fn of(busy: Duration, blocked: Duration, workers: usize, elapsed: Duration) -> Self {
        let all = elapsed.as_secs_f64() * workers.max(1) as f64;
        if all <= 0.0 {
            return Shares { busy: 0.0, starved: 1.0, blocked: 0.0 };
        }
        // Where it had more workers before, they were busy, too; and a call may have begun before.
        let busy = (busy.as_secs_f64() / all).min(1.0);
        let blocked = (blocked.as_secs_f64() / all).min(1.0 - busy);
        Shares { busy, starved: 1.0 - busy - blocked, blocked }
    }
}

impl Report {
    /// Makes a report from what is known of every stage and block, and of every relay that has no row.
    pub(crate) fn new(
        outcome: Outcome,
        elapsed: Duration,
        nodes: Vec<(StageReport, bool)>,
        joins: Vec<JoinReport>,
        (age, recent_age): (Spread, Spread),
    ) -> Self {
        let has_unbalanced_relay = nodes.iter().any(|(node, is_relay)| *is_relay && !node.balances());
        let relays = nodes.iter().filter(|(_, is_relay)| *is_relay).map(|(node, _)| node);
        let in_relays = relays.map(|node| node.buffer.waiting + node.counts.in_flight).sum();
        let stages = nodes.into_iter().filter(|(_, is_relay)| !is_relay).map(|(stage, _)| stage).collect();
        let left_behind = Vec::new();
        Report {
            outcome,
            elapsed,
            sources: Vec::new(),
            stages,
            joins,
            age,
            recent_age,
            left_behind,
            fates_missed: 0,
            has_unbalanced_relay,
            in_relays,
        }
    }

    /// Returns the number of samples between a branch and its join, which have no row.
    #[doc(hidden)]
    pub fn in_relays(&self) -> u64 {
        self.in_relays
    }

    /// Returns true if every sample has exactly one fate. Always true at a quiet moment; a test of yours may rely on
    /// it.
    pub fn balances(&self) -> bool {
        !self.has_unbalanced_relay
            && self.stages.iter().all(StageReport::balances)
            && self.joins.iter().all(|join| join.counts.balances())
            && self.sources.iter().all(|source| source.counts.balances())
    }

    /// Returns the source or entrance of that name.
    pub fn source(&self, name: &str) -> Option<&SourceReport> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// Returns the stage of that name.
    pub fn stage(&self, name: &str) -> Option<&StageReport> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// Returns the number of all samples dropped in front of any stage.
    pub fn dropped(&self) -> u64 {
        self.stages.iter().map(|stage| stage.buffer.dropped()).sum()
    }
}

impl StageReport {
    fn balances(&self) -> bool {
        self.buffer.balances() && self.buffer.taken == self.counts.settled() + self.counts.in_flight
    }

    /// Returns what its workers did in the whole run, which is that long.
    pub fn shares(&self, elapsed: Duration) -> Shares {
        Shares::of(self.busy, self.blocked, self.workers, elapsed)
    }

    /// Returns the share of `elapsed` that the stage's workers spent in `stage_run`, 0 to 1.
    pub fn busy_share(&self, elapsed: Duration) -> f64 {
        self.shares(elapsed).busy
    }
}
