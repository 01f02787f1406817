//! The end of a call: what it means for the worker, for what it has in flight, and for the pipeline.

use super::in_flight::InFlight;
use super::{Ending, FailedOn, LogEvent, Step, Worker};
use crate::activity::Activity;
use crate::aside;
use crate::buffer::Unsettled;
use crate::error::{Doing, Failure};
use crate::ledger::Fate;
use crate::phase::WorkerEvent;
use crate::policies::ErrorPolicy;
use crate::sample::{SampleId, SampleInfo};
use crate::unwind::{BoxError, release};
use std::sync::Arc;
use std::time::Duration;

impl<V> Worker<V> {
    /// Ends the call after everything it gave has been handed over.
    pub fn settle(&mut self, ending: Ending) -> LogEvent {
        match std::mem::replace(&mut self.step, Step::Ended) {
            Step::SettingUp => self.settle_setup(ending),
            Step::Running(in_flight) => self.settle_run(in_flight, ending),
            Step::Opening => self.settle_open(ending),
            Step::Pulling => self.settle_pull(ending),
            Step::Updating(number) => self.settle_update(number, ending),
            Step::Discarding(number) | Step::Exchanging(number) => self.settle_exchange(number, ending),
            Step::Finishing(Some(number)) => self.settle_retired(number, ending),
            Step::Finishing(None) => self.settle_finish(ending),
            Step::TearingDown => {
                let event = self.fail_if(ending, Doing::Teardown);
                self.end();
                event
            }
            idle @ (Step::Fresh
            | Step::WaitingForOthers
            | Step::Idle
            | Step::Trying(_)
            | Step::HearsUpdates
            | Step::Retiring(_)
            | Step::Retired(_)
            | Step::Leaving
            | Step::Gathering
            | Step::GivingUp
            | Step::Ended) => {
                self.step = idle;
                LogEvent::Nothing
            }
        }
    }

    fn settle_setup(&mut self, ending: Ending) -> LogEvent {
        if let Ending::Failed(cause) = ending {
            let event = self.fail(Doing::Setup, None, cause);
            self.end();
            return event;
        }
        self.step = Step::WaitingForOthers;
        // Before anybody may see that it is up: it is in no call of the user's any more.
        self.context.activity.set(Activity::WaitsForSamples);
        self.advance(WorkerEvent::SetUp);
        LogEvent::Nothing
    }

    fn settle_finish(&mut self, ending: Ending) -> LogEvent {
        // The turn first: nothing that others took later may go on once the failure is told.
        if matches!(ending, Ending::Failed(_)) {
            self.fail_turn();
        }
        let event = self.fail_if(ending, Doing::Finish);
        self.finish_turn();
        if let Some(buffer) = self.context.input() {
            buffer.end_finish(self.context.worker());
        }
        self.give_up();
        event
    }

    /// Settles a call of `stage_run`, or one of the results that it gave for the samples of a batch.
    #[inline(always)]
    fn settle_run(&mut self, mut in_flight: InFlight, ending: Ending) -> LogEvent {
        self.context.show_running(None);
        in_flight.pause(&self.context.clock);
        self.context.activity.set_since(in_flight.paused_at);
        match in_flight.batch {
            None => self.settle_all(in_flight, ending),
            Some(_) => self.settle_batch(in_flight, ending),
        }
    }

    /// Settles what came of a batch: of all of it where the call gave no results, otherwise of the present sample.
    fn settle_batch(&mut self, mut in_flight: InFlight, ending: Ending) -> LogEvent {
        let on_error = self.context.options.on_error;
        let Some(batch) = &mut in_flight.batch else { return self.settle_all(in_flight, ending) };
        if !batch.alone && batch.to_come == 0 {
            return match ending {
                Ending::Failed(cause) if on_error != ErrorPolicy::Stop && batch.left() > 1 => {
                    self.try_each_alone(in_flight, &cause)
                }
                ending => self.settle_all(in_flight, ending),
            };
        }

        let was_alone = batch.end_result();
        let is_last = batch.left() == 1;
        match ending {
            Ending::Failed(cause) if in_flight.failures < on_error.retries() => self.try_again(in_flight, &cause),
            Ending::Failed(_) if on_error.stops() => self.settle_all(in_flight, ending),
            ending if is_last => self.settle_all(in_flight, ending),
            ending => self.settle_first(in_flight, ending, was_alone),
        }
    }

    /// Gives the present sample of a batch its fate, and goes on with the next: with its result, or with the stage.
    fn settle_first(&mut self, mut in_flight: InFlight, ending: Ending, was_alone: bool) -> LogEvent {
        let fate = match ending {
            Ending::Gave(true) | Ending::Exhausted | Ending::Windowed => Fate::Used,
            Ending::Gave(false) => Fate::Skipped,
            Ending::Failed(_) => Fate::Failed,
        };
        let sample = in_flight.present.id;
        let failure = match ending {
            Ending::Failed(cause) => {
                self.tell_values(&in_flight, true);
                Some(self.failure(Doing::StageRun, Some(sample), cause))
            }
            Ending::Gave(_) | Ending::Exhausted | Ending::Windowed => None,
        };
        // First, so that it is there when the sample is counted.
        if let Some(failure) = failure.as_ref().filter(|_| in_flight.is_awaited || self.context.tells_fates()) {
            let failed = FailedOn { take: in_flight.ticket, only: Some(sample) };
            self.context.control.tell_failure(self.context.worker_id, failed, Arc::clone(failure));
        }
        let took = was_alone.then(|| std::mem::take(&mut in_flight.busy));
        let settlement = in_flight.settlement(fate, took);
        if let Some(buffer) = self.context.input() {
            buffer.settle_first(self.context.worker(), in_flight.ticket, in_flight.lease.as_mut(), settlement);
        }

        let has_result = in_flight.go_on_with_next();
        self.stands_at(in_flight.present, in_flight.parts);
        self.step = if has_result { Step::Running(in_flight) } else { Step::Trying(in_flight) };
        match failure {
            Some(failure) => self.skip_failed(sample, failure),
            None => self.warn_if_slow(sample, Duration::from_nanos(took.unwrap_or(0))),
        }
    }

    /// Tells the values on which the stage has failed for good, where they are still there: of all that is in flight, or
    /// only of the first of a batch.
    #[cold]
    fn tell_values(&mut self, in_flight: &InFlight, first_only: bool) {
        let only = first_only.then(|| in_flight.index());
        let values = self.failed_values.take(in_flight.ticket, only);
        if !self.context.tells_fates() {
            return values.into_iter().for_each(release);
        }
        let Some(inlet) = &self.context.input else { return };
        if let Some(lease) = &in_flight.lease {
            // As they came, whatever the stage has made of the value.
            let at_most = if first_only { 1 } else { usize::MAX };
            for (sample, bytes) in lease.bytes(at_most) {
                let bytes = self.context.control.tell_bytes(sample, bytes);
                if let Some(Ok(value)) = bytes.map(|bytes| inlet.buffer.read_bytes(bytes)) {
                    inlet.keep_value(sample, value);
                }
            }
            return values.into_iter().for_each(release);
        }
        let takes_whole_lists = in_flight.batch.is_none() && self.context.options.intake.takes_lists();
        for (index, value) in values {
            match in_flight.sample_at(index).filter(|_| !takes_whole_lists && index >= in_flight.index()) {
                Some(sample) => inlet.keep_value(sample, value),
                None => release(value),
            }
        }
    }

    /// Lets the stage run on each sample of a batch alone, as it has failed on all of them together.
    fn try_each_alone(&mut self, mut in_flight: InFlight, cause: &BoxError) -> LogEvent {
        let (stage, samples, cause) = (self.name().to_owned(), in_flight.samples, aside::shown(cause));
        aside::log(move || {
            tracing::warn!(stage, "runs on each of a batch of {samples} alone, after an error: {cause}")
        });
        self.failed_values.release();
        in_flight.note_failure(true);
        in_flight.go_on_alone();
        self.stands_at(in_flight.present, in_flight.parts);
        self.step = Step::Trying(in_flight);
        LogEvent::RetriedFailure
    }

    /// Makes the present sample of a batch the one that the user's code sees, and whose parts are numbered.
    pub(super) fn stands_at(&mut self, present: SampleInfo, parts: u64) {
        (self.last, self.parts) = (Some(present), parts);
        self.context.enter(self.last);
    }

    /// Settles what is in flight: another try, or its fate and what follows from it.
    #[inline(always)]
    fn settle_all(&mut self, in_flight: InFlight, ending: Ending) -> LogEvent {
        let on_error = self.context.options.on_error;
        let ending = match ending {
            Ending::Failed(cause) if in_flight.failures < on_error.retries() => {
                if self.is_flight_cut_off(&in_flight) {
                    return self.flush_failed(in_flight, &cause);
                }
                return self.try_again(in_flight, &cause);
            }
            ending => ending,
        };

        // A failure that stops the pipeline also stops what other workers took later.
        if matches!(ending, Ending::Failed(_)) && on_error.stops() {
            self.fail_turn();
        }
        self.finish_turn();
        let (sample, took) = (in_flight.present.id, Duration::from_nanos(in_flight.busy));
        let (take, is_awaited) = (in_flight.ticket, in_flight.is_awaited);
        if let Ending::Failed(_) | Ending::Each(_) = ending {
            self.tell_values(&in_flight, false);
        }
        match &ending {
            Ending::Gave(true) | Ending::Exhausted => self.count(in_flight, Fate::Used),
            Ending::Gave(false) => self.count(in_flight, Fate::Skipped),
            Ending::Windowed => self.keep_for_window(in_flight),
            Ending::Failed(_) | Ending::Each(_) => self.count(in_flight, Fate::Failed),
        }

        self.step = Step::Idle;
        match ending {
            Ending::Failed(cause) => {
                let is_told = is_awaited || self.context.tells_fates();
                self.failed_for_good(sample, is_told.then_some(take), cause)
            }
            _ => self.warn_if_slow(sample, took),
        }
    }

    /// Lets the stage run once more on what it has failed on; the parts that went on are left out then.
    fn try_again(&mut self, mut in_flight: InFlight, cause: &BoxError) -> LogEvent {
        let (stage, sample, cause) = (self.name().to_owned(), in_flight.present.id, aside::shown(cause));
        aside::log(move || tracing::warn!(stage, %sample, "tried again after an error: {cause}"));
        self.failed_values.take(in_flight.ticket, Some(in_flight.index())).into_iter().for_each(release);
        in_flight.note_failure(false);
        in_flight.leave_out = in_flight.parts;
        if let Some(batch) = &mut in_flight.batch {
            batch.alone = true;
        }
        self.step = Step::Trying(in_flight);
        LogEvent::RetriedFailure
    }

    /// Ends what the stage has failed on, which would have been tried again if no flush had come meanwhile.
    fn flush_failed(&mut self, in_flight: InFlight, cause: &BoxError) -> LogEvent {
        self.failed_values.release();
        self.finish_turn();
        let (stage, sample, cause) = (self.name().to_owned(), in_flight.present.id, aside::shown(cause));
        self.count(in_flight, Fate::Flushed);
        self.step = Step::Idle;
        aside::log(
            move || tracing::warn!(stage, %sample, "not tried again after an error, since it was flushed: {cause}"),
        );
        LogEvent::SkippedFailure
    }

    /// Does what the error policy says after the last try. Who waits for a sample of that take is told the error.
    fn failed_for_good(&mut self, sample: SampleId, take: Option<u64>, cause: BoxError) -> LogEvent {
        let failure = self.failure(Doing::StageRun, Some(sample), cause);
        // First, so that it is there when the sample is counted.
        if let Some(take) = take {
            let failed = FailedOn { take, only: None };
            self.context.control.tell_failure(self.context.worker_id, failed, Arc::clone(&failure));
        }
        if self.context.options.on_error.stops() {
            // The report of the failure counts the sample, too.
            self.flush();
            let event = self.tell_fail(failure);
            self.give_up();
            return event;
        }
        self.skip_failed(sample, failure)
    }

    fn skip_failed(&self, sample: SampleId, failure: Arc<Failure>) -> LogEvent {
        let (stage, cause) = (self.name().to_owned(), aside::shown(&failure.cause));
        aside::log(move || tracing::warn!(stage, %sample, "skipped after an error: {cause}"));
        release(failure);
        LogEvent::SkippedFailure
    }

    fn warn_if_slow(&self, sample: SampleId, took: Duration) -> LogEvent {
        let Some(limit) = self.context.options.time_limit.filter(|limit| took > *limit) else {
            return LogEvent::Nothing;
        };
        let stage = self.name().to_owned();
        aside::log(move || tracing::warn!(stage, %sample, "took {took:?}, over its time_limit of {limit:?}"));
        LogEvent::OverTimeout
    }

    fn fail_if(&self, ending: Ending, doing: Doing) -> LogEvent {
        match ending {
            Ending::Failed(cause) => self.fail(doing, None, cause),
            _ => LogEvent::Nothing,
        }
    }

    /// Ends the turn of what was taken last: nothing more comes of it.
    #[inline(always)]
    pub(super) fn finish_turn(&mut self) {
        if let Some(ticket) = self.turn.take() {
            self.end_turn(ticket);
        }
    }

    /// Notes that the stage has failed for good on what was taken last; what its other workers took later does not go
    /// on.
    pub(super) fn fail_turn(&mut self) {
        if let Some(ticket) = self.turn.take()
            && let Some(buffer) = self.context.output()
        {
            buffer.fail_turn(ticket).release();
        }
    }

    /// Notes the fate of the samples in flight, which is settled with the next take or, if none follows, by `flush`.
    #[inline(always)]
    pub(super) fn count(&mut self, in_flight: InFlight, fate: Fate) {
        let settlement = in_flight.settlement(fate, Some(in_flight.busy));
        self.unsettled = Some(Unsettled { ticket: in_flight.ticket, lease: in_flight.lease, settlement });
    }

    /// Settles what is not settled yet.
    pub(super) fn flush(&mut self) {
        if let (Some(unsettled), Some(buffer)) = (self.unsettled.take(), self.context.input()) {
            buffer.settle(self.context.worker(), unsettled);
        }
    }

    /// Keeps the sample in flight for a later list of the stage.
    fn keep_for_window(&mut self, in_flight: InFlight) {
        self.windowed += in_flight.samples;
        match (in_flight.lease, self.context.input()) {
            (Some(lease), _) => lease.keep_for_window(),
            (None, Some(buffer)) => buffer.keep_for_window(self.context.worker(), in_flight.ticket),
            (None, None) => {}
        }
    }

    pub(super) fn fail(&self, doing: Doing, sample: Option<SampleId>, cause: BoxError) -> LogEvent {
        self.tell_fail(self.failure(doing, sample, cause))
    }

    fn failure(&self, doing: Doing, sample: Option<SampleId>, cause: BoxError) -> Arc<Failure> {
        Arc::new(Failure { stage: self.name().to_owned(), doing, sample, cause })
    }

    fn tell_fail(&self, failure: Arc<Failure>) -> LogEvent {
        match self.context.control.fail(self.context.worker_id, failure) {
            true => LogEvent::Nothing,
            false => LogEvent::LaterFailure,
        }
    }

    /// Gives nothing more: what is left is `teardown`.
    pub(super) fn give_up(&mut self) {
        self.flush();
        self.skip_all_windowed();
        self.step = Step::GivingUp;
        self.advance(WorkerEvent::Done);
    }
}
