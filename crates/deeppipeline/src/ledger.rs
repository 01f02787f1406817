//! The counts of every sample in one buffer and inside the stage behind it, which the buffer keeps, too.

use crate::sample::SampleId;
#[cfg(feature = "serde")]
use crate::seconds;
use std::collections::VecDeque;
use std::time::Duration;

/// Hands the counters of a buffer, each with what it counts, to a macro: the types here and the class in Python are made
/// of this one list. Behind the semicolon are those that seldom change.
#[doc(hidden)]
#[macro_export]
macro_rules! buffer_counters {
    ($make:ident) => {
        $make! {
            /// Results of several workers of the stage before that wait for one before them, and have not arrived yet.
            reordering,
            /// Samples that arrived.
            entered,
            /// Samples that the stage took.
            taken,
            /// Samples inside now.
            waiting,
            ;
            /// Waiting samples dropped to make room (`drop_oldest`).
            dropped_oldest,
            /// Arriving samples dropped for want of room (`drop_newest`).
            dropped_newest,
            /// Samples passed over by the intake `latest`.
            superseded,
            /// Samples that were older than `max_age` when they were to be taken.
            expired,
            /// Samples given up because the pipeline stopped.
            discarded,
            /// Samples that had entered the pipeline before a flush.
            flushed,
        }
    };
}

/// Hands the counters of a stage to a macro, as [`buffer_counters`] does.
#[doc(hidden)]
#[macro_export]
macro_rules! stage_counters {
    ($make:ident) => {
        $make! {
            /// Samples whose result went on (or, in the end stage, that were worked on).
            used,
            /// Samples that `stage_run` is working on now, and those that a window has not used yet.
            in_flight,
            /// Samples that the stage gave to the next buffer, the parts of a Many and of `finish` each counted.
            gave,
            ;
            /// Samples used by a list whose result went on under its newest sample's number.
            absorbed,
            /// Samples that the stage ended with SKIP.
            skipped,
            /// Samples on which the stage failed.
            failed,
            /// Samples that a worker process had in flight when it died, and those that took one of several ordered
            /// threads longer than the stage's `time_limit` while others waited for them.
            lost,
            /// Samples that a flush ended inside: kept for a window, or about to be tried again.
            flushed,
        }
    };
}

/// Makes the type of the report, with what else is in it, and that of the words in which a buffer keeps its totals.
macro_rules! counts {
    (
        $(#[$about:meta])* $counts:ident { $($more:tt)* }
        $(#[$about_totals:meta])* $totals:ident
        $($(#[$doc:meta])* $count:ident,)* ; $($(#[$total_doc:meta])* $total:ident,)*
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub struct $counts {
            $($(#[$doc])* pub $count: u64,)*
            $($(#[$total_doc])* pub $total: u64,)*
            $($more)*
        }

        $(#[$about_totals])*
        #[derive(Debug, Clone, Copy, Default)]
        #[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
        #[repr(C)]
        pub(crate) struct $totals {
            $(pub(crate) $total: u64,)*
        }

        impl From<$totals> for $counts {
            fn from(totals: $totals) -> Self {
                $counts { $($total: totals.$total,)* ..$counts::default() }
            }
        }
    };
}

/// Makes the sum of two of that type.
macro_rules! sums {
    ($counts:ident $($(#[$doc:meta])* $count:ident,)* ; $($(#[$total_doc:meta])* $total:ident,)*) => {
        impl $counts {
            /// Adds the counters of another part, or of another time.
            pub(crate) fn add(&mut self, other: &$counts) {
                $(self.$count += other.$count;)*
                $(self.$total += other.$total;)*
            }
        }
    };
}

macro_rules! buffer_counts {
    ($($listed:tt)*) => {
        sums!(BufferCounts $($listed)*);
        counts! {
            /// The counters of one buffer. At any quiet moment
            /// `entered = taken + oldest + newest + superseded + expired + discarded + flushed + waiting`.
            BufferCounts {
                /// The last samples dropped, superseded or expired, oldest first: 16 at most, all of them in a
                /// simulation.
                pub last_dropped: VecDeque<SampleId>,
            }
            /// The counters of a buffer that seldom change, as plain words.
            BufferTotals
            $($listed)*
        }
    };
}
buffer_counters!(buffer_counts);

macro_rules! stage_counts {
    ($($listed:tt)*) => {
        counts! {
            /// The counters of one stage. At any quiet moment
            /// `taken = used + absorbed + skipped + failed + lost + flushed + in_flight`, and `gave` entered the next buffer.
            StageCounts {
                /// The last samples on which the stage has failed, oldest first: 16 at most, all of them in a simulation.
                pub last_failed: VecDeque<SampleId>,
            }
            /// The counters of a stage that seldom change, as plain words.
            StageTotals
            $($listed)*
        }
    };
}
stage_counters!(stage_counts);

impl BufferCounts {
    /// Returns the number of all samples dropped: oldest, newest, superseded and expired.
    pub fn dropped(&self) -> u64 {
        self.dropped_oldest + self.dropped_newest + self.superseded + self.expired
    }

    /// Returns true if every sample that entered has exactly one fate.
    pub fn balances(&self) -> bool {
        self.entered == self.taken + self.dropped() + self.discarded + self.flushed + self.waiting
    }
}

impl StageCounts {
    /// Returns the number of all samples the stage is done with.
    pub fn settled(&self) -> u64 {
        self.used + self.absorbed + self.skipped + self.failed + self.lost + self.flushed
    }
}

/// The spread of a number of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Spread {
    /// The median: half of them are no longer than this.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub p50: Duration,
    /// The 99th percentile: 99 of 100 are no longer than this.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub p99: Duration,
    /// The longest.
    #[cfg_attr(feature = "serde", serde(with = "seconds"))]
    pub max: Duration,
    /// The mean, within one hundredth.
    #[cfg_attr(feature = "serde", serde(with = "seconds", default))]
    pub mean: Duration,
    /// The number of them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub count: u64,
}

/// The way a call of `stage_run` ended for the samples it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Used,
    Skipped,
    Failed,
    Lost,
    Flushed,
    /// Given up before the stage has run on it, as if it had never been taken.
    Discarded,
}

/// A reading of what happened in one stage.
pub(crate) struct Reading {
    pub(crate) counts: StageCounts,
    pub(crate) busy: Duration,
    /// Durations of the whole run, and of the last ten seconds.
    pub(crate) times: (Spread, Spread),
    pub(crate) ages: (Spread, Spread),
    pub(crate) ages_after: (Spread, Spread),
    pub(crate) waits: (Spread, Spread),
    /// The time since the birth of the newest sample that the last stage has used.
    pub(crate) age_of_information: Option<Duration>,
    /// The time that the last ten seconds are long now.
    pub(crate) lately: Duration,
}
