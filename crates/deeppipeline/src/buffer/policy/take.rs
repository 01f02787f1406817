//! The take: what it gets, and whether there is something to take.

use super::lists::Queue;
use super::settle::Flight;
use super::state::SlotState;
use super::{Change, Damage, How, Storage, Wake, damaged};
use crate::buffer::histogram::Durations;
use crate::buffer::{Gate, Overdue};
use crate::clock::in_nanoseconds;
use crate::ledger::Fate;
use crate::policies::Intake;
use std::time::Duration;

/// The outcome of asking for something to work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::buffer) enum Taken {
    /// Samples are in flight now, `samples` of them: in that slot, and those behind it.
    Ready { ticket: u64, first: usize, samples: u64 },
    /// The samples that were inside were too old.
    Expired,
    /// Empty now. What is there is due at that time.
    Empty { due: Option<u64> },
    /// The next take, of that number, would be too far ahead.
    Ahead(u64),
    /// The buffer is empty and nothing more will come. What `finish` gives has its turn, too.
    Drained { ticket: u64 },
    /// The samples that were inside were discarded.
    Discarded,
}

/// The outcome of asking for a turn without a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::buffer) enum Turn {
    /// The turn of that take.
    Begun(u64),
    /// Too many would wait for the oldest in flight.
    NotYet,
    /// The next take, of that number, would be too far ahead.
    Ahead(u64),
    /// What was inside was discarded.
    Discarded,
}

impl<S: Storage> Change<'_, S> {
    /// Takes what the intake says, not beyond that ticket, at that time.
    #[inline(always)]
    pub(in crate::buffer) fn take(&mut self, place: usize, up_to: u64, now: u64) -> Taken {
        let gate = self.gate();
        if gate == Gate::Discarding {
            return Taken::Discarded;
        }
        if self.head().held > 0 {
            return Taken::Empty { due: None };
        }
        let next = self.next_ticket();
        if !self.may_take(next) {
            return Taken::Empty { due: None };
        }
        if next > up_to {
            return Taken::Ahead(next);
        }
        if self.waiting() == 0 && gate == Gate::Closed {
            if self.limits.consumers.workers > 1 {
                self.begin_flight(place, next, now);
            }
            return Taken::Drained { ticket: next };
        }
        if !self.can_take(now) {
            return Taken::Empty { due: self.due() };
        }

        if self.has_lanes() && self.head().waiting.len == 0 {
            if self.expire_in_lanes(now) {
                self.wake_producers(Wake::All);
                if !self.can_take(now) {
                    return Taken::Expired;
                }
            }
        } else if let Some(max_age) = self.limits.max_age {
            self.expire(now, in_nanoseconds(max_age));
            if !self.can_take(now) {
                self.wake_producers(Wake::All);
                return Taken::Expired;
            }
        }
        let (first, samples) = self.take_in(place, next, now);
        self.head().full_by_bytes = 0;
        self.go_on(now);
        if self.has_lanes() || self.waiting() <= self.storage.refill_at() {
            self.wake_producers(if samples == 1 { Wake::One } else { Wake::All });
        }
        if self.limits.consumers.workers > 1 && self.can_take(now) {
            self.wake_consumers(Wake::One);
        }
        Taken::Ready { ticket: next, first, samples }
    }

    /// Takes a turn, not beyond that ticket, for what a stage gives between two samples, or before its worker leaves it.
    pub(in crate::buffer) fn take_turn(&mut self, place: usize, up_to: u64, now: u64) -> Turn {
        let next = self.head().next_ticket;
        if self.gate() == Gate::Discarding {
            return Turn::Discarded;
        }
        if !self.may_take(next) {
            return Turn::NotYet;
        }
        if next > up_to {
            return Turn::Ahead(next);
        }
        self.begin_flight(place, next, now);
        // It may have been woken for a sample that another is to take.
        self.wake_consumers(Wake::One);
        Turn::Begun(next)
    }

    /// Moves what the intake says from the front to a place.
    #[inline(always)]
    fn take_in(&mut self, place: usize, ticket: u64, now: u64) -> (usize, u64) {
        // What is tried again is the list that it was, and comes first where others wait for it.
        let tried_again = self.tried_again_in_front();
        let samples = match self.limits.intake {
            Intake::Single | Intake::Window { .. } => 1,
            Intake::Latest if tried_again > 0 && self.limits.consumers.reorders() => 1,
            // The newest of each: a lane is superseded when it is its turn.
            Intake::Latest if self.has_lanes() => 1,
            Intake::Latest => {
                self.supersede();
                1
            }
            Intake::All | Intake::Batch { .. } if tried_again > 0 => tried_again,
            Intake::All => self.waiting(),
            Intake::Batch { max_size, .. } => self.waiting().min(max_size as u64),
        };

        if self.has_lanes() {
            match tried_again {
                0 => self.draw(samples),
                _ => self.count_return_of_the_first(samples),
            }
        }
        self.begin_flight(place, ticket, now);
        let (mut first, mut last) = (None, None);
        for _ in 0..samples {
            let Some(slot) = self.pop_waiting() else { damaged(Damage::Queue) };
            let taken = self.storage.slot(slot);
            (taken.state, taken.owner, taken.ticket) = (SlotState::InFlight as u64, place as u64, ticket);
            taken.taken_at = now;
            let (age, waited) = (now.saturating_sub(taken.birth), now.saturating_sub(taken.came));
            self.storage.record(Durations::Ages, age, now);
            self.storage.record(Durations::Waits, waited, now);
            self.link(slot, None);
            if let Some(last) = last.replace(slot) {
                self.link(last, Some(slot));
            }
            first.get_or_insert(slot);
        }

        let head = self.head();
        head.taken += samples;
        head.in_flight += samples;
        let Some(first) = first else { damaged(Damage::Queue) };
        if S::REMEMBERS_TAKES {
            self.storage.place(place).first = first as u64 + 1;
        }
        (first, samples)
    }

    /// Drops all that waits but the newest.
    fn supersede(&mut self) {
        while self.waiting() > 1
            && let Some(old) = self.first(Queue::Waiting)
        {
            self.drop_waiting(old, How::Superseded);
            self.wake_producers(Wake::All);
        }
    }

    /// Returns the ticket of the next take: what is tried again keeps its turn, which others may wait for.
    #[inline(always)]
    fn next_ticket(&mut self) -> u64 {
        let kept = match self.first(Queue::Waiting) {
            Some(front) if self.limits.consumers.reorders() => {
                Some(*self.storage.slot(front)).filter(|front| front.is_tried_again())
            }
            _ => None,
        };
        kept.map_or_else(|| self.head().next_ticket, |front| front.ticket)
    }

    /// Gives that ticket to a worker.
    #[inline(always)]
    fn begin_flight(&mut self, place: usize, ticket: u64, now: u64) {
        let head = self.head();
        if ticket == head.next_ticket {
            head.next_ticket += 1;
        }
        if S::REMEMBERS_TAKES || self.limits.consumers.workers > 1 {
            let place = self.storage.place(place);
            (place.ticket, place.since) = (ticket, now);
        }
    }

    /// Returns the number of samples in front that a dead worker had in flight: for a list intake, the list that is
    /// tried again.
    #[inline(always)]
    fn tried_again_in_front(&mut self) -> u64 {
        let Some(front) = self.first(Queue::Waiting) else { return 0 };
        let ticket = self.storage.slot(front).ticket;
        let (mut next, mut samples) = (Some(front), 0);
        while let Some(slot) = next
            && self.storage.slot(slot).is_tried_again()
            && self.storage.slot(slot).ticket == ticket
        {
            samples += 1;
            next = self.after(slot);
        }
        samples
    }

    #[inline(always)]
    pub(super) fn can_take(&mut self, now: u64) -> bool {
        let is_open = self.gate() == Gate::Open && self.head().full_by_bytes == 0;
        match self.limits.intake {
            Intake::All if is_open => self.waiting() >= self.limits.capacity as u64 || self.tried_again_in_front() > 0,
            Intake::Batch { max_size, .. } if is_open => {
                self.waiting() >= max_size as u64
                    || self.tried_again_in_front() > 0
                    || self.due().is_some_and(|due| now >= due)
            }
            _ => self.waiting() > 0,
        }
    }

    /// Returns the time when the list that waits for more samples is due.
    #[inline(always)]
    pub(in crate::buffer) fn due(&mut self) -> Option<u64> {
        let Intake::Batch { max_wait, .. } = self.limits.intake else { return None };
        let came = match self.first(Queue::Waiting) {
            Some(front) => self.storage.slot(front).came,
            None => self.has_lanes().then(|| self.first_came_in_lanes())??,
        };
        came.checked_add(in_nanoseconds(max_wait))
    }

    /// Drops those that are too old of what is about to leave, and lets in what has waited for their places.
    fn expire(&mut self, now: u64, max_age: u64) {
        while self.can_take(now) && self.expire_once(now, max_age) {
            self.go_on(now);
            self.wake_producers(Wake::All);
        }
    }

    /// Does the same with what is inside now, and returns true if something was too old.
    fn expire_once(&mut self, now: u64, max_age: u64) -> bool {
        let one_at_a_time = matches!(self.limits.intake, Intake::Single | Intake::Window { .. });
        let mut any = false;
        let mut next = self.first(Queue::Waiting);
        while let Some(slot) = next {
            next = self.after(slot);
            let waiting = self.storage.slot(slot);
            // What is to be tried again was fresh when it was taken.
            if now.saturating_sub(waiting.birth) > max_age && !waiting.is_tried_again() {
                self.drop_waiting(slot, How::Expired);
                any = true;
            } else if one_at_a_time {
                break;
            }
        }
        any
    }

    /// Returns true if the take of that number may begin: not if too many results would wait for the oldest in flight.
    fn may_take(&mut self, next: u64) -> bool {
        let consumers = self.limits.consumers;
        let may_follow = |oldest: u64| next <= oldest.saturating_add(consumers.ahead() as u64);
        !consumers.reorders() || self.oldest_in_flight().is_none_or(|(_, oldest)| may_follow(oldest))
    }

    /// The place with the oldest take in flight, and that take.
    fn oldest_in_flight(&mut self) -> Option<(usize, u64)> {
        let places = (0..self.storage.places()).map(|place| (place, self.storage.place(place).ticket));
        places.filter(|(_, ticket)| *ticket > 0).min_by_key(|(_, ticket)| *ticket)
    }

    /// Returns true if that take is in flight, where others may wait for it.
    #[cfg(processes)]
    pub(in crate::buffer) fn is_in_flight(&mut self, ticket: u64) -> bool {
        (0..self.storage.places()).any(|place| self.storage.place(place).ticket == ticket)
    }

    /// Returns the time when the oldest take in flight has kept others waiting for too long.
    pub(in crate::buffer) fn overdue_at(&mut self) -> Option<u64> {
        let limit = self.limits.consumers.time_limit.filter(|_| self.limits.consumers.reorders())?;
        let (place, _) = self.oldest_in_flight()?;
        self.storage.place(place).since.checked_add(in_nanoseconds(limit))
    }

    /// Gives up the oldest take in flight if it is overdue, and if nothing can be taken before it has ended or
    /// `anyway`.
    pub(in crate::buffer) fn give_up_overdue(&mut self, now: u64, anyway: bool) -> Option<Overdue> {
        let next = self.next_ticket();
        if self.may_take(next) && !anyway {
            return None;
        }
        self.overdue_at().filter(|at| now >= *at)?;
        let (place, ticket) = self.oldest_in_flight()?;
        let after = now.saturating_sub(self.storage.place(place).since);
        let samples = self.land(place, Flight::OfTake(ticket), How::Lost, true, now);
        // The turn of what `finish` gives has no sample.
        if samples > 0 {
            self.count_settled(samples, Fate::Lost);
            self.count_call(after, now);
        }
        Some(Overdue { ticket, after: Duration::from_nanos(after) })
    }

    /// The first slot of the take that a place remembers.
    pub(super) fn first_of_take(&mut self, place: usize) -> Option<usize> {
        self.storage.place(place).first.checked_sub(1).map(|slot| slot as usize)
    }
}
