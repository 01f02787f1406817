//! Results of several workers, put in the order of their takes: each take has a turn, and what comes before its turn
//! waits.

use super::arrive::Way;
use super::lists::Queue;
use super::state::SlotState;
use super::{Change, How, Label, LaneKey, Refusal, Storage, Wake};
use crate::buffer::{Arrival, Gate};
use crate::policies::Overflow;

/// Returns how a result that is out of order arrived, as its slot has it.
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
    /// Returns true if a result of that take goes on at once: an earlier one of the same take may still wait for room.
    pub(super) fn is_turn_of(&mut self, ticket: u64) -> bool {
        ticket == self.totals().turn && self.first_of(ticket).is_none()
    }

    /// Returns true if results of that take may still go on: it is not behind one on which the stage has failed for
    /// good.
    pub(super) fn is_still_to_come(&mut self, ticket: u64) -> bool {
        ticket >= self.totals().turn && !self.is_behind_a_failure(ticket)
    }

    /// Decides what becomes of a result whose turn is not now.
    pub(super) fn admit_out_of_order(&mut self, label: &Label) -> Result<Way, Refusal> {
        let ticket = label.turn.unwrap_or(0);
        if ticket < self.totals().turn {
            return Err(Refusal::Late);
        }
        if self.is_behind_a_failure(ticket) {
            self.discard_outside(label);
            return Err(Refusal::Discarded);
        }
        if self.is_cut_off(label) {
            self.flush_outside(label);
            return Err(Refusal::Flushed);
        }
        let totals = self.totals();
        let out_of_order = totals.out_of_order.len.saturating_add(totals.writing_out_of_order);
        let has_room = out_of_order < self.limits.producers.ahead() as u64 && self.has_free_slot();
        if has_room { Ok(Way::OutOfOrder) } else { Err(Refusal::Full) }
    }

    /// Puts a result where it waits for its turn.
    pub(super) fn wait_for_turn(&mut self, slot: usize, label: &Label) {
        let ticket = label.turn.unwrap_or(0);
        let reordering = self.storage.slot(slot);
        reordering.state = SlotState::OutOfOrder as u64;
        (reordering.ticket, reordering.arrival) = (ticket, to_word(label.arrival));
        let before = self.last_not_after(ticket);
        self.insert_after(Queue::OutOfOrder, before, slot);
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

    /// Returns true if the stage has failed for good on an earlier take.
    fn is_behind_a_failure(&mut self, ticket: u64) -> bool {
        let failed = self.totals().failed_turn;
        failed > 0 && ticket > failed
    }

    /// Returns true if nothing more comes of that take.
    pub(in crate::buffer) fn has_ended(&mut self, ticket: u64) -> bool {
        ticket < self.totals().turn || *self.storage.ended(ticket) == ticket
    }

    /// Returns the latest take that may be at work, so that not too many wait for their turn. If a turn will never
    /// come, there is nothing to wait for.
    pub(in crate::buffer) fn turns_up_to(&mut self) -> u64 {
        match !self.limits.producers.reorders() || self.totals().failed_turn > 0 || self.gate() == Gate::Discarding {
            true => u64::MAX,
            false => self.totals().turn + self.limits.producers.ahead() as u64,
        }
    }

    /// Ends the turn of that take: nothing more comes of it.
    pub(in crate::buffer) fn end_turn(&mut self, ticket: u64, now: u64) {
        if self.is_still_to_come(ticket) {
            *self.storage.ended(ticket) = ticket;
        }
        self.go_on(now);
    }

    /// Returns true if the stage has failed on a take for good.
    #[cfg(processes)]
    pub(in crate::buffer) fn has_failed_turn(&mut self) -> bool {
        self.totals().failed_turn > 0
    }

    /// Lets in all results whose turn has come, as far as there is room.
    pub(in crate::buffer) fn go_on(&mut self, now: u64) {
        if !self.limits.producers.reorders() {
            return;
        }
        loop {
            let turn = self.totals().turn;
            match self.first_of(turn) {
                Some(slot) => {
                    // A closed gate lets no producer wait for room, but these can.
                    let length = self.storage.slot(slot).length;
                    let room = self.has_room_for(length, LaneKey::default());
                    if !room && self.limits.overflow == Overflow::Block {
                        break;
                    }
                    self.remove(Queue::OutOfOrder, slot);
                    self.enter_out_of_order(slot);
                    if !room && self.limits.overflow == Overflow::DropNewest {
                        self.drop_slot(slot, How::DroppedNewest);
                    } else {
                        // It came when it was given, but is not waited for longer than from now on.
                        let came = if self.limits.intake.waits_for_more() { now } else { self.storage.slot(slot).came };
                        self.line_up(slot, came);
                    }
                }
                None if self.has_ended(turn) => self.totals().turn += 1,
                None => break,
            }
        }
        self.wake_producers(Wake::All);
    }

    /// Counts a result that has waited for its turn: its part is numbered now.
    fn enter_out_of_order(&mut self, slot: usize) {
        self.head().entered += 1;
        let reordering = self.storage.slot(slot);
        let (id, arrival) = (reordering.id(), from_word(reordering.arrival));
        let id = self.enter_part(id, arrival);
        self.storage.slot(slot).part = id.part;
    }

    /// Notes that the stage has failed on that take for good: what was taken later does not go on.
    pub(in crate::buffer) fn fail_turn(&mut self, ticket: u64) {
        let failed = self.totals().failed_turn;
        if failed == 0 || ticket < failed {
            self.totals().failed_turn = ticket;
        }
        self.give_up_out_of_order(ticket + 1);
        self.wake_producers(Wake::All);
    }

    /// The first take that has not ended.
    pub(super) fn first_missing_turn(&mut self) -> u64 {
        let mut ticket = self.totals().turn;
        while self.limits.producers.reorders() && self.has_ended(ticket) {
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
            self.count_discarded(1, LaneKey::default());
            self.note_end(slot, How::Discarded);
            self.storage.give_up(slot);
            self.free(slot);
        }
    }
}
