//! A source's worker: it asks for the next sample, and opens a source that may be opened again, after a wait.

use super::{Call, Ending, LogEvent, SourceEvent, Step, Worker};
use crate::activity::Activity;
use crate::aside;
use crate::buffer::Wait;
use crate::error::Doing;
use crate::restart::RestartPolicy;
use crate::unwind::{BoxError, release};
use std::task::Poll;
use std::time::{Duration, Instant};

/// The state of a source that may be opened again.
#[derive(Debug)]
pub(super) struct Reopening {
    policy: RestartPolicy,
    is_open: bool,
    /// The time before which it is not opened again.
    due: Option<Instant>,
    /// The wait after the next failure or end.
    wait: Duration,
    /// The number of times in a row that it was opened again without giving a sample.
    in_vain: u32,
    /// True if it has given a sample since it was opened.
    gave: bool,
}

impl Reopening {
    pub(super) fn new(policy: RestartPolicy) -> Self {
        Reopening { policy, is_open: false, due: None, wait: policy.wait, in_vain: 0, gave: false }
    }

    /// Returns how long to wait before it is opened again; `None` if it is not.
    fn leave(&mut self) -> Option<Duration> {
        (self.is_open, self.gave) = (false, false);
        if self.policy.times.is_some_and(|times| self.in_vain >= times) {
            return None;
        }
        self.in_vain = self.in_vain.saturating_add(1);
        let wait = self.wait;
        self.wait = wait.saturating_mul(2).min(self.policy.at_most);
        Some(wait)
    }

    /// Notes that it has given a sample. Returns true if it is the first since it was opened.
    fn note_sample(&mut self) -> bool {
        let is_first = !std::mem::replace(&mut self.gave, true);
        if is_first {
            (self.wait, self.in_vain) = (self.policy.wait, 0);
        }
        is_first
    }
}

impl<V> Worker<V> {
    /// Asks the source for its next sample, or opens it before; `None` when the worker is to look at its step again.
    pub(super) fn begin_with_source(&mut self, wait: Wait) -> Option<Poll<Option<Call<V>>>> {
        let worker_id = self.context.worker_id;
        if !self.context.control.wants_samples(worker_id) {
            self.give_up();
            return None;
        }

        if let Some(reopening) = self.reopening.as_mut().filter(|reopening| !reopening.is_open) {
            if let Some(due) = reopening.due {
                self.context.activity.set(Activity::WaitsForSamples);
                match self.context.control.wait_to_open(worker_id, due, wait) {
                    Some(true) => reopening.due = None,
                    // It looks again whether it is wanted.
                    Some(false) => return None,
                    None => return Some(Poll::Pending),
                }
            }
            self.context.control.tell_source(worker_id, SourceEvent::Opens);
            return Some(self.call(Step::Opening, Call::SourceOpen));
        }
        self.context.show_source_asked();
        Some(self.call(Step::Pulling, Call::SourceNext))
    }

    pub(super) fn settle_open(&mut self, ending: Ending) -> LogEvent {
        match ending {
            Ending::Failed(cause) => self.source_left(Doing::SourceOpen, Some(cause)),
            _ => {
                self.step = Step::Idle;
                if let Some(reopening) = &mut self.reopening {
                    reopening.is_open = true;
                }
                self.context.control.tell_source(self.context.worker_id, SourceEvent::Opened);
                LogEvent::Nothing
            }
        }
    }

    pub(super) fn settle_pull(&mut self, ending: Ending) -> LogEvent {
        self.context.show_source_not_asked();
        match ending {
            Ending::Gave(_) | Ending::Windowed => {
                self.step = Step::Idle;
                if let Some(reopening) = &mut self.reopening
                    && reopening.note_sample()
                {
                    self.context.control.tell_source(self.context.worker_id, SourceEvent::Gave);
                }
                LogEvent::Nothing
            }
            Ending::Exhausted => self.source_left(Doing::SourceNext, None),
            Ending::Failed(cause) => self.source_left(Doing::SourceNext, Some(cause)),
        }
    }

    /// Lets a source that has ended, or failed, be opened again after a wait, where it may be. Otherwise that is its end.
    fn source_left(&mut self, doing: Doing, cause: Option<BoxError>) -> LogEvent {
        let worker_id = self.context.worker_id;
        // What fails once it is closed, for a stop, has come to its end.
        let is_over = || !self.context.control.wants_samples(worker_id);
        let wait = self
            .reopening
            .as_mut()
            .and_then(|reopening| reopening.leave().or_else(|| is_over().then_some(Duration::ZERO)));
        if let (Some(wait), Some(reopening)) = (wait, &mut self.reopening) {
            let now = self.context.clock.now();
            let until = now.checked_add(wait).unwrap_or(now);
            reopening.due = Some(until);
            let error = cause.as_ref().map(|cause| aside::text_of(cause));
            release(cause);
            self.context.control.tell_source(worker_id, SourceEvent::Left { error, wait, until });
            self.step = Step::Idle;
            return LogEvent::Nothing;
        }

        let event = cause.map_or(LogEvent::Nothing, |cause| self.fail(doing, None, cause));
        self.give_up();
        event
    }
}
