//! Putting for a task, which does not keep its thread waiting: where there is no room, it is woken once there may be.

use super::{Accepted, Supervisor};
use crate::answers::Receives;
use crate::buffer::Wait;
use crate::clock::Moment;
use crate::error::PutError;
use crate::job::works_for;
use crate::line::Spot;
use crate::sample::ForkTicket;
use std::sync::Arc;
use std::task::Waker;

/// The place of a task among those that wait for room, to be given back by [`Supervisor::leave`].
#[derive(Debug, Default)]
pub struct Place {
    for_room: Spot,
    for_answer: Spot,
}

impl<V: Send + 'static> Supervisor<V> {
    /// Works like [`put_born`](Supervisor::put_born) for a task: where there is no room, the error is `Timeout`, and the
    /// task is woken once there may be. It then calls this again, with its place.
    ///
    /// # Errors
    /// As `put`.
    pub fn put_or_stand(
        &self,
        value: V,
        entrance: Option<&str>,
        birth: Moment,
        place: &mut Place,
        waker: &Waker,
    ) -> Result<Accepted<V>, PutError<V>> {
        if works_for(self.id) {
            return Err(PutError::OwnStage(value));
        }
        self.enter_or_stand(value, entrance, birth, ForkTicket::default(), place, waker)
    }

    /// Works like [`submit`](Supervisor::submit) for a task, as [`put_or_stand`](Supervisor::put_or_stand) does.
    ///
    /// # Errors
    /// As `put`; the receiver gets nothing then.
    pub fn submit_or_stand(
        &self,
        value: V,
        entrance: Option<&str>,
        birth: Moment,
        receiver: &Arc<dyn Receives<V>>,
        place: &mut Place,
        waker: &Waker,
    ) -> Result<Accepted<V>, PutError<V>> {
        if works_for(self.id) {
            return Err(PutError::OwnStage(value));
        }
        let Some(ticket) = self.answers.enter_or_stand(receiver, &mut place.for_answer, waker) else {
            return Err(PutError::Timeout(value));
        };
        let put = self.enter_or_stand(value, entrance, birth, ticket, place, waker);
        self.has_submitted(ticket, put)
    }

    fn enter_or_stand(
        &self,
        value: V,
        entrance: Option<&str>,
        birth: Moment,
        fork: ForkTicket,
        place: &mut Place,
        waker: &Waker,
    ) -> Result<Accepted<V>, PutError<V>> {
        let has_stood = place.for_room.is_taken();
        match self.put_with(value, entrance, birth, None, fork, Wait::No) {
            Ok(accepted) if has_stood => {
                self.note_put_waited(birth, self.clock.moment());
                Ok(accepted)
            }
            Err(PutError::Timeout(value)) => {
                self.inlets[0].buffer.stand(&mut place.for_room, waker);
                // There may have come room before the task was in line.
                self.put_with(value, entrance, birth, None, fork, Wait::No)
            }
            put => put,
        }
    }

    /// Counts the time for which one who brings a sample asked again and again for room.
    pub fn note_put_waited(&self, since: Moment, until: Moment) {
        self.inlets[0].buffer.note_waited(since, until);
    }

    /// Lets a task leave its place, which is in the pipeline now or does not want to be any longer. Where it was woken in
    /// vain, another is.
    pub fn leave(&self, place: &mut Place, has_entered: bool) {
        self.inlets[0].buffer.leave(&mut place.for_room, has_entered);
        self.answers.leave(&mut place.for_answer, has_entered);
    }
}
