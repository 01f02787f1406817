//! The inlet of a stage: the buffer in front of it, and the log of what was dropped there.

use crate::buffer::{Buffer, ToFree};
use crate::clock::{Clock, Moment};
use crate::notices::{DropLog, Notice, Notices};
use crate::sample::SampleId;
use crate::stage_name::StageName;
use crate::unwind::release;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// The buffer in front of a stage, as the producers and consumers of its samples share it.
pub(crate) struct Inlet<V> {
    pub(crate) index: usize,
    pub(crate) name: Arc<StageName>,
    pub(crate) buffer: Buffer<V>,
    /// The log of what is dropped; none where that is what the description asks for.
    drops: Option<DropLog>,
    notices: Arc<Notices>,
    clock: Clock,
    /// The values of samples that are about to end in the stage, until their fate is told.
    ending: Mutex<HashMap<SampleId, V>>,
}

impl<V> Inlet<V> {
    pub(crate) fn new(
        index: usize,
        name: Arc<StageName>,
        buffer: Buffer<V>,
        drops: Option<DropLog>,
        notices: Arc<Notices>,
        clock: Clock,
    ) -> Self {
        Inlet { index, name, buffer, drops, notices, clock, ending: Mutex::default() }
    }

    /// Keeps the value of a sample that is about to end in the stage, for who is told of its fate.
    pub(crate) fn keep_value(&self, id: SampleId, value: V) {
        let before = self.ending.lock().insert(id, value);
        release(before);
    }

    /// Takes such a value.
    pub(crate) fn take_value(&self, id: SampleId) -> Option<V> {
        self.ending.lock().remove(&id)
    }

    /// Releases the values of samples that have not ended.
    #[cfg(processes)]
    pub(crate) fn forget_values(&self, of: impl Iterator<Item = SampleId>) {
        of.for_each(|id| release(self.take_value(id)));
    }

    /// Notes that a sample may have been dropped here at that time.
    pub(crate) fn note_drop(&self, now: Moment) {
        // A buffer that processes share hands every value back.
        if matches!(self.buffer, Buffer::Local(_)) && self.is_due(now) {
            self.tell_drops();
        }
    }

    /// Notes what a push that was done may have dropped, and frees it.
    pub(crate) fn has_got(&self, accepted: bool, to_free: ToFree<V>) {
        if !accepted || !to_free.is_empty() {
            self.note_drop(self.clock.moment());
        }
        to_free.release();
    }

    /// Tells what processes have dropped, if that may be told again.
    #[cfg(processes)]
    pub(crate) fn look_for_drops(&self) {
        if self.is_due(self.clock.moment()) {
            self.tell_drops();
        }
    }

    fn is_due(&self, now: Moment) -> bool {
        self.drops.as_ref().is_some_and(|drops| drops.is_due(now))
    }

    /// Tells what was dropped since it was told last.
    pub(crate) fn tell_drops(&self) {
        // Who simulates asks for what is dropped.
        let Some(drops) = self.drops.as_ref().filter(|_| !matches!(self.clock, Clock::Virtual(_))) else { return };
        let counts = self.buffer.counts();
        let dropped = counts.dropped_oldest + counts.dropped_newest;
        if let Some((samples, first)) = drops.untold(dropped, self.clock.moment()) {
            let (stage, overflow) = (self.name.get().to_owned(), self.buffer.limits().overflow);
            self.notices.tell(Notice::Dropped { stage, samples, first, overflow });
        }
    }
}
