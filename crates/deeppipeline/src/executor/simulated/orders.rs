//! The orders that a simulated pipeline gets at given times: flushes, pauses, changes of stages and of their workers.

use super::{Event, Simulation};
use crate::error::{EntranceError, UnknownStage};
use crate::seat::{Change, New};
use crate::stage::Stage;
use crate::unwind::BoxError;
use crate::worker::{Role, Values};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

/// The orders to come: those of one moment in the order in which they were given.
#[derive(Default)]
pub(super) struct Orders {
    to_come: BinaryHeap<Reverse<(Duration, usize)>>,
    /// Each with the values that a stage is told, if it is told any.
    given: Vec<(Event, Option<Values>)>,
}

impl Orders {
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.to_come.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn add(&mut self, at: Duration, order: Event, values: Option<Values>) {
        self.to_come.push(Reverse((at, self.given.len())));
        self.given.push((order, values));
    }

    fn pop(&mut self) -> Option<(Event, Option<Values>)> {
        let Reverse((_, index)) = self.to_come.pop()?;
        Some(self.given[index].clone())
    }
}

impl<I, T> Simulation<I, T> {
    /// Flushes the pipeline at that time, after the puts of the same moment: all that has entered by then is dropped.
    pub fn flush_at(&mut self, at: Duration) -> &mut Self {
        self.orders.add(at, Event::Flush, None);
        self
    }

    /// Flushes the source or entrance of that name at that time, as [`flush_at`](Simulation::flush_at) does with all.
    ///
    /// # Errors
    /// An error if there is none of that name.
    pub fn flush_source_at(&mut self, at: Duration, name: &str) -> Result<&mut Self, EntranceError> {
        self.supervisor.source_to_flush(name)?;
        self.orders.add(at, Event::FlushSource(name.to_owned()), None);
        Ok(self)
    }

    /// Pauses the first stage at that time, after the puts of the same moment, until it is resumed or `setstop` is called.
    pub fn pause_at(&mut self, at: Duration) -> &mut Self {
        self.orders.add(at, Event::Pause(None), None);
        self
    }

    /// Resumes the first stage at that time.
    pub fn resume_at(&mut self, at: Duration) -> &mut Self {
        self.orders.add(at, Event::Resume(None), None);
        self
    }

    /// Works like [`pause_at`](Simulation::pause_at), for the stage of that name.
    ///
    /// # Errors
    /// An error if there is no stage of that name.
    pub fn pause_stage_at(&mut self, at: Duration, stage: &str) -> Result<&mut Self, UnknownStage> {
        self.check_stage(stage)?;
        self.orders.add(at, Event::Pause(Some(stage.to_owned())), None);
        Ok(self)
    }

    /// Resumes the stage of that name at that time.
    ///
    /// # Errors
    /// As `pause_stage_at`.
    pub fn resume_stage_at(&mut self, at: Duration, stage: &str) -> Result<&mut Self, UnknownStage> {
        self.check_stage(stage)?;
        self.orders.add(at, Event::Resume(Some(stage.to_owned())), None);
        Ok(self)
    }

    /// Changes the stage of that name at that time, on each worker between two samples, as
    /// [`Pipeline::update`](crate::Pipeline::update) does. A change that fails is logged.
    ///
    /// # Errors
    /// An error if there is no stage of that name.
    pub fn update_at<S: 'static>(
        &mut self,
        at: Duration,
        stage: &str,
        change: impl Fn(&mut S) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Result<&mut Self, UnknownStage> {
        self.check_stage(stage)?;
        self.orders.add(
            at,
            Event::Update(stage.to_owned()),
            Some(Values::Here(Arc::new(Change::<S>(Box::new(change))))),
        );
        Ok(self)
    }

    /// Lets a stage that this makes take the place of the one of that name at that time, on every worker, as
    /// [`Pipeline::replace`](crate::Pipeline::replace) does. If it cannot be set up, the old one goes on.
    ///
    /// # Errors
    /// An error if there is no stage of that name.
    pub fn replace_at<S: Stage>(
        &mut self,
        at: Duration,
        stage: &str,
        make: impl Fn() -> Result<S, BoxError> + Send + Sync + 'static,
    ) -> Result<&mut Self, UnknownStage> {
        self.check_stage(stage)?;
        let new = Values::Here(Arc::new(New::made_by(make)));
        self.orders.add(at, Event::Replace(stage.to_owned()), Some(new));
        Ok(self)
    }

    /// Does what the next order says.
    pub(super) fn obey(&mut self) -> Option<Event> {
        let (order, values) = self.orders.pop()?;
        // The stage was known when the order was given.
        match &order {
            Event::Update(stage) => {
                let updated = values.map(|values| self.supervisor.update(stage, None, values));
                updated.into_iter().flatten().for_each(|updated| self.supervisor.end_wait(&updated));
            }
            Event::Replace(stage) => {
                let replaced = values.map(|values| self.supervisor.replace(stage, values));
                replaced.into_iter().flatten().for_each(|replaced| self.supervisor.let_go_on(&replaced));
            }
            Event::Scale(stage, workers) => self.to_scale.push((stage.clone(), *workers)),
            Event::Pause(stage) => drop(self.supervisor.pause(stage.as_deref())),
            Event::Resume(stage) => drop(self.supervisor.resume(stage.as_deref())),
            Event::FlushSource(name) => drop(self.supervisor.flush_source(name)),
            _ => self.supervisor.flush(),
        }
        Some(order)
    }

    pub(super) fn check_stage(&self, stage: &str) -> Result<(), UnknownStage> {
        let is_stage = |role: Role| matches!(role, Role::Stage(_));
        let mut stages = self.actors.iter().filter(|actor| is_stage(actor.worker.role()));
        match stages.any(|actor| actor.worker.name() == stage) {
            true => Ok(()),
            false => Err(self.unknown(stage, is_stage)),
        }
    }

    /// The error for a name that no worker of that role has.
    pub(super) fn unknown(&self, got: &str, of: impl Fn(Role) -> bool) -> UnknownStage {
        let stages = self.actors.iter().rev().filter(|actor| of(actor.worker.role()));
        let mut known: Vec<_> = stages.map(|actor| actor.worker.name().to_owned()).collect();
        known.dedup();
        UnknownStage { got: got.to_owned(), known }
    }
}
