//! The simulated executor: decides the order of events.

use crate::case::{Case, Input, StageSpec};
use crate::outcome::describe;
use crate::stages::{Log, Logic, Numbers};
use deeppipeline::{
    BoxError, Builder, Event, Give, Intake, OnError, Options, Pipeline, Report, Simulation, Source, Stage, made_by,
    retry,
};
use std::ops::Range;
use std::sync::Arc;

/// What happened, and right after it the ledger and the stages that were torn down.
pub(crate) struct Moment {
    pub(crate) event: Event,
    pub(crate) report: Report,
    pub(crate) torn_down: Vec<String>,
}

/// One run from start to end.
pub(crate) struct Run {
    pub(crate) moments: Vec<Moment>,
    pub(crate) outcome: String,
}

pub(crate) fn run(case: &Case) -> Run {
    let log = Arc::<Log>::default();
    match &case.input {
        Input::Puts(times) => {
            let mut simulation = build(case, &log, Pipeline::builder());
            for (at, x) in times.iter().zip(1..) {
                simulation.put_at(*at, x);
            }
            run_through(simulation, case, &log)
        }
        Input::Source { samples, each, fails, is_live } => {
            let numbers = Numbers { given: 0, samples: *samples, fails: *fails, is_live: *is_live };
            let mut simulation = build(case, &log, Pipeline::builder().source(numbers));
            simulation.takes("source", *each).unwrap();
            run_through(simulation, case, &log)
        }
    }
}

fn build<I: 'static>(case: &Case, log: &Arc<Log>, builder: Builder<I, i64>) -> Simulation<I> {
    let builder = builder.buffer_size(case.buffer_size.clone());
    let builder = match case.overflow {
        Some(overflow) => builder.overflow(overflow),
        None => builder,
    };
    let add = |mut builder: Builder<I, i64>, stages: Range<usize>| {
        for index in stages {
            builder = add_stage(builder, case, index, log);
        }
        builder
    };
    let all = 0..case.stages.len();
    let mut simulation = match case.branches() {
        None => add(builder, all).simulate(),
        Some([first, second]) if case.is_joined() => {
            let builder = add(builder, 0..first.start);
            let joined = builder.parallel(|branch| add(branch, first), |branch| add(branch, second.clone()));
            // The next stage gets the sum, as it does with a list.
            add_joined(joined, case, second.end, log, &add).simulate()
        }
        Some([first, second]) => {
            let builder = add(builder, 0..first.start);
            builder.end_parallel(|branch| add(branch, first), |branch| add(branch, second)).simulate()
        }
    }
    .unwrap();
    simulation.up_after(case.up_after);
    for spec in &case.stages {
        let spec = spec.clone();
        simulation.takes_by(&spec.name.clone(), move |sample| spec.takes_for(sample.number)).unwrap();
    }
    if let Some(at) = case.stop_at {
        simulation.setstop_at(at);
    }
    simulation
}

/// The stage behind two branches, and all after it.
fn add_joined<I: 'static>(
    builder: Builder<I, (i64, i64)>,
    case: &Case,
    index: usize,
    log: &Arc<Log>,
    add: &impl Fn(Builder<I, i64>, Range<usize>) -> Builder<I, i64>,
) -> Builder<I, i64> {
    let spec = &case.stages[index];
    let logic = logic_of(case, index, log);
    let pair = made_by(move || Ok(Pair(logic())));
    let builder = match spec.intake {
        Intake::Latest => builder.stage_latest(pair),
        _ => builder.stage(pair),
    };
    add(builder.options(options_of(spec)), index + 1..case.stages.len())
}

fn logic_of(case: &Case, index: usize, log: &Arc<Log>) -> impl Fn() -> Logic + Send + Sync + 'static {
    let spec = &case.stages[index];
    let (name, does, is_end, log) = (spec.name.clone(), spec.does, case.is_end(index), log.clone());
    move || Logic::new(&name, does, is_end, log.clone())
}

fn options_of(spec: &StageSpec) -> Options {
    let mut options = Options::new().name(&spec.name).workers(spec.workers).ordered(spec.ordered);
    if !matches!(spec.on_error, OnError::Retry { .. }) {
        options = options.on_error(spec.on_error);
    }
    if let Some(time_limit) = spec.time_limit {
        options = options.time_limit(time_limit);
    }
    if let Some(max_age) = spec.max_age {
        options = options.max_age(max_age);
    }
    if let Some(overflow) = spec.overflow {
        options = options.overflow(overflow);
    }
    options
}

fn add_stage<I: 'static>(builder: Builder<I, i64>, case: &Case, index: usize, log: &Arc<Log>) -> Builder<I, i64> {
    let spec = &case.stages[index];
    let logic = logic_of(case, index, log);
    let (times, skip) = match spec.on_error {
        OnError::Retry { times, skip } => (times, skip),
        _ => (0, false),
    };
    let builder = match spec.intake {
        Intake::Single if skip => builder.stage(retry(times, made_by(move || Ok(One(logic())))).then_skip()),
        Intake::Single if times > 0 => builder.stage(retry(times, made_by(move || Ok(One(logic()))))),
        Intake::Single => builder.stage(made_by(move || Ok(One(logic())))),
        Intake::All if times > 0 => builder.stage_all(retry(times, made_by(move || Ok(List(logic()))))),
        Intake::Latest => builder.stage_latest(made_by(move || Ok(One(logic())))),
        Intake::All => builder.stage_all(made_by(move || Ok(List(logic())))),
        Intake::Batch { max_size, max_wait } => {
            builder.stage_batch(max_size, max_wait, made_by(move || Ok(List(logic()))))
        }
        Intake::Window { .. } => {
            let (window, keys) = spec.windows().unwrap();
            let list = made_by(move || Ok(List(logic())));
            match keys {
                1 if times > 0 => builder.stage_window(window, retry(times, list)),
                1 => builder.stage_window(window, list),
                keys => builder.stage_window_by(window, move |x: &i64| x % keys, list),
            }
        }
        other => panic!("no stage takes {other} yet"),
    };
    builder.options(options_of(spec))
}

fn run_through<I>(mut simulation: Simulation<I>, case: &Case, log: &Arc<Log>) -> Run {
    let mut moments = Vec::new();
    while let Some(event) = simulation.step() {
        let report = simulation.report();
        assert!(report.balances(), "after {event:?} in {case:#?}\n{report:#?}");
        moments.push(Moment { event, report, torn_down: log.torn_down() });
    }
    let (failure, report) = match simulation.run() {
        Ok(report) => (None, report),
        Err(failure) => {
            let report = failure.report().clone();
            (Some(failure), report)
        }
    };
    assert!(log.every_teardown_ran(), "{case:#?}");
    Run { moments, outcome: describe(&log.values(), failure.as_ref(), &report) }
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

/// A stage that gets the results of two branches.
struct Pair(Logic);

impl Stage for Pair {
    type Input = (i64, i64);
    type Output = i64;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }

    fn stage_run(&mut self, (one, other): (i64, i64)) -> Result<Give<i64>, BoxError> {
        self.0.stage_run(one + other)
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

impl Source for Numbers {
    type Item = i64;

    fn source_next(&mut self) -> Result<Option<i64>, BoxError> {
        Numbers::source_next(self)
    }

    fn is_live(&self) -> bool {
        self.is_live
    }
}
