//! Where each word of a shared buffer is.

use super::session::Owner;
use crate::buffer::histogram::{Durations, TIMES};
use std::ops::Range;

/// How many dropped samples a buffer remembers by number.
pub(super) const DROPS: usize = 16;

/// More slots cannot be numbered.
pub(super) const MOST_SLOTS: usize = 1 << 26;

const HISTOGRAMS: usize = Durations::AgesAfter as usize + 1;
/// A histogram, and the longest.
const HISTOGRAM: usize = TIMES + 1;

/// The words that exist once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Field {
    Gate,
    /// Counts arrivals that went inside: the sequence in a slot's word.
    Sequence,
    /// Counts takes.
    Ticket,
    /// Slots in the queue lie at the places from `Front` to `Back`, which only grow but for what is put back in front.
    Front,
    Back,
    /// How many slots are free.
    Free,
    Writing,
    /// Bytes of samples waiting or being written.
    Bytes,
    /// Slots that views still hold.
    Held,
    /// Whether an arrival found no room for its bytes, so that the intake `all` hands over what is there.
    FullByBytes,
    Entered,
    Taken,
    DroppedOldest,
    DroppedNewest,
    Superseded,
    Expired,
    Discarded,
    Used,
    Absorbed,
    Skipped,
    Failed,
    Lost,
    InHand,
    /// Nanoseconds.
    Busy,
    /// How many samples were dropped by number.
    Drops,
    /// Whether someone sleeps on the bell.
    FilledWaited,
    EmptiedWaited,
    /// Behind several workers: the take whose results go on now, how many results came early or are being written early,
    /// and the take on which the stage has failed for good.
    Turn,
    Early,
    FailedTurn,
    /// Which parts have entered: the words of `Parts`.
    PartsNumber,
    NewestOfWhole,
    NewestOfPart,
    NewestPassed,
    OlderOfWhole,
    OlderOfPart,
    OlderPassed,
}

const FIELDS: usize = Field::OlderPassed as usize + 1;

/// The words that exist once for each process at the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum PlaceField {
    /// The take for which its last sample was received, and how many parts of it (or `WHOLE`).
    ReceiptTicket,
    ReceiptParts,
    /// When its stage began with what it has in hand, in nanoseconds of the monotonic clock; 0 while no user code runs.
    RunningSince,
    /// The take that it has in hand, where others may wait for it.
    Hand,
    /// Samples that its stage keeps for a later list.
    Kept,
}

const PLACE_FIELDS: usize = PlaceField::Kept as usize + 1;

/// The words of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum SlotField {
    /// Sequence, owner and state.
    Word,
    /// Bytes of the sample.
    Length,
    Number,
    Part,
    /// Nanoseconds of the monotonic clock.
    Birth,
    /// The take that has it in hand; while it is early, the one whose result it is.
    Ticket,
    /// When it came, for the intake batch.
    Came,
    /// How many workers died with it in hand.
    Deaths,
    /// How many parts a worker that died had given of it.
    Given,
    /// How often the stage has failed on it.
    Failures,
    /// By which a join around the buffer knows it, where there is one.
    Fork,
    /// While it is early: how it arrived, as its part is numbered when it enters.
    Arrival,
    /// Bytes of the slot that may be backed by memory.
    Touched,
    /// The weighed sum over the others: a stray write into one of them is found before anything follows from it.
    Seal,
}

const SLOT_FIELDS: usize = SlotField::Seal as usize + 1;

/// Where everything is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(super) slots: usize,
    /// Processes that share the buffer, the pipeline's own among them.
    pub(super) places: usize,
    /// Takes behind which others may have ended.
    pub(super) turns: usize,
    /// How many results may be early.
    pub(super) ahead: usize,
}

impl Layout {
    pub(super) fn field(self, field: Field) -> usize {
        field as usize
    }

    pub(super) fn drop(self, index: u64) -> usize {
        FIELDS + 2 * (index as usize % DROPS)
    }

    pub(super) fn time(self, durations: Durations, index: usize) -> usize {
        FIELDS + 2 * DROPS + durations as usize * HISTOGRAM + index
    }

    /// The longest duration of a kind, in nanoseconds.
    pub(super) fn longest(self, durations: Durations) -> usize {
        self.time(durations, TIMES)
    }

    pub(super) fn place(self, owner: Owner, field: PlaceField) -> usize {
        FIELDS + 2 * DROPS + HISTOGRAMS * HISTOGRAM + owner.place() * PLACE_FIELDS + field as usize
    }

    /// Holds the number of a take that has ended before its turn.
    pub(super) fn ended(self, ticket: u64) -> usize {
        FIELDS + 2 * DROPS + HISTOGRAMS * HISTOGRAM + self.places * PLACE_FIELDS + (ticket % self.turns as u64) as usize
    }

    pub(super) fn slot(self, slot: usize, field: SlotField) -> usize {
        self.ended(0) + self.turns + slot * SLOT_FIELDS + field as usize
    }

    /// The place of the queue at that position.
    pub(super) fn queue(self, position: u64) -> usize {
        self.slot(self.slots, SlotField::Word) + (position % self.slots as u64) as usize
    }

    /// The free slots, the one used last on top.
    pub(super) fn free(self, index: u64) -> usize {
        self.slot(self.slots, SlotField::Word) + self.slots + index as usize
    }

    /// A change that may have to be undone: the word and what it was. Each process writes in a place of its own, which
    /// stays in its caches.
    pub(super) fn undo(self, owner: Owner, index: u64) -> usize {
        self.progress(owner) + 1 + 2 * index as usize
    }

    /// How many steps that process has finished, and how many changes of an unfinished one are written down.
    pub(super) fn progress(self, owner: Owner) -> usize {
        self.first_undo() + owner.place() * self.undo_length()
    }

    fn first_undo(self) -> usize {
        self.free(self.slots as u64)
    }

    /// How many changes the longest step makes: one that passes over all slots.
    pub(super) fn changes(self) -> usize {
        CHANGES_PER_SLOT * self.slots + 2 * self.turns + FIELDS + PLACE_FIELDS + 1
    }

    fn undo_length(self) -> usize {
        (1 + 2 * self.changes()).next_multiple_of(CACHE_LINE)
    }

    /// The slots of early results, each number one too high so that 0 is nothing.
    pub(super) fn early(self, index: usize) -> usize {
        self.first_undo() + self.places * self.undo_length() + index
    }

    /// Whether a step changes that word: all but those in which it writes down what it changes.
    pub(super) fn is_changed(self, at: usize) -> bool {
        at < self.first_undo() || (self.early(0)..self.words()).contains(&at)
    }

    /// The sum over all words that are `weighed`.
    pub(super) fn sum(self) -> usize {
        self.early(self.ahead)
    }

    /// By how much a word counts in the sum, so that no stray write into one of them leaves the sum as it is: an odd number,
    /// another for each. 0 for those that are not in it: what may be written without the lock, what grows with the buffer,
    /// and what is told about durations.
    pub(super) fn weight(self, at: usize) -> u64 {
        let (places, first_slot) = (self.place(Owner::HOME, PlaceField::ReceiptTicket), self.slot(0, SlotField::Word));
        let counts = if at < FIELDS {
            at != Field::FilledWaited as usize && at != Field::EmptiedWaited as usize
        } else if at < first_slot {
            let field = at.wrapping_sub(places);
            at >= places && (at >= self.ended(0) || field % PLACE_FIELDS != PlaceField::RunningSince as usize)
        } else {
            at >= self.first_undo() && at != self.sum()
        };
        if counts { Layout::spread(at) } else { 0 }
    }

    /// An odd number, another for each word.
    pub(super) fn spread(at: usize) -> u64 {
        (at as u64).wrapping_mul(ODD) << 1 | 1
    }

    /// The words of a slot but its seal.
    pub(super) fn sealed(self, slot: usize) -> Range<usize> {
        self.slot(slot, SlotField::Word)..self.slot(slot, SlotField::Seal)
    }

    /// All words that count in the sum, and some that do not.
    pub(super) fn weighed(self) -> impl Iterator<Item = usize> {
        let places = self.place(Owner::HOME, PlaceField::ReceiptTicket);
        (0..FIELDS).chain(places..self.slot(0, SlotField::Word)).chain(self.early(0)..self.sum())
    }

    /// How many words there are.
    pub(crate) fn words(self) -> usize {
        self.sum() + 1
    }
}

/// A sample that is let in after its turn has come, and passes over another, changes for each of the two the queue's ends,
/// the bytes inside, a counter, three words of the drops, its slot's words, its place among the early ones, and the stack of
/// free slots and its height; and its part, and which parts have entered; and the seals, of the first one twice.
const CHANGES_PER_SLOT: usize = 37;

/// Spreads numbers over all bits (the golden ratio).
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
/// The sum over words that are all 0: not 0, so that a memory that was wiped is found.
pub(super) const SUM_OF_NOTHING: u64 = 0x5ca1_ab1e_0ddb_a115;

/// Words in a cache line.
const CACHE_LINE: usize = 8;
