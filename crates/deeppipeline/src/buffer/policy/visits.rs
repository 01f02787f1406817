//! The visits that a buffer keeps: each is noted in the change that ends it.

use super::settle::Flight;
use super::state::SlotState;
use super::{Change, How, Label, SampleId, Storage};
use crate::buffer::visit::Visit;
use std::ops::Range;

impl<S: Storage> Change<'_, S> {
    /// Keeps the visit of what is in a slot and was not taken.
    #[inline(always)]
    pub(super) fn keep_visit(&mut self, slot: usize, how: How) {
        if self.limits.visits > 0 {
            let now = self.storage.now();
            // It may have been in flight before.
            let visit = Visit { taken: 0, ..Visit::of(self.storage.slot(slot)) };
            self.storage.keep_visit(visit.end(how, now));
        }
    }

    /// Keeps that of a sample that does not come in.
    #[inline(always)]
    pub(super) fn keep_visit_outside(&mut self, label: &Label, id: SampleId, how: How) {
        if self.limits.visits > 0 {
            let now = self.storage.now();
            let came = if label.came == 0 { now } else { label.came };
            let (source, SampleId { number, part }) = (label.source.to_word(), id);
            // What the source or a caller brings gets its number only as it enters.
            let number = if number == 0 { self.head().entered } else { number };
            let visit = Visit { number, part, source, came, ..Visit::default() };
            self.storage.keep_visit(visit.end(how, now));
        }
    }

    /// Keeps those of what is in flight and ends at that time.
    #[inline(always)]
    pub(super) fn keep_visits(&mut self, place: usize, flight: Flight<'_>, how: How, ended: u64) {
        let keep = |change: &mut Self, slot: usize, is_newest: bool| {
            let how = change.how_landed(slot, is_newest, how);
            let visit = Visit::of(change.storage.slot(slot));
            change.storage.keep_visit(visit.end(how, ended));
        };
        match flight {
            Flight::Slots(slots) => {
                slots.iter().enumerate().for_each(|(index, (slot, _))| keep(self, *slot, index + 1 == slots.len()));
            }
            Flight::OneOf((slot, _)) => keep(self, slot, true),
            Flight::FirstOfTake(_) => self.first_of_take(place).into_iter().for_each(|slot| keep(self, slot, true)),
            Flight::OfTake(_) => {
                let mut next = self.first_of_take(place);
                while let Some(slot) = next {
                    next = self.after(slot);
                    keep(self, slot, next.is_none());
                }
            }
        }
    }

    /// Keeps that of what a dead worker had in flight: it ended like that, or is tried again.
    #[cfg(processes)]
    pub(super) fn keep_visit_of_dead(&mut self, slot: usize, how: Option<How>) {
        if self.limits.visits > 0 {
            let now = self.storage.now();
            let visit = Visit::of(self.storage.slot(slot));
            self.storage.keep_visit(visit.die(how, now));
        }
    }

    /// Returns the visits so far of what is in those slots, of so many as there are.
    pub(in crate::buffer) fn present_visits(&mut self, among: Range<usize>) -> Vec<Visit> {
        let used = self.head().fresh.min(self.storage.slots()) as usize;
        let mut visits = Vec::new();
        for slot in among.start..among.end.min(used) {
            let slot = self.storage.slot(slot);
            if slot.is_in(SlotState::InFlight) {
                visits.push(Visit::of(slot));
            } else if slot.is_in(SlotState::Waiting) || slot.is_in(SlotState::OutOfOrder) {
                visits.push(Visit { taken: 0, ..Visit::of(slot) });
            }
        }
        visits
    }
}
