//! Anonymous shared memory: a file without a name, mapped by every process that gets its descriptor.
//!
//! Nothing named can be left behind, and the size of `/dev/shm` does not matter. The file is sealed against shrinking
//! and growing, so that no process can make another's reads fail. The only `unsafe` code of the engine is here.
//!
//! The file has a place for each slot in each size that a sample may have, so that nothing has to be allocated: that
//! costs nothing but numbers. Addresses and memory are taken by those places that are used.
#![allow(unsafe_code)]

use super::holders::{Holders, LOOK_AFTER};
use super::layout::MOST_SLOTS;
use super::owner::Owner;
use super::table::Slot;
use super::words::{Futex, Held, Holder, SharedWords};
use crate::buffer::{Limits, Wait};
use memmap2::{MmapOptions, MmapRaw};
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use rustix::thread::futex;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
/// The bytes from one futex to the next: each lies in a cache line of its own.
const FUTEX_BYTES: usize = 64;
const FUTEXES: usize = 3;
/// The smallest place for a sample; the others are twice as large each.
const SMALLEST: usize = 256;
/// The number of bytes that are mapped at once, where places are smaller than that.
const WINDOW: usize = 2 << 20;
/// The number of bytes up to which what is mapped stays mapped after use.
const KEPT: usize = 1 << 30;
/// The time after which a sleeper looks for itself: a stray write may have lost what would have woken it.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The arrangement of the file: what lies where.
#[derive(Debug, Clone, Copy)]
struct Shape {
    slots: usize,
    /// Words behind the futexes.
    words: usize,
    /// The offset at which the places begin.
    header: usize,
    /// The number of sizes of places.
    sizes: u32,
}

/// One place for a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The part of the file that is mapped for it.
    window: (usize, usize),
    /// The offset at which it begins in the window.
    at: usize,
}

/// Returns the smallest of the sizes with room for that many bytes.
fn size_for(length: usize) -> Option<u32> {
    let room = length.checked_next_power_of_two()?.max(SMALLEST);
    Some(room.ilog2() - SMALLEST.ilog2())
}

impl Shape {
    /// Returns the shape for these limits; `None` if the numbers do not reach so far.
    fn of(limits: Limits) -> Option<Shape> {
        let slots = Some(limits.slots()).filter(|slots| *slots <= MOST_SLOTS)?;
        let words = limits.layout().words();
        let header = words.checked_mul(8)?.checked_add(FUTEX_BYTES * FUTEXES)?.checked_next_multiple_of(WINDOW)?;
        let sizes = size_for(usize::try_from(limits.bytes).ok()?)? + 1;
        let shape = Shape { slots, words, header, sizes };
        let end = slots.checked_mul(SMALLEST.checked_shl(sizes)?)?.checked_add(sizes as usize * WINDOW)?;
        isize::try_from(end.checked_add(header)?).ok()?;
        Some(shape)
    }

    /// Returns the offset at which the places of a size begin. All smaller ones together have less room than those of
    /// this size.
    fn first(self, size: u32) -> usize {
        let smaller = (SMALLEST << size) - SMALLEST;
        self.header + (self.slots * smaller).next_multiple_of(WINDOW) + size as usize * WINDOW
    }

    fn file_size(self) -> usize {
        self.first(self.sizes)
    }

    /// Returns the place of a slot for a sample of that many bytes.
    ///
    /// # Panics
    /// Panics for one that no buffer of this shape has: the owner of the slot has checked that.
    fn place(self, slot: usize, length: usize) -> Place {
        let size = size_for(length).filter(|size| *size < self.sizes && slot < self.slots);
        let size = size.expect("a slot of this buffer");
        let (room, at) = (SMALLEST << size, slot * (SMALLEST << size));
        let window = at - at % room.max(WINDOW);
        Place { window: (self.first(size) + window, room.max(WINDOW)), at: at - window }
    }
}

/// Bytes of addresses that an empty buffer takes; about that many where the numbers do not reach so far.
pub(crate) fn addresses(limits: Limits) -> u128 {
    Shape::of(limits).map_or(limits.slots() as u128 * u128::from(limits.bytes), |shape| shape.header as u128)
}

/// The memory of one shared buffer.
#[derive(Debug)]
pub(crate) struct Map {
    /// The futexes and the words.
    header: MmapRaw,
    file: OwnedFd,
    shape: Shape,
    /// The mapped parts of the places, by where each begins in the file.
    windows: Mutex<HashMap<usize, Arc<MmapRaw>>>,
    holders: Holders,
}

/// The bytes of a slot, which belong to the owner of this value.
#[derive(Debug)]
pub(crate) struct Room {
    slot: Slot,
    window: Arc<MmapRaw>,
    at: usize,
}

impl Room {
    /// Returns what is in the slot.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the place lies inside the window, which stays mapped as long as this lives, over a file that is
        // sealed against shrinking; both come from numbers that this process has checked itself. In this process no
        // other thread has the slot, as `Claims` sees to, so that none writes it but through `bytes_mut`. A worker that
        // keeps to the states of a slot does not write it either. One that does not, by a stray pointer, can change
        // bytes while they are read: there are none that are no `u8`, and a reader of values from them takes none for
        // granted.
        unsafe { std::slice::from_raw_parts(self.window.as_ptr().add(self.at), self.slot.length()) }
    }

    /// The same, to be written.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; this is borrowed as the only one there is.
        unsafe { std::slice::from_raw_parts_mut(self.window.as_mut_ptr().add(self.at), self.slot.length()) }
    }

    /// The slot, to be handed in or given back.
    pub(crate) fn into_slot(self) -> Slot {
        self.slot
    }
}

impl Map {
    /// Creates fresh memory, all zero.
    ///
    /// # Errors
    /// The error of the operating system; a buffer too large for its numbers among it.
    pub(crate) fn create(limits: Limits) -> io::Result<Self> {
        let shape = Shape::of(limits).ok_or(io::ErrorKind::OutOfMemory)?;
        let file = memfd_create("deeppipeline", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, shape.file_size() as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Map::open(file, limits)
    }

    /// Opens the memory that another process has created.
    ///
    /// # Errors
    /// The error of the operating system; an error for a file of another size.
    pub(crate) fn open(file: OwnedFd, limits: Limits) -> io::Result<Self> {
        let shape = Shape::of(limits).ok_or(io::ErrorKind::OutOfMemory)?;
        if rustix::fs::fstat(&file)?.st_size as u64 != shape.file_size() as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the shared memory is of another size"));
        }
        let header = MmapOptions::new().len(shape.header).map_raw(&file)?;
        Ok(Map { header, file, shape, windows: Mutex::default(), holders: Holders::default() })
    }

    /// Returns the file that another process opens.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Lets a process share the buffer from now on as this owner, instead of the one before it.
    pub(crate) fn share_with(&self, owner: Owner, pid: u32, process: Arc<OwnedFd>) {
        self.holders.add(owner, pid, process);
    }

    /// Returns true if that process was killed because it stood still while it had the lock.
    pub(crate) fn has_killed(&self, owner: Owner) -> bool {
        self.holders.has_killed(owner)
    }

    /// Returns the bytes of a slot, for the owner of the slot.
    ///
    /// # Errors
    /// The slot again, and why there are no addresses for it.
    pub(crate) fn room(&self, slot: Slot) -> Result<Room, (Slot, io::Error)> {
        let place = self.shape.place(slot.index(), slot.length());
        match self.window(place) {
            Ok(window) => Ok(Room { slot, window, at: place.at }),
            Err(cause) => Err((slot, cause)),
        }
    }

    fn window(&self, place: Place) -> io::Result<Arc<MmapRaw>> {
        let (start, length) = place.window;
        let mut unused = Vec::new();
        let mut windows = self.windows.lock();
        if let Some(window) = windows.get(&start) {
            return Ok(Arc::clone(window));
        }
        let mapped: usize = windows.values().map(|window| window.len()).sum();
        if mapped.saturating_add(length) > KEPT {
            let is_unused = |_: &usize, window: &mut Arc<MmapRaw>| Arc::strong_count(window) == 1;
            unused.extend(windows.extract_if(is_unused));
        }
        let window = Arc::new(MmapOptions::new().offset(start as u64).len(length).map_raw(&self.file)?);
        windows.insert(start, Arc::clone(&window));
        drop(windows);
        drop(unused);
        Ok(window)
    }

    /// Gives the memory of a slot back to the system, of which that many bytes may have been used: the next use finds
    /// it zeroed. Slots that share pages with others keep theirs.
    pub(crate) fn forget(&self, slot: &Slot) -> io::Result<()> {
        let largest = size_for(slot.length()).unwrap_or(0).min(self.shape.sizes - 1);
        for size in (PAGE.ilog2() - SMALLEST.ilog2())..=largest {
            let (room, first) = (SMALLEST << size, self.shape.first(size));
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.file, flags, (first + slot.index() * room) as u64, room as u64)?;
        }
        Ok(())
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at < self.shape.words, "a word outside of the header");
        // SAFETY: the header has that many words behind the futexes; the mapping begins at a page, so they are aligned,
        // and all processes access them only as atomics.
        unsafe { AtomicU64::from_ptr(self.header.as_mut_ptr().add(FUTEX_BYTES * FUTEXES + 8 * at).cast()) }
    }

    #[inline]
    fn futex_word(&self, futex: Futex) -> &AtomicU32 {
        // SAFETY: the mapping begins with the futexes, a cache line each, accessed only as atomics.
        unsafe { AtomicU32::from_ptr(self.header.as_mut_ptr().add(FUTEX_BYTES * futex as usize).cast()) }
    }
}

impl SharedWords for Map {
    #[inline]
    fn get(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }

    #[inline]
    fn set(&self, at: usize, value: u64) {
        fence(Ordering::Release);
        self.word(at).store(value, Ordering::Relaxed);
    }

    #[inline]
    fn futex(&self, futex: Futex) -> u32 {
        self.futex_word(futex).load(Ordering::Acquire)
    }

    #[inline]
    fn change_futex(&self, futex: Futex, from: u32, to: u32) -> bool {
        self.futex_word(futex).compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn sleep(&self, futex: Futex, shows: u32, wait: Wait) {
        let patience = match wait {
            Wait::No => return,
            Wait::Forever => LOOK_AGAIN,
            Wait::Until(deadline) => deadline.saturating_duration_since(Instant::now()).min(LOOK_AGAIN),
        };
        let patience = patience.try_into().ok();
        // Woken, too late to sleep, interrupted by a signal or out of patience: the caller looks again in each case.
        let _ = futex::wait(self.futex_word(futex), futex::Flags::empty(), shows, patience.as_ref());
    }

    fn wake_all(&self, futex: Futex) {
        // Waking fails only for an address that is not mapped.
        let _ = futex::wake(self.futex_word(futex), futex::Flags::empty(), i32::MAX as u32);
    }

    fn has_lock(&self, has: bool) {
        self.holders.has_lock(has);
    }

    fn patience(&self) -> Wait {
        if self.holders.is_empty() { Wait::Forever } else { Wait::Until(Instant::now() + LOOK_AFTER) }
    }

    fn judge(&self, held: Held) -> Holder {
        self.holders.judge(held, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_overlap_and_each_lies_in_its_window_and_in_the_file() {
        for slots in [1, 7, 600, 20_000] {
            let shape = Shape { slots, words: 0, header: WINDOW, sizes: 21 };
            let mut end = shape.header;
            for size in 0..shape.sizes {
                for slot in [0, slots / 2, slots - 1] {
                    let length = SMALLEST << size;
                    let Place { window: (start, length_of_window), at } = shape.place(slot, length);
                    assert!(start >= end && start % PAGE == 0, "{slots} {size} {slot}");
                    assert!(at + length <= length_of_window && start + length_of_window <= shape.file_size());
                    assert_eq!(start + at, shape.first(size) + slot * length);
                }
                end = shape.first(size) + slots * (SMALLEST << size);
            }
        }
    }
}
