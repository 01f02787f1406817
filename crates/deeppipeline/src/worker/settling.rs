//! The end of a call: what it means for the worker, for what it has in flight, and for the pipeline.

use super::in_flight::InFlight;
use super::{Ending, LogEvent, Step, Worker};
use crate::aside;
use crate::buffer::{Settlement, Unsettled};
use crate::error::{Doing, Failure};
use crate::ledger::Fate;
use crate::phase::WorkerEvent;
use crate::sample::SampleId;
use crate::unwind::BoxError;
use std::time::Duration;

impl<V> Worker<V> {
    /// Ends the call after everything it gave has been handed over.
    pub fn settle(&mut self, ending: Ending) -> LogEvent {
        match std::mem::replace(&mut self.step, Step::Ended) {
            Step::SettingUp => self.settle_setup(ending),
            Step::Running(in_flight) => self.settle_run(in_flight, ending),
            Step::Pulling => self.settle_pull(ending),
            Step::Finishing => self.settle_finish(ending),
            Step::TearingDown => {
                let event = self.fail_if(ending, Doing::Teardown);
                self.end();
                event
            }
            idle @ (Step::Fresh
            | Step::WaitingForOthers
            | Step::Idle
            | Step::Trying(_)
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
        self.advance(WorkerEvent::SetUp);
        LogEvent::Nothing
    }

    fn settle_pull(&mut self, ending: Ending) -> LogEvent {
        self.context.show_source_asked(false);
        match ending {
            Ending::Gave(_) | Ending::Windowed => {
                self.step = Step::Idle;
                LogEvent::Nothing
            }
            Ending::Exhausted => {
                self.give_up();
                LogEvent::Nothing
            }
            Ending::Failed(cause) => {
                let event = self.fail(Doing::SourceNext, None, cause);
                self.give_up();
                event
            }
        }
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

    /// Settles a call of `stage_run`: another try, or the fate of what is in flight and what follows from it.
    #[inline(always)]
    fn settle_run(&mut self, mut in_flight: InFlight, ending: Ending) -> LogEvent {
        self.context.show_running(None);
        in_flight.pause(&self.context.clock);
        let on_error = self.context.options.on_error;
        let ending = match ending {
            Ending::Failed(cause) if in_flight.failures < on_error.retries() => {
                if in_flight.newest.has_entered_before((self.context.info.last_cut)()) {
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
        let (newest, took) = (in_flight.newest.id, Duration::from_nanos(in_flight.busy));
        match &ending {
            Ending::Gave(true) | Ending::Exhausted => self.count(in_flight, Fate::Used),
            Ending::Gave(false) => self.count(in_flight, Fate::Skipped),
            Ending::Windowed => self.keep_for_window(in_flight),
            Ending::Failed(_) => self.count(in_flight, Fate::Failed),
        }

        self.step = Step::Idle;
        match ending {
            Ending::Failed(cause) => self.failed_for_good(newest, cause),
            _ => self.warn_if_slow(newest, took),
        }
    }

    /// Lets the stage run once more on what it has failed on; the parts that went on are left out then.
    fn try_again(&mut self, mut in_flight: InFlight, cause: &BoxError) -> LogEvent {
        let (stage, sample, cause) = (self.name().to_owned(), in_flight.newest.id, aside::shown(cause));
        aside::log(move || tracing::warn!(stage, %sample, "tried again after an error: {cause}"));
        in_flight.failures += 1;
        in_flight.leave_out = in_flight.parts;
        if let Some(lease) = &in_flight.lease {
            lease.note_failures(in_flight.failures);
        }
        self.step = Step::Trying(in_flight);
        LogEvent::RetriedFailure
    }

    /// Ends what the stage has failed on, which would have been tried again if no flush had come meanwhile.
    fn flush_failed(&mut self, in_flight: InFlight, cause: &BoxError) -> LogEvent {
        self.finish_turn();
        let (stage, sample, cause) = (self.name().to_owned(), in_flight.newest.id, aside::shown(cause));
        self.count(in_flight, Fate::Flushed);
        self.step = Step::Idle;
        aside::log(
            move || tracing::warn!(stage, %sample, "not tried again after an error, since it was flushed: {cause}"),
        );
        LogEvent::SkippedFailure
    }

    /// Does what the error policy says after the last try.
    fn failed_for_good(&mut self, sample: SampleId, cause: BoxError) -> LogEvent {
        if self.context.options.on_error.stops() {
            // The report of the failure counts the sample, too.
            self.flush();
            let event = self.fail(Doing::StageRun, Some(sample), cause);
            self.give_up();
            return event;
        }
        let (stage, cause) = (self.name().to_owned(), aside::shown(&cause));
        aside::log(move || tracing::warn!(stage, %sample, "skipped after an error: {cause}"));
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
        let age = in_flight.paused_at.since(in_flight.newest.birth);
        let settlement = Settlement {
            fate,
            windowed: in_flight.windowed,
            took: in_flight.busy,
            age,
            ended_at: in_flight.paused_at.0,
        };
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
        let stage = self.name().to_owned();
        match self.context.control.fail(self.context.worker_id, Failure { stage, doing, sample, cause }) {
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
