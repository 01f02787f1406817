//! The words of the workers: that they move on, that they fail, and what each sets off.

use super::{Closer, State, Supervisor, call};
use crate::aside;
use crate::buffer::{Ended, HearsEnds, LaneKey, Wait};
use crate::error::{Doing, Failure};
use crate::notices::Notice;
use crate::phase::{Event, Phase, WorkerEvent};
use crate::sample::{ForkTicket, SampleId};
use crate::stage_name::name_made_stages;
use crate::unwind::{BoxError, release};
use crate::worker::{Control, FailedOn, SourceEvent, Update, WorkerId};
use std::sync::Arc;
use std::time::Instant;

impl<V: Send + 'static> Control for Supervisor<V> {
    fn wants_samples(&self, worker_id: WorkerId) -> bool {
        self.source_is_wanted(worker_id)
    }

    fn tell_source(&self, worker_id: WorkerId, event: SourceEvent) {
        if let WorkerId::Source(source) = worker_id {
            self.source_goes_on(source, event);
        }
    }

    fn wait_to_open(&self, worker_id: WorkerId, until: Instant, wait: Wait) -> Option<bool> {
        match worker_id {
            WorkerId::Source(source) => self.wait_with_opening(source, until, wait),
            WorkerId::Stage { .. } => Some(false),
        }
    }

    fn tell_name(&self, worker_id: WorkerId, name: String) {
        if let WorkerId::Stage { index, .. } = worker_id {
            self.state.lock().names[index] = Some(name);
        }
    }

    fn wait_for_all_up(&self, wait: Wait) -> Option<bool> {
        let mut state = self.state.lock();
        loop {
            // Once everything was up, the buffers say how it goes on: what is past a failed stage still flows out.
            if state.up_since.is_some() {
                return Some(true);
            }
            if state.phase == Phase::Halting || state.phase == Phase::Stopped {
                return Some(false);
            }
            if !self.wait_for_change(&mut state, wait) {
                return None;
            }
        }
    }

    fn next_update(&self, worker_id: WorkerId) -> Option<Update> {
        self.next_update_of(worker_id)
    }

    fn has_updated(&self, worker_id: WorkerId, number: u64, outcome: Result<(), BoxError>) {
        self.note_update(worker_id, number, outcome);
    }

    fn leaves_stage(&self, worker_id: WorkerId) -> bool {
        self.is_to_leave(worker_id)
    }

    fn advance(&self, worker_id: WorkerId, event: WorkerEvent) {
        let event = self.leaves_with(worker_id, event);
        let change = self.change(&mut self.state.lock(), worker_id, event);
        if let Some(lane) = change.closes_lane {
            self.inlets[0].buffer.close_lane(lane);
        }
        if change.was_the_last_of_its_stage {
            self.close_entrances();
            self.close_after(worker_id);
        }
        release(change.closer);
        if change.have_all_ended {
            #[cfg(processes)]
            self.look_for_the_last();
            let mut state = self.state.lock();
            state.phase = state.phase.after(Event::AllEnded);
            drop(state);
            self.end_answers();
            self.tell_the_last();
        }
        self.tell_all();
    }

    /// Remembers the first failure, and discards what can no longer be used. Once everything has ended, the outcome
    /// stays.
    fn fail(&self, worker_id: WorkerId, failure: Arc<Failure>) -> bool {
        let Some(failure) = self.fails_to_join(worker_id, failure) else { return true };
        // A failed start leaves nothing to run; later, what is past the failed stage still flows out.
        let discarded = match (failure.doing, worker_id) {
            (Doing::Setup, _) => (0..self.inlets.len()).collect(),
            (_, WorkerId::Stage { index, .. }) => self.layout.up_to(index),
            (_, WorkerId::Source(_)) => Vec::new(),
        };
        let (stage, doing, cause) = (failure.stage.clone(), failure.doing, aside::shown(&failure.cause));
        aside::log(move || tracing::error!(stage, %doing, "{cause}"));
        let text = aside::text_of(&failure.cause);
        self.notices.mark(format!("{} failed in {}: {text}", failure.stage, failure.doing));
        let (first, wake_sources) = {
            let mut state = self.state.lock();
            if let WorkerId::Source(source) = worker_id
                && state.source_failed(source, &failure, text)
            {
                return true;
            }
            state.phase = state.phase.after(Event::Halt);
            let first = state.phase != Phase::Stopped && self.failure.set(Arc::clone(&failure)).is_ok();
            (first, state.closers())
        };
        if first {
            self.notices.tell(Notice::Failed);
        }
        // A later failure is freed here, outside of the lock: its error is the user's.
        release(failure);
        self.discard(&discarded);
        self.end_pauses();
        wake_sources.into_iter().for_each(call);
        self.tell_all();
        first
    }

    fn tell_failure(&self, worker_id: WorkerId, failed: FailedOn, failure: Arc<Failure>) {
        // Where nothing is submitted or split, nobody waits for a sample but a join, which need not know why it fails.
        if let WorkerId::Stage { index, .. } = worker_id
            && self.layout.tells_errors()
        {
            let untold = self.answers.note_failure(index, failed, failure);
            if !untold.is_empty() {
                let suspects = self.hear_ends(index, untold.into_iter().map(Ended::from).collect());
                self.look_for(&suspects);
            }
        }
    }

    fn tell_bytes(&self, _: SampleId, bytes: Vec<u8>) -> Option<Vec<u8>> {
        Some(bytes)
    }

    fn has_gone_on(&self, ticket: ForkTicket) {
        self.look_for(&[ticket]);
    }
}

/// What a worker's move sets off.
struct Change {
    /// True if no worker of its stage gives anything any more.
    was_the_last_of_its_stage: bool,
    /// The lane of a source that gives nothing any more.
    closes_lane: Option<LaneKey>,
    /// The closer of a source that has ended, to be released.
    closer: Option<Arc<Closer>>,
    have_all_ended: bool,
}

impl<V: Send + 'static> Supervisor<V> {
    /// Moves a worker on, and the pipeline where this was what it waited for.
    fn change(&self, state: &mut State, worker_id: WorkerId, event: WorkerEvent) -> Change {
        let (before, now) = match worker_id {
            WorkerId::Stage { index, worker } => {
                let place = self.place_of(index, worker);
                let before = state.workers[place];
                state.workers[place] = before.after(event);
                if event == WorkerEvent::StartedAgain {
                    state.restarts[place] += 1;
                    self.notices.mark(format!("worker {worker} of {} was started again", self.stage_name(index)));
                }
                state.leaving[place] &= event != WorkerEvent::Leaves;
                (before, state.workers[place])
            }
            WorkerId::Source(source) => state.move_source(source, event),
        };

        // What was aborted while it started never comes up, even if the last `setup` still succeeds.
        if state.up_since.is_none()
            && state.phase != Phase::Halting
            && state.workers.iter().all(|worker| worker.is_up())
            && state.sources_are_up()
        {
            state.phase = state.phase.after(Event::AllUp);
            state.up_since = Some(self.clock.now());
            name_made_stages(self.inlets.iter().map(|inlet| &*inlet.name), &mut state.names);
        }
        if state.up_since.is_some() {
            let sources = state.sources.iter_mut().map(|source| &mut source.phase);
            state.workers.iter_mut().chain(sources).for_each(|worker| *worker = worker.after(WorkerEvent::AllUp));
        }

        let ends = !before.gives_no_more() && now.gives_no_more();
        let was_the_last_of_its_stage = ends
            && match worker_id {
                WorkerId::Stage { index, .. } => {
                    self.workers_of(index).all(|place| state.workers[place].gives_no_more())
                }
                WorkerId::Source(_) => state.is_without_sources(),
            };
        let (closes_lane, closer) = match worker_id {
            WorkerId::Source(source) => state.leave_source(source, ends, now),
            WorkerId::Stage { .. } => (None, None),
        };

        let mut all = state.workers.iter().chain(state.sources.iter().map(|source| &source.phase));
        let have_all_ended = now != before && all.all(|worker| worker.is_over());
        if have_all_ended {
            state.ended_at = Some(self.clock.now());
            // The others went on without it. Now there is somebody to be told.
            if let Some(failure) = state.failure_of_a_source() {
                let _ = self.failure.set(failure);
            }
        }
        Change { was_the_last_of_its_stage, closes_lane, closer, have_all_ended }
    }
}
