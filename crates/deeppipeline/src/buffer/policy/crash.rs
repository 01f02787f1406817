//! The recovery of what a dead process had: written, in flight, looked at, or kept for a window.

use super::lists::Queue;
use super::state::{SlotState, WHOLE};
use super::{Change, How, Slot, Storage, lower};
use crate::buffer::Gate;
use crate::ledger::Fate;
use crate::policies::OnCrash;
use crate::sample::SampleId;
use std::ops::Range;

/// The take to which a result belongs, as the buffer after the stage keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) ticket: u64,
    /// The sample of that take, where each has a result of its own: how many had entered with it.
    pub(crate) sample: u64,
    /// Parts received so far; `None` for the one result.
    pub(crate) parts: Option<u64>,
}

/// The fate of the sample that a dead worker had in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It had nothing in flight.
    Nothing,
    /// Its result had gone on.
    Used(SampleId),
    Lost(SampleId),
    /// It had entered the pipeline before a flush.
    Flushed(SampleId),
    /// It waits again, in front.
    Retried(SampleId),
}

/// The fate of what a dead worker had in flight where no result had gone on.
#[derive(Debug, Clone, Copy)]
enum WithoutResult {
    Lost,
    Retried,
}

impl<S: Storage> Change<'_, S> {
    /// Remembers of which take an arrival is the result, until its worker has settled it.
    pub(super) fn keep_receipt(&mut self, place: usize, receipt: Option<Receipt>) {
        if let Some(Receipt { ticket, sample, parts }) = receipt {
            let place = self.storage.place(place);
            (place.receipt_ticket, place.receipt_sample) = (ticket, sample);
            place.receipt_parts = parts.unwrap_or(WHOLE);
        }
    }

    /// The slots that a dead process had among these, as no other process changes them.
    pub(in crate::buffer) fn slots_of(&mut self, place: usize, among: Range<usize>) -> Vec<usize> {
        use SlotState::{InFlight, Viewed, Writing, WritingOutOfOrder};
        let is_had = |slot: &Slot| {
            let is_had = [InFlight, Viewed, Writing, WritingOutOfOrder].iter().any(|state| slot.is_in(*state));
            is_had && slot.owner == place as u64
        };
        among.filter(|slot| is_had(self.storage.slot(*slot))).collect()
    }

    /// Those of these slots that hold a sample in flight: which it is, the slot, and its bytes.
    pub(in crate::buffer) fn in_flight_among(&mut self, slots: &[usize]) -> Vec<(SampleId, usize, usize)> {
        let in_flight = slots.iter().filter_map(|index| {
            let slot = self.storage.slot(*index);
            slot.is_in(SlotState::InFlight).then(|| (slot.id(), *index, slot.length as usize))
        });
        in_flight.collect()
    }

    /// Frees what a dead producer was writing; returns the last take of which a result of it arrived.
    pub(in crate::buffer) fn producer_died(&mut self, place: usize, slots: &[usize]) -> Option<Receipt> {
        for slot in slots {
            self.stop_writing(place, *slot);
            self.free(*slot);
        }
        let place = self.storage.place(place);
        let (ticket, sample, parts) = (place.receipt_ticket, place.receipt_sample, place.receipt_parts);
        (ticket > 0).then_some(Receipt { ticket, sample, parts: (parts != WHOLE).then_some(parts) })
    }

    /// Frees what a dead worker looked at, and judges what it had in flight. Returns the verdict, and which take it
    /// was, where others may wait for it.
    pub(in crate::buffer) fn consumer_died(
        &mut self,
        place: usize,
        slots: &[usize],
        on_crash: OnCrash,
        received: Option<Receipt>,
    ) -> (Verdict, Option<u64>) {
        let dead = self.storage.place(place);
        let windowed = std::mem::take(&mut dead.windowed);
        let ticket = std::mem::take(&mut dead.ticket);
        if windowed > 0 {
            self.count_settled(windowed, Fate::Lost);
        }
        let (viewed, mut in_flight): (Vec<_>, Vec<_>) =
            slots.iter().partition(|slot| self.storage.slot(**slot).is_in(SlotState::Viewed));
        viewed.into_iter().for_each(|slot| self.release(place, slot));
        in_flight.sort_by_key(|slot| self.storage.slot(*slot).used_at);
        (self.judge(place, &in_flight, on_crash, received), Some(ticket).filter(|ticket| *ticket > 0))
    }

    /// Gives what a dead worker had in flight, oldest first, its fate.
    fn judge(&mut self, place: usize, in_flight: &[usize], on_crash: OnCrash, received: Option<Receipt>) -> Verdict {
        let Some(newest) = in_flight.last().map(|slot| *self.storage.slot(*slot)) else { return Verdict::Nothing };
        self.lands_old(in_flight.iter().copied());
        let received = received.filter(|receipt| receipt.ticket == newest.ticket);
        // One that has killed two workers is not tried a third time.
        let may_retry = on_crash == OnCrash::Retry
            && self.gate() != Gate::Discarding
            && !in_flight.iter().any(|slot| self.storage.slot(*slot).is_tried_again());
        let without_result = match may_retry {
            true => WithoutResult::Retried,
            false => WithoutResult::Lost,
        };
        if !self.limits.intake.keeps_identity() {
            return self.judge_alike(place, in_flight, on_crash, received, without_result);
        }

        // Those before the one of the receipt have their fate already, and those behind it had no result yet.
        let received_of = |sample: u64| received.filter(|receipt| receipt.sample == sample);
        let is_of_first = received_of(self.storage.slot(in_flight[0]).used_at).is_some();
        let (first, others) = in_flight.split_at(usize::from(is_of_first));
        let of_others = self.judge_alike(place, others, on_crash, None, without_result);
        let of_first = self.judge_alike(place, first, on_crash, received, without_result);
        if others.is_empty() { of_first } else { of_others }
    }

    /// Gives samples, oldest first, one fate.
    fn judge_alike(
        &mut self,
        place: usize,
        in_flight: &[usize],
        on_crash: OnCrash,
        received: Option<Receipt>,
        without_result: WithoutResult,
    ) -> Verdict {
        let Some(newest) = in_flight.last() else { return Verdict::Nothing };
        let id = self.storage.slot(*newest).id();
        let (fate, verdict) = match (received, without_result) {
            (Some(Receipt { parts: None, .. }), _) => (Fate::Used, Verdict::Used(id)),
            (Some(_), _) if on_crash == OnCrash::Skip => (Fate::Used, Verdict::Used(id)),
            (_, WithoutResult::Lost) => (Fate::Lost, Verdict::Lost(id)),
            (_, WithoutResult::Retried) => {
                // A sample from before a flush is not tried again.
                let (old, new): (Vec<_>, Vec<_>) = in_flight.iter().partition(|slot| self.is_slot_old(**slot));
                let given = received.and_then(|receipt| receipt.parts).unwrap_or(0);
                new.iter().rev().for_each(|slot| self.put_back(place, *slot, given));
                self.end_alike(place, &old, Fate::Flushed, received);
                return if new.is_empty() { Verdict::Flushed(id) } else { Verdict::Retried(id) };
            }
        };
        self.end_alike(place, in_flight, fate, received);
        verdict
    }

    /// Gives samples that a dead worker had in flight, oldest first, one fate for good.
    fn end_alike(&mut self, place: usize, in_flight: &[usize], fate: Fate, received: Option<Receipt>) {
        let newest = in_flight.last().copied();
        for slot in in_flight {
            self.expect(*slot, place, &[SlotState::InFlight]);
            let how = match fate {
                Fate::Used if newest == Some(*slot) => How::Used,
                Fate::Used => How::Absorbed,
                Fate::Flushed => How::Flushed,
                _ => How::Lost,
            };
            self.keep_visit_of_dead(*slot, Some(how));
            if self.limits.ends > 0 {
                // Parts of it may be elsewhere; where none was received, there are none.
                self.note_end_of(*slot, how, received.is_some_and(|receipt| receipt.parts.is_some()));
            }
            self.free(*slot);
        }
        self.count_settled(in_flight.len() as u64, fate);
    }

    /// Puts what was in flight back in front of all that waits, for another try.
    fn put_back(&mut self, place: usize, slot: usize, given: u64) {
        self.expect(slot, place, &[SlotState::InFlight]);
        self.keep_visit_of_dead(slot, None);
        let now = self.storage.now();
        let tried = self.storage.slot(slot);
        tried.came = now;
        tried.state = SlotState::Waiting as u64;
        tried.deaths += 1;
        tried.given = given;
        let length = tried.length;
        let head = self.head();
        head.bytes = head.bytes.saturating_add(length);
        lower(&mut head.taken, 1);
        lower(&mut head.in_flight, 1);
        if let Some(lane) = self.lane_of_slot(slot) {
            lower(&mut lane.taken, 1);
            lane.returned += 1;
        }
        self.push_front(Queue::Waiting, slot);
    }
}
