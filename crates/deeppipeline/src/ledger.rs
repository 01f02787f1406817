//! The counts of every sample inside one stage; they are kept in the buffer in front of it.

use crate::report::Spread;
use std::time::Duration;

/// The counters of one stage. At any quiet moment
/// `taken = used + absorbed + skipped + failed + lost + in_flight`, and `gave` entered the next buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct StageCounts {
    /// Samples whose result went on (or, in the end stage, that were worked on).
    pub used: u64,
    /// Samples used by a list whose result went on under its newest sample's number.
    pub absorbed: u64,
    /// Samples that the stage ended with SKIP.
    pub skipped: u64,
    /// Samples on which the stage failed.
    pub failed: u64,
    /// Samples that a worker process had in flight when it died, and those that took one of several ordered threads
    /// longer than the stage's `time_limit` while others waited for them.
    pub lost: u64,
    /// Samples that `stage_run` is working on now, and those that a window has not used yet.
    pub in_flight: u64,
    /// The number of samples that the stage gave to the next buffer, the parts of a Many and of `finish` each counted.
    pub gave: u64,
}

impl StageCounts {
    /// Returns the number of all samples the stage is done with.
    pub fn settled(&self) -> u64 {
        self.used + self.absorbed + self.skipped + self.failed + self.lost
    }
}

/// The way a call of `stage_run` ended for the samples it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Used,
    Skipped,
    Failed,
    Lost,
}

/// A reading of what happened in one stage.
pub(crate) struct Reading {
    pub(crate) counts: StageCounts,
    pub(crate) busy: Duration,
    /// Durations of the whole run, and of the last ten seconds.
    pub(crate) times: (Spread, Spread),
    pub(crate) ages: (Spread, Spread),
    pub(crate) ages_after: (Spread, Spread),
}
