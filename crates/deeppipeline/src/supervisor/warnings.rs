//! The notices that the supervisor gives unasked, and what it says of workers that have not ended.

use super::Supervisor;
use crate::activity::Activity;
use crate::clock::Clock;
use crate::graph::Executor;
use crate::home::Home;
use crate::notices::Notice;
use crate::phase::WorkerPhase;
use crate::sample::SampleId;
use crate::worker::WorkerId;
use std::sync::Arc;
use std::time::Duration;

impl<V: Send + 'static> Supervisor<V> {
    /// Makes notices from now on wait for [`next_notice`](Supervisor::next_notice).
    pub fn keep_notices(&self) {
        self.notices.keep();
    }

    /// Waits for something that a user should know; `None` once everything has ended.
    pub fn next_notice(&self) -> Option<Notice> {
        self.notices.next()
    }

    /// Returns which workers are still in the user's code, and what the others that have not ended wait for.
    pub fn still_busy(&self) -> String {
        let phases = self.control.lock().workers.clone();
        let mut left: Vec<_> = self.seats.iter().copied().zip(phases).enumerate().collect();
        left.retain(|(_, (_, phase))| *phase != WorkerPhase::Stopped);
        left.sort_by_key(|(_, (worker_id, _))| *worker_id);
        let (mut busy, mut waiting) = (Vec::new(), Vec::new());
        for (worker, (worker_id, _)) in left {
            let name = self.name_of(worker_id);
            match self.activities[worker].get() {
                Activity::WaitsForRoom(index) if self.is_on_a_thread(worker_id) => {
                    waiting.push(format!("{name} waits for room in front of {}", self.stage_name(index)));
                }
                Activity::WaitsForSamples if self.is_on_a_thread(worker_id) => {
                    waiting.push(format!("{name} waits for samples"));
                }
                // What a process does is not seen from here.
                _ => busy.push(name.to_owned()),
            }
        }
        // The workers of one stage stand side by side.
        busy.dedup();
        busy.extend(self.being_freed());
        waiting.dedup();
        let busy = (!busy.is_empty()).then(|| busy.join(", "));
        busy.into_iter().chain(waiting).collect::<Vec<_>>().join("; ")
    }

    fn is_on_a_thread(&self, worker_id: WorkerId) -> bool {
        match worker_id {
            WorkerId::Stage { index, .. } => self.graph.stages[index].executor == Executor::Thread,
            WorkerId::Source => true,
        }
    }

    /// Tells of stages that hang.
    pub(super) fn teller(&self) -> impl Fn(usize, SampleId) + Send + use<V> {
        let notices = Arc::clone(&self.notices);
        let stages = self.seats.iter().map(|worker_id| match worker_id {
            WorkerId::Stage { index, .. } => {
                let node = &self.graph.stages[*index];
                (self.stage_name(*index).to_owned(), node.time_limit.unwrap_or_default())
            }
            WorkerId::Source => (String::new(), Duration::ZERO),
        });
        let stages: Vec<(String, Duration)> = stages.collect();
        move |worker, sample| {
            let (stage, time_limit) = stages[worker].clone();
            notices.tell(Notice::Hangs { stage, worker, sample, time_limit });
        }
    }

    /// Tells what was dropped in front of a stage, if that may be told again.
    pub(crate) fn look_for_drops(&self, index: usize) {
        if self.drops[index].is_due(self.clock.now()) {
            self.tell_drops(index);
        }
    }

    /// Tells what was dropped in front of a stage since it was told last.
    pub(super) fn tell_drops(&self, index: usize) {
        // Who simulates asks for what is dropped.
        if matches!(self.clock, Clock::Virtual(_)) {
            return;
        }
        let counts = self.buffers[index].counts();
        let dropped = counts.dropped_oldest + counts.dropped_newest;
        if let Some((samples, first)) = self.drops[index].untold(dropped, self.clock.now()) {
            let (stage, overflow) = (self.stage_name(index).to_owned(), self.buffers[index].limits().overflow);
            self.notices.tell(Notice::Dropped { stage, samples, first, overflow });
        }
    }

    /// Tells what is left to tell, since no caller waits any longer.
    pub(super) fn tell_the_last(&self) {
        (0..self.buffers.len()).for_each(|index| self.tell_drops(index));
        self.notices.end();
        self.for_front_door.end();
        if let Some(keeper) = &self.timekeeper {
            keeper.close();
        }
    }
}
