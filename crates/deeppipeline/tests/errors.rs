//! Errors and panics of the user's code reach the caller with stage, sample, cause and report, and leave nothing behind.

mod support;

use deeppipeline::error::{Doing, PutError, RunError, StagePanic, StartError};
use deeppipeline::report::{Outcome, SampleId};
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Source, Stage, StageError, made_by, stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::until;

/// Where a stage goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Setup,
    StageRun,
    Iterator,
    Finish,
    Teardown,
}

#[derive(Debug, thiserror::Error)]
#[error("out of order")]
struct Broken;

/// Goes wrong at one place, by an error or by a panic. Counts those alive, each on a thread of its own.
struct Faulty {
    place: Option<Place>,
    panics: bool,
    alive: Alive,
}

#[derive(Clone, Default)]
struct Alive {
    now: Arc<AtomicUsize>,
    torn_down: Arc<AtomicUsize>,
}

impl Faulty {
    fn new(place: Option<Place>, panics: bool, alive: &Alive) -> Self {
        alive.now.fetch_add(1, Ordering::SeqCst);
        Faulty { place, panics, alive: alive.clone() }
    }

    fn at(&self, place: Place) -> Result<(), BoxError> {
        match self.place == Some(place) {
            true if self.panics => panic!("out of order"),
            true => Err(Broken.into()),
            false => Ok(()),
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.alive.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Stage for Faulty {
    type Input = u32;
    type Output = u32;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.at(Place::Setup)
    }

    fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
        self.at(Place::StageRun)?;
        match self.place {
            Some(Place::Iterator) => Ok(Give::many((0..2).map(|i| if i == 1 { panic!("out of order") } else { i }))),
            _ => Ok(Give::One(x)),
        }
    }

    fn finish(&mut self) -> Result<Give<u32>, BoxError> {
        self.at(Place::Finish)?;
        Ok(Give::Skip)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.alive.torn_down.fetch_add(1, Ordering::SeqCst);
        self.at(Place::Teardown)
    }
}

fn assert_told(error: &StageError, panics: bool, doing: Doing, sample: Option<u64>) {
    assert_eq!((error.stage(), error.doing()), ("faulty", doing));
    assert_eq!(error.sample(), sample.map(|number| SampleId { number, part: 0 }));
    match panics {
        true => assert_eq!(error.cause().downcast_ref::<StagePanic>().unwrap().to_string(), "panicked: out of order"),
        false => assert!(error.cause().is::<Broken>()),
    }
    let cause = error.cause();
    let on = sample.map_or(String::new(), |number| format!(" on sample {number}"));
    assert_eq!(error.to_string(), format!("stage \"faulty\" failed in {doing}{on}: {cause}"));
    assert_eq!(error.report().outcome, Outcome::Failed);
    assert!(error.report().balances(), "{:?}", error.report());
    assert!(error.report().left_behind.is_empty());
}

#[test]
fn in_every_place_of_every_stage() {
    let places = [
        (Place::StageRun, Doing::StageRun, Some(1)),
        (Place::Iterator, Doing::StageRun, Some(1)),
        (Place::Finish, Doing::Finish, None),
        (Place::Teardown, Doing::Teardown, None),
    ];
    for (place, doing, sample) in places {
        for panics in [false, true] {
            for at in 0..3 {
                // What an end stage gives back is never looked at.
                if place == Place::Iterator && (at == 2 || !panics) {
                    continue;
                }
                let alive = Alive::default();
                let faulty = |index| Faulty::new((index == at).then_some(place), panics, &alive);
                let name = |index| if index == at { "faulty" } else { "sound" };
                let pipeline = Pipeline::builder()
                    .overflow(Overflow::Block)
                    .stage(stage(faulty(0)).name(name(0)))
                    .stage(stage(faulty(1)).name(name(1)))
                    .end_stage(stage(faulty(2)).name(name(2)))
                    .start()
                    .unwrap();
                for x in 0..5 {
                    match pipeline.put(x) {
                        Ok(put) => assert!(put.is_accepted()),
                        Err(PutError::Stage(back, error)) => assert_eq!((back, error.stage()), (x, "faulty")),
                        Err(other) => panic!("{other}"),
                    }
                }
                let error = pipeline.setstop().unwrap_err();
                assert_told(&error, panics, doing, sample);
                assert_eq!(alive.torn_down.load(Ordering::SeqCst), 3, "{place:?} {panics} {at}");
                // `setstop` has joined the threads, and each of them has freed its stage.
                assert_eq!(alive.now.load(Ordering::SeqCst), 0, "{place:?} {panics} {at}");
                let again = pipeline.setstop().unwrap_err();
                assert_eq!(again.report(), error.report());
                assert_eq!(pipeline.join().unwrap_err().to_string(), error.to_string());
            }
        }
    }
}

#[test]
fn in_setup_comes_from_start() {
    for panics in [false, true] {
        for at in 0..3 {
            let alive = Alive::default();
            let faulty = |index| Faulty::new((index == at).then_some(Place::Setup), panics, &alive);
            let name = |index| if index == at { "faulty" } else { "sound" };
            let started = Pipeline::builder()
                .stage(stage(faulty(0)).name(name(0)))
                .stage(stage(faulty(1)).name(name(1)))
                .end_stage(stage(faulty(2)).name(name(2)))
                .start();
            let Err(StartError::Stage(error)) = started else { panic!("it started") };
            assert_told(&error, panics, Doing::Setup, None);
            assert_eq!(alive.torn_down.load(Ordering::SeqCst), 2, "those that were set up");
            assert_eq!(alive.now.load(Ordering::SeqCst), 0, "{panics} {at}");
        }
    }
}

#[test]
fn in_making_a_stage_is_an_error_of_its_setup() {
    for panics in [false, true] {
        let started = Pipeline::<u32>::builder()
            .stage(
                made_by(move || -> Result<Faulty, BoxError> {
                    match panics {
                        true => panic!("out of order"),
                        false => Err(Broken.into()),
                    }
                })
                .name("faulty"),
            )
            .end_stage(|_: u32| {})
            .start();
        let Err(StartError::Stage(error)) = started else { panic!("it started") };
        assert_told(&error, panics, Doing::Setup, None);
    }
}

/// Gives three, and then goes wrong.
struct FaultySource {
    given: u32,
    panics: bool,
}

impl Source for FaultySource {
    type Item = u32;

    fn source_next(&mut self) -> Result<Option<u32>, BoxError> {
        self.given += 1;
        match self.given {
            1..=3 => Ok(Some(self.given)),
            _ if self.panics => panic!("out of order"),
            _ => Err(Broken.into()),
        }
    }
}

#[test]
fn in_the_source_after_what_came_before_has_flowed_out() {
    for panics in [false, true] {
        let ran = Pipeline::builder()
            .source(FaultySource { given: 0, panics })
            .overflow(Overflow::Block)
            .stage(|x: u32| x)
            .end_stage(|_: u32| {})
            .run();
        let Err(RunError::Stage(error)) = ran else { panic!("it ran") };
        assert_eq!((error.stage(), error.doing(), error.sample()), ("source", Doing::SourceNext, None));
        assert_eq!(error.report().stages[1].counts.used, 3);
        assert!(error.report().balances());
    }
}

#[test]
fn a_put_after_a_failure_hands_its_sample_back() {
    let alive = Alive::default();
    let pipeline = Pipeline::builder()
        .end_stage(stage(Faulty::new(Some(Place::StageRun), false, &alive)).name("faulty"))
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    until(|| pipeline.report().outcome == Outcome::Failed && alive.now.load(Ordering::SeqCst) == 0);
    let error = pipeline.put(7).unwrap_err();
    assert_eq!(error.to_string(), "stage \"faulty\" failed in stage_run on sample 1: out of order");
    assert!(matches!(&error, PutError::Stage(_, failure) if failure.cause().is::<Broken>()));
    assert_eq!(error.into_sample(), 7);
}

/// An error with a cause of its own.
#[derive(Debug)]
struct NoModel(std::io::Error);

impl std::fmt::Display for NoModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot load the model")
    }
}

impl std::error::Error for NoModel {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// What `main` prints of an error that it returns.
fn printed(error: impl Into<BoxError>) -> String {
    format!("{:?}", error.into())
}

#[test]
fn an_error_that_main_returns_is_one_readable_line_with_every_cause_once() {
    let load = |_: u32| Err::<(), _>(NoModel(std::io::Error::other("disk on fire")));
    let pipeline = || Pipeline::builder().end_stage(stage(load).name("detect"));
    let line = "stage \"detect\" failed in stage_run on sample 1: cannot load the model: disk on fire";

    let started = pipeline().start().unwrap();
    started.put(1).unwrap();
    let failed = started.setstop().unwrap_err();
    assert!(failed.cause().is::<NoModel>());
    assert_eq!(printed(failed), line);
    assert_eq!(printed(started.put(2).unwrap_err()), line);
    let run = Pipeline::builder().source([1].into_iter()).end_stage(stage(load).name("detect")).run();
    assert_eq!(printed(run.unwrap_err()), line);

    let invalid = pipeline().buffer_size(0).start().err().unwrap();
    assert_eq!(printed(invalid), "buffer_size of stage \"detect\" is 0, but must be at least 1");
    let refused = Pipeline::builder().end_stage(stage(load).name("detect").stack_size(1 << 60)).start().err().unwrap();
    let text = printed(refused);
    assert!(text.starts_with("cannot start a thread for stage \"detect\": "), "{text}");
    assert_eq!(text.matches("os error").count(), 1, "{text}");
    assert_eq!(printed("drop".parse::<deeppipeline::Overflow>().unwrap_err()).matches("\"drop\"").count(), 1);
}
