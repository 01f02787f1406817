//! The context of a worker: what it needs of the pipeline around it.

use crate::activity::Activity;
use crate::buffer::{Buffer, Push, Wait};
use crate::clock::Clock;
use crate::error::Failure;
use crate::graph::{Flow, Node};
use crate::join::Join;
use crate::phase::WorkerEvent;
use crate::sample::{ForkTicket, Sample, SampleId};
use crate::worker::WorkerId;
use std::time::Duration;

/// The pipeline around a worker: the supervisor itself, or what stands for it in another process.
pub(crate) trait Home<V>: Send + Sync {
    /// Tells the pipeline's own workers from other callers.
    fn id(&self) -> u64;
    /// Returns true if an earlier process of the same worker had been set up, and has died.
    fn restarted(&self) -> bool {
        false
    }
    fn clock(&self) -> &Clock;
    fn name_of(&self, worker_id: WorkerId) -> &str;
    /// Tells the name that a stage gives itself, as its worker has made it.
    fn tell_name(&self, index: usize, name: String);
    /// Returns the node that tells how the stage at that index is to be treated.
    fn node(&self, index: usize) -> &Node;
    /// Returns where what the stage at that index gives goes.
    fn flow(&self, index: usize) -> Flow;
    /// Returns true if what the stage at that index gives is joined with what others give.
    fn is_joined(&self, index: usize) -> bool;
    /// The first and the last node of each branch of a block, and where they are joined, the table.
    fn block(&self, _block: usize) -> Option<Branches<'_, V>> {
        None
    }
    /// Notes that every branch of a block has its copy of a sample.
    fn has_forked(&self, _block: usize, _ticket: ForkTicket) {}
    /// Takes the result of a branch of a block.
    fn arrive(&self, _block: usize, _branch: usize, sample: Sample<V>, _wait: Wait) -> Push<V> {
        Push::Shut(sample.value)
    }
    /// Returns true if the last result of a branch has completed a sample for which there is no room behind the block.
    fn is_held_up(&self, _block: usize, _branch: usize) -> bool {
        false
    }
    /// Returns true if the results of several workers of that stage have to be put in order.
    fn reorders(&self, index: usize) -> bool;
    /// The buffer in front of the stage at that index.
    fn buffer(&self, index: usize) -> Option<&Buffer<V>>;
    /// Waits until everything is up; `Some(false)` when the pipeline halts instead, `None` when the caller would not
    /// wait.
    fn wait_for_all_up(&self, wait: Wait) -> Option<bool>;
    /// Returns true if a source is to be asked for samples.
    fn source_wanted(&self) -> bool;
    /// Shows what a worker does, for a caller that asks why the pipeline does not end.
    fn show(&self, _seat: WorkerId, _activity: Activity) {}
    /// Shows that a worker runs its stage on that sample, and for how long already; or that it does not, any longer or
    /// for the time being.
    fn show_running(&self, _seat: WorkerId, _running: Option<(SampleId, Duration)>) {}
    /// Shows that the source is asked for a sample, or is not any longer.
    fn show_source_asked(&self, _asked: bool) {}
    /// Notes that a sample may have been dropped in front of the stage at that index.
    fn note_drop(&self, _index: usize) {}
    /// Moves a worker on.
    fn advance(&self, worker_id: WorkerId, event: WorkerEvent);
    /// Reports that a stage or the source failed for good. Returns true for the failure that callers will be told of.
    fn fail(&self, worker_id: WorkerId, failure: Failure) -> bool;
}

/// The facts about the branches of a block for the worker that gives them their samples.
pub(crate) struct Branches<'a, V> {
    /// The first and the last node of each.
    pub(crate) nodes: &'a [(usize, usize)],
    /// The join where they meet.
    pub(crate) join: Option<&'a Join<V>>,
}
