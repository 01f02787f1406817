//! What a stage may ask: its worker, and its sample's age.

use deeppipeline::error::{RunError, StartError};
use deeppipeline::pipeline::current_worker;
use deeppipeline::simulate::run_stage;
use deeppipeline::{BoxError, Give, OnError, Pipeline, Stage, Window, current_sample, made_by, stage};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// Gives its index as it was in `setup` and is now, once both workers have a sample.
struct Index {
    both: Arc<Barrier>,
    in_setup: Option<usize>,
}

impl Stage for Index {
    type Input = u32;
    type Output = (Option<usize>, Option<usize>);

    fn setup(&mut self) -> Result<(), BoxError> {
        self.in_setup = current_worker().map(|worker| worker.index());
        Ok(())
    }

    fn stage_run(&mut self, _: u32) -> Result<Give<Self::Output>, BoxError> {
        self.both.wait();
        Ok(Give::One((self.in_setup, current_worker().map(|worker| worker.index()))))
    }
}

#[test]
fn each_worker_has_an_index() {
    let both = Arc::new(Barrier::new(2));
    let make = move || Ok(Index { both: Arc::clone(&both), in_setup: None });
    let stream = Pipeline::builder().source([1, 2].into_iter()).stage(made_by(make).workers(2)).stream().unwrap();
    let mut got: Vec<_> = stream.map(Result::unwrap).collect();
    got.sort_unstable();
    assert_eq!(got, [(Some(0), Some(0)), (Some(1), Some(1))]);
    assert!(current_worker().is_none(), "outside of a pipeline");
}

#[test]
fn the_age_of_a_sample_is_on_the_clock_of_its_pipeline() {
    let mut simulation = Pipeline::builder()
        .stage(stage(|x: u32| x).name("work"))
        .end_stage(|_: u32| assert_eq!(current_sample().unwrap().age(), Duration::from_secs(30)))
        .simulate()
        .unwrap();
    simulation.put_at(Duration::from_secs(5), 1).takes("work", Duration::from_secs(30)).unwrap();
    assert_eq!(simulation.run().unwrap().stages[1].counts.used, 1);
}

/// Holds what it gets until the end, and fails on 13.
#[derive(Default)]
struct Holds(Vec<u32>);

impl Stage for Holds {
    type Input = u32;
    type Output = u32;

    fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
        if x == 13 {
            return Err("13 is bad".into());
        }
        self.0.push(x);
        Ok(Give::Skip)
    }

    fn finish(&mut self) -> Result<Give<u32>, BoxError> {
        Ok(Give::many(std::mem::take(&mut self.0)))
    }
}

#[test]
fn a_stage_alone_is_run_to_its_finish() {
    let run = run_stage(stage(Holds::default()).on_error(OnError::Skip), [1, 13, 3]).unwrap();
    assert_eq!((run.report.counts.skipped, run.report.counts.failed), (2, 1));
    assert_eq!(
        run.gave.iter().map(|(id, x)| (id.to_string(), *x)).collect::<Vec<_>>(),
        [("3.1".to_owned(), 1), ("3.2".to_owned(), 3)]
    );
}

#[test]
fn a_stage_alone_that_fails_says_on_what() {
    let error = run_stage(Holds::default(), [1, 13]).unwrap_err();
    let RunError::Stage(error) = error else { panic!("{error}") };
    assert_eq!((error.sample().unwrap().number, error.cause().to_string()), (2, "13 is bad".to_owned()));
}

#[test]
fn a_stage_alone_is_described_as_in_a_pipeline() {
    let run = run_stage(stage(|last: Vec<u32>| last).intake(Window::new(2)), [1, 2, 3]).unwrap();
    assert_eq!(run.values(), [[1, 2], [2, 3]]);
    let wrong = run_stage(stage(|last: Vec<u32>| last).intake(Window::new(0)), [1]).unwrap_err();
    assert!(matches!(wrong, RunError::Start(StartError::Graph(_))), "{wrong}");
}
