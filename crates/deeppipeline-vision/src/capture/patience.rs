//! Waiting for what ffmpeg says next: at the opening with a bound, later without one, but never in silence.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::ffmpeg::Said;
use crate::warning::warn;

/// The end of a wait for ffmpeg.
pub(super) enum Heard {
    Said(Said),
    /// It has closed its log, which it does when it ends.
    Nothing,
    TimedOut,
    Interrupted,
}

/// Waits until `deadline`, and as long as `go_on` agrees.
pub(super) fn bounded(said: &Receiver<Said>, deadline: Instant, go_on: &mut dyn FnMut() -> bool) -> Heard {
    const LOOK_AROUND: Duration = Duration::from_millis(500);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match said.recv_timeout(left.min(LOOK_AROUND)) {
            Ok(said) => return Heard::Said(said),
            Err(RecvTimeoutError::Disconnected) => return Heard::Nothing,
            Err(RecvTimeoutError::Timeout) if !go_on() => return Heard::Interrupted,
            Err(RecvTimeoutError::Timeout) if left.is_zero() => return Heard::TimedOut,
            Err(RecvTimeoutError::Timeout) => (),
        }
    }
}

/// Waits for as long as it takes; says so when it has taken `stall_after`, twice that, four times that and so on.
pub(super) fn unbounded(said: &Receiver<Said>, stall_after: Duration, input: &Address) -> Heard {
    let started = Instant::now();
    let mut next = stall_after;
    let heard = loop {
        match said.recv_timeout(next.saturating_sub(started.elapsed())) {
            Ok(said) => break Heard::Said(said),
            Err(RecvTimeoutError::Disconnected) => break Heard::Nothing,
            Err(RecvTimeoutError::Timeout) => {
                warn(format_args!(
                    "{input} has stalled: no picture has come for {:.1} s",
                    started.elapsed().as_secs_f64()
                ));
                next = next.saturating_mul(2).max(Duration::from_millis(500));
            }
        }
    };
    if next != stall_after && matches!(heard, Heard::Said(_)) {
        warn(format_args!("{input} goes on after {:.1} s without a picture", started.elapsed().as_secs_f64()));
    }
    heard
}
