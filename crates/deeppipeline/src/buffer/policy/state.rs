//! The state of a buffer as plain numbers, which a storage keeps: on the heap, or where several processes see it.

use crate::buffer::histogram::Sums;
use crate::ledger::{BufferTotals, StageTotals};
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;

/// The use of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(in crate::buffer) enum SlotState {
    /// No use.
    Free,
    /// A producer writes a sample into it.
    Writing,
    /// The same, for a result whose turn had not come when its producer began.
    WritingOutOfOrder,
    /// The result of one of several workers, whose turn has not come.
    OutOfOrder,
    /// A sample that waits to be taken.
    Waiting,
    /// A sample that a worker has taken and not settled.
    InFlight,
    /// A sample that has its fate, while a view of it is still looked at.
    Viewed,
    /// Its memory is being given back; it lies among the free ones.
    Trimmed,
    /// The same, and it does not.
    TrimmedApart,
}

/// Slots in a row, linked in both directions. Slots are counted from 1 here, so that 0 is none.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub(in crate::buffer) struct List {
    pub(in crate::buffer) first: u64,
    pub(in crate::buffer) last: u64,
    pub(in crate::buffer) len: u64,
}

/// The part of the state that exists once in a buffer and changes with every sample.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub(in crate::buffer) struct Head {
    pub(in crate::buffer) gate: u64,
    /// Slots that were used before, each with the next behind it: the one used last comes first, as its memory is still
    /// in the caches. Then how many of them may be used.
    pub(in crate::buffer) free: u64,
    pub(in crate::buffer) free_slots: u64,
    /// The slots from this one on have never been used.
    pub(in crate::buffer) fresh: u64,
    pub(in crate::buffer) waiting: List,
    pub(in crate::buffer) entered: u64,
    /// Samples that are being written, and have their place inside.
    pub(in crate::buffer) writing: u64,
    /// Bytes of samples waiting or being written.
    pub(in crate::buffer) bytes: u64,
    /// The number of the next take, from 1.
    pub(in crate::buffer) next_ticket: u64,
    pub(in crate::buffer) taken: u64,
    pub(in crate::buffer) in_flight: u64,
    pub(in crate::buffer) used: u64,
    /// Time in `stage_run`, in nanoseconds.
    pub(in crate::buffer) busy: u64,
    /// Samples that have their fate, while a view of them is still looked at.
    pub(in crate::buffer) viewed: u64,
    /// 1 where an arrival found no room for its bytes, so that a list intake hands over what is there.
    pub(in crate::buffer) full_by_bytes: u64,
    /// The number of the last sample that had entered the pipeline before the last flush, of all or of one source, or 0.
    pub(in crate::buffer) cut: u64,
    /// Samples from before a flush that are in flight.
    pub(in crate::buffer) old: u64,
    /// The holders that keep samples from being taken, each a bit of its own: a flush, a pause.
    pub(in crate::buffer) held: u64,
    /// The birth of the newest sample that the last stage has used.
    pub(in crate::buffer) newest: u64,
}

/// The part of the state that exists once in a buffer and does not change with every sample.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub(in crate::buffer) struct Totals {
    pub(in crate::buffer) buffer: BufferTotals,
    pub(in crate::buffer) stage: StageTotals,

    /// The order behind several workers: the take whose results go on now, results that are out of order, oldest take
    /// first, how many more are being written, and the first take on which the stage has failed for good, or 0.
    pub(in crate::buffer) turn: u64,
    pub(in crate::buffer) out_of_order: List,
    pub(in crate::buffer) writing_out_of_order: u64,
    pub(in crate::buffer) failed_turn: u64,
    /// The parts that have entered, as [`Parts`](crate::buffer::parts::Parts) has them.
    pub(in crate::buffer) parts: [u64; 7],

    /// Where there are several entrances: the lanes that were ever used at the same time, how many were opened, the
    /// samples that wait in them, and the first and the last of those that have something, counted from 1.
    pub(in crate::buffer) lanes: u64,
    pub(in crate::buffer) lanes_opened: u64,
    pub(in crate::buffer) in_lanes: u64,
    pub(in crate::buffer) first_ready: u64,
    pub(in crate::buffer) last_ready: u64,
    /// The number of samples on which the stage has failed that were remembered, where processes share the buffer.
    pub(in crate::buffer) failures: u64,
    /// The number of ends of samples that were written down, where processes share the buffer.
    pub(in crate::buffer) ends: u64,
    /// Takes before this one were looked at while they were in flight, by who looks for samples that have ended.
    pub(in crate::buffer) looked_at: u64,
    /// The number of the last sample that had entered before the last flush of all, how many sources were flushed alone
    /// since, and the number of the last flush of those that was forgotten.
    pub(in crate::buffer) cut_of_all: u64,
    pub(in crate::buffer) source_cuts: u64,
    pub(in crate::buffer) forgotten_cut: u64,
    /// Time that producers waited until it took what they had.
    pub(in crate::buffer) waited: Sums,
}

/// One slot.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub(in crate::buffer) struct Slot {
    pub(in crate::buffer) state: u64,
    /// The place of who writes it, has taken it or looks at it.
    pub(in crate::buffer) owner: u64,
    pub(in crate::buffer) next: u64,
    pub(in crate::buffer) previous: u64,
    pub(in crate::buffer) number: u64,
    pub(in crate::buffer) part: u64,
    /// Nanoseconds of the monotonic clock.
    pub(in crate::buffer) birth: u64,
    /// The take that it is in flight with; while it is out of order, the one whose result it is.
    pub(in crate::buffer) ticket: u64,
    /// Bytes of the sample.
    pub(in crate::buffer) length: u64,

    /// The ticket by which a join around the buffer knows it.
    pub(in crate::buffer) fork: u64,
    /// The source or entrance that it came from, and the key of its lane, where it is in front of the first stage.
    pub(in crate::buffer) source: u64,
    pub(in crate::buffer) lane: u64,
    /// The time when it came.
    pub(in crate::buffer) came: u64,
    /// The time when it was taken last.
    pub(in crate::buffer) taken_at: u64,
    /// The way it arrived, while it is out of order, as its part is numbered when it enters.
    pub(in crate::buffer) arrival: u64,
    /// The number of workers that died with it in flight.
    pub(in crate::buffer) deaths: u64,
    /// The number of its parts that a worker that died had given.
    pub(in crate::buffer) given: u64,
    /// The number of times that the stage has failed on it.
    pub(in crate::buffer) failures: u64,
    /// The number of samples that had entered when it was used last: no two that wait or are in flight have the same.
    pub(in crate::buffer) used_at: u64,
    /// Bytes of the slot that may be backed by memory.
    pub(in crate::buffer) touched: u64,
}

/// One entrance of a buffer that has several.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub(in crate::buffer) struct Lane {
    /// Its key, and whether it is open, closed, or (0) no entrance's.
    pub(in crate::buffer) key: u64,
    pub(in crate::buffer) gate: u64,
    /// Its overflow policy, and the age that its samples may have.
    pub(in crate::buffer) overflow: u64,
    pub(in crate::buffer) max_age: u64,
    pub(in crate::buffer) waiting: List,
    /// Samples that a dead worker had in flight, and that wait in front of all lanes.
    pub(in crate::buffer) returned: u64,
    /// Samples that are being written, and have their place inside.
    pub(in crate::buffer) writing: u64,
    /// Bytes of samples waiting or being written.
    pub(in crate::buffer) bytes: u64,
    pub(in crate::buffer) entered: u64,
    pub(in crate::buffer) taken: u64,
    pub(in crate::buffer) totals: BufferTotals,
    /// 1 while it is among those that have something, and the one behind it there, counted from 1.
    pub(in crate::buffer) is_ready: u64,
    pub(in crate::buffer) next: u64,
}

impl Head {
    /// The state of an empty buffer.
    pub(in crate::buffer) fn empty() -> Self {
        Head { next_ticket: 1, ..Head::default() }
    }
}

impl Totals {
    /// The state of an empty buffer.
    pub(in crate::buffer) fn empty() -> Self {
        Totals { turn: 1, ..Totals::default() }
    }

    /// Returns the number of samples that were dropped by number.
    #[cfg(processes)]
    pub(in crate::buffer) fn dropped(&self) -> u64 {
        let BufferTotals { dropped_oldest, dropped_newest, superseded, expired, .. } = self.buffer;
        let dropped = [dropped_oldest, dropped_newest, superseded, expired];
        dropped.into_iter().fold(0, u64::wrapping_add)
    }
}

impl Slot {
    #[inline]
    pub(in crate::buffer) fn id(&self) -> SampleId {
        SampleId { number: self.number, part: self.part }
    }

    #[inline]
    pub(in crate::buffer) fn fork(&self) -> ForkTicket {
        ForkTicket(self.fork)
    }

    #[inline]
    pub(in crate::buffer) fn source(&self) -> SourceId {
        SourceId::from_word(self.source)
    }

    #[inline]
    pub(in crate::buffer) fn is_in(&self, state: SlotState) -> bool {
        self.state == state as u64
    }

    /// Returns true if a worker died with it in flight, so that it is tried again.
    #[inline]
    pub(super) fn is_tried_again(&self) -> bool {
        self.deaths > 0
    }
}

/// The part of the state that exists once for each that may have slots: each worker that takes between threads, each
/// process between processes.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub(in crate::buffer) struct Place {
    /// The take that it has in flight, where others may wait for it, or 0.
    pub(in crate::buffer) ticket: u64,
    /// The time when it took that, in nanoseconds of the monotonic clock.
    pub(in crate::buffer) since: u64,
    /// The first slot of that take, where the place remembers it; the others follow it.
    pub(in crate::buffer) first: u64,
    /// Samples kept for a later window.
    pub(in crate::buffer) windowed: u64,
    /// The take for which its last sample was received, the sample of that take, and how many parts of it, or
    /// [`WHOLE`].
    pub(in crate::buffer) receipt_ticket: u64,
    pub(in crate::buffer) receipt_sample: u64,
    pub(in crate::buffer) receipt_parts: u64,
}

/// The mark, in place of a number of parts, that it was the one result.
pub(in crate::buffer) const WHOLE: u64 = u64::MAX;
