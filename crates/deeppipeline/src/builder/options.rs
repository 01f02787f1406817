//! The options of one stage.

use crate::buffer::Overflow;
use crate::graph::{OnCrash, OnError};
use std::time::Duration;

/// The options of one stage. Everything has a default.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(super) name: Option<String>,
    pub(super) overflow: Option<Overflow>,
    pub(super) on_error: Option<OnError>,
    pub(super) on_crash: Option<OnCrash>,
    pub(super) max_restarts: Option<u32>,
    pub(super) time_limit: Option<Duration>,
    pub(super) workers: Option<usize>,
    pub(super) ordered: Option<bool>,
    pub(super) max_age: Option<Duration>,
    pub(super) stack_size: Option<usize>,
}

impl Options {
    /// Makes options that say nothing yet.
    pub fn new() -> Self {
        Options::default()
    }

    /// Sets the name in reports, errors and of the worker's thread.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets what happens when the buffer in front of the stage is full.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// Sets what happens when the stage fails on a sample. To run it again, a stage on a thread is given with
    /// [`retry`](crate::retry).
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = Some(on_error);
        self
    }

    /// Sets what happens to the sample in flight when the stage's process dies; refused for a stage on a thread.
    pub fn on_crash(mut self, on_crash: OnCrash) -> Self {
        self.on_crash = Some(on_crash);
        self
    }

    /// Limits how often the stage's process is restarted within [`RESTART_WINDOW`](crate::RESTART_WINDOW); after one
    /// death more the pipeline stops. Refused for a stage on a thread.
    pub fn max_restarts(mut self, max_restarts: u32) -> Self {
        self.max_restarts = Some(max_restarts);
        self
    }

    /// Limits the time that `stage_run` may take for one sample: a process is killed then and counts as crashed, on a
    /// thread it is only logged; but where it is one of several workers and keeps the results of the others waiting,
    /// they go on, and the sample is lost.
    pub fn time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = Some(time_limit);
        self
    }

    /// Sets the number of workers that the stage has, each with a stage of its own: one that it
    /// [makes](crate::made_by), or an isolated one. Its samples leave it in the order in which they were taken, unless
    /// [`ordered`](Options::ordered) says otherwise.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets whether what several workers give goes on in the order in which the samples were taken: true by default. At
    /// most 2 × workers results wait for one before them; then their workers wait. One worker keeps the order in any
    /// case.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.ordered = Some(ordered);
        self
    }

    /// Limits the age that a sample may have when the stage takes it; an older one is dropped instead.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Bytes of stack for the thread of each worker: by default [`DEFAULT_STACK_SIZE`](crate::DEFAULT_STACK_SIZE).
    ///
    /// A sample is passed to `stage_run` by value, and a build without optimisation copies it several times on the way.
    /// So a sample that is large in itself, as `[u8; 1 << 20]` is, wants a stack of many times its size; better, it
    /// keeps its data behind a pointer, as `Vec`, `Box` and `Arc` do. Deep recursion wants a larger stack, too.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }
}
