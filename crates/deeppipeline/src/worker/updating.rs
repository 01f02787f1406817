//! Updates of the stage, which it is told between two samples, and its replacement by another.

use super::{Call, Ending, LogEvent, Step, Told, Worker};
use crate::aside;
use crate::buffer::{Buffer, Take, Wait};
use crate::unwind::BoxError;
use std::task::Poll;

impl<V> Worker<V> {
    /// Tells the stage its next update; `None` where there is no more, and the worker is to go on.
    pub(super) fn update_or_go_on(&mut self) -> Option<Poll<Option<Call<V>>>> {
        let Some(update) = self.context.control.next_update(self.context.worker_id) else {
            let leaves = self.context.control.leaves_stage(self.context.worker_id);
            self.step = if leaves { Step::Leaving } else { Step::Idle };
            return None;
        };
        let number = update.number;
        let (step, call) = match update.told {
            Told::Update(values) => (Step::Updating(number), Call::Update(values)),
            Told::Prepare(values) => (Step::Updating(number), Call::Prepare(values)),
            Told::Discard => (Step::Discarding(number), Call::Discard),
            Told::Exchange => {
                self.step = Step::Retiring(number);
                return None;
            }
        };
        Some(self.call(step, call))
    }

    /// Lets the stage that is to be replaced give what it still holds. That has its turn among the results of several
    /// workers.
    pub(super) fn retire(&mut self, number: u64, wait: Wait) -> Option<Poll<Option<Call<V>>>> {
        if self.context.reorders {
            match self.take_turn(wait)? {
                Take::Drained { ticket } => self.has_turn(ticket),
                Take::Empty => return Some(Poll::Pending),
                _ => {
                    self.give_up();
                    return None;
                }
            }
        }
        Some(self.call(Step::Finishing(Some(number)), Call::Finish))
    }

    /// Lets the stage finish while others of its workers go on, once it is the turn of what it gives then.
    pub(super) fn leave_stage(&mut self, wait: Wait) -> Option<Poll<Option<Call<V>>>> {
        match self.take_turn(wait)? {
            Take::Drained { ticket } => Some(self.finish(ticket)),
            Take::Empty => Some(Poll::Pending),
            _ => {
                self.give_up();
                None
            }
        }
    }

    /// Takes a turn without a sample.
    fn take_turn(&mut self, wait: Wait) -> Option<Take<V>> {
        let (buffer, worker) = (self.context.input()?, self.context.worker());
        let output = self.context.output().filter(|_| self.context.reorders);
        loop {
            let patience = wait.no_later_than(buffer.overdue_at());
            let up_to = output.map_or(u64::MAX, Buffer::turns_up_to);
            match buffer.take_turn(worker, up_to, patience) {
                Take::Ahead(next) if output.is_none_or(|output| output.wait_for_turns_up_to(next, patience)) => {}
                Take::Empty if self.give_up_overdue(false) => {}
                Take::Ahead(_) | Take::Empty if wait.is_over(self.context.clock.now()) => return Some(Take::Empty),
                Take::Ahead(_) | Take::Empty => {}
                taken => return Some(taken),
            }
        }
    }

    /// Ends the `finish` of the stage that is replaced; what follows is the exchange.
    pub(super) fn settle_retired(&mut self, number: u64, ending: Ending) -> LogEvent {
        if self.turn.is_some() {
            self.finish_turn();
            if let Some(buffer) = self.context.input() {
                buffer.end_finish(self.context.worker());
            }
        }
        self.step = Step::Retired(number);
        self.log_at_exchange("finish", ending)
    }

    /// Ends the exchange, or the end of what was prepared for it: that cannot fail, since the stage is not needed any
    /// more.
    pub(super) fn settle_exchange(&mut self, number: u64, ending: Ending) -> LogEvent {
        let event = self.log_at_exchange("teardown", ending);
        self.settle_update(number, Ending::Gave(false));
        event
    }

    fn log_at_exchange(&self, method: &'static str, ending: Ending) -> LogEvent {
        let Ending::Failed(cause) = ending else { return LogEvent::Nothing };
        let (stage, cause) = (self.name().to_owned(), aside::shown(&cause));
        aside::log(move || tracing::warn!(stage, "failed in {method}, as it was replaced: {cause}"));
        LogEvent::FailedAtExchange
    }

    /// Tells what came of an update. A failure is its caller's, and the stage goes on.
    pub(super) fn settle_update(&mut self, number: u64, ending: Ending) -> LogEvent {
        let outcome: Result<(), BoxError> = match ending {
            Ending::Failed(cause) => Err(cause),
            _ => Ok(()),
        };
        self.step = Step::HearsUpdates;
        self.context.control.has_updated(self.context.worker_id, number, outcome);
        LogEvent::Nothing
    }
}
