//! The simulated executor: decides the order of events.

use crate::answers::{assert_as_counted, describe as describe_answer, lines};
use crate::case::{Case, Does, EntranceSpec, Input, StageSpec, parts_of, together};
use crate::fates;
use crate::outcome::{assert_sources_add_up, describe};
use crate::stages::{Log, Logic, Numbers};
use deeppipeline::builder::{Builder, Chain, Described, Entrance, IntoStage, MadeBy, Onward, Retry, route_by};
use deeppipeline::engine::{BlockResults, ErrorPolicy, Executor, Graph, simulate};
use deeppipeline::error::{GraphError, NoAnswer};
use deeppipeline::intake::Intake;
use deeppipeline::pipeline::Answer;
use deeppipeline::report::SampleId;
use deeppipeline::simulate::{Event, Simulation};
use deeppipeline::{
    All, Batch, BoxError, Give, Latest, OnError, Pipeline, Report, Source, Stage, chain, entrance, made_by, retry,
};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What happened, and right after it the ledger and the stages that were torn down.
pub(crate) struct Moment {
    pub(crate) event: Event,
    pub(crate) report: Report,
    pub(crate) torn_down: Vec<String>,
    /// How many values the end stages had got.
    pub(crate) values: usize,
}

/// One run from start to end.
pub(crate) struct Run {
    pub(crate) moments: Vec<Moment>,
    pub(crate) outcome: String,
    /// What the end stages got, in order.
    pub(crate) values: Vec<(SampleId, i64)>,
}

pub(crate) fn run(case: &Case) -> Run {
    run_in(case, &|_| false)
}

/// The same as it is where some stages, by their index, are in processes: there a block has relays
/// that it does not have where threads hand out samples and bring results to the join themselves.
pub(crate) fn run_in(case: &Case, in_process: &dyn Fn(usize) -> bool) -> Run {
    let log = Arc::<Log>::default();
    match (&case.input, case.ends_apart()) {
        (Input::Puts(times), true) => {
            let mut simulation = build_apart(case, &log, in_process, with_entrances(case));
            fill_entrances(&mut simulation, case, |simulation, at, name, x| {
                simulation.put_into_at(at, name, x).unwrap();
            });
            for (at, x) in times.iter().zip(1..) {
                simulation.put_at(*at, x);
            }
            run_through(simulation, case, &log).0
        }
        (Input::Puts(times), false) => {
            let mut simulation = build(case, &log, in_process, with_entrances(case));
            let mut answers = Vec::new();
            for (at, x) in times.iter().zip(1..) {
                match case.answers {
                    true => answers.push(simulation.submit_at(*at, x).all()),
                    false => {
                        simulation.put_at(*at, x);
                    }
                }
            }
            fill_entrances(&mut simulation, case, |simulation, at, name, x| match case.answers {
                true => answers.push(simulation.submit_into_at(at, name, x).unwrap().all()),
                false => drop(simulation.put_into_at(at, name, x).unwrap()),
            });
            let (run, report) = run_through(simulation, case, &log);
            with_answers(run, case, answers, &report)
        }
        (Input::Source { samples, each, fails, is_live }, ends_apart) => {
            let numbers = Numbers { given: 0, samples: *samples, fails: *fails, is_live: *is_live };
            let builder = Pipeline::builder().source(numbers);
            if ends_apart {
                let mut simulation = build_apart(case, &log, in_process, builder);
                simulation.takes("source", *each).unwrap();
                return run_through(simulation, case, &log).0;
            }
            let mut simulation = build(case, &log, in_process, builder);
            simulation.takes("source", *each).unwrap();
            run_through(simulation, case, &log).0
        }
    }
}

/// A pipeline with the entrances of a case.
fn with_entrances(case: &Case) -> Builder<i64, i64> {
    let there = case.entrances.iter().enumerate().filter(|(_, spec)| spec.added_at.is_none());
    there.fold(Pipeline::builder(), |builder, (place, spec)| match spec.is_source() {
        true => builder.source_at(describe_entrance(spec), Numbers::of_entrance(place, &spec.input)),
        false => builder.entrance(describe_entrance(spec)),
    })
}

fn describe_entrance(spec: &EntranceSpec) -> Entrance {
    let mut described = entrance(&spec.name);
    if let Some(overflow) = spec.overflow {
        described = described.overflow(overflow);
    }
    if let Some(max_age) = spec.max_age {
        described = described.max_age(max_age);
    }
    described
}

/// Says when something comes in by the entrances of a case; what is put is submitted where there are answers.
fn fill_entrances<T>(
    simulation: &mut Simulation<i64, T>,
    case: &Case,
    mut put: impl FnMut(&mut Simulation<i64, T>, Duration, &str, i64),
) {
    for (place, spec) in case.entrances.iter().enumerate() {
        let EntranceSpec { name, input, .. } = spec;
        if let Some(at) = spec.added_at {
            simulation.add_source_at(at, describe_entrance(spec), Numbers::of_entrance(place, input)).unwrap();
        }
        if let Some(at) = spec.removed_at {
            simulation.remove_source_at(at, name).unwrap();
        }
        match input {
            Input::Source { each, .. } => drop(simulation.takes(name, *each).unwrap()),
            Input::Puts(times) => {
                for (at, x) in times.iter().zip(1..) {
                    put(simulation, *at, name, EntranceSpec::before_first(place) + x);
                }
            }
        }
    }
    for (at, entrance) in &case.source_flushes {
        simulation.flush_source_at(*at, &case.entrances[*entrance].name).unwrap();
    }
}

/// The run with the answers to its puts.
fn with_answers(run: Run, case: &Case, answers: Vec<Answer<Vec<i64>>>, report: &Report) -> Run {
    if !case.answers {
        return run;
    }
    let here = |answer: Answer<Vec<i64>>| answer.wait_timeout(Duration::ZERO).expect("every answer has come");
    let answers: Vec<_> = answers.into_iter().map(here).collect();
    let refused = run.refused(case);
    let kept = answers.iter().zip(&refused).filter(|(_, refused)| !**refused).map(|(answer, _)| answer.clone());
    assert_as_counted(case, &kept.collect::<Vec<_>>(), report);
    let answers = answers.iter().zip(refused).map(|(answer, refused)| (!refused).then(|| describe_answer(answer)));
    Run { outcome: run.outcome.clone() + &lines(answers), ..run }
}

impl Run {
    /// Whether each put was refused, those into one entrance after those into the other.
    fn refused(&self, case: &Case) -> Vec<bool> {
        let place = |name: &str| case.entrances.iter().position(|spec| spec.name == name);
        let puts = self.moments.iter().filter_map(|moment| match &moment.event {
            Event::Put(_) => Some((None, false)),
            Event::Refused => Some((None, true)),
            Event::PutInto { entrance, accepted } => Some((place(entrance), accepted.is_none())),
            _ => None,
        });
        let mut puts: Vec<_> = puts.collect();
        puts.sort_by_key(|(place, _)| *place);
        puts.into_iter().map(|(_, refused)| refused).collect()
    }
}

/// The simulation of a case, with all that is said of times.
fn timed<I, T>(simulation: Result<Simulation<I, T>, GraphError>, case: &Case, log: &Arc<Log>) -> Simulation<I, T> {
    let mut simulation = simulation.unwrap();
    simulation.up_after(case.up_after);
    for spec in &case.stages {
        let spec = spec.clone();
        simulation.takes_by(&spec.name.clone(), move |sample| spec.takes_for(sample.number)).unwrap();
    }
    if let Some(at) = case.stop_at {
        simulation.setstop_at(at);
    }
    for at in &case.flushes {
        simulation.flush_at(*at);
    }
    for (at, stage, paused) in &case.pauses {
        let stage = stage.map(|index| case.stages[index].name.as_str());
        match (stage, paused) {
            (None, true) => drop(simulation.pause_at(*at)),
            (None, false) => drop(simulation.resume_at(*at)),
            (Some(stage), true) => drop(simulation.pause_stage_at(*at, stage).unwrap()),
            (Some(stage), false) => drop(simulation.resume_stage_at(*at, stage).unwrap()),
        }
    }
    for (at, index, workers) in &case.scalings {
        simulation.scale_at(*at, &case.stages[*index].name, *workers).unwrap();
    }
    for (at, index, does) in &case.replacements {
        let (spec, logic) = (&case.stages[*index], logic_that(*does, case, *index, log));
        match spec.intake {
            Intake::Single | Intake::Latest => simulation.replace_at(*at, &spec.name, move || Ok(One(logic()))),
            Intake::Batch { fold: false, .. } => simulation.replace_at(*at, &spec.name, move || Ok(Each(logic()))),
            _ => simulation.replace_at(*at, &spec.name, move || Ok(List(logic()))),
        }
        .unwrap();
    }
    for (at, stage, factor) in &case.updates {
        let (spec, at, factor) = (&case.stages[*stage], *at, *factor);
        match spec.intake {
            Intake::Single | Intake::Latest => update_at::<One, _, _>(&mut simulation, at, &spec.name, factor),
            Intake::Batch { fold: false, .. } => update_at::<Each, _, _>(&mut simulation, at, &spec.name, factor),
            _ => update_at::<List, _, _>(&mut simulation, at, &spec.name, factor),
        }
    }
    simulation
}

fn update_at<S: AsMut<Logic> + 'static, I, T>(
    simulation: &mut Simulation<I, T>,
    at: Duration,
    stage: &str,
    factor: i64,
) {
    let change = move |stage: &mut S| {
        stage.as_mut().factor = factor;
        Ok(())
    };
    simulation.update_at(at, stage, change).unwrap();
}

macro_rules! around_logic {
    ($($stage:ty)*) => {
        $(impl AsMut<Logic> for $stage {
            fn as_mut(&mut self) -> &mut Logic {
                &mut self.0
            }
        })*
    };
}

around_logic!(One List Each);

/// What is said of the whole pipeline.
fn described<I: Send + 'static, T>(builder: Builder<I, T>, case: &Case, log: &Arc<Log>) -> Builder<I, T> {
    let mut builder = builder.buffer_size(case.buffer_size.clone());
    if case.fates {
        let log = Arc::clone(log);
        builder = builder.on_fate(move |event| log.tell(event.into()));
    }
    match case.overflow {
        Some(overflow) => builder.overflow(overflow),
        None => builder,
    }
}

/// Says which stages are in processes, and whether there are answers.
fn placing<'a>(case: &'a Case, in_process: &'a dyn Fn(usize) -> bool) -> impl FnOnce(&mut Graph) + 'a {
    |graph| {
        graph.answers = case.answers;
        for (index, node) in graph.stages.iter_mut().enumerate() {
            node.executor = if in_process(index) { Executor::Process } else { Executor::Thread };
        }
    }
}

fn chain_of(case: &Case, stages: Range<usize>, log: &Arc<Log>) -> Chain<i64, i64> {
    stages.fold(chain(), |chain, index| add_stage(chain, case, index, log))
}

/// A case that ends in one stage.
fn build<I: Send + 'static>(
    case: &Case,
    log: &Arc<Log>,
    in_process: &dyn Fn(usize) -> bool,
    builder: Builder<I, i64>,
) -> Simulation<I, i64> {
    let (builder, place) = (described(builder, case, log), placing(case, in_process));
    let part = |stages: Range<usize>| chain_of(case, stages, log);
    let all = 0..case.stages.len();
    let simulation = match case.branches() {
        None if let Some(inside) = case.for_each.clone() => {
            let before = builder.stage(part(0..inside.start - 1));
            let split = before.for_each(add_splitting(case, inside.start - 1, log), part(inside.clone()));
            let gathered = split.stage(add_joining::<(i64, Vec<Result<i64, NoAnswer>>)>(case, inside.end, log));
            simulate(gathered.stage(part(inside.end + 1..all.end)), place)
        }
        Some([first, second]) if case.routed => {
            let first_of_block = first.start;
            let ways = route_by(parity).on(1, part(first)).on(0, part(second.clone()));
            simulate(builder.stage(part(0..first_of_block)).route(ways).stage(part(second.end..all.end)), place)
        }
        Some([first, second]) => {
            let (before, after) = (part(0..first.start), part(second.end + 1..all.end));
            // The next stage gets the sum, as it does with a list.
            let (before, branches, behind) = (builder.stage(before), (part(first), part(second.clone())), second.end);
            let joined = match case.results() {
                BlockResults::JoinedWithLatest => {
                    before.parallel_latest(branches).stage(add_joining::<(i64, Option<i64>)>(case, behind, log))
                }
                _ => before.parallel(branches).stage(add_joining::<(i64, i64)>(case, behind, log)),
            };
            simulate(joined.stage(after), place)
        }
        None => simulate(builder.stage(part(all)), place),
    };
    timed(simulation, case, log)
}

/// A case whose two branches end the pipeline.
fn build_apart<I: Send + 'static>(
    case: &Case,
    log: &Arc<Log>,
    in_process: &dyn Fn(usize) -> bool,
    builder: Builder<I, i64>,
) -> Simulation<I> {
    let (builder, place) = (described(builder, case, log), placing(case, in_process));
    let [first, second] = case.branches().expect("it has two branches");
    let part = |stages: Range<usize>| chain_of(case, stages, log);
    let before = part(0..first.start);
    if case.routed {
        let ways = route_by(parity).on(1, part(first)).on(0, part(second));
        return timed(simulate(builder.stage(before).end_route(ways), place), case, log);
    }
    timed(simulate(builder.stage(before).end_parallel((part(first), part(second))), place), case, log)
}

/// The key by which a sample goes one of two ways.
fn parity(x: &i64) -> i64 {
    x.rem_euclid(2)
}

/// The stage that splits samples.
fn add_splitting(case: &Case, index: usize, log: &Arc<Log>) -> Chain<i64, (i64, Vec<i64>)> {
    let spec = &case.stages[index];
    let logic = logic_of(case, index, log);
    let splitting = made_by(move || Ok(Splitting(logic()))).name(&spec.name).workers(spec.workers);
    match spec.on_error {
        ErrorPolicy::Skip => chain().stage(splitting.on_error(OnError::Skip)),
        _ => chain().stage(splitting),
    }
}

/// The stage behind two branches, or behind the parts of samples.
fn add_joining<T: Summed>(case: &Case, index: usize, log: &Arc<Log>) -> Chain<T, i64> {
    let spec = &case.stages[index];
    let logic = logic_of(case, index, log);
    let pair = made_by(move || Ok(Pair(logic(), PhantomData::<fn(T)>)));
    match spec.intake {
        Intake::Latest => add(chain(), spec, pair.intake(Latest)),
        _ => add(chain(), spec, pair),
    }
}

fn logic_of(case: &Case, index: usize, log: &Arc<Log>) -> impl Fn() -> Logic + Send + Sync + 'static {
    logic_that(case.stages[index].does, case, index, log)
}

fn logic_that(
    does: Does,
    case: &Case,
    index: usize,
    log: &Arc<Log>,
) -> impl Fn() -> Logic + Send + Sync + use<> + 'static {
    let (name, is_end, log) = (case.stages[index].name.clone(), case.is_end(index), log.clone());
    move || Logic::new(&name, does, is_end, log.clone())
}

/// Adds a stage with its options.
fn add<A, T, F, N, M>(chain: Chain<A, T>, spec: &StageSpec, stage: Described<MadeBy<F>, N>) -> Chain<A, i64>
where
    Described<MadeBy<F>, N>: IntoStage<T, M, Onward<i64>>,
    Described<MadeBy<F>, N, OnError>: IntoStage<T, M, Onward<i64>>,
    Described<MadeBy<F>, N, Retry>: IntoStage<T, M, Onward<i64>>,
    T: Send + 'static,
{
    let mut stage = stage.name(&spec.name).workers(spec.workers).ordered(spec.ordered);
    if let Some(max_workers) = spec.max_workers {
        stage = stage.max_workers(max_workers);
    }
    if let Some(time_limit) = spec.time_limit {
        stage = stage.time_limit(time_limit);
    }
    if let Some(max_age) = spec.max_age {
        stage = stage.max_age(max_age);
    }
    if let Some(overflow) = spec.overflow {
        stage = stage.overflow(overflow);
    }
    match spec.on_error {
        ErrorPolicy::Stop => chain.stage(stage),
        ErrorPolicy::Skip => chain.stage(stage.on_error(OnError::Skip)),
        ErrorPolicy::Retry { times, skip: false } => chain.stage(stage.on_error(retry(times))),
        ErrorPolicy::Retry { times, skip: true } => chain.stage(stage.on_error(retry(times).then_skip())),
        other => panic!("no stage has the policy {other:?} yet"),
    }
}

fn add_stage(chain: Chain<i64, i64>, case: &Case, index: usize, log: &Arc<Log>) -> Chain<i64, i64> {
    let spec = &case.stages[index];
    let (logic, logic_of_lists) = (logic_of(case, index, log), logic_of(case, index, log));
    let logic_of_batches = logic_of(case, index, log);
    let one = made_by(move || Ok(One(logic())));
    let list = made_by(move || Ok(List(logic_of_lists())));
    match spec.intake {
        Intake::Single => add(chain, spec, one),
        Intake::Latest => add(chain, spec, one.intake(Latest)),
        Intake::All => add(chain, spec, list.intake(All)),
        Intake::Batch { max_size, max_wait, fold } => {
            let batch = Batch::new(max_size).max_wait(max_wait);
            let each = made_by(move || Ok(Each(logic_of_batches())));
            if fold { add(chain, spec, list.intake(batch.fold())) } else { add(chain, spec, each.intake(batch)) }
        }
        Intake::Window { .. } => match spec.windows().unwrap() {
            (window, 1) => add(chain, spec, list.intake(window)),
            (window, keys) => add(chain, spec, list.intake(window.by_key(move |x: &i64| x % keys))),
        },
        other => panic!("no stage takes {other} yet"),
    }
}

fn run_through<I, T>(mut simulation: Simulation<I, T>, case: &Case, log: &Arc<Log>) -> (Run, Report) {
    let mut moments = Vec::new();
    while let Some(event) = simulation.step() {
        let report = simulation.report();
        assert_sources_add_up(case, &report);
        assert!(report.balances(), "after {event:?} in {case:#?}\n{report:#?}");
        moments.push(Moment { event, report, torn_down: log.torn_down(), values: log.values().len() });
    }
    let (failure, report) = match simulation.run() {
        Ok(report) => (None, report),
        Err(failure) => {
            let report = failure.report().clone();
            (Some(failure), report)
        }
    };
    assert!(log.every_teardown_ran(), "{case:#?}");
    let values = log.values();
    let outcome = describe(&values, failure.as_ref(), &report) + &fates::lines(case, log.told(), &report);
    (Run { moments, outcome, values }, report)
}

/// A stage that gets one sample.
struct One(Logic);

impl Stage for One {
    type Input = i64;
    type Output = i64;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }

    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        self.0.stage_run(x)
    }

    fn finish(&mut self) -> Result<Give<i64>, BoxError> {
        self.0.finish()
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.0.teardown()
    }
}

/// What two branches give, as one number.
trait Summed: Clone + Send + 'static {
    fn sum(self) -> i64;
}

impl Summed for (i64, i64) {
    fn sum(self) -> i64 {
        self.0 + self.1
    }
}

impl Summed for (i64, Option<i64>) {
    fn sum(self) -> i64 {
        self.0 + self.1.unwrap_or(0)
    }
}

impl Summed for (i64, Vec<Result<i64, NoAnswer>>) {
    fn sum(self) -> i64 {
        together(self.0, self.1)
    }
}

/// A stage that gives a sample with its parts.
struct Splitting(Logic);

impl Stage for Splitting {
    type Input = i64;
    type Output = (i64, Vec<i64>);

    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }

    fn stage_run(&mut self, x: i64) -> Result<Give<Self::Output>, BoxError> {
        let split = |x| (x, parts_of(x));
        Ok(match self.0.stage_run(x)? {
            Give::One(x) => Give::One(split(x)),
            Give::Many(values) => Give::Many(Box::new(values.map(split))),
            Give::Skip => Give::Skip,
        })
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.0.teardown()
    }
}

/// A stage that gets the results of two branches.
struct Pair<T>(Logic, PhantomData<fn(T)>);

impl<T: Summed> Stage for Pair<T> {
    type Input = T;
    type Output = i64;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }

    fn stage_run(&mut self, pair: T) -> Result<Give<i64>, BoxError> {
        self.0.stage_run(pair.sum())
    }

    fn finish(&mut self) -> Result<Give<i64>, BoxError> {
        self.0.finish()
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.0.teardown()
    }
}

/// A stage that gets a list.
struct List(Logic);

impl Stage for List {
    type Input = Vec<i64>;
    type Output = i64;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }

    fn stage_run(&mut self, list: Vec<i64>) -> Result<Give<i64>, BoxError> {
        self.0.stage_run(list.iter().sum())
    }

    fn finish(&mut self) -> Result<Give<i64>, BoxError> {
        self.0.finish()
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.0.teardown()
    }
}

/// A stage that gets a list, and gives a result for each.
struct Each(Logic);

impl Stage for Each {
    type Input = Vec<i64>;
    type Output = Vec<Result<Give<i64>, BoxError>>;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }

    fn stage_run(&mut self, list: Vec<i64>) -> Result<Give<Self::Output>, BoxError> {
        Ok(Give::One(self.0.run_batch(&list)?))
    }

    fn finish(&mut self) -> Result<Give<Self::Output>, BoxError> {
        Ok(Give::One(vec![self.0.finish()]))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.0.teardown()
    }
}

impl Source for Numbers {
    type Item = i64;

    fn source_next(&mut self) -> Result<Option<i64>, BoxError> {
        Numbers::source_next(self)
    }

    fn is_live(&self) -> bool {
        self.is_live
    }
}
