//! Sources that give nothing for too long: they are told, closed where they may be opened again, and left behind where
//! even that is of no use.

use super::entrances::RunningSource;
use super::restarts::SourceStep;
use super::{Closer, GRACE, State, Supervisor, call};
use crate::aside;
use crate::error::{Doing, Failure, Stalled};
use crate::notices::Notice;
use crate::phase::{WorkerEvent, WorkerPhase};
use crate::worker::{Control, WorkerId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A source that gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stall {
    /// The time when it was asked, or began to be opened.
    since: Instant,
    /// The time when that was found to be too long ago.
    found_at: Instant,
}

/// What is to be done about a source.
enum Found {
    /// It gives nothing.
    Stalls,
    /// It does not return, though it was closed.
    Hangs(Stall),
    /// It gives samples again.
    IsBack,
}

/// What a look at the sources has found.
#[derive(Default)]
struct Looked {
    /// The sources that are to be closed.
    closes: Vec<usize>,
    /// Those that are to be left behind: what each does, and for how long it may give nothing.
    left: Vec<(usize, Doing, Duration)>,
    notices: Vec<Notice>,
    /// The time of the next look; `None` once nothing can stall any more.
    next: Option<Instant>,
}

impl Looked {
    fn finds_nothing(&self) -> bool {
        self.closes.is_empty() && self.left.is_empty() && self.notices.is_empty()
    }
}

impl RunningSource {
    /// Returns how long it may give nothing, where that is limited and it runs.
    fn watched(&self) -> Option<Duration> {
        let runs = self.is_wanted && self.phase == WorkerPhase::Running;
        self.stall_timeout.filter(|_| runs)
    }
}

impl State {
    /// The time since which a source is asked for a sample, or opened.
    fn asked_since(&self, source: &RunningSource) -> Option<Instant> {
        match source.step {
            SourceStep::Opening(since) => since,
            SourceStep::Streaming => self.entrances[source.entrance].waits.since(),
            SourceStep::Waiting(_) => None,
        }
    }

    /// Returns true if a source was found to give nothing, and has given nothing since.
    pub(super) fn is_stalled(&self, source: &RunningSource) -> bool {
        source.stall.is_some_and(|stall| self.asked_since(source) == Some(stall.since))
    }

    /// Returns when the next source will have given nothing for too long.
    pub(super) fn next_stall(&self, now: Instant) -> Option<Instant> {
        let stalls = self.sources.iter().filter(|source| !self.is_stalled(source)).filter_map(|source| {
            let due = self.asked_since(source)?.checked_add(source.watched()?)?;
            Some(due.max(now))
        });
        stalls.min()
    }

    /// Returns what is to be done about the source at that place now, and when to look at it again.
    fn look_at(&mut self, place: usize, now: Instant) -> (Option<Found>, Option<Instant>) {
        let source = &self.sources[place];
        let Some(timeout) = source.watched() else { return (None, None) };
        let (since, before) = (self.asked_since(source), source.stall);
        // Whatever it is asked for later is too late only then.
        let later = now.checked_add(timeout);

        let Some(since) = since else {
            self.sources[place].stall = None;
            return (before.map(|_| Found::IsBack), later);
        };
        if let Some(stall) = before.filter(|stall| stall.since == since) {
            let due = stall.found_at + GRACE;
            return match source.restart {
                Some(_) if now >= due => (Some(Found::Hangs(stall)), later),
                Some(_) => (None, Some(due)),
                None => (None, later),
            };
        }
        match since.checked_add(timeout) {
            Some(due) if now >= due => {
                let restarts = source.restart.is_some();
                self.sources[place].stall = Some(Stall { since, found_at: now });
                (Some(Found::Stalls), if restarts { Some(now + GRACE) } else { later })
            }
            due => {
                self.sources[place].stall = None;
                (before.map(|_| Found::IsBack), due)
            }
        }
    }
}

impl State {
    /// Looks for sources that give nothing for too long, and for those that give samples again.
    fn look_for_stalls(&mut self, now: Instant) -> Looked {
        let mut looked = Looked::default();
        for place in 0..self.sources.len() {
            let (found, next) = self.look_at(place, now);
            looked.next = [looked.next, next].into_iter().flatten().min();
            let running = &self.sources[place];
            let (restarts, step) = (running.restart.is_some(), running.step);
            let after = running.stall_timeout.unwrap_or_default();
            let entrance = &mut self.entrances[running.entrance];
            match found {
                None => {}
                Some(Found::Stalls) => {
                    if restarts {
                        looked.closes.push(place);
                        entrance.last_error = Some(format!("it has given nothing for {after:?}"));
                    }
                    if entrance.openings.lost(now).is_some() {
                        let source = entrance.name().to_owned();
                        looked.notices.push(Notice::SourceStalled { source, after, closes: restarts });
                    }
                }
                // One that gives something at this moment is not left.
                Some(Found::Hangs(stall)) if step != SourceStep::Streaming || entrance.waits.leave(stall.since) => {
                    let doing = if step == SourceStep::Streaming { Doing::SourceNext } else { Doing::SourceOpen };
                    looked.left.push((place, doing, after));
                    self.sources[place].is_wanted = false;
                }
                Some(Found::Hangs(_)) => {}
                // One that is opened again tells it with its first sample.
                Some(Found::IsBack) if restarts => {}
                Some(Found::IsBack) => looked.notices.extend(entrance.openings.is_back(entrance.name())),
            }
        }
        looked
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// Watches over the sources on a thread of its own, if one may stall, until no sample is wanted any more.
    pub(super) fn watch_stalls(self: &Arc<Self>) {
        let starts = {
            let state = &mut *self.state.lock();
            let may_stall = state.sources.iter().any(|source| source.stall_timeout.is_some());
            may_stall && !self.clock.is_virtual() && !std::mem::replace(&mut state.watches_stalls, true)
        };
        if !starts {
            return;
        }
        let supervisor = Arc::clone(self);
        let thread = std::thread::Builder::new().name("stalls of sources".to_owned());
        if let Err(error) = thread.spawn(move || supervisor.watch_for_stalls()) {
            aside::log(move || tracing::warn!("no thread to watch over sources: {error}"));
        }
    }

    fn watch_for_stalls(&self) {
        loop {
            let mut state = self.state.lock();
            if !state.phase.wants_samples() {
                state.watches_stalls = false;
                return;
            }
            let looked = state.look_for_stalls(self.clock.now());
            // Under the lock of the look, so that no change falls between the two.
            if looked.finds_nothing() {
                match looked.next {
                    Some(next) => drop(self.changed.wait_until(&mut state, next)),
                    None => self.changed.wait(&mut state),
                }
                continue;
            }
            drop(state);
            for source in self.tell_of_stalls(looked) {
                let closer: Option<Arc<Closer>> = self.state.lock().sources[source].closer.clone();
                closer.into_iter().for_each(call);
                // One that the binding knows how to close.
                self.notices.tell(Notice::CloseSource { source });
            }
        }
    }

    /// Looks for sources that give nothing for too long, and for those that give samples again, and tells of them; returns
    /// those that are to be closed.
    pub(crate) fn look_for_stalls(&self) -> Vec<usize> {
        let looked = self.state.lock().look_for_stalls(self.clock.now());
        self.tell_of_stalls(looked)
    }

    /// Does what a look asks for, outside of the lock; returns the sources that are to be closed.
    fn tell_of_stalls(&self, looked: Looked) -> Vec<usize> {
        looked.notices.into_iter().for_each(|notice| self.notices.tell(notice));
        looked.left.into_iter().for_each(|(place, doing, after)| self.leave_behind(place, doing, after));
        looked.closes
    }

    /// Leaves a source behind that does not return from the user's code: it has failed, and what it gives later is given
    /// to nobody. No caller waits for it.
    fn leave_behind(&self, place: usize, doing: Doing, after: Duration) {
        let worker_id = WorkerId::Source(place);
        let stage = self.state.lock().source_name(place).to_owned();
        let cause = Box::new(Stalled { after });
        self.fail(worker_id, Arc::new(Failure { stage, doing, sample: None, cause }));
        // Its lane closes with it.
        self.advance(worker_id, WorkerEvent::Done);
        self.state.lock().sources[place].is_left = true;
        self.advance(worker_id, WorkerEvent::TornDown);
    }

    /// Returns the sources that were left behind in the user's code, by their places.
    pub fn sources_left_behind(&self) -> Vec<usize> {
        let state = self.state.lock();
        let left = state.sources.iter().enumerate().filter(|(_, source)| source.is_left);
        left.map(|(place, _)| place).collect()
    }
}
