//! A start that fails says which stage failed, and why, and leaves nothing behind.

use crate::alone::is_alone;
use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{ARGUMENTS, Double, end, ended, isolated_stage, pipeline};
use deeppipeline::error::{GraphError, StartError};
use deeppipeline::{BoxError, Give, Isolated, Pipeline, Stage, isolated, worker};
use serde::{Deserialize, Serialize};
use std::time::Duration;

fn failure<I>(started: Result<Pipeline<I>, StartError>) -> String {
    match started {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it came up"),
    }
}

#[test]
fn a_worker_that_dies_before_it_is_ready_is_a_failed_start() {
    let (player, (end, values)) = (Player::new(), end::<i64>());
    let strings = player.strings().asking_in_setup();
    let other = Player::new();
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(other.strings().asking_at_the_end()))
        .stage(isolated::<Puppet>(strings))
        .end_stage(end)
        .start_without_waiting()
        .unwrap();
    pipeline.put(1).unwrap();
    player.next().at_tell(At::Setup, Do::Write("no such device\n".to_owned(), Box::new(Do::Exit(2))));
    // The other one is up already, and is torn down.
    other.next().lets(At::Teardown);
    let error = pipeline.setstop().unwrap_err();
    crate::stages::assert_clear(error.report());
    assert_eq!(
        error.to_string(),
        "stage \"Puppet 2\" failed in setup: its worker ended with exit code 2 before it was ready; the last it wrote to \
         stderr:\n  no such device"
    );
    assert_eq!(error.report().stages[0].buffer.discarded, 1);
    drop(pipeline);
    assert!(values.rest().is_empty());
}

isolated_stage! {
    /// Known to no worker under this name.
    Unknown, "unknown": |x: i64| -> i64 {
        Ok(Give::One(x))
    }
}

#[test]
fn a_stage_that_main_does_not_know_is_named_with_those_it_knows() {
    let started = pipeline().stage(isolated::<Unknown>(())).end_stage(|_: i64| {}).start();
    let text = failure(started);
    assert!(text.starts_with("stage \"Unknown\" failed in setup: its worker ended with exit code 1"), "{text}");
    assert!(
        text.contains("\"unknown\" is not among the isolated stages that main begins with, [\"double\", "),
        "{text}"
    );
    assert!(text.ends_with("add it to deeppipeline::worker() with .stage"), "{text}");
}

/// Cannot be made.
pub(crate) struct NeverMade;

impl Stage for NeverMade {
    type Input = i64;
    type Output = i64;
    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        Ok(Give::One(x))
    }
}

impl Isolated for NeverMade {
    const NAME: &str = "never made";
    type Settings = String;
    fn make(why: String) -> Result<Self, BoxError> {
        Err(why.into())
    }
}

#[test]
fn a_stage_that_cannot_be_made_is_a_failed_setup() {
    let started = pipeline().stage(isolated::<NeverMade>("no model".to_owned())).end_stage(|_: i64| {}).start();
    assert_eq!(failure(started), "stage \"NeverMade\" failed in setup: no model");
}

#[test]
fn settings_and_errors_may_be_large() {
    let why = "x".repeat(3 << 20);
    let started = pipeline().stage(isolated::<NeverMade>(why.clone())).end_stage(|_: i64| {}).start();
    assert!(failure(started) == format!("stage \"NeverMade\" failed in setup: {why}"), "the error is another");
}

#[test]
fn a_setup_that_takes_too_long_is_aborted_and_its_process_killed() {
    let player = Player::new();
    let strings = player.strings().asking_in_setup();
    let pipeline = pipeline().stage(isolated::<Puppet>(strings)).end_stage(|_: i64| {});
    let starting = std::thread::spawn(move || failure(pipeline.start_timeout(Duration::from_millis(500))));
    let mut hand = player.next();
    assert_eq!(hand.at(), At::Setup);
    assert_eq!(starting.join().unwrap(), "[\"Puppet\"] still in setup after 500ms; the pipeline was aborted");
    assert!(hand.is_gone());
}

/// Has a name of its own, and does not like negative numbers.
pub(crate) struct OwnName;

impl Stage for OwnName {
    type Input = i64;
    type Output = i64;
    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        if x < 0 { Err("too cold".into()) } else { Ok(Give::One(x)) }
    }
    fn name(&self) -> String {
        "its name".to_owned()
    }
}

impl Isolated for OwnName {
    const NAME: &str = "own name";
    type Settings = ();
    fn make((): ()) -> Result<Self, BoxError> {
        Ok(OwnName)
    }
}

#[test]
fn a_stage_that_its_process_makes_has_its_own_name() {
    let pipeline = pipeline()
        .stage(isolated::<OwnName>(()).name("said"))
        .stage(isolated::<OwnName>(()).workers(2))
        .stage(isolated::<OwnName>(()))
        .end_stage(|_: i64| {})
        .start()
        .unwrap();
    let report = pipeline.report();
    let names: Vec<_> = report.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["said", "its name", "its name 2", "closure"]);
    drop(pipeline);

    let pipeline = one_of_own_name();
    pipeline.put(-1).unwrap();
    let error = pipeline.setstop().unwrap_err();
    assert_eq!(error.to_string(), "stage \"its name\" failed in stage_run on sample 1: too cold");
}

fn one_of_own_name() -> Pipeline<i64> {
    pipeline().stage(isolated::<OwnName>(())).end_stage(|_: i64| {}).start().unwrap()
}

/// Learns from its bytes what it is, if they tell.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Shape {
    Circle { radius: i64 },
}

isolated_stage! {
    /// Takes shapes, and gives some.
    Same, "same": |shape: Shape| -> Shape {
        Ok(Give::One(shape))
    }
}

#[test]
fn samples_that_could_not_be_read_are_refused_before_there_is_one() {
    let before = pipeline().stage(isolated::<Same>(())).end_stage(|_: Shape| {}).start();
    let text = failure(before);
    assert!(
        text.starts_with("the samples in front of stage \"Same\" cannot cross from one process to another: ")
            && text.contains("#[serde(tag)]"),
        "{text}"
    );
    // Made here alone they cross nowhere.
    let made = Pipeline::builder().stage(|radius: i64| Shape::Circle { radius }).end_stage(|_: Shape| {}).start();
    drop(ended(made.unwrap()));
}

/// Settings that cannot be sent.
#[derive(Deserialize)]
struct Shy;

impl Serialize for Shy {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("too shy"))
    }
}

struct Wallflower;

impl Stage for Wallflower {
    type Input = i64;
    type Output = i64;
    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        Ok(Give::One(x))
    }
}

impl Isolated for Wallflower {
    const NAME: &str = "wallflower";
    type Settings = Shy;
    fn make(_: Shy) -> Result<Self, BoxError> {
        Ok(Wallflower)
    }
}

#[test]
fn settings_that_cannot_be_sent_are_refused() {
    let started = pipeline().stage(isolated::<Wallflower>(Shy)).end_stage(|_: i64| {}).start();
    let text = failure(started);
    assert!(text.starts_with("the settings of stage \"Wallflower\" cannot be sent to its process: "), "{text}");
}

#[test]
fn a_main_that_does_not_begin_with_worker_fails_in_the_worker_and_in_the_pipeline() {
    let started = Pipeline::builder()
        .worker_arguments(["--exact", "start::a_main_of_its_own", "--nocapture", "--quiet"])
        .stage(isolated::<Double>(()))
        .end_stage(|_: i64| {})
        .start();
    let text = failure(started);
    assert!(text.starts_with("stage \"Double\" failed in setup: its worker ended with exit code 42"), "{text}");
    assert!(text.contains("this process is a worker: begin main with deeppipeline::worker()"), "{text}");
}

/// Stands for a main that goes straight to work. As a test it has nothing to say: it starts a pipeline of one process.
#[test]
fn a_main_of_its_own() {
    let started =
        Pipeline::builder().worker_arguments(ARGUMENTS).stage(isolated::<Double>(())).end_stage(|_: i64| {}).start();
    match started {
        Ok(pipeline) => drop(ended(pipeline)),
        Err(error @ StartError::StartedInsideWorker) => {
            eprintln!("{error}");
            std::process::exit(42);
        }
        Err(error) => panic!("{error}"),
    }
}

/// A stage for each number, all under one name.
struct Times<const N: i64>;

impl<const N: i64> Stage for Times<N> {
    type Input = i64;
    type Output = i64;
    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        Ok(Give::One(N * x))
    }
}

impl<const N: i64> Isolated for Times<N> {
    const NAME: &str = "times";
    type Settings = ();
    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Times)
    }
}

#[test]
fn two_isolated_stages_of_one_name_are_refused() {
    if !is_alone("start::two_isolated_stages_of_one_name_are_refused") {
        return;
    }
    worker().stage::<Times<2>>().stage::<Times<2>>().stage::<Times<3>>().run();
    let started = pipeline().stage(isolated::<Times<3>>(())).end_stage(|_: i64| {}).start();
    let Err(StartError::Graph(GraphError::SameIsolatedName { name, first, second })) = started else {
        panic!("it came up, or failed otherwise")
    };
    assert_eq!(name, "times");
    assert!(first.ends_with("Times<2>") && second.ends_with("Times<3>"), "{first}, {second}");
}

/// Another stage under the name of one that the worker knows, with other types.
struct FalseDouble;

impl Stage for FalseDouble {
    type Input = i64;
    type Output = u64;
    fn stage_run(&mut self, _: i64) -> Result<Give<u64>, BoxError> {
        Ok(Give::One(0))
    }
}

impl Isolated for FalseDouble {
    const NAME: &str = Double::NAME;
    type Settings = ();
    fn make((): ()) -> Result<Self, BoxError> {
        Ok(FalseDouble)
    }
}

#[test]
fn a_worker_that_knows_another_stage_by_that_name_refuses_it() {
    let started = pipeline().stage(isolated::<FalseDouble>(())).end_stage(|_: u64| {}).start();
    let text = failure(started);
    assert!(text.contains("\"double\" is another stage for the pipeline than for the worker"), "{text}");
    assert!(text.contains("start::FalseDouble, which takes i64, gives u64 and is made from ()"), "{text}");
    assert!(text.contains("stages::Double, which takes i64, gives i64 and is made from ()"), "{text}");
}
