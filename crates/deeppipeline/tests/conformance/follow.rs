//! An executor made to follow the simulated order: every call of the user's code waits for a permit, and after each event
//! the ledger must come to what the simulation's was.

use crate::answers::{Receiver, lines};
use crate::case::{Case, Does, EntranceSpec, Input as Inputs, StageSpec, parts_of, together};
use crate::fates;
use crate::gated::{Around, Gate, GatedRelay, GatedSource, GatedStage, values_of};
use crate::outcome::{assert_sources_add_up, describe, ledger};
use crate::simulated::{Moment as Simulated, Run};
use crate::stages::{Entry, Log, Logic, Numbers, Witness};
#[cfg(processes)]
use deeppipeline::engine::Driver;
use deeppipeline::engine::{
    Accepted, Block, BlockResults, Flow, ForkJoin, Graph, Moment, Node, Place, Receives, Role, Supervisor, Values,
    Wait, Worker, spawn,
};
use deeppipeline::error::{PutError, ScaleError, UpdateError};
use deeppipeline::intake::Intake;
use deeppipeline::report::{Report, SOURCE, SampleId, SourceReport, SourceState, StageReport};
use deeppipeline::simulate::Event;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread::{JoinHandle, Thread, current, park_timeout};
use std::time::{Duration, Instant};

/// What comes of a put.
type Putting = Result<Accepted<i64>, PutError<i64>>;

/// Only a pipeline that hangs takes that long.
const WATCHDOG: Duration = Duration::from_secs(60);

/// The pipeline that a case describes.
pub(crate) fn graph(case: &Case) -> Graph {
    let results = case.results();
    let block = case.branches().map(|branches| Block {
        name: if case.routed { "route" } else { "parallel" }.to_owned(),
        branches: branches.into(),
        results,
        routed: case.routed,
    });
    let for_each = case.for_each.clone().map(|inside| Block {
        name: "for each".to_owned(),
        branches: vec![inside],
        results: BlockResults::Gathered,
        routed: false,
    });
    Graph {
        source: case.input.source_node(),
        entrances: case.entrance_nodes(),
        stages: case.stages.iter().map(node).collect(),
        blocks: block.into_iter().chain(for_each).collect(),
        buffer_size: case.buffer_size.clone(),
        overflow: case.overflow,
        answers: case.answers,
        fates: case.fates,
        ..Graph::default()
    }
}

/// Copies for the branches, and a join of their results as the simulation's stage makes it.
pub(crate) fn fork_joins(case: &Case) -> Vec<ForkJoin<i64>> {
    let fork_join = |_| ForkJoin::<i64> {
        fork: Box::new(|value, branches| vec![value; branches]),
        join: Box::new(|values| values.into_iter().flatten().sum()),
        route: case.routed.then(|| Box::new(|x: i64| Ok((usize::from(x.rem_euclid(2) == 0), x))) as _),
        copy: vec![Box::new(|value, copies| vec![value; copies])],
        parts: Some((Box::new(|x| Ok((x, parts_of(x)))), Box::new(together))),
    };
    (0..graph(case).blocks.len()).map(fork_join).collect()
}

fn node(spec: &StageSpec) -> Node {
    Node {
        intake: spec.intake,
        overflow: spec.overflow,
        on_error: spec.on_error,
        workers: spec.workers,
        max_workers: spec.max_workers,
        ordered: spec.ordered,
        time_limit: spec.time_limit,
        max_age: spec.max_age,
        ..Node::new(&spec.name)
    }
}

/// What is to drive a worker that joins a stage.
#[cfg(processes)]
pub(crate) type Joining = Driver<i64>;
#[cfg(not(processes))]
pub(crate) type Joining = Worker<i64>;

/// A run of a case on some executor.
pub(crate) struct Follower<'a> {
    pub(crate) case: &'a Case,
    supervisor: Arc<Supervisor<i64>>,
    gates: Gates,
    log: Arc<Log>,
    /// The factors of the updates that are still to come, the next one last.
    factors: Mutex<Vec<i64>>,
    /// The receivers of the answers to all puts so far, each with the place of its entrance.
    answers: Mutex<Vec<(usize, Arc<Receiver>)>>,
    /// The number of replacements so far.
    replaced: AtomicUsize,
    /// Starts a worker, and the threads of those that have joined a stage.
    start: fn(&Self, Joining) -> JoinHandle<()>,
    joined: Mutex<Vec<JoinHandle<()>>>,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(
        case: &'a Case,
        supervisor: Arc<Supervisor<i64>>,
        start: fn(&Self, Joining) -> JoinHandle<()>,
    ) -> Self {
        let names = case.stages.iter().map(|spec| spec.name.as_str()).chain(case.sources());
        let gates = Gates(names.map(|name| (name.to_owned(), Arc::default())).collect());
        supervisor.set_blocks(fork_joins(case));
        let factors = Mutex::new(case.factors().into_iter().rev().collect());
        Follower {
            case,
            supervisor,
            gates,
            log: Arc::default(),
            factors,
            answers: Mutex::default(),
            replaced: AtomicUsize::new(0),
            start,
            joined: Mutex::default(),
        }
    }

    /// The test around one stage, as it is in the process of the pipeline.
    pub(crate) fn around(&self, index: usize) -> Arc<dyn Around> {
        Arc::new(self.around_here(index))
    }

    fn around_here(&self, index: usize) -> AroundHere {
        AroundHere {
            gate: self.gates.of(&self.case.stages[index].name),
            log: Arc::clone(&self.log),
            supervisor: Arc::clone(&self.supervisor),
            next: self.name_of(index + 1),
        }
    }

    /// A thread for a worker.
    pub(crate) fn spawn(&self, worker: Worker<i64>) -> JoinHandle<()> {
        let body = match (worker.role(), &self.case.input) {
            (Role::Relay, _) => self.relay(&worker).factory(),
            (Role::Stage(index), _) => {
                let (spec, around) = (&self.case.stages[index], self.around(index));
                let logic = Logic::new(&spec.name, spec.does, self.case.is_end(index), around.clone());
                GatedStage::new(logic, spec, around).factory()
            }
            (Role::Source(_), Inputs::Source { samples, fails, is_live, .. }) => {
                let numbers = Numbers { given: 0, samples: *samples, fails: *fails, is_live: *is_live };
                GatedSource::new(numbers, self.gates.of(SOURCE)).factory()
            }
            (Role::Source(_), Inputs::Puts(_)) => {
                let (place, numbers) = self.numbers(worker.name());
                GatedSource::new(numbers, self.gates.of(&self.case.entrances[place].name)).factory()
            }
        };
        spawn(worker, body).unwrap()
    }

    /// The place of the entrance of a source, and what that gives.
    fn numbers(&self, source: &str) -> (usize, Numbers) {
        let named = |entrance: &EntranceSpec| entrance.name == source;
        let place = self.case.entrances.iter().position(named).expect("a source has an entrance");
        (place, Numbers::of_entrance(place, &self.case.entrances[place].input))
    }

    /// A relay, in front of the branches or behind one of them.
    fn relay(&self, worker: &Worker<i64>) -> GatedRelay {
        let branches = self.case.branches().into_iter().flatten().chain(self.case.for_each.clone());
        let next: Vec<usize> = match self.supervisor.flow(worker.worker_id()) {
            Flow::Fork(_) => branches.map(|branch| branch.start).collect(),
            _ => branches.map(|branch| branch.end).max().into_iter().collect(),
        };
        // Each of them is the next of the one before it.
        let around = |stage: usize| Arc::new(AroundHere { next: self.name_of(stage), ..self.around_here(0) }) as _;
        GatedRelay { next: next.into_iter().map(around).collect() }
    }

    fn name_of(&self, stage: usize) -> Option<String> {
        self.case.stages.get(stage).map(|spec| spec.name.clone())
    }

    /// Follows the simulated run, and says what came out.
    pub(crate) fn follow(self, simulated: &Run, threads: Vec<JoinHandle<()>>) -> String {
        let Follower { case, supervisor, gates, log, .. } = &self;
        let mut next_put = vec![0; case.entrances.len().max(1)];
        let mut pulled = vec![0; case.sources().count()];
        for (index, moment) in simulated.moments.iter().enumerate() {
            self.bring_about(&moment.event, &mut next_put);
            if let Event::Update(stage) = &moment.event {
                self.update(stage, is_idle(&simulated.moments[..=index], stage));
            }
            self.catch_up(moment);
            // The ledger does not show that the source was asked. It was, if it has handed over all it gave and more is
            // to come of it.
            for (name, pulled) in case.sources().zip(&mut pulled) {
                *pulled += u64::from(is_of(name)(moment));
                let all_given = match name {
                    SOURCE => case.heads().all(|head| {
                        let head = moment.report.stage(&case.stages[head].name).expect("every stage is in the report");
                        head.buffer.entered == *pulled
                    }),
                    name => moment.report.source(name).is_some_and(|source| source.counts.entered == *pulled),
                };
                let up = is_up(&simulated.moments[..=index]);
                if up && all_given && simulated.moments[index + 1..].iter().any(is_of(name)) {
                    crate::support::until(|| gates.of(name).holds_someone());
                }
            }
        }
        assert!(supervisor.wait_ended(Wait::Until(Instant::now() + WATCHDOG)), "left behind in {case:#?}");
        let joined = std::mem::take(&mut *self.joined.lock().unwrap());
        threads.into_iter().chain(joined).for_each(|thread| thread.join().unwrap());
        assert!(log.every_teardown_ran(), "{case:#?}");
        let report = supervisor.report();
        assert_sources_add_up(case, &report);
        let outcome = describe(&log.values(), supervisor.failure().as_ref(), &report);
        let mut answers = self.answers.lock().unwrap();
        answers.sort_by_key(|(entrance, _)| *entrance);
        let told = std::iter::from_fn(|| supervisor.next_fate()).map(Into::into).collect();
        outcome + &fates::lines(case, told, &report) + &lines(answers.iter().map(|(_, answer)| answer.describe()))
    }

    fn bring_about(&self, event: &Event, next_put: &mut [i64]) {
        let mut put = |entrance: Option<&str>| {
            let place = self.case.entrances.iter().position(|spec| Some(spec.name.as_str()) == entrance);
            next_put[place.unwrap_or(0)] += 1;
            let value = place.map_or(0, EntranceSpec::before_first) + next_put[place.unwrap_or(0)];
            let receiver = self.case.answers.then(Arc::<Receiver>::default);
            self.answers.lock().unwrap().extend(receiver.clone().map(|receiver| (place.unwrap_or(0), receiver)));
            let put = match self.case.by_tasks {
                true => put_by_task(&self.supervisor, value, entrance, receiver),
                false => put_by_thread(&self.supervisor, value, entrance, receiver),
            };
            put.map(|put| put.number.is_some())
        };
        match event {
            Event::Up => {
                for (name, gate) in &self.gates.0 {
                    let spec = self.case.stages.iter().find(|spec| spec.name == *name);
                    (0..spec.map_or(1, |spec| spec.workers)).for_each(|_| gate.permit(None));
                }
            }
            Event::Completed { stage, sample } => self.gates.of(stage).permit(*sample),
            Event::Put(accepted) => assert_eq!(put(None).unwrap(), *accepted, "put {next_put:?}"),
            Event::Refused => drop(put(None).unwrap_err()),
            Event::PutInto { entrance, accepted } => {
                assert_eq!(put(Some(entrance)).ok(), *accepted, "put {next_put:?} into {entrance}");
            }
            Event::Flush => self.supervisor.flush(),
            // One that is still to come is unknown to both.
            Event::FlushSource(name) => drop(self.supervisor.flush_source(name)),
            Event::Pause(stage) => self.supervisor.pause(stage.as_deref()).unwrap(),
            Event::Resume(stage) => self.supervisor.resume(stage.as_deref()).unwrap(),
            Event::Replace(stage) => self.replace(stage),
            Event::Scale(stage, workers) => self.scale(stage, *workers),
            Event::AddSource(name) => self.add_source(name),
            // One that was not added, since the pipeline had stopped, is unknown to both.
            Event::RemoveSource(name) => drop(self.supervisor.remove_source(name)),
            Event::Stop => self.supervisor.close(),
            Event::Update(_) => {}
            other => panic!("{other:?} is not known here"),
        }
    }

    fn scale(&self, stage: &str, workers: usize) {
        let Ok(begun) = self.supervisor.scale(stage, workers, Some(WATCHDOG), |_| Ok::<_, Infallible>(()));
        // Once the pipeline stops, it is refused, as in the simulation.
        let (scaling, joining) = match begun {
            Err(ScaleError::NotRunning { .. }) => return,
            begun => begun.unwrap(),
        };
        for worker in joining {
            self.gates.of(stage).permit(None);
            self.joined.lock().unwrap().push((self.start)(self, worker));
        }
        drop(scaling);
    }

    fn add_source(&self, name: &str) {
        let spec = self.case.entrances.iter().find(|spec| spec.name == name).expect("a source has an entrance");
        // Once the pipeline stops, it is refused, as in the simulation.
        if let Ok(worker) = self.supervisor.add_source(spec.node(), None) {
            self.joined.lock().unwrap().push(self.spawn(worker));
        }
    }

    fn replace(&self, stage: &str) {
        let (_, index, does) = self.case.replacements[self.replaced.fetch_add(1, Ordering::Relaxed)];
        assert_eq!(self.case.stages[index].name, stage);
        let values = match self.supervisor.place_of_stage(stage).unwrap() {
            #[cfg(processes)]
            (_, true) => Values::Bytes(postcard::to_stdvec(&does).unwrap().into()),
            _ => Values::Here(Arc::new(does)),
        };
        // A worker may still have to hear that the one before was given up.
        let give_up = Instant::now() + WATCHDOG;
        let replacement = loop {
            match self.supervisor.replace(stage, values.clone()) {
                Err(UpdateError::BeingReplaced { .. }) if Instant::now() < give_up => std::thread::yield_now(),
                // Once the pipeline stops, it is refused, as in the simulation.
                Err(UpdateError::NotRunning { .. }) => return,
                replacement => break replacement.unwrap(),
            }
        };
        self.supervisor.let_go_on(&replacement);
    }

    /// Tells a stage the next factor. A worker on a thread takes nothing more before it has applied that. To one in a
    /// process it is on its way, which is waited for where the worker is idle.
    fn update(&self, stage: &str, is_idle: bool) {
        let factor = self.factors.lock().unwrap().pop().expect("an update has a factor");
        let Ok((_, in_process)) = self.supervisor.place_of_stage(stage) else { return };
        // Once the pipeline stops, it is refused, as in the simulation.
        let Ok(updated) = self.supervisor.update(stage, Some(""), values_of(factor, in_process)) else { return };
        if in_process && is_idle {
            let Ok(outcome) = self.supervisor.wait_updated(&updated, Some(WATCHDOG), |_| Ok::<_, Infallible>(()));
            outcome.unwrap();
        }
    }

    /// Waits until the ledger is what the simulation's was after the same event, and the same stages are torn down. (A
    /// failure shows in the ledger before it has discarded every buffer; after that comes the teardown, or for a failed
    /// setup the end of all.)
    fn catch_up(&self, moment: &Simulated) {
        let Follower { case, supervisor, log, .. } = self;
        let wanted = ledger(&moment.report);
        let give_up = Instant::now() + WATCHDOG;
        if moment.event == Event::Up && case.stages.iter().any(|spec| spec.does == Does::FailInSetup) {
            supervisor.wait_ended(Wait::Until(give_up));
        }
        loop {
            let report = supervisor.report();
            // What is on its way through a relay behind a branch has no row, and may still come second to the join.
            // And a source that has given its last may still have to end.
            let is_settled = report.balances()
                && report.in_relays() == moment.report.in_relays()
                && sources_over(&report) == sources_over(&moment.report);
            if ledger(&report) == wanted && log.torn_down() == moment.torn_down && is_settled {
                return;
            }
            assert!(
                Instant::now() < give_up,
                "after {:?} the simulation has\n{wanted}\n(torn down: {:?}) and the executor has\n{}\n(torn down: {:?}, \
                 balances: {}) in {case:#?}",
                moment.event,
                moment.torn_down,
                ledger(&report),
                log.torn_down(),
                report.balances()
            );
            std::thread::yield_now();
        }
    }
}

/// The number of sources from which nothing more comes.
fn sources_over(report: &Report) -> usize {
    let is_over = |source: &&SourceReport| matches!(source.state, SourceState::Ended | SourceState::Failed);
    report.sources.iter().filter(is_over).count()
}

/// A put that waits for room.
fn put_by_thread(
    supervisor: &Supervisor<i64>,
    x: i64,
    entrance: Option<&str>,
    receiver: Option<Arc<Receiver>>,
) -> Putting {
    let wait = Wait::Until(Instant::now() + WATCHDOG);
    match receiver {
        Some(receiver) => supervisor.submit(x, entrance, Moment::now(), wait, receiver),
        None => supervisor.put_at(x, entrance, wait),
    }
}

/// Wakes the task of a thread that runs one.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A put by a task, which stands in line for room.
fn put_by_task(
    supervisor: &Supervisor<i64>,
    mut x: i64,
    entrance: Option<&str>,
    receiver: Option<Arc<Receiver>>,
) -> Putting {
    let (birth, give_up) = (Moment::now(), Instant::now() + WATCHDOG);
    let (mut place, waker) = (Place::default(), Waker::from(Arc::new(Unpark(current()))));
    let receiver = receiver.map(|receiver| receiver as Arc<dyn Receives<i64>>);
    loop {
        let put = match &receiver {
            Some(receiver) => supervisor.submit_or_stand(x, entrance, birth, receiver, &mut place, &waker),
            None => supervisor.put_or_stand(x, entrance, birth, &mut place, &waker),
        };
        match put {
            Err(PutError::Timeout(value)) if Instant::now() < give_up => x = value,
            put => {
                supervisor.leave(&mut place, put.is_ok());
                return put;
            }
        }
        park_timeout(give_up.saturating_duration_since(Instant::now()));
    }
}

fn is_up(past: &[Simulated]) -> bool {
    past.iter().any(|moment| moment.event == Event::Up)
}

/// Whether the stage of that name, which is up, has nothing in flight.
pub(crate) fn is_idle(past: &[Simulated], stage: &str) -> bool {
    let last = past.last().and_then(|moment| moment.report.stage(stage));
    is_up(past) && last.is_some_and(|stage| stage.counts.in_flight == 0)
}

fn is_of(source: &str) -> impl Fn(&Simulated) -> bool {
    move |moment| matches!(&moment.event, Event::Completed { stage, .. } if stage == source)
}

/// A gate for each worker; all open when the test is over, so that none stays behind after a failure.
struct Gates(Vec<(String, Arc<Gate>)>);

impl Gates {
    fn of(&self, worker: &str) -> Arc<Gate> {
        let (_, gate) = self.0.iter().find(|(name, _)| name == worker).expect("every worker has a gate");
        Arc::clone(gate)
    }
}

impl Drop for Gates {
    fn drop(&mut self) {
        self.0.iter().for_each(|(_, gate)| gate.let_all_pass());
    }
}

/// The test around a stage, in the process of the pipeline.
struct AroundHere {
    gate: Arc<Gate>,
    log: Arc<Log>,
    supervisor: Arc<Supervisor<i64>>,
    /// The stage after this one.
    next: Option<String>,
}

impl Witness for AroundHere {
    fn note(&self, entry: Entry) {
        self.log.note(entry);
    }
}

impl Around for AroundHere {
    fn pass(&self, sample: Option<SampleId>) {
        self.gate.pass(sample);
    }

    fn next_has_taken(&self) {
        crate::support::until(|| {
            let report = self.supervisor.report();
            let next = self.next.as_deref().and_then(|next| report.stage(next));
            next.is_none_or(|stage| stage.counts.in_flight > 0 || !can_take(stage))
        });
    }
}

fn can_take(stage: &StageReport) -> bool {
    match stage.intake {
        _ if stage.paused => false,
        Intake::All => stage.buffer.waiting >= stage.buffer_size as u64,
        Intake::Batch { max_wait, .. } if max_wait.is_zero() => stage.buffer.waiting > 0,
        Intake::Batch { max_size, .. } => stage.buffer.waiting >= max_size as u64,
        _ => stage.buffer.waiting > 0,
    }
}
