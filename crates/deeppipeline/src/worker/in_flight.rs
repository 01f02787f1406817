//! The samples that a stage works on, and how long it has been working on them.

use crate::buffer::{Lease, Receipt, Taken};
use crate::clock::{Clock, Moment};
use crate::sample::{ForkTicket, SampleInfo};
use crate::worker::Part;

/// The samples that `stage_run` is working on.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) samples: u64,
    /// Samples kept before that its list uses, too.
    pub(crate) windowed: u64,
    pub(crate) newest: SampleInfo,
    pub(crate) fork: ForkTicket,
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
    /// Parts still to come that were given before: by a worker before this one, or in a try before this one.
    pub(crate) leave_out: u64,
    /// The number of times that the stage has failed on it.
    pub(crate) failures: u32,
}

impl InFlight {
    /// Makes the record of what has just been taken.
    #[inline(always)]
    pub(crate) fn new(newest: SampleInfo, samples: u64, taken: Taken) -> Self {
        let (busy, running_since, paused_at) = (0, None, taken.at);
        let Taken { ticket, at, fork, lease, given, failures, .. } = taken;
        let mut in_flight = InFlight {
            samples,
            windowed: 0,
            newest,
            fork,
            busy,
            running_since,
            paused_at,
            ticket,
            lease,
            parts: given,
            leave_out: given,
            failures,
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

    /// Returns what the next buffer is to remember of a value given now.
    pub(crate) fn receipt(&self, part: Part) -> Option<Receipt> {
        let parts = (part == Part::OfMany).then_some(self.parts + 1);
        self.lease.as_ref().map(|lease| lease.receipt(self.ticket, parts))
    }
}
