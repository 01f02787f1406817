//! Sources that are added to a simulated pipeline, and removed, at given times.

use super::orders::With;
use super::{Actor, DurationOf, Event, Simulation};
use crate::builder::{Entrance, source_and_closer, source_node};
use crate::error::EntranceError;
use crate::executor::BodyFactory;
use crate::graph::EntranceNode;
use crate::stage::Source;
use crate::typed::Value;
use std::rc::Rc;
use std::time::Duration;

/// A source that is to be added.
pub(super) struct NewSource {
    node: EntranceNode,
    factory: BodyFactory<Value>,
    pub(super) duration: DurationOf,
}

impl NewSource {
    pub(super) fn name(&self) -> &str {
        &self.node.name
    }
}

impl<I: Send + 'static, T> Simulation<I, T> {
    /// Adds a source at that time, after the puts of the same moment, as [`Pipeline::add_source`] does. It is not added
    /// where the pipeline has stopped by then, or has a source of that name that has not ended.
    ///
    /// # Errors
    /// An error if the pipeline did not [begin](crate::builder::Builder::source_at) with named sources or entrances, or what
    /// is said of the entrance cannot work.
    ///
    /// [`Pipeline::add_source`]: crate::Pipeline::add_source
    pub fn add_source_at<S>(
        &mut self,
        at: Duration,
        entrance: impl Into<Entrance>,
        source: S,
    ) -> Result<&mut Self, EntranceError>
    where
        S: Source<Item = I> + Send,
    {
        let node = entrance.into().into_node(Some(source_node(&source)));
        self.supervisor.check_new_source(&node)?;
        let (factory, _) = source_and_closer(source);
        let order = Event::AddSource(node.name.clone());
        let duration: DurationOf = Rc::new(|_| Duration::ZERO);
        self.orders.add(at, order, With::Source(NewSource { node, factory, duration }));
        Ok(self)
    }

    /// Asks the source of that name for nothing more from that time on, as [`Pipeline::remove_source`] does.
    ///
    /// # Errors
    /// An error if neither the pipeline has a source of that name nor one is to be added.
    ///
    /// [`Pipeline::remove_source`]: crate::Pipeline::remove_source
    pub fn remove_source_at(&mut self, at: Duration, name: &str) -> Result<&mut Self, EntranceError> {
        let mut known = self.supervisor.known_sources();
        known.extend(self.orders.new_sources().map(|source| source.name().to_owned()));
        if known.iter().all(|known| known != name) {
            return Err(EntranceError::UnknownSource { got: name.to_owned(), known });
        }
        self.orders.add(at, Event::RemoveSource(name.to_owned()), With::Nothing);
        Ok(self)
    }
}

impl<I, T> Simulation<I, T> {
    pub(super) fn add_source(&mut self, source: NewSource) {
        let NewSource { node, factory, duration } = source;
        if let Ok(worker) = self.supervisor.add_source(node, None) {
            self.join(Actor::new(worker, factory(), duration));
        }
    }
}
