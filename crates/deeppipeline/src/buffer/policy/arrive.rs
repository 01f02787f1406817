//! The arrival of a sample, and how it lines up.

use super::lists::Queue;
use super::state::SlotState;
use super::{Change, How, LaneKey, Storage, Wake, lower};
use crate::buffer::parts::Parts;
use crate::buffer::{Arrival, Gate};
use crate::policies::Overflow;
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;

/// The label of a sample that arrives: what is to be known about it.
#[derive(Debug, Clone, Copy)]
pub(in crate::buffer) struct Label {
    pub(in crate::buffer) id: SampleId,
    pub(in crate::buffer) birth: u64,
    pub(in crate::buffer) fork: ForkTicket,
    pub(in crate::buffer) source: SourceId,
    /// The lane that it comes in by, where there are several entrances.
    pub(in crate::buffer) lane: LaneKey,
    /// The take of which it is the result, where several workers' results have to be put in order.
    pub(in crate::buffer) turn: Option<u64>,
    pub(in crate::buffer) arrival: Arrival,
    /// The time when it came.
    pub(in crate::buffer) came: u64,
    /// The time when its producer began to wait, where it had to, and when it looked last.
    pub(in crate::buffer) waited: Option<(u64, u64)>,
    /// Its bytes, where the buffer limits them.
    pub(in crate::buffer) length: u64,
}

/// The way a sample comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The place behind all that wait.
    InTurn,
    /// The place beside them, as its turn has not come.
    OutOfOrder,
}

/// The reason why a sample does not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::buffer) enum Refusal {
    /// It was counted as dropped on arrival.
    Dropped,
    /// It was counted as discarded.
    Discarded,
    /// It was counted as flushed.
    Flushed,
    /// There is no room for it now.
    Full,
    /// The entrance is closed.
    Shut,
    /// The others of several workers have gone on without it.
    Late,
}

impl<S: Storage> Change<'_, S> {
    /// Lets a sample in, and returns the slot in which its value is to be put.
    #[inline(always)]
    pub(in crate::buffer) fn arrive(&mut self, label: &Label) -> Result<usize, Refusal> {
        let way = self.admit(label)?;
        let slot = self.take_free();
        self.come_in(slot, way, label);
        Ok(slot)
    }

    /// Puts a sample in a slot behind those that wait, or where it waits for its turn.
    #[inline(always)]
    pub(super) fn come_in(&mut self, slot: usize, way: Way, label: &Label) {
        if let Some((since, until)) = label.waited {
            self.note_waited(since, until);
        }
        match way {
            Way::InTurn => {
                let id = self.count_arrival(label);
                self.fill(slot, &Label { id, ..*label });
                self.line_up(slot, label.came);
            }
            Way::OutOfOrder => {
                self.fill(slot, label);
                self.wait_for_turn(slot, label);
            }
        }
    }

    /// Counts a time for which a producer had to wait.
    #[cold]
    pub(in crate::buffer) fn note_waited(&mut self, since: u64, until: u64) {
        self.totals().waited.add(until.saturating_sub(since), until);
    }

    /// Decides what becomes of a sample that arrives.
    #[inline(always)]
    pub(super) fn admit(&mut self, label: &Label) -> Result<Way, Refusal> {
        let gate = self.gate();
        if label.turn.is_some_and(|ticket| !self.is_turn_of(ticket)) && gate != Gate::Discarding {
            return self.admit_out_of_order(label);
        }
        if gate != Gate::Open && label.arrival == Arrival::Outside {
            return Err(Refusal::Shut);
        }
        if self.has_lanes() && label.arrival == Arrival::Outside && self.is_lane_shut(label.lane) {
            return Err(Refusal::Shut);
        }
        if gate == Gate::Discarding {
            self.discard_outside(label);
            return Err(Refusal::Discarded);
        }
        if self.is_cut_off(label) {
            self.flush_outside(label);
            return Err(Refusal::Flushed);
        }

        let room = self.has_room_for(label.length, label.lane);
        let overflow = if self.has_lanes() { self.overflow_of(label.lane) } else { self.limits.overflow };
        if !room && overflow == Overflow::DropNewest {
            let id = self.count_arrival(label);
            self.totals().buffer.dropped_newest += 1;
            if let Some(place) = self.lane_of(label.lane) {
                self.storage.lane(place).totals.dropped_newest += 1;
            }
            self.storage.remember_drop(id);
            self.note_end_outside(label, id, How::DroppedNewest);
            return Err(Refusal::Dropped);
        }
        // A gate that is closed lets its one stage in, even beyond the capacity.
        let waits = !room && gate == Gate::Open && overflow == Overflow::Block;
        if waits || !self.has_free_slot() { Err(Refusal::Full) } else { Ok(Way::InTurn) }
    }

    /// Returns true if a sample of that many bytes has room beside what is inside, or will be.
    #[inline(always)]
    pub(super) fn has_room_for(&mut self, length: u64, lane: LaneKey) -> bool {
        let (inside, bytes) = match self.has_lanes() {
            true => self.inside_lane(lane),
            false => {
                let head = self.head();
                (head.waiting.len.saturating_add(head.writing), head.bytes)
            }
        };
        if inside >= self.limits.capacity as u64 {
            return false;
        }
        let room = !self.is_too_much(inside, bytes, length);
        if !room {
            self.note_full_by_bytes();
        }
        room
    }

    /// Returns true if a sample of that many bytes does not fit beside what is inside. One alone always does.
    #[inline(always)]
    fn is_too_much(&self, inside: u64, bytes: u64, length: u64) -> bool {
        inside > 0 && bytes.saturating_add(length) > self.limits.bytes
    }

    /// Notes that a buffer has no room for the bytes of another sample: for the list intakes it is as full as one with
    /// too many.
    pub(super) fn note_full_by_bytes(&mut self) {
        if self.limits.intake.takes_lists() && self.head().full_by_bytes == 0 {
            self.head().full_by_bytes = 1;
            self.wake_consumers(Wake::All);
        }
    }

    /// Counts an arrival, which gets its number here unless a stage brings it.
    #[inline(always)]
    pub(super) fn count_arrival(&mut self, label: &Label) -> SampleId {
        self.head().entered += 1;
        if self.has_lanes()
            && let Some(place) = self.lane_of(label.lane)
        {
            self.storage.lane(place).entered += 1;
        }
        match label.arrival {
            Arrival::Stage | Arrival::PartOfWhole | Arrival::PartOfPart => self.enter_part(label.id, label.arrival),
            Arrival::Source | Arrival::Outside => SampleId { number: self.head().entered, part: 0 },
        }
    }

    /// Returns the identity of what a stage gives. A whole sample, the usual case, costs nothing here.
    #[inline(always)]
    pub(super) fn enter_part(&mut self, id: SampleId, arrival: Arrival) -> SampleId {
        if id.part == 0 && arrival == Arrival::Stage {
            return id;
        }
        let mut parts = Parts::from_words(self.totals().parts);
        let id = parts.enter(id, arrival);
        self.totals().parts = parts.to_words();
        id
    }

    /// Counts a sample as discarded that does not come in.
    pub(super) fn discard_outside(&mut self, label: &Label) {
        self.count_discarded(1, label.lane);
        self.note_end_outside(label, label.id, How::Discarded);
    }

    /// Counts samples that enter only to be given up.
    pub(super) fn count_discarded(&mut self, samples: u64, lane: LaneKey) {
        self.head().entered += samples;
        self.totals().buffer.discarded += samples;
        if let Some(place) = self.lane_of(lane) {
            let lane = self.storage.lane(place);
            lane.entered += samples;
            lane.totals.discarded += samples;
        }
    }

    #[inline(always)]
    pub(super) fn fill(&mut self, slot: usize, label: &Label) {
        let Label { id, birth, fork, source, lane, came, .. } = *label;
        let filled = self.storage.slot(slot);
        (filled.number, filled.part, filled.birth, filled.fork) = (id.number, id.part, birth, fork.0);
        (filled.deaths, filled.given, filled.failures, filled.source) = (0, 0, 0, source.to_word());
        (filled.lane, filled.came) = (lane.0, came);
    }

    /// Lines up a sample behind the others, as it came at that time; the oldest go where the policy says so.
    #[inline(always)]
    pub(super) fn line_up(&mut self, slot: usize, came: u64) {
        let length = self.storage.slot(slot).length;
        if self.limits.overflow == Overflow::DropOldest && !self.has_lanes() {
            self.make_room_for(length);
        }
        let head = self.head();
        head.bytes = head.bytes.saturating_add(length);
        let entered = head.entered;
        let filled = self.storage.slot(slot);
        (filled.state, filled.came, filled.used_at) = (SlotState::Waiting as u64, came, entered);
        if self.has_lanes() {
            return self.line_up_in_lane(slot, came);
        }
        self.push_back(Queue::Waiting, slot);
        // The first of a batch makes the consumer wait no longer than until it is due.
        if self.can_take(came) || (self.limits.intake.waits_for_more() && self.waiting() == 1) {
            self.wake_consumers(Wake::One);
        }
    }

    /// Drops the oldest until that many bytes have room.
    #[inline(always)]
    fn make_room_for(&mut self, length: u64) {
        let mut oldest = self.first(Queue::Waiting);
        while let Some(slot) = oldest {
            let waiting = self.waiting();
            let room_for_one = waiting < self.limits.capacity as u64;
            let bytes = self.head().bytes;
            if room_for_one && !self.is_too_much(waiting, bytes, length) {
                break;
            }
            oldest = self.after(slot);
            // What one of several workers is to try again must stay, since others wait for it.
            if self.limits.consumers.reorders() && self.storage.slot(slot).is_tried_again() {
                continue;
            }
            if room_for_one {
                self.note_full_by_bytes();
            }
            self.drop_waiting(slot, How::DroppedOldest);
        }
    }

    /// Drops a sample that waits.
    #[inline(always)]
    pub(super) fn drop_waiting(&mut self, slot: usize, how: How) {
        self.leave_waiting(slot);
        self.drop_slot(slot, how);
    }

    /// Counts what is in a slot as dropped: it is never taken.
    #[inline(always)]
    pub(super) fn drop_slot(&mut self, slot: usize, how: How) {
        *how.counter(&mut self.totals().buffer) += 1;
        self.note_end(slot, how);
        let id = self.storage.slot(slot).id();
        self.storage.remember_drop(id);
        self.storage.give_up(slot);
        self.free(slot);
    }

    /// Takes a sample out of those that wait.
    #[inline(always)]
    pub(super) fn leave_waiting(&mut self, slot: usize) {
        self.remove(Queue::Waiting, slot);
        let length = self.storage.slot(slot).length;
        lower(&mut self.head().bytes, length);
    }

    #[inline(always)]
    pub(super) fn pop_waiting(&mut self) -> Option<usize> {
        let slot = self.first(Queue::Waiting)?;
        self.leave_waiting(slot);
        Some(slot)
    }
}
