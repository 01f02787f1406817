//! Hand-shakes for tests that look at a running pipeline from outside.

use std::time::{Duration, Instant};

/// Yields until the condition holds. Only a pipeline that hangs makes it give up.
pub(crate) fn until(condition: impl Fn() -> bool) {
    let watchdog = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < watchdog, "this never came to pass");
        std::thread::yield_now();
    }
}
