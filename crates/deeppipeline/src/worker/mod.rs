//! One worker's two calls: `next` says what to do, `done` takes what came of it.
//!
//! The loop over the two is the executor's: a Rust thread, a Python thread and a simulation drive the same two calls.
//! The only user code called from here is the iterator of a Rust stage's `Many`; Python iterates its own. What it
//! does with samples is in `taking.rs`, `giving.rs` and `settling.rs`.

mod calls;
mod context;
mod failed_values;
mod gathering;
mod giving;
mod in_flight;
mod settling;
mod source;
mod taking;
mod updating;

use crate::activity::Activity;
use crate::buffer::{Take, Taken, Unsettled, Wait};
use crate::clock::Moment;
use crate::cuts::SourceCut;
use crate::error::Doing;
use crate::graph::Node;
use crate::job::{enter_worker, leave_job, works_for};
use crate::ledger::Fate;
use crate::parallel::Forked;
use crate::phase::WorkerEvent;
use crate::sample::{ForkTicket, Sample, SampleInfo};
use crate::stage::Give;
use crate::unwind::{BoxError, release};
pub use calls::{Call, Done, Ending, GiveError, Given, LogEvent, Outcome, Part, Role, Values, Windowed, WorkerId};
pub(crate) use calls::{Told, Update};
pub(crate) use context::{Control, Entry, FailedOn, Output, SourceEvent, WorkerContext};
use failed_values::FailedValues;
use in_flight::InFlight;
use source::Reopening;
use std::fmt;
use std::task::Poll;
use std::time::Duration;

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
    Opening,
    /// Parts of what it has taken are on their way.
    Gathering,
    Pulling,
    /// There may be updates of the stage, which come before its next sample.
    HearsUpdates,
    /// It takes nothing more, and waits for the turn of what `finish` gives.
    Leaving,
    /// The stage is told an update, of that number, or the one that is to replace it is set up.
    Updating(u64),
    /// The one that was to replace it is torn down.
    Discarding(u64),
    /// The stage is to be replaced, as that update says.
    Retiring(u64),
    /// It has given what it still held.
    Retired(u64),
    /// It is being replaced.
    Exchanging(u64),
    /// It gives what it still holds: at the end, or before it is replaced.
    Finishing(Option<u64>),
    GivingUp,
    TearingDown,
    Ended,
}

/// The engine's side of one worker. Its driver calls `next` and `done` in turn until `next` returns `None`.
///
/// Dropping it earlier counts as a failure of its stage, so that nothing ever waits for a worker that is gone.
pub struct Worker<V> {
    context: WorkerContext<V>,
    step: Step,
    last: Option<SampleInfo>,
    /// The take that it had in flight last, until its next take settles it.
    unsettled: Option<Unsettled>,
    /// The take whose results go on now, where they have a turn among those of several workers.
    turn: Option<u64>,
    /// Samples in flight that no list has used yet.
    windowed: u64,
    /// The number of the last sample before the last flush of any kind, as it knew at its last take.
    cut: u64,
    /// True if what the stage keeps for later lists was flushed, and its driver has not been told.
    forgets_windows: bool,
    /// The flushes of single sources of which its driver has not been told.
    forgets_sources: Vec<SourceCut>,
    /// The number of parts that were made of `last`, by this worker and one that died before it.
    parts: u64,
    /// The sample that not every branch of the block behind it has yet.
    forked: Option<Forked<V>>,
    /// Results that the stage has given for samples of a batch, and that have not gone on, the next one last.
    results: Vec<Result<Give<V>, BoxError>>,
    /// The values on which the call has failed, where its driver still has them.
    failed_values: FailedValues<V>,
    /// What it has taken, and the parts of which it waits for, where it puts samples together.
    gathering: Option<Box<(Sample<V>, Taken)>>,
    /// The last that it has put together: there until it has gone on.
    gathered: Option<ForkTicket>,
    /// The time when a value that had to wait for room, and belongs to no sample yet, was first to be handed on.
    waiting_since: Option<Moment>,
    /// The time when there was no room for what it gives, where its caller asks again and again.
    full_since: Option<Moment>,
    /// How its source is opened again, where it may be.
    reopening: Option<Reopening>,
    /// True if it has ended only once its driver has released the stage.
    frees_stage: bool,
}

impl<V> fmt::Debug for Worker<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("worker_id", &self.context.worker_id)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

impl<V> Worker<V> {
    pub(crate) fn new(context: WorkerContext<V>) -> Self {
        Worker {
            reopening: context.restart.map(Reopening::new),
            context,
            step: Step::Fresh,
            last: None,
            unsettled: None,
            turn: None,
            windowed: 0,
            cut: 0,
            forgets_windows: false,
            forgets_sources: Vec::new(),
            parts: 0,
            forked: None,
            results: Vec::new(),
            failed_values: FailedValues::default(),
            gathering: None,
            gathered: None,
            waiting_since: None,
            full_since: None,
            frees_stage: false,
        }
    }

    /// Returns the identity of the worker.
    pub fn worker_id(&self) -> WorkerId {
        self.context.worker_id
    }

    /// Returns the name of its stage.
    pub fn name(&self) -> &str {
        self.context.name.get()
    }

    /// The options of its stage.
    pub(crate) fn options(&self) -> &Node {
        &self.context.options
    }

    /// Returns true if what it gives for the sample in flight is ignored.
    pub fn is_end_stage(&self) -> bool {
        matches!(self.context.output, Output::End) || (self.context.answers && !self.is_awaited())
    }

    /// Returns true if what it gives is ignored, whatever it works on.
    pub fn gives_nothing(&self) -> bool {
        matches!(self.context.output, Output::End)
    }

    /// Returns true if somebody waits for what comes of the sample in flight.
    #[inline]
    fn is_awaited(&self) -> bool {
        self.running().is_some_and(|in_flight| !in_flight.fork.is_none())
    }

    /// Returns true if the fate of every sample is told, and with a failure the value, where its driver still has it.
    pub fn tells_fates(&self) -> bool {
        self.context.tells_fates()
    }

    /// Hands in the value of a sample on which the stage has failed, before that is settled: of the one at that index of
    /// what the worker has taken.
    pub fn fails_on(&mut self, index: usize, value: V) {
        if let Some(in_flight) = self.running() {
            let take = in_flight.ticket;
            self.failed_values.add(take, index, value);
        } else {
            release(value);
        }
    }

    /// Returns the index of the present sample in what the worker has taken.
    pub fn present_index(&self) -> usize {
        self.running().map_or(0, InFlight::index)
    }

    /// Returns true if it gives a result for each sample of the list that it takes.
    pub fn takes_batches(&self) -> bool {
        self.context.options.intake.keeps_identity()
    }

    /// Returns what it is there for.
    pub fn role(&self) -> Role {
        self.context.role
    }

    /// Returns true if what it gave last waits for room behind the block that it is a branch of: in a simulation, where
    /// no thread waits.
    pub(crate) fn is_held_up(&self) -> bool {
        match &self.context.output {
            Output::Join { blocks, block, branch } => blocks.is_held_up(*block, *branch, &*self.context.control),
            Output::End | Output::Next(_) | Output::Fork { .. } | Output::Answers(_) => false,
        }
    }

    /// Returns how many branches of the block behind it have their copy of what others have no room for yet.
    pub(crate) fn branches_reached(&self) -> usize {
        self.forked.as_ref().map_or(0, |forked| forked.branch)
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
                Step::WaitingForOthers => match self.context.control.wait_for_all_up(wait) {
                    None => return Poll::Pending,
                    Some(true) => self.step = Step::Idle,
                    Some(false) => self.give_up(),
                },

                Step::Idle => {
                    if let Some(call) = self.begin_next(wait) {
                        return call;
                    }
                }
                Step::Trying(_) => {
                    if let Some(call) = self.run_again() {
                        return call;
                    }
                }

                Step::HearsUpdates => {
                    if let Some(call) = self.update_or_go_on() {
                        return call;
                    }
                }

                Step::Retiring(number) => {
                    if let Some(call) = self.retire(number, wait) {
                        return call;
                    }
                }
                Step::Retired(number) => return self.call(Step::Exchanging(number), Call::Exchange),
                Step::Leaving => {
                    if let Some(call) = self.leave_stage(wait) {
                        return call;
                    }
                }

                Step::Gathering => {
                    if let Some(call) = self.gather(wait) {
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
                Step::SettingUp
                | Step::Running(_)
                | Step::Opening
                | Step::Pulling
                | Step::Updating(_)
                | Step::Discarding(_)
                | Step::Exchanging(_)
                | Step::Finishing(_)
                | Step::TearingDown => {
                    self.settle(Ending::Failed("its worker went on without saying what came of the call".into()));
                }
            }
        }
    }

    /// Asks for what an idle worker is to work on, and begins; `None` when it is to look at its step again.
    #[inline(always)]
    fn begin_next(&mut self, wait: Wait) -> Option<Poll<Option<Call<V>>>> {
        if let WorkerId::Source(_) = self.context.worker_id {
            return self.begin_with_source(wait);
        }

        if self.gathered.is_some() {
            self.has_gathered();
        }
        match self.take(wait) {
            Some(Take::Ready { input, to_free, taken }) => {
                to_free.release();
                if taken.cut > self.cut {
                    self.note_flush(&taken);
                }
                // That was to be tried again, and is not.
                if taken.is_cut_off
                    && let Some(newest) = input.newest()
                {
                    self.flush_taken(newest, input.count(), taken);
                    release(input);
                    return None;
                }
                if self.context.gathers.is_some() {
                    self.begin_to_gather(input, taken);
                    return None;
                }
                return Some(self.run(input, taken));
            }
            Some(Take::Expired(to_free)) => to_free.release(),
            Some(Take::Unreadable { newest, samples, taken, cause }) => {
                self.has_turn(taken.ticket);
                self.take_into_flight(newest, samples, taken);
                self.settle(Ending::Failed(cause));
            }
            Some(Take::Drained { ticket }) => return Some(self.finish(ticket)),
            Some(Take::Update) => self.step = Step::HearsUpdates,
            Some(Take::Discarded) | None => self.give_up(),
            Some(Take::Empty | Take::Ahead(_)) => return Some(Poll::Pending),
        }
        None
    }

    /// Lets the stage finish: it gets nothing more, and what it gives has that turn.
    fn finish(&mut self, ticket: u64) -> Poll<Option<Call<V>>> {
        self.has_turn(ticket);
        self.skip_all_windowed();
        self.advance(WorkerEvent::Drained);
        self.call(Step::Finishing(None), Call::Finish)
    }

    /// Returns true if the stage is to forget something of what it keeps for later lists, before the next call.
    #[inline(always)]
    pub(crate) fn forgets(&self) -> bool {
        self.forgets_windows || !self.forgets_sources.is_empty()
    }

    /// Returns true, once, if what the stage keeps for later lists was flushed: it is to forget that before the next call.
    pub fn forgets_windows(&mut self) -> bool {
        std::mem::take(&mut self.forgets_windows)
    }

    /// Returns, once, the flushes of single sources: the stage is to forget what it keeps from before them, and says before
    /// the next call how many samples that were.
    pub fn forgets_sources(&mut self) -> Vec<SourceCut> {
        std::mem::take(&mut self.forgets_sources)
    }

    fn advance(&self, event: WorkerEvent) {
        self.context.control.advance(self.context.worker_id, event);
    }

    /// Tells the name that its stage gives itself, which counts where none was said.
    pub(crate) fn tell_name(&self, name: String) {
        if self.context.options.is_made {
            self.context.control.tell_name(self.context.worker_id, name);
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
            self.advance(WorkerEvent::TornDown);
        }
    }

    /// Says that the calling thread now works on what this worker has in flight.
    pub(crate) fn enter(&self) {
        enter_worker(&self.context.info);
        self.context.enter(self.in_flight());
    }

    /// Returns the sample on which the stage is run: for a list, the newest, and once it has returned a result for each,
    /// the one whose result goes on.
    pub(crate) fn in_flight(&self) -> Option<SampleInfo> {
        self.running().map(|in_flight| in_flight.present)
    }

    /// Returns true if the stage is to be run again on what is in flight.
    pub fn tries_again(&self) -> bool {
        matches!(self.step, Step::Trying(_))
    }

    fn running(&self) -> Option<&InFlight> {
        match &self.step {
            Step::Running(in_flight) => Some(in_flight),
            _ => None,
        }
    }

    #[inline(always)]
    fn has_turn(&mut self, ticket: u64) {
        self.turn = self.context.reorders.then_some(ticket);
    }

    /// Ends the turn of that take: nothing more comes of it.
    fn end_turn(&self, ticket: u64) {
        if let Some(buffer) = self.context.output() {
            buffer.end_turn(ticket).release();
        }
    }

    #[inline(always)]
    fn call(&mut self, step: Step, call: Call<V>) -> Poll<Option<Call<V>>> {
        self.step = step;
        self.context.activity.set(Activity::Calls);
        self.enter();
        Poll::Ready(Some(call))
    }

    /// Takes what came of the call: hands on what it gave, waiting for room where the next buffer blocks.
    pub fn done(&mut self, done: Done<V>) -> LogEvent {
        let ending = match done {
            Done::Failed(cause) => Ending::Failed(cause),
            Done::Exhausted => Ending::Exhausted,
            Done::Windowed => Ending::Windowed,
            Done::Gave(give) => self.give_all(give),
            Done::Each(results) => match self.expect_results(results.len()) {
                Ok(()) => {
                    self.results.extend(results.into_iter().rev());
                    return self.give_results();
                }
                Err(cause) => Ending::Failed(cause),
            },
        };
        let event = self.settle(ending);
        if self.results.is_empty() { event } else { self.give_results() }
    }

    #[inline(always)]
    fn pause(&mut self) {
        match &mut self.step {
            Step::Running(in_flight) => {
                self.context.show_running(None);
                in_flight.pause(&self.context.clock);
            }
            // What comes too late goes nowhere.
            Step::Pulling if self.context.show_source_not_asked() => self.give_up(),
            _ => {}
        }
    }

    fn resume(&mut self) {
        match &mut self.step {
            Step::Running(in_flight) => {
                self.context.show_running(Some((in_flight.present.id, Duration::from_nanos(in_flight.busy))));
                in_flight.run(self.context.clock.moment());
            }
            Step::Pulling => self.context.show_source_asked(),
            _ => {}
        }
    }
}

impl<V> Drop for Worker<V> {
    fn drop(&mut self) {
        let (doing, sample) = match (std::mem::replace(&mut self.step, Step::Ended), self.context.worker_id) {
            (Step::Ended, _) => return,
            (Step::Fresh | Step::SettingUp, _) => (Doing::Setup, None),
            (Step::Finishing(_), _) => (Doing::Finish, None),
            (Step::TearingDown | Step::GivingUp, _) => (Doing::Teardown, None),
            (_, WorkerId::Source(_)) => {
                self.context.show_source_not_asked();
                (Doing::SourceNext, None)
            }
            (Step::Running(in_flight) | Step::Trying(in_flight), WorkerId::Stage { .. }) => {
                let sample = in_flight.present.id;
                self.count(in_flight, Fate::Failed);
                (Doing::StageRun, Some(sample))
            }
            (_, WorkerId::Stage { .. }) => {
                self.give_up_gathering();
                (Doing::StageRun, None)
            }
        };
        self.fail_turn();
        self.flush();
        self.skip_all_windowed();
        self.fail(doing, sample, "its worker ended too early".into());
        self.advance(WorkerEvent::TornDown);
        if works_for(self.context.pipeline) {
            leave_job();
        }
    }
}
