//! What a shared buffer is to do, written down a second time without slots, places and locks.

use super::super::owner::Owner;
use super::super::table::{Label, Receipt, SlotTable, Verdict};
use super::super::words::SharedWords;
use super::memory::Looked;
use crate::buffer::policy::{Slot, SlotState, WHOLE};
use crate::buffer::{Arrival, Gate, Limits};
use crate::ledger::{BufferCounts, Fate, StageCounts};
use crate::policies::{Intake, OnCrash, Overflow};
use crate::sample::SampleId;
use std::collections::VecDeque;

/// How many dropped samples are remembered.
const DROPS: usize = 16;
/// Slots that views may hold beyond what one take takes.
const SPARE: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) id: SampleId,
    pub(super) length: u64,
    /// How many had come inside with it.
    pub(super) entered: u64,
    deaths: u64,
    given: u64,
}

impl Waiting {
    fn of(slot: Slot) -> Self {
        Waiting { id: slot.id(), length: slot.length, entered: slot.used_at, deaths: slot.deaths, given: slot.given }
    }

    pub(super) fn is_retried(&self) -> bool {
        self.deaths > 0
    }
}

/// What a buffer answers to whoever brings a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Slot,
    Full,
    Shut,
    Gone { accepted: bool },
    Inside,
    Discarded,
}

/// What a buffer answers to whoever takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taking {
    Ready { ids: Vec<SampleId>, given: Vec<u64>, copy: bool },
    Empty,
    Drained,
    Discarded,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) limits: Limits,
    pub(super) gate: Gate,
    pub(super) waiting: VecDeque<Waiting>,
    /// Who writes how many bytes, in the order of these numbers.
    pub(super) writing: Vec<(u16, u64)>,
    pub(super) in_flight: Vec<Waiting>,
    /// Of the last take.
    pub(super) ticket: u64,
    pub(super) held: usize,
    pub(super) full_by_bytes: bool,
    receipt: Option<Receipt>,
    /// The last sample before a flush, and how many from before it are in flight.
    cut: u64,
    old: u64,
    pub(super) buffer: BufferCounts,
    pub(super) stage: StageCounts,
}

impl Model {
    pub(super) fn new(limits: Limits) -> Self {
        Model {
            limits,
            gate: Gate::Open,
            waiting: VecDeque::new(),
            writing: Vec::new(),
            in_flight: Vec::new(),
            ticket: 0,
            held: 0,
            full_by_bytes: false,
            receipt: None,
            cut: 0,
            old: 0,
            buffer: BufferCounts::default(),
            stage: StageCounts::default(),
        }
    }

    fn bytes(&self) -> u64 {
        self.waiting.iter().map(|sample| sample.length).chain(self.writing.iter().map(|(_, length)| *length)).sum()
    }

    fn fits(&self, inside: usize, length: u64) -> bool {
        inside == 0 || self.bytes() + length <= self.limits.bytes
    }

    /// When no more are inside, whoever waits for room has been woken.
    pub(super) fn refill_at(&self) -> usize {
        if self.limits.capacity < 8 {
            self.limits.capacity - 1
        } else {
            self.limits.capacity - self.limits.capacity / 2
        }
    }

    pub(super) fn free(&self) -> usize {
        self.limits.slots() - self.waiting.len() - self.writing.len() - self.in_flight.len() - self.held
    }

    fn at_once(&self) -> usize {
        self.limits.intake.most(self.limits.capacity)
    }

    /// `number`: that of what a stage brings; `trimming`: slots that are out of use for a moment.
    pub(super) fn reserve(
        &mut self,
        length: u64,
        number: u64,
        arrival: Arrival,
        owner: Owner,
        trimming: usize,
    ) -> Answer {
        if arrival == Arrival::Outside && self.gate != Gate::Open {
            return Answer::Shut;
        }
        if self.gate == Gate::Discarding {
            self.buffer.entered += 1;
            self.buffer.discarded += 1;
            return Answer::Gone { accepted: true };
        }
        if self.is_old(number, arrival) {
            self.buffer.entered += 1;
            self.buffer.flushed += 1;
            return Answer::Gone { accepted: true };
        }
        let inside = self.waiting.len() + self.writing.len();
        let room = inside < self.limits.capacity && self.fits(inside, length);
        self.full_by_bytes |=
            self.limits.intake.takes_lists() && inside < self.limits.capacity && !self.fits(inside, length);
        match self.limits.overflow {
            Overflow::DropNewest if !room => Answer::Gone { accepted: false },
            Overflow::Block if !room && self.gate == Gate::Open => Answer::Full,
            _ if self.free() == trimming => Answer::Full,
            _ => {
                self.writing.push((owner.0, length));
                self.writing.sort_unstable();
                Answer::Slot
            }
        }
    }

    pub(super) fn keep_receipt(&mut self, receipt: Option<Receipt>) {
        self.receipt = receipt.or(self.receipt);
    }

    /// A sample that `reserve` has dropped on arrival.
    pub(super) fn drop_on_arrival(&mut self, id: SampleId, arrival: Arrival) {
        let id = self.arrive(id, arrival);
        self.buffer.dropped_newest += 1;
        self.remember(id);
    }

    fn arrive(&mut self, id: SampleId, arrival: Arrival) -> SampleId {
        self.buffer.entered += 1;
        match arrival {
            Arrival::Stage | Arrival::PartOfWhole | Arrival::PartOfPart => id,
            Arrival::Source | Arrival::Outside => SampleId { number: self.buffer.entered, part: 0 },
        }
    }

    fn remember(&mut self, id: SampleId) {
        self.buffer.last_dropped.push_back(id);
        while self.buffer.last_dropped.len() > DROPS {
            self.buffer.last_dropped.pop_front();
        }
    }

    pub(super) fn cancel(&mut self, length: u64, owner: Owner) {
        let place = self.writing.iter().position(|writing| *writing == (owner.0, length));
        self.writing.remove(place.expect("it is being written"));
    }

    pub(super) fn publish(&mut self, length: u64, label: Label, arrival: Arrival, owner: Owner) -> Answer {
        self.cancel(length, owner);
        if arrival == Arrival::Outside && self.gate != Gate::Open {
            return Answer::Shut;
        }
        self.keep_receipt(label.receipt);
        let id = self.arrive(label.id, arrival);
        if self.gate == Gate::Discarding {
            self.buffer.discarded += 1;
            return Answer::Discarded;
        }
        if self.is_old(id.number, arrival) {
            self.buffer.flushed += 1;
            return Answer::Discarded;
        }
        while self.limits.overflow == Overflow::DropOldest
            && (self.waiting.len() >= self.limits.capacity || !self.fits(self.waiting.len(), length))
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.full_by_bytes |= self.limits.intake.takes_lists() && self.waiting.len() + 1 < self.limits.capacity;
            self.buffer.dropped_oldest += 1;
            self.remember(oldest.id);
        }
        let entered = self.buffer.entered;
        self.waiting.push_back(Waiting { id, length, entered, deaths: 0, given: 0 });
        Answer::Inside
    }

    /// How many samples in front belong to a list that is to be tried again.
    fn to_retry(&self) -> usize {
        let list = self.limits.intake.takes_lists();
        self.waiting.iter().take_while(|sample| list && sample.deaths > 0).count()
    }

    pub(super) fn can_take(&self) -> bool {
        let waits_for_more = self.limits.intake == Intake::All && self.gate == Gate::Open && !self.full_by_bytes;
        match waits_for_more {
            true => self.waiting.len() >= self.limits.capacity || self.to_retry() > 0,
            false => !self.waiting.is_empty(),
        }
    }

    pub(super) fn take(&mut self) -> Taking {
        if !self.can_take() {
            return match self.gate {
                Gate::Open => Taking::Empty,
                Gate::Closed => Taking::Drained,
                Gate::Discarding => Taking::Discarded,
            };
        }
        let count = match self.limits.intake {
            Intake::Single | Intake::Window { .. } => 1,
            Intake::Latest => {
                while self.waiting.len() > 1
                    && let Some(older) = self.waiting.pop_front()
                {
                    self.buffer.superseded += 1;
                    self.remember(older.id);
                }
                1
            }
            Intake::All | Intake::Batch { .. } if self.to_retry() > 0 => self.to_retry(),
            Intake::All | Intake::Batch { .. } => self.waiting.len().min(self.at_once()),
        };
        assert!(self.in_flight.is_empty(), "there is one worker");
        self.in_flight = self.waiting.drain(..count).collect();
        self.full_by_bytes = false;
        self.ticket += 1;
        self.buffer.taken += count as u64;
        self.stage.in_flight += count as u64;
        Taking::Ready {
            ids: self.in_flight.iter().map(|sample| sample.id).collect(),
            given: self.in_flight.iter().map(|sample| sample.given).collect(),
            copy: self.held + count > self.at_once() + SPARE,
        }
    }

    /// What `put` and the source bring comes after every flush.
    fn is_old(&self, number: u64, arrival: Arrival) -> bool {
        arrival == Arrival::Stage && number <= self.cut
    }

    pub(super) fn cut(&mut self, number: u64) {
        self.cut = self.cut.max(number);
        let before = self.waiting.len();
        self.waiting.retain(|sample| sample.id.number > number);
        self.buffer.flushed += (before - self.waiting.len()) as u64;
        self.old = self.in_flight.len() as u64;
        self.full_by_bytes = false;
    }

    pub(super) fn settle(&mut self, viewed: usize, fate: Fate) {
        self.old -= self.old_in_flight();
        let settled = std::mem::take(&mut self.in_flight);
        self.held += viewed;
        self.count(&settled, fate);
    }

    /// Settles the oldest in flight; the others go on.
    pub(super) fn settle_first(&mut self, viewed: bool, fate: Fate) {
        let first = self.in_flight.remove(0);
        self.old -= u64::from(first.id.number <= self.cut);
        self.held += usize::from(viewed);
        self.count(&[first], fate);
    }

    fn count(&mut self, settled: &[Waiting], fate: Fate) {
        let count = settled.len() as u64;
        self.stage.in_flight -= count;
        match fate {
            Fate::Used if self.limits.intake.keeps_identity() => self.stage.used += count,
            Fate::Used => {
                self.stage.used += 1;
                self.stage.absorbed += count - 1;
            }
            Fate::Skipped => self.stage.skipped += count,
            Fate::Failed => {
                self.stage.failed += count;
                let last = &mut self.stage.last_failed;
                last.extend(settled.iter().map(|sample| sample.id));
                last.drain(..last.len().saturating_sub(DROPS));
            }
            Fate::Lost => self.stage.lost += count,
            Fate::Flushed => self.stage.flushed += count,
            Fate::Discarded => {
                self.buffer.taken -= count;
                self.buffer.discarded += count;
            }
        }
    }

    fn old_in_flight(&self) -> u64 {
        self.in_flight.iter().filter(|sample| sample.id.number <= self.cut).count() as u64
    }

    pub(super) fn release(&mut self) {
        self.held -= 1;
    }

    pub(super) fn lower_gate(&mut self, gate: Gate) {
        self.gate = self.gate.max(gate);
        if self.gate == Gate::Discarding {
            self.buffer.discarded += self.waiting.len() as u64;
            self.waiting.clear();
        }
    }

    pub(super) fn producer_died(&mut self, dead: Owner) -> Option<Receipt> {
        self.writing.retain(|(owner, _)| *owner != dead.0);
        self.receipt
    }

    pub(super) fn consumer_died(&mut self, on_crash: OnCrash, received: Option<Receipt>) -> Verdict {
        self.held = 0;
        let received = received.filter(|receipt| receipt.ticket == self.ticket);
        let again = on_crash == OnCrash::Retry
            && self.gate != Gate::Discarding
            && self.in_flight.iter().all(|sample| sample.deaths == 0);
        let is_old = self.old_in_flight() > 0;
        self.old -= self.old_in_flight();
        let in_flight = std::mem::take(&mut self.in_flight);
        if !self.limits.intake.keeps_identity() {
            return self.judge(in_flight, on_crash, received, (again, is_old));
        }

        // Each is judged alone, the newest first, as what is tried again goes to the front.
        let of_each = in_flight.into_iter().rev().map(|sample| {
            let received = received.filter(|receipt| receipt.sample == sample.entered);
            self.judge(vec![sample], on_crash, received, (again, is_old))
        });
        let of_each: Vec<_> = of_each.collect();
        of_each.first().copied().unwrap_or(Verdict::Nothing)
    }

    /// Gives samples that were in flight one fate.
    fn judge(
        &mut self,
        mut in_flight: Vec<Waiting>,
        on_crash: OnCrash,
        received: Option<Receipt>,
        (again, is_old): (bool, bool),
    ) -> Verdict {
        let Some(newest) = in_flight.last() else { return Verdict::Nothing };
        let (id, count) = (newest.id, in_flight.len() as u64);
        let parts = received.and_then(|receipt| receipt.parts);
        let used = received.is_some() && (parts.is_none() || on_crash == OnCrash::Skip);
        let (fate, verdict) = match (used, again) {
            (true, _) => (Fate::Used, Verdict::Used(id)),
            (false, true) if is_old => (Fate::Flushed, Verdict::Flushed(id)),
            (false, _) => (Fate::Lost, Verdict::Lost(id)),
        };
        if used || !again || fate == Fate::Flushed {
            self.count(&in_flight, fate);
            return verdict;
        }
        self.buffer.taken -= count;
        self.stage.in_flight -= count;
        while let Some(sample) = in_flight.pop() {
            self.waiting.push_front(Waiting { deaths: 1, given: parts.unwrap_or(0), ..sample });
        }
        Verdict::Retried(id)
    }

    /// What a buffer is like. It has to hang together.
    pub(super) fn read<W: SharedWords>(table: &SlotTable<W>, trimming: usize) -> Model {
        let (buffer, stage) = table.counts();
        let limits = table.limits();
        let looked = &Looked::at(table.words(), limits.layout());
        for owner in [Owner::PIPELINE, Owner(1), Owner(2)] {
            let left = table.words().get(limits.layout().progress(owner)) as u32;
            assert_eq!(left, 0, "nothing is left to be made for {owner:?}");
        }
        looked.assert_no_slot_leaks(trimming);
        assert!(buffer.balances(), "{buffer:?}");
        assert_eq!(buffer.taken, stage.settled() + stage.in_flight, "{stage:?}");

        let Looked { head, places, slots, .. } = looked;
        let writing = looked.in_state(SlotState::Writing);
        let mut writing: Vec<_> = writing.map(|slot| (slots[slot].owner as u16, slots[slot].length)).collect();
        writing.sort_unstable();
        let mut in_flight: Vec<_> = looked.in_state(SlotState::InFlight).collect();
        in_flight.sort_by_key(|slot| slots[*slot].used_at);
        let ticket = head.next_ticket - 1;
        assert!(in_flight.iter().all(|slot| slots[*slot].ticket == ticket), "one take is in flight");
        let receipts = places.iter().map(|place| (place.receipt_ticket, place.receipt_sample, place.receipt_parts));
        let receipt = receipts.max().filter(|(ticket, ..)| *ticket > 0);
        let queue = looked.list(head.waiting);
        let put_back = queue.iter().take_while(|slot| slots[**slot].deaths > 0).count();
        assert!(queue[put_back..].is_sorted_by_key(|slot| slots[*slot].used_at), "{queue:?} is not as it came");
        let model = Model {
            limits,
            gate: [Gate::Open, Gate::Closed, Gate::Discarding][head.gate as usize],
            waiting: queue.iter().map(|slot| Waiting::of(slots[*slot])).collect(),
            writing,
            in_flight: in_flight.iter().map(|slot| Waiting::of(slots[*slot])).collect(),
            ticket,
            held: looked.in_state(SlotState::Viewed).count(),
            full_by_bytes: head.full_by_bytes != 0,
            receipt: receipt.map(|(ticket, sample, parts)| Receipt {
                ticket,
                sample,
                parts: Some(parts).filter(|n| *n != WHOLE),
            }),
            cut: head.cut,
            old: head.old,
            buffer,
            stage,
        };
        assert_eq!(head.bytes, model.bytes());
        assert_eq!(head.in_flight, model.in_flight.len() as u64);
        assert_eq!(head.writing, model.writing.len() as u64);
        assert_eq!(head.viewed, model.held as u64);
        model
    }
}
