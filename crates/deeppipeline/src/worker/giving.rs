//! The results that a worker gives: the consumer of each, its number, and what has to be waited for.

use super::{Ending, GiveError, Given, Part, Step, Worker, WorkerId};
use crate::activity::Activity;
use crate::buffer::{Arrival, Buffer, Origin, Push, Wait};
use crate::error::{BoxError, NotJoined};
use crate::executor::{catch_panic, free};
use crate::graph::Flow;
use crate::home::Branches;
use crate::sample::{ForkTicket, Sample, SampleId, SampleInfo};
use std::time::Instant;

impl<V> Worker<V> {
    /// Hands one value on; whether the call's next one is wanted.
    pub(super) fn give_and_free(&mut self, value: V, part: Part) -> Result<bool, BoxError> {
        match self.give(value, part, Wait::Forever) {
            Ok(Given { to_free, wants_more }) => {
                free(to_free);
                Ok(wants_more)
            }
            // `Forever` never comes back with this.
            Err(GiveError::Full(value)) => {
                free(value);
                Ok(true)
            }
            Err(GiveError::Refused(value, cause)) => {
                free(value);
                Err(cause)
            }
        }
    }

    pub(super) fn give_many(&mut self, mut values: Box<dyn Iterator<Item = V> + Send>) -> Ending {
        let ending = if self.is_end_stage() { Ending::Returned } else { self.give_each(&mut *values) };
        free(values);
        ending
    }

    /// Asks for one value after the other until there are no more, or no other is wanted.
    fn give_each(&mut self, values: &mut dyn Iterator<Item = V>) -> Ending {
        let mut ending = Ending::Skipped;
        loop {
            match catch_panic(|| Ok(values.next())) {
                Ok(Some(value)) => match self.give_and_free(value, Part::OfMany) {
                    Ok(true) => ending = Ending::Returned,
                    Ok(false) => return Ending::Returned,
                    Err(cause) => return Ending::Failed(cause),
                },
                Ok(None) => return ending,
                Err(cause) => return Ending::Failed(cause),
            }
        }
    }

    /// Hands one value to the next buffer, and back what is to be freed.
    ///
    /// # Errors
    /// The value itself, when it did not go on.
    pub fn give(&mut self, value: V, part: Part, wait: Wait) -> Result<Given<V>, GiveError<V>> {
        self.pause();
        let may_give = matches!(self.step, Step::Running(_) | Step::Pulling | Step::Finishing);
        let flow = self.flow();
        if !may_give || flow == Flow::End {
            return Ok(Given { to_free: Some(value), wants_more: false });
        }
        if part == Part::OfMany && self.is_left_out() {
            self.resume();
            return Ok(Given { to_free: Some(value), wants_more: true });
        }
        if let Some(cause) = self.why_not_joined(flow, part) {
            return Err(GiveError::Refused(value, Box::new(NotJoined(cause))));
        }

        let receipt = self.hand().and_then(|hand| hand.receipt(part));
        let origin = Origin { turn: self.turn, receipt };
        let fork = self.hand().map_or_else(ForkTicket::default, |hand| hand.fork);
        let (id, birth, arrival) = self.identity(flow, part);
        let next = self.next_index(flow);
        if let (Some(next), Wait::Forever | Wait::Until(_)) = (next, wait) {
            self.home.show(self.worker_id, Activity::WaitsForRoom(next));
        }
        let pushed = self.hand_on(flow, Sample { id, birth, fork, value }, arrival, origin, wait);
        self.home.show(self.worker_id, Activity::Calls);
        if part == Part::OfMany {
            self.resume();
        }

        // A branch that has given up what it has leaves the others their copies.
        let is_fork = matches!(flow, Flow::Fork(_));
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
            Push::Done { accepted, dropped, more } => {
                if let Some(next) = next.filter(|_| !accepted || dropped.is_some() || !more.is_empty()) {
                    self.home.note_drop(next);
                }
                more.into_iter().for_each(free);
                self.count_given(arrival);
                Ok(Given { to_free: dropped, wants_more: true })
            }
        }
    }

    /// The stage that gets the next value.
    fn next_index(&self, flow: Flow) -> Option<usize> {
        match flow {
            Flow::End => None,
            Flow::Next(next) => Some(next),
            Flow::Fork(block) => {
                let branch = if let Step::Running(hand) = &self.step { hand.parts as usize } else { 0 };
                self.home.block(block)?.nodes.get(branch).map(|(first, _)| *first)
            }
            Flow::Join { block, .. } => self.home.block(block)?.nodes.last().map(|(_, last)| last + 1),
        }
    }

    /// Counts one more value, which the next buffer has counted.
    fn count_given(&mut self, arrival: Arrival) {
        self.waiting_since = None;
        if let Step::Running(hand) = &mut self.step {
            hand.parts += 1;
        }
        self.parts += u64::from(arrival == Arrival::PartOfWhole);
    }

    /// Hands a value to the next consumer.
    fn hand_on(&mut self, flow: Flow, sample: Sample<V>, arrival: Arrival, origin: Origin, wait: Wait) -> Push<V> {
        let to = match flow {
            Flow::End => None,
            Flow::Next(next) => self.home.buffer(next),
            Flow::Join { block, branch } => return self.home.arrive(block, branch, sample, wait),
            Flow::Fork(block) => return self.hand_to_branch(block, sample, wait),
        };
        match (to, self.worker_id) {
            (None, _) => Push::Shut(sample.value),
            (Some(buffer), WorkerId::Source) => buffer.push(sample, arrival, origin, wait),
            (Some(buffer), WorkerId::Stage { index, .. }) => {
                self.push_in_turn(index, buffer, sample, arrival, origin, wait)
            }
        }
    }

    /// Hands a sample to one branch of a block: the first value to the first, the second to the second, and so on.
    fn hand_to_branch(&mut self, block: usize, sample: Sample<V>, wait: Wait) -> Push<V> {
        let (Step::Running(hand), Some(Branches { nodes, join })) = (&mut self.step, self.home.block(block)) else {
            return Push::Shut(sample.value);
        };
        let branch = hand.parts as usize;
        let buffer = nodes.get(branch).and_then(|(first, _)| self.home.buffer(*first));
        let Some(buffer) = buffer else { return Push::Shut(sample.value) };
        let fork = match join {
            Some(join) => *hand.forked.get_or_insert_with(|| join.enter(sample.id, sample.birth, sample.fork)),
            None => sample.fork,
        };
        let pushed = buffer.push(Sample { fork, ..sample }, Arrival::Stage, Origin::default(), wait);
        if let (Push::Done { .. } | Push::Discarded(_), Some(_)) = (&pushed, join)
            && branch + 1 == nodes.len()
        {
            self.home.has_forked(block, fork);
        }
        pushed
    }

    /// Returns why a value cannot be joined, if it cannot: what is given beside the one result of a sample has nothing
    /// to be joined with.
    fn why_not_joined(&self, flow: Flow, part: Part) -> Option<&'static str> {
        let WorkerId::Stage { index, .. } = self.worker_id else { return None };
        if !self.home.is_joined(index) || matches!(flow, Flow::Fork(_)) {
            return None;
        }
        match (&self.step, part) {
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
    fn push_in_turn(
        &self,
        index: usize,
        output: &Buffer<V>,
        mut sample: Sample<V>,
        arrival: Arrival,
        origin: Origin,
        wait: Wait,
    ) -> Push<V> {
        let Sample { id, birth, fork, .. } = sample;
        loop {
            let overdue_at = origin.turn.and(self.home.buffer(index)).and_then(Buffer::overdue_at);
            match output.push(sample, arrival, origin, wait.no_later_than(overdue_at)) {
                Push::Full(value) if overdue_at.is_some() => {
                    if !self.give_up_overdue(index, true) && wait.is_over(self.home.clock().now()) {
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
            Step::Running(hand) if hand.leave_out > 0 => {
                hand.leave_out -= 1;
                true
            }
            _ => false,
        }
    }

    /// Returns the identity of a value, and how it arrives: as the sample in flight, as a part of it or, while
    /// finishing, of the last one, and under number 0 where there never was one (the source's samples get theirs in the
    /// buffer).
    fn identity(&self, flow: Flow, part: Part) -> (SampleId, Instant, Arrival) {
        let Some(SampleInfo { id, birth }) = self.last else {
            let birth = self.waiting_since.unwrap_or_else(|| self.home.clock().now());
            let arrival = if self.worker_id == WorkerId::Source { Arrival::Source } else { Arrival::PartOfPart };
            return (SampleId { number: 0, part: 0 }, birth, arrival);
        };
        let is_part = part == Part::OfMany || matches!(self.step, Step::Finishing);
        match id.part {
            // Every branch gets a copy of the same sample.
            _ if !is_part || matches!(flow, Flow::Fork(_)) => (id, birth, Arrival::Stage),
            0 => (SampleId { part: self.parts + 1, ..id }, birth, Arrival::PartOfWhole),
            _ => (id, birth, Arrival::PartOfPart),
        }
    }
}
