//! The state of a buffer as plain numbers, which a storage keeps: on the heap, or where several processes see it.

use crate::sample::{ForkTicket, SampleId};

/// What a slot is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u64)]
pub(in crate::buffer) enum SlotState {
    /// Nothing.
    #[default]
    Free,
    /// The result of one of several workers, whose turn has not come.
    OutOfOrder,
    /// A sample that waits to be taken.
    Waiting,
    /// A sample that a worker has taken and not settled.
    InFlight,
}

/// Slots in a row, linked with each other. Slots are counted from 1 here, so that 0 is none.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::buffer) struct List {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) len: u64,
}

/// What exists once in a buffer. What one call changes lies side by side, since the next one may be another core's.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::buffer) struct Head {
    pub(super) gate: u64,
    /// Slots that were used before; the one used last comes first, as its memory is still in the caches.
    pub(super) free: List,
    /// The slots from this one on have never been used.
    pub(super) fresh: u64,
    pub(super) waiting: List,
    pub(super) entered: u64,
    /// The number of the next take, from 1.
    pub(super) next_ticket: u64,
    pub(super) taken: u64,
    pub(super) in_flight: u64,
    pub(super) used: u64,
    /// Time in `stage_run`, in nanoseconds.
    pub(super) busy: u64,

    pub(super) dropped_oldest: u64,
    pub(super) dropped_newest: u64,
    pub(super) superseded: u64,
    pub(super) expired: u64,
    pub(super) discarded: u64,
    pub(super) absorbed: u64,
    pub(super) skipped: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,

    /// Behind several workers: the take whose results go on now, results that are out of order, oldest take first, and the
    /// first take on which the stage has failed for good, or 0.
    pub(super) turn: u64,
    pub(super) out_of_order: List,
    pub(super) failed_turn: u64,
    /// Which parts have entered, as [`Parts`](crate::buffer::parts::Parts) has them.
    pub(super) parts: [u64; 7],
}

/// One slot.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::buffer) struct Slot {
    pub(super) next: u64,
    pub(super) previous: u64,
    pub(super) state: SlotState,
    pub(super) number: u64,
    pub(super) part: u64,
    /// Nanoseconds of the monotonic clock.
    pub(super) birth: u64,
    /// By which a join around the buffer knows it.
    pub(super) fork: u64,
    /// When it came, for the intake batch.
    pub(super) came: u64,
    /// While it is out of order: the take whose result it is, and how it arrived, as its part is numbered when it enters.
    pub(super) ticket: u64,
    pub(super) arrival: u64,
}

impl Head {
    pub(in crate::buffer) fn busy(&self) -> u64 {
        self.busy
    }
}

impl Slot {
    pub(in crate::buffer) fn id(&self) -> SampleId {
        SampleId { number: self.number, part: self.part }
    }

    pub(in crate::buffer) fn birth(&self) -> u64 {
        self.birth
    }

    pub(in crate::buffer) fn fork(&self) -> ForkTicket {
        ForkTicket(self.fork)
    }
}

/// What exists once for each worker that takes.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::buffer) struct Place {
    /// The take that it has in flight, or 0.
    pub(super) ticket: u64,
    /// When it took that, in nanoseconds of the monotonic clock.
    pub(super) since: u64,
    pub(super) in_flight: List,
}
