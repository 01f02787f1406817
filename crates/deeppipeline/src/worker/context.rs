//! The context of a worker: what it is given to work with, once, when it is made.

use crate::activity::{Shown, SourceWaits};
use crate::answers::Answers;
use crate::buffer::{Buffer, LaneKey, Wait};
use crate::clock::Clock;
use crate::error::Failure;
use crate::graph::Node;
use crate::inlet::Inlet;
use crate::job::{WorkerInfo, enter_job};
use crate::parallel::Blocks;
use crate::phase::WorkerEvent;
use crate::restart::RestartPolicy;
use crate::sample::{ForkTicket, SampleId, SampleInfo};
use crate::source_id::SourceId;
use crate::stage_name::StageName;
use crate::time_limits::CallTimer;
use crate::unwind::BoxError;
use crate::worker::{Role, Update, WorkerId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a worker works with. Nothing here is replaced while the worker lives; what changes meanwhile, it asks of
/// [`Control`].
pub(crate) struct WorkerContext<V> {
    /// The id of the pipeline, which tells its own workers from other callers.
    pub(crate) pipeline: u64,
    pub(crate) worker_id: WorkerId,
    pub(crate) role: Role,
    pub(crate) name: Arc<StageName>,
    /// The options of its stage; those of a stage that says none for the source.
    pub(crate) options: Node,
    /// What its stage may know of it.
    pub(crate) info: Arc<WorkerInfo>,
    pub(crate) clock: Clock,
    /// The inlet that it takes from; none for the source.
    pub(crate) input: Option<Arc<Inlet<V>>>,
    pub(crate) output: Output<V>,
    /// The block of which it puts samples together with the results of their parts, if it does.
    pub(crate) gathers: Option<(Arc<Blocks<V>>, usize)>,
    /// The entrance by which samples come in, where it is a source.
    pub(crate) entry: Entry,
    /// True if its results have to be put in order with those of other workers of its stage.
    pub(crate) reorders: bool,
    /// True if what it gives is joined with what others give.
    pub(crate) joined: bool,
    /// True if only what it gives for a sample that was submitted is wanted: it is a worker of the last stage.
    pub(crate) answers: bool,
    /// Shows what it does, for a caller that asks why the pipeline does not end.
    pub(crate) activity: Arc<Shown>,
    /// The timer of its calls, where they have a time limit and nothing kills it.
    pub(crate) timer: Option<CallTimer>,
    /// The times for which it waits for its source, where it has one.
    pub(crate) source_waits: Option<Arc<SourceWaits>>,
    /// When its source is opened again, if it may be.
    pub(crate) restart: Option<RestartPolicy>,
    pub(crate) control: Arc<dyn Control>,
}

/// The entrance that samples come in by: its name, and its lane where there are several. The default is the one that has
/// no name, and that of a worker that is no source.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry {
    pub(crate) source: SourceId,
    pub(crate) lane: LaneKey,
}

/// The place where what a worker gives goes.
pub(crate) enum Output<V> {
    /// No place: it is a worker of an end stage.
    End,
    /// The inlet of the next stage.
    Next(Arc<Inlet<V>>),
    /// Every branch of that block.
    Fork { blocks: Arc<Blocks<V>>, block: usize },
    /// The answers to what was submitted.
    Answers(Arc<Answers<V>>),
    /// The join of a block, as the result of a branch.
    Join { blocks: Arc<Blocks<V>>, block: usize, branch: usize },
}

/// The samples of which a failure is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct FailedOn {
    pub(crate) take: u64,
    /// The one of a batch that it is, or `None` for all that are left of the take.
    pub(crate) only: Option<SampleId>,
}

/// What has become of a source that may be opened again.
#[derive(Debug)]
pub(crate) enum SourceEvent {
    /// It is being opened.
    Opens,
    /// It is open, and will be asked for samples.
    Opened,
    /// It has given the first sample since.
    Gave,
    /// It has failed, with that error, or ended, and is to be opened again.
    Left {
        /// The text of the error.
        error: Option<String>,
        /// The time until it is opened again.
        wait: Duration,
        /// The time when it is.
        until: Instant,
    },
}

/// The supervisor as its workers see it: what is only known while the pipeline runs, and the words that move it on.
pub(crate) trait Control: Send + Sync {
    /// Waits until everything is up; `Some(false)` when the pipeline halts instead, `None` when the caller would not
    /// wait.
    fn wait_for_all_up(&self, wait: Wait) -> Option<bool>;

    /// Returns true if that source is to be asked for one more sample: a close may come before any.
    fn wants_samples(&self, worker_id: WorkerId) -> bool;

    /// Tells how a source goes on that may be opened again.
    fn tell_source(&self, worker_id: WorkerId, event: SourceEvent);

    /// Waits until then with opening a source again. Returns false when it is not wanted any longer, and `None` when the
    /// caller would not wait.
    fn wait_to_open(&self, worker_id: WorkerId, until: Instant, wait: Wait) -> Option<bool>;

    /// Tells the name that a stage gives itself, as its worker has made it: at the end of its `setup`.
    fn tell_name(&self, worker_id: WorkerId, name: String);

    /// Returns the next update of the stage that the worker has not applied.
    fn next_update(&self, worker_id: WorkerId) -> Option<Update>;

    /// Tells what came of an update.
    fn has_updated(&self, worker_id: WorkerId, number: u64, outcome: Result<(), BoxError>);

    /// Returns true if the worker is to take nothing more and to end, while the pipeline runs.
    fn leaves_stage(&self, worker_id: WorkerId) -> bool;

    /// Moves a worker on.
    fn advance(&self, worker_id: WorkerId, event: WorkerEvent);

    /// Reports that a stage or the source failed for good. Returns true for the failure that callers will be told of.
    fn fail(&self, worker_id: WorkerId, failure: Arc<Failure>) -> bool;

    /// Reports why samples, for which somebody waits, have failed: before they are counted.
    fn tell_failure(&self, worker_id: WorkerId, failed: FailedOn, failure: Arc<Failure>);

    /// Reports the bytes of a sample that has failed in a process of its own, before its failure; hands them back where
    /// the worker is in the process of the pipeline.
    fn tell_bytes(&self, sample: SampleId, bytes: Vec<u8>) -> Option<Vec<u8>>;

    /// Notes that what a block has joined has gone on, for which somebody waits.
    fn has_gone_on(&self, ticket: ForkTicket);
}

impl<V> WorkerContext<V> {
    /// The index of its stage; 0 for the source.
    #[cfg(processes)]
    pub(crate) fn index(&self) -> usize {
        match self.worker_id {
            WorkerId::Stage { index, .. } => index,
            WorkerId::Source(_) => 0,
        }
    }

    /// The index of the worker among those of its stage.
    pub(crate) fn worker(&self) -> usize {
        match self.worker_id {
            WorkerId::Stage { worker, .. } => worker,
            WorkerId::Source(_) => 0,
        }
    }

    /// The buffer that it takes from; none for the source.
    pub(crate) fn input(&self) -> Option<&Buffer<V>> {
        self.input.as_ref().map(|inlet| &inlet.buffer)
    }

    /// Returns true if the fate of every sample is told, and why one has failed.
    pub(crate) fn tells_fates(&self) -> bool {
        self.input().is_some_and(|buffer| buffer.limits().fates)
    }

    /// The one inlet that it gives to, if it is one.
    pub(crate) fn next(&self) -> Option<&Inlet<V>> {
        match &self.output {
            Output::Next(next) => Some(next),
            Output::End | Output::Fork { .. } | Output::Join { .. } | Output::Answers(_) => None,
        }
    }

    /// The one buffer that it gives to, if it is one.
    pub(crate) fn output(&self) -> Option<&Buffer<V>> {
        self.next().map(|inlet| &inlet.buffer)
    }

    /// Notes that the calling thread now works for this worker, on that sample.
    #[inline]
    pub(crate) fn enter(&self, sample: Option<SampleInfo>) {
        enter_job(self.pipeline, sample);
    }

    /// Shows that the stage runs on a sample, for that long already; or (`None`) that it does not.
    #[inline]
    pub(crate) fn show_running(&self, running: Option<(SampleId, Duration)>) {
        if let Some(timer) = &self.timer {
            match running {
                Some((sample, busy)) => timer.begin(sample, busy),
                None => timer.end(),
            }
        }
    }

    /// Shows that the source is asked for a sample.
    pub(crate) fn show_source_asked(&self) {
        if let Some(waits) = &self.source_waits {
            waits.begin(self.clock.now());
        }
    }

    /// Shows that it is asked for none any longer. Returns true if it was left behind meanwhile.
    pub(crate) fn show_source_not_asked(&self) -> bool {
        self.source_waits.as_ref().is_some_and(|waits| waits.end(self.clock.now()))
    }
}
