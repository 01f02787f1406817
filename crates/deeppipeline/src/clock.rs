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
            Clock::Virtual(clock) => clock.origin + clock.elapsed(),
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

    pub(crate) fn move_to(&self, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.store(nanoseconds, Ordering::Relaxed);
    }
}
