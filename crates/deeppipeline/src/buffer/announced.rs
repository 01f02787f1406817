//! Announcements to workers of this process that take from a buffer: the stage of one is to be told an update first.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The workers to which an update was announced.
#[derive(Default)]
pub(super) struct Announced {
    any: AtomicBool,
    workers: Mutex<Vec<usize>>,
}

impl Announced {
    /// Announces an update to a worker; the buffer's `wake` follows.
    pub(super) fn announce(&self, worker: usize) {
        let mut workers = self.workers.lock();
        if !workers.contains(&worker) {
            workers.push(worker);
        }
        self.any.store(true, Ordering::Release);
    }

    /// Returns true, once for each announcement, if there is one for that worker.
    #[inline(always)]
    pub(super) fn is_for(&self, worker: usize) -> bool {
        self.any.load(Ordering::Acquire) && self.take(worker)
    }

    #[cold]
    fn take(&self, worker: usize) -> bool {
        let mut workers = self.workers.lock();
        let found = workers.iter().position(|other| *other == worker);
        let found = found.map(|place| workers.swap_remove(place));
        self.any.store(!workers.is_empty(), Ordering::Release);
        found.is_some()
    }
}
