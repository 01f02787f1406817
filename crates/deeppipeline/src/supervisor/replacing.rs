//! Replacements: every worker of a stage sets another one up beside it, and once all have, that takes its place.

use super::stopping::{NotDone, Patience};
use super::updates::{Kept, Key, OfStage};
use super::{Supervisor, Waiting};
use crate::buffer::Wait;
use crate::error::UpdateError;
#[cfg(processes)]
use crate::error::WorkerDied;
use crate::unwind::{BoxError, release};
#[cfg(processes)]
use crate::worker::WorkerId;
use crate::worker::{Told, Values};
#[cfg(processes)]
use std::sync::Arc;
use std::time::Duration;

/// A replacement of a stage, as its workers are told of it.
pub(super) struct Replacing {
    /// The number of the update with which each sets the new stage up.
    prepare: u64,
    /// What it is made of, where workers may come that have to make it at their start.
    made_of: Option<Values>,
    /// The step that follows, once it is decided.
    decided: Option<Decided>,
    /// The workers that could not set it up, with the reasons.
    failed: Vec<(usize, BoxError)>,
    /// True if a caller still waits for it.
    is_awaited: bool,
}

/// The second step of a replacement.
#[derive(Debug, Clone, Copy)]
struct Decided {
    number: u64,
    /// True if the new stage takes the place of the old one; otherwise it is given up.
    exchanges: bool,
}

/// What the workers to come of a stage make, since it was replaced.
pub(super) struct Replaced {
    /// The number of the update with which it took its place.
    pub(super) number: u64,
    pub(super) made_of: Values,
}

/// What is left of a step of a replacement: it is released without the lock.
#[derive(Default)]
pub(super) struct Left {
    /// True if it was decided what the workers are told next.
    pub(super) is_decided: bool,
    _kept: Vec<Kept>,
    _replacing: Option<Replacing>,
    _replaced: Option<Replaced>,
}

/// A replacement that every worker of a stage is told.
#[derive(Debug)]
pub struct Replacement {
    node: usize,
    prepare: u64,
}

/// The workers that have not set the new stage up yet, or have set it up and not yet in its place.
struct Lacks {
    workers: Vec<usize>,
    exchanges: bool,
}

impl OfStage {
    /// Decides what becomes of the replacement.
    fn decide(&mut self, exchanges: bool) -> Left {
        let told = if exchanges { Told::Exchange } else { Told::Discard };
        let number = self.tell(Key::Step, told);
        let Some(replacing) = &mut self.replacing else { return Left::default() };
        replacing.decided = Some(Decided { number, exchanges });
        let prepare = replacing.prepare;
        let made_of = replacing.made_of.clone().filter(|_| exchanges);
        let before = made_of.and_then(|made_of| self.replaced.replace(Replaced { number, made_of }));
        // What was told before was for the old stage; a new one that is given up need not be set up any more.
        let is_over = |kept: &mut Kept| match exchanges {
            true => kept.update.number < number,
            false => kept.update.number == prepare,
        };
        let kept = self.kept.extract_if(.., is_over).collect();
        Left { is_decided: true, _kept: kept, _replacing: None, _replaced: before }
    }

    /// Notes what has come of a step of the replacement on a worker. Returns what concerns an update.
    pub(super) fn note_in_replacing(
        &mut self,
        number: u64,
        worker: usize,
        outcome: Result<(), BoxError>,
    ) -> (Result<(), BoxError>, Left) {
        let is_prepared_by_all = self.applied.iter().all(|applied| *applied >= number);
        let Some(replacing) = self.replacing.as_mut().filter(|replacing| number >= replacing.prepare) else {
            return (outcome, Left::default());
        };
        if number == replacing.prepare {
            let has_failed = outcome.is_err();
            let decides = replacing.decided.is_none() && (has_failed || is_prepared_by_all);
            let unheard = match outcome {
                Err(cause) if replacing.is_awaited => {
                    replacing.failed.push((worker, cause));
                    Ok(())
                }
                outcome => outcome,
            };
            return (unheard, if decides { self.decide(!has_failed) } else { Left::default() });
        }
        (outcome, Left { _replacing: self.take_replacing_if_over(), ..Left::default() })
    }

    /// Takes out a replacement that every worker has ended and for which nobody waits.
    fn take_replacing_if_over(&mut self) -> Option<Replacing> {
        let is_over = self.replacing.as_ref().is_some_and(|replacing| {
            let number = replacing.decided.map(|decided| decided.number);
            !replacing.is_awaited && number.is_some_and(|number| self.applied.iter().all(|applied| *applied >= number))
        });
        self.replacing.take_if(|_| is_over)
    }

    /// Ends the wait for a replacement. One on which nothing is decided is given up.
    fn leave_replacing(&mut self, prepare: u64) -> Option<Left> {
        let replacing = self.replacing.as_mut().filter(|replacing| replacing.prepare == prepare)?;
        replacing.is_awaited = false;
        let left = if replacing.decided.is_none() { self.decide(false) } else { Left::default() };
        Some(Left { _replacing: self.take_replacing_if_over(), ..left })
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// Lets every worker of the stage of that name set another one up, made from these values; once all have done so, it
    /// takes the place of the one that is there.
    ///
    /// # Errors
    /// See [`UpdateError`].
    pub fn replace(&self, stage: &str, values: Values) -> Result<Replacement, UpdateError> {
        let node = self.node_to_tell(stage, &values)?;
        let workers = self.layout.nodes[node].options.workers;
        // Held, so that no worker joins or leaves the stage meanwhile.
        let scaled = self.scaled.nodes.lock();
        if scaled.contains(&node) || self.is_in_change(node) {
            return Err(UpdateError::BeingScaled { stage: stage.to_owned() });
        }
        let mut of_nodes = self.updates.of_nodes.lock();
        let of_stage = of_nodes.entry(node).or_default();
        if of_stage.replacing.is_some() {
            return Err(UpdateError::BeingReplaced { stage: stage.to_owned() });
        }
        self.notices.mark(format!("{stage} is replaced"));
        of_stage.applied.resize(workers, 0);
        let is_made_later = self.lives_in_process(node) || self.layout.may_scale(node);
        let made_of = is_made_later.then(|| values.clone());
        let prepare = of_stage.tell(Key::Step, Told::Prepare(values));
        of_stage.replacing = Some(Replacing { prepare, made_of, decided: None, failed: Vec::new(), is_awaited: true });
        drop((of_nodes, scaled));
        self.announce_updates(node);
        Ok(Replacement { node, prepare })
    }

    /// Waits until every worker has the new stage in its place, or the old one again, or the time-out is over: a
    /// replacement on which nothing is decided by then is given up. The caller is told what happens meanwhile, and an
    /// error of its own ends the wait in the same way.
    ///
    /// # Errors
    /// The error of the caller; within, what came of the replacement.
    pub fn wait_replaced<E>(
        &self,
        replacement: &Replacement,
        timeout: Option<Duration>,
        meanwhile: impl FnMut(Waiting) -> Result<(), E>,
    ) -> Result<Result<(), UpdateError>, E> {
        let named = |lacks: Lacks| self.named_workers(replacement.node, &lacks.workers);
        let patience = Patience::from_now(timeout);
        let waited =
            self.wait_patiently(patience, meanwhile, named, |wait| self.progress_of_replacement(replacement, wait));
        self.leave_replacement(replacement);
        let stage = || self.stage_name(replacement.node).to_owned();
        Ok(waited?.unwrap_or_else(|not_done| match not_done {
            NotDone::Late(Lacks { workers, exchanges }) => {
                let timeout = timeout.unwrap_or_default();
                Err(UpdateError::ReplaceTimeout { stage: stage(), workers, timeout, exchanges })
            }
            NotDone::LeftBehind => Err(UpdateError::NotRunning { stage: stage() }),
        }))
    }

    /// Waits no longer for a replacement. One on which nothing is decided is given up.
    pub(crate) fn leave_replacement(&self, replacement: &Replacement) {
        let mut of_nodes = self.updates.of_nodes.lock();
        let of_stage = of_nodes.get_mut(&replacement.node);
        let left = of_stage.and_then(|of_stage| of_stage.leave_replacing(replacement.prepare)).unwrap_or_default();
        drop(of_nodes);
        self.go_on_replacing(replacement.node, left);
        self.updates.changed.notify_all();
    }

    /// Lets a replacement go on without a caller that waits for it; a failure from now on is logged.
    pub fn let_go_on(&self, replacement: &Replacement) {
        let mut of_nodes = self.updates.of_nodes.lock();
        let over = of_nodes.get_mut(&replacement.node).and_then(|of_stage| {
            of_stage.replacing.as_mut()?.is_awaited = false;
            of_stage.take_replacing_if_over()
        });
        drop(of_nodes);
        release(over);
    }

    /// Lets the workers learn what was decided, and releases what is left.
    pub(super) fn go_on_replacing(&self, node: usize, left: Left) {
        if left.is_decided {
            self.announce_updates(node);
        }
        release(left);
    }

    /// Waits until no replacement of a node is under way; false when the caller would not wait any longer.
    pub(super) fn wait_not_replacing(&self, node: usize, wait: Wait) -> bool {
        let mut of_nodes = self.updates.of_nodes.lock();
        while of_nodes.get(&node).is_some_and(|of_stage| of_stage.replacing.is_some()) {
            let Wait::Until(deadline) = wait else { return false };
            if self.updates.changed.wait_until(&mut of_nodes, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// Returns what the processes of a node are made of since it was replaced, and the number of the last update that
    /// does not concern them.
    #[cfg(processes)]
    pub(crate) fn replaced(&self, index: usize) -> Option<(u64, Arc<[u8]>)> {
        let of_nodes = self.updates.of_nodes.lock();
        let replaced = of_nodes.get(&index)?.replaced.as_ref()?;
        match &replaced.made_of {
            Values::Bytes(bytes) => Some((replaced.number, Arc::clone(bytes))),
            Values::Here(_) => None,
        }
    }

    /// Notes that the process of a worker has died. If it was about to set a new stage up, with nothing in flight, that
    /// must have been it: the replacement has failed, and true is returned. Otherwise the process that follows sets it up,
    /// or begins with what is decided.
    #[cfg(processes)]
    pub(crate) fn worker_died_in_replacing(&self, worker_id: WorkerId, in_flight: bool, died: &WorkerDied) -> bool {
        let WorkerId::Stage { index, worker } = worker_id else { return false };
        let mut of_nodes = self.updates.of_nodes.lock();
        let Some(of_stage) = of_nodes.get_mut(&index) else { return false };
        let Some(replacing) = &mut of_stage.replacing else { return false };

        let before = replacing.prepare - 1;
        let was_preparing = of_stage.applied[worker] <= before && !in_flight;
        let mut left = Left::default();
        if was_preparing && replacing.decided.is_none() {
            replacing.failed.push((worker, Box::new(died.clone())));
            left = of_stage.decide(false);
        }
        let decided = of_stage.replacing.as_ref().and_then(|replacing| replacing.decided);
        let applied = &mut of_stage.applied[worker];
        *applied = decided.map_or_else(|| before.min(*applied), |decided| decided.number.max(*applied));
        left._replacing = of_stage.take_replacing_if_over();
        drop(of_nodes);

        self.go_on_replacing(index, left);
        self.updates.changed.notify_all();
        was_preparing
    }

    /// Waits for a step of a replacement on a worker, or for its end.
    fn progress_of_replacement(&self, replacement: &Replacement, wait: Wait) -> Result<Result<(), UpdateError>, Lacks> {
        let Replacement { node, prepare } = *replacement;
        let stage = || self.stage_name(node).to_owned();
        let mut patient = true;
        loop {
            // Before the lock: whoever applies it meanwhile is seen under it.
            let ended = self.ended_workers(node);
            let mut of_nodes = self.updates.of_nodes.lock();
            let of_stage = of_nodes.get_mut(&node);
            let Some(OfStage { applied, replacing: Some(replacing), .. }) = of_stage else {
                return Ok(Err(UpdateError::NotRunning { stage: stage() }));
            };
            let (number, exchanges) = match replacing.decided {
                Some(decided) => (decided.number, decided.exchanges),
                None => (prepare, false),
            };
            let late: Vec<usize> = (0..applied.len()).filter(|worker| applied[*worker] < number).collect();
            let has_ended = late.iter().any(|worker| ended.contains(worker));
            if has_ended || (late.is_empty() && replacing.decided.is_some()) {
                replacing.failed.sort_by_key(|(worker, _)| *worker);
                let failed = replacing.failed.drain(..).next();
                return Ok(match failed {
                    Some((worker, cause)) => Err(UpdateError::NotReplaced { stage: stage(), worker, cause }),
                    None if has_ended => Err(UpdateError::NotRunning { stage: stage() }),
                    None => Ok(()),
                });
            }
            if !patient {
                return Err(Lacks { workers: late, exchanges });
            }
            patient = match wait {
                Wait::Until(deadline) => !self.updates.changed.wait_until(&mut of_nodes, deadline).timed_out(),
                Wait::No | Wait::Forever => false,
            };
        }
    }
}
