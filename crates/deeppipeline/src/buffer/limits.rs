//! The limits of a buffer, which never change.

use crate::policies::{Intake, Overflow};
use std::time::Duration;

/// The workers of the stage on one side of a buffer; the callers of `put`, and a source, count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Workers {
    pub(crate) workers: usize,
    /// True if their results go on in the order in which the samples were taken.
    pub(crate) ordered: bool,
    /// The time that, on threads, a sample may keep the results of those taken after it waiting.
    pub(crate) time_limit: Option<Duration>,
}

impl Workers {
    pub(crate) const ONE: Workers = Workers { workers: 1, ordered: true, time_limit: None };

    /// Returns true if results have to be put in order: those of one worker are.
    #[inline]
    pub(crate) fn reorders(self) -> bool {
        self.workers > 1 && self.ordered
    }

    /// Returns the number of results that may wait for their turn, and of samples that may be taken after one that is
    /// still in flight.
    #[inline]
    pub(crate) fn ahead(self) -> usize {
        2 * self.workers
    }
}

impl Limits {
    /// Returns the number of takes of the workers in front that may have ended before their turn.
    pub(crate) fn turns(self) -> usize {
        2 * self.producers.ahead() + 2
    }
}

/// The limits of a buffer, which never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Limits {
    pub(crate) capacity: usize,
    /// Bytes of all samples inside, where processes share it.
    pub(crate) bytes: u64,
    pub(crate) overflow: Overflow,
    pub(crate) intake: Intake,
    /// A sample that is older when it leaves is dropped instead.
    pub(crate) max_age: Option<Duration>,
    /// The number of entrances that it may have, each with a lane of its own; 0 where samples come in one way.
    pub(crate) lanes: usize,
    /// The number of sources that may be flushed alone; 0 where they have no names.
    pub(crate) source_cuts: usize,
    pub(crate) producers: Workers,
    pub(crate) consumers: Workers,
    /// True if it is in front of the end stage.
    pub(crate) is_last: bool,
    /// The number of ends of samples that may be to be told at once, where processes share it; 0 where none are told.
    pub(crate) ends: usize,
    /// True if the end of every sample is told, and not only of those with a ticket.
    pub(crate) fates: bool,
    /// The number of visits of samples that it keeps.
    pub(crate) visits: usize,
}
