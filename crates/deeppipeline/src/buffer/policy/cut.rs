//! A flush: what had entered the pipeline before it does not go on.
//!
//! Samples are numbered in the order in which they enter the pipeline, so a cut is a number, which each buffer keeps.
//! What waits with that number or a lower one leaves, and what still arrives with one does not come in. While the
//! buffers are cut one after the other, the first one is held: nothing that entered after the flush is taken, so no list
//! and no window has samples from both sides.

use super::lists::Queue;
use super::pause::Holder;
use super::{Change, Flight, How, Label, Storage, Wake, lower};
use crate::buffer::Arrival;

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

    /// Gives up what has that number or a lower one: what waits, what waits for its turn, and what a worker keeps for a
    /// window. What is in flight is counted, to be waited for. Who waits is woken by the caller, once all buffers are cut:
    /// a worker that finds room here must not take what the buffer in front of it still has.
    pub(in crate::buffer) fn cut(&mut self, number: u64, now: u64) {
        let head = self.head();
        head.cut = head.cut.max(number);
        let left = self.flush_waiting();
        self.flush_out_of_order();
        self.flush_windowed();

        let head = self.head();
        head.old = head.in_flight + left;
        head.full_by_bytes = 0;
        self.go_on(now);
    }

    /// Returns how many stay: others wait for the turn of what one of several workers is to try again.
    fn flush_waiting(&mut self) -> u64 {
        let (mut next, mut left) = (self.first(Queue::Waiting), 0);
        while let Some(slot) = next {
            next = self.after(slot);
            let waiting = *self.storage.slot(slot);
            if !self.is_old(waiting.number) {
                continue;
            }
            if self.limits.consumers.reorders() && waiting.is_tried_again() {
                left += 1;
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
        left
    }

    fn flush_out_of_order(&mut self) {
        let mut next = self.first(Queue::OutOfOrder);
        while let Some(slot) = next {
            next = self.after(slot);
            let number = self.storage.slot(slot).number;
            if self.is_old(number) {
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
        self.is_old(number)
    }

    /// Returns true if the sample of that number had entered the pipeline before the last flush. What `finish` gives
    /// where there was no sample has none.
    pub(super) fn is_old(&mut self, number: u64) -> bool {
        number > 0 && number <= self.head().cut
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

    /// Does so for samples in these slots, and returns true if one was.
    pub(super) fn lands_old(&mut self, slots: impl Iterator<Item = usize>) -> bool {
        let mut old = 0;
        for slot in slots {
            let number = self.storage.slot(slot).number;
            old += u64::from(self.is_old(number));
        }
        if old == 0 {
            return false;
        }
        lower(&mut self.head().old, old);
        if self.head().old == 0 {
            self.wake_producers(Wake::All);
        }
        true
    }
}
