//! The number of a stage's workers while the pipeline runs: more join it, and the last ones leave it.

use super::stopping::{NotDone, Patience};
use super::{State, Supervisor, Waiting};
use crate::aside;
use crate::buffer::Wait;
use crate::error::{Doing, Failure, ScaleError};
#[cfg(processes)]
use crate::executor::process::Driver as Joining;
use crate::phase::{Phase, WorkerEvent, WorkerPhase};
use crate::unwind::{BoxError, release};
use crate::worker::{Values, WorkerId};
#[cfg(not(processes))]
use crate::worker::{Worker, Worker as Joining};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The nodes of which somebody changes the number of workers: one caller at a time.
#[derive(Default)]
pub(super) struct Scaled {
    pub(super) nodes: Mutex<BTreeSet<usize>>,
    changed: Condvar,
}

/// A change of the number of a stage's workers that is under way.
#[derive(Debug)]
pub struct Scaling<V: Send + 'static> {
    supervisor: Arc<Supervisor<V>>,
    node: usize,
    /// The workers that join the stage, and those that leave it.
    join: Vec<usize>,
    leave: Vec<usize>,
    /// What the stage was replaced with, of which those that join make theirs.
    made_of: Option<Values>,
    patience: Patience,
}

/// The progress of a change.
enum Progress {
    Over,
    /// The pipeline stops.
    Stops,
    /// A worker did not come up.
    Failed(usize, BoxError),
}

impl<V: Send + 'static> Scaling<V> {
    /// Returns what the stage was replaced with, of which those that join make theirs.
    pub fn made_of(&self) -> Option<&Values> {
        self.made_of.as_ref()
    }
}

impl<V: Send + 'static> Drop for Scaling<V> {
    fn drop(&mut self) {
        self.supervisor.scaled.nodes.lock().remove(&self.node);
        let unheard = failures_of(&mut self.supervisor.state.lock(), self.node);
        self.supervisor.did_not_join(self.node, unheard);
        self.supervisor.scaled.changed.notify_all();
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// Begins to give the stage of that name so many workers, and returns what is to drive those that join it. It waits
    /// until the pipeline is up, and workers that were to leave the stage before have done so. The caller is told what
    /// happens meanwhile, and an error of its own ends the wait.
    ///
    /// # Errors
    /// The error of the caller; within, see [`ScaleError`].
    #[expect(clippy::type_complexity, reason = "a pair, and two kinds of errors")]
    pub fn scale<E>(
        self: &Arc<Self>,
        stage: &str,
        workers: usize,
        timeout: Option<Duration>,
        meanwhile: impl FnMut(Waiting) -> Result<(), E>,
    ) -> Result<Result<(Scaling<V>, Vec<Joining<V>>), ScaleError>, E> {
        let node = match self.may_scale(stage, workers) {
            Ok(node) => node,
            Err(refused) => return Ok(Err(refused)),
        };
        self.notices.mark(format!("{stage} is scaled to {workers} workers"));
        let patience = Patience::from_now(timeout);
        let mut scaling = None;
        let begun = self.wait_for_scaling(node, patience, meanwhile, |wait| {
            let mut claimed = self.scaled.nodes.lock();
            if scaling.is_none() && claimed.insert(node) {
                let supervisor = Arc::clone(self);
                scaling =
                    Some(Scaling { supervisor, node, join: Vec::new(), leave: Vec::new(), made_of: None, patience });
            }
            match &mut scaling {
                Some(scaling) => {
                    drop(claimed);
                    self.begin_to_scale(scaling, workers, wait)
                }
                None => {
                    wait_on(&self.scaled.changed, &mut claimed, wait);
                    Err(Vec::new())
                }
            }
        })?;
        Ok(match (begun, scaling) {
            (Ok(true), Some(mut scaling)) => {
                let mut joining = Vec::new();
                for worker in scaling.join.iter().copied() {
                    scaling.made_of = self.updates.join(node, worker);
                    joining.push(self.joining(node, worker));
                }
                self.tell_to_leave(node, &scaling.leave);
                Ok((scaling, joining))
            }
            (Err(NotDone::Late(_)), _) => {
                let timeout = patience.timeout.unwrap_or_default();
                Err(ScaleError::NotBegun { stage: stage.to_owned(), timeout })
            }
            _ => Err(ScaleError::NotRunning { stage: stage.to_owned() }),
        })
    }

    /// Waits until those that join the stage are set up, and those that leave it have ended, or the time-out is over. If
    /// one does not come up, those that joined with it leave again.
    ///
    /// # Errors
    /// The error of the caller; within, see [`ScaleError`].
    pub fn wait_scaled<E>(
        &self,
        scaling: &Scaling<V>,
        mut meanwhile: impl FnMut(Waiting) -> Result<(), E>,
    ) -> Result<Result<(), ScaleError>, E> {
        let (node, patience) = (scaling.node, scaling.patience);
        let stage = || self.stage_name(node).to_owned();
        let progress =
            self.wait_for_scaling(node, patience, &mut meanwhile, |wait| self.progress_of_scaling(scaling, wait));
        let (worker, cause) = match progress? {
            Ok(Progress::Failed(worker, cause)) => (worker, cause),
            Ok(Progress::Stops) => return Ok(Err(ScaleError::NotRunning { stage: stage() })),
            Ok(Progress::Over) => return Ok(Ok(())),
            Err(NotDone::LeftBehind) => return Ok(Err(ScaleError::NotRunning { stage: stage() })),
            Err(NotDone::Late(workers)) => {
                let timeout = patience.timeout.unwrap_or_default();
                return Ok(Err(ScaleError::Timeout { stage: stage(), workers, timeout }));
            }
        };

        // The others go on as if nothing had been said.
        self.tell_to_leave(node, &scaling.join);
        let left = self.wait_for_scaling(node, patience, meanwhile, |wait| {
            let lacks = self.wait_for_workers(wait, |state| self.not_over(state, node, &scaling.join));
            if lacks.is_empty() { Ok(()) } else { Err(lacks) }
        });
        left?.unwrap_or(());
        let later = failures_of(&mut self.state.lock(), node);
        release(later);
        Ok(Err(ScaleError::Failed { stage: stage(), worker, cause }))
    }

    /// Returns the node of that name, if it may have so many workers.
    ///
    /// # Errors
    /// See [`ScaleError`].
    pub(crate) fn may_scale(&self, stage: &str, workers: usize) -> Result<usize, ScaleError> {
        let node = self.nodes_of(Some(stage))?.first().copied();
        let stage = || stage.to_owned();
        let Some(node) = node else { return Err(ScaleError::NotRunning { stage: stage() }) };
        if self.called_by_own_worker() {
            return Err(ScaleError::OwnStage { stage: stage() });
        }
        let most = self.layout.nodes[node].options.workers;
        match workers {
            0 => Err(ScaleError::Zero { stage: stage() }),
            _ if workers > most => Err(ScaleError::TooMany { stage: stage(), got: workers, most }),
            _ => Ok(node),
        }
    }

    /// Marks those that join or leave; the workers that have to join or end first otherwise. False if the pipeline stops.
    fn begin_to_scale(&self, scaling: &mut Scaling<V>, workers: usize, wait: Wait) -> Result<bool, Vec<usize>> {
        let node = scaling.node;
        let mut runs = false;
        if !self.wait_not_replacing(node, wait) {
            return Err(self.present(&self.state.lock(), node));
        }
        let mut unheard = Vec::new();
        let lacks = self.wait_for_workers(wait, |state| {
            let present = self.present(state, node);
            let phase_of = |state: &State, worker: usize| state.workers[self.place_of(node, worker)];
            if state.phase == Phase::Starting {
                return present;
            }
            let goes_on = |worker: &usize| {
                let phase = phase_of(state, *worker);
                !phase.gives_no_more() && phase != WorkerPhase::Draining
            };
            runs = state.phase == Phase::Running && present.iter().all(goes_on);
            if !runs {
                return Vec::new();
            }

            // One that still joins may not come up, and another is to come in its place then.
            let in_setup = present.iter().copied().filter(|worker| phase_of(state, *worker) == WorkerPhase::Starting);
            let in_setup: Vec<usize> = in_setup.collect();
            if workers >= present.len() && !in_setup.is_empty() {
                return in_setup;
            }
            let absent = (0..self.layout.nodes[node].options.workers).filter(|worker| !present.contains(worker));
            let to_come: Vec<usize> = absent.take(workers.saturating_sub(present.len())).collect();
            let lacks = self.not_over(state, node, &to_come);
            if lacks.is_empty() {
                for worker in &to_come {
                    let place = &mut state.workers[self.place_of(node, *worker)];
                    *place = place.after(WorkerEvent::Joins);
                }
                (scaling.join, scaling.leave) = (to_come, present.into_iter().skip(workers).collect());
                unheard = failures_of(state, node);
            }
            lacks
        });
        // They were to join by a change whose caller does not wait any longer.
        self.did_not_join(node, unheard);
        if lacks.is_empty() { Ok(runs) } else { Err(lacks) }
    }

    /// Makes what is to drive a worker that joins a stage. It gets the updates of the stage before its first sample.
    fn joining(self: &Arc<Self>, node: usize, worker: usize) -> Joining<V> {
        self.inlets[node].buffer.announce_update(worker);
        #[cfg(processes)]
        return self.driver_of(node, worker);
        #[cfg(not(processes))]
        Worker::new(self.context_of(node, worker))
    }

    /// Lets workers leave their stage before their next samples.
    fn tell_to_leave(&self, node: usize, workers: &[usize]) {
        if workers.is_empty() {
            return;
        }
        {
            let mut state = self.state.lock();
            for worker in workers {
                let place = self.place_of(node, *worker);
                state.leaving[place] = !state.workers[place].is_over();
            }
        }
        match self.lives_in_process(node) {
            // Their watchers tell them.
            true => self.tell_all(),
            false => {
                workers.iter().for_each(|worker| self.inlets[node].buffer.announce_update(*worker));
                self.inlets[node].buffer.wake();
            }
        }
    }

    /// Returns true if the worker is to take nothing more, and to end while the pipeline runs.
    pub(crate) fn is_to_leave(&self, worker_id: WorkerId) -> bool {
        let WorkerId::Stage { index, worker } = worker_id else { return false };
        self.state.lock().leaving[self.place_of(index, worker)]
    }

    /// Returns the last event of a worker that leaves its stage, and lets no update wait for it any longer.
    pub(super) fn leaves_with(&self, worker_id: WorkerId, event: WorkerEvent) -> WorkerEvent {
        match worker_id {
            WorkerId::Stage { index, worker } if event == WorkerEvent::TornDown && self.is_to_leave(worker_id) => {
                self.updates.leave(index, worker, self.layout.nodes[index].options.workers);
                WorkerEvent::Leaves
            }
            _ => event,
        }
    }

    /// Notes that a worker, which was to join a stage while the pipeline runs, did not come up: that is told to who
    /// started it. Hands back any other failure.
    pub(super) fn fails_to_join(&self, worker_id: WorkerId, failure: Arc<Failure>) -> Option<Arc<Failure>> {
        let WorkerId::Stage { index, worker } = worker_id else { return Some(failure) };
        let is_awaited = self.scaled.nodes.lock().contains(&index);
        let mut state = self.state.lock();
        let place = self.place_of(index, worker);
        let joins = state.up_since.is_some() && state.workers[place] == WorkerPhase::Starting;
        if failure.doing != Doing::Setup || !joins {
            return Some(failure);
        }
        state.leaving[place] = true;
        let cause = Arc::try_unwrap(failure).map_or_else(|shared| shared.to_string().into(), |failure| failure.cause);
        if is_awaited {
            state.failed_to_join.push((worker_id, cause));
            return None;
        }
        drop(state);
        self.did_not_join(index, vec![(worker, cause)]);
        None
    }

    /// Returns the place of a stage's worker among all of the pipeline, those included that rest.
    pub fn place_among_all(&self, worker_id: WorkerId) -> Option<usize> {
        match worker_id {
            WorkerId::Stage { index, worker } => Some(self.place_of(index, worker)),
            WorkerId::Source(_) => None,
        }
    }

    /// Returns true if a worker joins or leaves a node.
    pub(super) fn is_in_change(&self, node: usize) -> bool {
        let state = self.state.lock();
        let is_up = state.up_since.is_some();
        let mut places = self.workers_of(node);
        places.any(|place| state.leaving[place] || (is_up && state.workers[place] == WorkerPhase::Starting))
    }

    /// Returns true once everything was up.
    #[cfg(processes)]
    pub(crate) fn has_come_up(&self) -> bool {
        self.state.lock().up_since.is_some()
    }

    /// The workers that a stage has now, those included that join it, by their indexes.
    pub(super) fn present(&self, state: &State, node: usize) -> Vec<usize> {
        let is_present =
            |(_, place): &(usize, usize)| state.workers[*place] != WorkerPhase::Resting && !state.leaving[*place];
        self.workers_of(node).enumerate().filter(is_present).map(|(worker, _)| worker).collect()
    }

    fn not_over(&self, state: &State, node: usize, workers: &[usize]) -> Vec<usize> {
        let is_over = |worker: usize| state.workers[self.place_of(node, worker)].is_over();
        workers.iter().copied().filter(|worker| !is_over(*worker)).collect()
    }

    fn progress_of_scaling(&self, scaling: &Scaling<V>, wait: Wait) -> Result<Progress, Vec<usize>> {
        let Scaling { node, join, leave, .. } = scaling;
        let (mut progress, mut failed) = (Progress::Over, Vec::new());
        let lacks = self.wait_for_workers(wait, |state| {
            failed.extend(failures_of(state, *node));
            if !failed.is_empty() {
                return Vec::new();
            }
            let in_setup = |worker: &usize| state.workers[self.place_of(*node, *worker)] == WorkerPhase::Starting;
            let in_setup = join.iter().copied().filter(in_setup);
            let lacks: Vec<usize> = in_setup.chain(self.not_over(state, *node, leave)).collect();
            if !lacks.is_empty() && matches!(state.phase, Phase::Halting | Phase::Stopped) {
                progress = Progress::Stops;
                return Vec::new();
            }
            lacks
        });
        if let Some((worker, cause)) = failed.into_iter().min_by_key(|(worker, _)| *worker) {
            progress = Progress::Failed(worker, cause);
        }
        if lacks.is_empty() { Ok(progress) } else { Err(lacks) }
    }

    /// Waits until `look` finds that no worker is waited for.
    fn wait_for_workers(&self, wait: Wait, mut look: impl FnMut(&mut State) -> Vec<usize>) -> Vec<usize> {
        let mut state = self.state.lock();
        loop {
            let lacks = look(&mut state);
            if lacks.is_empty() || !self.wait_for_change(&mut state, wait) {
                return lacks;
            }
        }
    }

    /// Logs that workers did not join a stage, where nobody waits for them any longer.
    fn did_not_join(&self, node: usize, failed: Vec<(usize, BoxError)>) {
        for (worker, cause) in failed {
            let (stage, text) = (self.stage_name(node).to_owned(), aside::shown(&cause));
            release(cause);
            aside::log(move || tracing::warn!(stage, worker, "a worker did not join the stage: {text}"));
        }
    }

    fn wait_for_scaling<T, E>(
        &self,
        node: usize,
        patience: Patience,
        meanwhile: impl FnMut(Waiting) -> Result<(), E>,
        attempt: impl FnMut(Wait) -> Result<T, Vec<usize>>,
    ) -> Result<Result<T, NotDone<Vec<usize>>>, E> {
        self.wait_patiently(patience, meanwhile, |workers| self.named_workers(node, &workers), attempt)
    }
}

/// Takes out the failures of workers that were to join a stage, each with its index.
fn failures_of(state: &mut State, node: usize) -> Vec<(usize, BoxError)> {
    let of_node =
        |(worker_id, _): &mut (WorkerId, _)| matches!(worker_id, WorkerId::Stage { index, .. } if *index == node);
    let failed = state.failed_to_join.extract_if(.., of_node);
    let by_worker = failed.filter_map(|(worker_id, cause)| match worker_id {
        WorkerId::Stage { worker, .. } => Some((worker, cause)),
        WorkerId::Source(_) => None,
    });
    by_worker.collect()
}

fn wait_on<T>(changed: &Condvar, guard: &mut parking_lot::MutexGuard<'_, T>, wait: Wait) {
    if let Wait::Until(deadline) = wait {
        changed.wait_until(guard, deadline);
    }
}
