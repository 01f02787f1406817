//! The values on which a call of a stage has failed, until it is known whether that is for good.

use crate::unwind::release;

/// The values of samples of one take, by their index in it.
#[derive(Debug)]
pub(super) struct FailedValues<V> {
    take: u64,
    values: Vec<(usize, V)>,
}

impl<V> Default for FailedValues<V> {
    fn default() -> Self {
        FailedValues { take: 0, values: Vec::new() }
    }
}

impl<V> FailedValues<V> {
    /// Keeps one; those of another take are released.
    pub(super) fn add(&mut self, take: u64, index: usize, value: V) {
        if self.take != take {
            self.release();
            self.take = take;
        }
        self.values.push((index, value));
    }

    /// Takes those of a take, or only that of the sample at one index.
    pub(super) fn take(&mut self, take: u64, only: Option<usize>) -> Vec<(usize, V)> {
        if self.take != take {
            self.release();
        }
        self.values.extract_if(.., |(index, _)| only.is_none_or(|only| only == *index)).collect()
    }

    /// Releases all.
    pub(super) fn release(&mut self) {
        self.values.drain(..).for_each(release);
    }
}
