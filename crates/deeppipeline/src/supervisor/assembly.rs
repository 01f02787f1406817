//! The assembly of a pipeline from its description: its buffers, its workers, and what each of them is given.

use super::{ForBinding, Scaled, State, Supervisor, Updates};
use crate::activity::Shown;
use crate::answers::Answers;
use crate::buffer::Buffer;
use crate::clock::Clock;
use crate::error::GraphError;
use crate::fates::Fates;
use crate::graph::{Flow, Graph, Layout};
use crate::inlet::Inlet;
use crate::job::WorkerInfo;
use crate::notices::{DropLog, Notices};
use crate::parallel::Blocks;
use crate::phase::{Phase, WorkerPhase};
use crate::stage_name::StageName;
use crate::time_limits::Timekeeper;
use crate::worker::{Entry, Output, Worker, WorkerContext, WorkerId};
#[cfg(processes)]
use crate::{
    buffer::shared::{self, Codec},
    error::StartError,
    executor::process::{Driver, Waker, WorkerProcess},
    graph::Producer,
};
use parking_lot::{Condvar, Mutex, RwLock};
#[cfg(processes)]
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The number of dropped samples, and of failed ones, that a buffer remembers by number.
const IDS_TO_REMEMBER: usize = 16;

impl<V: Send + 'static> Supervisor<V> {
    /// Makes a pipeline as described, and its workers in reading order, the source's last where there is one: those of
    /// the stages, and relays where a block needs them. Every stage is on a thread here, whatever its `executor` says.
    ///
    /// # Errors
    /// The fault that makes the description invalid.
    pub fn new(graph: Graph) -> Result<(Arc<Self>, Vec<Worker<V>>), GraphError> {
        Self::on_clock(graph, Clock::Monotonic)
    }

    pub(crate) fn on_clock(graph: Graph, clock: Clock) -> Result<(Arc<Self>, Vec<Worker<V>>), GraphError> {
        let drops = match clock {
            Clock::Monotonic => IDS_TO_REMEMBER,
            Clock::Virtual(_) => usize::MAX,
        };
        let layout = graph.layout()?;
        let buffers = layout.limits.iter().map(|limits| Buffer::in_memory(*limits, drops, clock.clone())).collect();
        let supervisor = Arc::new(Self::assembled(layout, clock, buffers));
        supervisor.listen_for_ends();
        let workers = supervisor.workers.iter().filter(|(index, worker)| supervisor.begins(*index, *worker));
        let workers = workers.map(|(index, worker)| Worker::new(supervisor.context_of(*index, *worker)));
        let workers = workers.chain(supervisor.source_workers()).collect();
        Ok((supervisor, workers))
    }

    /// Makes a pipeline as described, of threads and processes, and what is to drive each of its workers, in the same
    /// order. `codecs` has one entry per stage: how what it takes and gives crosses, where processes meet.
    ///
    /// # Errors
    /// The fault that makes the description invalid, or what the system refuses.
    #[cfg(processes)]
    pub fn with_processes(
        graph: Graph,
        codecs: Vec<Option<Codecs<V>>>,
    ) -> Result<(Arc<Self>, Vec<Driver<V>>), StartError> {
        let layout = graph.layout()?;
        let mut buffers = Vec::new();
        for index in 0..layout.nodes.len() {
            buffers.push(match layout.is_shared(index) {
                true => Buffer::Shared(shared_buffer(&layout, index, &codecs)?),
                false => Buffer::in_memory(layout.limits[index], IDS_TO_REMEMBER, Clock::Monotonic),
            });
        }

        // The supervisor has the wakers before any worker has the supervisor: what it tells reaches all of them.
        let mut supervisor = Self::assembled(layout, Clock::Monotonic, buffers);
        let mut wakers = Vec::new();
        for (index, _) in supervisor.workers.iter().copied() {
            let stage = &supervisor.layout.nodes[index].options.name;
            let waker = supervisor.layout.is_in_process(index).then(Waker::new).transpose();
            wakers.push(waker.map_err(|cause| StartError::Process { stage: stage.clone(), cause })?);
        }
        supervisor.watchers = wakers;

        let supervisor = Arc::new(supervisor);
        supervisor.listen_for_ends();
        let begin = supervisor.workers.iter().filter(|(index, worker)| supervisor.begins(*index, *worker));
        let drivers = begin.map(|(index, worker)| supervisor.driver_of(*index, *worker));
        let sources = supervisor.source_workers().into_iter().map(Driver::Thread);
        let drivers = drivers.chain(sources).collect();
        Ok((supervisor, drivers))
    }

    fn assembled(layout: Layout, clock: Clock, buffers: Vec<Buffer<V>>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let nodes = &layout.nodes;
        let workers_of = |index: usize| nodes[index].options.workers;
        let of_nodes = (0..nodes.len()).flat_map(|index| (0..workers_of(index)).map(move |worker| (index, worker)));
        let all_workers: Vec<(usize, usize)> = of_nodes.collect();
        let workers = all_workers.len();
        let rests = |(index, worker): &(usize, usize)| *worker >= nodes[*index].starts_with;
        let phase_of = |place| if rests(place) { WorkerPhase::Resting } else { WorkerPhase::Starting };
        let phases = all_workers.iter().map(phase_of).collect();
        let first_workers = (0..nodes.len()).map(|index| (0..index).map(workers_of).sum()).collect();

        let notices = Arc::new(Notices::new(clock.clone()));
        let names: Vec<_> = nodes.iter().map(|node| Arc::new(StageName::new(&node.options.name))).collect();
        let inlets = names.iter().zip(buffers).enumerate().map(|(index, (name, buffer))| {
            let drops = (!nodes[index].drops_by_design).then(DropLog::default);
            Arc::new(Inlet::new(index, Arc::clone(name), buffer, drops, Arc::clone(&notices), clock.clone()))
        });
        let inlets: Vec<_> = inlets.collect();
        let is_watched = layout.has_time_limits_on_threads() && matches!(clock, Clock::Monotonic);
        let timekeeper = is_watched.then(|| {
            let timed = all_workers
                .iter()
                .map(|(index, _)| (Arc::clone(&names[*index]), nodes[*index].options.time_limit.unwrap_or_default()));
            Timekeeper::new(timed.collect(), Arc::clone(&notices))
        });
        let supervisor = Supervisor {
            workers: all_workers,
            first_workers,
            answers: Arc::new(Answers::new(layout.answers)),
            fates: Fates::default(),
            blocks: Arc::new(Blocks::new(layout.blocks.clone(), inlets.clone())),
            inlets,
            notices,
            activities: (0..workers).map(|_| Arc::new(Shown::new())).collect(),
            put_entrances: RwLock::default(),
            timekeeper,
            // Only uniqueness matters.
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            clock,
            cuts: Arc::default(),
            when_flushed: OnceLock::new(),
            cutting: Mutex::default(),
            paused: Mutex::default(),
            updates: Updates::of(&layout),
            scaled: Scaled::default(),
            state: Mutex::new(State {
                phase: Phase::Starting,
                names: vec![None; nodes.len()],
                workers: phases,
                restarts: vec![0; workers],
                leaving: vec![false; workers],
                failed_to_join: Vec::new(),
                aborted_at: None,
                has_discarded: false,
                left_behind: false,
                sources: Vec::new(),
                entrances: Vec::new(),
                watches_stalls: false,
                closes_after_sources: false,
                up_since: None,
                ended_at: None,
            }),
            failure: OnceLock::new(),
            unreleased: Arc::default(),
            #[cfg(feature = "timeline")]
            dumping: Arc::default(),
            for_binding: ForBinding::default(),
            releaser: OnceLock::new(),
            last_said: OnceLock::new(),
            changed: Condvar::new(),
            #[cfg(processes)]
            watchers: Vec::new(),
            layout,
        };
        supervisor.open_entrances();
        supervisor
    }

    /// Returns true if the pipeline begins with that worker.
    fn begins(&self, index: usize, worker: usize) -> bool {
        worker < self.layout.nodes[index].starts_with
    }

    /// Makes what is to drive a stage's worker.
    #[cfg(processes)]
    pub(super) fn driver_of(self: &Arc<Self>, index: usize, worker: usize) -> Driver<V> {
        let context = self.context_of(index, worker);
        match self.watchers.get(self.place_of(index, worker)).cloned().flatten() {
            Some(waker) => Driver::Process(WorkerProcess::new(Arc::clone(self), context, waker)),
            None => Driver::Thread(Worker::new(context)),
        }
    }

    /// Returns what a stage's worker is given to work with.
    pub(super) fn context_of(self: &Arc<Self>, index: usize, worker: usize) -> WorkerContext<V> {
        let (worker_id, place) = (WorkerId::Stage { index, worker }, self.place_of(index, worker));
        let (node, input) = (&self.layout.nodes[index], Arc::clone(&self.inlets[index]));
        let options = node.options.clone();
        let info = self.info_of(worker);
        let has_timer = options.time_limit.is_some() && !options.executor.is_process();

        WorkerContext {
            pipeline: self.id,
            worker_id,
            role: node.role,
            name: Arc::clone(&input.name),
            info: Arc::new(info),
            clock: self.clock.clone(),
            output: self.output_of(worker_id),
            gathers: self.layout.gathers(index).map(|block| (Arc::clone(&self.blocks), block)),
            entry: Entry::default(),
            reorders: self.layout.limits[index].consumers.reorders(),
            joined: node.joined,
            answers: self.layout.answers.is_some() && self.layout.is_last(index),
            activity: Arc::clone(&self.activities[place]),
            timer: self.timekeeper.as_ref().filter(|_| has_timer).map(|keeper| keeper.timer(place)),
            source_waits: None,
            restart: None,
            control: Arc::clone(self) as _,
            input: Some(input),
            options,
        }
    }

    /// Returns what the worker of that index may know of itself.
    pub(super) fn info_of(&self, index: usize) -> WorkerInfo {
        let cuts = Arc::clone(&self.cuts);
        WorkerInfo {
            index,
            restarted: false,
            clock: self.clock.clone(),
            is_cut_off: Arc::new(move |sample| cuts.are_before(sample.id.number, sample.source)),
        }
    }

    pub(super) fn output_of(&self, worker_id: WorkerId) -> Output<V> {
        let blocks = || Arc::clone(&self.blocks);
        match self.flow(worker_id) {
            Flow::End => Output::End,
            Flow::Answers => Output::Answers(Arc::clone(&self.answers)),
            Flow::Next(next) => Output::Next(Arc::clone(&self.inlets[next])),
            Flow::Fork(block) => Output::Fork { blocks: blocks(), block },
            Flow::Join { block, branch } => Output::Join { blocks: blocks(), block, branch },
        }
    }
}

/// How the values of a stage cross from one process to another: what it takes, and what it gives.
#[cfg(processes)]
pub struct Codecs<V> {
    /// The codec of what it takes.
    pub input: Arc<dyn Codec<V>>,
    /// The codec of what it gives.
    pub output: Arc<dyn Codec<V>>,
}

#[cfg(processes)]
impl<V> fmt::Debug for Codecs<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codecs").finish_non_exhaustive()
    }
}

/// The buffer in front of a node, for values that cross from one process to another.
#[cfg(processes)]
fn shared_buffer<V>(
    layout: &Layout,
    index: usize,
    codecs: &[Option<Codecs<V>>],
) -> Result<shared::Buffer<V>, StartError> {
    let (node, limits) = (&layout.nodes[index], layout.limits[index]);
    let stage = || node.options.name.clone();
    let codecs_of = |index: usize| codecs.get(layout.nodes[index].role.stage()?)?.as_ref();
    let before = match node.from {
        Producer::Node(before) => codecs_of(before),
        Producer::Entrance | Producer::Fork(_) | Producer::Join(_) => None,
    };
    let codec = codecs_of(index).map(|stage| &stage.input).or_else(|| before.map(|stage| &stage.output));
    let codec = Arc::clone(codec.ok_or_else(|| GraphError::NoCodec { stage: stage() })?);
    codec.check().map_err(|cause| GraphError::Samples { stage: stage(), cause: cause.to_string() })?;
    let may_retry = node.options.may_see_again();
    shared::Buffer::create(limits, codec, may_retry).map_err(|cause| {
        let bytes = shared::addresses(limits);
        StartError::Memory { stage: stage(), bytes, cause }
    })
}
