//! The processes that share a buffer, by number.

/// A process that shares a buffer: 0 for the pipeline's own, from 1 for worker processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) u16);

impl Owner {
    /// The pipeline's own process.
    pub(crate) const PIPELINE: Owner = Owner(0);

    /// A worker process of the stage at that index. At one buffer meet the workers of neighbouring stages, and there
    /// each has a number of its own.
    pub(crate) fn of_worker(index: usize, worker: usize) -> Owner {
        Owner(u16::try_from(1 + 2 * worker + index % 2).unwrap_or(u16::MAX))
    }

    /// Returns the number of processes that may share a buffer beside stages with at most that many workers.
    pub(super) fn places(workers: usize) -> usize {
        1 + 2 * workers
    }

    /// Returns the worker of a stage whose process is at that place.
    pub(super) fn worker_at(place: u64) -> u64 {
        place.saturating_sub(1) / 2
    }

    pub(super) fn place(self) -> usize {
        usize::from(self.0)
    }
}
