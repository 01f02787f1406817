//! The orders that a simulated pipeline gets at given times: flushes, pauses, changes of stages, of their workers and of
//! sources.

use super::sources::NewSource;
use super::{Event, Simulation};
use crate::error::{EntranceError, UnknownStage};
use crate::seat::{Change, New};
use crate::stage::Stage;
use crate::unwind::BoxError;
use crate::worker::{Role, Values};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The orders to come, by their times: those of one moment in the order in which they were given.
#[derive(Default)]
pub(super) struct Orders {
    to_come: BTreeMap<(Duration, usize), (Event, With)>,
    given: usize,
}

/// What an order comes with.
pub(super) enum With {
    Nothing,
    /// What a stage is told.
    Values(Values),
    Source(NewSource),
}

impl Orders {
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.to_come.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn add(&mut self, at: Duration, order: Event, with: With) {
        self.to_come.insert((at, self.given), (order, with));
        self.given += 1;
    }

    fn pop(&mut self) -> Option<(Event, With)> {
        self.to_come.pop_first().map(|(_, order)| order)
    }

    /// The sources that are still to be added.
    pub(super) fn new_sources(&self) -> impl Iterator<Item = &NewSource> {
        self.to_come.values().filter_map(|(_, with)| match with {
            With::Source(source) => Some(source),
            With::Nothing | With::Values(_) => None,
        })
    }

    pub(super) fn new_sources_mut(&mut self) -> impl Iterator<Item = &mut NewSource> {
        self.to_come.values_mut().filter_map(|(_, with)| match with {
            With::Source(source) => Some(source),
            With::Nothing | With::Values(_) => None,
        })
    }
}

impl<I, T> Simulation<I, T> {
    /// Flushes the pipeline at that time, after the puts of the same moment: all that has entered by then is dropped.
    pub fn flush_at(&mut self, at: Duration) -> &mut Self {
        self.orders.add(at, Event::Flush, With::Nothing);
        self
    }

    /// Flushes the source or entrance of that name at that time, as [`flush_at`](Simulation::flush_at) does with all.
    ///
    /// # Errors
    /// An error if there is none of that name.
    pub fn flush_source_at(&mut self, at: Duration, name: &str) -> Result<&mut Self, EntranceError> {
        if self.orders.new_sources().all(|source| source.name() != name) {
            self.supervisor.source_to_flush(name)?;
        }
        self.orders.add(at, Event::FlushSource(name.to_owned()), With::Nothing);
        Ok(self)
    }

    /// Pauses the first stage at that time, after the puts of the same moment, until it is resumed or `setstop` is called.
    pub fn pause_at(&mut self, at: Duration) -> &mut Self {
        self.orders.add(at, Event::Pause(None), With::Nothing);
        self
    }

    /// Resumes the first stage at that time.
    pub fn resume_at(&mut self, at: Duration) -> &mut Self {
        self.orders.add(at, Event::Resume(None), With::Nothing);
        self
    }

    /// Works like [`pause_at`](Simulation::pause_at), for the stage of that name.
    ///
    /// # Errors
    /// An error if there is no stage of that name.
    pub fn pause_stage_at(&mut self, at: Duration, stage: &str) -> Result<&mut Self, UnknownStage> {
        self.check_stage(stage)?;
        self.orders.add(at, Event::Pause(Some(stage.to_owned())), With::Nothing);
        Ok(self)
    }

    /// Resumes the stage of that name at that time.
    ///
    /// # Errors
    /// As `pause_stage_at`.
    pub fn resume_stage_at(&mut self, at: Duration, stage: &str) -> Result<&mut Self, UnknownStage> {
        self.check_stage(stage)?;
        self.orders.add(at, Event::Resume(Some(stage.to_owned())), With::Nothing);
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
            With::Values(Values::Here(Arc::new(Change::<S>(Box::new(change))))),
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
        self.orders.add(at, Event::Replace(stage.to_owned()), With::Values(new));
        Ok(self)
    }

    /// Does what the next order says.
    pub(super) fn obey(&mut self) -> Option<Event> {
        let (order, with) = self.orders.pop()?;
        // The stage was known when the order was given.
        match (&order, with) {
            (Event::Update(stage), With::Values(values)) => {
                let updated = self.supervisor.update(stage, None, values);
                updated.into_iter().for_each(|updated| self.supervisor.end_wait(&updated));
            }
            (Event::Replace(stage), With::Values(values)) => {
                let replaced = self.supervisor.replace(stage, values);
                replaced.into_iter().for_each(|replaced| self.supervisor.let_go_on(&replaced));
            }
            (Event::AddSource(_), With::Source(source)) => self.add_source(source),
            (Event::RemoveSource(name), _) => drop(self.supervisor.remove_source(name)),
            (Event::Scale(stage, workers), _) => self.to_scale.push((stage.clone(), *workers)),
            (Event::Pause(stage), _) => drop(self.supervisor.pause(stage.as_deref())),
            (Event::Resume(stage), _) => drop(self.supervisor.resume(stage.as_deref())),
            (Event::FlushSource(name), _) => drop(self.supervisor.flush_source(name)),
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
        if of(Role::Source(0)) {
            known.extend(self.orders.new_sources().map(|source| source.name().to_owned()));
        }
        UnknownStage { got: got.to_owned(), known }
    }
}
