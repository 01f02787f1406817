//! A pause: nothing is taken until it ends, while the policies go on.

use super::{Change, Storage, Wake};

/// The one that keeps samples from being taken: its bit in the word that every take reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Holder {
    Flush = 1,
    Pause = 2,
}

impl<S: Storage> Change<'_, S> {
    /// Keeps everything from being taken, or lets samples be taken again.
    pub(in crate::buffer) fn set_paused(&mut self, paused: bool) {
        match paused {
            true => self.hold_for(Holder::Pause),
            false => self.let_take_after(Holder::Pause),
        }
    }

    pub(super) fn hold_for(&mut self, holder: Holder) {
        self.head().held |= holder as u64;
    }

    pub(super) fn let_take_after(&mut self, holder: Holder) {
        self.head().held &= !(holder as u64);
        self.wake_consumers(Wake::All);
    }
}
