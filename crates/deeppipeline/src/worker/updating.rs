//! Updates of the stage, which it is told between two samples.

use super::{Call, Ending, LogEvent, Step, Worker};
use std::task::Poll;

impl<V> Worker<V> {
    /// Tells the stage its next update; `None` where there is no more, and the worker is to go on.
    pub(super) fn update_or_go_on(&mut self) -> Option<Poll<Option<Call<V>>>> {
        let Some(update) = self.context.control.next_update(self.context.worker_id) else {
            self.step = Step::Idle;
            return None;
        };
        Some(self.call(Step::Updating(update.number), Call::Update(update.values)))
    }

    /// Tells what came of an update. A failure is its caller's, and the stage goes on.
    pub(super) fn settle_update(&mut self, number: u64, ending: Ending) -> LogEvent {
        let outcome = match ending {
            Ending::Failed(cause) => Err(cause),
            _ => Ok(()),
        };
        self.step = Step::HearsUpdates;
        self.context.control.has_updated(self.context.worker_id, number, outcome);
        LogEvent::Nothing
    }
}
