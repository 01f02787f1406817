//! Lists of slots: the free ones, and those that wait to be taken or for their turn.

use super::state::{List, SlotState};
use super::{Change, Damage, Storage, Wake, damaged, lower};

/// One of the lists of a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Queue {
    /// Samples that wait to be taken, the oldest first.
    Waiting,
    /// Results that came before their turn, by the take that they are of.
    OutOfOrder,
    /// Samples that wait in that lane, the oldest first.
    Lane(usize),
}

#[inline]
fn slot_of(link: u64) -> Option<usize> {
    link.checked_sub(1).map(|slot| slot as usize)
}

#[inline]
fn link_to(slot: usize) -> u64 {
    slot as u64 + 1
}

impl<S: Storage> Change<'_, S> {
    #[inline(always)]
    fn list(&mut self, queue: Queue) -> &mut List {
        match queue {
            Queue::Waiting => &mut self.storage.head().waiting,
            Queue::OutOfOrder => &mut self.storage.totals().out_of_order,
            Queue::Lane(place) => &mut self.storage.lane(place).waiting,
        }
    }

    #[inline(always)]
    pub(super) fn first(&mut self, queue: Queue) -> Option<usize> {
        slot_of(self.list(queue).first)
    }

    #[inline(always)]
    pub(super) fn last(&mut self, queue: Queue) -> Option<usize> {
        slot_of(self.list(queue).last)
    }

    #[inline(always)]
    pub(in crate::buffer) fn after(&mut self, slot: usize) -> Option<usize> {
        slot_of(self.storage.slot(slot).next)
    }

    pub(super) fn before(&mut self, slot: usize) -> Option<usize> {
        slot_of(self.storage.slot(slot).previous)
    }

    #[inline(always)]
    pub(super) fn push_back(&mut self, queue: Queue, slot: usize) {
        let last = self.last(queue);
        self.insert_after(queue, last, slot);
    }

    #[cfg(processes)]
    pub(super) fn push_front(&mut self, queue: Queue, slot: usize) {
        self.insert_after(queue, None, slot);
    }

    /// Puts a slot behind another, or in front of all.
    #[inline(always)]
    pub(super) fn insert_after(&mut self, queue: Queue, before: Option<usize>, slot: usize) {
        let next = match before {
            Some(before) => std::mem::replace(&mut self.storage.slot(before).next, link_to(slot)),
            None => std::mem::replace(&mut self.list(queue).first, link_to(slot)),
        };
        match slot_of(next) {
            Some(next) => self.storage.slot(next).previous = link_to(slot),
            None => self.list(queue).last = link_to(slot),
        }
        let linked = self.storage.slot(slot);
        (linked.previous, linked.next) = (before.map_or(0, link_to), next);
        self.list(queue).len += 1;
    }

    #[inline(always)]
    pub(super) fn remove(&mut self, queue: Queue, slot: usize) {
        let removed = self.storage.slot(slot);
        let (previous, next) = (removed.previous, removed.next);
        match slot_of(previous) {
            Some(before) => self.storage.slot(before).next = next,
            None => self.list(queue).first = next,
        }
        match slot_of(next) {
            Some(after) => self.storage.slot(after).previous = previous,
            None => self.list(queue).last = previous,
        }
        lower(&mut self.list(queue).len, 1);
    }

    /// Returns true if a sample can come in at all.
    #[inline(always)]
    pub(super) fn has_free_slot(&mut self) -> bool {
        let slots = self.storage.slots();
        let head = self.storage.head();
        head.free_slots > 0 || head.fresh < slots
    }

    /// Returns a slot that nothing is in; there must be one.
    #[inline(always)]
    pub(super) fn take_free(&mut self) -> usize {
        let head = self.storage.head();
        if head.free_slots == 0 {
            head.fresh += 1;
            return head.fresh as usize - 1;
        }
        head.free_slots -= 1;
        loop {
            let Some(slot) = slot_of(self.storage.head().free) else { damaged(Damage::Free) };
            let free = self.storage.slot(slot);
            let (is_free, next) = (free.is_in(SlotState::Free), free.next);
            if !is_free {
                // Its memory is given back at this moment.
                free.state = SlotState::TrimmedApart as u64;
            }
            self.storage.head().free = next;
            if is_free {
                return slot;
            }
        }
    }

    /// Frees that slot, which is in no list: nothing is in it any more.
    #[inline(always)]
    pub(super) fn free(&mut self, slot: usize) {
        // With a slot to be had, a sample may come in even where enough wait, as with `drop_oldest`.
        if !self.has_free_slot() {
            self.wake_producers(Wake::All);
        }
        let head = self.storage.head();
        let next = std::mem::replace(&mut head.free, link_to(slot));
        head.free_slots += 1;
        let freed = self.storage.slot(slot);
        (freed.state, freed.next) = (SlotState::Free as u64, next);
    }

    /// Links a slot that is in no list to the one behind it.
    #[inline(always)]
    pub(super) fn link(&mut self, slot: usize, next: Option<usize>) {
        self.storage.slot(slot).next = next.map_or(0, link_to);
    }

    /// Checks that a slot is in one of these states, and of that place.
    pub(super) fn expect(&mut self, slot: usize, place: usize, states: &[SlotState]) {
        let found = *self.storage.slot(slot);
        if found.owner != place as u64 {
            damaged(Damage::Owner);
        }
        if !states.iter().any(|state| found.is_in(*state)) {
            damaged(Damage::State);
        }
    }
}
