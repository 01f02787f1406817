//! The policies of a buffer, each decided in one place: what a full buffer does, what a take gets, how old is too old,
//! whose result goes on next, what becomes of what a dead worker had, and what is counted. Where the state is kept is a
//! [`Storage`]'s affair.
//!
//! Nothing here waits or touches a value. Times are nanoseconds of the monotonic clock.
//!
//! What every sample passes is always inlined: what is handed from function to function is a few numbers that have just
//! been written one by one, and to read them together, as a copy does, makes the processor wait for each of them. That
//! was a quarter of a hop.

mod arrive;
#[cfg(processes)]
mod crash;
mod cut;
mod ends;
mod lanes;
mod lists;
#[cfg(processes)]
mod look;
mod measured;
mod pause;
mod reorder;
mod settle;
#[cfg_attr(not(processes), expect(dead_code, reason = "between threads nobody dies, and a slot is filled at once"))]
mod state;
mod take;
mod visits;
#[cfg(processes)]
mod write;

pub(super) use arrive::{Label, Refusal};
#[cfg(processes)]
pub(crate) use crash::{Receipt, Verdict};
pub(crate) use ends::{How, SampleEnd};
pub(crate) use lanes::{LaneKey, LaneOptions};
#[cfg(processes)]
pub(super) use look::{Forked, InFlight};
#[cfg(processes)]
pub(super) use measured::Measured;
pub(super) use settle::Flight;
pub(crate) use settle::Settlement;
pub(super) use state::{Head, Lane, Place, Slot, Totals};
#[cfg(all(test, processes))]
pub(super) use state::{List, SlotState, WHOLE};
pub(super) use take::{Taken, Turn};
#[cfg(processes)]
pub(super) use write::{Published, Trim};

use super::damage::{Damage, damaged};
use super::histogram::Durations;
use super::visit::Visit;
use super::{Gate, Limits};
use crate::cuts::SourceCut;
use crate::ledger::{BufferCounts, StageCounts};
use crate::sample::{ForkTicket, SampleId};
use lists::Queue;
use std::collections::VecDeque;

/// The storage of the state of a buffer, while one caller changes it.
pub(super) trait Storage {
    /// True if a place remembers the slots of its take; otherwise the consumer that has taken them does.
    const REMEMBERS_TAKES: bool;

    fn head(&mut self) -> &mut Head;
    fn totals(&mut self) -> &mut Totals;
    fn slot(&mut self, index: usize) -> &mut Slot;
    /// Returns the number of slots that there are at most.
    fn slots(&self) -> u64;
    fn place(&mut self, place: usize) -> &mut Place;
    /// Returns a lane: one that is in use, or the next.
    fn lane(&mut self, place: usize) -> &mut Lane;
    /// Returns the flush of a source: one that is in use, or the next.
    fn source_cut(&mut self, place: usize) -> &mut SourceCut;
    fn places(&self) -> usize;
    /// Holds the number of a take that has ended before its turn.
    fn ended(&mut self, ticket: u64) -> &mut u64;
    /// Producers that wait for room are woken when no more samples than that wait.
    fn refill_at(&self) -> u64;
    /// Counts a duration that ended at that time.
    fn record(&mut self, durations: Durations, nanoseconds: u64, now: u64);
    fn remember_drop(&mut self, id: SampleId);
    fn last_dropped(&mut self) -> VecDeque<SampleId>;
    fn remember_failure(&mut self, id: SampleId);
    fn last_failed(&mut self) -> VecDeque<SampleId>;
    /// Tells the caller that changes the buffer of the end of a sample.
    fn note_end(&mut self, ended: SampleEnd);
    /// Keeps the visit of a sample, among the last.
    fn keep_visit(&mut self, visit: Visit);
    /// The time, for visits that end without a call.
    fn now(&self) -> u64;
    /// Gives what is in that slot to the caller that changes the buffer, to release after the change: no consumer will
    /// take it.
    fn give_up(&mut self, slot: usize);
}

/// The waiters that are to look again once a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Wake {
    #[default]
    Nobody,
    One,
    All,
}

/// The waiters on both sides that are to look again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wakes {
    pub(super) consumers: Wake,
    pub(super) producers: Wake,
}

/// One change of a buffer, under its lock.
pub(super) struct Change<'a, S> {
    pub(super) storage: &'a mut S,
    pub(super) limits: &'a Limits,
    wakes: &'a mut Wakes,
}

impl<'a, S: Storage> Change<'a, S> {
    pub(super) fn new(storage: &'a mut S, limits: &'a Limits, wakes: &'a mut Wakes) -> Self {
        Change { storage, limits, wakes }
    }

    fn head(&mut self) -> &mut Head {
        self.storage.head()
    }

    fn totals(&mut self) -> &mut Totals {
        self.storage.totals()
    }

    pub(super) fn gate(&mut self) -> Gate {
        match self.head().gate {
            0 => Gate::Open,
            1 => Gate::Closed,
            2 => Gate::Discarding,
            _ => damaged(Damage::Gate),
        }
    }

    #[inline(always)]
    pub(super) fn waiting(&mut self) -> u64 {
        let in_lanes = if self.has_lanes() { self.totals().in_lanes } else { 0 };
        self.head().waiting.len.saturating_add(in_lanes)
    }

    pub(super) fn wake_consumers(&mut self, wake: Wake) {
        self.wakes.consumers = self.wakes.consumers.max(wake);
    }

    pub(super) fn wake_producers(&mut self, wake: Wake) {
        // Producers of several kinds wait side by side: for room, and for their turn. One alone might be the wrong one.
        let several = self.limits.producers.reorders() || self.has_lanes();
        let wake = if wake == Wake::One && several { Wake::All } else { wake };
        self.wakes.producers = self.wakes.producers.max(wake);
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
            while let Some(slot) = self.pop_waiting() {
                self.totals().buffer.discarded += 1;
                if let Some(lane) = self.lane_of_slot(slot) {
                    lower(&mut lane.returned, 1);
                    lane.totals.discarded += 1;
                }
                self.note_end(slot, How::Discarded);
                self.storage.give_up(slot);
                self.free(slot);
            }
            self.discard_lanes();
        }
    }

    /// Returns the counters.
    pub(super) fn counts(&mut self) -> (BufferCounts, StageCounts) {
        let (last_dropped, last_failed) = (self.storage.last_dropped(), self.storage.last_failed());
        let (head, totals) = (*self.head(), *self.totals());
        let buffer = BufferCounts {
            reordering: totals.out_of_order.len + totals.writing_out_of_order,
            entered: head.entered,
            taken: head.taken,
            waiting: self.waiting(),
            last_dropped,
            ..totals.buffer.into()
        };
        let stage = StageCounts { used: head.used, in_flight: head.in_flight, last_failed, ..totals.stage.into() };
        (buffer, stage)
    }

    /// Returns the tickets of the samples inside, in flight, or out of order. A list in flight that gives one result has
    /// its newest sample's, as that will.
    pub(super) fn forks(&mut self, all_of_lists: bool) -> Vec<ForkTicket> {
        self.is_looked_at();
        let mut forks = Vec::new();
        let lanes = if self.has_lanes() { self.totals().lanes as usize } else { 0 };
        for queue in [Queue::Waiting, Queue::OutOfOrder].into_iter().chain((0..lanes).map(Queue::Lane)) {
            let mut next = self.first(queue);
            while let Some(slot) = next {
                forks.push(self.storage.slot(slot).fork());
                next = self.after(slot);
            }
        }
        let each_counts = all_of_lists || self.limits.intake.keeps_identity();
        for place in 0..self.storage.places() {
            let mut next = self.first_of_take(place);
            while let Some(slot) = next {
                next = self.after(slot);
                if next.is_none() || each_counts {
                    forks.push(self.storage.slot(slot).fork());
                }
            }
        }
        forks
    }
}

/// Counts down what was counted up before.
#[inline]
fn lower(count: &mut u64, by: u64) {
    *count = count.checked_sub(by).unwrap_or_else(|| damaged(Damage::Count));
}
