//! The memory that a buffer's processes share, seen as words: what a change reads and writes.
//!
//! The table of slots is generic over it, so that the same code runs in a mapped memory, under loom, and in a test in which a
//! process dies at any step.

use super::owner::Owner;
use crate::buffer::Wait;

/// A futex on which processes sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Futex {
    /// The lock.
    Lock,
    /// There may be something to take.
    NotEmpty,
    /// There may be room.
    NotFull,
}

/// The lock as a process sees it that waits for it: whose it is, and how far its holder has come. A holder that lives
/// and runs comes further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) holder: Owner,
    pub(crate) progress: u64,
}

/// The judgement on the process that holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// It will let go.
    Lives,
    /// Its process has ended, and will not let go.
    Ended,
    /// There is no such process, or it does not have the lock.
    Nobody,
}

/// Words that several processes see.
pub(crate) trait SharedWords {
    /// A word that the lock protects.
    fn get(&self, at: usize) -> u64;

    /// Writes a word that the lock protects, after everything that was written before and before everything that is
    /// written later: a process that finds the memory after a death finds all writes up to some moment and none after
    /// it.
    fn set(&self, at: usize, value: u64);

    /// Returns what a futex shows.
    fn futex(&self, futex: Futex) -> u32;

    /// Changes what a futex shows from one value to another, and says whether it did; what was written before is seen
    /// by all that read the new value.
    fn change_futex(&self, futex: Futex, from: u32, to: u32) -> bool;

    /// Sleeps while the futex shows that, until it is woken or patience ends; may also return for no reason.
    fn sleep(&self, futex: Futex, shows: u32, wait: Wait);

    /// Wakes all that sleep on a futex.
    fn wake_all(&self, futex: Futex);

    /// Notes that a thread of this process has taken the lock, or lets go of it.
    fn has_lock(&self, _has: bool) {}

    /// Returns how long to sleep on the lock before asking `judge`; without an end where this process can tell nothing.
    fn patience(&self) -> Wait {
        Wait::Forever
    }

    /// Returns what this process knows of the holder.
    fn judge(&self, _held: Held) -> Holder {
        Holder::Lives
    }
}
