//! What happened to every sample inside one stage. (What happened before it is counted in its buffer.)

use crate::intake::Input;
use crate::report::Spread;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// The counters of one stage. At any quiet moment
/// `taken = used + absorbed + skipped + failed + lost + in_hand`, and `gave` entered the next buffer.
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
    /// Samples that a worker process had in hand when it died, and those that took one of several ordered threads longer
    /// than the stage's `timeout` while others waited for them.
    pub lost: u64,
    /// Samples that `stage_run` is working on now, and those that a window has not used yet.
    pub in_hand: u64,
    /// What the stage gave to the next buffer, the parts of a Many and of `finish` each counted.
    pub gave: u64,
}

impl StageCounts {
    /// All samples the stage is done with.
    pub fn settled(&self) -> u64 {
        self.used + self.absorbed + self.skipped + self.failed + self.lost
    }
}

/// The ledger of one stage: its counters, and how long it worked.
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
}

struct Entries {
    counts: StageCounts,
    busy: Duration,
    /// Nanoseconds per call of `stage_run`.
    times: Durations,
    /// How old samples were when they were taken, and when the stage was done with them.
    ages: Durations,
    ages_after: Durations,
}

/// How a call of `stage_run` ended for the samples it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Used,
    Skipped,
    Failed,
    Lost,
}

/// A reading of one stage's ledger.
pub(crate) struct Reading {
    pub(crate) counts: StageCounts,
    pub(crate) busy: Duration,
    pub(crate) times: Spread,
    pub(crate) ages: Spread,
    pub(crate) ages_after: Spread,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Ledger {
            entries: Mutex::new(Entries {
                counts: StageCounts::default(),
                busy: Duration::ZERO,
                times: Durations::new(),
                ages: Durations::new(),
                ages_after: Durations::new(),
            }),
        }
    }

    /// A call of `stage_run` begins with what was taken at that time.
    pub(crate) fn begin<V>(&self, input: &Input<V>, at: Instant) {
        let mut entries = self.entries.lock();
        entries.counts.in_hand += input.count();
        for sample in input.samples() {
            entries.ages.record(at.saturating_duration_since(sample.birth));
        }
    }

    /// One more value went to the next buffer.
    pub(crate) fn count_given(&self) {
        self.entries.lock().counts.gave += 1;
    }

    /// A call of `stage_run` has ended: `samples` were in hand for `took`, the newest of them is so old now.
    pub(crate) fn settle(&self, samples: u64, fate: Fate, took: Duration, age: Duration) {
        let mut entries = self.entries.lock();
        let counts = &mut entries.counts;
        counts.in_hand -= samples;
        match fate {
            Fate::Used => {
                counts.used += 1;
                counts.absorbed += samples - 1;
            }
            Fate::Skipped => counts.skipped += samples,
            Fate::Failed => counts.failed += samples,
            Fate::Lost => counts.lost += samples,
        }
        entries.busy += took;
        entries.times.record(took);
        entries.ages_after.record(age);
    }

    /// So many samples that a window kept are in no list.
    pub(crate) fn skip_kept(&self, samples: u64) {
        let mut entries = self.entries.lock();
        entries.counts.in_hand -= samples;
        entries.counts.skipped += samples;
    }

    pub(crate) fn read(&self) -> Reading {
        let entries = self.entries.lock();
        Reading {
            counts: entries.counts.clone(),
            busy: entries.busy,
            times: entries.times.spread(),
            ages: entries.ages.spread(),
            ages_after: entries.ages_after.spread(),
        }
    }
}

/// Durations in nanoseconds, to two significant digits: a few kilobytes for any stage that exists.
pub(crate) struct Durations {
    histogram: Histogram<u64>,
    max: Duration,
}

/// So many of one duration are told apart at most.
#[cfg(processes)]
const MOST_COUNTED: u64 = 1 << 48;

impl Durations {
    pub(crate) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "the precision is a constant in the accepted range of 0 to 5")]
        let histogram = Histogram::new(2).expect("two significant digits");
        Durations { histogram, max: Duration::ZERO }
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        self.max = self.max.max(duration);
        // The histogram grows as needed; only a time beyond 64 bits of nanoseconds could not be recorded.
        let _ = self.histogram.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    /// What was counted elsewhere: durations in nanoseconds, each with how often it came, and the longest of them.
    #[cfg(processes)]
    pub(crate) fn counted(durations: impl IntoIterator<Item = (u64, u64)>, max: Duration) -> Self {
        let mut times = Durations { max, ..Durations::new() };
        for (nanoseconds, count) in durations {
            // A stray write may have made it anything, and the sum must stay a number.
            let _ = times.histogram.record_n(nanoseconds, count.min(MOST_COUNTED));
        }
        times
    }

    pub(crate) fn spread(&self) -> Spread {
        let quantile = |q| match self.histogram.is_empty() {
            true => Duration::ZERO,
            // A step of the histogram may reach beyond the longest.
            false => Duration::from_nanos(self.histogram.value_at_quantile(q)).min(self.max),
        };
        Spread { p50: quantile(0.5), p99: quantile(0.99), max: self.max }
    }
}
