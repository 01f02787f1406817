//! Workers that join and leave a stage of a simulated pipeline at given times.

use super::orders::With;
use super::{Actor, Event, Simulation, State};
use crate::error::ScaleError;
#[cfg(processes)]
use crate::executor::process::Driver;
use crate::supervisor::Waiting;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

impl<I, T> Simulation<I, T> {
    /// Gives the stage of that name so many workers at that time, as [`Pipeline::scale`](crate::Pipeline::scale) does.
    ///
    /// # Errors
    /// An error if there is no stage of that name, or it cannot have so many.
    pub fn scale_at(&mut self, at: Duration, stage: &str, workers: usize) -> Result<&mut Self, ScaleError> {
        self.supervisor.may_scale(stage, workers)?;
        self.orders.add(at, Event::Scale(stage.to_owned(), workers), With::Nothing);
        Ok(self)
    }

    /// Begins the changes that were asked for, each once those before it are over.
    pub(super) fn go_on_scaling(&mut self) {
        while let Some((stage, workers)) = self.to_scale.first().cloned() {
            if !self.scale(&stage, workers) {
                return;
            }
            self.to_scale.remove(0);
        }
    }

    /// Gives a stage so many workers; false where others have to leave it before.
    fn scale(&mut self, stage: &str, workers: usize) -> bool {
        let now = Some(Duration::ZERO);
        let Ok(begun) = self.supervisor.scale(stage, workers, now, |_: Waiting| Ok::<_, Infallible>(()));
        let (scaling, joining) = match begun {
            Ok(begun) => begun,
            Err(ScaleError::NotBegun { .. }) => return false,
            Err(_) => return true,
        };
        for worker in joining {
            #[cfg(processes)]
            let Driver::Thread(worker) = worker else { continue };
            let mut body = (self.bodies)(worker.role())();
            if let Some(made_of) = scaling.made_of() {
                body.make_of(made_of.clone());
            }
            let is_alike = |actor: &&Actor| actor.worker.role() == worker.role();
            let alike = self.actors.iter().find(is_alike).map(|actor| Rc::clone(&actor.duration));
            self.join(Actor::new(worker, body, alike.unwrap_or_else(|| Rc::new(|_| Duration::ZERO))));
        }
        true
    }

    /// Lets an actor join the others, in its place.
    pub(super) fn join(&mut self, joins: Actor) {
        // The one that was there before has left.
        let there = joins.worker.worker_id();
        self.actors.retain(|actor| actor.worker.worker_id() != there || !matches!(actor.state, State::Ended));
        let place = self.actors.partition_point(|actor| actor.place() < joins.place());
        self.actors.insert(place, joins);
    }
}
