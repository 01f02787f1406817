//! The results that a worker gives: the consumer of each, its number, and what has to be waited for.

use super::{Ending, GiveError, Given, LogEvent, Output, Part, Step, Worker, WorkerId};
use crate::activity::Activity;
use crate::buffer::{Arrival, Buffer, Origin, Push, Wait};
use crate::clock::Moment;
use crate::error::{NotJoined, WrongNumberOfResults};
use crate::inlet::Inlet;
use crate::sample::{ForkTicket, Sample, SampleId, SampleInfo};
use crate::stage::Give;
use crate::unwind::{BoxError, catch_panic, release};

impl<V> Worker<V> {
    /// Hands one value on; whether the call's next one is wanted.
    pub(super) fn give_and_free(&mut self, value: V, part: Part) -> Result<bool, BoxError> {
        match self.give(value, part, Wait::Forever) {
            Ok(Given { to_free, wants_more }) => {
                release(to_free);
                Ok(wants_more)
            }
            // `Forever` never comes back with this.
            Err(GiveError::Full(value)) => {
                release(value);
                Ok(true)
            }
            Err(GiveError::Refused(value, cause)) => {
                release(value);
                Err(cause)
            }
        }
    }

    /// Hands on all that a call gave for its sample.
    #[inline(always)]
    pub(super) fn give_all(&mut self, give: Give<V>) -> Ending {
        match give {
            Give::Skip => Ending::Gave(false),
            Give::One(value) => match self.give_and_free(value, Part::Whole) {
                Ok(_) => Ending::Gave(true),
                Err(cause) => Ending::Failed(cause),
            },
            Give::Many(values) => self.give_many(values),
        }
    }

    /// Notes that the stage has returned so many results, one for each sample that it got. Each is then handed on, with
    /// [`give`](Worker::give), and [settled](Worker::settle), as long as the worker
    /// [expects one](Worker::expects_result).
    ///
    /// # Errors
    /// An error of the stage, where it got another number of samples.
    pub fn expect_results(&mut self, results: usize) -> Result<(), BoxError> {
        let Step::Running(in_flight) = &mut self.step else { return Ok(()) };
        let Some(batch) = &mut in_flight.batch else {
            return Err("it gave a list of results, but got no batch".into());
        };
        let samples = if batch.alone { 1 } else { batch.left() };
        if results != samples {
            return Err(Box::new(WrongNumberOfResults { results, samples }));
        }
        let present = batch.present();
        batch.alone = false;
        batch.to_come += results;
        // One that is run again alone stays what it is, with the parts that went on before.
        if samples > 1 {
            in_flight.stand_at(present);
            let (present, parts) = (in_flight.present, in_flight.parts);
            self.stands_at(present, parts);
        }
        Ok(())
    }

    /// Returns true if the next result of a batch is to be handed on. Otherwise it is kept, if the stage is to be run
    /// on the present sample again, or goes nowhere.
    pub fn expects_result(&self) -> bool {
        self.running().and_then(|in_flight| in_flight.batch.as_ref()).is_some_and(|batch| batch.to_come > 0)
    }

    /// Hands on the results of a batch, up to the next sample on which the stage is to be run again.
    pub(super) fn give_results(&mut self) -> LogEvent {
        // Nobody takes what an end stage gives: where all were used, they are settled at once.
        let are_used = || self.results.iter().all(|result| matches!(result, Ok(Give::One(_) | Give::Many(_))));
        if self.is_end_stage()
            && are_used()
            && let Step::Running(in_flight) = &mut self.step
            && in_flight.are_all_results_here()
        {
            in_flight.end_results();
            self.release_results();
            return self.settle(Ending::Gave(true));
        }

        let mut event = LogEvent::Nothing;
        while self.expects_result()
            && let Some(result) = self.results.pop()
        {
            let ending = match result {
                Ok(give) => self.give_all(give),
                Err(cause) => Ending::Failed(cause),
            };
            event = self.settle(ending);
        }
        if !self.tries_again() {
            self.release_results();
        }
        event
    }

    pub(super) fn release_results(&mut self) {
        self.results.drain(..).for_each(release);
    }

    pub(super) fn give_many(&mut self, mut values: Box<dyn Iterator<Item = V> + Send>) -> Ending {
        let ending = if self.is_end_stage() { Ending::Gave(true) } else { self.give_each(&mut *values) };
        release(values);
        ending
    }

    /// Asks for one value after the other until there are no more, or no other is wanted.
    fn give_each(&mut self, values: &mut dyn Iterator<Item = V>) -> Ending {
        let mut ending = Ending::Gave(false);
        loop {
            match catch_panic(|| Ok(values.next())) {
                Ok(Some(value)) => match self.give_and_free(value, Part::OfMany) {
                    Ok(true) => ending = Ending::Gave(true),
                    Ok(false) => return Ending::Gave(true),
                    Err(cause) => return Ending::Failed(cause),
                },
                Ok(None) => break,
                Err(cause) => return Ending::Failed(cause),
            }
        }
        ending
    }

    /// Hands one value to the next buffer, and back what is to be freed.
    ///
    /// # Errors
    /// The value itself, when it did not go on.
    #[inline(always)]
    pub fn give(&mut self, value: V, part: Part, wait: Wait) -> Result<Given<V>, GiveError<V>> {
        self.pause();
        let may_give = matches!(self.step, Step::Running(_) | Step::Pulling | Step::Finishing(_));
        if !may_give || self.is_end_stage() {
            return Ok(Given { to_free: Some(value), wants_more: false });
        }
        if part == Part::OfMany && self.is_left_out() {
            self.resume();
            return Ok(Given { to_free: Some(value), wants_more: true });
        }
        if let Some(cause) = self.why_not_joined(part) {
            return Err(GiveError::Refused(Some(value), Box::new(NotJoined(cause))));
        }

        let fork = self.running().map_or_else(ForkTicket::default, |in_flight| in_flight.fork);
        let (id, birth, arrival) = self.identity(part);
        let source = self.last.map_or(self.context.entry.source, |last| last.source);
        let sample = Sample { id, birth, fork, source, value };
        let given = match &self.context.output {
            Output::Fork { blocks, block } => {
                blocks.hand_out(*block, &mut self.forked, sample, arrival, wait, &self.context.activity)
            }
            Output::Answers(answers) => {
                let Sample { id, fork, value, .. } = sample;
                let to_free = answers.arrive(fork, id, part == Part::OfMany, value);
                Ok(Given { to_free, wants_more: true })
            }
            Output::Next(_) | Output::Join { .. } | Output::End => self.push(sample, part, arrival, wait),
        };
        if !matches!(given, Err(GiveError::Full(_))) {
            self.context.activity.set(Activity::Calls);
        }
        match &given {
            Ok(_) => self.count_given(part, arrival),
            Err(GiveError::Full(_)) => {
                self.waiting_since = Some(birth);
                self.full_since.get_or_insert_with(|| self.context.clock.moment());
            }
            Err(GiveError::Refused(..)) => {}
        }
        if part != Part::Whole {
            self.resume();
        }
        given
    }

    /// Hands a value to the one consumer behind this worker.
    #[inline(always)]
    fn push(&self, sample: Sample<V>, part: Part, arrival: Arrival, wait: Wait) -> Result<Given<V>, GiveError<V>> {
        let (next, pushed) = match &self.context.output {
            Output::Next(next) => {
                self.show_waiting(next);
                let receipt = self.running().and_then(|in_flight| in_flight.receipt(part));
                // Its call has just ended, or was paused for it, unless it has asked for room in vain.
                let came = match &self.step {
                    Step::Running(in_flight) if self.full_since.is_none() => in_flight.paused_at.0,
                    Step::Pulling if self.full_since.is_none() => sample.birth.0,
                    _ => 0,
                };
                let (lane, turn) = (self.context.entry.lane, self.turn);
                let origin = Origin { lane, turn, receipt, came, ..Origin::default() };
                (Some(&**next), self.push_in_turn(&next.buffer, sample, arrival, origin, wait))
            }
            Output::Join { blocks, block, branch } => {
                let next = blocks.behind(*block);
                next.into_iter().for_each(|next| self.show_waiting(next));
                (next, blocks.arrive(*block, *branch, sample, wait, &*self.context.control))
            }
            Output::End | Output::Fork { .. } | Output::Answers(_) => (None, Push::Shut(sample.value)),
        };

        match pushed {
            Push::Full(value) => Err(GiveError::Full(value)),
            Push::Refused(value, cause) => Err(GiveError::Refused(Some(value), cause)),
            Push::Shut(value) | Push::Late(value) | Push::Discarded(value) => {
                Ok(Given { to_free: Some(value), wants_more: false })
            }
            Push::Done { accepted, to_free, .. } => {
                if let Some(next) = next.filter(|_| !accepted || !to_free.is_empty()) {
                    next.note_drop(self.context.clock.moment());
                }
                Ok(Given { to_free: to_free.release_but_one(), wants_more: true })
            }
        }
    }

    #[inline(always)]
    fn show_waiting(&self, next: &Inlet<V>) {
        self.context.activity.set(Activity::WaitsForRoom(next.index));
        if let Step::Running(in_flight) = &self.step {
            self.context.activity.set_since(in_flight.paused_at);
        }
    }

    /// Counts one more value, which the next buffer has counted.
    #[inline(always)]
    fn count_given(&mut self, part: Part, arrival: Arrival) {
        self.waiting_since = None;
        if let Some(since) = self.full_since.take() {
            self.note_waited(since);
        }
        if let Step::Running(in_flight) = &mut self.step {
            in_flight.parts += 1;
            in_flight.is_split |= part == Part::OfMany;
        }
        self.parts += u64::from(arrival == Arrival::PartOfWhole);
    }

    /// Counts the time for which it had to ask again and again for room.
    #[cold]
    fn note_waited(&self, since: Moment) {
        let inlet = match &self.context.output {
            Output::Next(next) => Some(&**next),
            Output::Fork { blocks, block } => blocks.first_of(*block),
            Output::Join { blocks, block, .. } => blocks.behind(*block),
            Output::End | Output::Answers(_) => None,
        };
        if let Some(inlet) = inlet {
            inlet.buffer.note_waited(since, self.context.clock.moment());
        }
    }

    /// Returns why a value cannot be joined, if it cannot: what is given beside the one result of a sample has nothing
    /// to be joined with.
    #[inline(always)]
    fn why_not_joined(&self, part: Part) -> Option<&'static str> {
        if !self.context.joined {
            return None;
        }
        match (&self.step, part) {
            (Step::Finishing(_), _) => {
                Some("finish gave a value inside a parallel block, where there is nothing to join it with")
            }
            (_, Part::OfMany) => {
                Some("it gave many values inside a parallel block, which joins one result of each branch")
            }
            (_, Part::Whole) => None,
        }
    }

    /// Waits for room, and for the value's turn. What keeps it waiting for too long is given up meanwhile.
    #[inline(always)]
    fn push_in_turn(
        &self,
        output: &Buffer<V>,
        mut sample: Sample<V>,
        arrival: Arrival,
        origin: Origin,
        wait: Wait,
    ) -> Push<V> {
        let Sample { id, birth, fork, source, .. } = sample;
        loop {
            let overdue_at = origin.turn.and(self.context.input()).and_then(Buffer::overdue_at);
            match output.push(sample, arrival, origin, wait.no_later_than(overdue_at)) {
                Push::Full(value) if overdue_at.is_some() => {
                    if !self.give_up_overdue(true) && wait.is_over(self.context.clock.now()) {
                        return Push::Full(value);
                    }
                    sample = Sample { id, birth, fork, source, value };
                }
                pushed => return pushed,
            }
        }
    }

    /// Returns true if the next part has gone on already, given by a worker that died.
    fn is_left_out(&mut self) -> bool {
        match &mut self.step {
            Step::Running(in_flight) if in_flight.leave_out > 0 => {
                in_flight.leave_out -= 1;
                true
            }
            _ => false,
        }
    }

    /// Returns the identity of a value, and how it arrives: as the sample in flight, as a part of it or, while
    /// finishing, of the last one, and under number 0 where there never was one (the source's samples get theirs in the
    /// buffer).
    #[inline(always)]
    fn identity(&self, part: Part) -> (SampleId, Moment, Arrival) {
        let Some(SampleInfo { id, birth, .. }) = self.last else {
            let birth = self.waiting_since.unwrap_or_else(|| self.context.clock.moment());
            let arrival = match self.context.worker_id {
                WorkerId::Source(_) => Arrival::Source,
                WorkerId::Stage { .. } => Arrival::PartOfPart,
            };
            return (SampleId { number: 0, part: 0 }, birth, arrival);
        };
        let is_part = part == Part::OfMany || matches!(self.step, Step::Finishing(_));
        match id.part {
            _ if !is_part => (id, birth, Arrival::Stage),
            0 => (SampleId { part: self.parts + 1, ..id }, birth, Arrival::PartOfWhole),
            _ => (id, birth, Arrival::PartOfPart),
        }
    }
}
