//! The clock of a pipeline: the machine's, or a simulation's.

use crate::buffer::WINDOW;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The clock from which a pipeline reads the time.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    /// The machine's monotonic clock.
    #[default]
    Monotonic,
    /// Stands still until a simulation moves it.
    Virtual(VirtualClock),
}

impl Clock {
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match self {
            Clock::Monotonic => Instant::now(),
            Clock::Virtual(clock) => clock.now(),
        }
    }

    /// Returns true if it stands still until a simulation moves it.
    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }

    #[inline]
    pub(crate) fn moment(&self) -> Moment {
        match self {
            Clock::Monotonic => Moment::now(),
            Clock::Virtual(clock) => Moment::of(clock.now()),
        }
    }
}

/// A moment as a number, as it lies in a buffer: nanoseconds of the machine's monotonic clock, which is the same for all
/// processes. Every sample is looked at several times a hop, and an [`Instant`] costs more than all else then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub(crate) u64);

impl Moment {
    /// Reads the machine's clock.
    #[inline]
    pub fn now() -> Self {
        #[cfg(processes)]
        return Moment(monotonic_now());
        #[cfg(not(processes))]
        Moment::of(Instant::now())
    }

    /// Returns a moment of the machine's monotonic clock.
    #[inline]
    pub fn of(moment: Instant) -> Self {
        Moment(to_nanoseconds(moment))
    }

    pub(crate) fn instant(self) -> Instant {
        from_nanoseconds(self.0)
    }

    /// Returns the nanoseconds since an earlier moment.
    #[inline]
    pub(crate) fn since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A clock that only its owner moves.
#[derive(Debug, Clone)]
pub(crate) struct VirtualClock {
    origin: Instant,
    nanoseconds: Arc<AtomicU64>,
}

impl VirtualClock {
    /// Makes a clock that begins with a whole period: what is told of the last ten seconds, in periods of two, is then the
    /// same whenever a simulation is run.
    pub(crate) fn new() -> Self {
        let origin = from_nanoseconds(to_nanoseconds(Instant::now()).next_multiple_of(WINDOW));
        VirtualClock { origin, nanoseconds: Arc::default() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        // One thread moves the clock and reads it; nothing else is published through it.
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.origin + self.elapsed()
    }

    pub(crate) fn since_origin(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.origin)
    }

    pub(crate) fn move_to(&self, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.store(nanoseconds, Ordering::Relaxed);
    }
}

/// Returns a moment as nanoseconds of the machine's monotonic clock, which is the same for all processes.
pub(crate) fn to_nanoseconds(moment: Instant) -> u64 {
    let (instant, nanoseconds) = anchor();
    match moment.checked_duration_since(instant) {
        Some(after) => nanoseconds.saturating_add(in_nanoseconds(after)),
        None => nanoseconds.saturating_sub(in_nanoseconds(instant - moment)),
    }
}

/// Returns the moment again.
pub(crate) fn from_nanoseconds(moment: u64) -> Instant {
    let (instant, nanoseconds) = anchor();
    match moment.checked_sub(nanoseconds) {
        Some(after) => instant + Duration::from_nanos(after),
        None => instant.checked_sub(Duration::from_nanos(nanoseconds - moment)).unwrap_or(instant),
    }
}

/// Returns a duration in nanoseconds: 584 years and more are as many.
#[inline]
pub(crate) fn in_nanoseconds(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(duration.subsec_nanos()))
}

/// One moment on both clocks; they run alike.
fn anchor() -> (Instant, u64) {
    static ANCHOR: OnceLock<(Instant, u64)> = OnceLock::new();
    *ANCHOR.get_or_init(|| (Instant::now(), monotonic_now()))
}

#[cfg(processes)]
#[inline]
fn monotonic_now() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Returns the time of this process's own clock, since without processes no other reads it: far enough from 0 that
/// there is a time before.
#[cfg(not(processes))]
#[inline]
fn monotonic_now() -> u64 {
    1 << 62
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_clock_begins_with_a_whole_period() {
        let clock = VirtualClock::new();
        assert_eq!(to_nanoseconds(clock.now()) % WINDOW, 0);
        assert_eq!(clock.elapsed(), Duration::ZERO);
    }
}
