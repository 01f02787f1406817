//! One worker's two calls: `next` says what to do, `done` takes what came of it.
//!
//! The loop over the two is the executor's: a Rust thread, a Python thread and a simulation drive the same two calls.
//! The only user code called from here is the iterator of a Rust stage's `Many`; Python iterates its own. The file is
//! long because it holds the whole life of a worker; `taking.rs` and `giving.rs` are what it does with samples.

mod giving;
mod in_flight;
mod taking;

use crate::activity::Activity;
use crate::aside;
use crate::buffer::{Settlement, Take, Unsettled, Wait};
use crate::clock::in_nanoseconds;
use crate::error::{BoxError, Doing, Failure};
use crate::executor::free;
use crate::graph::Flow;
use crate::home::Home;
use crate::intake::Input;
use crate::ledger::Fate;
use crate::phase::WorkerEvent;
use crate::sample::{SampleId, SampleInfo, enter_job, leave_job, works_for};
use crate::stage::Give;
use in_flight::InFlight;
use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

/// The outcome for a value that was handed on.
#[derive(Debug)]
pub struct Given<V> {
    /// The value that was dropped for it, or the value itself where it went nowhere or was copied: to be released by
    /// the caller.
    pub to_free: Option<V>,
    /// True if the call's next value is wanted. Not once what comes of it is discarded: a caller that makes many stops
    /// there.
    pub wants_more: bool,
}

/// The reason why a value was not handed on.
#[derive(Debug)]
pub enum GiveError<V> {
    /// The buffer is full under `block`, and the caller would not wait any longer.
    Full(V),
    /// It cannot cross to the process of the next stage.
    Refused(V, BoxError),
}

/// The identity of a worker in its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkerId {
    /// Feeds the first buffer.
    Source,
    /// Runs the stage at this index.
    Stage {
        /// The index of the stage, from 0.
        index: usize,
        /// The index among the stage's workers, from 0.
        worker: usize,
    },
}

/// A call: what a worker is asked to do next.
#[derive(Debug)]
pub enum Call<V> {
    /// The call of `setup`.
    Setup,
    /// The call of `stage_run` with this.
    StageRun(Input<V>),
    /// Another call of `stage_run` with what it got last, of which this is a copy where one can be made.
    RunAgain(Option<Input<V>>),
    /// The call that asks the source for its next sample.
    SourceNext,
    /// The call of `finish`.
    Finish,
    /// The call of `teardown`.
    Teardown,
}

/// The outcome of a call.
#[derive(Debug)]
pub enum Done<V> {
    /// The call returned this. After `setup` and `teardown` it is ignored.
    Gave(Give<V>),
    /// The source has no more samples.
    Exhausted,
    /// The stage keeps the sample: a later list will use it.
    Windowed,
    /// The call failed.
    Failed(BoxError),
}

/// The ending of a call, once everything it gave has been handed over with [`Worker::give`].
#[derive(Debug)]
pub enum Ending {
    /// It returned.
    Returned,
    /// It returned SKIP, or a Many without values.
    Skipped,
    /// The stage keeps the sample: a later list will use it.
    Windowed,
    /// The source has no more samples.
    Exhausted,
    /// It failed.
    Failed(BoxError),
}

/// The fates of samples that a stage has kept for a later list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Windowed {
    /// The number of them that are in the list that the present call got.
    pub used: u64,
    /// The number of them that will be in no list.
    pub skipped: u64,
}

/// The remainder that a call that ended leaves to be told, beyond what the pipeline's callers will be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEvent {
    /// No remainder: it did not fail, or its failure is the reason why the pipeline now stops.
    Nothing,
    /// The stage failed on a sample and skips it.
    SkippedFailure,
    /// The stage failed on a sample and is run on it again.
    RetriedFailure,
    /// Another failure stopped the pipeline before, and is the one that callers are told of.
    LaterFailure,
    /// The stage took longer on a sample than its time limit.
    OverTimeout,
}

/// The present step of the worker.
#[derive(Debug)]
enum Step {
    Fresh,
    SettingUp,
    WaitingForOthers,
    Idle,
    Running(InFlight),
    /// The stage has failed on what is in flight, and is to be run again.
    Trying(InFlight),
    Pulling,
    Finishing,
    GivingUp,
    TearingDown,
    Ended,
}

/// The engine's side of one worker. Its driver calls `next` and `done` in turn until `next` returns `None`.
///
/// Dropping it earlier counts as a failure of its stage, so that nothing ever waits for a worker that is gone.
pub struct Worker<V> {
    home: Arc<dyn Home<V>>,
    worker_id: WorkerId,
    step: Step,
    last: Option<SampleInfo>,
    /// The take that it had in flight last, until its next take settles it.
    unsettled: Option<Unsettled>,
    /// The take whose results go on now, where they have a turn among those of several workers.
    turn: Option<u64>,
    /// Samples in flight that no list has used yet.
    kept: u64,
    /// The number of parts that were made of `last`, by this worker and one that died before it.
    parts: u64,
    /// The time when a value that had to wait for room, and belongs to no sample yet, was first to be handed on.
    waiting_since: Option<Instant>,
    /// True if it has ended only once its driver has released the stage.
    frees_stage: bool,
}

impl<V> fmt::Debug for Worker<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("seat", &self.worker_id).field("step", &self.step).finish_non_exhaustive()
    }
}

impl<V> Worker<V> {
    pub(crate) fn new(home: Arc<dyn Home<V>>, worker_id: WorkerId) -> Self {
        let step = Step::Fresh;
        let (last, turn, waiting_since) = (None, None, None);
        Worker {
            home,
            worker_id,
            step,
            last,
            unsettled: None,
            turn,
            kept: 0,
            parts: 0,
            waiting_since,
            frees_stage: false,
        }
    }

    /// Returns the identity of the worker.
    pub fn worker_id(&self) -> WorkerId {
        self.worker_id
    }

    /// Returns the name of its stage.
    pub fn name(&self) -> &str {
        self.home.name_of(self.worker_id)
    }

    /// Bytes of stack for the thread that is to run it, if that was set.
    pub(crate) fn stack_size(&self) -> Option<usize> {
        match self.worker_id {
            WorkerId::Stage { index, .. } => self.home.node(index).stack_size,
            WorkerId::Source => None,
        }
    }

    /// Returns true if what it gives is ignored.
    pub fn is_end_stage(&self) -> bool {
        self.flow() == Flow::End
    }

    /// Returns true if its node is the engine's own: it hands samples to the branches of a block, or their results to
    /// the join.
    pub fn is_relay(&self) -> bool {
        matches!(self.flow(), Flow::Fork(_) | Flow::Join { .. })
    }

    /// Returns true if what it gave last waits for room behind the block that it is a branch of: in a simulation, where
    /// no thread waits.
    pub(crate) fn is_held_up(&self) -> bool {
        match self.flow() {
            Flow::Join { block, branch } => self.home.is_held_up(block, branch),
            Flow::End | Flow::Next(_) | Flow::Fork(_) => false,
        }
    }

    /// Waits for the next call to make; `None` when the worker is to end.
    #[expect(clippy::should_implement_trait, reason = "the two calls of the contract are named `next` and `done`")]
    pub fn next(&mut self) -> Option<Call<V>> {
        match self.poll_next(Wait::Forever) {
            Poll::Ready(call) => call,
            Poll::Pending => None,
        }
    }

    /// Returns the next call to make, if there is one now.
    pub fn try_next(&mut self) -> Poll<Option<Call<V>>> {
        self.poll_next(Wait::No)
    }

    fn poll_next(&mut self, wait: Wait) -> Poll<Option<Call<V>>> {
        loop {
            match self.step {
                Step::Fresh => return self.call(Step::SettingUp, Call::Setup),
                Step::WaitingForOthers => match self.home.wait_for_all_up(wait) {
                    None => return Poll::Pending,
                    Some(true) => self.step = Step::Idle,
                    Some(false) => self.give_up(),
                },
                Step::Idle => match self.worker_id {
                    WorkerId::Source if self.home.source_wanted() => {
                        self.home.show_source_asked(true);
                        return self.call(Step::Pulling, Call::SourceNext);
                    }
                    WorkerId::Source => self.give_up(),
                    WorkerId::Stage { index, .. } => match self.take(index, wait) {
                        Some(Take::Ready { input, dropped, taken }) => {
                            dropped.into_iter().for_each(free);
                            return self.run(index, input, taken);
                        }
                        Some(Take::Expired(dropped)) => dropped.into_iter().for_each(free),
                        Some(Take::Unreadable { newest, samples, taken, cause }) => {
                            self.has_turn(index, taken.ticket);
                            self.take_into_flight(newest, samples, taken);
                            self.settle(Ending::Failed(cause));
                        }
                        Some(Take::Drained { ticket }) => {
                            self.has_turn(index, ticket);
                            self.let_go_of_kept();
                            self.home.advance(self.worker_id, WorkerEvent::Drained);
                            return self.call(Step::Finishing, Call::Finish);
                        }
                        Some(Take::Discarded) | None => self.give_up(),
                        Some(Take::Empty | Take::Ahead(_)) => return Poll::Pending,
                    },
                },
                Step::Trying(_) => {
                    if let Some(call) = self.run_again() {
                        return call;
                    }
                }
                Step::GivingUp => return self.call(Step::TearingDown, Call::Teardown),
                Step::Ended => {
                    // As long as the stage is there, its code may ask whose thread it is on.
                    if !self.frees_stage {
                        leave_job();
                    }
                    return Poll::Ready(None);
                }
                // `next` without `done`: the call before is taken as failed, so that nothing is left hanging.
                Step::SettingUp | Step::Running(_) | Step::Pulling | Step::Finishing | Step::TearingDown => {
                    self.settle(Ending::Failed("its worker went on without saying what came of the call".into()));
                }
            }
        }
    }

    /// Tells the name that its stage gives itself, which counts where none was said.
    pub(crate) fn tell_name(&self, name: String) {
        if let WorkerId::Stage { index, .. } = self.worker_id
            && self.home.node(index).is_made
        {
            self.home.tell_name(index, name);
        }
    }

    /// Lets it have ended, from now on, only with [`has_freed_its_stage`](Worker::has_freed_its_stage).
    pub(crate) fn frees_its_stage(&mut self) {
        self.frees_stage = true;
    }

    /// Notes that there is no stage any longer that could run the user's code.
    pub(crate) fn has_freed_its_stage(&mut self) {
        self.frees_stage = false;
        leave_job();
        self.end();
    }

    fn end(&self) {
        if !self.frees_stage {
            self.home.advance(self.worker_id, WorkerEvent::TornDown);
        }
    }

    /// Says that the calling thread now works on what this worker has in flight.
    pub(crate) fn enter(&self) {
        enter_job(self.home.id(), self.home.restarted(), self.in_flight());
    }

    /// Returns the sample on which the stage is run: for a list, the newest.
    pub(crate) fn in_flight(&self) -> Option<SampleInfo> {
        self.hand().map(|hand| hand.newest)
    }

    fn hand(&self) -> Option<&InFlight> {
        match &self.step {
            Step::Running(hand) => Some(hand),
            _ => None,
        }
    }

    fn has_turn(&mut self, index: usize, ticket: u64) {
        self.turn = self.home.reorders(index).then_some(ticket);
    }

    /// Ends the turn of that take: nothing more comes of it.
    fn end_turn(&self, ticket: u64) {
        if let Some(buffer) = self.output().and_then(|output| self.home.buffer(output)) {
            buffer.end_turn(ticket).into_iter().for_each(free);
        }
    }

    fn call(&mut self, step: Step, call: Call<V>) -> Poll<Option<Call<V>>> {
        self.step = step;
        self.home.show(self.worker_id, Activity::Calls);
        self.enter();
        Poll::Ready(Some(call))
    }

    /// Takes what came of the call: hands on what it gave, waiting for room where the next buffer blocks.
    pub fn done(&mut self, done: Done<V>) -> LogEvent {
        let ending = match done {
            Done::Failed(cause) => Ending::Failed(cause),
            Done::Exhausted => Ending::Exhausted,
            Done::Windowed => Ending::Windowed,
            Done::Gave(Give::Skip) => Ending::Skipped,
            Done::Gave(Give::One(value)) => match self.give_and_free(value, Part::Whole) {
                Ok(_) => Ending::Returned,
                Err(cause) => Ending::Failed(cause),
            },
            Done::Gave(Give::Many(values)) => self.give_many(values),
        };
        self.settle(ending)
    }

    /// Ends the call after everything it gave has been handed over.
    pub fn settle(&mut self, ending: Ending) -> LogEvent {
        let mut untold = LogEvent::Nothing;
        match std::mem::replace(&mut self.step, Step::Ended) {
            Step::SettingUp => match ending {
                Ending::Failed(cause) => {
                    untold = self.fail(Doing::Setup, None, cause);
                    self.end();
                }
                _ => {
                    self.step = Step::WaitingForOthers;
                    self.home.advance(self.worker_id, WorkerEvent::SetUp);
                }
            },
            Step::Running(hand) => return self.settle_run(hand, ending),
            Step::Pulling => {
                self.home.show_source_asked(false);
                match ending {
                    Ending::Returned | Ending::Skipped | Ending::Windowed => self.step = Step::Idle,
                    Ending::Exhausted => self.give_up(),
                    Ending::Failed(cause) => {
                        untold = self.fail(Doing::SourceNext, None, cause);
                        self.give_up();
                    }
                }
            }
            Step::Finishing => {
                if let Ending::Failed(cause) = ending {
                    self.fail_turn();
                    untold = self.fail(Doing::Finish, None, cause);
                }
                self.finish_turn();
                if let WorkerId::Stage { index, worker } = self.worker_id
                    && let Some(buffer) = self.home.buffer(index)
                {
                    buffer.end_finish(worker);
                }
                self.give_up();
            }
            Step::TearingDown => {
                if let Ending::Failed(cause) = ending {
                    untold = self.fail(Doing::Teardown, None, cause);
                }
                self.end();
            }
            idle @ (Step::Fresh
            | Step::WaitingForOthers
            | Step::Idle
            | Step::Trying(_)
            | Step::GivingUp
            | Step::Ended) => self.step = idle,
        }
        untold
    }

    fn settle_run(&mut self, mut hand: InFlight, ending: Ending) -> LogEvent {
        let WorkerId::Stage { index, .. } = self.worker_id else { return LogEvent::Nothing };
        self.home.show_running(self.worker_id, None);
        hand.pause(self.home.clock());
        let on_error = self.home.node(index).on_error;
        if let Ending::Failed(cause) = &ending
            && hand.failures < on_error.retries()
        {
            let (stage, sample, cause) = (self.name().to_owned(), hand.newest.id, aside::shown(cause));
            aside::log(move || tracing::warn!(stage, %sample, "tried again after an error: {cause}"));
            hand.failures += 1;
            hand.leave_out = hand.parts;
            #[cfg(processes)]
            if let Some(hold) = &hand.hold {
                hold.note_failures(hand.failures);
            }
            self.step = Step::Trying(hand);
            return LogEvent::RetriedFailure;
        }
        let fate = match ending {
            Ending::Returned | Ending::Exhausted => Some(Fate::Used),
            Ending::Skipped => Some(Fate::Skipped),
            Ending::Windowed => None,
            Ending::Failed(_) => Some(Fate::Failed),
        };
        let (newest, took) = (hand.newest, hand.busy);
        if matches!(ending, Ending::Failed(_)) && on_error.stops() {
            self.fail_turn();
        }
        self.finish_turn();
        match fate {
            Some(fate) => self.count(hand, fate),
            None => self.keep(index, hand),
        }
        self.step = Step::Idle;
        let node = self.home.node(index);
        let Ending::Failed(cause) = ending else {
            return match node.time_limit {
                Some(limit) if took > limit => {
                    let (stage, sample) = (self.name().to_owned(), newest.id);
                    aside::log(
                        move || tracing::warn!(stage, %sample, "took {took:?}, over its time_limit of {limit:?}"),
                    );
                    LogEvent::OverTimeout
                }
                _ => LogEvent::Nothing,
            };
        };
        if on_error.stops() {
            self.flush();
            let untold = self.fail(Doing::StageRun, Some(newest.id), cause);
            self.give_up();
            return untold;
        }
        let (stage, sample, cause) = (self.name().to_owned(), newest.id, aside::shown(&cause));
        aside::log(move || tracing::warn!(stage, %sample, "skipped after an error: {cause}"));
        LogEvent::SkippedFailure
    }

    /// Ends the turn of what was taken last: nothing more comes of it.
    fn finish_turn(&mut self) {
        if let Some(ticket) = self.turn.take() {
            self.end_turn(ticket);
        }
    }

    /// Notes that the stage has failed for good on what was taken last; what its other workers took later does not go
    /// on.
    fn fail_turn(&mut self) {
        if let Some(ticket) = self.turn.take()
            && let Some(buffer) = self.output().and_then(|output| self.home.buffer(output))
        {
            buffer.fail_turn(ticket).into_iter().for_each(free);
        }
    }

    /// Notes the fate of the samples in flight, which is settled with the next take or, if none follows, by `flush`.
    fn count(&mut self, hand: InFlight, fate: Fate) {
        let age = self.home.clock().now().saturating_duration_since(hand.newest.birth);
        let (took, age) = (in_nanoseconds(hand.busy), in_nanoseconds(age));
        let settlement = Settlement { fate, windowed: hand.kept, took, age };
        self.unsettled = Some(Unsettled { ticket: hand.ticket, hold: hand.hold, settlement });
    }

    /// Settles what is not settled yet.
    fn flush(&mut self) {
        if let (Some(unsettled), WorkerId::Stage { index, worker }) = (self.unsettled.take(), self.worker_id)
            && let Some(buffer) = self.home.buffer(index)
        {
            buffer.settle(worker, unsettled);
        }
    }

    /// Keeps the sample in flight for a later list of the stage.
    fn keep(&mut self, index: usize, hand: InFlight) {
        self.kept += hand.samples;
        match hand.hold {
            #[cfg(processes)]
            Some(hold) => hold.keep(),
            #[cfg(not(processes))]
            Some(hold) => match hold {},
            None => {
                if let (WorkerId::Stage { worker, .. }, Some(buffer)) = (self.worker_id, self.home.buffer(index)) {
                    buffer.keep_for_window(worker, hand.ticket);
                }
            }
        }
    }

    fn fail(&self, doing: Doing, sample: Option<SampleId>, cause: BoxError) -> LogEvent {
        let stage = self.name().to_owned();
        match self.home.fail(self.worker_id, Failure { stage, doing, sample, cause }) {
            true => LogEvent::Nothing,
            false => LogEvent::LaterFailure,
        }
    }

    /// Gives nothing more: what is left is `teardown`.
    fn give_up(&mut self) {
        self.flush();
        self.let_go_of_kept();
        self.step = Step::GivingUp;
        self.home.advance(self.worker_id, WorkerEvent::Done);
    }

    /// Returns where what it gives goes.
    fn flow(&self) -> Flow {
        match self.worker_id {
            WorkerId::Source => Flow::Next(0),
            WorkerId::Stage { index, .. } => self.home.flow(index),
        }
    }

    /// The index of the one buffer it gives to, if it is one.
    fn output(&self) -> Option<usize> {
        match self.flow() {
            Flow::Next(next) => Some(next),
            Flow::End | Flow::Fork(_) | Flow::Join { .. } => None,
        }
    }

    fn pause(&mut self) {
        match &mut self.step {
            Step::Running(hand) => {
                self.home.show_running(self.worker_id, None);
                hand.pause(self.home.clock());
            }
            Step::Pulling => self.home.show_source_asked(false),
            _ => {}
        }
    }

    fn resume(&mut self) {
        match &mut self.step {
            Step::Running(hand) => {
                self.home.show_running(self.worker_id, Some((hand.newest.id, hand.busy)));
                hand.run(self.home.clock().now());
            }
            Step::Pulling => self.home.show_source_asked(true),
            _ => {}
        }
    }
}

/// The share of its sample that a value is: all of it, or a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The one result of its sample.
    Whole,
    /// One of many.
    OfMany,
}

impl<V> Drop for Worker<V> {
    fn drop(&mut self) {
        let (doing, sample) = match (std::mem::replace(&mut self.step, Step::Ended), self.worker_id) {
            (Step::Ended, _) => return,
            (Step::Fresh | Step::SettingUp, _) => (Doing::Setup, None),
            (Step::Finishing, _) => (Doing::Finish, None),
            (Step::TearingDown | Step::GivingUp, _) => (Doing::Teardown, None),
            (_, WorkerId::Source) => {
                self.home.show_source_asked(false);
                (Doing::SourceNext, None)
            }
            (Step::Running(hand) | Step::Trying(hand), WorkerId::Stage { .. }) => {
                let sample = hand.newest.id;
                self.count(hand, Fate::Failed);
                (Doing::StageRun, Some(sample))
            }
            (_, WorkerId::Stage { .. }) => (Doing::StageRun, None),
        };
        self.fail_turn();
        self.flush();
        self.let_go_of_kept();
        self.fail(doing, sample, "its worker ended too early".into());
        self.home.advance(self.worker_id, WorkerEvent::TornDown);
        if works_for(self.home.id()) {
            leave_job();
        }
    }
}
