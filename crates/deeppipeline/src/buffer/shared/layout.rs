//! Where each word of a shared buffer is.

use super::session::Owner;

/// How many dropped samples a buffer remembers by number.
pub(super) const DROPS: usize = 16;

/// Words of the histogram of durations: 64 steps an octave, for 40 octaves of nanoseconds.
pub(super) const TIMES: usize = 64 * 40;

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
    /// The take for which the last sample was received, and how many parts of it (or `WHOLE`).
    ReceiptTicket,
    ReceiptParts,
    /// Whether someone sleeps on the bell.
    FilledWaited,
    EmptiedWaited,
    /// When the stage began with what it has in hand, in nanoseconds of the monotonic clock; 0 while no user code runs.
    RunningSince,
}

const FIELDS: usize = Field::RunningSince as usize + 1;

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
    /// The take that has it in hand.
    Ticket,
    /// How many workers died with it in hand.
    Deaths,
    /// How many parts a worker that died had given of it.
    Given,
    /// Bytes of the slot that may be backed by memory.
    Touched,
}

const SLOT_FIELDS: usize = SlotField::Touched as usize + 1;

/// Where everything is, for a number of slots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(super) slots: usize,
}

impl Layout {
    pub(super) fn field(self, field: Field) -> usize {
        field as usize
    }

    pub(super) fn drop(self, index: u64) -> usize {
        FIELDS + 2 * (index as usize % DROPS)
    }

    pub(super) fn time(self, index: usize) -> usize {
        FIELDS + 2 * DROPS + index
    }

    pub(super) fn slot(self, slot: usize, field: SlotField) -> usize {
        FIELDS + 2 * DROPS + TIMES + slot * SLOT_FIELDS + field as usize
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
        self.free(self.slots as u64) + owner.place() * self.undo_length() + 1 + 2 * index as usize
    }

    /// How many changes of an unfinished transaction of that process are written down.
    pub(super) fn undo_count(self, owner: Owner) -> usize {
        self.undo(owner, 0) - 1
    }

    /// Words for the longest transaction, which passes over all slots.
    fn undo_length(self) -> usize {
        (1 + 2 * (CHANGES_PER_SLOT * self.slots + FIELDS)).next_multiple_of(CACHE_LINE)
    }

    /// How many words there are.
    pub(crate) fn words(self) -> usize {
        self.free(self.slots as u64) + Owner::PLACES * self.undo_length()
    }
}

/// A sample that is passed over changes the front of the queue, the bytes inside and its counter, three words of the
/// drops, its slot's word, and the stack of free slots and its height.
const CHANGES_PER_SLOT: usize = 9;

/// Words in a cache line.
const CACHE_LINE: usize = 8;
