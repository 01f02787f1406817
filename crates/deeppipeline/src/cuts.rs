//! Cuts: the number of the last sample that had entered before a flush, for all samples or for those of one source.

use crate::graph::MAX_ENTRANCES;
use crate::source_id::SourceId;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A flush: of what has that number or a lower one, from anywhere or only from one source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) number: u64,
    pub(crate) source: Option<SourceId>,
}

/// The last flush of one source, as plain numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct SourceCut {
    /// The number of the source.
    pub source: u64,
    /// The number of the last sample that had entered before it.
    pub number: u64,
}

impl SourceCut {
    /// Returns true if that sample had entered before it, and is of that source.
    pub(crate) fn cuts_off(self, number: u64, source: u64) -> bool {
        self.source == source && number <= self.number
    }
}

/// The last flush of all samples, and the later ones of single sources.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cuts {
    pub(crate) of_all: u64,
    pub(crate) of_sources: Vec<SourceCut>,
    /// The number of the last that was forgotten, since nothing of its source was in work.
    pub(crate) forgotten: u64,
}

impl Cuts {
    pub(crate) fn add(&mut self, cut: Cut) {
        let Cut { number, source: Some(source) } = cut else {
            self.of_all = self.of_all.max(cut.number);
            self.of_sources.clear();
            return;
        };
        self.forget(source);
        self.of_sources.push(SourceCut { source: source.to_word(), number });
    }

    /// Returns the number of the last sample before the last flush that has to do with a source, or 0.
    pub(crate) fn last_of(&self, source: SourceId) -> u64 {
        let of_source = self.of_sources.iter().find(|cut| cut.source == source.to_word());
        of_source.map_or(self.of_all, |cut| cut.number)
    }

    /// Forgets the flush of a source of which nothing is left.
    pub(crate) fn forget(&mut self, source: SourceId) {
        self.of_sources.retain(|cut| cut.source != source.to_word());
    }

    /// Returns true if a sample had entered before a flush of all, or of its source. What `finish` gives where there was
    /// no sample has no number.
    pub(crate) fn are_before(&self, number: u64, source: SourceId) -> bool {
        number > 0
            && (number <= self.of_all || self.of_sources.iter().any(|cut| cut.cuts_off(number, source.to_word())))
    }
}

/// The number of sources whose last flush the threads of a pipeline know: more than buffers do, since an end may be told
/// later.
const MOST_KNOWN: usize = 4 * MAX_ENTRANCES;

/// The cuts of a pipeline as its threads see them.
#[derive(Debug, Default)]
pub(crate) struct SharedCuts {
    /// The number of the last sample before the last flush of any kind: what is newer need not look further.
    newest: AtomicU64,
    cuts: Mutex<Cuts>,
}

impl SharedCuts {
    pub(crate) fn add(&self, cut: Cut) {
        let mut cuts = self.cuts.lock();
        cuts.add(cut);
        if cuts.of_sources.len() > MOST_KNOWN {
            cuts.of_sources.remove(0);
        }
        self.newest.fetch_max(cut.number, Ordering::Relaxed);
    }

    /// Returns true if there was a flush.
    pub(crate) fn is_any(&self) -> bool {
        self.newest.load(Ordering::Relaxed) > 0
    }

    /// Returns true if a sample had entered before a flush of all, or of its source.
    pub(crate) fn are_before(&self, number: u64, source: SourceId) -> bool {
        number <= self.newest.load(Ordering::Relaxed) && self.cuts.lock().are_before(number, source)
    }
}
