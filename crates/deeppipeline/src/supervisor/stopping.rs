//! The end of a pipeline, for a caller that waits for it: how long a drain and an abort may take.

use super::Supervisor;
use crate::buffer::Wait;
use std::time::{Duration, Instant};

/// The time that workers get, after an abort, to end and to run their `teardown`.
pub const GRACE: Duration = Duration::from_millis(500);

/// The time that the system may take to end a process that was killed.
pub(crate) const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// The interval at which a caller that drains is told for what it waits.
const NOTE_EVERY: Duration = Duration::from_secs(5);

/// The interval at which a caller that waits may do something else: a binding looks for signals, say.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a caller that waits for the end of a pipeline is told meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// It waits on.
    On,
    /// It has waited for these stages for another five seconds.
    For(String),
    /// The time is over, and the pipeline is about to be aborted; these stages are still busy.
    NoLonger(String),
}

/// How long a caller waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) since: Instant,
    /// `None` is for ever.
    pub(super) timeout: Option<Duration>,
}

impl Patience {
    pub(super) fn from_now(timeout: Option<Duration>) -> Self {
        Patience { since: Instant::now(), timeout }
    }
}

/// The reason why a caller waits no longer for what is not done.
pub(super) enum NotDone<T> {
    /// The time is over, and this is what it has waited for.
    Late(T),
    /// The pipeline was aborted, and what is still in the user's code is left behind.
    LeftBehind,
}

impl<V: Send + 'static> Supervisor<V> {
    /// Tries until it is done, or the caller is to wait no longer. An attempt that is not done says what it lacks, and
    /// `named` what that is called. The caller is told what happens meanwhile, and an error of its own ends the wait.
    ///
    /// # Errors
    /// The error of the caller.
    pub(super) fn wait_patiently<T, L, E>(
        &self,
        Patience { since, timeout }: Patience,
        mut meanwhile: impl FnMut(Waiting) -> Result<(), E>,
        named: impl Fn(L) -> String,
        mut attempt: impl FnMut(Wait) -> Result<T, L>,
    ) -> Result<Result<T, NotDone<L>>, E> {
        let deadline = timeout.and_then(|timeout| since.checked_add(timeout));
        let mut next_note = Instant::now() + NOTE_EVERY;
        loop {
            let lacks = match attempt(look_or(deadline)) {
                Ok(done) => return Ok(Ok(done)),
                Err(lacks) => lacks,
            };
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(Err(NotDone::Late(lacks)));
            }
            if self.aborted_at().is_some_and(|aborted_at| now >= aborted_at + GRACE) {
                return Ok(Err(NotDone::LeftBehind));
            }
            if now >= next_note {
                next_note += NOTE_EVERY;
                meanwhile(Waiting::For(named(lacks)))?;
            } else {
                meanwhile(Waiting::On)?;
            }
        }
    }

    /// Returns the name of a stage with these workers, for a caller that waits for them.
    pub(super) fn named_workers(&self, node: usize, workers: &[usize]) -> String {
        format!("{}, workers {workers:?}", self.stage_name(node))
    }

    /// Waits until everything has flowed out; aborts what has not after `abort_after`. A pipeline that is aborted is
    /// waited for no longer than [`wait_aborted`](Supervisor::wait_aborted) does. The caller is told what happens
    /// meanwhile, and an error of its own ends the wait.
    ///
    /// # Errors
    /// The error of the caller.
    pub fn drain<E>(
        &self,
        abort_after: Option<Duration>,
        mut meanwhile: impl FnMut(Waiting) -> Result<(), E>,
    ) -> Result<(), E> {
        let begun = Instant::now();
        let deadline = abort_after.and_then(|after| begun.checked_add(after));
        let mut next_note = begun + NOTE_EVERY;
        while !self.wait_ended(look_or(deadline)) {
            let now = Instant::now();
            if self.aborted_at().is_some() {
                return self.wait_aborted(meanwhile);
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                meanwhile(Waiting::NoLonger(self.still_busy()))?;
                self.abort();
                return self.wait_aborted(meanwhile);
            }
            if now >= next_note {
                next_note += NOTE_EVERY;
                meanwhile(Waiting::For(self.still_busy()))?;
            } else {
                meanwhile(Waiting::On)?;
            }
        }
        Ok(())
    }

    /// Waits for workers to end after an abort: those on threads have [`GRACE`] for it, and processes are killed then.
    /// What is still in the user's code after that is left behind.
    ///
    /// # Errors
    /// The error of the caller, which ends the wait.
    pub fn wait_aborted<E>(&self, mut meanwhile: impl FnMut(Waiting) -> Result<(), E>) -> Result<(), E> {
        let deadline = self.aborted_at().unwrap_or_else(Instant::now) + GRACE;
        while !self.wait_ended(look_or(Some(deadline))) && Instant::now() < deadline {
            meanwhile(Waiting::On)?;
        }
        // A process that is still there is being killed now.
        self.wait_processes_ended(Wait::Until(Instant::now() + KILLED_WITHIN));
        Ok(())
    }
}

/// A wait until the deadline, or until the caller is to look for something else.
fn look_or(deadline: Option<Instant>) -> Wait {
    let look = Instant::now() + LOOK_EVERY;
    Wait::Until(deadline.map_or(look, |deadline| deadline.min(look)))
}
