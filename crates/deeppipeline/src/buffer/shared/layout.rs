//! The layout of a shared buffer: where each word is.

use super::owner::Owner;
use crate::buffer::Limits;
use crate::buffer::histogram::{Durations, HISTOGRAMS, TIMES, WINDOWS};
use crate::buffer::policy::{Head, Lane, Place, Slot, Totals};
use crate::buffer::visit::Visit;
use crate::cuts::SourceCut;
use std::mem::offset_of;

/// The largest number of slots: more cannot be numbered.
pub(super) const MOST_SLOTS: usize = 1 << 26;

/// The number of dropped samples that a buffer remembers by number.
pub(super) const DROPS: usize = 16;

/// Words of the head, the totals, a place and a slot. Behind each is a seal.
pub(super) const HEAD: usize = size_of::<Head>() / 8;
pub(super) const TOTALS: usize = size_of::<Totals>() / 8;
pub(super) const PLACE: usize = size_of::<Place>() / 8;
pub(super) const SLOT: usize = size_of::<Slot>() / 8;
pub(super) const LANE: usize = size_of::<Lane>() / 8;
pub(super) const SOURCE_CUT: usize = size_of::<SourceCut>() / 8;

/// Words of a visit, which is written without a log and not sealed: nothing follows from it.
pub(super) const VISIT: usize = size_of::<Visit>() / 8;

/// Words in a cache line.
const CACHE_LINE: usize = 8;
/// The counts of a window, the longest, and the period in which it was used last.
const COUNTED: usize = TIMES + 2;
/// The windows of a histogram, and what was before them.
const HISTOGRAM: usize = (WINDOWS + 1) * COUNTED;
/// Words that are changed at any time by one who need not have the lock, at the beginning of each process's own.
const OWN: usize = 2;

/// Words that exist once and are written without a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Waited {
    /// The mark that a consumer sleeps until there is something to take.
    NotEmpty,
    /// The same for room.
    NotFull,
}

/// The layout: where everything is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(super) slots: usize,
    /// Processes that share the buffer, the pipeline's own among them.
    pub(super) places: usize,
    /// Takes behind which others may have ended.
    pub(super) turns: usize,
    /// Entrances that have a lane each.
    pub(super) lanes: usize,
    /// Sources that may be flushed alone.
    pub(super) source_cuts: usize,
    place_at: usize,
    lane_at: usize,
    source_cut_at: usize,
    rings_at: usize,
    time_at: usize,
    slot_at: usize,
    ends_at: usize,
    ends: usize,
    own_at: usize,
    own: usize,
    changes: usize,
    visits_at: usize,
    visits: usize,
}

fn lines(words: usize) -> usize {
    words.next_multiple_of(CACHE_LINE)
}

/// The index of the totals: behind the head, and a line of words that are written without a log.
const TOTALS_AT: usize = (HEAD + 1).next_multiple_of(CACHE_LINE) + CACHE_LINE;

/// Words of a slot, with its seal.
const SEALED_SLOT: usize = SLOT + 1;

/// Words of the end of a sample. Behind it is a seal.
pub(super) const END: usize = 6;

impl Layout {
    pub(super) fn new(limits: Limits, slots: usize, places: usize) -> Self {
        let (turns, untold_ends) = (limits.turns(), limits.ends);
        let Limits { lanes, source_cuts, .. } = limits;
        let place_at = TOTALS_AT + lines(TOTALS + 1);
        let lane_at = place_at + places * lines(PLACE + 1);
        let source_cut_at = lane_at + lanes * (LANE + 1);
        let rings_at = lines(source_cut_at + source_cuts * (SOURCE_CUT + 1));
        let time_at = lines(rings_at + 4 * DROPS + turns + 1);
        let slot_at = lines(time_at + HISTOGRAMS * HISTOGRAM);
        let ends_at = lines(slot_at + slots.saturating_mul(SEALED_SLOT));
        // One of each sample for which somebody waits, and one of each part of them that is here.
        let ends = if untold_ends > 0 { slots.saturating_add(untold_ends) } else { 0 };
        let own_at = lines(ends_at.saturating_add(ends.saturating_mul(END + 1)));
        // Each word is changed once at most. Beside the head and every slot, a change has to do with two places, of the
        // process that makes it and of a dead one, with all lanes, all turns, all drops, and a time of each sample and of
        // a call. What is kept for windows, at each place, a flush changes as well, and one of a source its cut.
        let kept = places.saturating_mul(2);
        let once =
            HEAD + 1 + TOTALS + 1 + 2 * (PLACE + 1) + kept + SOURCE_CUT + 1 + 4 * DROPS + turns + 1 + 2 * HISTOGRAMS;
        let of_ends = if untold_ends > 0 { slots.saturating_add(2).saturating_mul(END + 1) } else { 0 };
        let of_slots = slots.saturating_mul(SEALED_SLOT + 1);
        let changes = (once + lanes * (LANE + 1)).saturating_add(of_slots).saturating_add(of_ends);
        let own = lines(OWN + 2 * changes);
        let visits_at = own_at + places * own;
        Layout {
            slots,
            places,
            turns,
            lanes,
            source_cuts,
            place_at,
            lane_at,
            source_cut_at,
            rings_at,
            time_at,
            slot_at,
            ends_at,
            ends,
            own_at,
            own,
            changes,
            visits_at,
            visits: limits.visits,
        }
    }

    pub(super) fn head(self) -> usize {
        0
    }

    /// The word of the head with the number of the last sample before the last flush.
    pub(super) fn last_cut(self) -> usize {
        self.head() + offset_of!(Head, cut) / 8
    }

    pub(super) fn waited(self, waited: Waited) -> usize {
        TOTALS_AT - CACHE_LINE + waited as usize
    }

    pub(super) fn totals(self) -> usize {
        TOTALS_AT
    }

    pub(super) fn place(self, place: usize) -> usize {
        self.place_at + place * lines(PLACE + 1)
    }

    pub(super) fn lane(self, lane: usize) -> usize {
        self.lane_at + lane * (LANE + 1)
    }

    pub(super) fn source_cut(self, place: usize) -> usize {
        self.source_cut_at + place * (SOURCE_CUT + 1)
    }

    /// The last drops, the last failures, and takes that have ended before their turn, with one seal behind.
    pub(super) fn rings(self) -> usize {
        self.rings_at
    }

    /// Returns the number of those words, without the seal.
    pub(super) fn in_rings(self) -> usize {
        4 * DROPS + self.turns
    }

    /// Returns the place of a drop in the rings.
    pub(super) fn drop(self, index: u64) -> usize {
        2 * (index as usize % DROPS)
    }

    /// Returns the place of a failure in the rings.
    pub(super) fn failure(self, index: u64) -> usize {
        2 * DROPS + self.drop(index)
    }

    /// Returns the place in the rings of the number of a take that has ended before its turn.
    pub(super) fn ended(self, ticket: u64) -> usize {
        4 * DROPS + (ticket % self.turns as u64) as usize
    }

    /// The counts of the durations of a kind before all windows.
    pub(super) fn counts_before(self, durations: Durations) -> usize {
        self.time_at + durations as usize * HISTOGRAM
    }

    /// The counts in the place of the window of that period.
    pub(super) fn counts_in(self, durations: Durations, period: u64) -> usize {
        self.counts_before(durations) + (1 + (period % WINDOWS as u64) as usize) * COUNTED
    }

    /// The longest duration of those that are counted there, in nanoseconds.
    pub(super) fn longest(self, counts: usize) -> usize {
        counts + TIMES
    }

    /// The period in which that place was used last.
    pub(super) fn used_last(self, counts: usize) -> usize {
        counts + TIMES + 1
    }

    pub(super) fn slot(self, slot: usize) -> usize {
        self.slot_at + slot * SEALED_SLOT
    }

    /// The slot whose words begin there.
    pub(super) fn slot_at(self, at: usize) -> usize {
        (at - self.slot_at) / SEALED_SLOT
    }

    /// Returns the place of the end of a sample that has that number.
    pub(super) fn end(self, number: u64) -> usize {
        self.ends_at + (number % self.ends as u64) as usize * (END + 1)
    }

    /// Returns the number of ends of samples that are kept.
    pub(super) fn ends(self) -> u64 {
        self.ends as u64
    }

    fn own(self, owner: Owner) -> usize {
        self.own_at + owner.place() * self.own
    }

    /// Returns the place of the word that tells how many changes that process has made, and how many words of an
    /// unfinished one are written down.
    pub(super) fn progress(self, owner: Owner) -> usize {
        self.own(owner)
    }

    /// Returns the place of the time when its stage began with what it has in flight, in nanoseconds of the monotonic
    /// clock; 0 while no user code runs.
    pub(super) fn running_since(self, owner: Owner) -> usize {
        self.own(owner) + 1
    }

    /// A word that is to be changed: where it is, and what it will be. Each process writes in a place of its own, which
    /// stays in its caches.
    pub(super) fn log(self, owner: Owner, index: usize) -> usize {
        self.own(owner) + OWN + 2 * index
    }

    /// Returns the number of words that one change changes at most.
    pub(super) fn changes(self) -> usize {
        self.changes
    }

    /// Returns true if a change may change that word.
    pub(super) fn is_changed(self, at: usize) -> bool {
        at < self.own_at && !(TOTALS_AT - CACHE_LINE..TOTALS_AT).contains(&at)
    }

    /// Returns the number of words.
    pub(crate) fn words(self) -> usize {
        self.visits_at + 1 + self.visits * VISIT
    }

    /// The word that counts the visits that were kept.
    pub(super) fn visits_kept(self) -> usize {
        self.visits_at
    }

    /// Returns the place of the visit of that number, where any are kept.
    pub(super) fn visit(self, number: u64) -> Option<usize> {
        let place = number.checked_rem(self.visits as u64)?;
        Some(self.visits_at + 1 + place as usize * VISIT)
    }

    /// Returns the number of visits that are kept.
    pub(super) fn visits(self) -> u64 {
        self.visits as u64
    }
}
