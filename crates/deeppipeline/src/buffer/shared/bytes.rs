//! A received sample where it lies, and what its stage still looks at.

use super::map::{Map, Room};
use super::table::{Slot, SlotTable};
use crate::buffer::NoAddresses;
use crate::buffer::{Receipt, Settlement};
use crate::sample::{SampleId, SampleInfo};
use crate::unwind::BoxError;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The bytes of a sample that came from another process, where they lie in the memory that both share.
///
/// As long as this lives, the buffer uses its slot for nothing else. A receiver that keeps many gets copies before the
/// buffer runs out of slots. Bytes to be sent may be made from a `Vec<u8>`.
pub struct SharedBytes {
    place: Place,
    /// The offset at which the bytes begin that are still of interest.
    from: usize,
}

enum Place {
    Slot { table: Arc<SlotTable<Map>>, room: Room, seen: Arc<Seen>, writable: bool },
    Owned(Vec<u8>),
}

/// The meeting of a view of a slot and the fate of the sample in it: the one that comes second frees the slot.
#[derive(Debug)]
struct Seen {
    slot: usize,
    length: usize,
    /// The sample whose bytes they are.
    info: SampleInfo,
    phase: AtomicU8,
    /// A child that this process forks has the views too, but no slots to give back.
    process: u32,
}

const LOOKED_AT: u8 = 0;
const NOT_LOOKED_AT: u8 = 1;
/// The sample has got its fate, and its slot is held for the view.
const HELD: u8 = 2;

impl SharedBytes {
    /// Returns the bytes, to be written; `None` where the sample may have to be handed to another worker again.
    pub fn as_mut(&mut self) -> Option<&mut [u8]> {
        let all = match &mut self.place {
            Place::Owned(bytes) => bytes,
            Place::Slot { room, writable: true, .. } => room.bytes_mut(),
            Place::Slot { writable: false, .. } => return None,
        };
        Some(&mut all[self.from..])
    }

    /// Returns true if the bytes may be written.
    pub fn is_writable(&self) -> bool {
        !matches!(self.place, Place::Slot { writable: false, .. })
    }

    /// Returns the same without that many at the front, or none if there are fewer.
    #[must_use]
    pub fn skip(mut self, count: usize) -> Self {
        self.from += count.min(self.len());
        self
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        SharedBytes { place: Place::Owned(bytes), from: 0 }
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all = match &self.place {
            Place::Owned(bytes) => bytes,
            Place::Slot { room, .. } => room.bytes(),
        };
        &all[self.from..]
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.len())
    }
}

impl Drop for SharedBytes {
    fn drop(&mut self) {
        if let Place::Slot { table, seen, .. } = &self.place
            && seen.phase.swap(NOT_LOOKED_AT, Ordering::AcqRel) == HELD
            && seen.process == std::process::id()
        {
            table.release(seen.slot);
        }
    }
}

/// The slots that a worker has in flight.
pub(crate) struct Lease {
    table: Arc<SlotTable<Map>>,
    slots: Vec<Arc<Seen>>,
    process: u32,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({:?})", self.slots)
    }
}

impl Lease {
    pub(super) fn new(table: &Arc<SlotTable<Map>>, process: u32) -> Self {
        Lease { table: Arc::clone(table), slots: Vec::new(), process }
    }

    /// Looks at one more slot of this take, or at a copy of it.
    ///
    /// # Errors
    /// An error if there are no addresses for it; it is in flight all the same.
    pub(super) fn look_at(
        &mut self,
        slot: Slot,
        info: SampleInfo,
        copy: bool,
        writable: bool,
    ) -> Result<SharedBytes, BoxError> {
        let (index, length, process) = (slot.index(), slot.length(), self.process);
        let seen = Arc::new(Seen { slot: index, length, info, phase: AtomicU8::new(NOT_LOOKED_AT), process });
        self.slots.push(Arc::clone(&seen));
        let room = self.room(slot)?;
        if copy {
            return Ok(room.bytes().to_vec().into());
        }
        seen.phase.store(LOOKED_AT, Ordering::Release);
        Ok(SharedBytes { place: Place::Slot { table: Arc::clone(&self.table), room, seen, writable }, from: 0 })
    }

    fn room(&self, slot: Slot) -> Result<Room, BoxError> {
        let size = slot.length();
        self.table.words().room(slot).map_err(|(_, cause)| NoAddresses { size, cause }.into())
    }

    /// Returns copies of all that is in flight, oldest first.
    pub(super) fn copies(&self) -> impl Iterator<Item = (SampleInfo, Result<SharedBytes, BoxError>)> {
        self.slots.iter().map(|seen| {
            let room = self.room(Slot { index: seen.slot, length: seen.length });
            (seen.info, room.map(|room| room.bytes().to_vec().into()))
        })
    }

    /// Returns the bytes of what is in flight, oldest first, so many samples at most.
    pub(crate) fn bytes(&self, at_most: usize) -> impl Iterator<Item = (SampleId, Vec<u8>)> {
        let bytes = self.slots.iter().take(at_most).filter_map(|seen| {
            let room = self.room(Slot { index: seen.slot, length: seen.length }).ok()?;
            Some((seen.info.id, room.bytes().to_vec()))
        });
        bytes.collect::<Vec<_>>().into_iter()
    }

    /// Notes how often the stage has failed on each that is in flight, oldest first.
    pub(crate) fn note_failures(&self, failures: impl Iterator<Item = u32>) {
        self.table.note_failures(self.slots.iter().map(|seen| seen.slot).zip(failures.map(u64::from)));
    }

    /// Returns the number of samples in flight.
    pub(crate) fn count(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Returns what the next buffer is to remember of a value given now: the take that it belongs to, the sample of it,
    /// and of which part.
    #[expect(clippy::unused_self, reason = "only what is in flight from another process is remembered like this")]
    pub(crate) fn receipt(&self, ticket: u64, sample: u64, parts: Option<u64>) -> Receipt {
        Receipt { ticket, sample, parts }
    }

    /// Notes that the user's code runs on it, or does not.
    pub(crate) fn set_running_since(&self, nanoseconds: Option<u64>) {
        self.table.set_running_since(nanoseconds);
    }

    /// Gives the oldest its fate; the others stay in flight.
    pub(crate) fn settle_first(&mut self, settlement: Settlement) {
        let first = Lease { table: Arc::clone(&self.table), slots: vec![self.slots.remove(0)], process: self.process };
        let table = &self.table;
        first.leave(|slots| table.settle_one(slots[0], settlement));
    }

    /// Gives the samples their fate.
    pub(crate) fn settle(self, settlement: Settlement) {
        let table = Arc::clone(&self.table);
        self.leave(|slots| table.settle(slots, settlement));
    }

    /// Leaves the samples with the stage, for a later list.
    pub(crate) fn keep_for_window(self) {
        let table = Arc::clone(&self.table);
        self.leave(|slots| table.keep(slots));
    }

    /// Takes the slots out of flight, as the caller does it who gets them, and whether each is looked at.
    pub(super) fn leave<T>(self, leave: impl FnOnce(&[(usize, bool)]) -> T) -> T {
        let is_viewed = |seen: &Arc<Seen>| seen.phase.load(Ordering::Acquire) == LOOKED_AT;
        let slots: Vec<_> = self.slots.iter().map(|seen| (seen.slot, is_viewed(seen))).collect();
        let left = leave(&slots);
        for (seen, (slot, viewed)) in self.slots.iter().zip(&slots) {
            let meets = || seen.phase.compare_exchange(LOOKED_AT, HELD, Ordering::AcqRel, Ordering::Acquire);
            if *viewed && meets().is_err() {
                self.table.release(*slot);
            }
        }
        left
    }
}
