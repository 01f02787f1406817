//! The assembly of a pipeline from its description: its buffers, its workers, and what each of them is given.

use super::{ForBinding, SOURCE, State, Supervisor};
use crate::activity::Shown;
use crate::buffer::{Buffer, Limits, Workers};
use crate::clock::Clock;
use crate::error::GraphError;
use crate::graph::{Flow, Graph, Node};
use crate::inlet::Inlet;
use crate::notices::Notices;
use crate::parallel::Blocks;
use crate::phase::{Phase, WorkerPhase};
use crate::stage_name::StageName;
use crate::time_limits::Timekeeper;
use crate::worker::{Output, Worker, WorkerContext, WorkerId};
#[cfg(processes)]
use crate::{
    buffer::shared::{self, Codec},
    error::StartError,
    executor::process::{Driver, Waker, WorkerProcess},
};
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The number of dropped samples that a buffer remembers by number.
const DROPS_TO_REMEMBER: usize = 16;

impl<V: Send + 'static> Supervisor<V> {
    /// Makes a pipeline as described, and its workers: those of each stage in order, and the source's last where there
    /// is one. Every stage is on a thread here, whatever its `executor` says.
    ///
    /// # Errors
    /// The fault that makes the description invalid.
    pub fn new(graph: Graph) -> Result<(Arc<Self>, Vec<Worker<V>>), GraphError> {
        Self::on_clock(graph, Clock::Monotonic)
    }

    pub(crate) fn on_clock(graph: Graph, clock: Clock) -> Result<(Arc<Self>, Vec<Worker<V>>), GraphError> {
        let drops = match clock {
            Clock::Monotonic => DROPS_TO_REMEMBER,
            Clock::Virtual(_) => usize::MAX,
        };
        let graph = graph.checked()?;
        let buffers = (0..graph.stages.len())
            .map(|index| Buffer::in_memory(limits_of(&graph, index), drops, clock.clone()))
            .collect();
        let supervisor = Arc::new(Self::assembled(graph, clock, buffers));
        let worker_ids = supervisor.worker_ids.iter();
        let workers = worker_ids.map(|worker_id| Worker::new(supervisor.context_of(*worker_id))).collect();
        Ok((supervisor, workers))
    }

    /// Makes a pipeline as described, of threads and processes, and what is to drive each of its workers: those of each
    /// stage in order, and the source's last where there is one. `codecs` has one entry per buffer, and one for each at
    /// which processes meet.
    ///
    /// # Errors
    /// The fault that makes the description invalid, or what the system refuses.
    #[cfg(processes)]
    pub fn with_processes(
        graph: Graph,
        codecs: Vec<Option<Arc<dyn Codec<V>>>>,
    ) -> Result<(Arc<Self>, Vec<Driver<V>>), StartError> {
        let graph = graph.checked()?;
        let mut codecs = codecs.into_iter();
        let mut buffers = Vec::new();
        for index in 0..graph.stages.len() {
            let codec = codecs.next().flatten();
            buffers.push(match codec.filter(|_| graph.is_shared(index)) {
                Some(codec) => Buffer::Shared(shared_buffer(&graph, index, codec)?),
                None if graph.is_shared(index) => {
                    return Err(GraphError::NoCodec { stage: graph.stages[index].name.clone() }.into());
                }
                None => Buffer::in_memory(limits_of(&graph, index), DROPS_TO_REMEMBER, Clock::Monotonic),
            });
        }
        let mut supervisor = Self::assembled(graph, Clock::Monotonic, buffers);
        let mut wakers = Vec::new();
        for worker_id in &supervisor.worker_ids {
            let WorkerId::Stage { index, .. } = *worker_id else { continue };
            let node = &supervisor.graph.stages[index];
            let wanted = node.executor.is_process();
            let waker = wanted.then(Waker::new).transpose();
            wakers.push(waker.map_err(|cause| StartError::Process { stage: node.name.clone(), cause })?);
        }
        supervisor.watchers = wakers.iter().flatten().cloned().collect();
        let supervisor = Arc::new(supervisor);
        let wakers = wakers.into_iter().chain(std::iter::repeat(None));
        let drivers = supervisor.worker_ids.iter().zip(wakers).map(|(worker_id, waker)| {
            let context = supervisor.context_of(*worker_id);
            match waker {
                Some(waker) => Driver::Process(WorkerProcess::new(Arc::clone(&supervisor), context, waker)),
                None => Driver::Thread(Worker::new(context)),
            }
        });
        let drivers = drivers.collect();
        Ok((supervisor, drivers))
    }

    fn assembled(graph: Graph, clock: Clock, buffers: Vec<Buffer<V>>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let workers_of = |index: usize| if graph.is_passed_over(index) { 0 } else { graph.stages[index].workers };
        let of_stages = (0..graph.stages.len())
            .flat_map(|index| (0..workers_of(index)).map(move |worker| WorkerId::Stage { index, worker }));
        let worker_ids: Vec<WorkerId> = of_stages.chain(graph.source.map(|_| WorkerId::Source)).collect();
        let workers = worker_ids.len();
        let first_workers = (0..graph.stages.len()).map(|index| (0..index).map(workers_of).sum()).collect();

        let notices = Arc::<Notices>::default();
        let names: Vec<_> = graph.stages.iter().map(|node| Arc::new(StageName::new(&node.name))).collect();
        let inlets = names.iter().zip(buffers).enumerate().map(|(index, (name, buffer))| {
            Arc::new(Inlet::new(index, Arc::clone(name), buffer, Arc::clone(&notices), clock.clone()))
        });
        let inlets: Vec<_> = inlets.collect();
        let is_watched = graph.has_time_limits_on_threads() && matches!(clock, Clock::Monotonic);
        let timekeeper = is_watched.then(|| {
            let timed = worker_ids.iter().map(|worker_id| match worker_id {
                WorkerId::Stage { index, .. } => {
                    (Arc::clone(&names[*index]), graph.stages[*index].time_limit.unwrap_or_default())
                }
                WorkerId::Source => (Arc::new(StageName::new(SOURCE)), Duration::ZERO),
            });
            Timekeeper::new(timed.collect(), Arc::clone(&notices))
        });
        Supervisor {
            worker_ids,
            first_workers,
            flows: (0..graph.stages.len()).map(|index| graph.flow(index)).collect(),
            blocks: Arc::new(Blocks::new(graph.blocks.clone(), inlets.clone())),
            inlets,
            notices,
            activities: (0..workers).map(|_| Arc::new(Shown::new())).collect(),
            source_waits: Arc::default(),
            timekeeper,
            // Only uniqueness matters.
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            clock,
            state: Mutex::new(State {
                phase: Phase::Starting,
                names: vec![None; graph.stages.len()],
                workers: vec![WorkerPhase::Starting; workers],
                restarts: vec![0; workers],
                aborted_at: None,
                has_discarded: false,
                left_behind: false,
                close_source: None,
                up_since: None,
                ended_at: None,
            }),
            failure: OnceLock::new(),
            unreleased: Arc::default(),
            for_binding: ForBinding::default(),
            releaser: OnceLock::new(),
            changed: Condvar::new(),
            #[cfg(processes)]
            watchers: Vec::new(),
            graph,
        }
    }

    /// Returns what a worker is given to work with.
    fn context_of(self: &Arc<Self>, worker_id: WorkerId) -> WorkerContext<V> {
        let place = self.index_of(worker_id);
        let stage = match worker_id {
            WorkerId::Stage { index, .. } => Some(index),
            WorkerId::Source => None,
        };
        let options = stage.map_or_else(|| Node::new(SOURCE), |index| self.graph.stages[index].clone());
        let input = stage.map(|index| Arc::clone(&self.inlets[index]));
        let has_timer = options.time_limit.is_some() && !options.executor.is_process();
        WorkerContext {
            pipeline: self.id,
            worker_id,
            name: input.as_ref().map_or_else(|| Arc::new(StageName::new(SOURCE)), |inlet| Arc::clone(&inlet.name)),
            restarted: false,
            clock: self.clock.clone(),
            output: self.output_of(worker_id),
            reorders: stage.is_some_and(|index| workers_of(&self.graph, index).reorders()),
            joined: stage.is_some_and(|index| self.graph.is_joined(index)),
            is_relay: stage.is_some_and(|index| self.graph.is_relay(index)),
            activity: Arc::clone(&self.activities[place]),
            timer: self.timekeeper.as_ref().filter(|_| has_timer).map(|keeper| keeper.timer(place)),
            source_waits: stage.is_none().then(|| Arc::clone(&self.source_waits)),
            control: Arc::clone(self) as _,
            input,
            options,
        }
    }

    fn output_of(&self, worker_id: WorkerId) -> Output<V> {
        let blocks = || Arc::clone(&self.blocks);
        match self.flow_of(worker_id) {
            Flow::End => Output::End,
            Flow::Next(next) => Output::Next(Arc::clone(&self.inlets[next])),
            Flow::Fork(block) => Output::Fork { blocks: blocks(), block },
            Flow::Join { block, branch } => Output::Join { blocks: blocks(), block, branch },
        }
    }
}

/// The limits of the buffer in front of a stage.
fn limits_of(graph: &Graph, index: usize) -> Limits {
    let node = &graph.stages[index];
    Limits {
        capacity: graph.size_of(index),
        bytes: graph.bytes_of(index) as u64,
        overflow: node.overflow_in(graph),
        intake: node.intake,
        max_age: node.max_age.or(graph.max_age).filter(|_| !graph.is_relay(index)),
        producers: graph.producer(index).map_or(Workers::ONE, |before| workers_of(graph, before)),
        consumers: workers_of(graph, index),
        is_last: graph.flow(index) == Flow::End,
        is_looked_for: graph.is_joined(index),
    }
}

/// The workers of a stage. Nothing leaves an end stage, so there is nothing to be put in order.
fn workers_of(graph: &Graph, index: usize) -> Workers {
    let node = &graph.stages[index];
    let time_limit = node.time_limit.filter(|_| !node.executor.is_process());
    Workers { workers: node.workers, ordered: node.ordered && graph.flow(index) != Flow::End, time_limit }
}

/// The buffer in front of a stage, for values that cross from one process to another.
#[cfg(processes)]
fn shared_buffer<V>(graph: &Graph, index: usize, codec: Arc<dyn Codec<V>>) -> Result<shared::Buffer<V>, StartError> {
    let (node, limits) = (&graph.stages[index], limits_of(graph, index));
    codec.check().map_err(|cause| GraphError::Samples { stage: node.name.clone(), cause: cause.to_string() })?;
    let may_retry = node.may_see_again();
    shared::Buffer::create(limits, codec, may_retry).map_err(|cause| {
        let bytes = shared::addresses(limits);
        StartError::Memory { stage: node.name.clone(), bytes, cause }
    })
}
