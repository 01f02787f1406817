//! The worker that puts samples together with the results of their parts: it takes the oldest, and waits until each of
//! its parts has a result or has ended.

use super::in_flight::InFlight;
use super::{Call, Ending, Step, Worker};
use crate::activity::Activity;
use crate::buffer::{Taken, Wait};
use crate::ledger::Fate;
use crate::parallel::Gathered;
use crate::sample::{Input, Sample};
use crate::unwind::release;
use std::task::Poll;

impl<V> Worker<V> {
    /// Begins to wait for the parts of what was taken.
    pub(super) fn begin_to_gather(&mut self, input: Input<V>, taken: Taken) {
        if let Input::One(sample) = input {
            self.gathering = Some(Box::new((sample, taken)));
            self.step = Step::Gathering;
        }
    }

    /// Puts what was taken together with the results of its parts; `None` when the worker is to look at its step again.
    pub(super) fn gather(&mut self, wait: Wait) -> Option<Poll<Option<Call<V>>>> {
        self.step = Step::Idle;
        let (sample, taken) = *self.gathering.take()?;
        let (blocks, block) = self.context.gathers.as_ref()?;
        self.context.activity.set(Activity::WaitsForSamples);
        let (ticket, gathered) = (sample.fork, blocks.gather(*block, sample.fork, wait));
        let (outer, results) = match gathered {
            Gathered::Complete(outer, results) => (outer, results),
            Gathered::NotYet => {
                self.gathering = Some(Box::new((sample, taken)));
                self.step = Step::Gathering;
                return Some(Poll::Pending);
            }
            // A flush or a stop may have taken it out of its buffer, or no part of it may go on.
            Gathered::GivenUp => {
                self.end_gathering(sample, taken, Fate::Skipped);
                return None;
            }
            Gathered::Failed => {
                self.end_gathering(sample, taken, Fate::Discarded);
                return None;
            }
        };

        let Sample { id, birth, source, value, .. } = sample;
        let together = blocks.put_together(*block, value, results);
        self.gathered = Some(ticket);
        // What waited for parts did not work.
        let taken = Taken { at: self.context.clock.moment(), fork: outer, ..taken };
        match together {
            Ok(value) => Some(self.run(Input::One(Sample { id, birth, fork: outer, source, value }), taken)),
            Err(cause) => {
                let info = Sample { id, birth, fork: outer, source, value: () }.info();
                self.take_into_flight(info, 1, taken);
                self.settle(Ending::Failed(cause));
                None
            }
        }
    }

    /// Ends what was taken, without a call.
    fn end_gathering(&mut self, sample: Sample<V>, taken: Taken, fate: Fate) {
        self.gathered = Some(sample.fork);
        self.count(InFlight::new(sample.info(), 1, taken), fate);
        match &self.context.input {
            Some(inlet) if inlet.buffer.limits().fates => inlet.keep_value(sample.id, sample.value),
            _ => release(sample.value),
        }
    }

    /// Gives up what was taken, since the worker ends too early.
    pub(super) fn give_up_gathering(&mut self) {
        if let Some((sample, taken)) = self.gathering.take().map(|gathering| *gathering) {
            self.end_gathering(sample, taken, Fate::Discarded);
        }
    }

    /// Notes that the last that was put together has gone on: it may have ended already, and who looked found it here.
    #[cold]
    pub(super) fn has_gathered(&mut self) {
        // First, so that an end is told while the sample is known.
        self.flush();
        let Some((blocks, block)) = &self.context.gathers else { return };
        if let Some(outer) = self.gathered.take().and_then(|ticket| blocks.has_left(*block, ticket))
            && !outer.is_none()
        {
            self.context.control.has_gone_on(outer);
        }
    }
}
