//! Updates: values that every worker of a stage is told between two samples, and what came of them.

use super::replacing::{Replaced, Replacing};
use super::stopping::{NotDone, Patience};
use super::{Supervisor, Waiting};
use crate::aside;
use crate::buffer::Wait;
use crate::error::UpdateError;
#[cfg(processes)]
use crate::error::WorkerDied;
use crate::graph::{Layout, PlacedNode};
use crate::phase::Phase;
use crate::unwind::{BoxError, release};
use crate::worker::{Told, Update, Values, WorkerId};
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The updates of all stages.
pub(super) struct Updates {
    pub(super) of_nodes: Mutex<BTreeMap<usize, OfStage>>,
    pub(super) changed: Condvar,
}

/// The updates of one stage.
#[derive(Default)]
pub(super) struct OfStage {
    /// The number of the last one.
    last: u64,
    /// Those that a worker may still have to apply, oldest first. A process that is started again, or a worker that joins
    /// the stage, applies them all, so there the last one of each key stays that some worker has accepted, and what came
    /// behind it.
    pub(super) kept: Vec<Kept>,
    /// The last one that each worker has applied; where there is none, no update waits for it.
    pub(super) applied: Vec<u64>,
    /// Those of which a worker's process has died: the next one is not told them.
    #[cfg(processes)]
    deadly: BTreeSet<(usize, u64)>,
    /// Those that a caller waits for, and their failures.
    awaited: BTreeSet<u64>,
    failed: Vec<(u64, usize, BoxError)>,
    /// The replacement of the stage that is under way.
    pub(super) replacing: Option<Replacing>,
    /// What the stage was replaced with last, where it is in processes: those that are started again are made of it.
    pub(super) replaced: Option<Replaced>,
}

/// What an update is to those before it.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// A step of a replacement.
    Step,
    /// It adds to them.
    Adds,
    /// It takes the place of those with the same key.
    Named(String),
}

/// An update that a worker may still have to apply.
pub(super) struct Kept {
    key: Key,
    pub(super) update: Update,
    /// True if some worker has applied it without an error.
    is_accepted: bool,
}

/// An update that every worker of a stage is told.
#[derive(Debug)]
pub struct Updated {
    node: usize,
    number: u64,
}

/// Stands for all updates that will ever be, at a place that has no worker.
const NO_WORKER: u64 = u64::MAX;

impl Updates {
    /// Makes those of a pipeline that has had none.
    pub(super) fn of(layout: &Layout) -> Self {
        let rest = |node: &PlacedNode| node.starts_with < node.options.workers;
        let of_nodes = layout.nodes.iter().enumerate().filter(|(_, node)| rest(node)).map(|(index, node)| {
            let mut applied = vec![0; node.starts_with];
            applied.resize(node.options.workers, NO_WORKER);
            (index, OfStage { applied, ..OfStage::default() })
        });
        Updates { of_nodes: Mutex::new(of_nodes.collect()), changed: Condvar::new() }
    }

    /// Lets a worker that joins a stage get all that are kept, and no step of a replacement that is over. Returns what the
    /// stage was replaced with, of which it is made.
    pub(super) fn join(&self, node: usize, worker: usize) -> Option<Values> {
        let mut of_nodes = self.of_nodes.lock();
        let of_stage = of_nodes.get_mut(&node)?;
        let replaced = of_stage.replaced.as_ref();
        of_stage.applied[worker] = replaced.map_or(0, |replaced| replaced.number);
        replaced.map(|replaced| replaced.made_of.clone())
    }

    /// Waits no longer for a worker that leaves a stage which may have so many.
    pub(super) fn leave(&self, node: usize, worker: usize, workers: usize) {
        let mut of_nodes = self.of_nodes.lock();
        let of_stage = of_nodes.entry(node).or_default();
        of_stage.applied.resize(workers, 0);
        of_stage.applied[worker] = NO_WORKER;
        drop(of_nodes);
        self.changed.notify_all();
    }
}

impl OfStage {
    /// Numbers what its workers are to be told next.
    pub(super) fn tell(&mut self, key: Key, told: Told<Values>) -> u64 {
        self.last += 1;
        let update = Update { number: self.last, told };
        self.kept.push(Kept { key, update, is_accepted: false });
        self.last
    }

    /// Notes that a worker has applied an update, or has refused it, and takes out what nobody will have to apply any
    /// more.
    fn note(&mut self, number: u64, worker: usize, is_accepted: bool, keeps: bool) -> Vec<Kept> {
        self.applied[worker] = self.applied[worker].max(number);
        let by_all = self.applied.iter().copied().min().unwrap_or_default();
        let is_told_once = |kept: &mut Kept| !keeps || kept.key == Key::Step;
        let mut over: Vec<Kept> =
            self.kept.extract_if(.., |kept| kept.update.number <= by_all && is_told_once(kept)).collect();
        let Some(noted) = self.kept.iter_mut().find(|kept| kept.update.number == number) else { return over };
        noted.is_accepted |= is_accepted;
        if number > by_all {
            return over;
        }
        // What every worker has refused leaves the one before it in force.
        let (key, is_accepted) = (noted.key.clone(), noted.is_accepted);
        let is_over = |kept: &mut Kept| match is_accepted {
            true => key != Key::Adds && kept.key == key && kept.update.number < number,
            false => kept.update.number == number,
        };
        over.extend(self.kept.extract_if(.., is_over));
        over
    }

    /// Ends the wait for an update; returns its first failure.
    fn end_wait(&mut self, number: u64) -> Option<(usize, BoxError)> {
        self.awaited.remove(&number);
        let failed = std::mem::take(&mut self.failed);
        let (of_this, others) = failed.into_iter().partition::<Vec<_>, _>(|(of, ..)| *of == number);
        self.failed = others;
        of_this.into_iter().map(|(_, worker, cause)| (worker, cause)).min_by_key(|(worker, _)| *worker)
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// Returns the node of a stage to which such values may be told.
    pub(super) fn node_to_tell(&self, stage: &str, values: &Values) -> Result<usize, UpdateError> {
        let node = self.node_of(stage)?;
        let stage = || stage.to_owned();
        if self.called_by_own_worker() {
            return Err(UpdateError::OwnStage { stage: stage() });
        }
        let crosses = self.lives_in_process(node);
        if crosses != matches!(values, Values::Bytes(_)) {
            return Err(UpdateError::Elsewhere { stage: stage(), in_process: crosses });
        }
        if !matches!(self.state.lock().phase, Phase::Starting | Phase::Running) {
            return Err(UpdateError::NotRunning { stage: stage() });
        }
        Ok(node)
    }

    /// Lets the workers of a node learn that there is something to be told to them.
    pub(super) fn announce_updates(&self, node: usize) {
        match self.lives_in_process(node) {
            // Their watchers tell them.
            true => self.tell_all(),
            false => {
                let workers = self.layout.nodes[node].options.workers;
                (0..workers).for_each(|worker| self.inlets[node].buffer.announce_update(worker));
                self.inlets[node].buffer.wake();
            }
        }
    }

    /// Lets every worker of the stage of that name be told these values before its next sample. Of several with the same
    /// key a process that is started again, or a worker that joins the stage later, is told the last one; of those without
    /// a key, all.
    ///
    /// # Errors
    /// See [`UpdateError`].
    pub fn update(&self, stage: &str, key: Option<&str>, values: Values) -> Result<Updated, UpdateError> {
        let node = self.node_to_tell(stage, &values)?;
        self.notices.mark(format!("{stage} is updated"));
        let key = key.map_or(Key::Adds, |key| Key::Named(key.to_owned()));
        let workers = self.layout.nodes[node].options.workers;
        let mut of_nodes = self.updates.of_nodes.lock();
        let of_stage = of_nodes.entry(node).or_default();
        of_stage.applied.resize(workers, 0);
        let number = of_stage.tell(key, Told::Update(values));
        of_stage.awaited.insert(number);
        drop(of_nodes);
        self.announce_updates(node);
        Ok(Updated { node, number })
    }

    /// Waits until every worker has applied an update, or the time-out is over. The caller is told what happens
    /// meanwhile, and an error of its own ends the wait.
    ///
    /// # Errors
    /// The error of the caller; within, what came of the update.
    pub fn wait_updated<E>(
        &self,
        updated: &Updated,
        timeout: Option<Duration>,
        meanwhile: impl FnMut(Waiting) -> Result<(), E>,
    ) -> Result<Result<(), UpdateError>, E> {
        let named = |workers: Vec<usize>| self.named_workers(updated.node, &workers);
        let patience = Patience::from_now(timeout);
        let waited = self.wait_patiently(patience, meanwhile, named, |wait| self.progress_of(updated, wait));
        if !matches!(waited, Ok(Ok(_))) {
            self.end_wait(updated);
        }
        let stage = || self.stage_name(updated.node).to_owned();
        Ok(waited?.unwrap_or_else(|not_done| match not_done {
            NotDone::Late(workers) => {
                Err(UpdateError::Timeout { stage: stage(), workers, timeout: timeout.unwrap_or_default() })
            }
            NotDone::LeftBehind => Err(UpdateError::NotRunning { stage: stage() }),
        }))
    }

    /// Returns the index of the stage of that name in the description, and whether its workers are processes.
    ///
    /// # Errors
    /// An error if there is no stage of that name.
    pub fn place_of_stage(&self, stage: &str) -> Result<(usize, bool), UpdateError> {
        let node = self.node_of(stage)?;
        Ok((self.layout.nodes[node].role.stage().unwrap_or_default(), self.lives_in_process(node)))
    }

    /// Returns the next update that a worker on a thread has not applied.
    pub(super) fn next_update_of(&self, worker_id: WorkerId) -> Option<Update> {
        let WorkerId::Stage { index, worker } = worker_id else { return None };
        let of_nodes = self.updates.of_nodes.lock();
        let of_stage = of_nodes.get(&index)?;
        let applied = of_stage.applied[worker];
        of_stage.kept.iter().map(|kept| &kept.update).find(|update| update.number > applied).cloned()
    }

    /// Returns the updates for a process that knows those up to that number: for one that was started again, also those
    /// values that the one before it had applied.
    #[cfg(processes)]
    pub(crate) fn updates_after(&self, worker_id: WorkerId, told: u64) -> Vec<Update> {
        let WorkerId::Stage { index, worker } = worker_id else { return Vec::new() };
        let of_nodes = self.updates.of_nodes.lock();
        let Some(of_stage) = of_nodes.get(&index) else { return Vec::new() };
        let is_for = |kept: &&Kept| match kept.key {
            Key::Step => kept.update.number > of_stage.applied[worker],
            _ => !of_stage.deadly.contains(&(worker, kept.update.number)),
        };
        let kept = of_stage.kept.iter().filter(is_for).map(|kept| &kept.update);
        kept.filter(|update| update.number > told).cloned().collect()
    }

    /// Notes that a worker's process has died as its stage was told an update: that has failed, and the process that
    /// follows is not told it.
    #[cfg(processes)]
    pub(crate) fn died_of_update(&self, worker_id: WorkerId, number: u64, died: &WorkerDied) {
        let WorkerId::Stage { index, worker } = worker_id else { return };
        if let Some(of_stage) = self.updates.of_nodes.lock().get_mut(&index) {
            let kept: BTreeSet<u64> = of_stage.kept.iter().map(|kept| kept.update.number).collect();
            of_stage.deadly.retain(|(_, number)| kept.contains(number));
            of_stage.deadly.insert((worker, number));
        }
        self.note_update(worker_id, number, Err(died.to_string().into()));
    }

    /// Notes what came of an update.
    pub(super) fn note_update(&self, worker_id: WorkerId, number: u64, outcome: Result<(), BoxError>) {
        let WorkerId::Stage { index, worker } = worker_id else { return };
        let mut of_nodes = self.updates.of_nodes.lock();
        let Some(of_stage) = of_nodes.get_mut(&index) else { return };
        let keeps = self.lives_in_process(index) || self.layout.may_scale(index);
        let released = of_stage.note(number, worker, outcome.is_ok(), keeps);
        let (outcome, left) = of_stage.note_in_replacing(number, worker, outcome);
        let unheard = match outcome {
            Err(cause) if of_stage.awaited.contains(&number) => {
                of_stage.failed.push((number, worker, cause));
                None
            }
            outcome => outcome.err(),
        };
        drop(of_nodes);

        // The values are the user's: they are released without the lock.
        release(released);
        self.go_on_replacing(index, left);
        if let Some(cause) = unheard {
            let (stage, cause) = (self.stage_name(index).to_owned(), aside::shown(&cause));
            aside::log(move || {
                tracing::warn!(stage, worker, "failed in an update or a replacement, for which nobody waits: {cause}")
            });
        }
        self.updates.changed.notify_all();
    }

    /// Waits for a worker to apply an update, or to end.
    fn progress_of(&self, updated: &Updated, wait: Wait) -> Result<Result<(), UpdateError>, Vec<usize>> {
        let Updated { node, number } = *updated;
        let mut patient = true;
        loop {
            // Before the lock: whoever applies the update meanwhile is seen under it.
            let ended = self.ended_workers(node);
            let mut of_nodes = self.updates.of_nodes.lock();
            let applied = of_nodes.get(&node).map_or(&[][..], |of_stage| &of_stage.applied);
            let late: Vec<usize> = (0..applied.len()).filter(|worker| applied[*worker] < number).collect();
            let has_ended = late.iter().any(|worker| ended.contains(worker));
            if late.is_empty() || has_ended {
                let failed = of_nodes.get_mut(&node).and_then(|of_stage| of_stage.end_wait(number));
                let stage = self.stage_name(node).to_owned();
                return Ok(match failed {
                    Some((worker, cause)) => Err(UpdateError::Failed { stage, worker, cause }),
                    None if has_ended => Err(UpdateError::NotRunning { stage }),
                    None => Ok(()),
                });
            }
            if !patient {
                return Err(late);
            }
            patient = match wait {
                Wait::Until(deadline) => !self.updates.changed.wait_until(&mut of_nodes, deadline).timed_out(),
                Wait::No | Wait::Forever => false,
            };
        }
    }

    /// Waits no longer for an update: a failure of it is logged.
    pub(crate) fn end_wait(&self, updated: &Updated) {
        if let Some(of_stage) = self.updates.of_nodes.lock().get_mut(&updated.node) {
            of_stage.end_wait(updated.number);
        }
    }

    /// Returns the workers of a node that give nothing any more.
    pub(super) fn ended_workers(&self, node: usize) -> Vec<usize> {
        let state = self.state.lock();
        let has_ended = |place: usize| state.workers[place].gives_no_more() && !state.leaving[place];
        let places = self.workers_of(node).enumerate();
        places.filter(|(_, place)| has_ended(*place)).map(|(worker, _)| worker).collect()
    }

    fn node_of(&self, stage: &str) -> Result<usize, UpdateError> {
        let nodes = self.nodes_of(Some(stage))?;
        nodes.first().copied().ok_or_else(|| UpdateError::NotRunning { stage: stage.to_owned() })
    }

    /// Returns true if the workers of a node are processes.
    pub(super) fn lives_in_process(&self, node: usize) -> bool {
        #[cfg(processes)]
        let has_processes = self.watchers.iter().any(Option::is_some);
        #[cfg(not(processes))]
        let has_processes = false;
        has_processes && self.layout.is_in_process(node)
    }
}
