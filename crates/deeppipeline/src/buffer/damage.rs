//! The damage by another process, which wrote what cannot be true: how that is found, and what follows.
//!
//! Every process at a buffer may write its words, and a stray pointer in one of them does. So whatever is read is
//! checked before anything follows from it. What cannot be true ends the step that found it: nothing is handed out, the
//! lock is never free again, and to all who use the buffer it is as if the pipeline had given up what was inside.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The part of the memory that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Damage {
    /// The word of the lock: no process that it names has it.
    Lock,
    /// The lock is no longer its holder's.
    Holder,
    /// A word was changed, but in no step.
    Word,
    /// The log of a transaction.
    Step,
    /// A number that only counts.
    Count,
    /// Counters that belong together.
    Sum,
    Gate,
    /// The number of a slot.
    Slot,
    State,
    Owner,
    Length,
    Queue,
    Free,
    /// A slot that this process has.
    Twice,
}

impl Damage {
    const ALL: [Damage; 14] = [
        Damage::Lock,
        Damage::Holder,
        Damage::Word,
        Damage::Step,
        Damage::Count,
        Damage::Sum,
        Damage::Gate,
        Damage::Slot,
        Damage::State,
        Damage::Owner,
        Damage::Length,
        Damage::Queue,
        Damage::Free,
        Damage::Twice,
    ];

    /// A number by which other processes know it.
    pub(super) fn code(self) -> u32 {
        self as u32
    }

    /// The same again, if it is one.
    pub(super) fn of_code(code: u32) -> Option<Damage> {
        Damage::ALL.into_iter().find(|damage| damage.code() == code)
    }

    pub(crate) fn why(self) -> &'static str {
        match self {
            Damage::Lock => "its lock is in the hands of nobody",
            Damage::Holder => "its lock was taken out of the hands of its holder",
            Damage::Word => "a word in it has changed that nobody changed who may",
            Damage::Step => "what is written down of a step was never done",
            Damage::Count => "a count is out of its bounds",
            Damage::Sum => "its counts do not add up",
            Damage::Gate => "its gate is in a state that nobody brought it into",
            Damage::Slot => "it names a slot that there is not",
            Damage::State => "a slot is in a state that it cannot be in",
            Damage::Owner => "a slot was taken out of the hands of its owner",
            Damage::Length => "a sample in it is larger than the buffer",
            Damage::Queue => "its queue is longer or shorter than it can be",
            Damage::Free => "more or fewer slots are free than can be",
            Damage::Twice => "it gives out a slot twice",
        }
    }
}

/// Ends a step in the middle.
pub(super) fn damaged(damage: Damage) -> ! {
    // No panic hook runs, so nothing is printed under the lock.
    resume_unwind(Box::new(damage))
}

/// Makes a step.
pub(super) fn unless_damaged<T>(step: impl FnOnce() -> T) -> Result<T, Damage> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|payload| match payload.downcast::<Damage>() {
        Ok(damage) => *damage,
        Err(other) => resume_unwind(other),
    })
}
