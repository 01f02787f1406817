//! What each step of the slot machine does to the words. The file is long because every step may leave a slot in a state
//! that any other finds; what several workers add is in `turns.rs`.

use super::damage::{Damage, damaged};
use super::layout::{DROPS, Field, Layout, MOST_SLOTS, PlaceField, SlotField};
use super::machine::{Label, Published, Receipt, Reserved, Slot, Taken, TakenSlot, Trim, Verdict};
use super::session::{Owner, Session};
use super::words::Words;
use crate::buffer::histogram::{Durations, time_step};
use crate::buffer::parts::Parts;
use crate::buffer::{Arrival, BufferCounts, Gate, Limits, Overflow};
use crate::graph::OnCrash;
use crate::intake::Intake;
use crate::ledger::{Fate, StageCounts};
use crate::sample::{ForkTicket, SampleId};
use std::cmp::max_by_key;
use std::collections::HashMap;
use std::ops::Range;

/// Who has a slot, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody.
    Free,
    /// Whoever brings a sample writes it.
    Writing,
    /// The same, for a result whose turn had not come when its bringer began.
    WritingEarly,
    /// A result waits for its turn.
    Early,
    /// The sample waits in the queue.
    Ready,
    /// A worker has the sample in hand.
    InHand,
    /// The sample has its fate, but a view of it is still looked at.
    Held,
}

/// A slot's word: sequence, owner and state in one, so that no death can tear them apart.
fn word(sequence: u64, owner: Owner, state: State) -> u64 {
    sequence << 24 | u64::from(owner.0) << 8 | state as u64
}

/// How an early result arrived, as its slot has it.
fn early_arrival(arrival: Arrival) -> u64 {
    match arrival {
        Arrival::Stage | Arrival::Source | Arrival::Outside => 0,
        Arrival::PartOfWhole => 1,
        Arrival::PartOfPart => 2,
    }
}

/// In place of a number of parts: it was the one result.
pub(super) const WHOLE: u64 = u64::MAX;

/// Samples that a join waits for.
#[derive(Debug, Default)]
pub(super) struct Forks {
    others: Vec<ForkTicket>,
    /// By what is taken at once, with the word of its slot. Of a list the newest counts: its result goes on as that one's.
    in_hand: HashMap<(u64, u64), (u64, ForkTicket)>,
}

impl Forks {
    pub(super) fn into_all(self) -> Vec<ForkTicket> {
        let mut all = self.others;
        all.extend(self.in_hand.into_values().map(|(_, fork)| fork));
        all
    }
}

/// One transaction.
pub(super) struct Step<'a, W> {
    pub(super) session: Session<'a, W>,
    pub(super) layout: Layout,
    pub(super) limits: Limits,
    pub(super) me: Owner,
    /// The slot whose words were changed last, and by how much its seal has to change.
    unsealed: (usize, u64),
}

impl<'a, W: Words> Step<'a, W> {
    pub(super) fn new(session: Session<'a, W>, limits: Limits, me: Owner) -> Self {
        Step { session, layout: limits.layout(), limits, me, unsealed: (0, 0) }
    }

    pub(super) fn slot(&self, slot: usize, field: SlotField) -> u64 {
        self.session.get_at(self.layout.slot(slot, field))
    }

    pub(super) fn set_slot(&mut self, slot: usize, field: SlotField, value: u64) {
        if self.unsealed.0 != slot {
            self.seal();
            self.unsealed.0 = slot;
        }
        let at = self.layout.slot(slot, field);
        let more = value.wrapping_sub(self.session.get_at(at)).wrapping_mul(Layout::spread(at));
        self.unsealed.1 = self.unsealed.1.wrapping_add(more);
        self.session.set_at(at, value);
    }

    /// Brings the seal of the slot that was changed last up to date. It goes on from what it was, so that a stray write
    /// before is found still.
    pub(super) fn seal(&mut self) {
        let (slot, more) = std::mem::take(&mut self.unsealed);
        if more != 0 {
            let at = self.layout.slot(slot, SlotField::Seal);
            self.session.set_at(at, self.session.get_at(at).wrapping_add(more));
        }
    }

    /// The words of a slot must be as the steps so far have left them.
    pub(super) fn expect_sealed(&self, slot: usize) {
        let weighed = self.layout.sealed(slot).map(|at| self.session.get_at(at).wrapping_mul(Layout::spread(at)));
        let more = if self.unsealed.0 == slot { self.unsealed.1 } else { 0 };
        if weighed.fold(0, u64::wrapping_add) != self.slot(slot, SlotField::Seal).wrapping_add(more) {
            damaged(Damage::Word);
        }
    }

    pub(super) fn state(&self, slot: usize) -> u64 {
        self.slot(slot, SlotField::Word) & 0xff
    }

    /// Adds the sample in a slot if it is inside, in hand, or early.
    pub(super) fn find_fork(&self, slot: usize, found: &mut Forks) {
        let state = self.state(slot);
        if state == State::InHand as u64 {
            let (ticket, word) = (self.slot(slot, SlotField::Ticket), self.slot(slot, SlotField::Word));
            let key = if self.limits.intake.takes_lists() { (ticket, 0) } else { (ticket, word) };
            let of_its_take = found.in_hand.entry(key).or_default();
            *of_its_take = max_by_key(*of_its_take, (word, self.fork(slot)), |(word, _)| *word);
        } else if state == State::Ready as u64 || state == State::Early as u64 {
            found.others.push(self.fork(slot));
        }
    }

    /// What is weighed must be as the steps so far have left it.
    pub(super) fn expect_sound(&self) {
        if !self.session.is_sound() {
            damaged(Damage::Word);
        }
    }

    /// The slot must be in one of these states, in whoever's hands.
    pub(super) fn expect(&self, slot: usize, states: &[State]) {
        if !states.iter().any(|state| *state as u64 == self.state(slot)) {
            damaged(Damage::State);
        }
    }

    /// The slot must be in one of these states, in the hands of this process.
    fn expect_mine(&self, slot: usize, states: &[State]) {
        if !states.iter().any(|state| self.is(slot, self.me, *state)) {
            damaged(Damage::Owner);
        }
    }

    /// The number of a slot, as a word says it.
    pub(super) fn as_slot(&self, word: u64) -> usize {
        match usize::try_from(word) {
            Ok(slot) if slot < self.layout.slots => slot,
            _ => damaged(Damage::Slot),
        }
    }

    /// How many bytes a sample in a slot has, as a word says it.
    fn as_length(&self, word: u64) -> usize {
        match usize::try_from(word) {
            Ok(length) if word <= self.limits.bytes => length,
            _ => damaged(Damage::Length),
        }
    }

    /// What was counted of a sample one by one, so that whoever counts on stays far from the end.
    fn counted(&self, slot: usize, field: SlotField) -> u64 {
        match self.slot(slot, field) {
            count if count < MOST_COUNTED => count,
            _ => damaged(Damage::Count),
        }
    }

    /// A slot, in the hands of whoever gets this.
    pub(super) fn in_hands(&self, slot: usize) -> Slot {
        Slot { index: slot, length: self.as_length(self.slot(slot, SlotField::Length)) }
    }

    /// The places of the queue that are in use.
    pub(super) fn places(&self) -> Range<u64> {
        let (front, back) = (self.session.get(Field::Front), self.session.get(Field::Back));
        match back.checked_sub(front) {
            Some(waiting) if waiting <= self.layout.slots as u64 => front..back,
            _ => damaged(Damage::Queue),
        }
    }

    /// The slot at that place of the queue. It must be the same that was put there, with the same sample.
    pub(super) fn queued(&self, place: u64) -> usize {
        let word = self.session.get_at(self.layout.queue(place));
        let slot = self.as_slot(word % MOST_SLOTS as u64);
        if word != self.queue_word(slot) {
            damaged(Damage::Queue);
        }
        slot
    }

    /// What the queue has of a slot: its number, and the sequence of its sample as far as there is room.
    fn queue_word(&self, slot: usize) -> u64 {
        (self.slot(slot, SlotField::Word) >> 24).wrapping_mul(MOST_SLOTS as u64) | slot as u64
    }

    fn set_queue(&mut self, place: u64, slot: usize) {
        self.session.set_at(self.layout.queue(place), self.queue_word(slot));
    }

    /// How many slots are free.
    pub(super) fn free_slots(&self) -> u64 {
        match self.session.get(Field::Free) {
            free if free <= self.layout.slots as u64 => free,
            _ => damaged(Damage::Free),
        }
    }

    /// The free slot at that height of the stack.
    fn free_at(&self, height: u64) -> usize {
        let slot = self.as_slot(self.session.get_at(self.layout.free(height)));
        self.expect(slot, &[State::Free]);
        slot
    }

    /// How many samples have a place inside, or will have one.
    pub(super) fn inside(&self) -> u64 {
        self.waiting().saturating_add(self.session.get(Field::Writing))
    }

    pub(super) fn is(&self, slot: usize, owner: Owner, state: State) -> bool {
        self.slot(slot, SlotField::Word) & 0xff_ffff == word(0, owner, state)
    }

    /// The slot goes over to another state, in the hands of this process, and keeps its sequence.
    pub(super) fn mark(&mut self, slot: usize, state: State) {
        let sequence = self.slot(slot, SlotField::Word) >> 24;
        self.set_slot(slot, SlotField::Word, word(sequence, self.me, state));
    }

    /// The slot goes over to another state with the next sequence: it is behind all others that have come.
    pub(super) fn mark_newest(&mut self, slot: usize, owner: Owner, state: State) {
        let sequence = self.session.get(Field::Sequence).wrapping_add(1);
        self.session.set(Field::Sequence, sequence);
        self.set_slot(slot, SlotField::Word, word(sequence, owner, state));
    }

    /// The slot is the first to be used again: its memory is still in the caches.
    pub(super) fn free(&mut self, slot: usize) {
        if self.state(slot) == State::Free as u64 {
            damaged(Damage::State);
        }
        self.mark(slot, State::Free);
        self.put_on_top(slot);
    }

    fn put_on_top(&mut self, slot: usize) {
        let free = self.free_slots();
        if free == self.layout.slots as u64 {
            damaged(Damage::Free);
        }
        self.session.set_at(self.layout.free(free), slot as u64);
        self.session.set(Field::Free, free + 1);
        // With a slot to be had, a sample may come in even where enough wait, as with `drop_oldest`.
        if free == 0 {
            self.session.ring_emptied();
        }
    }

    /// The slot, which was out of use, is the last to be used again.
    pub(super) fn free_last(&mut self, slot: usize) {
        self.put_on_top(slot);
        let top = self.free_slots() - 1;
        let (first, last) = (self.layout.free(0), self.layout.free(top));
        let (one, other) = (self.session.get_at(first), self.session.get_at(last));
        self.session.set_at(first, other);
        self.session.set_at(last, one);
    }

    pub(super) fn waiting(&self) -> u64 {
        let places = self.places();
        places.end - places.start
    }

    pub(super) fn capacity(&self) -> u64 {
        self.limits.capacity as u64
    }

    pub(super) fn gate(&self) -> Gate {
        match self.session.get(Field::Gate) {
            0 => Gate::Open,
            1 => Gate::Closed,
            2 => Gate::Discarding,
            _ => damaged(Damage::Gate),
        }
    }

    /// Whether a sample of that many bytes does not fit beside what is inside. One alone always does.
    pub(super) fn is_too_much(&self, inside: u64, length: u64) -> bool {
        inside > 0 && self.session.get(Field::Bytes).saturating_add(length) > self.limits.bytes
    }

    pub(super) fn reserve(&mut self, length: usize, id: SampleId, arrival: Arrival, turn: Option<u64>) -> Reserved {
        let gate = self.gate();
        if let Some(ticket) = turn.filter(|_| gate != Gate::Discarding)
            && let Some(reserved) = self.reserve_early(length, ticket)
        {
            return reserved;
        }
        if arrival == Arrival::Outside && gate != Gate::Open {
            return Reserved::Shut;
        }
        if gate == Gate::Discarding {
            self.session.add(Field::Entered, 1);
            self.session.add(Field::Discarded, 1);
            return Reserved::Gone { accepted: true };
        }
        let inside = self.inside();
        let room_for_one = inside < self.capacity();
        let room = room_for_one && !self.is_too_much(inside, length as u64);
        if room_for_one && !room {
            self.is_full_by_bytes();
        }
        if !room && self.limits.overflow == Overflow::DropNewest {
            let id = self.count_arrival(id, arrival);
            self.session.add(Field::DroppedNewest, 1);
            self.remember_drop(id);
            return Reserved::Gone { accepted: false };
        }
        // A gate that is closed lets its one stage in, even beyond the capacity, as a full memory buffer does.
        let waits = !room && gate == Gate::Open && self.limits.overflow == Overflow::Block;
        if waits || self.free_slots() == 0 {
            return Reserved::Full(self.session.will_wait_for_emptied());
        }
        self.session.add(Field::Writing, 1);
        self.session.add(Field::Bytes, length as u64);
        self.start_writing(length, State::Writing)
    }

    /// The free slot used last is written now; there must be one.
    pub(super) fn start_writing(&mut self, length: usize, state: State) -> Reserved {
        let free = self.free_slots().checked_sub(1).unwrap_or_else(|| damaged(Damage::Free));
        let slot = self.free_at(free);
        self.expect_sealed(slot);
        self.session.set(Field::Free, free);
        self.mark(slot, state);
        self.set_slot(slot, SlotField::Length, length as u64);
        let touched = self.slot(slot, SlotField::Touched).max(length as u64);
        self.set_slot(slot, SlotField::Touched, touched);
        Reserved::Slot(Slot { index: slot, length })
    }

    /// The slot is not written any longer by this process; whether it was begun before its turn.
    pub(super) fn stop_writing(&mut self, slot: &Slot) -> bool {
        self.expect_mine(slot.index, &[State::Writing, State::WritingEarly]);
        self.stop_writing_of(slot)
    }

    /// The same of whoever wrote it.
    pub(super) fn stop_writing_of(&mut self, slot: &Slot) -> bool {
        self.expect_sealed(slot.index);
        let early = self.state(slot.index) == State::WritingEarly as u64;
        if early {
            self.session.subtract(Field::Early, 1);
        } else {
            self.session.subtract(Field::Writing, 1);
            self.session.subtract(Field::Bytes, slot.length as u64);
        }
        early
    }

    /// For the list intakes, a buffer that has no room for the bytes of another sample is as full as one with too many.
    pub(super) fn is_full_by_bytes(&mut self) {
        if self.limits.intake.takes_lists() && self.session.get(Field::FullByBytes) == 0 {
            self.session.set(Field::FullByBytes, 1);
            self.session.ring_filled();
        }
    }

    /// Remembers of which take an arrival is the result, until its worker has settled it.
    pub(super) fn keep_receipt(&mut self, receipt: Option<Receipt>) {
        if let Some(receipt) = receipt {
            self.session.set_of(self.me, PlaceField::ReceiptTicket, receipt.ticket);
            self.session.set_of(self.me, PlaceField::ReceiptParts, receipt.parts.unwrap_or(WHOLE));
        }
    }

    /// Counts an arrival, which gets its number here unless a stage brings it.
    fn count_arrival(&mut self, id: SampleId, arrival: Arrival) -> SampleId {
        self.session.add(Field::Entered, 1);
        match arrival {
            Arrival::Stage | Arrival::PartOfWhole | Arrival::PartOfPart => self.enter_part(id, arrival),
            Arrival::Source | Arrival::Outside => SampleId { number: self.session.get(Field::Entered), part: 0 },
        }
    }

    /// The identity of what a stage gives. A whole sample, the usual case, costs nothing here.
    pub(super) fn enter_part(&mut self, id: SampleId, arrival: Arrival) -> SampleId {
        if id.part == 0 && arrival == Arrival::Stage {
            return id;
        }
        const WORDS: [Field; 7] = [
            Field::PartsNumber,
            Field::NewestOfWhole,
            Field::NewestOfPart,
            Field::NewestPassed,
            Field::OlderOfWhole,
            Field::OlderOfPart,
            Field::OlderPassed,
        ];
        let before = WORDS.map(|field| self.session.get(field));
        let mut parts = Parts::from_words(before);
        let id = parts.enter(id, arrival);
        for ((field, was), is) in WORDS.into_iter().zip(before).zip(parts.to_words()) {
            if is != was {
                self.session.set(field, is);
            }
        }
        id
    }

    pub(super) fn publish(&mut self, slot: &Slot, label: Label, arrival: Arrival) -> Published {
        let early = self.stop_writing(slot);
        let gate = self.gate();
        if arrival == Arrival::Outside && gate != Gate::Open {
            self.free(slot.index);
            return Published::Shut;
        }
        self.keep_receipt(label.receipt);
        let gone = label.turn.is_some_and(|ticket| !self.is_still_to_come(ticket));
        let id =
            if early && !gone && gate != Gate::Discarding { label.id } else { self.count_arrival(label.id, arrival) };
        if gate == Gate::Discarding || gone {
            self.session.add(Field::Discarded, 1);
            self.free(slot.index);
            return Published::Discarded;
        }
        for (field, value) in [
            (SlotField::Number, id.number),
            (SlotField::Part, id.part),
            (SlotField::Birth, label.birth),
            (SlotField::Deaths, 0),
            (SlotField::Given, 0),
            (SlotField::Failures, 0),
        ] {
            self.set_slot(slot.index, field, value);
        }
        if self.limits.is_looked_for {
            self.set_slot(slot.index, SlotField::Fork, label.fork.0);
        }
        if let Some(ticket) = label.turn.filter(|_| early) {
            self.mark_newest(slot.index, Owner::HOME, State::Early);
            self.set_slot(slot.index, SlotField::Ticket, ticket);
            self.set_slot(slot.index, SlotField::Arrival, early_arrival(arrival));
            self.session.add(Field::Early, 1);
            self.keep_early(slot.index);
            self.go_on(label.came);
        } else {
            self.mark_newest(slot.index, self.me, State::Ready);
            self.enter(slot.index, label.came);
        }
        Published::Inside
    }

    /// A sample lines up behind the others; the oldest go, where the policy says so.
    pub(super) fn enter(&mut self, slot: usize, came: u64) {
        let length = self.slot(slot, SlotField::Length);
        if self.limits.overflow == Overflow::DropOldest {
            self.make_room_for(length);
        }
        if self.waits_for_more() {
            self.set_slot(slot, SlotField::Came, came);
        }
        self.session.add(Field::Bytes, length);
        let back = self.places().end;
        self.set_queue(back, slot);
        self.session.set(Field::Back, back.wrapping_add(1));
        if self.can_take(came) || (self.waits_for_more() && self.waiting() == 1) {
            self.session.ring_filled();
        }
    }

    /// Drops the oldest until so many bytes have room. What one of several workers is to try again must stay, since others
    /// wait for it.
    fn make_room_for(&mut self, length: u64) {
        let Range { start: front, end: back } = self.places();
        let may_go = |place: &u64| !self.limits.takers.reorders() || !self.is_tried_again(self.queued(*place));
        let first = (front..back).find(may_go).unwrap_or(back);
        let mut next = first;
        while next < back {
            let inside = back - front - (next - first);
            let room_for_one = inside < self.capacity();
            if room_for_one && !self.is_too_much(inside, length) {
                break;
            }
            if room_for_one {
                self.is_full_by_bytes();
            }
            let oldest = self.leave_queue(next);
            self.session.add(Field::DroppedOldest, 1);
            self.pass_over(oldest);
            next += 1;
        }
        // Those that stay close up.
        for place in (front..first).rev() {
            let stays = self.session.get_at(self.layout.queue(place));
            self.session.set_at(self.layout.queue(place + (next - first)), stays);
        }
        self.session.set(Field::Front, front + (next - first));
    }

    fn pop_front(&mut self) -> usize {
        let Range { start: front, end: back } = self.places();
        if front == back {
            damaged(Damage::Queue);
        }
        self.session.set(Field::Front, front + 1);
        self.leave_queue(front)
    }

    fn pop_back(&mut self) -> usize {
        let Range { start: front, end: back } = self.places();
        if front == back {
            damaged(Damage::Queue);
        }
        let back = back - 1;
        self.session.set(Field::Back, back);
        self.leave_queue(back)
    }

    fn leave_queue(&mut self, position: u64) -> usize {
        let slot = self.queued(position);
        self.expect(slot, &[State::Ready]);
        self.expect_sealed(slot);
        self.session.subtract(Field::Bytes, self.slot(slot, SlotField::Length));
        slot
    }

    /// A waiting sample that is never taken.
    pub(super) fn pass_over(&mut self, slot: usize) {
        self.remember_drop(self.id(slot));
        self.free(slot);
    }

    pub(super) fn id(&self, slot: usize) -> SampleId {
        SampleId { number: self.slot(slot, SlotField::Number), part: self.slot(slot, SlotField::Part) }
    }

    /// Where no join looks for samples, they have no ticket.
    pub(super) fn fork(&self, slot: usize) -> ForkTicket {
        if self.limits.is_looked_for { ForkTicket(self.slot(slot, SlotField::Fork)) } else { ForkTicket::default() }
    }

    /// An early result enters: its part is numbered now.
    pub(super) fn enter_early(&mut self, slot: usize) {
        self.session.add(Field::Entered, 1);
        let arrival = match self.slot(slot, SlotField::Arrival) {
            1 => Arrival::PartOfWhole,
            2 => Arrival::PartOfPart,
            _ => Arrival::Stage,
        };
        let (id, entered) = (self.id(slot), self.enter_part(self.id(slot), arrival));
        if entered != id {
            self.set_slot(slot, SlotField::Part, entered.part);
        }
    }

    pub(super) fn remember_drop(&mut self, id: SampleId) {
        let drops = self.session.get(Field::Drops);
        let place = self.layout.drop(drops);
        self.session.set_at(place, id.number);
        self.session.set_at(place + 1, id.part);
        self.session.set(Field::Drops, drops.wrapping_add(1));
    }

    /// Whether a sample in front may have to wait for others behind it.
    fn waits_for_more(&self) -> bool {
        matches!(self.limits.intake, Intake::Batch { .. })
    }

    /// When the list that waits for more is due, in nanoseconds.
    fn due(&self) -> Option<u64> {
        let Intake::Batch { timeout, .. } = self.limits.intake else { return None };
        let front = (self.waiting() > 0).then(|| self.front())?;
        self.slot(front, SlotField::Came).checked_add(u64::try_from(timeout.as_nanos()).ok()?)
    }

    pub(super) fn front(&self) -> usize {
        let front = self.queued(self.session.get(Field::Front));
        self.expect_sealed(front);
        front
    }

    fn can_take(&self, now: u64) -> bool {
        let is_open = self.gate() == Gate::Open && self.session.get(Field::FullByBytes) == 0;
        match self.limits.intake {
            Intake::All if is_open => self.waiting() >= self.capacity() || self.put_back_in_front() > 0,
            Intake::Batch { max_size, .. } if is_open => {
                self.waiting() >= max_size as u64
                    || self.put_back_in_front() > 0
                    || self.due().is_some_and(|due| now >= due)
            }
            _ => self.waiting() > 0,
        }
    }

    /// How many samples in front a worker that died had in hand: for a list intake, the list that is tried again.
    fn put_back_in_front(&self) -> u64 {
        if self.waiting() == 0 {
            return 0;
        }
        let ticket = self.slot(self.front(), SlotField::Ticket);
        let is_of_it = |slot| self.slot(slot, SlotField::Deaths) > 0 && self.slot(slot, SlotField::Ticket) == ticket;
        self.places().take_while(|place| is_of_it(self.queued(*place))).count() as u64
    }

    /// Drops those that are too old of what is about to leave, and lets in what has waited for their places.
    fn expire(&mut self, now: u64) {
        let Some(max_age) = self.limits.max_age else { return };
        let max_age = u64::try_from(max_age.as_nanos()).unwrap_or(u64::MAX);
        while self.can_take(now) && self.expire_once(now, max_age) {
            self.go_on(now);
            self.session.ring_emptied();
        }
    }

    /// The same with what is inside now; whether something was too old. What stays is not moved but to close up, so that
    /// what is written down is no more than a few words a slot.
    fn expire_once(&mut self, now: u64, max_age: u64) -> bool {
        let one_at_a_time = matches!(self.limits.intake, Intake::Single | Intake::Window { .. });
        let Range { start: front, end: back } = self.places();
        let mut end = front;
        for place in front..back {
            let slot = self.queued(place);
            // What is to be tried again was fresh when it was taken.
            let is_old = now.saturating_sub(self.slot(slot, SlotField::Birth)) > max_age && !self.is_tried_again(slot);
            if is_old {
                self.leave_queue(place);
                self.session.add(Field::Expired, 1);
                self.pass_over(slot);
            } else if one_at_a_time {
                self.session.set(Field::Front, place);
                return place > front;
            } else {
                if end < place {
                    self.set_queue(end, slot);
                }
                end += 1;
            }
        }
        self.session.set(Field::Back, end);
        end < back
    }

    pub(super) fn take(&mut self, up_to: u64, now: u64) -> Taken {
        let may_take = self.may_take();
        let next = self.ticket_in_front();
        if may_take && next > up_to && self.gate() != Gate::Discarding {
            return Taken::Ahead(next);
        }
        if may_take && self.can_take(now) {
            self.expire(now);
        }
        if !may_take || !self.can_take(now) {
            return match self.gate() {
                Gate::Discarding => Taken::Discarded,
                Gate::Closed if may_take && self.waiting() == 0 => self.drained(),
                // Whoever waits until he may take is woken for that.
                Gate::Open | Gate::Closed => {
                    Taken::Empty(self.session.will_wait_for_filled(), self.due().filter(|_| may_take))
                }
            };
        }
        let put_back = self.put_back_in_front();
        let taken: Vec<usize> = match self.limits.intake {
            // What one of several workers is to try again must come first, since others wait for it.
            Intake::Latest if put_back > 0 && self.limits.takers.reorders() => vec![self.pop_front()],
            Intake::Single | Intake::Window { .. } => vec![self.pop_front()],
            Intake::Latest => {
                let newest = self.pop_back();
                while self.waiting() > 0 {
                    let old = self.pop_front();
                    self.session.add(Field::Superseded, 1);
                    self.pass_over(old);
                }
                vec![newest]
            }
            Intake::All | Intake::Batch { .. } => {
                let count = match put_back {
                    0 => self.waiting().min(self.limits.at_once() as u64),
                    list => list,
                };
                (0..count).map(|_| self.pop_front()).collect()
            }
        };
        if self.session.get(Field::FullByBytes) != 0 {
            self.session.set(Field::FullByBytes, 0);
        }
        let tried_before =
            taken.first().filter(|first| self.limits.takers.reorders() && self.slot(**first, SlotField::Deaths) > 0);
        let ticket = match tried_before {
            // It keeps its turn.
            Some(first) => self.slot(*first, SlotField::Ticket),
            None => self.next_ticket(),
        };
        self.pick_up(ticket);
        let count = taken.len() as u64;
        self.session.add(Field::Taken, count);
        self.session.add(Field::InHand, count);
        let holdable = self.limits.takers.workers * self.limits.holdable();
        let copy = self.session.get(Field::Held).saturating_add(count) > holdable as u64;
        let slots = taken.into_iter().map(|slot| {
            self.mark(slot, State::InHand);
            self.set_slot(slot, SlotField::Ticket, ticket);
            let birth = self.slot(slot, SlotField::Birth);
            self.record(Durations::Ages, now.saturating_sub(birth));
            TakenSlot {
                slot: self.in_hands(slot),
                id: self.id(slot),
                birth,
                fork: self.fork(slot),
                given: self.counted(slot, SlotField::Given),
                failures: self.counted(slot, SlotField::Failures),
            }
        });
        let slots = slots.collect();
        self.go_on(now);
        if self.waiting() <= self.limits.refill_at() {
            self.session.ring_emptied();
        }
        if self.limits.takers.workers > 1 && self.can_take(now) {
            self.session.ring_filled();
        }
        Taken::Ready { slots, ticket, copy }
    }

    /// One of several workers has the last turn for what `finish` gives.
    fn drained(&mut self) -> Taken {
        if self.limits.takers.workers == 1 {
            return Taken::Drained { ticket: 0 };
        }
        let ticket = self.next_ticket();
        self.pick_up(ticket);
        Taken::Drained { ticket }
    }

    /// Slots of what was in hand are free, or held as long as somebody looks at them.
    pub(super) fn leave_slots(&mut self, slots: &[(usize, bool)]) {
        for &(slot, viewed) in slots {
            self.expect_mine(slot, &[State::InHand]);
            if viewed {
                self.mark(slot, State::Held);
                self.session.add(Field::Held, 1);
            } else {
                self.free(slot);
            }
        }
    }

    /// Nobody looks at a slot any longer.
    pub(super) fn release(&mut self, slot: usize) {
        self.expect_mine(slot, &[State::Held]);
        self.session.subtract(Field::Held, 1);
        self.free(slot);
    }

    /// So many samples that this worker's stage has kept are kept no longer.
    pub(super) fn use_kept(&mut self, samples: u64) {
        if samples > 0 {
            let kept = self.session.get_of(self.me, PlaceField::Kept);
            self.session.set_of(self.me, PlaceField::Kept, kept.saturating_sub(samples));
        }
    }

    /// Counts a duration.
    pub(super) fn record(&mut self, durations: Durations, nanoseconds: u64) {
        let time = self.layout.time(durations, time_step(nanoseconds));
        self.session.set_at(time, self.session.get_at(time).wrapping_add(1));
        let max = self.layout.longest(durations);
        if nanoseconds > self.session.get_at(max) {
            self.session.set_at(max, nanoseconds);
        }
    }

    pub(super) fn settle(&mut self, samples: u64, fate: Fate) {
        self.session.subtract(Field::InHand, samples);
        match fate {
            Fate::Used => {
                self.session.add(Field::Used, 1);
                self.session.add(Field::Absorbed, samples.saturating_sub(1));
            }
            Fate::Skipped => self.session.add(Field::Skipped, samples),
            Fate::Failed => self.session.add(Field::Failed, samples),
            Fate::Lost => self.session.add(Field::Lost, samples),
        }
    }

    pub(super) fn lower_gate(&mut self, gate: Gate) {
        let lowered = self.gate().max(gate);
        self.session.set(Field::Gate, lowered as u64);
        self.give_up_early(match lowered {
            Gate::Discarding => 0,
            Gate::Open | Gate::Closed => self.first_missing_turn().saturating_add(1),
        });
        if lowered == Gate::Discarding {
            while self.waiting() > 0 {
                let slot = self.pop_front();
                self.session.add(Field::Discarded, 1);
                self.free(slot);
            }
        }
    }

    /// The counters, which must add up: at the end of each step every sample has one fate.
    pub(super) fn counts(&self) -> (BufferCounts, StageCounts) {
        let get = |field| self.session.get(field);
        let drops = get(Field::Drops);
        let dropped = (drops.saturating_sub(DROPS as u64)..drops).map(|index| {
            let place = self.layout.drop(index);
            SampleId { number: self.session.get_at(place), part: self.session.get_at(place + 1) }
        });
        let buffer = BufferCounts {
            early: get(Field::Early),
            entered: get(Field::Entered),
            taken: get(Field::Taken),
            dropped_oldest: get(Field::DroppedOldest),
            dropped_newest: get(Field::DroppedNewest),
            superseded: get(Field::Superseded),
            expired: get(Field::Expired),
            discarded: get(Field::Discarded),
            waiting: self.waiting(),
            last_dropped: dropped.collect(),
        };
        let stage = StageCounts {
            used: get(Field::Used),
            absorbed: get(Field::Absorbed),
            skipped: get(Field::Skipped),
            failed: get(Field::Failed),
            lost: get(Field::Lost),
            in_hand: get(Field::InHand),
            gave: 0,
        };
        if !add_up(&buffer, &stage, drops) {
            damaged(Damage::Sum);
        }
        if self.inside() == 0 && get(Field::Bytes) != 0 {
            damaged(Damage::Count);
        }
        (buffer, stage)
    }

    pub(super) fn taker_died(
        &mut self,
        dead: Owner,
        on_crash: OnCrash,
        received: Option<Receipt>,
        slots: Vec<usize>,
    ) -> (Verdict, Option<u64>) {
        let kept = self.session.get_of(dead, PlaceField::Kept);
        self.session.set_of(dead, PlaceField::Kept, 0);
        if kept > 0 {
            self.settle(kept, Fate::Lost);
        }
        let hand = self.session.get_of(dead, PlaceField::Hand);
        self.session.set_of(dead, PlaceField::Hand, 0);
        (self.judge(dead, on_crash, received, slots), Some(hand).filter(|hand| *hand > 0))
    }

    fn judge(&mut self, dead: Owner, on_crash: OnCrash, received: Option<Receipt>, slots: Vec<usize>) -> Verdict {
        let (held, mut in_hand): (Vec<_>, Vec<_>) =
            slots.into_iter().partition(|slot| self.is(*slot, dead, State::Held));
        for slot in held {
            self.session.subtract(Field::Held, 1);
            self.free(slot);
        }
        for slot in &in_hand {
            self.expect(*slot, &[State::InHand]);
            self.expect_sealed(*slot);
        }
        in_hand.sort_by_key(|slot| self.slot(*slot, SlotField::Word));
        let Some(&newest) = in_hand.last() else { return Verdict::Nothing };
        let id = self.id(newest);
        let received = received.filter(|receipt| receipt.ticket == self.slot(newest, SlotField::Ticket));
        let retry = on_crash == OnCrash::Retry && in_hand.iter().all(|slot| self.slot(*slot, SlotField::Deaths) == 0);
        let count = in_hand.len() as u64;
        let discarding = self.gate() == Gate::Discarding;
        let verdict = match received {
            Some(Receipt { parts: None, .. }) => Verdict::Used(id),
            Some(_) if on_crash == OnCrash::Skip => Verdict::Used(id),
            _ if retry && !discarding => Verdict::Retried(id),
            _ => Verdict::Lost(id),
        };
        match verdict {
            Verdict::Retried(_) => {
                let given = received.and_then(|receipt| receipt.parts).unwrap_or(0);
                self.session.subtract(Field::Taken, count);
                self.session.subtract(Field::InHand, count);
                in_hand.into_iter().rev().for_each(|slot| self.put_back(slot, given));
            }
            Verdict::Used(_) | Verdict::Lost(_) | Verdict::Nothing => {
                let fate = if matches!(verdict, Verdict::Used(_)) { Fate::Used } else { Fate::Lost };
                self.settle(count, fate);
                in_hand.into_iter().for_each(|slot| self.free(slot));
            }
        }
        verdict
    }

    /// In front of all that waits, for another try.
    fn put_back(&mut self, slot: usize, given: u64) {
        self.mark(slot, State::Ready);
        let deaths = self.slot(slot, SlotField::Deaths);
        self.set_slot(slot, SlotField::Deaths, deaths.saturating_add(1));
        self.set_slot(slot, SlotField::Given, given);
        self.push_front(slot);
    }

    fn push_front(&mut self, slot: usize) {
        self.session.add(Field::Bytes, self.slot(slot, SlotField::Length));
        let front = self.places().start.checked_sub(1).unwrap_or_else(|| damaged(Damage::Queue));
        self.session.set(Field::Front, front);
        self.set_queue(front, slot);
    }

    /// Looks at the free slots from that height on, at so many that nobody waits for it.
    pub(super) fn next_to_trim(&mut self, idle_since: u64, from: u64) -> Trim {
        let free = self.free_slots();
        let end = free.min(from.saturating_add(TRIM_AT_ONCE));
        let found = (from..end).map(|height| (height, self.free_at(height))).find(|(_, slot)| {
            let (touched, length) = (self.slot(*slot, SlotField::Touched), self.slot(*slot, SlotField::Length));
            let is_idle = self.slot(*slot, SlotField::Word) >> 24 <= idle_since;
            touched > 0 && (is_idle || touched > length.saturating_mul(4).saturating_add(SMALL))
        });
        let Some((height, slot)) = found else {
            return if end < free { Trim::GoOn(end) } else { Trim::Done };
        };
        self.expect_sealed(slot);
        let touched = self.as_length(self.slot(slot, SlotField::Touched));
        self.session.set_at(self.layout.free(height), self.session.get_at(self.layout.free(free - 1)));
        self.session.set(Field::Free, free - 1);
        Trim::Slot(Slot { index: slot, length: touched }, height)
    }
}

fn add_up(buffer: &BufferCounts, stage: &StageCounts, drops: u64) -> bool {
    let sum = |counts: &[u64]| counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
    let dropped = [buffer.dropped_oldest, buffer.dropped_newest, buffer.superseded, buffer.expired];
    sum(&dropped) == Some(drops)
        && sum(&[drops, buffer.taken, buffer.discarded, buffer.waiting]) == Some(buffer.entered)
        && sum(&[stage.used, stage.absorbed, stage.skipped, stage.failed, stage.lost, stage.in_hand])
            == Some(buffer.taken)
}

/// More than anybody counts one by one.
const MOST_COUNTED: u64 = 1 << 48;
/// Free slots that are looked at in one step.
const TRIM_AT_ONCE: u64 = 256;

/// Bytes that are not worth being given back.
const SMALL: u64 = 1 << 20;
