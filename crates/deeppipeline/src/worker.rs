//! One worker's two calls: `next` says what to do, `done` takes what came of it.
//!
//! The loop over the two is the executor's: a Rust thread, a Python thread and a simulation drive the same two calls. The
//! only user code called from here is the iterator of a Rust stage's `Many`; Python iterates its own.

use crate::buffer::{Arrival, Buffer, Origin, Push, Take, Taken, Wait};
use crate::error::{BoxError, Doing, Failure};
use crate::executor::{catch_panic, free};
use crate::graph::Flow;
use crate::hand::InHand;
use crate::home::{Branches, Home};
use crate::intake::Input;
use crate::ledger::Fate;
use crate::phase::WorkerEvent;
use crate::sample::{Sample, SampleId, SampleInfo, enter_job, leave_job, works_for};
use crate::stage::Give;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

/// Why a value was not handed on.
pub enum Ungiven<V> {
    /// The buffer is full under `block`, and the caller would not wait any longer.
    Full(V),
    /// It cannot cross to the process of the next stage.
    Refused(V, BoxError),
}

/// Which of the pipeline's workers it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seat {
    /// Feeds the first buffer.
    Source,
    /// Runs the stage at this index.
    Stage {
        /// Of the stage, from 0.
        index: usize,
        /// Which of the stage's workers it is, from 0.
        worker: usize,
    },
}

/// What a worker is asked to do next.
#[derive(Debug)]
pub enum Call<V> {
    /// Call `setup`.
    Setup,
    /// Call `stage_run` with this.
    StageRun(Input<V>),
    /// Call `stage_run` again with what it got last, of which this is a copy where one can be made.
    RunAgain(Option<Input<V>>),
    /// Ask the source for its next sample.
    SourceNext,
    /// Call `finish`.
    Finish,
    /// Call `teardown`.
    Teardown,
}

/// What came of a call.
pub enum Done<V> {
    /// The call returned this. After `setup` and `teardown` it is ignored.
    Gave(Give<V>),
    /// The source has no more samples.
    Exhausted,
    /// The stage keeps the sample: a later list will use it.
    Kept,
    /// The call failed.
    Failed(BoxError),
}

/// How a call ended, once everything it gave has been handed over with [`Worker::give`].
#[derive(Debug)]
pub enum Ending {
    /// It returned.
    Returned,
    /// It returned SKIP, or a Many without values.
    Skipped,
    /// The stage keeps the sample: a later list will use it.
    Kept,
    /// The source has no more samples.
    Exhausted,
    /// It failed.
    Failed(BoxError),
}

/// What becomes of samples that a stage has kept for a later list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// So many of them are in the list that the present call got.
    pub used: u64,
    /// So many of them will be in none.
    pub skipped: u64,
}

/// What a call that ended leaves to be told, beyond what the pipeline's callers will be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untold {
    /// Nothing: it did not fail, or its failure is the reason why the pipeline now stops.
    Nothing,
    /// The stage failed on a sample and skips it.
    SkippedFailure,
    /// The stage failed on a sample and is run on it again.
    RetriedFailure,
    /// Another failure stopped the pipeline before, and is the one that callers are told of.
    LaterFailure,
    /// The stage took longer on a sample than its time-out.
    OverTimeout,
}

/// What the worker does at the moment.
#[derive(Debug)]
enum Step {
    Fresh,
    SettingUp,
    WaitingForOthers,
    Idle,
    Running(InHand),
    /// The stage has failed on what is in hand, and is to be run again.
    Trying(InHand),
    Pulling,
    Finishing,
    GivingUp,
    TearingDown,
    Ended,
}

/// The engine's side of one worker. Whoever holds it calls `next` and `done` in turn until `next` returns `None`.
///
/// Dropping it earlier counts as a failure of its stage, so that nothing ever waits for a worker that is gone.
pub struct Worker<V> {
    home: Arc<dyn Home<V>>,
    seat: Seat,
    step: Step,
    last: Option<SampleInfo>,
    /// The take whose results go on now, where they have a turn among those of several workers.
    turn: Option<u64>,
    /// Samples in hand that no list has used yet.
    kept: u64,
    /// The highest part given so far for the number of `last`, and what it was before what is in hand.
    last_part: u64,
    part_before: u64,
    /// When a value that had to wait for room, and belongs to no sample yet, was first to be handed on.
    waiting_since: Option<Instant>,
}

impl<V> Worker<V> {
    pub(crate) fn new(home: Arc<dyn Home<V>>, seat: Seat) -> Self {
        let step = Step::Fresh;
        Worker { home, seat, step, last: None, turn: None, kept: 0, last_part: 0, part_before: 0, waiting_since: None }
    }

    /// Which worker it is.
    pub fn seat(&self) -> Seat {
        self.seat
    }

    /// The name of its stage.
    pub fn name(&self) -> &str {
        self.home.name_of(self.seat)
    }

    /// Whether what it gives is ignored.
    pub fn is_end_stage(&self) -> bool {
        self.flow() == Flow::End
    }

    /// Whether its node is the engine's own: it hands samples to the branches of a block, or their results to the join.
    pub fn is_relay(&self) -> bool {
        matches!(self.flow(), Flow::Fork(_) | Flow::Join { .. })
    }

    /// Whether what it gave last waits for room behind the block that it is a branch of: in a simulation, where nobody waits.
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

    /// The next call to make, if there is one now.
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
                Step::Idle => match self.seat {
                    Seat::Source if self.home.source_wanted() => {
                        return self.call(Step::Pulling, Call::SourceNext);
                    }
                    Seat::Source => self.give_up(),
                    Seat::Stage { index, .. } => match self.take(index, wait) {
                        Some(Take::Ready { input, dropped, taken }) => {
                            dropped.into_iter().for_each(free);
                            return self.run(index, input, taken);
                        }
                        Some(Take::Expired(dropped)) => dropped.into_iter().for_each(free),
                        Some(Take::Unreadable { newest, samples, taken, cause }) => {
                            self.has_turn(index, taken.ticket);
                            self.take_in_hand(newest, samples, taken);
                            self.settle(Ending::Failed(cause));
                        }
                        Some(Take::Drained { ticket }) => {
                            self.has_turn(index, ticket);
                            self.let_go_of_kept();
                            self.home.advance(self.seat, WorkerEvent::Drained);
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
                    leave_job();
                    return Poll::Ready(None);
                }
                // `next` without `done`: the call before is taken as failed, so that nothing is left hanging.
                Step::SettingUp | Step::Running(_) | Step::Pulling | Step::Finishing | Step::TearingDown => {
                    self.settle(Ending::Failed("its worker went on without saying what came of the call".into()));
                }
            }
        }
    }

    /// Says that the calling thread now works on what this worker has in hand.
    pub(crate) fn enter(&self) {
        enter_job(self.home.id(), self.in_hand());
    }

    /// What the stage is run on: for a list, the newest.
    pub(crate) fn in_hand(&self) -> Option<SampleInfo> {
        match &self.step {
            Step::Running(hand) => Some(hand.newest),
            _ => None,
        }
    }

    /// Takes from the buffer in front. What keeps others waiting for too long is given up meanwhile.
    fn take(&self, index: usize, wait: Wait) -> Option<Take<V>> {
        let Seat::Stage { worker, .. } = self.seat else { return None };
        let buffer = self.home.buffer(index)?;
        let output = self.output().filter(|_| self.home.reorders(index)).and_then(|output| self.home.buffer(output));
        loop {
            let patience = sooner(wait, buffer.overdue_at());
            // What has ended early takes place until its turn, too.
            let up_to = output.map_or(u64::MAX, Buffer::turns_up_to);
            match buffer.take(worker, up_to, patience) {
                Take::Ahead(next) if output.is_none_or(|output| output.wait_for_turns_up_to(next, patience)) => {}
                Take::Ahead(_) if is_over(wait, self.home.clock().now()) => return Some(Take::Empty),
                Take::Ahead(_) => {}
                Take::Empty if self.give_up_overdue(index, false) => {}
                Take::Empty if is_over(wait, self.home.clock().now()) => return Some(Take::Empty),
                Take::Empty => {}
                taken => return Some(taken),
            }
        }
    }

    /// Gives up what another worker has in hand for longer than the stage's time-out, if others wait for it.
    fn give_up_overdue(&self, index: usize, anyway: bool) -> bool {
        let Some(overdue) = self.home.buffer(index).and_then(|buffer| buffer.give_up_overdue(anyway)) else {
            return false;
        };
        if let Some(ledger) = self.home.ledger(index).filter(|_| overdue.samples > 0) {
            ledger.settle(overdue.samples, Fate::Lost, overdue.after, overdue.after);
        }
        tracing::warn!(stage = self.name(), "a sample is lost: others have waited for it for {:?}", overdue.after);
        self.end_turn(overdue.ticket);
        true
    }

    fn has_turn(&mut self, index: usize, ticket: u64) {
        self.turn = self.home.reorders(index).then_some(ticket);
    }

    /// Nothing more comes of that take.
    fn end_turn(&self, ticket: u64) {
        if let Some(buffer) = self.output().and_then(|output| self.home.buffer(output)) {
            buffer.end_turn(ticket).into_iter().for_each(free);
        }
    }

    fn call(&mut self, step: Step, call: Call<V>) -> Poll<Option<Call<V>>> {
        self.step = step;
        self.enter();
        Poll::Ready(Some(call))
    }

    fn run(&mut self, index: usize, input: Input<V>, taken: Taken) -> Poll<Option<Call<V>>> {
        if taken.hold.is_none()
            && let Some(ledger) = self.home.ledger(index)
        {
            ledger.begin(&input, taken.at);
        }
        self.has_turn(index, taken.ticket);
        if let Some(newest) = input.newest() {
            self.take_in_hand(newest, input.count(), taken);
        }
        self.enter();
        Poll::Ready(Some(Call::StageRun(input)))
    }

    fn take_in_hand(&mut self, newest: SampleInfo, samples: u64, taken: Taken) {
        if self.last.is_none_or(|last| last.id.number != newest.id.number) {
            self.last_part = 0;
        }
        self.last = Some(newest);
        self.part_before = self.last_part;
        self.step = Step::Running(InHand::new(newest, samples, taken));
    }

    /// Runs the stage once more on what it has in hand, unless that was given up meanwhile.
    fn run_again(&mut self) -> Option<Poll<Option<Call<V>>>> {
        let Step::Trying(mut hand) = std::mem::replace(&mut self.step, Step::Idle) else { return None };
        let Seat::Stage { index, .. } = self.seat else { return None };
        let buffer = self.home.buffer(index)?;
        if buffer.is_discarding() {
            if self.home.node(index).on_error.stops() {
                self.fail_turn();
            }
            self.finish_turn();
            self.count(index, hand, Fate::Failed);
            return None;
        }
        let again = buffer.read_again(hand.hold.as_ref());
        hand.run(self.home.clock().now());
        self.step = Step::Running(hand);
        match again {
            Ok(input) => {
                self.enter();
                Some(Poll::Ready(Some(Call::RunAgain(input))))
            }
            Err(cause) => {
                self.settle(Ending::Failed(cause));
                None
            }
        }
    }

    /// Says what becomes of samples that the stage has kept, before the call at hand ends.
    pub fn account(&mut self, kept: Kept) {
        let Seat::Stage { index, .. } = self.seat else { return };
        self.kept = self.kept.saturating_sub(kept.used + kept.skipped);
        self.skip_kept(index, kept.skipped);
        if let Step::Running(hand) = &mut self.step {
            hand.kept += kept.used;
        }
    }

    fn skip_kept(&self, index: usize, samples: u64) {
        if samples == 0 {
            return;
        }
        // What came from another process is counted there, on a thread too.
        #[cfg(processes)]
        if let Some(buffer) = self.home.buffer(index).and_then(Buffer::shared) {
            return buffer.skip_kept(samples);
        }
        if let Some(ledger) = self.home.ledger(index) {
            ledger.skip_kept(samples);
        }
    }

    /// No list will use what the stage still keeps.
    fn let_go_of_kept(&mut self) {
        self.account(Kept { used: 0, skipped: self.kept });
    }

    /// Takes what came of the call: hands on what it gave, waiting for room where the next buffer blocks.
    pub fn done(&mut self, done: Done<V>) -> Untold {
        let ending = match done {
            Done::Failed(cause) => Ending::Failed(cause),
            Done::Exhausted => Ending::Exhausted,
            Done::Kept => Ending::Kept,
            Done::Gave(Give::Skip) => Ending::Skipped,
            Done::Gave(Give::One(value)) => match self.give_and_free(value, Part::Whole) {
                Ok(()) => Ending::Returned,
                Err(cause) => Ending::Failed(cause),
            },
            Done::Gave(Give::Many(values)) => self.give_many(values),
        };
        self.settle(ending)
    }

    fn give_and_free(&mut self, value: V, part: Part) -> Result<(), BoxError> {
        match self.give(value, part, Wait::Forever) {
            Ok(dropped) => free(dropped),
            // `Forever` never comes back with this.
            Err(Ungiven::Full(value)) => free(value),
            Err(Ungiven::Refused(value, cause)) => {
                free(value);
                return Err(cause);
            }
        }
        Ok(())
    }

    fn give_many(&mut self, mut values: Box<dyn Iterator<Item = V> + Send>) -> Ending {
        let ending = if self.is_end_stage() { Ending::Returned } else { self.give_each(&mut *values) };
        free(values);
        ending
    }

    fn give_each(&mut self, values: &mut dyn Iterator<Item = V>) -> Ending {
        let mut ending = Ending::Skipped;
        loop {
            match catch_panic(|| Ok(values.next())) {
                Ok(Some(value)) => match self.give_and_free(value, Part::OfMany) {
                    Ok(()) => ending = Ending::Returned,
                    Err(cause) => return Ending::Failed(cause),
                },
                Ok(None) => return ending,
                Err(cause) => return Ending::Failed(cause),
            }
        }
    }

    /// Hands one value to the next buffer, and back what was dropped for it.
    ///
    /// # Errors
    /// The value itself, when it did not go on.
    pub fn give(&mut self, value: V, part: Part, wait: Wait) -> Result<Option<V>, Ungiven<V>> {
        self.pause();
        let may_give = matches!(self.step, Step::Running(_) | Step::Pulling | Step::Finishing);
        let flow = self.flow();
        if !may_give || flow == Flow::End {
            return Ok(Some(value));
        }
        let (id, birth) = self.identity(flow, part);
        if part == Part::OfMany && self.is_left_out() {
            self.last_part = id.part;
            self.resume();
            return Ok(Some(value));
        }
        if let Some(cause) = self.why_not_joined(flow, part) {
            return Err(Ungiven::Refused(value, cause.into()));
        }
        let receipt = match &self.step {
            Step::Running(hand) => hand.receipt(part),
            _ => None,
        };
        let origin = Origin { turn: self.turn, receipt };
        let pushed = self.hand_on(flow, Sample { id, birth, value }, origin, wait);
        if part == Part::OfMany {
            self.resume();
        }
        match pushed {
            Push::Full(value) => {
                self.waiting_since = Some(birth);
                Err(Ungiven::Full(value))
            }
            Push::Shut(value) | Push::Late(value) => Ok(Some(value)),
            Push::Refused(value, cause) => Err(Ungiven::Refused(value, cause)),
            Push::Done { dropped, more, .. } => {
                more.into_iter().for_each(free);
                self.waiting_since = None;
                // What has a turn is counted when it enters the next buffer.
                if let (Seat::Stage { index, .. }, None) = (self.seat, self.turn)
                    && let Some(ledger) = self.home.ledger(index)
                {
                    ledger.count_given();
                }
                if let Step::Running(hand) = &mut self.step {
                    hand.parts += 1;
                }
                self.last_part = id.part;
                Ok(dropped)
            }
        }
    }

    /// Hands a value to whoever is next.
    fn hand_on(&self, flow: Flow, sample: Sample<V>, origin: Origin, wait: Wait) -> Push<V> {
        let to = match flow {
            Flow::End => None,
            Flow::Next(next) => self.home.buffer(next),
            Flow::Join { block, branch } => return self.home.arrive(block, branch, sample, wait),
            Flow::Fork(block) => return self.hand_to_branch(block, sample, wait),
        };
        match (to, self.seat) {
            (None, _) => Push::Shut(sample.value),
            (Some(buffer), Seat::Source) => buffer.push(sample, Arrival::Source, origin, wait),
            (Some(buffer), Seat::Stage { index, .. }) => self.push_in_turn(index, buffer, sample, origin, wait),
        }
    }

    /// Hands a sample to one branch of a block: the first value to the first, the second to the second, and so on.
    fn hand_to_branch(&self, block: usize, sample: Sample<V>, wait: Wait) -> Push<V> {
        let (Step::Running(hand), Some(Branches { nodes, join })) = (&self.step, self.home.block(block)) else {
            return Push::Shut(sample.value);
        };
        let branch = hand.parts as usize;
        let buffer = nodes.get(branch).and_then(|(first, _)| self.home.buffer(*first));
        let Some(buffer) = buffer else { return Push::Shut(sample.value) };
        let (id, birth) = (sample.id, sample.birth);
        if let Some(join) = join {
            join.enter(id, birth);
        }
        let pushed = buffer.push(sample, Arrival::Stage, Origin::default(), wait);
        if let (Push::Done { .. }, Some(join)) = (&pushed, join)
            && branch + 1 == nodes.len()
        {
            join.has_entered(id);
        }
        pushed
    }

    /// What is given beside the one result of a sample has nothing to be joined with.
    fn why_not_joined(&self, flow: Flow, part: Part) -> Option<&'static str> {
        let Seat::Stage { index, .. } = self.seat else { return None };
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
        origin: Origin,
        wait: Wait,
    ) -> Push<V> {
        let (id, birth) = (sample.id, sample.birth);
        loop {
            let overdue_at = origin.turn.and(self.home.buffer(index)).and_then(Buffer::overdue_at);
            match output.push(sample, Arrival::Stage, origin, sooner(wait, overdue_at)) {
                Push::Full(value) if overdue_at.is_some() => {
                    if !self.give_up_overdue(index, true) && is_over(wait, self.home.clock().now()) {
                        return Push::Full(value);
                    }
                    sample = Sample { id, birth, value };
                }
                pushed => return pushed,
            }
        }
    }

    /// Whether the next part has gone on already, given by a worker that died.
    fn is_left_out(&mut self) -> bool {
        match &mut self.step {
            Step::Running(hand) if hand.leave_out > 0 => {
                hand.leave_out -= 1;
                true
            }
            _ => false,
        }
    }

    /// Who a value is: the sample in hand, while finishing the last one, and number 0 where there never was one (the
    /// source's samples get theirs in the buffer).
    fn identity(&self, flow: Flow, part: Part) -> (SampleId, Instant) {
        match self.last {
            // By its number and part the join knows it again.
            Some(last) if self.keeps_identity(flow) => (last.id, last.birth),
            Some(last) => (SampleId { number: last.id.number, part: self.part_for(last, part) }, last.birth),
            None => {
                let birth = self.waiting_since.unwrap_or_else(|| self.home.clock().now());
                (SampleId { number: 0, part: self.last_part + 1 }, birth)
            }
        }
    }

    fn keeps_identity(&self, flow: Flow) -> bool {
        let joined = matches!(self.seat, Seat::Stage { index, .. } if self.home.is_joined(index));
        joined || matches!(flow, Flow::Fork(_))
    }

    /// A whole sample stays whole. Parts keep their own number where it is free, and count on where it is not.
    fn part_for(&self, last: SampleInfo, part: Part) -> u64 {
        let split = part == Part::OfMany || matches!(self.step, Step::Finishing);
        match (split, last.id.part) {
            (false, 0) => 0,
            (_, own) => own.max(self.last_part + 1),
        }
    }

    /// Ends the call after everything it gave has been handed over.
    pub fn settle(&mut self, ending: Ending) -> Untold {
        let mut untold = Untold::Nothing;
        match std::mem::replace(&mut self.step, Step::Ended) {
            Step::SettingUp => match ending {
                Ending::Failed(cause) => {
                    untold = self.fail(Doing::Setup, None, cause);
                    self.home.advance(self.seat, WorkerEvent::TornDown);
                }
                _ => {
                    self.step = Step::WaitingForOthers;
                    self.home.advance(self.seat, WorkerEvent::SetUp);
                }
            },
            Step::Running(hand) => return self.settle_run(hand, ending),
            Step::Pulling => match ending {
                Ending::Returned | Ending::Skipped | Ending::Kept => self.step = Step::Idle,
                Ending::Exhausted => self.give_up(),
                Ending::Failed(cause) => {
                    untold = self.fail(Doing::SourceNext, None, cause);
                    self.give_up();
                }
            },
            Step::Finishing => {
                if let Ending::Failed(cause) = ending {
                    self.fail_turn();
                    untold = self.fail(Doing::Finish, None, cause);
                }
                self.finish_turn();
                if let Seat::Stage { index, .. } = self.seat {
                    self.put_down(index);
                }
                self.give_up();
            }
            Step::TearingDown => {
                if let Ending::Failed(cause) = ending {
                    untold = self.fail(Doing::Teardown, None, cause);
                }
                self.home.advance(self.seat, WorkerEvent::TornDown);
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

    fn settle_run(&mut self, mut hand: InHand, ending: Ending) -> Untold {
        let Seat::Stage { index, .. } = self.seat else { return Untold::Nothing };
        hand.pause(self.home.clock());
        let on_error = self.home.node(index).on_error;
        if let Ending::Failed(cause) = &ending
            && hand.failures < on_error.retries()
        {
            tracing::warn!(stage = self.name(), sample = %hand.newest.id, "tried again after an error: {cause}");
            hand.failures += 1;
            hand.leave_out = hand.parts;
            self.last_part = self.part_before;
            #[cfg(processes)]
            if let Some(hold) = &hand.hold {
                hold.note_failures(hand.failures);
            }
            self.step = Step::Trying(hand);
            return Untold::RetriedFailure;
        }
        let fate = match ending {
            Ending::Returned | Ending::Exhausted => Some(Fate::Used),
            Ending::Skipped => Some(Fate::Skipped),
            Ending::Kept => None,
            Ending::Failed(_) => Some(Fate::Failed),
        };
        let (newest, took) = (hand.newest, hand.busy);
        if matches!(ending, Ending::Failed(_)) && on_error.stops() {
            self.fail_turn();
        }
        self.finish_turn();
        match fate {
            Some(fate) => self.count(index, hand, fate),
            None => self.keep(index, hand),
        }
        self.step = Step::Idle;
        let node = self.home.node(index);
        let Ending::Failed(cause) = ending else {
            return match node.timeout {
                Some(timeout) if took > timeout => {
                    tracing::warn!(stage = self.name(), sample = %newest.id, "took {took:?}, over its timeout of {timeout:?}");
                    Untold::OverTimeout
                }
                _ => Untold::Nothing,
            };
        };
        if on_error.stops() {
            let untold = self.fail(Doing::StageRun, Some(newest.id), cause);
            self.give_up();
            return untold;
        }
        tracing::warn!(stage = self.name(), sample = %newest.id, "skipped after an error: {cause}");
        Untold::SkippedFailure
    }

    /// Nothing more comes of what was taken last.
    fn finish_turn(&mut self) {
        if let Some(ticket) = self.turn.take() {
            self.end_turn(ticket);
        }
    }

    /// The stage has failed for good on what was taken last; what its other workers took later does not go on.
    fn fail_turn(&mut self) {
        if let Some(ticket) = self.turn.take()
            && let Some(buffer) = self.output().and_then(|output| self.home.buffer(output))
        {
            buffer.fail_turn(ticket).into_iter().for_each(free);
        }
    }

    /// The samples in hand have got their fate.
    fn count(&self, index: usize, hand: InHand, fate: Fate) {
        let age = self.home.clock().now().saturating_duration_since(hand.newest.birth);
        match hand.hold {
            #[cfg(processes)]
            Some(hold) => hold.settle(fate, hand.kept, hand.busy, age),
            #[cfg(not(processes))]
            Some(hold) => match hold {},
            None => {
                // What was given up as overdue has been counted.
                if let (Some(ledger), true) = (self.home.ledger(index), self.put_down(index)) {
                    ledger.settle(hand.samples + hand.kept, fate, hand.busy, age);
                }
            }
        }
    }

    /// The stage keeps the sample in hand for a later list.
    fn keep(&mut self, index: usize, hand: InHand) {
        self.kept += hand.samples;
        match hand.hold {
            #[cfg(processes)]
            Some(hold) => hold.keep(),
            #[cfg(not(processes))]
            Some(hold) => match hold {},
            None => {
                self.put_down(index);
            }
        }
    }

    fn put_down(&self, index: usize) -> bool {
        match (self.seat, self.home.buffer(index)) {
            (Seat::Stage { worker, .. }, Some(buffer)) => buffer.put_down(worker),
            _ => true,
        }
    }

    fn fail(&self, doing: Doing, sample: Option<SampleId>, cause: BoxError) -> Untold {
        let stage = self.name().to_owned();
        match self.home.fail(self.seat, Failure { stage, doing, sample, cause }) {
            true => Untold::Nothing,
            false => Untold::LaterFailure,
        }
    }

    /// Nothing more will be given: what is left is `teardown`.
    fn give_up(&mut self) {
        self.let_go_of_kept();
        self.step = Step::GivingUp;
        self.home.advance(self.seat, WorkerEvent::Done);
    }

    /// Where what it gives goes.
    fn flow(&self) -> Flow {
        match self.seat {
            Seat::Source => Flow::Next(0),
            Seat::Stage { index, .. } => self.home.flow(index),
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
        if let Step::Running(hand) = &mut self.step {
            hand.pause(self.home.clock());
        }
    }

    fn resume(&mut self) {
        let now = self.home.clock().now();
        if let Step::Running(hand) = &mut self.step {
            hand.run(now);
        }
    }
}

/// Whether a value is all that its sample became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The one result of its sample.
    Whole,
    /// One of many.
    OfMany,
}

/// No longer than until that moment.
fn sooner(wait: Wait, until: Option<Instant>) -> Wait {
    match (wait, until) {
        (Wait::Forever, Some(until)) => Wait::Until(until),
        (Wait::Until(deadline), Some(until)) => Wait::Until(deadline.min(until)),
        (wait, _) => wait,
    }
}

/// Whether a caller would not wait any longer.
fn is_over(wait: Wait, now: Instant) -> bool {
    match wait {
        Wait::No => true,
        Wait::Forever => false,
        Wait::Until(deadline) => now >= deadline,
    }
}

impl<V> Drop for Worker<V> {
    fn drop(&mut self) {
        let (doing, sample) = match (std::mem::replace(&mut self.step, Step::Ended), self.seat) {
            (Step::Ended, _) => return,
            (Step::Fresh | Step::SettingUp, _) => (Doing::Setup, None),
            (Step::Finishing, _) => (Doing::Finish, None),
            (Step::TearingDown | Step::GivingUp, _) => (Doing::Teardown, None),
            (_, Seat::Source) => (Doing::SourceNext, None),
            (Step::Running(hand) | Step::Trying(hand), Seat::Stage { index, .. }) => {
                let sample = hand.newest.id;
                self.count(index, hand, Fate::Failed);
                (Doing::StageRun, Some(sample))
            }
            (_, Seat::Stage { .. }) => (Doing::StageRun, None),
        };
        self.fail_turn();
        self.let_go_of_kept();
        self.fail(doing, sample, "its worker ended too early".into());
        self.home.advance(self.seat, WorkerEvent::TornDown);
        if works_for(self.home.id()) {
            leave_job();
        }
    }
}
