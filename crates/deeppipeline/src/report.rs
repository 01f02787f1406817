//! The report: what the user is told.

use crate::buffer::Overflow;
use crate::graph::Flow;
use crate::intake::Intake;
use std::fmt;
use std::time::Duration;

pub use crate::buffer::BufferCounts;
pub use crate::join::JoinCounts;
pub use crate::ledger::StageCounts;
pub use crate::sample::SampleId;
pub use crate::supervisor::SOURCE;

/// The state of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Outcome {
    /// The pipeline runs: not every worker has ended.
    Running,
    /// Everything that was inside has flowed out.
    Finished,
    /// A stage or the source failed.
    Failed,
    /// The pipeline ended early: what was inside was discarded on request or after a time-out.
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

/// The spread of a number of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Spread {
    /// The median: half of them are no longer than this.
    pub p50: Duration,
    /// The 99th percentile: 99 of 100 are no longer than this.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// An account of every sample, stage by stage. Printing it gives a table with a row per stage.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Report {
    /// The state of the pipeline when the report was made.
    pub outcome: Outcome,
    /// The time from the moment every stage was up until the last worker ended (or now).
    pub elapsed: Duration,
    /// The source, where samples come from one and not by `put`.
    pub source: Option<SourceReport>,
    /// One entry per stage, in order.
    pub stages: Vec<StageReport>,
    /// The ages of samples when the end stage was done with them (for a list, its newest).
    pub age: Spread,
    /// One entry per parallel block whose branches are joined.
    pub joins: Vec<JoinReport>,
    /// Workers that were still in the user's code when the pipeline stopped waiting for them, and what was discarded
    /// and is still in its `Drop`.
    pub left_behind: Vec<String>,
    /// Nodes of the engine's own that bring the results of branches to their join.
    hidden: Vec<StageReport>,
}

/// The time that the source lets the pipeline wait. That it waits for room itself does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SourceReport {
    /// The time for which it has been asked for its next sample by now; `None` when it is not being asked.
    pub wait: Option<Duration>,
    /// The longest that it was asked for one sample, the present wait included.
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
    /// The counts of the buffer in front of it.
    pub buffer: BufferCounts,
    /// The counts of the stage.
    pub counts: StageCounts,
    /// The number of its workers.
    pub workers: usize,
    /// The number of times that a worker process of it was started again after a death.
    pub restarts: u64,
    /// The ages of samples when it took them.
    pub age: Spread,
    /// Time spent in `stage_run`, all samples together.
    pub busy: Duration,
    /// The median: half of the calls of `stage_run` took no longer than this.
    pub p50: Duration,
    /// The 99th percentile: 99 of 100 calls of `stage_run` took no longer than this.
    pub p99: Duration,
}

impl Report {
    /// Makes a report from what is known of every node, and from where what it gives goes.
    pub(crate) fn new(
        outcome: Outcome,
        elapsed: Duration,
        nodes: Vec<StageReport>,
        flows: &[Flow],
        joins: Vec<JoinReport>,
        age: Spread,
    ) -> Self {
        let is_hidden = |flow: &Flow| matches!(flow, Flow::Join { .. });
        let (hidden, stages): (Vec<_>, Vec<_>) = nodes.into_iter().zip(flows).partition(|(_, flow)| is_hidden(flow));
        let reports = |nodes: Vec<(StageReport, &Flow)>| nodes.into_iter().map(|(node, _)| node).collect();
        let (hidden, stages) = (reports(hidden), reports(stages));
        Report { outcome, elapsed, source: None, stages, joins, age, left_behind: Vec::new(), hidden }
    }

    /// Returns true if every sample has exactly one fate. Always true at a quiet moment; a test of yours may rely on
    /// it.
    pub fn balances(&self) -> bool {
        let mut nodes = self.stages.iter().chain(&self.hidden);
        nodes.all(|s| s.buffer.balances() && s.buffer.taken == s.counts.settled() + s.counts.in_flight)
            && self.joins.iter().all(|join| join.counts.balances())
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
    /// Returns the share of `elapsed` that the stage's workers spent in `stage_run`, 0 to 1.
    pub fn busy_share(&self, elapsed: Duration) -> f64 {
        match elapsed.is_zero() {
            true => 0.0,
            false => self.busy.as_secs_f64() / elapsed.as_secs_f64() / self.workers as f64,
        }
    }
}

/// A source that gives nothing for so long is worth a word.
const SILENCE: Duration = Duration::from_secs(1);

/// The number of letters of a stage's name for which the table has room.
const WIDEST_NAME: usize = 60;

/// `once`, or `3 times`.
fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.stages.iter().map(|s| s.name.chars().count()).max();
        // A longer name moves its own row only. (And the formatter panics at widths of more than 16 bits.)
        let width = longest.unwrap_or(0).clamp("stage".len(), WIDEST_NAME);
        write!(
            f,
            "{:width$}  {:>8} {:>5} {:>9} {:>9} {:>9}",
            "stage", "samples", "busy", "p50 ms", "p99 ms", "age ms"
        )?;
        writeln!(f, " {:>8} {:>8} {:>7} {:>6} {:>10}", "dropped", "skipped", "failed", "lost", "discarded")?;
        for stage in &self.stages {
            let busy = 100.0 * stage.busy_share(self.elapsed);
            let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
            write!(f, "{:width$}  {:>8} {busy:>4.0}%", stage.name, stage.buffer.taken)?;
            write!(f, " {:>9.3} {:>9.3}", milliseconds(stage.p50), milliseconds(stage.p99))?;
            write!(f, " {:>9.3}", milliseconds(stage.age.p50))?;
            write!(f, " {:>8} {:>8}", stage.buffer.dropped(), stage.counts.skipped)?;
            writeln!(f, " {:>7} {:>6} {:>10}", stage.counts.failed, stage.counts.lost, stage.buffer.discarded)?;
        }
        write!(f, "{} after {:.2} s", self.outcome, self.elapsed.as_secs_f64())?;
        match self.source {
            Some(SourceReport { wait: Some(wait), .. }) if wait >= SILENCE => {
                write!(f, "; the source has given nothing for {:.2} s", wait.as_secs_f64())?;
            }
            Some(SourceReport { longest_wait, .. }) if longest_wait >= SILENCE => {
                write!(f, "; the source once gave nothing for {:.2} s", longest_wait.as_secs_f64())?;
            }
            Some(_) | None => {}
        }
        for join in self.joins.iter().filter(|join| join.counts.unjoined > 0) {
            write!(f, "; {}: {} joined, {} unjoined", join.name, join.counts.joined, join.counts.unjoined)?;
        }
        for stage in self.stages.iter().filter(|stage| stage.restarts > 0) {
            write!(f, "; {} restarted {}", stage.name, times(stage.restarts))?;
        }
        if !self.left_behind.is_empty() {
            write!(f, "; still in user code and left behind: {}", self.left_behind.join(", "))?;
        }
        Ok(())
    }
}
