//! The policies of a buffer, each decided in one place: what a full buffer does, what a take gets, how old is too old,
//! whose result goes on next, and what is counted. Where the state is kept is a [`Storage`]'s affair.
//!
//! Nothing here waits, reads a clock or touches a value. Times are nanoseconds of the monotonic clock.

mod lists;
mod reorder;
mod state;
mod take;

pub(super) use state::{Head, Place, Slot};
pub(super) use take::Taken;

use super::histogram::Durations;
use super::parts::Parts;
use super::{Arrival, BufferCounts, Gate, Limits, Overflow};
use crate::ledger::{Fate, StageCounts};
use crate::sample::{ForkTicket, SampleId};
use lists::Queue;
use state::SlotState;
use std::collections::VecDeque;

/// What keeps the state of a buffer while one caller changes it.
pub(super) trait Storage {
    fn head(&mut self) -> &mut Head;
    fn slot(&mut self, index: usize) -> &mut Slot;
    /// The place of one of the workers that take.
    fn place(&mut self, worker: usize) -> &mut Place;
    /// Holds the number of a take that has ended before its turn.
    fn ended(&mut self, ticket: u64) -> &mut u64;
    fn record(&mut self, durations: Durations, nanoseconds: u64);
    fn remember_drop(&mut self, id: SampleId);
    fn last_dropped(&mut self) -> VecDeque<SampleId>;
    /// Nobody will take what is in that slot: whoever changes the buffer releases it after the change.
    fn give_up(&mut self, slot: usize);
}

/// Who is to look again once a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Wake {
    #[default]
    Nobody,
    One,
    All,
}

/// What is to be known about a sample that arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    pub(super) id: SampleId,
    pub(super) birth: u64,
    pub(super) fork: ForkTicket,
    /// Of which take it is the result, where several workers' results have to be put in order.
    pub(super) turn: Option<u64>,
    pub(super) arrival: Arrival,
    /// When it came, where the [intake asks](Change::waits_for_more).
    pub(super) came: u64,
}

/// What becomes of a sample that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is in that slot, where its value is to be put.
    Inside { slot: usize },
    /// It was counted as dropped on arrival.
    Dropped,
    /// It was counted as discarded.
    Discarded,
    /// There is no room for it now.
    Full,
    /// The entrance is closed.
    Shut,
    /// The others of several workers have gone on without it.
    Late,
}

/// What a call of `stage_run` was, for what it was called with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settlement {
    pub(crate) fate: Fate,
    /// Samples windowed before that its list has used, too.
    pub(crate) windowed: u64,
    /// Nanoseconds in `stage_run`, and of the newest sample's age.
    pub(crate) took: u64,
    pub(crate) age: u64,
}

/// One change of a buffer, under its lock.
pub(super) struct Change<'a, S> {
    pub(super) storage: &'a mut S,
    pub(super) limits: &'a Limits,
    pub(super) consumers: Wake,
    pub(super) producers: Wake,
}

impl<'a, S: Storage> Change<'a, S> {
    pub(super) fn new(storage: &'a mut S, limits: &'a Limits) -> Self {
        Change { storage, limits, consumers: Wake::Nobody, producers: Wake::Nobody }
    }

    /// The state of an empty buffer.
    pub(super) fn empty() -> Head {
        Head { next_ticket: 1, turn: 1, ..Head::default() }
    }

    fn head(&mut self) -> &mut Head {
        self.storage.head()
    }

    pub(super) fn gate(&mut self) -> Gate {
        match self.head().gate {
            0 => Gate::Open,
            1 => Gate::Closed,
            _ => Gate::Discarding,
        }
    }

    pub(super) fn waiting(&mut self) -> u64 {
        self.head().waiting.len
    }

    fn has_room(&mut self) -> bool {
        self.waiting() < self.limits.capacity as u64
    }

    fn wake_consumers(&mut self, wake: Wake) {
        self.consumers = self.consumers.max(wake);
    }

    fn wake_producers(&mut self, wake: Wake) {
        // Producers of several kinds wait side by side: for room, and for their turn. One alone might be the wrong one.
        let wake = if wake == Wake::One && self.limits.givers.reorders() { Wake::All } else { wake };
        self.producers = self.producers.max(wake);
    }

    /// Decides what becomes of a sample that arrives.
    pub(super) fn arrive(&mut self, label: &Label) -> Admission {
        let gate = self.gate();
        if let Some(ticket) = label.turn
            && let Some(admission) = self.arrive_out_of_order(label, ticket, gate)
        {
            return admission;
        }
        if gate != Gate::Open {
            if label.arrival == Arrival::Outside {
                return Admission::Shut;
            }
            if gate == Gate::Discarding {
                self.count_discarded(1);
                return Admission::Discarded;
            }
        }

        // A gate that is closed lets its one stage in, even beyond the capacity.
        let room = self.has_room();
        if !room && gate == Gate::Open && self.limits.overflow == Overflow::Block {
            return Admission::Full;
        }
        let id = self.count_arrival(label.id, label.arrival);
        if !room && self.limits.overflow == Overflow::DropNewest {
            self.head().dropped_newest += 1;
            self.storage.remember_drop(id);
            return Admission::Dropped;
        }
        let slot = self.fill_slot(&Label { id, ..*label });
        self.line_up(slot, label.came);
        Admission::Inside { slot }
    }

    /// Counts an arrival, which gets its number here unless a stage brings it.
    fn count_arrival(&mut self, id: SampleId, arrival: Arrival) -> SampleId {
        self.head().entered += 1;
        match arrival {
            Arrival::Stage | Arrival::PartOfWhole | Arrival::PartOfPart => self.enter_part(id, arrival),
            Arrival::Source | Arrival::Outside => SampleId { number: self.head().entered, part: 0 },
        }
    }

    /// Returns the identity of what a stage gives. A whole sample, the usual case, costs nothing here.
    fn enter_part(&mut self, id: SampleId, arrival: Arrival) -> SampleId {
        if id.part == 0 && arrival == Arrival::Stage {
            return id;
        }
        let mut parts = Parts::from_words(self.head().parts);
        let id = parts.enter(id, arrival);
        self.head().parts = parts.to_words();
        id
    }

    /// Counts samples that enter only to be given up.
    fn count_discarded(&mut self, samples: u64) {
        let head = self.head();
        head.entered += samples;
        head.discarded += samples;
    }

    /// Takes a free slot for a sample.
    fn fill_slot(&mut self, label: &Label) -> usize {
        let slot = self.take_free();
        let Label { id, birth, fork, .. } = *label;
        let filled = self.storage.slot(slot);
        (filled.number, filled.part, filled.birth, filled.fork) = (id.number, id.part, birth, fork.0);
        slot
    }

    /// Lines up a sample behind the others; the oldest goes where the policy says so.
    fn line_up(&mut self, slot: usize, came: u64) {
        if self.limits.overflow == Overflow::DropOldest && !self.has_room() {
            self.drop_front(|head| &mut head.dropped_oldest);
        }
        let filled = self.storage.slot(slot);
        (filled.state, filled.came) = (SlotState::Waiting, came);
        self.push_back(Queue::Waiting, slot);
        // The first of a batch makes the consumer wait no longer than until it is due.
        if self.can_take(came) || (self.waits_for_more() && self.waiting() == 1) {
            self.wake_consumers(Wake::One);
        }
    }

    /// Drops the oldest waiting sample, and counts it there.
    fn drop_front(&mut self, counter: impl FnOnce(&mut Head) -> &mut u64) {
        let Some(oldest) = self.pop_front(Queue::Waiting) else { return };
        *counter(self.head()) += 1;
        self.drop_slot(oldest);
    }

    /// Remembers that a waiting sample is never taken.
    fn drop_slot(&mut self, slot: usize) {
        let id = self.storage.slot(slot).id();
        self.storage.remember_drop(id);
        self.storage.give_up(slot);
        self.free(slot);
    }

    fn waits_for_more(&self) -> bool {
        self.limits.intake.waits_for_more()
    }

    /// Lowers the gate, and gives up what will not be taken any more.
    pub(super) fn lower_gate(&mut self, gate: Gate) {
        let lowered = self.gate().max(gate);
        self.head().gate = lowered as u64;
        let first_given_up = match lowered {
            Gate::Discarding => 0,
            Gate::Open | Gate::Closed => self.first_missing_turn() + 1,
        };
        self.give_up_out_of_order(first_given_up);
        if lowered == Gate::Discarding {
            while let Some(slot) = self.pop_front(Queue::Waiting) {
                self.head().discarded += 1;
                self.storage.give_up(slot);
                self.free(slot);
            }
        }
    }

    /// Settles what a worker has in flight from that take; false when it was given up before.
    pub(super) fn settle(&mut self, worker: usize, ticket: u64, settlement: Settlement) -> bool {
        if !self.is_in_flight(worker, ticket) {
            return false;
        }
        let Settlement { fate, windowed, took, age } = settlement;
        let samples = self.land(worker) + windowed;
        self.count_settled(samples, fate);
        self.head().busy += took;
        self.storage.record(Durations::Busy, took);
        if self.limits.is_last {
            self.storage.record(Durations::AgesAfter, age);
        }
        true
    }

    /// The stage keeps what a worker has in flight for a later window; false when it was given up before.
    pub(super) fn keep_for_window(&mut self, worker: usize, ticket: u64) -> bool {
        self.is_in_flight(worker, ticket) && {
            self.land(worker);
            true
        }
    }

    /// Counts samples that were kept for a window and are in none.
    pub(super) fn skip_windowed(&mut self, samples: u64) {
        self.count_settled(samples, Fate::Skipped);
    }

    fn count_settled(&mut self, samples: u64, fate: Fate) {
        let head = self.head();
        head.in_flight -= samples;
        match fate {
            Fate::Used => {
                head.used += 1;
                head.absorbed += samples - 1;
            }
            Fate::Skipped => head.skipped += samples,
            Fate::Failed => head.failed += samples,
            Fate::Lost => head.lost += samples,
        }
    }

    /// Returns the counters.
    pub(super) fn counts(&mut self) -> (BufferCounts, StageCounts) {
        let last_dropped = self.storage.last_dropped();
        let head = self.head();
        let buffer = BufferCounts {
            early: head.out_of_order.len,
            entered: head.entered,
            taken: head.taken,
            dropped_oldest: head.dropped_oldest,
            dropped_newest: head.dropped_newest,
            superseded: head.superseded,
            expired: head.expired,
            discarded: head.discarded,
            waiting: head.waiting.len,
            last_dropped,
        };
        let stage = StageCounts {
            used: head.used,
            absorbed: head.absorbed,
            skipped: head.skipped,
            failed: head.failed,
            lost: head.lost,
            in_hand: head.in_flight,
            gave: 0,
        };
        (buffer, stage)
    }

    /// Returns the tickets of the samples inside, in flight, or out of order. A list in flight has its newest sample's, as
    /// its result will.
    pub(super) fn forks(&mut self) -> Vec<ForkTicket> {
        let mut forks = Vec::new();
        for queue in [Queue::Waiting, Queue::OutOfOrder] {
            let mut next = self.first(queue);
            while let Some(slot) = next {
                forks.push(self.storage.slot(slot).fork());
                next = self.after(slot);
            }
        }
        for worker in 0..self.limits.takers.workers {
            if let Some(newest) = self.last(Queue::InFlight(worker)) {
                forks.push(self.storage.slot(newest).fork());
            }
        }
        forks
    }
}
