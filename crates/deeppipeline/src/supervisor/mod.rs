//! The supervisor, which starts, watches, drains and stops, as the handle of a pipeline and the watchers of processes
//! ask for it; what its workers say is in `control.rs`.
//!
//! What may follow what stands in the tables of `phase.rs`.

mod answering;
mod assembly;
mod control;
mod discarded;
#[cfg(feature = "timeline")]
mod dumps;
mod entrances;
mod fates;
mod flush;
mod pausing;
mod replacing;
mod restarts;
mod scaling;
mod snapshot;
mod stalls;
mod stopping;
mod tasks;
mod timeline;
mod updates;
mod warnings;

use crate::activity::Shown;
use crate::answers::Answers;
use crate::aside;
use crate::buffer::{Arrival, LaneKey, Origin, Push, Wait};
use crate::clock::{Clock, Moment};
use crate::cuts::SharedCuts;
#[cfg(processes)]
use crate::error::{Doing, MemoryDamaged};
use crate::error::{EntranceError, Failure, PutError};
use crate::fates::Fates;
use crate::graph::{Flow, Layout};
use crate::inlet::Inlet;
use crate::job::works_for;
use crate::notices::Notices;
use crate::parallel::{Blocks, ForkJoin};
use crate::phase::{Event, Phase, WorkerPhase};
use crate::pipeline::LastSaid;
use crate::sample::{ForkTicket, Sample, SampleId};
use crate::source_id::SourceId;
use crate::time_limits::Timekeeper;
use crate::unwind::{BoxError, catch_panic, release};
use crate::worker::WorkerId;
#[cfg(processes)]
use crate::{buffer::HearsEnds, worker::Control};
#[cfg(processes)]
pub use assembly::Codecs;
pub use discarded::Discarded;
use discarded::{ForBinding, Releaser, Unreleased};
use entrances::{Entrance, RunningSource};
pub(crate) use fates::{FateCalls, ON_FATE, OnFate};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
pub use replacing::Replacement;
use scaling::Scaled;
pub use scaling::Scaling;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
#[cfg(processes)]
pub(crate) use stopping::KILLED_WITHIN;
pub use stopping::{GRACE, Waiting};
pub use tasks::Place;
pub use updates::Updated;
use updates::Updates;

/// The name under which the source stands in reports and errors.
pub const SOURCE: &str = "source";

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
    /// The sample's number; `None` when it was counted as dropped on arrival (`drop_newest`).
    pub number: Option<u64>,
    /// The value that was dropped, or the one that was copied to another process, to be freed by the caller.
    pub to_free: Option<V>,
}

/// Wakes the source from another thread.
pub type Closer = Box<dyn Fn() + Send + Sync>;

/// The state that all workers and the handle of one pipeline share. It holds the buffers, and knows where each worker
/// is.
pub struct Supervisor<V> {
    id: u64,
    layout: Layout,
    /// The workers, by node and worker: of the first node, of the second, and so on. Those of sources come and go, and are in the state.
    workers: Vec<(usize, usize)>,
    /// The place of each node's first worker among them.
    first_workers: Vec<usize>,
    clock: Clock,
    /// The flushes, as stages and those who wait for answers ask of them; the buffers have their own.
    cuts: Arc<SharedCuts>,
    /// Called when they are cut: makes an end stage look that waits with a value.
    when_flushed: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// The sources of whose last flush the buffers know; held by the one caller that cuts the buffers.
    cutting: Mutex<Vec<SourceId>>,
    /// The nodes that take nothing until they are resumed; held by the one caller that pauses or resumes.
    paused: Mutex<BTreeSet<usize>>,
    updates: Updates,
    /// The nodes of which somebody changes the number of workers.
    scaled: Scaled,
    /// One per node.
    inlets: Vec<Arc<Inlet<V>>>,
    blocks: Arc<Blocks<V>>,
    /// The answers to what was submitted that are still to come.
    answers: Arc<Answers<V>>,
    /// The fates of samples on their way to the program.
    fates: Fates<V>,
    state: Mutex<State>,
    /// The failure that stopped the pipeline, set with the phase that follows from it.
    failure: OnceLock<Arc<Failure>>,
    changed: Condvar,
    notices: Arc<Notices>,
    /// One per worker.
    activities: Vec<Arc<Shown>>,
    /// The entrances into which samples are put by name.
    put_entrances: RwLock<HashMap<String, (SourceId, LaneKey)>>,
    /// The timekeeper, where a stage on a thread has a time limit.
    timekeeper: Option<Arc<Timekeeper>>,
    unreleased: Arc<Unreleased>,
    /// Whether timelines are still to be written.
    #[cfg(feature = "timeline")]
    dumping: Arc<dumps::Dumping>,
    for_binding: ForBinding<V>,
    releaser: OnceLock<Releaser>,
    /// What those who report on the pipeline keep of it, once there is one.
    last_said: OnceLock<LastSaid>,
    /// The wakers of those that watch over worker processes, and learn of every change of phase: one per worker, where it
    /// is in a process.
    #[cfg(processes)]
    watchers: Vec<Option<crate::executor::process::Waker>>,
}

impl<V> fmt::Debug for Supervisor<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("id", &self.id).field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// What changes while the pipeline runs.
struct State {
    phase: Phase,
    /// The name of each stage, as its workers have told.
    names: Vec<Option<String>>,
    /// One per worker.
    workers: Vec<WorkerPhase>,
    /// The number of times that each was started again.
    restarts: Vec<u64>,
    /// Those that are to leave their stage, or have not come so far as to be part of it, until they have ended.
    leaving: Vec<bool>,
    /// The failures of workers that were to join a stage, until who started them asks.
    failed_to_join: Vec<(WorkerId, BoxError)>,
    aborted_at: Option<Instant>,
    /// True once all that the first failure or an abort gave up is counted as discarded.
    has_discarded: bool,
    /// True if no caller waits any longer for workers that have not ended.
    left_behind: bool,
    /// The sources that have a worker, and all entrances.
    sources: Vec<RunningSource>,
    entrances: Vec<Entrance>,
    /// True if a thread watches over sources that may stall.
    watches_stalls: bool,
    /// True if the entrances to put into close once all sources have ended.
    closes_after_sources: bool,
    up_since: Option<Instant>,
    ended_at: Option<Instant>,
}

impl<V: Send + 'static> Supervisor<V> {
    /// Puts one sample into the first buffer.
    ///
    /// # Errors
    /// See [`PutError`]; the sample is handed back in each of them.
    pub fn put(&self, value: V, wait: Wait) -> Result<Accepted<V>, PutError<V>> {
        self.put_at(value, None, wait)
    }

    /// Works like [`put`](Supervisor::put), by the entrance of that name where they have names.
    ///
    /// # Errors
    /// As `put`.
    pub fn put_at(&self, value: V, entrance: Option<&str>, wait: Wait) -> Result<Accepted<V>, PutError<V>> {
        if works_for(self.id) {
            return Err(PutError::OwnStage(value));
        }
        let birth = self.clock.moment();
        self.put_with(value, entrance, birth, Some(birth), ForkTicket::default(), wait)
    }

    /// Works like [`put_at`](Supervisor::put_at), for a caller that waits in several attempts: the sample was born at
    /// the first.
    ///
    /// # Errors
    /// As `put`.
    pub fn put_born(
        &self,
        value: V,
        entrance: Option<&str>,
        birth: Moment,
        wait: Wait,
    ) -> Result<Accepted<V>, PutError<V>> {
        if works_for(self.id) {
            return Err(PutError::OwnStage(value));
        }
        self.put_with(value, entrance, birth, None, ForkTicket::default(), wait)
    }

    /// Puts in a sample. Without a time when it `came`, that is when this looks.
    fn put_with(
        &self,
        value: V,
        entrance: Option<&str>,
        birth: Moment,
        came: Option<Moment>,
        fork: ForkTicket,
        wait: Wait,
    ) -> Result<Accepted<V>, PutError<V>> {
        let (source, lane) = match self.put_entrance(entrance) {
            Ok(found) => found,
            Err(error) => return Err(PutError::Entrance(value, Box::new(error))),
        };
        let id = SampleId { number: 0, part: 0 };
        let sample = Sample { id, birth, fork, source, value };
        let origin = Origin { lane, came: came.map_or(0, |came| came.0), ..Origin::default() };
        match self.inlets[0].buffer.push(sample, Arrival::Outside, origin, wait) {
            Push::Done { accepted, number, to_free } => {
                if !accepted || !to_free.is_empty() {
                    self.inlets[0].note_drop(birth);
                }
                Ok(Accepted { number: accepted.then_some(number), to_free: to_free.release_but_one() })
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
        let (wake_sources, is_over) = {
            let mut state = self.state.lock();
            state.phase = state.phase.after(Event::Close);
            (state.closers(), state.entrance_is_over())
        };
        self.close_entrances();
        self.end_pauses();
        wake_sources.into_iter().for_each(call);
        if is_over {
            self.close_buffer(0);
        }
        self.tell_all();
    }

    /// Discards what is inside and asks every worker to end after its present call; does not wait.
    pub fn abort(&self) {
        let wake_sources = {
            let mut state = self.state.lock();
            if state.phase != Phase::Stopped {
                state.aborted_at.get_or_insert_with(|| self.clock.now());
            }
            state.phase = state.phase.after(Event::Halt);
            state.closers()
        };
        // First, so that a process that hangs while it has a buffer's lock is killed in time.
        self.tell_all();
        self.discard(&(0..self.inlets.len()).collect::<Vec<_>>());
        self.end_pauses();
        wake_sources.into_iter().for_each(call);
        self.tell_all();
    }

    /// Waits until every `setup` has succeeded, or something has failed and every worker has ended.
    pub fn wait_up(&self, wait: Wait) -> Startup {
        let mut state = self.state.lock();
        let mut patient = true;
        loop {
            match (state.up_since, state.phase) {
                (Some(_), _) => return Startup::Up,
                (None, Phase::Stopped) => return Startup::Failed,
                (None, _) if !patient => return Startup::TimedOut,
                (None, _) => patient = self.wait_for_change(&mut state, wait),
            }
        }
    }

    /// Returns where what a worker gives goes.
    pub fn flow(&self, worker_id: WorkerId) -> Flow {
        match worker_id {
            WorkerId::Source(_) => self.layout.entrance,
            WorkerId::Stage { index, .. } => self.layout.nodes[index].flow,
        }
    }

    /// Returns the first node of each branch of a block.
    pub fn branches(&self, block: usize) -> impl Iterator<Item = usize> {
        self.layout.blocks[block].branches.iter().map(|(first, _)| *first)
    }

    /// Returns true if each sample goes to one of the branches of a block.
    pub fn is_routed(&self, block: usize) -> bool {
        self.layout.blocks[block].routed
    }

    /// Returns true if parts of each sample go through a block, and come together behind it.
    pub fn gathers(&self, block: usize) -> bool {
        self.layout.blocks[block].gathers()
    }

    /// Returns the block of which that node puts samples together with the results of their parts, if it does.
    pub fn gathered_at(&self, node: usize) -> Option<usize> {
        self.layout.gathers(node)
    }

    /// Returns the node that gets what the branches of a block give, if one does.
    pub fn behind(&self, block: usize) -> Option<usize> {
        self.layout.blocks[block].behind
    }

    /// Sets how each block makes a value for each branch, and one of the branches' results; called before anything is
    /// put.
    pub fn set_blocks(&self, blocks: Vec<ForkJoin<V>>) {
        self.blocks.set_code(blocks);
    }

    /// The buffer in front of a stage.
    #[cfg(all(test, processes))]
    pub(crate) fn buffer(&self, index: usize) -> &crate::buffer::Buffer<V> {
        &self.inlets[index].buffer
    }

    /// Returns true if the workers of a stage are processes.
    #[cfg(processes)]
    pub(crate) fn is_in_process(&self, index: usize) -> bool {
        self.layout.is_in_process(index)
    }

    /// Returns true if others may wait for samples that end: for their turn, or for parts of theirs.
    pub(crate) fn heeds_ends(&self) -> bool {
        self.layout.heeds_ends()
    }

    /// Returns the time when the pipeline was aborted.
    pub(crate) fn aborted_at(&self) -> Option<Instant> {
        self.state.lock().aborted_at
    }

    /// Returns true if the buffer in front of a stage is damaged, which is a failure of the pipeline.
    #[cfg(processes)]
    pub(crate) fn is_damaged(&self, index: usize) -> bool {
        let Some(buffer) = self.inlets[index].buffer.shared() else { return false };
        let Some(damage) = buffer.damage() else { return false };
        if buffer.is_first_to_tell() {
            self.fail_for(index, damage);
        }
        true
    }

    #[cfg(processes)]
    fn fail_for(&self, index: usize, damage: MemoryDamaged) {
        let (worker_id, stage) = (WorkerId::Stage { index, worker: 0 }, self.stage_name(index).to_owned());
        self.fail(
            worker_id,
            Arc::new(Failure { stage, doing: Doing::StageRun, sample: None, cause: Box::new(damage) }),
        );
    }

    /// Looks at what is left in the buffers once every worker has ended. Damage that no step has met is found here or
    /// never.
    #[cfg(processes)]
    fn look_for_the_last(&self) {
        for (index, inlet) in self.inlets.iter().enumerate() {
            let Some(buffer) = inlet.buffer.shared() else { continue };
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
        let state = self.state.lock();
        match worker_id {
            WorkerId::Stage { index, worker } => state.workers[self.place_of(index, worker)],
            WorkerId::Source(source) => state.sources[source].phase,
        }
    }

    /// Returns when something will happen by itself after that moment, if anything will: what waits for others is due,
    /// or overdue.
    pub(crate) fn due_after(&self, now: Instant) -> Option<Instant> {
        let due = self
            .inlets
            .iter()
            .map(|inlet| &inlet.buffer)
            .flat_map(|buffer| [buffer.due_at(), buffer.overdue_at()])
            .flatten();
        let (opening, stall) = {
            let state = self.state.lock();
            (state.next_opening_after(now), state.next_stall(now))
        };
        due.filter(|due| *due > now).chain(opening).chain(stall).min()
    }

    /// Waits until every worker has ended, what was discarded is freed, the program has heard of every fate, and the timeline
    /// is written where it is to be; false when the caller would not wait any longer.
    pub fn wait_ended(&self, wait: Wait) -> bool {
        #[cfg(feature = "timeline")]
        let is_written = || self.dumping.wait(wait);
        #[cfg(not(feature = "timeline"))]
        let is_written = || true;
        self.wait_stopped(wait) && self.unreleased.wait(wait) && self.fates.wait(wait) && is_written()
    }

    /// Waits until every worker has ended; false when the caller would not wait any longer.
    fn wait_stopped(&self, wait: Wait) -> bool {
        let mut state = self.state.lock();
        while state.phase != Phase::Stopped {
            if !self.wait_for_change(&mut state, wait) && state.phase != Phase::Stopped {
                return false;
            }
        }
        true
    }

    /// Waits until every worker that is a process has ended; those that hang are killed [`GRACE`] after
    /// an abort.
    pub fn wait_processes_ended(&self, wait: Wait) -> bool {
        let in_process = |index: usize| cfg!(processes) && self.layout.is_in_process(index);
        let mut state = self.state.lock();
        loop {
            let mut left = self.workers.iter().zip(&state.workers);
            if !left.any(|((index, _), phase)| !phase.is_over() && in_process(*index)) {
                return true;
            }
            if !self.wait_for_change(&mut state, wait) {
                return false;
            }
        }
    }

    fn wait_for_change(&self, state: &mut MutexGuard<'_, State>, wait: Wait) -> bool {
        match wait {
            Wait::No => false,
            Wait::Forever => {
                self.changed.wait(state);
                true
            }
            Wait::Until(deadline) => !self.changed.wait_until(state, deadline).timed_out(),
        }
    }

    /// Returns the stages (and the source) whose worker has not ended, from the front, and what is still being freed.
    pub fn not_ended(&self) -> Vec<String> {
        let mut names = self.workers_that(|phase| !phase.is_over());
        {
            let state = self.state.lock();
            let left = state.sources.iter().enumerate().filter(|(_, source)| source.is_left);
            names.extend(left.map(|(place, _)| state.source_name(place).to_owned()));
        }
        names.extend(self.being_released());
        names
    }

    /// Returns the stages (and the source) whose `setup` has not returned, from the front.
    pub fn not_up(&self) -> Vec<String> {
        self.workers_that(|phase| {
            matches!(phase, WorkerPhase::Starting | WorkerPhase::Crashed | WorkerPhase::Restarting)
        })
    }

    fn workers_that(&self, wanted: impl Fn(WorkerPhase) -> bool) -> Vec<String> {
        let state = self.state.lock();
        let sources = state.sources.iter().enumerate().filter(|(_, source)| wanted(source.phase));
        let sources = sources.map(|(source, _)| state.source_name(source).to_owned());
        let workers = self.workers.iter().zip(&state.workers).filter(|(_, phase)| wanted(**phase));
        let workers = workers.map(|((index, _), _)| self.stage_name(*index).to_owned());
        let mut names: Vec<String> = sources.chain(workers).collect();
        // The workers of one stage stand side by side.
        names.dedup();
        names
    }

    /// Returns true if the caller is one of the pipeline's own workers, which must not wait for the pipeline.
    pub fn called_by_own_worker(&self) -> bool {
        works_for(self.id)
    }

    /// Checks that samples may be put into the entrance of that name.
    pub(crate) fn check_entrance(&self, entrance: &str) -> Result<(), EntranceError> {
        self.put_entrance(Some(entrance)).map(drop)
    }

    /// Returns the name and the lane of the entrance that a `put` is for.
    fn put_entrance(&self, entrance: Option<&str>) -> Result<(SourceId, LaneKey), EntranceError> {
        match entrance {
            None if !self.has_named_entrances() => Ok(Default::default()),
            None => Err(EntranceError::NotNamed { known: self.state.lock().entrances_to_put_into() }),
            Some(name) => self.put_entrances.read().get(name).copied().ok_or_else(|| EntranceError::UnknownEntrance {
                got: name.to_owned(),
                known: self.state.lock().entrances_to_put_into(),
            }),
        }
    }

    /// Closes a buffer: nothing more comes into it.
    fn close_buffer(&self, index: usize) {
        self.release_discarded(vec![(self.stage_name(index).to_owned(), self.inlets[index].buffer.close())]);
    }

    /// Gives up what is in these buffers, and in the joins in front of them. No worker is woken before all is given up: a
    /// producer must not take what another buffer still has, and a consumer must not think that its own was drained.
    fn discard(&self, buffers: &[usize]) {
        let name_of = |index: usize| self.stage_name(index).to_owned();
        // The last one first: once something is given up, nothing that a stage still gives comes any further.
        let given_up = buffers.iter().rev().map(|index| (name_of(*index), self.inlets[*index].buffer.discard()));
        let mut given_up: Vec<_> = given_up.collect();
        given_up.reverse();
        // A stage in a branch has failed in front of the join: what is there is past it.
        let blocks = self.layout.blocks.iter().enumerate();
        let blocks = blocks.filter(|(_, block)| block.behind.is_some_and(|behind| buffers.contains(&behind)));
        let joins = blocks.map(|(index, block)| {
            self.blocks.stop_gathering(index);
            (block.name.clone(), self.blocks.join(index).discard().into_iter().collect())
        });
        let unjoined: Vec<_> = joins.collect();
        buffers.iter().for_each(|index| self.inlets[*index].buffer.wake());
        self.state.lock().has_discarded = true;
        self.look_after_a_stop();
        self.release_discarded(given_up);
        self.release_discarded(unjoined);
    }

    /// Wakes all that wait for a change of phase.
    fn tell_all(&self) {
        self.changed.notify_all();
        self.updates.changed.notify_all();
        #[cfg(processes)]
        self.watchers.iter().flatten().for_each(crate::executor::process::Waker::wake);
    }

    /// The name of a stage as it is known.
    fn stage_name(&self, index: usize) -> &str {
        self.inlets[index].name.get()
    }

    /// The place of a stage's worker among all.
    fn place_of(&self, index: usize, worker: usize) -> usize {
        self.first_workers[index] + worker
    }

    /// Closes what is behind a node that gives no more.
    fn close_after(&self, worker_id: WorkerId) {
        match self.flow(worker_id) {
            Flow::End | Flow::Answers => {}
            Flow::Next(next) => self.close_buffer(next),
            Flow::Fork(block) => {
                self.branches(block).for_each(|first| self.close_buffer(first));
                if let Some(gathering) = self.behind(block).filter(|_| self.gathers(block)) {
                    self.close_buffer(gathering);
                }
            }
            Flow::Join { block, .. } if self.gathers(block) => {
                #[cfg(processes)]
                self.layout.blocks[block].nodes().for_each(|node| self.look_for_ends(node));
                self.blocks.look_for_parts(block);
            }
            Flow::Join { block, .. } => {
                self.blocks.join(block).branch_has_ended();
                self.blocks.tidy(block);
                // What is complete has gone on: its worker has ended only then.
                if let Some(next) = self.blocks.behind(block).filter(|_| self.blocks.join(block).is_done()) {
                    self.blocks.join(block).forget_newest().into_iter().for_each(release);
                    self.close_buffer(next.index);
                }
            }
        }
    }

    /// The workers of a stage, by their place among all.
    fn workers_of(&self, index: usize) -> Range<usize> {
        let first = self.first_workers[index];
        first..first + self.layout.nodes[index].options.workers
    }
}

/// Wakes the source, outside of every lock and on a thread of its own: a closer is the user's code and may wait, which
/// the caller that stops a pipeline must not. One that panics has no caller that could make use of it.
fn call(close: Arc<Closer>) {
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
