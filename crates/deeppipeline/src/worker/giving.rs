//! The results that a worker gives: the consumer of each, its number, and what has to be waited for.

use super::{Ending, GiveError, Given, Output, Part, Step, Worker, WorkerId};
use crate::activity::Activity;
use crate::buffer::{Arrival, Buffer, Origin, Push, Wait};
use crate::clock::Moment;
use crate::error::NotJoined;
use crate::inlet::Inlet;
use crate::sample::{ForkTicket, Sample, SampleId, SampleInfo};
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

    pub(super) fn give_many(&mut self, mut values: Box<dyn Iterator<Item = V> + Send>) -> Ending {
        let ending = if self.is_end_stage() { Ending::Returned } else { self.give_each(&mut *values) };
        release(values);
        ending
    }

    /// Asks for one value after the other until there are no more, or no other is wanted.
    fn give_each(&mut self, values: &mut dyn Iterator<Item = V>) -> Ending {
        let mut ending = Ending::Skipped;
        for index in 0.. {
            match catch_panic(|| Ok(values.next())) {
                Ok(Some(value)) => match self.give_and_free(value, self.part_of_many(index)) {
                    Ok(true) => ending = Ending::Returned,
                    Ok(false) => return Ending::Returned,
                    Err(cause) => return Ending::Failed(cause),
                },
                Ok(None) => break,
                Err(cause) => return Ending::Failed(cause),
            }
        }
        ending
    }

    /// Returns which share of its sample the value at that index is, from 0, of the many that a call gives.
    pub(crate) fn part_of_many(&self, index: usize) -> Part {
        match self.context.output {
            Output::Fork { .. } => Part::ForBranch(index),
            Output::End | Output::Next(_) | Output::Join { .. } => Part::OfMany,
        }
    }

    /// Hands one value to the next buffer, and back what is to be freed.
    ///
    /// # Errors
    /// The value itself, when it did not go on.
    #[inline(always)]
    pub fn give(&mut self, value: V, part: Part, wait: Wait) -> Result<Given<V>, GiveError<V>> {
        self.pause();
        let may_give = matches!(self.step, Step::Running(_) | Step::Pulling | Step::Finishing);
        if !may_give || self.is_end_stage() {
            return Ok(Given { to_free: Some(value), wants_more: false });
        }
        if part == Part::OfMany && self.is_left_out() {
            self.resume();
            return Ok(Given { to_free: Some(value), wants_more: true });
        }
        if let Some(cause) = self.why_not_joined(part) {
            return Err(GiveError::Refused(value, Box::new(NotJoined(cause))));
        }

        let receipt = self.running().and_then(|in_flight| in_flight.receipt(part));
        let origin = Origin { turn: self.turn, receipt };
        let fork = self.running().map_or_else(ForkTicket::default, |in_flight| in_flight.fork);
        let (id, birth, arrival) = self.identity(part);
        if let (Some(next), Wait::Forever | Wait::Until(_)) = (self.next_inlet(part), wait) {
            self.context.activity.set(Activity::WaitsForRoom(next.index));
        }
        let pushed = self.hand_on(Sample { id, birth, fork, value }, part, arrival, origin, wait);
        self.context.activity.set(Activity::Calls);
        if part != Part::Whole {
            self.resume();
        }

        // A branch that has given up what it has leaves the others their copies.
        let is_fork = matches!(part, Part::ForBranch(_));
        match pushed {
            Push::Full(value) => {
                self.waiting_since = Some(birth);
                Err(GiveError::Full(value))
            }
            Push::Shut(value) | Push::Late(value) => Ok(Given { to_free: Some(value), wants_more: is_fork }),
            Push::Refused(value, cause) => Err(GiveError::Refused(value, cause)),
            Push::Discarded(value) => {
                self.count_given(arrival);
                Ok(Given { to_free: Some(value), wants_more: is_fork })
            }
            Push::Done { accepted, to_free, .. } => {
                if let Some(next) = self.next_inlet(part).filter(|_| !accepted || !to_free.is_empty()) {
                    next.note_drop(self.context.clock.moment());
                }
                self.count_given(arrival);
                Ok(Given { to_free: to_free.release_but_one(), wants_more: true })
            }
        }
    }

    /// The inlet of the stage that gets the next value.
    #[inline(always)]
    fn next_inlet(&self, part: Part) -> Option<&Inlet<V>> {
        match (&self.context.output, part) {
            (Output::Next(next), _) => Some(next),
            (Output::Fork { blocks, block }, Part::ForBranch(branch)) => blocks.branch(*block, branch),
            (Output::Join { blocks, block, .. }, _) => blocks.behind(*block),
            (Output::End | Output::Fork { .. }, _) => None,
        }
    }

    /// Counts one more value, which the next buffer has counted.
    #[inline(always)]
    fn count_given(&mut self, arrival: Arrival) {
        self.waiting_since = None;
        if let Step::Running(in_flight) = &mut self.step {
            in_flight.parts += 1;
        }
        self.parts += u64::from(arrival == Arrival::PartOfWhole);
    }

    /// Hands a value to the next consumer.
    #[inline(always)]
    fn hand_on(&mut self, sample: Sample<V>, part: Part, arrival: Arrival, origin: Origin, wait: Wait) -> Push<V> {
        match (&self.context.output, part, &mut self.step) {
            (Output::Next(next), ..) => self.push_in_turn(&next.buffer, sample, arrival, origin, wait),
            (Output::Join { blocks, block, branch }, ..) => {
                blocks.arrive(*block, *branch, sample, wait, &*self.context.control)
            }
            (Output::Fork { blocks, block }, Part::ForBranch(branch), Step::Running(in_flight)) => {
                blocks.hand_to_branch(*block, branch, &mut in_flight.forked, sample, wait)
            }
            (Output::End | Output::Fork { .. }, ..) => Push::Shut(sample.value),
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
            // Every branch of a block inside gets a copy.
            (_, Part::ForBranch(_)) => None,
            (Step::Finishing, _) => {
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
        let Sample { id, birth, fork, .. } = sample;
        loop {
            let overdue_at = origin.turn.and(self.context.input()).and_then(Buffer::overdue_at);
            match output.push(sample, arrival, origin, wait.no_later_than(overdue_at)) {
                Push::Full(value) if overdue_at.is_some() => {
                    if !self.give_up_overdue(true) && wait.is_over(self.context.clock.now()) {
                        return Push::Full(value);
                    }
                    sample = Sample { id, birth, fork, value };
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
        let Some(SampleInfo { id, birth }) = self.last else {
            let birth = self.waiting_since.unwrap_or_else(|| self.context.clock.moment());
            let arrival =
                if self.context.worker_id == WorkerId::Source { Arrival::Source } else { Arrival::PartOfPart };
            return (SampleId { number: 0, part: 0 }, birth, arrival);
        };
        let is_part = part == Part::OfMany || matches!(self.step, Step::Finishing);
        match id.part {
            _ if !is_part => (id, birth, Arrival::Stage),
            0 => (SampleId { part: self.parts + 1, ..id }, birth, Arrival::PartOfWhole),
            _ => (id, birth, Arrival::PartOfPart),
        }
    }
}
