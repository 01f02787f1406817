//! Lists of slots: each slot that is not free is in one of them.

use super::state::{List, SlotState};
use super::{Change, Storage, Wake};

/// One of the lists of a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Queue {
    /// Samples that wait to be taken, the oldest first.
    Waiting,
    /// Results that came before their turn, by the take that they are of.
    OutOfOrder,
    /// What a worker has taken and not settled, the oldest first.
    InFlight(usize),
}

fn slot_of(link: u64) -> Option<usize> {
    link.checked_sub(1).map(|slot| slot as usize)
}

fn link_to(slot: usize) -> u64 {
    slot as u64 + 1
}

impl<S: Storage> Change<'_, S> {
    fn list(&mut self, queue: Queue) -> &mut List {
        match queue {
            Queue::Waiting => &mut self.storage.head().waiting,
            Queue::OutOfOrder => &mut self.storage.head().out_of_order,
            Queue::InFlight(worker) => &mut self.storage.place(worker).in_flight,
        }
    }

    pub(super) fn first(&mut self, queue: Queue) -> Option<usize> {
        slot_of(self.list(queue).first)
    }

    pub(super) fn last(&mut self, queue: Queue) -> Option<usize> {
        slot_of(self.list(queue).last)
    }

    pub(in crate::buffer) fn after(&mut self, slot: usize) -> Option<usize> {
        slot_of(self.storage.slot(slot).next)
    }

    pub(super) fn before(&mut self, slot: usize) -> Option<usize> {
        slot_of(self.storage.slot(slot).previous)
    }

    pub(super) fn push_back(&mut self, queue: Queue, slot: usize) {
        let last = self.last(queue);
        self.insert_after(queue, last, slot);
    }

    /// Puts a slot behind another, or in front of all.
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
        self.list(queue).len -= 1;
    }

    pub(super) fn pop_front(&mut self, queue: Queue) -> Option<usize> {
        let slot = self.first(queue)?;
        self.remove(queue, slot);
        Some(slot)
    }

    /// Returns a slot that nothing is in: the one used last, whose memory is still in the caches, or a new one.
    pub(super) fn take_free(&mut self) -> usize {
        let head = self.storage.head();
        match slot_of(head.free.first) {
            Some(slot) => {
                let next = self.storage.slot(slot).next;
                let head = self.storage.head();
                head.free.first = next;
                head.free.len -= 1;
                slot
            }
            None => {
                head.fresh += 1;
                head.fresh as usize - 1
            }
        }
    }

    /// Nothing is in that slot any more, which is in no list.
    pub(super) fn free(&mut self, slot: usize) {
        let first = self.storage.head().free.first;
        let freed = self.storage.slot(slot);
        freed.state = SlotState::Free;
        freed.next = first;
        let head = self.storage.head();
        head.free.first = link_to(slot);
        head.free.len += 1;
    }

    /// Frees the slots of what a worker has in flight, and returns how many there were.
    pub(super) fn land(&mut self, worker: usize) -> u64 {
        let samples = self.list(Queue::InFlight(worker)).len;
        while let Some(slot) = self.pop_front(Queue::InFlight(worker)) {
            self.free(slot);
        }
        self.storage.place(worker).ticket = 0;
        if self.limits.takers.workers > 1 {
            // Others may have waited for the oldest in flight.
            self.wake_consumers(Wake::All);
        }
        samples
    }
}
