//! A flush: what had entered the pipeline before it does not go on.
//!
//! Samples are numbered in the order in which they enter the pipeline, so a cut is a number, which each buffer keeps.
//! What waits with that number or a lower one leaves, and what still arrives with one does not come in. While the
//! buffers are cut one after the other, all are held, and nothing is taken: so no list and no window has samples from
//! both sides.
//!
//! A source may be flushed alone. There is a cut for each source then, until a flush of all that comes later; they are
//! looked at only for a sample that is older than the last flush of any kind.

use super::lists::Queue;
use super::pause::Holder;
use super::state::SlotState;
use super::{Change, Flight, How, Label, Storage, Totals, Wake, lower};
use crate::buffer::Arrival;
use crate::cuts::{Cut, Cuts, SourceCut};
use crate::source_id::SourceId;

impl<S: Storage> Change<'_, S> {
    /// Keeps everything from being taken until the buffer is cut; returns the number of the last sample that has
    /// entered.
    pub(in crate::buffer) fn hold(&mut self) -> u64 {
        self.hold_for(Holder::Flush);
        self.head().entered
    }

    /// Lets samples be taken again.
    pub(in crate::buffer) fn let_take(&mut self) {
        self.let_take_after(Holder::Flush);
    }

    /// Gives up what had entered before a flush: what waits, what waits for its turn, and what a worker keeps for a window.
    /// (What it keeps of one source alone, it lets go itself.) What is in flight is counted, to be waited for. Who waits is
    /// woken by the caller.
    pub(in crate::buffer) fn cut(&mut self, cut: Cut, now: u64) {
        self.note_cut(cut);
        self.flush_waiting();
        self.flush_out_of_order();
        if cut.source.is_none() {
            self.flush_windowed();
        }

        let old = self.count_old();
        let head = self.head();
        head.old = old;
        head.full_by_bytes = 0;
        self.go_on(now);
    }

    fn note_cut(&mut self, cut: Cut) {
        let Cut { number, source } = cut;
        self.head().cut = self.head().cut.max(number);
        let Some(source) = source else {
            let totals = self.totals();
            (totals.cut_of_all, totals.source_cuts) = (totals.cut_of_all.max(number), 0);
            return;
        };
        let place = self.place_of_cut(source).unwrap_or_else(|| {
            self.totals().source_cuts += 1;
            self.totals().source_cuts as usize - 1
        });
        *self.storage.source_cut(place) = SourceCut { source: source.to_word(), number };
    }

    fn place_of_cut(&mut self, source: SourceId) -> Option<usize> {
        let known = self.totals().source_cuts as usize;
        (0..known).find(|place| self.storage.source_cut(*place).source == source.to_word())
    }

    /// Forgets the last flush of a source.
    pub(in crate::buffer) fn forget_cut(&mut self, source: SourceId) {
        if let Some(place) = self.place_of_cut(source) {
            let forgotten = self.storage.source_cut(place).number;
            let last = self.totals().source_cuts as usize - 1;
            *self.storage.source_cut(place) = *self.storage.source_cut(last);
            let totals = self.totals();
            totals.source_cuts -= 1;
            totals.forgotten_cut = totals.forgotten_cut.max(forgotten);
        }
    }

    /// Returns true if nothing from before the last flush of that source is in flight.
    pub(in crate::buffer) fn has_landed(&mut self, source: SourceId) -> bool {
        self.slots_that(|change, slot| change.storage.slot(slot).source() == source && change.is_slot_old(slot)) == 0
    }

    /// Returns the flushes of all, and of single sources since.
    pub(in crate::buffer) fn cuts(&mut self) -> Cuts {
        let Totals { cut_of_all: of_all, source_cuts, forgotten_cut: forgotten, .. } = *self.totals();
        let of_sources = (0..source_cuts as usize).map(|place| *self.storage.source_cut(place)).collect();
        Cuts { of_all, of_sources, forgotten }
    }

    /// Counts what is in flight from before a flush, or is to be tried again by one of several workers.
    fn count_old(&mut self) -> u64 {
        self.slots_that(Self::is_slot_old)
    }

    /// Counts the slots with a sample in flight, or one that waits, that are so.
    fn slots_that(&mut self, are_so: impl Fn(&mut Self, usize) -> bool) -> u64 {
        let used = self.head().fresh.min(self.storage.slots()) as usize;
        let is_here = |change: &mut Self, slot: usize| {
            let slot = change.storage.slot(slot);
            slot.is_in(SlotState::InFlight) || slot.is_in(SlotState::Waiting)
        };
        (0..used).filter(|slot| is_here(self, *slot) && are_so(self, *slot)).count() as u64
    }

    /// Leaves what one of several workers is to try again: others wait for its turn.
    fn flush_waiting(&mut self) {
        let mut next = self.first(Queue::Waiting);
        while let Some(slot) = next {
            next = self.after(slot);
            if !self.is_slot_old(slot) {
                continue;
            }
            if self.limits.consumers.reorders() && self.storage.slot(slot).is_tried_again() {
                continue;
            }
            self.leave_waiting(slot);
            self.totals().buffer.flushed += 1;
            if let Some(lane) = self.lane_of_slot(slot) {
                lower(&mut lane.returned, 1);
                lane.totals.flushed += 1;
            }
            self.note_end(slot, How::Flushed);
            self.storage.give_up(slot);
            self.free(slot);
        }
        self.flush_lanes();
    }

    fn flush_out_of_order(&mut self) {
        let mut next = self.first(Queue::OutOfOrder);
        while let Some(slot) = next {
            next = self.after(slot);
            if self.is_slot_old(slot) {
                self.remove(Queue::OutOfOrder, slot);
                self.count_flushed();
                self.note_end(slot, How::Flushed);
                self.storage.give_up(slot);
                self.free(slot);
            }
        }
    }

    fn flush_windowed(&mut self) {
        for place in 0..self.storage.places() {
            let windowed = std::mem::take(&mut self.storage.place(place).windowed);
            if windowed > 0 {
                self.totals().stage.flushed += windowed;
                lower(&mut self.head().in_flight, windowed);
            }
        }
    }

    /// Counts a sample as flushed that does not come in.
    pub(super) fn flush_outside(&mut self, label: &Label) {
        self.count_flushed();
        self.note_end_outside(label, label.id, How::Flushed);
    }

    /// Counts a sample that enters only to be given up.
    fn count_flushed(&mut self) {
        self.head().entered += 1;
        self.totals().buffer.flushed += 1;
    }

    /// Returns true if an arriving sample had entered the pipeline before the last flush.
    #[inline(always)]
    pub(super) fn is_cut_off(&mut self, label: &Label) -> bool {
        self.head().cut > 0 && self.is_label_old(label)
    }

    #[cold]
    fn is_label_old(&mut self, label: &Label) -> bool {
        let number = match label.arrival {
            // Where a source gives to several branches, one may have had a sample before the flush.
            Arrival::Source | Arrival::Outside => self.head().entered + 1,
            Arrival::Stage | Arrival::PartOfWhole | Arrival::PartOfPart => label.id.number,
        };
        self.is_old(number, label.source)
    }

    /// Returns true if the sample of that number and source had entered the pipeline before the last flush of all, or of
    /// its source. What `finish` gives where there was no sample has no number.
    pub(in crate::buffer) fn is_old(&mut self, number: u64, source: SourceId) -> bool {
        number > 0 && number <= self.head().cut && self.is_cut_in_any_way(number, source)
    }

    #[cold]
    fn is_cut_in_any_way(&mut self, number: u64, source: SourceId) -> bool {
        let (of_all, known) = (self.totals().cut_of_all, self.totals().source_cuts as usize);
        let source = source.to_word();
        number <= of_all || (0..known).any(|place| self.storage.source_cut(place).cuts_off(number, source))
    }

    /// Returns true if the sample in a slot had entered the pipeline before such a flush.
    pub(super) fn is_slot_old(&mut self, slot: usize) -> bool {
        let slot = self.storage.slot(slot);
        let (number, source) = (slot.number, slot.source());
        self.is_old(number, source)
    }

    /// Returns true if a slot and all behind it have samples from before a flush.
    pub(in crate::buffer) fn is_all_old(&mut self, first: usize) -> bool {
        let mut next = Some(first);
        while let Some(slot) = next {
            if !self.is_slot_old(slot) {
                return false;
            }
            next = self.after(slot);
        }
        true
    }

    /// Returns true if nothing from before the last flush is in flight.
    pub(in crate::buffer) fn is_flushed(&mut self) -> bool {
        self.head().old == 0
    }

    /// Counts down what is no longer in flight from before the last flush.
    #[cold]
    pub(super) fn land_old(&mut self, place: usize, flight: Flight<'_>) {
        let slots = self.slots_of_flight(place, flight);
        self.lands_old(slots.into_iter());
    }

    /// Does so for samples in these slots.
    pub(super) fn lands_old(&mut self, slots: impl Iterator<Item = usize>) {
        let mut old = 0;
        for slot in slots {
            old += u64::from(self.is_slot_old(slot));
        }
        if old == 0 {
            return;
        }
        lower(&mut self.head().old, old);
        if self.head().old == 0 {
            self.wake_producers(Wake::All);
        }
    }
}
