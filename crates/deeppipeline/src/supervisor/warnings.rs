//! The notices that the supervisor gives unasked, and what it says of workers that have not ended.

use super::Supervisor;
use crate::activity::Activity;
use crate::notices::Notice;
use crate::phase::WorkerPhase;

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
        let mut left = Vec::new();
        {
            let state = self.state.lock();
            let sources = state.sources.iter().enumerate();
            for (place, source) in sources.filter(|(_, source)| source.phase != WorkerPhase::Stopped) {
                left.push((state.source_name(place).to_owned(), source.activity.get(), true));
            }
            let workers = self.workers.iter().zip(&state.workers).zip(&self.activities);
            for (((index, _), _), shown) in workers.filter(|((_, phase), _)| **phase != WorkerPhase::Stopped) {
                left.push((self.stage_name(*index).to_owned(), shown.get(), !self.layout.is_in_process(*index)));
            }
        }

        let (mut busy, mut waiting) = (Vec::new(), Vec::new());
        for (name, activity, is_on_a_thread) in left {
            match activity {
                Activity::WaitsForRoom(index) if is_on_a_thread => {
                    waiting.push(format!("{name} waits for room in front of {}", self.stage_name(index)));
                }
                Activity::WaitsForSamples if is_on_a_thread => waiting.push(format!("{name} waits for samples")),
                // What a process does is not seen from here.
                _ => busy.push(name),
            }
        }
        // The workers of one stage stand side by side.
        busy.dedup();
        busy.extend(self.being_released());
        #[cfg(feature = "timeline")]
        if busy.is_empty() && waiting.is_empty() && self.dumping.goes_on() {
            busy.push("the timeline that dump_to writes".to_owned());
        }
        waiting.dedup();
        let busy = (!busy.is_empty()).then(|| busy.join(", "));
        busy.into_iter().chain(waiting).collect::<Vec<_>>().join("; ")
    }

    /// Tells what is left to tell, since no caller waits any longer.
    pub(super) fn tell_the_last(&self) {
        self.inlets.iter().for_each(|inlet| inlet.tell_drops());
        self.notices.end();
        self.fates.end();
        self.for_binding.end();
        if let Some(keeper) = &self.timekeeper {
            keeper.close();
        }
    }
}
