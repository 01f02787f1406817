//! The samples that a stage works on, and how long it has been working on them.

use crate::buffer::{Lease, Member, Receipt, Settlement, Taken};
use crate::clock::{Clock, Moment};
use crate::ledger::Fate;
use crate::sample::{ForkTicket, SampleId, SampleInfo};
use crate::worker::Part;

/// The samples that `stage_run` is working on.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) samples: u64,
    /// Samples kept before that its list uses, too.
    pub(crate) windowed: u64,
    /// The sample whose result comes next: for a list of which none has come, the newest.
    pub(crate) present: SampleInfo,
    pub(crate) fork: ForkTicket,
    /// True if somebody waits for an answer to it, or to another sample of the list.
    pub(crate) is_awaited: bool,
    /// Nanoseconds in `stage_run`.
    pub(crate) busy: u64,
    /// `None` while the worker waits for room in the next buffer.
    running_since: Option<Moment>,
    /// The time when it last ended a call, or began to wait for room.
    pub(crate) paused_at: Moment,
    /// The ticket of the take.
    pub(crate) ticket: u64,
    /// Its slots, where the samples came from another process.
    pub(crate) lease: Option<Lease>,
    /// Parts given so far, those included that a worker before this one gave.
    pub(crate) parts: u64,
    /// True if it has given parts.
    pub(crate) is_split: bool,
    /// Parts still to come that were given before: by a worker before this one, or in a try before this one.
    pub(crate) leave_out: u64,
    /// The number of times that the stage has failed on it.
    pub(crate) failures: u32,
    /// The samples that it took, where each has a result of its own.
    pub(crate) batch: Option<Box<Batch>>,
}

/// The samples of one take, each with a result of its own: they get their fates one after the other.
#[derive(Debug)]
pub(crate) struct Batch {
    members: Box<[Member]>,
    /// The index of the present one: those before it have their fates.
    at: usize,
    /// True if the stage is run on the present one alone, and has not given its result.
    pub(crate) alone: bool,
    /// Results that have come and not gone on, the first of them the present one's or that of the one behind it.
    pub(crate) to_come: usize,
}

impl Batch {
    /// The index of the present one in what was taken.
    pub(crate) fn present(&self) -> usize {
        self.at
    }

    /// Returns the number of samples without a fate.
    pub(crate) fn left(&self) -> usize {
        self.members.len() - self.at
    }

    /// Notes that the result of the present one has come to its end; true if the stage was run on it alone.
    pub(crate) fn end_result(&mut self) -> bool {
        let was_alone = std::mem::replace(&mut self.alone, false);
        self.to_come -= usize::from(!was_alone);
        was_alone
    }
}

impl InFlight {
    /// Makes the record of what has just been taken.
    #[inline(always)]
    pub(crate) fn new(newest: SampleInfo, samples: u64, taken: Taken) -> Self {
        let (busy, running_since, paused_at) = (0, None, taken.at);
        let Taken { ticket, at, fork, lease, given, failures, members, .. } = taken;
        let batch = members.map(|members| Box::new(Batch { members, at: 0, alone: false, to_come: 0 }));
        let mut in_flight = InFlight {
            samples,
            windowed: 0,
            present: newest,
            fork,
            is_awaited: !fork.is_none(),
            busy,
            running_since,
            paused_at,
            ticket,
            lease,
            parts: given,
            is_split: given > 0,
            leave_out: given,
            failures,
            batch,
        };
        in_flight.run(at);
        in_flight
    }

    /// Notes that the user's code is not running now. Reads the clock only if it was: at small samples that is what a
    /// hop costs.
    #[inline(always)]
    pub(crate) fn pause(&mut self, clock: &Clock) {
        if let Some(since) = self.running_since.take() {
            self.paused_at = clock.moment();
            self.busy += self.paused_at.since(since);
            self.show_running(None);
        }
    }

    #[inline(always)]
    pub(crate) fn run(&mut self, now: Moment) {
        self.running_since = Some(now);
        self.show_running(Some(now));
    }

    /// Lets the supervisor see from outside of a process how long the user's code has been running.
    fn show_running(&self, since: Option<Moment>) {
        if let Some(lease) = &self.lease {
            lease.set_running_since(since.map(|since| since.0));
        }
    }

    /// The index of the present sample in what was taken; 0 where the samples have no fate of their own.
    pub(crate) fn index(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.at)
    }

    /// Returns the sample at that index of what was taken, where each has a fate of its own.
    pub(crate) fn sample_at(&self, index: usize) -> Option<SampleId> {
        match &self.batch {
            Some(batch) => batch.members.get(index).map(|member| member.info.id),
            None => (self.samples == 1 && index == 0).then_some(self.present.id),
        }
    }

    /// Returns what is to be settled, of a call that took so many nanoseconds if one has ended.
    #[inline(always)]
    pub(crate) fn settlement(&self, fate: Fate, took: Option<u64>) -> Settlement {
        let age = self.paused_at.since(self.present.birth);
        Settlement { fate, windowed: self.windowed, took, age, ended_at: self.paused_at.0, is_split: self.is_split }
    }

    /// Goes on with the next sample of a batch; true if its result is here, otherwise the stage is run on it alone.
    pub(crate) fn go_on_with_next(&mut self) -> bool {
        let Some(batch) = &mut self.batch else { return false };
        let (next, has_result) = (batch.at + 1, batch.to_come > 0);
        batch.alone = !has_result;
        self.stand_at(next);
        has_result
    }

    /// Goes on with the first sample of a batch that has no fate, on which the stage is run alone.
    pub(crate) fn go_on_alone(&mut self) {
        let Some(batch) = &mut self.batch else { return };
        batch.alone = true;
        let present = batch.at;
        self.stand_at(present);
    }

    /// Makes that sample of a batch the present one, from the first on that has no fate.
    pub(crate) fn stand_at(&mut self, index: usize) {
        let Some(batch) = &mut self.batch else { return };
        batch.at = index;
        let Member { info, fork, given, failures, .. } = batch.members[index];
        (self.present, self.fork, self.failures) = (info, fork, failures);
        (self.parts, self.leave_out, self.is_split) = (given, given, given > 0);
    }

    /// Returns the samples of a batch that have no fate.
    pub(crate) fn left(&self) -> Option<&[Member]> {
        self.batch.as_ref().map(|batch| &batch.members[batch.at..])
    }

    /// Returns true if the results of all samples of a batch are here that have no fate.
    pub(crate) fn are_all_results_here(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.to_come == batch.left())
    }

    /// Notes that no result is waited for any longer.
    pub(crate) fn end_results(&mut self) {
        if let Some(batch) = &mut self.batch {
            batch.to_come = 0;
        }
    }

    /// Notes that the stage has failed once more: on the present sample, or on all of a batch.
    pub(crate) fn note_failure(&mut self, of_all: bool) {
        self.failures += 1;
        match &mut self.batch {
            Some(batch) if of_all => {
                let left = &mut batch.members[batch.at..];
                left.iter_mut().for_each(|member| member.failures += 1);
                if let Some(lease) = &self.lease {
                    lease.note_failures(left.iter().map(|member| member.failures));
                }
            }
            _ => {
                let samples = if self.batch.is_some() { 1 } else { usize::MAX };
                if let Some(lease) = &self.lease {
                    lease.note_failures(std::iter::repeat_n(self.failures, samples));
                }
            }
        }
    }

    /// Returns what the next buffer is to remember of a value given now.
    pub(crate) fn receipt(&self, part: Part) -> Option<Receipt> {
        let parts = (part == Part::OfMany).then_some(self.parts + 1);
        let sample = self.batch.as_ref().map_or(0, |batch| batch.members[batch.at].entered);
        self.lease.as_ref().map(|lease| lease.receipt(self.ticket, sample, parts))
    }
}
