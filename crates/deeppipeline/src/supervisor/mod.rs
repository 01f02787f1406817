//! The supervisor, which starts, watches, drains and stops: which worker is in which phase, and what every change of
//! phase sets off.
//!
//! What may follow what stands in the tables of `phase.rs`. The file is long because whatever the handle, the workers
//! and the watchers of processes ask for meets here, under one lock.

mod blocks;
mod discarded;
mod snapshot;
mod warnings;

use crate::activity::{Activity, Shown, SourceWaits, Timekeeper};
use crate::aside;
use crate::buffer::{Arrival, Buffer, Origin, Push, Wait};
use crate::clock::Clock;
use crate::error::{Doing, Failure, GraphError, PutError};
use crate::executor::{catch_panic, free};
use crate::graph::{Block, Executor, Flow, Graph, Node};
use crate::home::{Branches, Home};
use crate::join::{Join, Joiner};
use crate::notices::{DropLog, Notice, Notices};
use crate::phase::{Event, Phase, WorkerEvent, WorkerPhase};
use crate::sample::{ForkTicket, Sample, SampleId, works_for};
use crate::worker::{Worker, WorkerId};
#[cfg(processes)]
use crate::{
    buffer::shared::Codec,
    error::{MemoryDamaged, StartError},
    executor::process::{Driver, Waker, WorkerProcess},
};
pub use discarded::Discarded;
use discarded::{ForFrontDoor, Freer, Unfreed};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The name under which the source stands in reports and errors.
pub const SOURCE: &str = "source";

/// The number of dropped samples that a buffer remembers by number.
const DROPS_TO_REMEMBER: usize = 16;

/// The outcome of starting: the workers came up, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Startup {
    /// Every `setup` has succeeded.
    Up,
    /// Something failed, or the pipeline was aborted, and every worker has ended.
    Failed,
    /// The caller would not wait any longer.
    TimedOut,
}

/// The result of a `put` when nothing is wrong.
#[derive(Debug)]
pub struct Accepted<V> {
    /// False when the sample was counted as dropped on arrival (`drop_newest`).
    pub accepted: bool,
    /// The value that was dropped, to be freed by the caller.
    pub dropped: Option<V>,
}

/// Wakes the source from another thread.
pub type Closer = Box<dyn Fn() + Send + Sync>;

/// The state that all workers and the handle of one pipeline share. It holds the buffers, and knows where each worker
/// is.
pub struct Supervisor<V> {
    id: u64,
    graph: Graph,
    /// The workers of the first stage, of the second, and so on, and the source's last where there is one.
    seats: Vec<WorkerId>,
    /// The place of each stage's first worker among them.
    first_seats: Vec<usize>,
    /// The flow of what each node gives.
    flows: Vec<Flow>,
    clock: Clock,
    buffers: Vec<Buffer<V>>,
    /// One per block.
    joins: Vec<Join<V>>,
    joiners: OnceLock<Vec<Joiner<V>>>,
    /// The names that stages give themselves that their workers have made, from the moment that everything is up.
    own_names: Vec<OnceLock<String>>,
    control: Mutex<Control>,
    /// The failure that stopped the pipeline, set with the phase that follows from it.
    failure: OnceLock<Arc<Failure>>,
    changed: Condvar,
    notices: Arc<Notices>,
    /// One per buffer.
    drops: Vec<DropLog>,
    /// One per worker.
    activities: Vec<Shown>,
    source_waits: SourceWaits,
    /// The timekeeper, where a stage on a thread has a time limit.
    timekeeper: Option<Arc<Timekeeper>>,
    unfreed: Arc<Unfreed>,
    for_front_door: ForFrontDoor<V>,
    freer: OnceLock<Freer>,
    /// The wakers of those that watch over worker processes, and learn of every change of phase.
    #[cfg(processes)]
    watchers: Vec<crate::executor::process::Waker>,
}

impl<V> fmt::Debug for Supervisor<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("id", &self.id).field("graph", &self.graph).finish_non_exhaustive()
    }
}

struct Control {
    phase: Phase,
    /// The name of each stage, as its workers have told.
    names: Vec<Option<String>>,
    /// One per worker.
    workers: Vec<WorkerPhase>,
    /// The number of times that each was started again.
    restarts: Vec<u64>,
    aborted_at: Option<Instant>,
    /// True if no caller waits any longer for workers that have not ended.
    left_behind: bool,
    close_source: Option<Arc<Closer>>,
    up_since: Option<Instant>,
    ended_at: Option<Instant>,
}

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
        let buffers = (0..graph.stages.len()).map(|index| graph.buffer_in_memory(index, drops, &clock)).collect();
        let supervisor = Arc::new(Self::assembled(graph, clock, buffers));
        let seats = supervisor.seats.iter();
        let workers = seats.map(|worker_id| Worker::new(Arc::clone(&supervisor) as _, *worker_id)).collect();
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
                Some(codec) => Buffer::Shared(graph.buffer_in_shared_memory(index, codec)?),
                None if graph.is_shared(index) => {
                    return Err(GraphError::NoCodec { stage: graph.stages[index].name.clone() }.into());
                }
                None => graph.buffer_in_memory(index, DROPS_TO_REMEMBER, &Clock::Monotonic),
            });
        }
        let mut supervisor = Self::assembled(graph, Clock::Monotonic, buffers);
        let mut wakers = Vec::new();
        for worker_id in &supervisor.seats {
            let WorkerId::Stage { index, .. } = *worker_id else { continue };
            let node = &supervisor.graph.stages[index];
            let wanted = node.executor == Executor::Process;
            let waker = wanted.then(Waker::new).transpose();
            wakers.push(waker.map_err(|cause| StartError::Process { stage: node.name.clone(), cause })?);
        }
        supervisor.watchers = wakers.iter().flatten().cloned().collect();
        let supervisor = Arc::new(supervisor);
        let wakers = wakers.into_iter().chain(std::iter::repeat(None));
        let posts = supervisor.seats.iter().zip(wakers).map(|(worker_id, waker)| match (*worker_id, waker) {
            (WorkerId::Stage { index, worker }, Some(waker)) => {
                Driver::Process(WorkerProcess::new(Arc::clone(&supervisor), index, worker, waker))
            }
            (worker_id, _) => Driver::Thread(Worker::new(Arc::clone(&supervisor) as _, worker_id)),
        });
        let posts = posts.collect();
        Ok((supervisor, posts))
    }

    fn assembled(graph: Graph, clock: Clock, buffers: Vec<Buffer<V>>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let stages = graph.stages.iter().enumerate();
        let of_stages =
            stages.flat_map(|(index, node)| (0..node.workers).map(move |worker| WorkerId::Stage { index, worker }));
        let seats: Vec<WorkerId> = of_stages.chain(graph.source.map(|_| WorkerId::Source)).collect();
        let workers = seats.len();
        let before = |index: usize| graph.stages[..index].iter().map(|node| node.workers).sum();
        let first_seats = (0..graph.stages.len()).map(before).collect();
        let is_watched = graph.has_time_limits_on_threads() && matches!(clock, Clock::Monotonic);
        Supervisor {
            seats,
            first_seats,
            flows: (0..graph.stages.len()).map(|index| graph.flow(index)).collect(),
            joins: graph.blocks.iter().map(|block| Join::new(block.branches.len())).collect(),
            joiners: OnceLock::new(),
            notices: Arc::default(),
            drops: graph.stages.iter().map(|_| DropLog::default()).collect(),
            activities: (0..workers).map(|_| Shown::new()).collect(),
            source_waits: SourceWaits::default(),
            timekeeper: is_watched.then(|| Timekeeper::new(workers)),
            // Only uniqueness matters.
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            clock,
            buffers,
            own_names: graph.stages.iter().map(|_| OnceLock::new()).collect(),
            control: Mutex::new(Control {
                phase: Phase::Starting,
                names: vec![None; graph.stages.len()],
                workers: vec![WorkerPhase::Starting; workers],
                restarts: vec![0; workers],
                aborted_at: None,
                left_behind: false,
                close_source: None,
                up_since: None,
                ended_at: None,
            }),
            failure: OnceLock::new(),
            unfreed: Arc::default(),
            for_front_door: ForFrontDoor::default(),
            freer: OnceLock::new(),
            changed: Condvar::new(),
            #[cfg(processes)]
            watchers: Vec::new(),
            graph,
        }
    }

    /// Puts one sample into the first buffer.
    ///
    /// # Errors
    /// See [`PutError`]; the sample is handed back in each of them.
    pub fn put(&self, value: V, wait: Wait) -> Result<Accepted<V>, PutError<V>> {
        self.put_born(value, self.clock.now(), wait)
    }

    /// Works like [`put`](Supervisor::put), for a caller that waits in several attempts: the sample was born at the
    /// first.
    ///
    /// # Errors
    /// As `put`.
    pub fn put_born(&self, value: V, birth: Instant, wait: Wait) -> Result<Accepted<V>, PutError<V>> {
        if works_for(self.id) {
            return Err(PutError::OwnStage(value));
        }
        let (id, fork) = (SampleId { number: 0, part: 0 }, ForkTicket::default());
        let sample = Sample { id, birth, fork, value };
        match self.buffers[0].push(sample, Arrival::Outside, Origin::default(), wait) {
            Push::Done { accepted, dropped, .. } => {
                if !accepted || dropped.is_some() {
                    self.note_drop(0);
                }
                Ok(Accepted { accepted, dropped })
            }
            Push::Full(value) => Err(PutError::Timeout(value)),
            Push::Refused(value, cause) => Err(PutError::Refused(value, cause)),
            Push::Shut(value) | Push::Late(value) | Push::Discarded(value) => {
                #[cfg(processes)]
                self.is_damaged(0);
                Err(match self.failure() {
                    Some(error) => PutError::Stage(value, error),
                    None => PutError::Closed(value),
                })
            }
        }
    }

    /// Closes the entrance: `put` is refused from now on, a source is asked for nothing more, what is inside flows out.
    pub fn close(&self) {
        let wake_source = {
            let mut control = self.control.lock();
            control.phase = control.phase.after(Event::Close);
            control.close_source.clone()
        };
        if self.graph.source.is_some() {
            call(wake_source);
        } else {
            self.close_buffer(0);
        }
        self.tell_all();
    }

    /// Discards what is inside and asks every worker to end after its present call; does not wait.
    pub fn abort(&self) {
        let wake_source = {
            let mut control = self.control.lock();
            if control.phase != Phase::Stopped {
                control.aborted_at.get_or_insert_with(|| self.clock.now());
            }
            control.phase = control.phase.after(Event::Halt);
            control.close_source.clone()
        };
        // First, so that a process that hangs while it has a buffer's lock is killed in time.
        self.tell_all();
        self.discard(&(0..self.buffers.len()).collect::<Vec<_>>());
        call(wake_source);
        self.tell_all();
    }

    /// Waits until every `setup` has succeeded, or something has failed and every worker has ended.
    pub fn wait_up(&self, wait: Wait) -> Startup {
        let mut control = self.control.lock();
        let mut patient = true;
        loop {
            match (control.up_since, control.phase) {
                (Some(_), _) => return Startup::Up,
                (None, Phase::Stopped) => return Startup::Failed,
                (None, _) if !patient => return Startup::TimedOut,
                (None, _) => patient = self.wait_for_change(&mut control, wait),
            }
        }
    }

    /// Returns the time when the pipeline was aborted.
    #[cfg(processes)]
    pub(crate) fn aborted_at(&self) -> Option<Instant> {
        self.control.lock().aborted_at
    }

    /// Returns true if the buffer in front of a stage is damaged, which is a failure of the pipeline.
    #[cfg(processes)]
    pub(crate) fn is_damaged(&self, index: usize) -> bool {
        let Some(buffer) = self.buffers[index].shared() else { return false };
        let Some(damage) = buffer.damage() else { return false };
        if buffer.is_first_to_tell() {
            self.fail_for(index, damage);
        }
        true
    }

    #[cfg(processes)]
    fn fail_for(&self, index: usize, damage: MemoryDamaged) {
        let (worker_id, stage) = (WorkerId::Stage { index, worker: 0 }, self.stage_name(index).to_owned());
        self.fail(worker_id, Failure { stage, doing: Doing::StageRun, sample: None, cause: Box::new(damage) });
    }

    /// Looks at what is left in the buffers once every worker has ended. Damage that no step has met is found here or
    /// never.
    #[cfg(processes)]
    fn look_for_the_last(&self) {
        for (index, buffer) in self.buffers.iter().enumerate() {
            let Some(buffer) = buffer.shared() else { continue };
            // First, so that what the report says is of this moment, whatever is found afterwards.
            buffer.counts();
            // A caller that keeps the pipeline for its report need not keep what lay in its buffers.
            buffer.sweep_all();
            // Another thread that found it may not have come to tell it.
            if self.is_damaged(index)
                && self.failure.get().is_none()
                && let Some(damage) = buffer.damage()
            {
                self.fail_for(index, damage);
            }
        }
    }

    /// Returns the phase of a worker.
    #[cfg(processes)]
    pub(crate) fn phase_of(&self, worker_id: WorkerId) -> WorkerPhase {
        self.control.lock().workers[self.index_of(worker_id)]
    }

    /// Returns when something will happen by itself after that moment, if anything will: what waits for others is due,
    /// or overdue.
    pub(crate) fn due_after(&self, now: Instant) -> Option<Instant> {
        let due = self.buffers.iter().flat_map(|buffer| [buffer.due_at(), buffer.overdue_at()]).flatten();
        due.filter(|due| *due > now).min()
    }

    /// Waits until every worker has ended, and what was discarded is freed; false when the caller would not wait any
    /// longer.
    pub fn wait_ended(&self, wait: Wait) -> bool {
        let mut control = self.control.lock();
        while control.phase != Phase::Stopped {
            if !self.wait_for_change(&mut control, wait) && control.phase != Phase::Stopped {
                return false;
            }
        }
        drop(control);
        self.unfreed.wait(wait)
    }

    /// Waits until every worker that is a process has ended; those that hang are killed [`GRACE`](crate::GRACE) after
    /// an abort.
    pub fn wait_processes_ended(&self, wait: Wait) -> bool {
        let in_process = |worker_id: &WorkerId| match worker_id {
            WorkerId::Stage { index, .. } => cfg!(processes) && self.graph.stages[*index].executor == Executor::Process,
            WorkerId::Source => false,
        };
        let mut control = self.control.lock();
        loop {
            let mut left = self.seats.iter().zip(&control.workers).filter(|(_, phase)| **phase != WorkerPhase::Stopped);
            if !left.any(|(worker_id, _)| in_process(worker_id)) {
                return true;
            }
            if !self.wait_for_change(&mut control, wait) {
                return false;
            }
        }
    }

    fn wait_for_change(&self, control: &mut MutexGuard<'_, Control>, wait: Wait) -> bool {
        match wait {
            Wait::No => false,
            Wait::Forever => {
                self.changed.wait(control);
                true
            }
            Wait::Until(deadline) => !self.changed.wait_until(control, deadline).timed_out(),
        }
    }

    /// Returns the stages (and the source) whose worker has not ended, from the front, and what is still being freed.
    pub fn not_ended(&self) -> Vec<String> {
        let mut names = self.workers_that(|phase| phase != WorkerPhase::Stopped);
        names.extend(self.being_freed());
        names
    }

    /// Returns the stages (and the source) whose `setup` has not returned, from the front.
    pub fn not_up(&self) -> Vec<String> {
        self.workers_that(|phase| {
            matches!(phase, WorkerPhase::Starting | WorkerPhase::Crashed | WorkerPhase::Restarting)
        })
    }

    fn workers_that(&self, wanted: impl Fn(WorkerPhase) -> bool) -> Vec<String> {
        let phases = self.control.lock().workers.clone();
        let mut named: Vec<(WorkerId, WorkerPhase)> = self.seats.iter().copied().zip(phases).collect();
        named.sort_by_key(|(worker_id, _)| *worker_id);
        let wanted = named.into_iter().filter(|(_, phase)| wanted(*phase));
        let mut names: Vec<String> = wanted.map(|(worker_id, _)| self.name_of(worker_id).to_owned()).collect();
        // The workers of one stage stand side by side.
        names.dedup();
        names
    }

    /// Returns true if the caller is one of the pipeline's own workers, which must not wait for the pipeline.
    pub fn called_by_own_worker(&self) -> bool {
        works_for(self.id)
    }

    /// Returns true if samples come from a source instead of `put`.
    pub fn has_source(&self) -> bool {
        self.graph.source.is_some()
    }

    /// Returns true if the source has been asked to end and has not ended yet.
    pub fn source_should_end(&self) -> bool {
        let control = self.control.lock();
        self.graph.source.is_some()
            && !control.phase.wants_samples()
            && control.workers.last() != Some(&WorkerPhase::Stopped)
    }

    /// Closes a buffer: nothing more comes into it.
    fn close_buffer(&self, index: usize) {
        self.release_discarded(vec![(self.stage_name(index).to_owned(), self.buffers[index].close())]);
    }

    /// Gives up what is in these buffers, and in the joins behind those of them that end a branch. No worker is woken
    /// before all is given up: a producer must not take what another buffer still has, and a consumer must not think
    /// that its own was drained.
    fn discard(&self, buffers: &[usize]) {
        let name_of = |index: usize| self.stage_name(index).to_owned();
        let given_up = buffers.iter().map(|index| (name_of(*index), self.buffers[*index].discard()));
        let given_up: Vec<_> = given_up.collect();
        let joins = buffers.iter().filter_map(|index| match self.flows[*index] {
            Flow::Join { block, .. } => {
                Some((name_of(self.graph.blocks[block].fork), self.joins[block].discard().into_iter().collect()))
            }
            Flow::End | Flow::Next(_) | Flow::Fork(_) => None,
        });
        let unjoined: Vec<_> = joins.collect();
        buffers.iter().for_each(|index| self.buffers[*index].wake());
        self.release_discarded(given_up);
        self.release_discarded(unjoined);
    }

    /// Wakes all that wait for a change of phase.
    fn tell_all(&self) {
        self.changed.notify_all();
        #[cfg(processes)]
        self.watchers.iter().for_each(crate::executor::process::Waker::wake);
    }

    /// The name of a stage as it is known.
    fn stage_name(&self, index: usize) -> &str {
        self.own_names[index].get().unwrap_or(&self.graph.stages[index].name)
    }

    /// Stages that their workers have made get the names that they give themselves. All at once and in their order, so
    /// that names that come again have the same numbers in every run.
    fn name_made_stages(&self, told: &mut [Option<String>]) {
        let names = || (0..told.len()).filter(|index| told[*index].is_none());
        let mut taken: HashSet<String> = names().map(|index| self.stage_name(index).to_owned()).collect();
        for (told, own) in told.iter_mut().zip(&self.own_names) {
            let Some(name) = told.take() else { continue };
            let numbered = (2..).map(|number| format!("{name} {number}"));
            let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
            let name = free.unwrap_or(name);
            taken.insert(name.clone());
            let _ = own.set(name);
        }
    }

    fn index_of(&self, worker_id: WorkerId) -> usize {
        match worker_id {
            WorkerId::Stage { index, worker } => self.first_seats[index] + worker,
            WorkerId::Source => self.seats.len() - 1,
        }
    }

    /// Closes what is behind a node that gives no more.
    fn close_after(&self, worker_id: WorkerId) {
        let flow = match worker_id {
            WorkerId::Source => Flow::Next(0),
            WorkerId::Stage { index, .. } => self.flows[index],
        };
        match flow {
            Flow::End => {}
            Flow::Next(next) => self.close_buffer(next),
            Flow::Fork(block) => {
                self.graph.blocks[block].branches.iter().for_each(|(first, _)| self.close_buffer(*first))
            }
            Flow::Join { block, .. } => {
                self.joins[block].branch_has_ended();
                self.tidy(block);
                self.close_behind(block);
            }
        }
    }

    /// The workers of the same stage, itself among them, by their place among all.
    fn colleagues_of(&self, worker_id: WorkerId) -> impl Iterator<Item = usize> {
        let workers = match worker_id {
            WorkerId::Stage { index, .. } => self.graph.stages[index].workers,
            WorkerId::Source => 1,
        };
        let first = self.index_of(match worker_id {
            WorkerId::Stage { index, .. } => WorkerId::Stage { index, worker: 0 },
            WorkerId::Source => worker_id,
        });
        first..first + workers
    }

    /// Sets how the source is woken from another thread.
    pub fn set_closer(&self, closer: Option<Closer>) {
        let before = std::mem::replace(&mut self.control.lock().close_source, closer.map(Arc::new));
        // What it has captured is the user's.
        free(before);
    }
}

impl<V: Send + 'static> Home<V> for Supervisor<V> {
    fn id(&self) -> u64 {
        self.id
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn node(&self, index: usize) -> &Node {
        &self.graph.stages[index]
    }

    fn flow(&self, index: usize) -> Flow {
        self.flows[index]
    }

    fn is_joined(&self, index: usize) -> bool {
        self.graph.is_joined(index)
    }

    fn block(&self, block: usize) -> Option<Branches<'_, V>> {
        let Block { branches, joined, .. } = self.graph.blocks.get(block)?;
        Some(Branches { nodes: branches, join: joined.then(|| &self.joins[block]) })
    }

    fn has_forked(&self, block: usize, ticket: ForkTicket) {
        self.joins[block].has_entered(ticket);
        // Where the branches end all they get, nothing ever arrives.
        if self.joins[block].is_crowded() {
            self.tidy(block);
        }
    }

    fn arrive(&self, block: usize, branch: usize, sample: Sample<V>, wait: Wait) -> Push<V> {
        let Sample { fork, value, .. } = sample;
        if self.joiners.get().is_none_or(|joiners| block >= joiners.len()) {
            return Push::Refused(value, "nothing was given that joins the branches of its parallel block".into());
        }
        let dropped = self.joins[block].arrive(branch, fork, value);
        if self.joins[block].is_crowded() {
            self.tidy(block);
        }
        self.let_out(block, wait);
        Push::Done { accepted: true, dropped, more: Vec::new() }
    }

    fn is_held_up(&self, block: usize, branch: usize) -> bool {
        self.joins[block].was_completed_by(branch) && !self.let_out(block, Wait::No)
    }

    fn reorders(&self, index: usize) -> bool {
        self.graph.reorders(index)
    }

    fn buffer(&self, index: usize) -> Option<&Buffer<V>> {
        self.buffers.get(index)
    }

    fn name_of(&self, worker_id: WorkerId) -> &str {
        match worker_id {
            WorkerId::Source => SOURCE,
            WorkerId::Stage { index, .. } => self.stage_name(index),
        }
    }

    fn tell_name(&self, index: usize, name: String) {
        self.control.lock().names[index] = Some(name);
    }

    fn source_wanted(&self) -> bool {
        self.control.lock().phase.wants_samples()
    }

    fn wait_for_all_up(&self, wait: Wait) -> Option<bool> {
        let mut control = self.control.lock();
        loop {
            // Once everything was up, the buffers say how it goes on: what is past a failed stage still flows out.
            if control.up_since.is_some() {
                return Some(true);
            }
            if control.phase == Phase::Halting || control.phase == Phase::Stopped {
                return Some(false);
            }
            if !self.wait_for_change(&mut control, wait) {
                return None;
            }
        }
    }

    fn advance(&self, worker_id: WorkerId, event: WorkerEvent) {
        let mut control = self.control.lock();
        let index = self.index_of(worker_id);
        let before = control.workers[index];
        let now = before.after(event);
        control.workers[index] = now;
        // What was aborted while it started never comes up, even if the last `setup` still succeeds.
        if control.up_since.is_none()
            && control.phase != Phase::Halting
            && control.workers.iter().all(|w| *w == WorkerPhase::Ready)
        {
            control.phase = control.phase.after(Event::AllUp);
            control.up_since = Some(self.clock.now());
            self.name_made_stages(&mut control.names);
        }
        if control.up_since.is_some() {
            control.workers.iter_mut().for_each(|worker| *worker = worker.after(WorkerEvent::AllUp));
        }
        control.restarts[index] += u64::from(event == WorkerEvent::StartedAgain);
        let have_ended = now != before && control.workers.iter().all(|w| *w == WorkerPhase::Stopped);
        if have_ended {
            control.ended_at = Some(self.clock.now());
        }
        let gives_no_more = |phase: WorkerPhase| matches!(phase, WorkerPhase::TearingDown | WorkerPhase::Stopped);
        let colleagues = self.colleagues_of(worker_id).map(|index| control.workers[index]);
        let was_the_last = now != before && !gives_no_more(before) && colleagues.into_iter().all(gives_no_more);
        drop(control);
        if was_the_last {
            self.close_after(worker_id);
        }
        if have_ended {
            #[cfg(processes)]
            self.look_for_the_last();
            let mut control = self.control.lock();
            control.phase = control.phase.after(Event::AllEnded);
            drop(control);
            self.tell_the_last();
        }
        self.tell_all();
    }

    fn show(&self, worker_id: WorkerId, activity: Activity) {
        self.activities[self.index_of(worker_id)].set(activity);
    }

    fn show_running(&self, worker_id: WorkerId, running: Option<(SampleId, Duration)>) {
        let (Some(keeper), WorkerId::Stage { index, .. }) = (&self.timekeeper, worker_id) else { return };
        let node = &self.graph.stages[index];
        let Some(limit) = node.time_limit.filter(|_| node.executor == Executor::Thread) else { return };
        let worker = self.index_of(worker_id);
        // A time limit beyond what the clock can tell is none.
        let due = |busy| Instant::now().checked_add(limit.saturating_sub(busy));
        match running.and_then(|(sample, busy)| Some((sample, due(busy)?))) {
            Some((sample, due)) => keeper.begin(worker, sample, due, || self.teller()),
            None => keeper.end(worker),
        }
    }

    fn show_source_asked(&self, asked: bool) {
        let now = self.clock.now();
        if asked { self.source_waits.begin(now) } else { self.source_waits.end(now) }
    }

    fn note_drop(&self, index: usize) {
        // A buffer that processes share hands every value back.
        if matches!(self.buffers[index], Buffer::Local(_)) {
            self.look_for_drops(index);
        }
    }

    /// Remembers the first failure, and discards what can no longer be used. Once everything has ended, the outcome
    /// stays.
    fn fail(&self, worker_id: WorkerId, failure: Failure) -> bool {
        // A failed start leaves nothing to run; later, what is past the failed stage still flows out.
        let discarded = match (failure.doing, worker_id) {
            (Doing::Setup, _) => (0..self.buffers.len()).collect(),
            (_, WorkerId::Stage { index, .. }) => self.graph.up_to(index),
            (_, WorkerId::Source) => Vec::new(),
        };
        let (stage, doing, cause) = (failure.stage.clone(), failure.doing, aside::shown(&failure.cause));
        aside::log(move || tracing::error!(stage, %doing, "{cause}"));
        let failure = Arc::new(failure);
        let (first, wake_source) = {
            let mut control = self.control.lock();
            control.phase = control.phase.after(Event::Halt);
            let first = control.phase != Phase::Stopped && self.failure.set(Arc::clone(&failure)).is_ok();
            (first, control.close_source.clone())
        };
        if first {
            self.notices.tell(Notice::Failed);
        }
        // A later failure is freed here, outside of the lock: its error is the user's.
        free(failure);
        self.discard(&discarded);
        call(wake_source);
        self.tell_all();
        first
    }
}

/// Wakes the source, outside of every lock and on a thread of its own: a closer is the user's code and may wait, which
/// the caller that stops a pipeline must not. One that panics has no caller that could make use of it.
fn call(closer: Option<Arc<Closer>>) {
    let Some(close) = closer else { return };
    let close = move || {
        let called = catch_panic(|| {
            close();
            Ok(())
        });
        if let Err(panic) = called {
            let panic = panic.to_string();
            aside::log(move || tracing::error!("waking the source: {panic}"));
        }
    };
    if let Err(error) = std::thread::Builder::new().name("close of the source".to_owned()).spawn(close) {
        aside::log(move || tracing::error!("no thread to wake the source: {error}"));
    }
}
