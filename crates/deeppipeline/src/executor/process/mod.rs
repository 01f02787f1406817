//! A process for a stage: who starts it, what it is told, who watches it, and what its death means.
//!
//! The pipeline's process holds a [`Station`] for each such stage, driven by a thread of the binding:
//!
//! ```text
//! open -> start the process -> started -> watch, watch, ... Exited -> ended -> Restart: open again, or Over
//! ```
//!
//! The worker's process is an [`Apprentice`] that hears who it is, and then runs the same two calls as any worker.

mod exit;
mod incarnation;
mod link;
mod remote;
mod station;
mod stderr;
mod waker;

pub use incarnation::ChildEnds;
pub use remote::{Apprentice, Detail, Lifeline, Notes};
pub use station::{Reads, Station, Then, Watched};
pub use stderr::{Console, Written};
pub(crate) use waker::Waker;

use crate::worker::Worker;

/// The driver of a worker of a pipeline.
#[derive(Debug)]
pub enum Post<V: Send + 'static> {
    /// A thread of the pipeline's own process, with this worker.
    Thread(Worker<V>),
    /// A process of its own, that the caller starts and watches.
    Process(Station<V>),
}
