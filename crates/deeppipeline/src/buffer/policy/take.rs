//! What a take gets, and whether there is something to take.

use super::lists::Queue;
use super::state::SlotState;
use super::{Change, Storage, Wake};
use crate::buffer::histogram::Durations;
use crate::buffer::{Gate, Overdue};
use crate::clock::in_nanoseconds;
use crate::intake::Intake;
use crate::ledger::Fate;
use std::time::Duration;

/// What came of asking for something to work on.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::buffer) enum Taken {
    /// So many samples are in flight now, in the worker's place.
    Ready { ticket: u64, samples: u64 },
    /// What was inside was too old.
    Expired,
    /// Nothing now. What is there is due at that time.
    Empty { due: Option<u64> },
    /// The next take, of that number, would be too far ahead.
    Ahead(u64),
    /// Nothing is inside and nothing more will come. What `finish` gives has its turn, too.
    Drained { ticket: u64 },
    /// What was inside was given up.
    Discarded,
}

impl<S: Storage> Change<'_, S> {
    /// Takes what the intake says, not beyond that ticket, at that time.
    pub(in crate::buffer) fn take(&mut self, worker: usize, up_to: u64, now: u64) -> Taken {
        let gate = self.gate();
        if gate == Gate::Discarding {
            return Taken::Discarded;
        }
        if !self.may_take() {
            return Taken::Empty { due: None };
        }
        let ticket = self.head().next_ticket;
        if ticket > up_to {
            return Taken::Ahead(ticket);
        }
        if self.waiting() == 0 {
            return match gate {
                Gate::Closed => Taken::Drained { ticket: self.pick_up(worker, now) },
                _ => Taken::Empty { due: None },
            };
        }
        if !self.can_take(now) {
            return Taken::Empty { due: self.due() };
        }

        self.expire(now);
        if !self.can_take(now) {
            self.go_on(now);
            self.wake_producers(Wake::All);
            return Taken::Expired;
        }
        let samples = self.take_in(worker, now);
        let ticket = self.pick_up(worker, now);
        let head = self.head();
        head.taken += samples;
        head.in_flight += samples;
        self.go_on(now);
        self.wake_producers(if samples == 1 { Wake::One } else { Wake::All });
        if self.limits.takers.workers > 1 && self.can_take(now) {
            self.wake_consumers(Wake::One);
        }
        Taken::Ready { ticket, samples }
    }

    /// Moves what the intake says from the front to a worker's place.
    fn take_in(&mut self, worker: usize, now: u64) -> u64 {
        let samples = match self.limits.intake {
            Intake::Single | Intake::Window { .. } => 1,
            Intake::Latest => {
                while self.waiting() > 1 {
                    self.drop_front(|head| &mut head.superseded);
                    self.wake_producers(Wake::All);
                }
                1
            }
            Intake::All => self.waiting(),
            Intake::Batch { max_size, .. } => self.waiting().min(max_size as u64),
        };
        for _ in 0..samples {
            let Some(slot) = self.pop_front(Queue::Waiting) else { break };
            let taken = self.storage.slot(slot);
            taken.state = SlotState::InFlight;
            let age = now.saturating_sub(taken.birth);
            self.push_back(Queue::InFlight(worker), slot);
            self.storage.record(Durations::Ages, age);
        }
        samples
    }

    /// Gives the next ticket to a worker.
    fn pick_up(&mut self, worker: usize, now: u64) -> u64 {
        let head = self.head();
        let ticket = head.next_ticket;
        head.next_ticket += 1;
        let place = self.storage.place(worker);
        (place.ticket, place.since) = (ticket, now);
        ticket
    }

    /// The oldest sample of what a worker has in flight.
    pub(in crate::buffer) fn first_in_flight(&mut self, worker: usize) -> Option<usize> {
        self.first(Queue::InFlight(worker))
    }

    pub(super) fn is_in_flight(&mut self, worker: usize, ticket: u64) -> bool {
        self.storage.place(worker).ticket == ticket
    }

    /// Ends the turn in which a worker gave what `finish` makes.
    pub(in crate::buffer) fn end_finish(&mut self, worker: usize) {
        self.land(worker);
    }

    pub(super) fn can_take(&mut self, now: u64) -> bool {
        let is_open = self.gate() == Gate::Open;
        match self.limits.intake {
            Intake::All if is_open => self.waiting() >= self.limits.capacity as u64,
            Intake::Batch { max_size, .. } if is_open => {
                self.waiting() >= max_size as u64 || self.due().is_some_and(|due| now >= due)
            }
            _ => self.waiting() > 0,
        }
    }

    /// When the list that waits for more samples is due.
    pub(in crate::buffer) fn due(&mut self) -> Option<u64> {
        let Intake::Batch { timeout, .. } = self.limits.intake else { return None };
        let front = self.first(Queue::Waiting)?;
        self.storage.slot(front).came.checked_add(in_nanoseconds(timeout))
    }

    /// Drops those that are too old of what is about to leave.
    fn expire(&mut self, now: u64) {
        let Some(max_age) = self.limits.max_age else { return };
        let max_age = in_nanoseconds(max_age);
        let one_at_a_time = matches!(self.limits.intake, Intake::Single | Intake::Window { .. });
        let mut next = self.first(Queue::Waiting);
        while let Some(slot) = next {
            next = self.after(slot);
            if now.saturating_sub(self.storage.slot(slot).birth) > max_age {
                self.remove(Queue::Waiting, slot);
                self.head().expired += 1;
                self.drop_slot(slot);
                self.wake_producers(Wake::All);
            } else if one_at_a_time {
                break;
            }
        }
    }

    /// Whether another sample may be taken: not if too many results would wait for the oldest in flight.
    fn may_take(&mut self) -> bool {
        let takers = self.limits.takers;
        if !takers.reorders() {
            return true;
        }
        let next = self.head().next_ticket;
        self.oldest_in_flight().is_none_or(|(_, oldest)| next - oldest <= takers.ahead() as u64)
    }

    /// The worker with the oldest take in flight, and that take.
    fn oldest_in_flight(&mut self) -> Option<(usize, u64)> {
        let places = (0..self.limits.takers.workers).map(|worker| (worker, self.storage.place(worker).ticket));
        places.filter(|(_, ticket)| *ticket > 0).min_by_key(|(_, ticket)| *ticket)
    }

    /// When the oldest take in flight has kept others waiting for too long.
    pub(in crate::buffer) fn overdue_at(&mut self) -> Option<u64> {
        let timeout = self.limits.takers.timeout.filter(|_| self.limits.takers.reorders())?;
        let (worker, _) = self.oldest_in_flight()?;
        self.storage.place(worker).since.checked_add(in_nanoseconds(timeout))
    }

    /// Gives up the oldest take in flight if it is overdue, and if nothing can be taken before it has ended or `anyway`.
    pub(in crate::buffer) fn give_up_overdue(&mut self, now: u64, anyway: bool) -> Option<Overdue> {
        if self.may_take() && !anyway {
            return None;
        }
        self.overdue_at().filter(|at| now >= *at)?;
        let (worker, ticket) = self.oldest_in_flight()?;
        let after = now.saturating_sub(self.storage.place(worker).since);
        let samples = self.land(worker);
        // The turn of what `finish` gives has no sample.
        if samples > 0 {
            self.count_settled(samples, Fate::Lost);
            self.head().busy += after;
            self.storage.record(Durations::Busy, after);
        }
        Some(Overdue { ticket, after: Duration::from_nanos(after) })
    }
}
