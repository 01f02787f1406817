//! The last stage's values, for a caller that asks for them one by one while samples are put.

use crate::hand_over::{Taken, Taker};
#[cfg(feature = "futures")]
use crate::in_task::InTask;
use std::fmt;
use std::iter::FusedIterator;
use std::time::{Duration, Instant};

/// The name of the stage that hands values over to [`Results`].
pub(crate) const RESULTS: &str = "results";

/// The results that come out of a pipeline while samples are put, in order; made by
/// [`Builder::results`](crate::builder::Builder::results).
///
/// A caller that does not ask for the next makes the pipeline wait, also one that drains: `setstop` and the results are
/// for two threads, or the results are dropped before. What comes out once they are dropped is ignored.
#[must_use = "the pipeline waits until its results are asked for, or this is dropped"]
pub struct Results<T> {
    values: Taker<T>,
}

/// No result came out of the pipeline in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no result came out of the pipeline in time")]
pub struct NoResultYet;

impl<T> fmt::Debug for Results<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results").finish_non_exhaustive()
    }
}

impl<T> Results<T> {
    pub(crate) fn new(values: Taker<T>) -> Self {
        Results { values }
    }

    #[cfg(feature = "futures")]
    pub(crate) fn values(&self) -> &Taker<T> {
        &self.values
    }

    /// Makes a `futures::Stream` of it, for a task.
    #[cfg(feature = "futures")]
    pub fn in_task(self) -> InTask<Self> {
        InTask::new(self)
    }

    /// Waits for the next result, no longer than that; `None` once everything has come out.
    ///
    /// # Errors
    /// An error when none came in time; it may be asked again.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<T>, NoResultYet> {
        // A time-out beyond what the clock can tell is none.
        match self.values.take_until(Instant::now().checked_add(timeout)) {
            Taken::Value(value) => Ok(Some(value)),
            Taken::Over => Ok(None),
            Taken::TimedOut => Err(NoResultYet),
        }
    }
}

impl<T> Iterator for Results<T> {
    type Item = T;

    /// Waits for the next result; `None` once everything has come out: `setstop` says whether a stage has failed.
    fn next(&mut self) -> Option<T> {
        self.values.take()
    }
}

impl<T> FusedIterator for Results<T> {}
