//! Results of several workers, put in the order of their takes: each take has a turn, and what comes before its turn waits.

use super::lists::Queue;
use super::state::SlotState;
use super::{Admission, Change, Label, Storage, Wake};
use crate::buffer::{Arrival, Gate, Overflow};

/// How a result that is out of order arrived, as its slot has it.
fn to_word(arrival: Arrival) -> u64 {
    match arrival {
        Arrival::Stage | Arrival::Source | Arrival::Outside => 0,
        Arrival::PartOfWhole => 1,
        Arrival::PartOfPart => 2,
    }
}

fn from_word(arrival: u64) -> Arrival {
    match arrival {
        1 => Arrival::PartOfWhole,
        2 => Arrival::PartOfPart,
        _ => Arrival::Stage,
    }
}

impl<S: Storage> Change<'_, S> {
    /// Decides what becomes of a result whose turn is not now; `None` where it is.
    pub(super) fn arrive_out_of_order(&mut self, label: &Label, ticket: u64, gate: Gate) -> Option<Admission> {
        let turn = self.head().turn;
        if ticket < turn {
            return Some(Admission::Late);
        }
        if self.is_behind_a_failure(ticket) {
            self.count_discarded(1);
            return Some(Admission::Discarded);
        }
        // An earlier result of the same take may still wait for room.
        let is_its_turn = ticket == turn && self.first_of(turn).is_none();
        if is_its_turn || gate == Gate::Discarding {
            return None;
        }
        if self.head().out_of_order.len >= self.limits.givers.ahead() as u64 {
            return Some(Admission::Full);
        }

        let slot = self.fill_slot(label);
        let early = self.storage.slot(slot);
        early.state = SlotState::OutOfOrder;
        (early.ticket, early.arrival) = (ticket, to_word(label.arrival));
        let before = self.last_not_after(ticket);
        self.insert_after(Queue::OutOfOrder, before, slot);
        Some(Admission::Inside { slot })
    }

    /// The last of the results out of order that a result of that take goes behind.
    fn last_not_after(&mut self, ticket: u64) -> Option<usize> {
        let mut last = self.last(Queue::OutOfOrder);
        while let Some(slot) = last
            && self.storage.slot(slot).ticket > ticket
        {
            last = self.before(slot);
        }
        last
    }

    /// The first result of that take, if it is the first of all that are out of order.
    fn first_of(&mut self, ticket: u64) -> Option<usize> {
        let first = self.first(Queue::OutOfOrder)?;
        (self.storage.slot(first).ticket == ticket).then_some(first)
    }

    /// Whether the stage has failed for good on an earlier take.
    fn is_behind_a_failure(&mut self, ticket: u64) -> bool {
        let failed = self.head().failed_turn;
        failed > 0 && ticket > failed
    }

    /// Whether nothing more comes of that take.
    fn has_ended(&mut self, ticket: u64) -> bool {
        ticket < self.head().turn || *self.storage.ended(ticket) == ticket
    }

    /// Which takes may be at work, so that not too many wait for their turn. If a turn will never come, there is nothing to
    /// wait for.
    pub(in crate::buffer) fn turns_up_to(&mut self) -> u64 {
        match !self.limits.givers.reorders() || self.head().failed_turn > 0 || self.gate() == Gate::Discarding {
            true => u64::MAX,
            false => self.head().turn + self.limits.givers.ahead() as u64,
        }
    }

    /// Nothing more comes of that take.
    pub(in crate::buffer) fn end_turn(&mut self, ticket: u64, now: u64) {
        if ticket >= self.head().turn && !self.is_behind_a_failure(ticket) {
            *self.storage.ended(ticket) = ticket;
        }
        self.go_on(now);
    }

    /// Lets in all results whose turn has come, as far as there is room.
    pub(in crate::buffer) fn go_on(&mut self, now: u64) {
        if !self.limits.givers.reorders() {
            return;
        }
        loop {
            let turn = self.head().turn;
            match self.first_of(turn) {
                Some(slot) => {
                    // A closed gate lets nobody wait for room, but these can.
                    let room = self.has_room();
                    if !room && self.limits.overflow == Overflow::Block {
                        break;
                    }
                    self.remove(Queue::OutOfOrder, slot);
                    self.enter_out_of_order(slot);
                    if !room && self.limits.overflow == Overflow::DropNewest {
                        self.head().dropped_newest += 1;
                        self.drop_slot(slot);
                    } else {
                        self.line_up(slot, now);
                    }
                }
                None if self.has_ended(turn) => self.head().turn += 1,
                None => break,
            }
        }
        self.wake_producers(Wake::All);
    }

    /// Counts a result that has waited for its turn: its part is numbered now.
    fn enter_out_of_order(&mut self, slot: usize) {
        self.head().entered += 1;
        let early = self.storage.slot(slot);
        let (id, arrival) = (early.id(), from_word(early.arrival));
        let id = self.enter_part(id, arrival);
        self.storage.slot(slot).part = id.part;
    }

    /// The stage has failed on that take for good: what was taken later does not go on.
    pub(in crate::buffer) fn fail_turn(&mut self, ticket: u64) {
        let failed = self.head().failed_turn;
        if failed == 0 || ticket < failed {
            self.head().failed_turn = ticket;
        }
        self.give_up_out_of_order(ticket + 1);
        self.wake_producers(Wake::All);
    }

    /// The first take that has not ended.
    pub(super) fn first_missing_turn(&mut self) -> u64 {
        let mut ticket = self.head().turn;
        while self.limits.givers.reorders() && self.has_ended(ticket) {
            ticket += 1;
        }
        ticket
    }

    /// Gives up results of that take and of later ones.
    pub(super) fn give_up_out_of_order(&mut self, ticket: u64) {
        while let Some(slot) = self.last(Queue::OutOfOrder)
            && self.storage.slot(slot).ticket >= ticket
        {
            self.remove(Queue::OutOfOrder, slot);
            self.count_discarded(1);
            self.storage.give_up(slot);
            self.free(slot);
        }
    }
}
