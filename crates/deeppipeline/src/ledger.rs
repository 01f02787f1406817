//! What happened to every sample inside one stage. (What happened before it is counted in its buffer.)

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::time::Duration;

/// The counters of one stage. At any quiet moment
/// `taken = used + absorbed + skipped + failed + lost + in_hand`, and `gave` entered the next buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StageCounts {
    /// Samples whose result went on (or, in the end stage, that were worked on).
    pub used: u64,
    /// Samples used by a list whose result went on under its newest sample's number.
    pub absorbed: u64,
    /// Samples that the stage ended with SKIP.
    pub skipped: u64,
    /// Samples on which the stage failed.
    pub failed: u64,
    /// Samples that a worker process had in hand when it died.
    pub lost: u64,
    /// Samples that `stage_run` is working on now.
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
    /// Nanoseconds per call of `stage_run`, to two significant digits.
    times: Histogram<u64>,
}

/// How a call of `stage_run` ended for the samples it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Used,
    Skipped,
    Failed,
    #[cfg_attr(not(processes), expect(dead_code, reason = "only a process can die with a sample in hand"))]
    Lost,
}

/// A reading of one stage's ledger.
pub(crate) struct Reading {
    pub(crate) counts: StageCounts,
    pub(crate) busy: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let times = histogram();
        Ledger { entries: Mutex::new(Entries { counts: StageCounts::default(), busy: Duration::ZERO, times }) }
    }

    /// A call of `stage_run` begins with that many samples.
    pub(crate) fn begin(&self, samples: u64) {
        self.entries.lock().counts.in_hand += samples;
    }

    /// One more value went to the next buffer.
    pub(crate) fn count_given(&self) {
        self.entries.lock().counts.gave += 1;
    }

    /// A call of `stage_run` has ended: `samples` were in hand for `took`.
    pub(crate) fn settle(&self, samples: u64, fate: Fate, took: Duration) {
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
        // The histogram grows as needed; only a time beyond 64 bits of nanoseconds could not be recorded.
        let _ = entries.times.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    pub(crate) fn read(&self) -> Reading {
        let entries = self.entries.lock();
        let (p50, p99) = median_and_p99(&entries.times);
        Reading { counts: entries.counts.clone(), busy: entries.busy, p50, p99 }
    }
}

fn histogram() -> Histogram<u64> {
    // Two digits over a growing range: a few kilobytes for any stage that exists.
    #[expect(clippy::expect_used, reason = "the precision is a constant in the accepted range of 0 to 5")]
    Histogram::new(2).expect("two significant digits")
}

fn median_and_p99(times: &Histogram<u64>) -> (Duration, Duration) {
    let quantile = |q| match times.is_empty() {
        true => Duration::ZERO,
        false => Duration::from_nanos(times.value_at_quantile(q)),
    };
    (quantile(0.5), quantile(0.99))
}

/// The median and the 99th percentile of durations in nanoseconds, each with how often it came.
#[cfg(processes)]
pub(crate) fn quantiles(durations: impl IntoIterator<Item = (u64, u64)>) -> (Duration, Duration) {
    let mut times = histogram();
    for (nanoseconds, count) in durations {
        let _ = times.record_n(nanoseconds, count);
    }
    median_and_p99(&times)
}
