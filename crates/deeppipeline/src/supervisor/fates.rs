//! The fates of samples, told to the program as events.

use super::Supervisor;
use crate::aside;
use crate::buffer::{Ended, How};
use crate::clock::Moment;
use crate::error::StageFailure;
use crate::fates::{Fate, FateEvent};
use crate::job::{enter_job, leave_job};
use crate::notices::DropLog;
use crate::unwind::{BoxError, catch_panic, release};
use std::sync::Arc;

/// The name under which the callback stands where a pipeline is waited for.
pub(crate) const ON_FATE: &str = "on_fate";

/// The program's function that hears of fates.
pub(crate) type OnFate<V> = Box<dyn FnMut(FateEvent<V>) + Send>;

/// The calls of the program's function: one that panics is logged, and the next is made all the same.
pub(crate) struct FateCalls<V> {
    on_fate: OnFate<V>,
    panics: u64,
    log: DropLog,
}

impl<V> FateCalls<V> {
    pub(crate) fn new(on_fate: OnFate<V>) -> Self {
        FateCalls { on_fate, panics: 0, log: DropLog::default() }
    }

    pub(crate) fn call(&mut self, event: FateEvent<V>) {
        let called = catch_panic(|| {
            (self.on_fate)(event);
            Ok(())
        });
        if let Err(panic) = called {
            self.log_panic(&panic);
        }
    }

    fn log_panic(&mut self, panic: &BoxError) {
        self.panics += 1;
        let now = Moment::now();
        if self.log.is_due(now)
            && let Some((panics, _)) = self.log.untold(self.panics, now)
        {
            let panic = aside::shown(panic);
            aside::log(move || tracing::error!("on_fate has panicked {panics} more times: {panic}"));
        }
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// Makes the end of the pipeline wait from now on until [`next_fate`](Supervisor::next_fate) has given the last event.
    /// With `only_failures` that is of samples which failed or were lost.
    pub fn keep_fates(&self, only_failures: bool) {
        self.fates.want(only_failures);
    }

    /// Waits for the next sample that did not come through; `None` once everything has ended. As long as the calling
    /// thread asks, it counts as one of the pipeline's workers: it must not wait for the pipeline, which waits for it.
    pub fn next_fate(&self) -> Option<FateEvent<V>> {
        enter_job(self.id, None);
        let next = self.fates.next();
        if next.is_none() {
            leave_job();
        }
        next
    }

    /// Lets a caller that drives everything itself hear only of samples which failed or were lost, if so.
    pub(crate) fn hear_only_failures(&self, only_failures: bool) {
        self.fates.hear_only_failures(only_failures);
    }

    /// Returns an event that waits, for a caller that drives everything itself.
    pub(crate) fn try_next_fate(&self) -> Option<FateEvent<V>> {
        self.fates.try_next()
    }

    /// Calls the program's function with every event, or with those of failures only, on a thread of its own.
    pub(crate) fn tell_fates(self: &Arc<Self>, on_fate: OnFate<V>, only_failures: bool) -> std::io::Result<()> {
        let (supervisor, mut calls) = (Arc::clone(self), FateCalls::new(on_fate));
        std::thread::Builder::new().name(ON_FATE.to_owned()).spawn(move || {
            while let Some(event) = supervisor.next_fate() {
                calls.call(event);
            }
        })?;
        self.keep_fates(only_failures);
        Ok(())
    }

    /// Tells the fate of a sample that has ended in a node, or in front of it.
    pub(super) fn tell_fate(&self, node: usize, ended: Ended<V>) {
        let Ended { end, value } = ended;
        let Some(fate) = Fate::of(end.how).filter(|_| self.layout.fates) else { return release(value) };
        let stage = self.stage_name(node).to_owned();
        let failed = end.how == How::Failed;
        let value = value.or_else(|| self.inlets[node].take_value(end.id));
        let error = failed.then(|| StageFailure::of(self.answers.failure(node, &end), stage.clone()));
        let event = FateEvent { sample: end.id, source: end.source.name(), stage, fate, error, value };
        if let Some(missed) = self.fates.tell(event) {
            let FateEvent { stage, fate, value, .. } = missed;
            match fate {
                // Their `Drop` may wait, which the caller that stops a pipeline must not.
                Fate::Discarded | Fate::Flushed => self.release_discarded(vec![(stage, value.into_iter().collect())]),
                _ => release(value),
            }
        }
    }
}
