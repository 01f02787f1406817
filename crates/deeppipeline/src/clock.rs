//! Whose time it is: the machine's, or a simulation's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where a pipeline reads the time.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    /// The machine's monotonic clock.
    #[default]
    Monotonic,
    /// Stands still until a simulation moves it.
    Virtual(VirtualClock),
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Clock::Monotonic => Instant::now(),
            Clock::Virtual(clock) => clock.now(),
        }
    }
}

/// A clock that only its owner moves.
#[derive(Debug, Clone)]
pub(crate) struct VirtualClock {
    origin: Instant,
    nanoseconds: Arc<AtomicU64>,
}

impl VirtualClock {
    pub(crate) fn new() -> Self {
        VirtualClock { origin: Instant::now(), nanoseconds: Arc::default() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        // One thread moves the clock and reads it; nothing else is published through it.
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

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

/// A moment as nanoseconds of the machine's monotonic clock, which is the same for all processes.
#[cfg(processes)]
pub(crate) fn to_nanoseconds(moment: Instant) -> u64 {
    let (instant, nanoseconds) = anchor();
    let after = moment.saturating_duration_since(instant).as_nanos();
    let before = instant.saturating_duration_since(moment).as_nanos();
    u64::try_from(u128::from(nanoseconds) + after - before.min(u128::from(nanoseconds))).unwrap_or(u64::MAX)
}

/// The moment again.
#[cfg(processes)]
pub(crate) fn from_nanoseconds(moment: u64) -> Instant {
    let (instant, nanoseconds) = anchor();
    match moment.checked_sub(nanoseconds) {
        Some(after) => instant + Duration::from_nanos(after),
        None => instant.checked_sub(Duration::from_nanos(nanoseconds - moment)).unwrap_or(instant),
    }
}

/// One moment on both clocks; they run alike.
#[cfg(processes)]
fn anchor() -> (Instant, u64) {
    use rustix::time::{ClockId, clock_gettime};
    static ANCHOR: std::sync::OnceLock<(Instant, u64)> = std::sync::OnceLock::new();
    *ANCHOR.get_or_init(|| {
        let instant = Instant::now();
        let now = clock_gettime(ClockId::Monotonic);
        (instant, now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    })
}
