//! The lanes of a buffer with several entrances: each has samples, limits and counters of its own, and a take serves
//! those that have something in turn, so that a fast one starves nobody.
//!
//! What a take gets is drawn from the lanes at that moment. What a dead worker had waits in front of all of them.

use super::lists::Queue;
use super::state::Lane;
use super::{Change, Damage, How, Storage, Wake, damaged, lower};
use crate::clock::in_nanoseconds;
use crate::ledger::BufferCounts;
use crate::policies::{Intake, Overflow};
use std::collections::VecDeque;
use std::time::Duration;

/// The options of a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneOptions {
    pub(crate) overflow: Overflow,
    /// A sample that is older when it leaves is dropped instead.
    pub(crate) max_age: Option<Duration>,
}

/// The key of a lane, as its samples carry it: its place, and which entrance in a row has that place. The default is that
/// of a sample in no lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LaneKey(pub(super) u64);

/// Bits of a key that are the place, counted from 1.
const PLACE_BITS: u32 = 16;

impl LaneKey {
    fn new(place: usize, opened: u64) -> Self {
        LaneKey((opened << PLACE_BITS) | (place as u64 + 1))
    }

    #[inline]
    pub(super) fn place(self) -> Option<usize> {
        (self.0 & ((1 << PLACE_BITS) - 1)).checked_sub(1).map(|place| place as usize)
    }
}

const OPEN: u64 = 1;
const CLOSED: u64 = 2;
/// The age that no sample reaches.
const NEVER: u64 = u64::MAX;

fn to_word(overflow: Overflow) -> u64 {
    match overflow {
        Overflow::DropOldest => 0,
        Overflow::DropNewest => 1,
        Overflow::Block => 2,
    }
}

impl<S: Storage> Change<'_, S> {
    /// Returns true if the buffer has several entrances.
    #[inline(always)]
    pub(super) fn has_lanes(&self) -> bool {
        self.limits.lanes > 0
    }

    /// Opens a lane; `None` where there are as many as there may be.
    pub(in crate::buffer) fn open_lane(&mut self, options: LaneOptions) -> Option<LaneKey> {
        let used = self.totals().lanes as usize;
        let free = (0..used).find(|place| self.storage.lane(*place).gate == 0);
        let place = free.or_else(|| (used < self.limits.lanes).then_some(used))?;
        if place == used {
            self.totals().lanes += 1;
        }
        self.totals().lanes_opened += 1;
        let key = LaneKey::new(place, self.totals().lanes_opened);
        *self.storage.lane(place) = Lane { key: key.0, ..Lane::default() };
        self.reopen_lane(key, options);
        Some(key)
    }

    /// Opens a lane again that was not taken away yet, behind what is still inside.
    pub(in crate::buffer) fn reopen_lane(&mut self, key: LaneKey, options: LaneOptions) {
        if let Some(place) = self.lane_of(key) {
            let lane = self.storage.lane(place);
            lane.gate = OPEN;
            lane.overflow = to_word(options.overflow);
            lane.max_age = options.max_age.map_or(NEVER, in_nanoseconds);
        }
    }

    /// Closes a lane: nothing more is put into it, what is inside flows out.
    pub(in crate::buffer) fn close_lane(&mut self, key: LaneKey) {
        if let Some(place) = self.lane_of(key) {
            self.storage.lane(place).gate = CLOSED;
            self.wake_producers(Wake::All);
        }
    }

    /// Takes a closed lane away once nothing is inside, and returns its counters.
    pub(in crate::buffer) fn free_lane(&mut self, key: LaneKey) -> Option<BufferCounts> {
        let counts = self.lane_counts(key)?;
        let place = self.lane_of(key)?;
        let lane = self.storage.lane(place);
        if lane.gate != CLOSED || counts.waiting > 0 || lane.writing > 0 {
            return None;
        }
        self.forget_turns_of_the_empty();
        *self.storage.lane(place) = Lane::default();
        Some(counts)
    }

    /// Returns the counters of a lane.
    pub(in crate::buffer) fn lane_counts(&mut self, key: LaneKey) -> Option<BufferCounts> {
        let place = self.lane_of(key)?;
        let lane = *self.storage.lane(place);
        Some(BufferCounts {
            entered: lane.entered,
            taken: lane.taken,
            waiting: lane.waiting.len.saturating_add(lane.returned),
            last_dropped: VecDeque::new(),
            ..lane.totals.into()
        })
    }

    /// Returns the place of a lane, unless it was taken away.
    #[inline]
    pub(super) fn lane_of(&mut self, key: LaneKey) -> Option<usize> {
        let place = key.place()?;
        if place as u64 >= self.totals().lanes {
            damaged(Damage::Queue);
        }
        (self.storage.lane(place).key == key.0).then_some(place)
    }

    /// Returns the lane of the sample in a slot, unless that was taken away.
    #[inline]
    pub(super) fn lane_of_slot(&mut self, slot: usize) -> Option<&mut Lane> {
        let key = LaneKey(self.storage.slot(slot).lane);
        let place = self.lane_of(key)?;
        Some(self.storage.lane(place))
    }

    /// Returns true if nothing may be put into a lane any more.
    pub(super) fn is_lane_shut(&mut self, key: LaneKey) -> bool {
        self.lane_of(key).is_none_or(|place| self.storage.lane(place).gate != OPEN)
    }

    /// The policy of a lane where it is full.
    pub(super) fn overflow_of(&mut self, key: LaneKey) -> Overflow {
        match self.lane_of(key).map(|place| self.storage.lane(place).overflow) {
            None => self.limits.overflow,
            Some(0) => Overflow::DropOldest,
            Some(1) => Overflow::DropNewest,
            Some(2) => Overflow::Block,
            Some(_) => damaged(Damage::Queue),
        }
    }

    /// Returns the number of samples inside a lane or being written, and their bytes.
    pub(super) fn inside_lane(&mut self, key: LaneKey) -> (u64, u64) {
        let Some(place) = self.lane_of(key) else { return (0, 0) };
        let lane = self.storage.lane(place);
        (lane.waiting.len.saturating_add(lane.writing), lane.bytes)
    }

    /// Lines up a sample behind the others of its lane, which drops its oldest where its policy says so.
    pub(super) fn line_up_in_lane(&mut self, slot: usize, came: u64) {
        let key = LaneKey(self.storage.slot(slot).lane);
        let length = self.storage.slot(slot).length;
        if self.overflow_of(key) == Overflow::DropOldest {
            self.make_room_in_lane(key, length);
        }
        let Some(place) = self.lane_of(key) else { damaged(Damage::Queue) };
        let lane = self.storage.lane(place);
        lane.bytes = lane.bytes.saturating_add(length);
        let was_ready = std::mem::replace(&mut lane.is_ready, 1) == 1;
        self.push_back(Queue::Lane(place), slot);
        if !was_ready {
            self.give_turn(place);
        }
        self.totals().in_lanes += 1;
        if self.can_take(came) || (self.limits.intake.waits_for_more() && self.waiting() == 1) {
            self.wake_consumers(Wake::One);
        }
    }

    /// Drops the oldest of a lane until that many bytes have room.
    fn make_room_in_lane(&mut self, key: LaneKey, length: u64) {
        let Some(place) = self.lane_of(key) else { damaged(Damage::Queue) };
        while let Some(slot) = self.first(Queue::Lane(place)) {
            let lane = *self.storage.lane(place);
            let room_for_one = lane.waiting.len < self.limits.capacity as u64;
            if room_for_one && lane.bytes.saturating_add(length) <= self.limits.bytes {
                break;
            }
            if room_for_one {
                self.note_full_by_bytes();
            }
            self.drop_in_lane(place, slot, How::DroppedOldest);
        }
    }

    /// Drops a sample that waits in a lane, and counts it there and among all.
    pub(super) fn drop_in_lane(&mut self, place: usize, slot: usize, how: How) {
        self.leave_lane(place, slot);
        let length = self.storage.slot(slot).length;
        lower(&mut self.head().bytes, length);
        *how.counter(&mut self.storage.lane(place).totals) += 1;
        self.drop_slot(slot, how);
    }

    /// Takes a sample out of those that wait in a lane.
    fn leave_lane(&mut self, place: usize, slot: usize) {
        self.remove(Queue::Lane(place), slot);
        let length = self.storage.slot(slot).length;
        lower(&mut self.storage.lane(place).bytes, length);
        lower(&mut self.totals().in_lanes, 1);
    }

    /// Moves that many samples, one of each lane in turn, to where a take finds them.
    pub(super) fn draw(&mut self, samples: u64) {
        for _ in 0..samples {
            let Some(place) = self.lane_in_turn() else { damaged(Damage::Queue) };
            if self.limits.intake == Intake::Latest {
                self.supersede_in_lane(place);
            }
            let Some(slot) = self.first(Queue::Lane(place)) else { damaged(Damage::Queue) };
            self.leave_lane(place, slot);
            self.push_back(Queue::Waiting, slot);
            let lane = self.storage.lane(place);
            lane.taken += 1;
            let has_more = lane.waiting.len > 0;
            self.end_turn_of_lane(place);
            if has_more {
                self.storage.lane(place).is_ready = 1;
                self.give_turn(place);
            }
        }
    }

    /// Counts the samples in front, which a dead worker had, as taken once more.
    pub(super) fn count_return_of_the_first(&mut self, samples: u64) {
        let mut next = self.first(Queue::Waiting);
        for _ in 0..samples {
            let Some(slot) = next else { damaged(Damage::Queue) };
            if let Some(lane) = self.lane_of_slot(slot) {
                lower(&mut lane.returned, 1);
                lane.taken += 1;
            }
            next = self.after(slot);
        }
    }

    /// Drops all that waits in a lane but the newest.
    fn supersede_in_lane(&mut self, place: usize) {
        while self.storage.lane(place).waiting.len > 1
            && let Some(old) = self.first(Queue::Lane(place))
        {
            self.drop_in_lane(place, old, How::Superseded);
        }
    }

    /// Returns the lane whose turn it is: the first of those that have something.
    fn lane_in_turn(&mut self) -> Option<usize> {
        loop {
            let place = self.totals().first_ready.checked_sub(1)? as usize;
            if self.storage.lane(place).waiting.len > 0 {
                return Some(place);
            }
            self.end_turn_of_lane(place);
        }
    }

    /// Puts a lane behind all others that have something.
    fn give_turn(&mut self, place: usize) {
        let link = place as u64 + 1;
        match std::mem::replace(&mut self.totals().last_ready, link).checked_sub(1) {
            Some(last) => self.storage.lane(last as usize).next = link,
            None => self.totals().first_ready = link,
        }
        self.storage.lane(place).next = 0;
    }

    /// Takes the lane whose turn it was out of those that have something.
    fn end_turn_of_lane(&mut self, place: usize) {
        let lane = self.storage.lane(place);
        lane.is_ready = 0;
        let next = std::mem::take(&mut lane.next);
        self.totals().first_ready = next;
        if next == 0 {
            self.totals().last_ready = 0;
        }
    }

    /// The lanes that have something, the next in turn first.
    fn lanes_in_turn(&mut self) -> Vec<usize> {
        let (mut lanes, mut next) = (Vec::new(), self.totals().first_ready);
        while let Some(place) = next.checked_sub(1) {
            if lanes.len() as u64 > self.totals().lanes {
                damaged(Damage::Queue);
            }
            lanes.push(place as usize);
            next = self.storage.lane(place as usize).next;
        }
        lanes
    }

    /// Leaves only lanes that have something among those that have a turn.
    fn forget_turns_of_the_empty(&mut self) {
        let lanes = self.lanes_in_turn();
        (self.totals().first_ready, self.totals().last_ready) = (0, 0);
        for place in lanes {
            let has_something = self.storage.lane(place).waiting.len > 0;
            self.storage.lane(place).is_ready = has_something.into();
            if has_something {
                self.give_turn(place);
            }
        }
    }

    /// The time when the sample that waits longest in any lane came.
    pub(super) fn first_came_in_lanes(&mut self) -> Option<u64> {
        let (mut first, mut seen) = (None, 0);
        let mut next = self.totals().first_ready;
        while let Some(place) = next.checked_sub(1) {
            let place = place as usize;
            if let Some(slot) = self.first(Queue::Lane(place)) {
                let came = self.storage.slot(slot).came;
                first = Some(first.map_or(came, |first: u64| first.min(came)));
            }
            next = self.storage.lane(place).next;
            seen += 1;
            if seen > self.totals().lanes {
                damaged(Damage::Queue);
            }
        }
        first
    }

    /// Drops what is too old of what is about to leave; true if something was.
    pub(super) fn expire_in_lanes(&mut self, now: u64) -> bool {
        let mut any = false;
        if matches!(self.limits.intake, Intake::Single | Intake::Window { .. }) {
            while let Some(place) = self.lane_in_turn()
                && let Some(slot) = self.first(Queue::Lane(place))
                && self.is_too_old(place, slot, now)
            {
                self.drop_in_lane(place, slot, How::Expired);
                any = true;
            }
            return any;
        }
        for place in self.lanes_in_turn() {
            let mut next = self.first(Queue::Lane(place));
            while let Some(slot) = next {
                next = self.after(slot);
                if self.is_too_old(place, slot, now) {
                    self.drop_in_lane(place, slot, How::Expired);
                    any = true;
                }
            }
        }
        any
    }

    fn is_too_old(&mut self, place: usize, slot: usize, now: u64) -> bool {
        let birth = self.storage.slot(slot).birth;
        now.saturating_sub(birth) > self.storage.lane(place).max_age
    }

    /// Discards what waits in all lanes.
    pub(super) fn discard_lanes(&mut self) {
        self.give_up_in_lanes(|_, _| true, How::Discarded);
    }

    /// Flushes what waits in any lane and had entered before the last flush.
    pub(super) fn flush_lanes(&mut self) {
        self.give_up_in_lanes(Self::is_slot_old, How::Flushed);
        if self.has_lanes() {
            // Otherwise whether what comes next has its turn would depend on whether somebody has looked meanwhile.
            self.forget_turns_of_the_empty();
        }
    }

    /// Gives up what waits in any lane and in such a slot, and counts it there and among all.
    fn give_up_in_lanes(&mut self, is_given_up: impl Fn(&mut Self, usize) -> bool, how: How) {
        if !self.has_lanes() {
            return;
        }
        for place in 0..self.totals().lanes as usize {
            let mut next = self.first(Queue::Lane(place));
            while let Some(slot) = next {
                next = self.after(slot);
                let length = self.storage.slot(slot).length;
                if !is_given_up(self, slot) {
                    continue;
                }
                self.leave_lane(place, slot);
                lower(&mut self.head().bytes, length);
                *how.counter(&mut self.storage.lane(place).totals) += 1;
                *how.counter(&mut self.totals().buffer) += 1;
                self.note_end(slot, how);
                self.storage.give_up(slot);
                self.free(slot);
            }
        }
    }
}
