//! The simulated executor: decides the order of events.

use crate::case::{Case, Input};
use crate::outcome::describe;
use crate::stages::{Log, Logic, Numbers};
use deeppipeline::{
    BoxError, Builder, Event, Give, Intake, OnError, Options, Pipeline, Report, Simulation, Source, Stage, made_by,
    retry,
};
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
        Input::Source { samples, each, fails } => {
            let numbers = Numbers { given: 0, samples: *samples, fails: *fails };
            let mut simulation = build(case, &log, Pipeline::builder().source(numbers));
            simulation.takes("source", *each).unwrap();
            run_through(simulation, case, &log)
        }
    }
}

fn build<I>(case: &Case, log: &Arc<Log>, builder: Builder<I, i64>) -> Simulation<I> {
    let mut builder = builder.overflow(case.overflow).buffer_size(case.buffer_size.clone());
    for (index, spec) in case.stages.iter().enumerate() {
        let (name, does, is_end, log) = (spec.name.clone(), spec.does, index + 1 == case.stages.len(), log.clone());
        let logic = move || Logic::new(&name, does, is_end, log.clone());
        let (times, skip) = match spec.on_error {
            OnError::Retry { times, skip } => (times, skip),
            _ => (0, false),
        };
        builder = match spec.intake {
            Intake::Single if skip => builder.stage(retry(times, made_by(move || Ok(One(logic())))).then_skip()),
            Intake::Single if times > 0 => builder.stage(retry(times, made_by(move || Ok(One(logic()))))),
            Intake::Single => builder.stage(made_by(move || Ok(One(logic())))),
            Intake::All if times > 0 => builder.stage_all(retry(times, made_by(move || Ok(List(logic()))))),
            Intake::Latest => builder.stage_latest(made_by(move || Ok(One(logic())))),
            Intake::All => builder.stage_all(made_by(move || Ok(List(logic())))),
            Intake::Batch { max_size, timeout } => {
                builder.stage_batch(max_size, timeout, made_by(move || Ok(List(logic()))))
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
        let options = Options::new().name(&spec.name).on_error(spec.on_error);
        let mut options = options.workers(spec.workers).ordered(spec.ordered);
        if let Some(timeout) = spec.timeout {
            options = options.timeout(timeout);
        }
        if let Some(max_age) = spec.max_age {
            options = options.max_age(max_age);
        }
        if let Some(overflow) = spec.overflow {
            options = options.overflow(overflow);
        }
        builder = builder.options(options);
    }
    let mut simulation = builder.simulate().unwrap();
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
}
