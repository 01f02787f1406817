//! The words of the workers: that they move on, that they fail, and what each sets off.

use super::{State, Supervisor, call};
use crate::aside;
use crate::buffer::Wait;
use crate::error::{Doing, Failure};
use crate::notices::Notice;
use crate::phase::{Event, Phase, WorkerEvent, WorkerPhase};
use crate::stage_name::name_made_stages;
use crate::unwind::release;
use crate::worker::{Control, WorkerId};
use std::sync::Arc;

impl<V: Send + 'static> Control for Supervisor<V> {
    fn wants_samples(&self) -> bool {
        self.state.lock().phase.wants_samples()
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

    fn advance(&self, worker_id: WorkerId, event: WorkerEvent) {
        let change = self.change(&mut self.state.lock(), worker_id, event);
        if change.was_the_last_of_its_stage {
            self.close_after(worker_id);
        }
        if change.have_all_ended {
            #[cfg(processes)]
            self.look_for_the_last();
            let mut state = self.state.lock();
            state.phase = state.phase.after(Event::AllEnded);
            drop(state);
            self.tell_the_last();
        }
        self.tell_all();
    }

    /// Remembers the first failure, and discards what can no longer be used. Once everything has ended, the outcome
    /// stays.
    fn fail(&self, worker_id: WorkerId, failure: Failure) -> bool {
        // A failed start leaves nothing to run; later, what is past the failed stage still flows out.
        let discarded = match (failure.doing, worker_id) {
            (Doing::Setup, _) => (0..self.inlets.len()).collect(),
            (_, WorkerId::Stage { index, .. }) => self.layout.up_to(index),
            (_, WorkerId::Source) => Vec::new(),
        };
        let (stage, doing, cause) = (failure.stage.clone(), failure.doing, aside::shown(&failure.cause));
        aside::log(move || tracing::error!(stage, %doing, "{cause}"));
        let failure = Arc::new(failure);
        let (first, wake_source) = {
            let mut state = self.state.lock();
            state.phase = state.phase.after(Event::Halt);
            let first = state.phase != Phase::Stopped && self.failure.set(Arc::clone(&failure)).is_ok();
            (first, state.close_source.clone())
        };
        if first {
            self.notices.tell(Notice::Failed);
        }
        // A later failure is freed here, outside of the lock: its error is the user's.
        release(failure);
        self.discard(&discarded);
        call(wake_source);
        self.tell_all();
        first
    }
}

/// What a worker's move sets off.
struct Change {
    /// True if no worker of its stage gives anything any more.
    was_the_last_of_its_stage: bool,
    have_all_ended: bool,
}

impl<V: Send + 'static> Supervisor<V> {
    /// Moves a worker on, and the pipeline where this was what it waited for.
    fn change(&self, state: &mut State, worker_id: WorkerId, event: WorkerEvent) -> Change {
        let index = self.index_of(worker_id);
        let before = state.workers[index];
        let now = before.after(event);
        state.workers[index] = now;
        state.restarts[index] += u64::from(event == WorkerEvent::StartedAgain);

        // What was aborted while it started never comes up, even if the last `setup` still succeeds.
        if state.up_since.is_none()
            && state.phase != Phase::Halting
            && state.workers.iter().all(|w| *w == WorkerPhase::Ready)
        {
            state.phase = state.phase.after(Event::AllUp);
            state.up_since = Some(self.clock.now());
            name_made_stages(self.inlets.iter().map(|inlet| &*inlet.name), &mut state.names);
        }
        if state.up_since.is_some() {
            state.workers.iter_mut().for_each(|worker| *worker = worker.after(WorkerEvent::AllUp));
        }

        let have_all_ended = now != before && state.workers.iter().all(|w| *w == WorkerPhase::Stopped);
        if have_all_ended {
            state.ended_at = Some(self.clock.now());
        }
        let gives_no_more = |phase: WorkerPhase| matches!(phase, WorkerPhase::TearingDown | WorkerPhase::Stopped);
        let mut colleagues = self.colleagues_of(worker_id).map(|index| state.workers[index]);
        let was_the_last_of_its_stage = now != before && !gives_no_more(before) && colleagues.all(gives_no_more);
        Change { was_the_last_of_its_stage, have_all_ended }
    }
}
