//! Stages on a virtual clock: exact tests without sleeping, and answers to "what if a stage took twice as long".
//!
//! One thread drives every worker's two calls in the order of virtual time. At one instant completions run first, from
//! the end stage backwards, then puts.

mod described;
mod orders;
mod scaling;
mod sources;

use super::{Body, BodyFactory, make_call};
use crate::answer::{Answer, Promise};
use crate::answers::Receives;
use crate::buffer::Wait;
use crate::builder::Plan;
use crate::clock::{Clock, Moment, VirtualClock};
use crate::error::{EntranceError, GraphError, PutError, StageError, UnknownStage};
use crate::gives::{Ended, Flows};
use crate::graph::Graph;
use crate::job::{present_job, return_to_job};
use crate::parallel::ForkJoin;
use crate::report::Report;
use crate::sample::SampleId;
use crate::stage::Give;
use crate::supervisor::{FateCalls, Supervisor};
use crate::timeline::Timeline;
use crate::typed::Value;
use crate::unwind::{BoxError, catch_panic, release};
use crate::worker::{Call, Done, Ending, GiveError, Given, Part, Role, Worker, WorkerId};
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt;
use std::iter::{empty, once};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use orders::Orders;

/// An event at one moment of a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The workers came up.
    Up,
    /// The call that a stage (or the source) was in came to its end.
    Completed {
        /// The stage's name.
        stage: String,
        /// The sample that it worked on: for a list, the newest; none for a source.
        sample: Option<SampleId>,
    },
    /// The next `put` was taken; false when it was dropped on arrival.
    Put(bool),
    /// The next `put` was refused, because the pipeline had stopped.
    Refused,
    /// The next `put` into the entrance of that name came to its end.
    PutInto {
        /// The name of the entrance.
        entrance: String,
        /// True if it was taken, false if it was dropped on arrival; none if it was refused, because the pipeline had
        /// stopped.
        accepted: Option<bool>,
    },
    /// The pipeline was flushed.
    Flush,
    /// The source or entrance of that name was flushed.
    FlushSource(String),
    /// The stage of that name was paused; without a name the first.
    Pause(Option<String>),
    /// The stage of that name was resumed; without a name the first.
    Resume(Option<String>),
    /// The stage of that name was updated.
    Update(String),
    /// The stage of that name was to be replaced.
    Replace(String),
    /// The stage of that name was to have so many workers from then on.
    Scale(String, usize),
    /// The source of that name was to be added.
    AddSource(String),
    /// The source of that name was removed.
    RemoveSource(String),
    /// `setstop` was called.
    Stop,
    /// Something has waited as long as it was told to: a batch for more samples, or results for one before them.
    Due,
}

impl Event {
    fn of_put(entrance: Option<&str>, accepted: Option<bool>) -> Self {
        match (entrance, accepted) {
            (Some(entrance), accepted) => Event::PutInto { entrance: entrance.to_owned(), accepted },
            (None, Some(accepted)) => Event::Put(accepted),
            (None, None) => Event::Refused,
        }
    }
}

/// A pipeline on a virtual clock. Built by [`Builder::simulate`](crate::builder::Builder::simulate).
///
/// ```
/// use deeppipeline::{Pipeline, stage};
/// use std::time::Duration;
///
/// let mut simulation = Pipeline::builder()
///     .stage(stage(|x: u32| x).name("detect"))
///     .end_stage(|_: u32| {})
///     .simulate()?;
/// // A camera at 100 frames a second before a detector that manages 50:
/// for frame in 0..100 {
///     simulation.put_at(Duration::from_millis(10 * u64::from(frame)), frame);
/// }
/// let report = simulation.takes("detect", Duration::from_millis(20))?.run()?;
/// assert_eq!(report.stages[0].buffer.dropped(), 48);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Simulation<I, T = Ended> {
    supervisor: Arc<Supervisor<Value>>,
    clock: VirtualClock,
    /// The actors, from the end stage backwards, the source last; the workers of one stage in order.
    actors: Vec<Actor>,
    up_at: Option<Duration>,
    /// The puts into each entrance.
    puts: Vec<Puts>,
    orders: Orders,
    /// The changes of workers that wait for others to leave.
    to_scale: Vec<(String, usize)>,
    bodies: BodyOf,
    stop_at: Option<Duration>,
    stopped: bool,
    on_fate: Option<FateCalls<Value>>,
    types: PhantomData<fn(I) -> T>,
}

/// Returns how long a sample takes.
type DurationOf = Rc<dyn Fn(SampleId) -> Duration>;

/// Makes what a worker runs.
type BodyOf = Box<dyn FnMut(Role) -> BodyFactory<Value>>;

/// A put that is still to come.
struct NextPut {
    at: Duration,
    value: Value,
    /// The receiver of the answer, where it is a submission.
    promise: Option<Arc<Promise>>,
}

/// The puts into one entrance: one that waits for room delays the next.
struct Puts {
    entrance: Option<String>,
    to_come: VecDeque<NextPut>,
    waits: bool,
    /// The time when the put that has been waiting was called.
    since: Option<Moment>,
}

/// One worker, and what it does at the moment.
struct Actor {
    worker: Worker<Value>,
    body: Box<dyn Body<Value>>,
    duration: DurationOf,
    /// Results that the stage has given for samples of a batch, and that have not gone on.
    results: VecDeque<Result<Give<Value>, BoxError>>,
    state: State,
}

enum State {
    Idle,
    /// The user's code runs until then.
    Calling(Call<Value>, Duration),
    /// The call is done, but what it gave is not all handed over.
    Giving(Giving, Ending),
    Ended,
}

/// The results that a call gave and that are still to be handed over.
struct Giving {
    /// The result that has had no room yet.
    next: Option<Value>,
    /// The results that come after it.
    more: Box<dyn Iterator<Item = Value>>,
    /// True if the next is one of many.
    is_many: bool,
}

impl<I, T> fmt::Debug for Simulation<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl<I: Send + 'static, T> Simulation<I, T> {
    /// The pipeline gets a `put` at that time; puts are made in the order of these calls, and one that has to wait
    /// delays the next.
    pub fn put_at(&mut self, at: Duration, x: I) -> &mut Self {
        self.add_put(at, None, Box::new(x), None);
        self
    }

    /// Works like [`put_at`](Simulation::put_at), by the entrance of that name. Puts into one entrance do not delay those
    /// into another.
    ///
    /// # Errors
    /// An error if there is no entrance of that name.
    pub fn put_into_at(&mut self, at: Duration, entrance: &str, x: I) -> Result<&mut Self, EntranceError> {
        self.supervisor.check_entrance(entrance)?;
        self.add_put(at, Some(entrance), Box::new(x), None);
        Ok(self)
    }
}

impl<I: Send + 'static, T: Flows> Simulation<I, T> {
    /// The pipeline gets a `submit` at that time, as by [`put_at`](Simulation::put_at); the answer has come when the
    /// simulation has come so far. One that the pipeline refuses, since it has stopped, is discarded.
    pub fn submit_at(&mut self, at: Duration, x: I) -> Answer<T> {
        let promise = Arc::<Promise>::default();
        self.add_put(at, None, Box::new(x), Some(Arc::clone(&promise)));
        Answer::new(promise, None)
    }

    /// Submits a sample to the entrance of that name at that time, as [`submit_at`](Simulation::submit_at) does.
    ///
    /// # Errors
    /// As [`put_into_at`](Simulation::put_into_at).
    pub fn submit_into_at(&mut self, at: Duration, entrance: &str, x: I) -> Result<Answer<T>, EntranceError> {
        self.supervisor.check_entrance(entrance)?;
        let promise = Arc::<Promise>::default();
        self.add_put(at, Some(entrance), Box::new(x), Some(Arc::clone(&promise)));
        Ok(Answer::new(promise, None))
    }
}

impl<I, T> Simulation<I, T> {
    pub(crate) fn new(mut plan: Plan) -> Result<Self, GraphError> {
        let (graph, fork_joins) = (std::mem::take(&mut plan.graph), std::mem::take(&mut plan.fork_joins));
        let (on_fate, only_failures) = (plan.on_fate.take().map(FateCalls::new), plan.only_failures);
        let mut simulation = Simulation::assembled(graph, fork_joins, move |role| plan.factory(role))?;
        simulation.on_fate = on_fate;
        simulation.supervisor.hear_only_failures(only_failures);
        Ok(simulation)
    }

    /// Makes a simulation of what there is, with what each worker runs.
    fn assembled(
        graph: Graph,
        fork_joins: Vec<ForkJoin<Value>>,
        mut body_of: impl FnMut(Role) -> BodyFactory<Value> + 'static,
    ) -> Result<Self, GraphError> {
        let clock = VirtualClock::new();
        let (supervisor, workers) = Supervisor::on_clock(graph, Clock::Virtual(clock.clone()))?;
        supervisor.set_blocks(fork_joins);
        let actors = workers.into_iter().map(|worker| {
            let body = body_of(worker.role())();
            Actor::new(worker, body, Rc::new(|_| Duration::ZERO))
        });
        let mut actors: Vec<Actor> = actors.collect();
        actors.sort_by_key(Actor::place);

        Ok(Simulation {
            supervisor,
            clock,
            actors,
            up_at: Some(Duration::ZERO),
            puts: Vec::new(),
            orders: Orders::default(),
            to_scale: Vec::new(),
            bodies: Box::new(body_of),
            stop_at: None,
            stopped: false,
            on_fate: None,
            types: PhantomData,
        })
    }

    fn add_put(&mut self, at: Duration, entrance: Option<&str>, value: Value, promise: Option<Arc<Promise>>) {
        let known = self.puts.iter().position(|puts| puts.entrance.as_deref() == entrance);
        let puts = known.unwrap_or_else(|| {
            let entrance = entrance.map(str::to_owned);
            self.puts.push(Puts { entrance, to_come: VecDeque::new(), waits: false, since: None });
            self.puts.len() - 1
        });
        self.puts[puts].to_come.push_back(NextPut { at, value, promise });
    }

    /// Lets the workers come up that long after the beginning; until then samples only wait.
    pub fn up_after(&mut self, delay: Duration) -> &mut Self {
        self.up_at = Some(delay);
        self
    }

    /// Lets every sample take the stage or source of that name (`"source"` where it has none) that long; otherwise it takes
    /// no time.
    ///
    /// # Errors
    /// An error if there is no stage of that name.
    pub fn takes(&mut self, stage: &str, duration: Duration) -> Result<&mut Self, UnknownStage> {
        self.takes_by(stage, move |_| duration)
    }

    /// Lets each sample take the stage or source of that name as long as the function says.
    ///
    /// # Errors
    /// An error if there is no stage of that name.
    pub fn takes_by(
        &mut self,
        stage: &str,
        duration: impl Fn(SampleId) -> Duration + 'static,
    ) -> Result<&mut Self, UnknownStage> {
        let duration: DurationOf = Rc::new(duration);
        let mut known = false;
        for source in self.orders.new_sources_mut().filter(|source| source.name() == stage) {
            source.duration = Rc::clone(&duration);
            known = true;
        }
        for actor in self.actors.iter_mut().filter(|actor| actor.worker.name() == stage) {
            actor.duration = Rc::clone(&duration);
            known = true;
        }
        match known {
            true => Ok(self),
            false => Err(self.unknown(stage, |role| role != Role::Relay)),
        }
    }

    /// Calls `setstop` at that time; otherwise right after the last put (or, with sources, when they have ended).
    pub fn setstop_at(&mut self, at: Duration) -> &mut Self {
        self.stop_at = Some(at);
        self
    }

    /// Lets everything happen, and returns the report, which here keeps the numbers of all dropped samples.
    ///
    /// # Errors
    /// The failure that stopped the pipeline, if one did.
    pub fn run(&mut self) -> Result<Report, StageError> {
        while self.step().is_some() {}
        let report = self.supervisor.report();
        match self.supervisor.failure() {
            Some(failure) => Err(failure.with_report(report)),
            None => Ok(report),
        }
    }

    /// Returns what happened to every sample up to now.
    pub fn report(&self) -> Report {
        self.supervisor.report()
    }

    /// Returns when each of the last samples came to a stage, was taken there, and ended: the last
    /// [`record`](crate::builder::Builder::record) of each stage.
    pub fn timeline(&self) -> Timeline {
        self.supervisor.timeline()
    }

    /// Returns the virtual time since the beginning.
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Lets the next thing happen, with all that follows from it at once; `None` when nothing more will.
    pub fn step(&mut self) -> Option<Event> {
        // Between two steps the thread is its caller's: of none, or of a stage of another pipeline.
        let outside = present_job();
        let event = self.happen();
        return_to_job(outside);
        while let Some(calls) = &mut self.on_fate
            && let Some(fate) = self.supervisor.try_next_fate()
        {
            calls.call(fate);
        }
        event
    }

    fn happen(&mut self) -> Option<Event> {
        loop {
            let (at, next) = self.next()?;
            self.clock.move_to(at);
            let event = match next {
                Next::Up => {
                    self.up_at = None;
                    Event::Up
                }
                Next::Completion(index) => self.actors[index].complete(),
                Next::Put(entrance) => match self.put(entrance) {
                    Some(event) => event,
                    None => continue,
                },
                Next::Due => {
                    self.close_stalled();
                    Event::Due
                }
                Next::Order => self.obey()?,
                Next::Stop => {
                    self.stopped = true;
                    self.supervisor.close();
                    Event::Stop
                }
            };
            self.go_on_scaling();
            // Whatever happened may have made room.
            self.puts.iter_mut().for_each(|puts| puts.waits = false);
            self.settle();
            return Some(event);
        }
    }

    /// The next thing to happen, and when.
    fn next(&self) -> Option<(Duration, Next)> {
        let now = self.clock.elapsed();
        let up = self.up_at.map(|at| (at, Next::Up));
        let completions = self.actors.iter().enumerate().filter_map(|(index, actor)| match actor.state {
            State::Calling(_, until) => Some((until, Next::Completion(index))),
            State::Idle | State::Giving(..) | State::Ended => None,
        });
        let puts = self.puts.iter().enumerate().filter(|(_, puts)| !puts.waits);
        let put = puts.filter_map(|(place, puts)| Some((puts.to_come.front()?.at, Next::Put(place))));
        let are_over = self.puts.iter().all(|puts| puts.to_come.is_empty());
        let has_sources = self.supervisor.has_sources() || self.orders.new_sources().next().is_some();
        let stop_at = self.stop_at.or((!has_sources).then_some(now));
        let stop = stop_at.filter(|_| !self.stopped && are_over).map(|at| (at, Next::Stop));
        let due = self.supervisor.due_after(self.clock.now()).filter(|_| self.up_at.is_none());
        let due = due.map(|due| (self.clock.since_origin(due), Next::Due));
        // The order of the chain is the order at one instant: `min_by_key` keeps the first of equals.
        let order = self.orders.next_at().map(|at| (at, Next::Order));
        let next = up
            .into_iter()
            .chain(completions)
            .chain(due)
            .chain(put)
            .chain(order)
            .chain(stop)
            .min_by_key(|(at, _)| *at)?;
        Some((next.0.max(now), next.1))
    }

    /// Tries the next put; `None` when it has to wait for room.
    fn put(&mut self, place: usize) -> Option<Event> {
        let puts = &mut self.puts[place];
        let NextPut { at, value, promise } = puts.to_come.pop_front()?;
        let now = Clock::Virtual(self.clock.clone()).moment();
        let since = puts.since.take();
        let birth = since.unwrap_or(now);
        let entrance = puts.entrance.as_deref();
        let put = match &promise {
            Some(promise) => self.supervisor.submit(value, entrance, birth, Wait::No, Arc::clone(promise) as _),
            None => self.supervisor.put_born(value, entrance, birth, Wait::No),
        };
        match put {
            Ok(put) => {
                since.into_iter().for_each(|since| self.supervisor.note_put_waited(since, now));
                Some(Event::of_put(puts.entrance.as_deref(), Some(put.number.is_some())))
            }
            Err(PutError::Timeout(value)) => {
                puts.to_come.push_front(NextPut { at, value, promise });
                (puts.since, puts.waits) = (Some(birth), true);
                None
            }
            Err(_) => {
                let event = Event::of_put(puts.entrance.as_deref(), None);
                self.refuse(promise);
                Some(event)
            }
        }
    }

    /// Answers a submission that will not be put.
    fn refuse(&self, promise: Option<Arc<Promise>>) {
        if let Some(promise) = promise {
            promise.receive(Err(self.supervisor.discarded()));
        }
    }

    /// Lets sources that have given nothing for too long come to their end at once, as if their closers made them return.
    fn close_stalled(&mut self) {
        for source in self.supervisor.look_for_stalls() {
            let is_it = |actor: &&mut Actor| actor.worker.worker_id() == WorkerId::Source(source);
            if let Some(actor) = self.actors.iter_mut().find(is_it) {
                actor.begin_to_give(Err(Ending::Exhausted));
            }
        }
    }

    /// Lets every worker do what it can do without time passing, from the end stage backwards.
    fn settle(&mut self) {
        // Where others wait for samples that end, a worker that only looks for its next one may thereby end its last, and
        // let others go on behind the block.
        let mut looks_left = if self.supervisor.heeds_ends() { 2 } else { 1 };
        let looks = looks_left;
        while self.up_at.is_none() && looks_left > 0 {
            let now = self.clock.elapsed();
            let mut moved = false;
            for actor in &mut self.actors {
                moved |= actor.advance(now);
            }
            looks_left = if moved { looks } else { looks_left - 1 };
        }
    }
}

/// What was not put any more has its answer, too.
impl<I, T> Drop for Simulation<I, T> {
    fn drop(&mut self) {
        for put in std::mem::take(&mut self.puts).into_iter().flat_map(|puts| puts.to_come) {
            self.refuse(put.promise);
        }
    }
}

impl Actor {
    fn new(worker: Worker<Value>, body: Box<dyn Body<Value>>, duration: DurationOf) -> Self {
        Actor { worker, body, duration, results: VecDeque::new(), state: State::Idle }
    }

    /// Its place among all, from the end stage backwards: what happens at one instant happens in this order.
    fn place(&self) -> (Reverse<Option<usize>>, usize) {
        match self.worker.worker_id() {
            WorkerId::Stage { index, worker } => (Reverse(Some(index)), worker),
            WorkerId::Source(source) => (Reverse(None), source),
        }
    }

    /// Does one thing that takes no time; false when there is none.
    fn advance(&mut self, now: Duration) -> bool {
        match &mut self.state {
            State::Calling(..) | State::Ended => false,
            State::Giving(giving, ending) => {
                // One at a time: between two parts an idle stage takes what it was given.
                if let Some(moved) = giving.advance(&mut self.worker, ending) {
                    return moved;
                }
                if self.worker.is_held_up() {
                    return false;
                }
                let ending = std::mem::replace(ending, Ending::Gave(true));
                self.worker.settle(ending);
                self.give_next_result();
                true
            }

            State::Idle => match self.worker.try_next() {
                Poll::Pending => false,
                Poll::Ready(None) => {
                    self.state = State::Ended;
                    true
                }
                Poll::Ready(Some(call)) => {
                    match self.duration_of(&call) {
                        Some(duration) => self.state = State::Calling(call, now + duration),
                        None => self.make_call(call),
                    }
                    true
                }
            },
        }
    }

    /// Returns how long the call takes; `None` where it takes no time and is no event.
    fn duration_of(&self, call: &Call<Value>) -> Option<Duration> {
        match call {
            Call::StageRun(_) if self.worker.role() == Role::Relay => None,
            Call::StageRun(_) | Call::RunAgain(_) | Call::RunAlone(..) => {
                self.worker.in_flight().map(|newest| (self.duration)(newest.id))
            }
            Call::SourceNext => Some((self.duration)(SampleId { number: 0, part: 0 })),
            Call::Setup
            | Call::SourceOpen
            | Call::Update(_)
            | Call::Prepare(_)
            | Call::Exchange
            | Call::Discard
            | Call::Finish
            | Call::Teardown => None,
        }
    }

    /// Brings the call to its end: only now the user's code runs, so that its effects show in the order of time.
    fn complete(&mut self) -> Event {
        let stage = self.worker.name().to_owned();
        let mut sample = None;
        if let State::Calling(call, _) = std::mem::replace(&mut self.state, State::Idle) {
            if let Call::StageRun(_) | Call::RunAgain(_) | Call::RunAlone(..) = &call {
                sample = self.worker.in_flight().map(|newest| newest.id);
            }
            self.worker.enter();
            self.make_call(call);
        }
        Event::Completed { stage, sample }
    }

    fn make_call(&mut self, call: Call<Value>) {
        // Those of a batch that was given up before its next sample was tried again.
        if !matches!(call, Call::RunAlone(..)) {
            self.results.drain(..).for_each(release);
        }
        let done = make_call(&mut self.worker, &mut *self.body, call);
        self.worker.account(self.body.windowed());
        let gives = match done {
            Done::Failed(cause) => Err(Ending::Failed(cause)),
            Done::Exhausted => Err(Ending::Exhausted),
            Done::Windowed => Err(Ending::Windowed),
            Done::Gave(give) => Ok(give),
            Done::Each(results) => match self.worker.expect_results(results.len()) {
                Ok(()) => {
                    results.into_iter().rev().for_each(|result| self.results.push_front(result));
                    return self.give_next_result();
                }
                Err(cause) => Err(Ending::Failed(cause)),
            },
        };
        self.begin_to_give(gives);
    }

    /// Begins to hand over the next result of a batch, if one is to go on now.
    fn give_next_result(&mut self) {
        self.state = State::Idle;
        if self.worker.expects_result()
            && let Some(result) = self.results.pop_front()
        {
            self.begin_to_give(result.map_err(Ending::Failed));
        } else if !self.worker.tries_again() {
            self.results.drain(..).for_each(release);
        }
    }

    /// Begins to hand over what was given, or ends a call that gave nothing.
    fn begin_to_give(&mut self, gives: Result<Give<Value>, Ending>) {
        let ends_here = self.worker.is_end_stage();
        let (more, is_many, ending): (Box<dyn Iterator<Item = Value>>, _, _) = match gives {
            Err(ending) => (Box::new(empty()), false, ending),
            Ok(Give::Skip) => (Box::new(empty()), false, Ending::Gave(false)),
            Ok(Give::One(value)) => (Box::new(once(value)), false, Ending::Gave(true)),
            Ok(Give::Many(_)) if ends_here => (Box::new(empty()), true, Ending::Gave(true)),
            Ok(Give::Many(values)) => (values, true, Ending::Gave(false)),
        };
        self.state = State::Giving(Giving { next: None, more, is_many }, ending);
    }
}

impl Giving {
    /// Hands over the next value: whether there was room for it, or nothing when no more is to come. A Many of none is
    /// a skip, and one that panics half-way fails the sample after the parts before it.
    fn advance(&mut self, worker: &mut Worker<Value>, ending: &mut Ending) -> Option<bool> {
        let value = match self.next.take() {
            Some(value) => value,
            None => {
                worker.enter();
                match catch_panic(|| Ok(self.more.next())) {
                    Ok(value) => value?,
                    Err(cause) => {
                        self.end_with(ending, Ending::Failed(cause));
                        return None;
                    }
                }
            }
        };

        let part = if self.is_many { Part::OfMany } else { Part::Whole };
        let reached = worker.branches_reached();
        match worker.give(value, part, Wait::No) {
            Ok(Given { to_free, wants_more }) => {
                release(to_free);
                match wants_more {
                    true => *ending = Ending::Gave(true),
                    false => self.end_with(ending, Ending::Gave(true)),
                }
                Some(true)
            }
            Err(GiveError::Full(value)) => {
                self.next = Some(value);
                // Some branches of a block may have had room.
                Some(worker.branches_reached() > reached)
            }
            // What a branch gives beside its one result. (Only a border between processes refuses a value, and here is
            // none.)
            Err(GiveError::Refused(value, cause)) => {
                release(value);
                self.end_with(ending, Ending::Failed(cause));
                Some(true)
            }
        }
    }

    /// Ends the giving: nothing more is asked for.
    fn end_with(&mut self, ending: &mut Ending, with: Ending) {
        release(std::mem::replace(&mut self.more, Box::new(empty())));
        *ending = with;
    }
}

/// An event that may happen next in a simulation.
enum Next {
    Up,
    /// The end of the call of the actor at this index.
    Completion(usize),
    Due,
    /// A put into the entrance at this index.
    Put(usize),
    Order,
    Stop,
}
