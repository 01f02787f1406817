//! The notices that the supervisor gives unasked, and what it says of workers that have not ended.

use super::Supervisor;
use crate::activity::Activity;
use crate::notices::Notice;
use crate::phase::WorkerPhase;
use crate::worker::WorkerId;

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
        let phases = self.state.lock().workers.clone();
        let mut left: Vec<_> = self.worker_ids.iter().copied().zip(phases).enumerate().collect();
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
        busy.extend(self.being_released());
        waiting.dedup();
        let busy = (!busy.is_empty()).then(|| busy.join(", "));
        busy.into_iter().chain(waiting).collect::<Vec<_>>().join("; ")
    }

    fn is_on_a_thread(&self, worker_id: WorkerId) -> bool {
        match worker_id {
            WorkerId::Stage { index, .. } => !self.layout.is_in_process(index),
            WorkerId::Source => true,
        }
    }

    /// Tells what is left to tell, since no caller waits any longer.
    pub(super) fn tell_the_last(&self) {
        self.inlets.iter().for_each(|inlet| inlet.tell_drops());
        self.notices.end();
        self.for_binding.end();
        if let Some(keeper) = &self.timekeeper {
            keeper.close();
        }
    }
}
