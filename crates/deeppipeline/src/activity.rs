//! The activity of each worker on a thread at the moment, and since when.

use crate::clock::Moment;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The present activity of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It waits for samples, or for the other workers to come up.
    WaitsForSamples,
    /// It is in the user's code.
    Calls,
    /// It waits for room in front of the stage at that index.
    WaitsForRoom(usize),
}

/// An activity that others may look at: what it is, since when, and the number of the sample.
pub(crate) struct Shown {
    activity: AtomicUsize,
    since: AtomicU64,
    number: AtomicU64,
}

impl Shown {
    pub(crate) fn new() -> Self {
        Shown { activity: AtomicUsize::new(1), since: AtomicU64::new(0), number: AtomicU64::new(0) }
    }

    /// Sets the activity. It is only for people to look at, so no order is needed, here and below.
    #[inline]
    pub(crate) fn set(&self, activity: Activity) {
        let number = match activity {
            Activity::WaitsForSamples => 0,
            Activity::Calls => 1,
            Activity::WaitsForRoom(index) => index + 2,
        };
        self.activity.store(number, Ordering::Relaxed);
    }

    /// Notes the sample that it works on, and since when.
    #[inline]
    pub(crate) fn begin(&self, number: u64, now: Moment) {
        self.number.store(number, Ordering::Relaxed);
        self.set_since(now);
    }

    /// Notes the time at which its activity has changed.
    #[inline]
    pub(crate) fn set_since(&self, now: Moment) {
        self.since.store(now.0, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Activity {
        match self.activity.load(Ordering::Relaxed) {
            0 => Activity::WaitsForSamples,
            1 => Activity::Calls,
            room => Activity::WaitsForRoom(room - 2),
        }
    }

    /// The time at which its activity has changed, and the number of the sample that it works on or had last; none
    /// before the first.
    pub(crate) fn since(&self) -> Option<(Moment, u64)> {
        let number = self.number.load(Ordering::Relaxed);
        (number > 0).then(|| (Moment(self.since.load(Ordering::Relaxed)), number))
    }
}

/// The times for which the source is asked for a sample before it gives one.
#[derive(Default)]
pub(crate) struct SourceWaits(Mutex<Waits>);

#[derive(Default)]
struct Waits {
    since: Option<Instant>,
    longest: Duration,
    /// True if no caller waits for it any more.
    is_left: bool,
}

impl SourceWaits {
    /// Notes that the source is asked for a sample.
    pub(crate) fn begin(&self, now: Instant) {
        self.0.lock().since.get_or_insert(now);
    }

    /// Notes that it is asked for none any longer. Returns true if it was left before: what it gives is given to nobody.
    pub(crate) fn end(&self, now: Instant) -> bool {
        let mut waits = self.0.lock();
        if let Some(since) = waits.since.take() {
            waits.longest = waits.longest.max(now.saturating_duration_since(since));
        }
        waits.is_left
    }

    /// Leaves the source, if it is still asked since then. Returns true if it was.
    pub(crate) fn leave(&self, since: Instant) -> bool {
        let mut waits = self.0.lock();
        waits.is_left |= waits.since == Some(since);
        waits.is_left
    }

    /// The time when the present wait began.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.0.lock().since
    }

    /// The present wait, and the longest.
    pub(crate) fn read(&self, now: Instant) -> (Option<Duration>, Duration) {
        let waits = self.0.lock();
        let present = waits.since.map(|since| now.saturating_duration_since(since));
        (present, waits.longest.max(present.unwrap_or_default()))
    }
}
