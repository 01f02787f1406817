//! The activity of each worker on a thread at the moment.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// An activity that others may look at.
pub(crate) struct Shown(AtomicUsize);

impl Shown {
    pub(crate) fn new() -> Self {
        Shown(AtomicUsize::new(1))
    }

    /// Sets the activity. Only a message is made of it, so no order is needed.
    #[inline]
    pub(crate) fn set(&self, activity: Activity) {
        let number = match activity {
            Activity::WaitsForSamples => 0,
            Activity::Calls => 1,
            Activity::WaitsForRoom(index) => index + 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Activity {
        match self.0.load(Ordering::Relaxed) {
            0 => Activity::WaitsForSamples,
            1 => Activity::Calls,
            room => Activity::WaitsForRoom(room - 2),
        }
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
