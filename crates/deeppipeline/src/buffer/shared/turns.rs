//! Several workers at one buffer: whose results go on now, and how far ahead of the oldest sample in hand others may be.

use super::damage::{Damage, damaged};
use super::layout::{Field, PlaceField, SlotField};
use super::machine::Reserved;
use super::session::Owner;
use super::step::{State, Step};
use super::words::Words;
use crate::buffer::{Gate, Overflow};

impl<W: Words> Step<'_, W> {
    /// What becomes of a result whose turn has not come; `None` where it has.
    pub(super) fn reserve_early(&mut self, length: usize, ticket: u64) -> Option<Reserved> {
        if ticket < self.session.get(Field::Turn) {
            return Some(Reserved::Late);
        }
        if !self.is_still_to_come(ticket) {
            self.session.add(Field::Entered, 1);
            self.session.add(Field::Discarded, 1);
            return Some(Reserved::Gone { accepted: true });
        }
        if ticket == self.session.get(Field::Turn) && self.first_early_of(ticket).is_none() {
            return None;
        }
        let early = self.session.get(Field::Early);
        if early >= self.limits.givers.ahead() as u64 || self.free_slots() == 0 {
            return Some(Reserved::Full(self.session.will_wait_for_emptied()));
        }
        self.session.set(Field::Early, early + 1);
        Some(self.start_writing(length, State::WritingEarly))
    }

    /// Whether results of that take may still go on: it is not behind one on which the stage has failed for good.
    pub(super) fn is_still_to_come(&self, ticket: u64) -> bool {
        let failed = self.session.get(Field::FailedTurn);
        ticket >= self.session.get(Field::Turn) && (failed == 0 || ticket <= failed)
    }

    /// The slots of early results: there are few of them, however large the buffer is.
    fn early(&self) -> impl Iterator<Item = usize> {
        let kept = (0..self.layout.ahead).map(|index| self.session.get_at(self.layout.early(index)));
        kept.filter(|kept| *kept > 0).map(|kept| {
            let slot = self.as_slot(kept - 1);
            self.expect(slot, &[State::Early]);
            self.expect_sealed(slot);
            slot
        })
    }

    /// The slot is that of an early result.
    pub(super) fn keep_early(&mut self, slot: usize) {
        let free = (0..self.layout.ahead).find(|index| self.session.get_at(self.layout.early(*index)) == 0);
        let free = free.unwrap_or_else(|| damaged(Damage::Early));
        self.session.set_at(self.layout.early(free), slot as u64 + 1);
    }

    /// The slot is that of an early result no longer.
    fn let_go_of_early(&mut self, slot: usize) {
        let kept = slot as u64 + 1;
        let index = (0..self.layout.ahead).find(|index| self.session.get_at(self.layout.early(*index)) == kept);
        let index = index.unwrap_or_else(|| damaged(Damage::Early));
        self.session.set_at(self.layout.early(index), 0);
        self.session.subtract(Field::Early, 1);
    }

    fn first_early_of(&self, ticket: u64) -> Option<usize> {
        let of_it = self.early().filter(|slot| self.slot(*slot, SlotField::Ticket) == ticket);
        of_it.min_by_key(|slot| self.slot(*slot, SlotField::Word))
    }

    /// Whether nothing more comes of that take.
    pub(super) fn has_ended(&self, ticket: u64) -> bool {
        ticket < self.session.get(Field::Turn) || self.session.get_at(self.layout.ended(ticket)) == ticket
    }

    /// Which takes may be at work, so that not too many wait for their turn. If a turn will never come, there is nothing to
    /// wait for.
    pub(super) fn up_to(&self) -> u64 {
        match self.session.get(Field::FailedTurn) > 0 || self.gate() == Gate::Discarding {
            true => u64::MAX,
            false => self.session.get(Field::Turn).saturating_add(self.limits.givers.ahead() as u64),
        }
    }

    /// Whether that take may be at work; if not, what the bell for room shows.
    pub(super) fn is_near(&mut self, ticket: u64) -> Result<(), u32> {
        if ticket <= self.up_to() { Ok(()) } else { Err(self.session.will_wait_for_emptied()) }
    }

    /// Nothing more comes of that take.
    pub(super) fn end_turn(&mut self, ticket: u64, now: u64) {
        if self.is_still_to_come(ticket) {
            self.session.set_at(self.layout.ended(ticket), ticket);
        }
        self.go_on(now);
    }

    /// Lets in all results whose turn has come, as far as there is room.
    pub(super) fn go_on(&mut self, now: u64) {
        if !self.limits.givers.reorders() {
            return;
        }
        loop {
            let turn = self.session.get(Field::Turn);
            match self.first_early_of(turn) {
                Some(slot) => {
                    let inside = self.inside();
                    let length = self.slot(slot, SlotField::Length);
                    let room_for_one = inside < self.capacity();
                    let room = room_for_one && !self.is_too_much(inside, length);
                    if room_for_one && !room {
                        self.is_full_by_bytes();
                    }
                    if !room && self.limits.overflow == Overflow::Block {
                        break;
                    }
                    self.let_go_of_early(slot);
                    self.enter_early(slot);
                    if !room && self.limits.overflow == Overflow::DropNewest {
                        self.session.add(Field::DroppedNewest, 1);
                        self.pass_over(slot);
                    } else {
                        // Its place is behind those that it has waited for.
                        self.mark_newest(slot, self.me, State::Ready);
                        self.enter(slot, now);
                    }
                }
                None if self.has_ended(turn) => self.session.set(Field::Turn, turn.wrapping_add(1)),
                None => break,
            }
        }
        self.session.ring_emptied();
    }

    /// The stage has failed on that take for good.
    pub(super) fn fail_turn(&mut self, ticket: u64) {
        let failed = self.session.get(Field::FailedTurn);
        if failed == 0 || ticket < failed {
            self.session.set(Field::FailedTurn, ticket);
        }
        self.give_up_early(ticket.saturating_add(1));
        self.session.ring_emptied();
    }

    /// The first take that has not ended.
    pub(super) fn first_missing_turn(&self) -> u64 {
        let turn = self.session.get(Field::Turn);
        (turn..turn.saturating_add(self.layout.turns as u64 + 1))
            .find(|ticket| !self.has_ended(*ticket))
            .unwrap_or(turn)
    }

    /// Results of that take and later ones will not go on.
    pub(super) fn give_up_early(&mut self, ticket: u64) {
        let given_up: Vec<usize> = self.early().filter(|slot| self.slot(*slot, SlotField::Ticket) >= ticket).collect();
        for slot in given_up {
            self.let_go_of_early(slot);
            self.session.add(Field::Entered, 1);
            self.session.add(Field::Discarded, 1);
            self.free(slot);
        }
    }

    pub(super) fn next_ticket(&mut self) -> u64 {
        let ticket = self.session.get(Field::Ticket);
        self.session.set(Field::Ticket, ticket.wrapping_add(1));
        ticket
    }

    /// Whether another sample may be taken: not if too many results would wait for the oldest in hand. What has to be
    /// tried again is the oldest.
    pub(super) fn may_take(&self) -> bool {
        let crew = self.limits.takers;
        if !crew.reorders() {
            return true;
        }
        let next = self.ticket_in_front();
        self.hands().min().is_none_or(|oldest| next <= oldest.saturating_add(crew.ahead() as u64))
    }

    /// The takes that workers of a stage with several have in hand.
    pub(super) fn hands(&self) -> impl Iterator<Item = u64> {
        let hands = (1..self.layout.places).map(|place| self.session.get_of(Owner(place as u16), PlaceField::Hand));
        hands.filter(|ticket| *ticket > 0)
    }

    /// The ticket of the next take: what is tried again keeps its turn, which others may wait for.
    pub(super) fn ticket_in_front(&self) -> u64 {
        let tried_again = self.limits.takers.reorders() && self.waiting() > 0 && self.is_tried_again(self.front());
        match tried_again {
            true => self.slot(self.front(), SlotField::Ticket),
            false => self.session.get(Field::Ticket),
        }
    }

    pub(super) fn is_tried_again(&self, slot: usize) -> bool {
        self.slot(slot, SlotField::Deaths) > 0
    }

    /// This worker has that take in hand.
    pub(super) fn pick_up(&mut self, ticket: u64) {
        if self.limits.takers.workers > 1 {
            self.session.set_of(self.me, PlaceField::Hand, ticket);
        }
    }

    /// This worker has nothing in hand any more.
    pub(super) fn put_down(&mut self) {
        if self.limits.takers.workers > 1 {
            self.session.set_of(self.me, PlaceField::Hand, 0);
            self.session.ring_filled();
        }
    }
}
