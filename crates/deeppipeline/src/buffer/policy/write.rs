//! Samples that are written into their slot by and by, while others go on: a slot is reserved, written and published.

use super::arrive::Way;
use super::state::SlotState;
use super::{Change, Damage, Label, Receipt, Refusal, Storage, Wake, damaged, lower};
use crate::buffer::{Arrival, Gate};

/// The outcome of publishing a written sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::buffer) enum Published {
    /// With this number, where it came from outside.
    Inside(u64),
    Discarded,
    Shut,
}

/// The outcome of looking for a slot that keeps memory which it does not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::buffer) enum Trim {
    /// This one, which is out of use now, does: that many bytes.
    Slot {
        slot: usize,
        touched: u64,
    },
    /// There is none so far; the next to be looked at is that one.
    GoOn {
        next: usize,
    },
    Done,
}

/// Slots that are looked at in one change.
const TRIM_AT_ONCE: u64 = 256;
/// Bytes that are not worth being given back.
const SMALL: u64 = 1 << 20;

impl<S: Storage> Change<'_, S> {
    /// Reserves a slot for a sample of that many bytes. Where there is no room, what that means for the sample is
    /// decided here, before it is written; its receipt is kept if that is its end.
    pub(in crate::buffer) fn reserve(
        &mut self,
        place: usize,
        label: &Label,
        receipt: Option<Receipt>,
    ) -> Result<usize, Refusal> {
        let way = self.admit(label).inspect_err(|refusal| {
            if matches!(refusal, Refusal::Dropped | Refusal::Discarded | Refusal::Flushed) {
                self.keep_receipt(place, receipt);
            }
        });
        let way = way?;

        // It has its place from now on, so that no other is let in instead; its bytes count, too.
        let slot = self.take_free();
        let head = self.head();
        let entered = head.entered;
        let state = match way {
            Way::InTurn => {
                head.writing += 1;
                head.bytes = head.bytes.saturating_add(label.length);
                if let Some(place) = self.lane_of(label.lane) {
                    let lane = self.storage.lane(place);
                    lane.writing += 1;
                    lane.bytes = lane.bytes.saturating_add(label.length);
                }
                SlotState::Writing
            }
            Way::OutOfOrder => {
                self.totals().writing_out_of_order += 1;
                SlotState::WritingOutOfOrder
            }
        };

        let written = self.storage.slot(slot);
        (written.state, written.owner) = (state as u64, place as u64);
        (written.length, written.used_at, written.lane) = (label.length, entered, label.lane.0);
        written.touched = written.touched.max(label.length);
        Ok(slot)
    }

    /// Gives back a slot that was not written.
    pub(in crate::buffer) fn cancel(&mut self, place: usize, slot: usize) {
        self.stop_writing(place, slot);
        self.free(slot);
        self.wake_producers(Wake::All);
    }

    /// Hands in a written sample.
    pub(in crate::buffer) fn publish(
        &mut self,
        place: usize,
        slot: usize,
        label: &Label,
        receipt: Option<Receipt>,
    ) -> Published {
        let way = self.stop_writing(place, slot);
        let gate = self.gate();
        let is_shut = gate != Gate::Open || (self.has_lanes() && self.is_lane_shut(label.lane));
        if label.arrival == Arrival::Outside && is_shut {
            self.free(slot);
            return Published::Shut;
        }
        self.keep_receipt(place, receipt);
        // A failure, or a stop, may have come while it was written.
        let is_given_up = gate == Gate::Discarding || label.turn.is_some_and(|ticket| !self.is_still_to_come(ticket));
        if is_given_up {
            self.discard_outside(label);
            self.free(slot);
            return Published::Discarded;
        }
        if self.is_cut_off(label) {
            self.flush_outside(label);
            self.free(slot);
            self.wake_producers(Wake::All);
            return Published::Discarded;
        }
        self.come_in(slot, way, label);
        if way == Way::OutOfOrder {
            self.go_on(label.came);
        }
        Published::Inside(self.storage.slot(slot).number)
    }

    /// Stops the writing of a slot, and returns how the sample was to come in.
    pub(super) fn stop_writing(&mut self, place: usize, slot: usize) -> Way {
        self.expect(slot, place, &[SlotState::Writing, SlotState::WritingOutOfOrder]);
        let written = *self.storage.slot(slot);
        if written.is_in(SlotState::Writing) {
            let head = self.head();
            lower(&mut head.writing, 1);
            lower(&mut head.bytes, written.length);
            if let Some(lane) = self.lane_of_slot(slot) {
                lower(&mut lane.writing, 1);
                lower(&mut lane.bytes, written.length);
            }
            Way::InTurn
        } else {
            lower(&mut self.totals().writing_out_of_order, 1);
            Way::OutOfOrder
        }
    }

    /// Looks at free slots from that one on, at so few that no other waits long for it, for one that keeps memory which
    /// it does not need: it was last used when that many samples had entered, or its last sample was much smaller than
    /// one before.
    pub(in crate::buffer) fn next_to_trim(&mut self, idle_since: u64, from: usize) -> Trim {
        let used = self.head().fresh;
        let end = used.min((from as u64).saturating_add(TRIM_AT_ONCE));
        for slot in from..end as usize {
            let free = *self.storage.slot(slot);
            let is_too_large = free.touched > free.length.saturating_mul(4).saturating_add(SMALL);
            if free.is_in(SlotState::Free) && free.touched > 0 && (free.used_at <= idle_since || is_too_large) {
                self.storage.slot(slot).state = SlotState::Trimmed as u64;
                lower(&mut self.head().free_slots, 1);
                return Trim::Slot { slot, touched: free.touched };
            }
        }
        if end < used { Trim::GoOn { next: end as usize } } else { Trim::Done }
    }

    /// Notes that the memory of a slot has gone back to the system.
    pub(in crate::buffer) fn trimmed(&mut self, slot: usize) {
        let trimmed = self.storage.slot(slot);
        trimmed.touched = 0;
        if trimmed.is_in(SlotState::TrimmedApart) {
            return self.free(slot);
        }
        if !trimmed.is_in(SlotState::Trimmed) {
            damaged(Damage::State);
        }
        trimmed.state = SlotState::Free as u64;
        self.head().free_slots += 1;
        self.wake_producers(Wake::All);
    }
}
