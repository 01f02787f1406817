//! Queries of a buffer and its slots, without a change of either.

use super::state::SlotState;
use super::{Change, Storage};
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;

/// A sample that is in flight.
#[derive(Debug, Clone, Copy)]
pub(in crate::buffer) struct InFlight {
    pub(in crate::buffer) id: SampleId,
    pub(in crate::buffer) birth: u64,
    pub(in crate::buffer) fork: ForkTicket,
    pub(in crate::buffer) source: SourceId,
    pub(in crate::buffer) length: u64,
    /// The number of samples that had entered with it.
    pub(in crate::buffer) entered: u64,
    /// Parts that a worker that died had given of it, to be left out now.
    pub(in crate::buffer) given: u64,
    /// The number of times that the stage had failed on it.
    pub(in crate::buffer) failures: u64,
}

/// A sample that a join may look for.
#[derive(Debug, Clone, Copy)]
pub(in crate::buffer) struct Forked {
    pub(in crate::buffer) fork: ForkTicket,
    /// The place where it is in flight in a list that gives one result: the take, and a number that is higher for the newer ones.
    pub(in crate::buffer) of_list: Option<(u64, u64)>,
}

impl<S: Storage> Change<'_, S> {
    /// Returns the number of ends of samples that were written down.
    pub(in crate::buffer) fn ends(&mut self) -> u64 {
        self.totals().ends
    }

    pub(in crate::buffer) fn entered(&mut self) -> u64 {
        self.head().entered
    }

    /// Returns the number of the last sample before the last flush, or 0.
    pub(in crate::buffer) fn last_cut(&mut self) -> u64 {
        self.head().cut
    }

    pub(in crate::buffer) fn viewed(&mut self) -> u64 {
        self.head().viewed
    }

    /// Returns the number of slots that have ever been used.
    pub(in crate::buffer) fn slots_used(&mut self) -> usize {
        self.head().fresh as usize
    }

    /// Reads everything that exists once or once for each process, as a storage that checks what it reads finds damage
    /// so.
    pub(in crate::buffer) fn expect_sound(&mut self) {
        for place in 0..self.storage.places() {
            self.storage.place(place);
        }
        self.storage.ended(0);
    }

    pub(in crate::buffer) fn taken(&mut self, slot: usize) -> InFlight {
        let slot = self.storage.slot(slot);
        InFlight {
            id: slot.id(),
            birth: slot.birth,
            fork: slot.fork(),
            source: slot.source(),
            length: slot.length,
            entered: slot.used_at,
            given: slot.given,
            failures: slot.failures,
        }
    }

    /// Notes that the stage has failed that often on what is in that slot, and is to be run again.
    pub(in crate::buffer) fn note_failures(&mut self, slot: usize, failures: u64) {
        self.storage.slot(slot).failures = failures;
    }

    /// The sample in a slot, if it waits, is in flight or is out of order.
    pub(in crate::buffer) fn fork_in(&mut self, slot: usize) -> Option<Forked> {
        let slot = *self.storage.slot(slot);
        let fork = slot.fork();
        let intake = self.limits.intake;
        if slot.is_in(SlotState::InFlight) && intake.takes_lists() && !intake.keeps_identity() {
            return Some(Forked { fork, of_list: Some((slot.ticket, slot.used_at)) });
        }
        let is_here = [SlotState::Waiting, SlotState::InFlight, SlotState::OutOfOrder].iter().any(|s| slot.is_in(*s));
        is_here.then_some(Forked { fork, of_list: None })
    }
}
