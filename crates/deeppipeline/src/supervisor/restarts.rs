//! How sources go on that may be opened again: what they wait for, and what is said of them.

use super::entrances::Entrance;
use super::{State, Supervisor};
use crate::buffer::Wait;
use crate::notices::Notice;
use crate::report::SourceState;
use crate::worker::SourceEvent;
use std::time::{Duration, Instant};

/// The shortest time between two notices that one source was lost.
const LOST_EVERY: Duration = Duration::from_secs(10);

/// The step at which a source is that has a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceStep {
    /// It is being opened since then, or will be at once.
    Opening(Option<Instant>),
    /// It is asked for samples.
    Streaming,
    /// It is opened again then.
    Waiting(Instant),
}

impl SourceStep {
    pub(super) fn state(self) -> SourceState {
        match self {
            SourceStep::Opening(_) => SourceState::Opening,
            SourceStep::Streaming => SourceState::Streaming,
            SourceStep::Waiting(_) => SourceState::Waiting,
        }
    }

    /// Returns the time that is left until it is opened again, where it waits for that.
    pub(super) fn next_try(self, now: Instant) -> Option<Duration> {
        match self {
            SourceStep::Waiting(until) => Some(until.saturating_duration_since(now)),
            SourceStep::Opening(_) | SourceStep::Streaming => None,
        }
    }
}

/// What is known, and was said, of how often a source was opened.
#[derive(Debug, Default)]
pub(super) struct Openings {
    opened: u64,
    /// The number of times that it was lost since that was last said.
    untold: u64,
    told_at: Option<Instant>,
    /// True if it was said that it was lost, and not that it gives samples again.
    is_told_lost: bool,
}

impl Openings {
    /// The number of times that it was opened again.
    pub(super) fn restarts(&self) -> u64 {
        self.opened.saturating_sub(1)
    }

    /// Returns how often it was lost since that was last said, if it is to be said now.
    pub(super) fn lost(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|told| now < told + LOST_EVERY) {
            return None;
        }
        (self.told_at, self.is_told_lost) = (Some(now), true);
        Some(std::mem::take(&mut self.untold))
    }

    /// Returns the notice that it gives samples again, where it was said that it was lost.
    pub(super) fn is_back(&mut self, source: &str) -> Option<Notice> {
        std::mem::take(&mut self.is_told_lost).then(|| Notice::SourceBack { source: source.to_owned() })
    }
}

impl State {
    /// Returns when the next source is opened again after that moment.
    pub(super) fn next_opening_after(&self, now: Instant) -> Option<Instant> {
        let waits = self.sources.iter().filter_map(|source| match source.step {
            SourceStep::Waiting(until) if source.is_wanted => Some(until),
            _ => None,
        });
        waits.filter(|until| *until > now).min()
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// Notes how a source goes on, and tells of it where that is worth a word.
    pub(super) fn source_goes_on(&self, source: usize, event: SourceEvent) {
        let now = self.clock.now();
        let notice = {
            let state = &mut *self.state.lock();
            let is_wanted = state.sources[source].is_wanted && state.phase.wants_samples();
            let running = &mut state.sources[source];
            // It was left behind, and its entrance may be another's by now.
            if running.is_left {
                return;
            }
            let entrance = &mut state.entrances[running.entrance];
            match event {
                SourceEvent::Opens => {
                    running.step = SourceStep::Opening(Some(now));
                    entrance.openings.opened += 1;
                    None
                }
                SourceEvent::Opened => {
                    running.step = SourceStep::Streaming;
                    None
                }
                SourceEvent::Gave => entrance.openings.is_back(entrance.name()),
                SourceEvent::Left { error, wait, until } => {
                    running.step = SourceStep::Waiting(until);
                    let notice = is_wanted.then(|| lost(entrance, error.clone(), now, wait)).flatten();
                    entrance.last_error = error.or(entrance.last_error.take());
                    notice
                }
            }
        };
        if let Some(notice) = notice {
            self.notices.tell(notice);
        }
    }

    /// Waits with opening a source again; see [`Control`](crate::worker::Control).
    pub(super) fn wait_with_opening(&self, source: usize, until: Instant, wait: Wait) -> Option<bool> {
        let mut state = self.state.lock();
        loop {
            if !state.sources[source].is_wanted || !state.phase.wants_samples() {
                return Some(false);
            }
            if self.clock.now() >= until {
                return Some(true);
            }
            match wait {
                Wait::No => return None,
                Wait::Forever => self.wait_for_change(&mut state, Wait::Until(until)),
                Wait::Until(deadline) if Instant::now() >= deadline => return None,
                Wait::Until(deadline) => self.wait_for_change(&mut state, Wait::Until(deadline.min(until))),
            };
        }
    }
}

/// Returns the notice that a source was lost, if it is to be told now.
fn lost(entrance: &mut Entrance, error: Option<String>, now: Instant, wait: Duration) -> Option<Notice> {
    let times = entrance.openings.lost(now)?;
    Some(Notice::SourceLost { source: entrance.name().to_owned(), error, times, wait })
}
