//! What is measured beside the histograms, and what a reading of all says.

use super::{Change, Head, Storage};
use crate::buffer::histogram::{Durations, Sums, length_of_windows};
use crate::ledger::{Reading, Spread, StageCounts};
use std::time::Duration;

/// What was measured beside the histograms.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::buffer) struct Measured {
    busy: u64,
    waited: Sums,
    newest: u64,
}

impl Measured {
    /// Returns the time that producers waited in the whole run, and in the last ten seconds at that time.
    pub(in crate::buffer) fn waited(self, now: u64) -> (Duration, Duration) {
        let (waited, lately) = self.waited.read(now);
        (Duration::from_nanos(waited), Duration::from_nanos(lately))
    }

    /// The reading at that time, with the counts of the stage and the spreads of its histograms.
    pub(in crate::buffer) fn reading(
        self,
        now: u64,
        counts: StageCounts,
        spread: impl Fn(Durations) -> (Spread, Spread),
    ) -> Reading {
        Reading {
            counts,
            busy: Duration::from_nanos(self.busy),
            times: spread(Durations::Busy),
            ages: spread(Durations::Ages),
            ages_after: spread(Durations::AgesAfter),
            waits: spread(Durations::Waits),
            age_of_information: (self.newest > 0).then(|| Duration::from_nanos(now.saturating_sub(self.newest))),
            lately: Duration::from_nanos(length_of_windows(now)),
        }
    }
}

impl<S: Storage> Change<'_, S> {
    pub(in crate::buffer) fn measured(&mut self) -> Measured {
        let Head { busy, newest, .. } = *self.head();
        Measured { busy, waited: self.totals().waited, newest }
    }
}
