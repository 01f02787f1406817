//! Anonymous shared memory: a file without a name, mapped by every process that gets its descriptor.
//!
//! Nothing named can be left behind, and the size of `/dev/shm` does not matter. The file is sealed against shrinking and
//! growing, so that no process can make another's reads fail. The only `unsafe` code of the engine is here.
#![allow(unsafe_code)]

use super::machine::Slot;
use super::session::Owner;
use super::words::{Bell, Words};
use crate::buffer::{Limits, Wait};
use memmap2::{MmapOptions, MmapRaw};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use rustix::process::{Signal, pidfd_send_signal};
use rustix::thread::futex;
use rustix::time::Timespec;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
/// Each bell lies in a cache line of its own.
const BELL: usize = 64;
const BELLS: usize = 3;

/// The memory of one shared buffer.
#[derive(Debug)]
pub(crate) struct Map {
    raw: MmapRaw,
    file: OwnedFd,
    words: usize,
    /// Where the slots begin, and how far apart they are, in bytes.
    first_slot: usize,
    stride: usize,
    /// In the pipeline's own process, the others that share the buffer.
    sharers: Mutex<Vec<(Owner, Arc<OwnedFd>)>>,
}

/// How long the pipeline's process sleeps on the lock before it looks whether its holder still lives.
const LOOK_AFTER: Duration = Duration::from_millis(500);
/// After so many looks the holder is killed: only a process that was stopped holds a lock that long.
const KILL_AFTER: u32 = 10;

/// How many bytes of addresses a buffer takes: few of them are ever backed by memory. `None` if that is too many.
fn size_of(limits: Limits) -> Option<(usize, usize, usize)> {
    let header = BELL * BELLS + 8 * limits.layout().words();
    let first_slot = header.next_multiple_of(PAGE);
    let stride = usize::try_from(limits.bytes).ok()?.checked_next_multiple_of(PAGE)?;
    let all = limits.slots().checked_mul(stride)?.checked_add(first_slot)?;
    isize::try_from(all).ok()?;
    Some((first_slot, stride, all))
}

impl Map {
    /// Fresh memory, all zero.
    ///
    /// # Errors
    /// What the operating system says; a buffer too large for the address space among it.
    pub(crate) fn create(limits: Limits) -> io::Result<Self> {
        let (_, _, size) = size_of(limits).ok_or(io::ErrorKind::OutOfMemory)?;
        let file = memfd_create("deeppipeline", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, size as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Map::open(file, limits)
    }

    /// The memory that another process has created.
    ///
    /// # Errors
    /// What the operating system says; a file of another size.
    pub(crate) fn open(file: OwnedFd, limits: Limits) -> io::Result<Self> {
        let (first_slot, stride, size) = size_of(limits).ok_or(io::ErrorKind::OutOfMemory)?;
        if rustix::fs::fstat(&file)?.st_size as u64 != size as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the shared memory is of another size"));
        }
        let raw = MmapOptions::new().len(size).map_raw(&file)?;
        Ok(Map { raw, file, words: limits.layout().words(), first_slot, stride, sharers: Mutex::default() })
    }

    /// What another process opens.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// From now on a process shares the buffer as this owner, instead of the one before it.
    pub(crate) fn share_with(&self, owner: Owner, process: Arc<OwnedFd>) {
        let mut sharers = self.sharers.lock();
        sharers.retain(|(known, _)| *known != owner);
        sharers.push((owner, process));
    }

    /// The bytes of a slot, for whoever holds it.
    pub(crate) fn bytes(&self, slot: &Slot) -> &[u8] {
        let at = self.place_of(slot);
        // SAFETY: the range lies inside the mapping, which is sealed against shrinking. The slot machine hands out one
        // `Slot` for a slot that nobody else may write until it is given back.
        unsafe { std::slice::from_raw_parts(self.raw.as_ptr().add(at), slot.length()) }
    }

    /// The bytes of a slot, for whoever holds it, to be written.
    pub(crate) fn bytes_mut<'a>(&'a self, slot: &'a mut Slot) -> &'a mut [u8] {
        let at = self.place_of(slot);
        // SAFETY: as in `bytes`; the borrow of the `Slot`, of which there is one, keeps others from looking.
        unsafe { std::slice::from_raw_parts_mut(self.raw.as_mut_ptr().add(at), slot.length()) }
    }

    fn place_of(&self, slot: &Slot) -> usize {
        let at = self.first_slot + slot.index() * self.stride;
        assert!(slot.length() <= self.stride && at + slot.length() <= self.raw.len(), "a slot outside of the memory");
        at
    }

    /// Gives the memory of a slot back to the system: the next use finds it zeroed.
    pub(crate) fn forget(&self, slot: &Slot) -> io::Result<()> {
        let at = self.place_of(slot) as u64;
        let length = slot.length().next_multiple_of(PAGE) as u64;
        Ok(fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, length)?)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at < self.words, "a word outside of the header");
        // SAFETY: the header has so many words behind the bells; the mapping begins at a page, so they are aligned, and
        // all processes access them only as atomics.
        unsafe { AtomicU64::from_ptr(self.raw.as_mut_ptr().add(BELL * BELLS + 8 * at).cast()) }
    }

    fn bell_word(&self, bell: Bell) -> &AtomicU32 {
        // SAFETY: the mapping begins with the bells, a cache line each, accessed only as atomics.
        unsafe { AtomicU32::from_ptr(self.raw.as_mut_ptr().add(BELL * bell as usize).cast()) }
    }
}

impl Words for Map {
    fn get(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }

    fn set(&self, at: usize, value: u64) {
        fence(Ordering::Release);
        self.word(at).store(value, Ordering::Relaxed);
    }

    fn bell(&self, bell: Bell) -> u32 {
        self.bell_word(bell).load(Ordering::Acquire)
    }

    fn change_bell(&self, bell: Bell, from: u32, to: u32) -> bool {
        self.bell_word(bell).compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn sleep(&self, bell: Bell, shows: u32, wait: Wait) {
        let patience = match wait {
            Wait::No => return,
            Wait::Forever => None,
            Wait::Until(deadline) => deadline.saturating_duration_since(Instant::now()).try_into().ok(),
        };
        // Woken, too late to sleep, interrupted by a signal or out of patience: the caller looks again in each case.
        let _ = futex::wait(self.bell_word(bell), futex::Flags::empty(), shows, patience.as_ref());
    }

    fn ring(&self, bell: Bell) {
        // Waking fails only for an address that is not mapped.
        let _ = futex::wake(self.bell_word(bell), futex::Flags::empty(), i32::MAX as u32);
    }

    fn patience(&self) -> Wait {
        if self.sharers.lock().is_empty() { Wait::Forever } else { Wait::Until(Instant::now() + LOOK_AFTER) }
    }

    fn has_ended(&self, holder: Owner, sleeps: u32) -> bool {
        let sharers = self.sharers.lock();
        let Some((_, process)) = sharers.iter().find(|(owner, _)| *owner == holder) else { return false };
        if sleeps > KILL_AFTER {
            // It fails only where there is nothing left to kill.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)), Ok(1))
    }
}
