//! The slots that this process has claimed: what the shared words say of that, another process may have written.

use crate::buffer::damage::{Damage, damaged};
use std::sync::atomic::{AtomicU64, Ordering};

const BITS: usize = 64;

/// One bit for each slot. So two in this process never get the same slot, whatever the shared words say.
#[derive(Debug)]
pub(super) struct Claims(Vec<AtomicU64>);

impl Claims {
    pub(super) fn new(slots: usize) -> Self {
        Claims((0..slots.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Claims the slot for this process from now on; under the lock.
    pub(super) fn claim(&self, slot: usize) {
        if self.0[slot / BITS].fetch_or(1 << (slot % BITS), Ordering::Acquire) >> (slot % BITS) & 1 == 1 {
            damaged(Damage::Twice);
        }
    }

    /// Ends the claim of this process to the slot.
    pub(super) fn let_go(&self, slot: usize) {
        self.0[slot / BITS].fetch_and(!(1 << (slot % BITS)), Ordering::Release);
    }
}
