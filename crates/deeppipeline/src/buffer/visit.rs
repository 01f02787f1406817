//! The visits of samples: from the arrival in front of a stage to the end there. A buffer keeps the last.

use super::policy::{How, Slot};
use std::collections::HashSet;

/// One visit. Times are nanoseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub(crate) struct Visit {
    pub(crate) number: u64,
    pub(crate) part: u64,
    pub(crate) source: u64,
    pub(crate) came: u64,
    /// The time when a worker took it, or 0.
    pub(crate) taken: u64,
    /// The time when it ended, or 0 while it is there.
    pub(crate) ended: u64,
    /// The place of the worker that took it.
    pub(crate) worker: u64,
    /// The way in which it ended, counted from 1, and whether its worker died.
    pub(super) mark: u64,
}

/// The bit of the mark that says that its worker died.
const DIED: u64 = 1 << 8;

impl Visit {
    /// The visit of what is in a slot, so far.
    #[inline(always)]
    pub(super) fn of(slot: &Slot) -> Self {
        let Slot { number, part, source, came, taken_at: taken, owner: worker, .. } = *slot;
        Visit { number, part, source, came, taken, ended: 0, worker, mark: 0 }
    }

    /// Ends it at that time.
    #[inline(always)]
    pub(super) fn end(self, how: How, ended: u64) -> Self {
        Visit { ended, mark: how as u64 + 1, ..self }
    }

    /// Ends it as its worker has died: like that, or to be tried again.
    #[cfg(processes)]
    pub(super) fn die(self, how: Option<How>, ended: u64) -> Self {
        Visit { ended, mark: DIED | how.map_or(0, |how| how as u64 + 1), ..self }
    }

    /// Returns how it ended; `None` while it is there, and where it is tried again.
    pub(crate) fn how(&self) -> Option<How> {
        How::of_word((self.mark & (DIED - 1)).checked_sub(1)?)
    }

    /// Returns true if its worker died.
    pub(crate) fn has_died(&self) -> bool {
        self.mark & DIED > 0
    }
}

/// The visits that are read at once, under a lock.
const AT_ONCE: usize = 4096;

/// The last visits that ended, each with a number from 0.
#[derive(Debug)]
pub(super) struct Visits {
    kept: Vec<Visit>,
    /// The place of the oldest once there are as many as there may be.
    oldest: usize,
    most: usize,
    /// The number of the next.
    next: u64,
}

impl Visits {
    pub(super) fn new(most: usize) -> Self {
        Visits { kept: Vec::new(), oldest: 0, most, next: 0 }
    }

    #[inline(always)]
    pub(super) fn keep(&mut self, visit: Visit) {
        if self.kept.len() < self.most {
            self.kept.push(visit);
        } else if let Some(oldest) = self.kept.get_mut(self.oldest) {
            *oldest = visit;
            self.oldest = if self.oldest + 1 == self.most { 0 } else { self.oldest + 1 };
        }
        self.next += 1;
    }

    /// Returns some from that number on, oldest first, and the number behind them; none once there are no more.
    pub(super) fn some_from(&self, number: u64) -> (Vec<Visit>, u64) {
        let first = self.next - self.kept.len() as u64;
        let number = number.max(first);
        let end = self.next.min(number + AT_ONCE as u64);
        let place = |number: u64| (self.oldest + (number - first) as usize) % self.kept.len();
        ((number..end).map(|number| self.kept[place(number)]).collect(), end)
    }
}

/// Puts visits that have ended and those that were there shortly before together, each once.
pub(super) fn together(mut ended: Vec<Visit>, mut present: Vec<Visit>) -> Vec<Visit> {
    let id = |visit: &Visit| (visit.number, visit.part, visit.came);
    let has_ended: HashSet<_> = ended.iter().map(id).collect();
    present.retain(|visit| !has_ended.contains(&id(visit)));
    ended.extend(present);
    ended
}
