//! The ends of samples for which somebody waits: each is noted in the change that counts it, where the sample has a
//! ticket or the fate of every sample is told.

use super::{Change, Label, Storage};
use crate::ledger::BufferTotals;
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;

/// The way a sample ended at a buffer, or in the stage behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum How {
    DroppedOldest,
    DroppedNewest,
    Superseded,
    Expired,
    Discarded,
    Flushed,
    /// Its result went on, while others that were made of the same sample may be elsewhere.
    Used,
    /// A list used it whose result went on under another's number.
    Absorbed,
    /// A later window will use it, or none.
    Windowed,
    Skipped,
    Failed,
    Lost,
}

/// The end of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleEnd {
    pub(crate) fork: ForkTicket,
    pub(crate) id: SampleId,
    pub(crate) source: SourceId,
    pub(crate) how: How,
    /// The take with which it was in flight, if it was.
    pub(crate) take: u64,
    /// True if parts of it may have gone on before.
    pub(crate) is_split: bool,
}

impl<S: Storage> Change<'_, S> {
    /// Notes that what is in a slot has ended without being taken.
    #[inline(always)]
    pub(super) fn note_end(&mut self, slot: usize, how: How) {
        self.keep_visit(slot, how);
        if self.limits.ends > 0 {
            self.note_end_of(slot, how, false);
        }
    }

    /// The same where parts of it may have gone on.
    pub(super) fn note_end_of(&mut self, slot: usize, how: How, is_split: bool) {
        let slot = *self.storage.slot(slot);
        // What was used has gone on, which matters only to who waits for it.
        if slot.fork != 0 || (self.limits.fates && how != How::Used) {
            let (fork, id, source) = (slot.fork(), slot.id(), slot.source());
            let is_split = is_split || slot.given > 0;
            let take = if how.is_of_a_take() { slot.ticket } else { 0 };
            self.storage.note_end(SampleEnd { fork, id, source, how, take, is_split });
        }
    }

    /// Lets whatever is in flight now be told when it is settled.
    pub(in crate::buffer) fn is_looked_at(&mut self) {
        if self.limits.ends > 0 {
            self.totals().looked_at = self.head().next_ticket;
        }
    }

    /// Notes the end of a sample that does not come in.
    #[inline(always)]
    pub(super) fn note_end_outside(&mut self, label: &Label, id: SampleId, how: How) {
        self.keep_visit_outside(label, id, how);
        if self.limits.ends > 0 && (label.fork.0 != 0 || self.limits.fates) {
            let Label { fork, source, .. } = *label;
            self.storage.note_end(SampleEnd { fork, id, source, how, take: 0, is_split: false });
        }
    }
}

impl How {
    /// The counter of samples that ended like this without being taken.
    #[inline(always)]
    pub(super) fn counter(self, totals: &mut BufferTotals) -> &mut u64 {
        match self {
            How::DroppedNewest => &mut totals.dropped_newest,
            How::Superseded => &mut totals.superseded,
            How::Expired => &mut totals.expired,
            How::Discarded => &mut totals.discarded,
            How::Flushed => &mut totals.flushed,
            _ => &mut totals.dropped_oldest,
        }
    }

    /// Every way, by its word.
    const ALL: [How; 12] = [
        How::DroppedOldest,
        How::DroppedNewest,
        How::Superseded,
        How::Expired,
        How::Discarded,
        How::Flushed,
        How::Used,
        How::Absorbed,
        How::Windowed,
        How::Skipped,
        How::Failed,
        How::Lost,
    ];

    /// Reads it from its word.
    pub(in crate::buffer) fn of_word(word: u64) -> Option<Self> {
        How::ALL.get(usize::try_from(word).ok()?).copied()
    }

    fn is_of_a_take(self) -> bool {
        matches!(self, How::Used | How::Absorbed | How::Windowed | How::Skipped | How::Failed | How::Lost)
    }
}
