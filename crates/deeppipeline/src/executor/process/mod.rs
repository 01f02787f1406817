//! A process for a stage: who starts it, what it is told, who watches it, and what its death means.
//!
//! The pipeline's process holds a [`WorkerProcess`] for each such stage, driven by a thread of the binding:
//!
//! ```text
//! open -> start the process -> started -> watch, watch, ... Exited -> ended -> Restart: open again, or Over
//! ```
//!
//! The worker's process is an [`Bootstrap`] that hears who it is, and then runs the same two calls as any worker.

mod bootstrap;
mod child;
mod exit;
mod link;
mod restart;
mod stderr;
mod waker;
mod worker_process;

pub use bootstrap::{Bootstrap, Detail, Lifeline, Notes};
pub use child::{ChildEnds, Reads, Watched};
pub use restart::Then;
pub use stderr::{Console, Written};
pub(crate) use waker::Waker;
pub use worker_process::WorkerProcess;

use crate::worker::Worker;

/// The driver of a worker of a pipeline.
#[derive(Debug)]
pub enum Driver<V: Send + 'static> {
    /// A thread of the pipeline's own process, with this worker.
    Thread(Worker<V>),
    /// A process of its own, that the caller starts and watches.
    Process(WorkerProcess<V>),
}
