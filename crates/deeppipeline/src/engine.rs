//! The engine, for bindings and other executors, with no promise of stability: a pipeline of values of one type, and the two calls that drive its
//! workers.
//!
//! The typed [`Pipeline`](crate::Pipeline) and the Python package are built on this. A worker is two calls,
//! [`Worker::next`] and [`Worker::done`], made by a loop that the binding writes:
//!
//! ```
//! use deeppipeline::Give;
//! use deeppipeline::engine::{Call, Done, Graph, Input, Node, Supervisor, Wait};
//!
//! let graph = Graph { stages: vec![Node::new("double"), Node::new("print")], ..Graph::default() };
//! let (supervisor, workers) = Supervisor::<i32>::new(graph)?;
//! let threads: Vec<_> = workers
//!     .into_iter()
//!     .map(|mut worker| {
//!         std::thread::spawn(move || {
//!             while let Some(call) = worker.next() {
//!                 let give = match call {
//!                     Call::StageRun(Input::One(sample)) => Give::One(sample.value * 2),
//!                     _ => Give::Skip,
//!                 };
//!                 worker.done(Done::Gave(give));
//!             }
//!         })
//!     })
//!     .collect();
//! supervisor.put(21, Wait::Forever)?;
//! supervisor.close();
//! threads.into_iter().for_each(|thread| thread.join().unwrap());
//! assert!(supervisor.report().balances());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::builder::Builder;
use crate::error::GraphError;
use crate::executor::simulated::Simulation;
use crate::gives::Last;

pub use crate::answers::{Got, Receives};
pub use crate::buffer::Wait;
#[cfg(processes)]
pub use crate::buffer::shared::Codec;
pub use crate::clock::Moment;
pub use crate::cuts::SourceCut;
#[cfg(processes)]
pub use crate::executor::process::{
    Bootstrap, ChildEnds, Console, Detail, Driver, Lifeline, Notes, Reads, Then, Watched, WorkerProcess, Written,
};
pub use crate::executor::thread::spawn;
pub use crate::executor::{Body, BodyFactory, Relay};
pub use crate::graph::{Block, BlockResults, BufferSize, EntranceNode, Flow, Graph, Node, SourceNode};
pub use crate::job::{Interrupted, present_job};
pub use crate::join::Joiner;
pub use crate::notices::Notice;
pub use crate::parallel::{ForkJoin, Forker, Gatherer, Router, Splitter};
pub use crate::policies::{ErrorPolicy, Executor, Intake, OnCrash};
pub use crate::restart::RestartPolicy;
pub use crate::sample::{Input, Sample};
#[cfg(processes)]
pub use crate::signals::{LEFT_TO_THE_PROGRAM, leave_to_the_program};
#[cfg(processes)]
pub use crate::supervisor::Codecs;
pub use crate::supervisor::{
    Accepted, Closer, Discarded, Place, Replacement, Scaling, Startup, Supervisor, Updated, Waiting,
};
pub use crate::window::{Put, WindowStore, account};
pub use crate::worker::{
    Call, Done, Ending, GiveError, Given, LogEvent, Outcome, Part, Role, Values, Windowed, Worker, WorkerId,
};

/// Works like [`simulate`](Builder::simulate), for a chain that is described otherwise than it was built: with stages in
/// processes, say, which are run here all the same.
///
/// # Errors
/// The fault that makes the description invalid.
pub fn simulate<I, T: Last>(
    builder: Builder<I, T>,
    change: impl FnOnce(&mut Graph),
) -> Result<Simulation<I, T>, GraphError> {
    builder.simulate_as(change)
}
