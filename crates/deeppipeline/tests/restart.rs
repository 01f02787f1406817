//! Sources that are opened again after an error or an end, while the others go on.

use deeppipeline::builder::Restart;
use deeppipeline::error::{Doing, RunError, StartError};
use deeppipeline::report::SourceState;
use deeppipeline::simulate::Event;
use deeppipeline::{BoxError, Pipeline, Source, current_sample};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A wait that no test waits for.
const LONG: Duration = Duration::from_secs(3600);
/// A wait that is soon over.
const SHORT: Duration = Duration::from_micros(1);

/// A camera that gives what it is handed, and shows whether it is open.
struct Camera {
    handed: Arc<Mutex<Receiver<Result<u32, BoxError>>>>,
    hand: Sender<Result<u32, BoxError>>,
    is_open: Arc<AtomicBool>,
}

impl Source for Camera {
    type Item = u32;

    fn source_next(&mut self) -> Result<Option<u32>, BoxError> {
        match self.handed.lock().unwrap().recv().unwrap() {
            Ok(u32::MAX) => Ok(None),
            given => given.map(Some),
        }
    }

    fn closer(&self) -> Option<Box<dyn Fn() + Send + Sync>> {
        let hand = self.hand.clone();
        Some(Box::new(move || drop(hand.send(Err("closed under its hands".into())))))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.is_open.store(false, Ordering::SeqCst);
    }
}

/// What a test knows of a camera that is opened again and again.
struct Known {
    hand: Sender<Result<u32, BoxError>>,
    opened: Arc<AtomicU32>,
    is_open: Arc<AtomicBool>,
}

/// A camera that ends with `u32::MAX`, and a function that opens it.
fn camera() -> (Known, impl FnMut() -> Result<Camera, BoxError> + Send + 'static) {
    let (hand, handed) = channel();
    let handed = Arc::new(Mutex::new(handed));
    let known = Known { hand: hand.clone(), opened: Arc::default(), is_open: Arc::default() };
    let (opened, is_open) = (Arc::clone(&known.opened), Arc::clone(&known.is_open));
    let open = move || {
        opened.fetch_add(1, Ordering::SeqCst);
        is_open.store(true, Ordering::SeqCst);
        Ok(Camera { handed: Arc::clone(&handed), hand: hand.clone(), is_open: Arc::clone(&is_open) })
    };
    (known, open)
}

fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

/// A function that fails so many times, then opens a source of these samples again and again.
fn failing_first(times: u32, samples: u32) -> impl FnMut() -> Result<std::ops::Range<u32>, BoxError> + Send + 'static {
    let mut calls = 0;
    move || {
        calls += 1;
        if calls <= times { Err(format!("failure {calls}").into()) } else { Ok(0..samples) }
    }
}

#[test]
fn a_source_is_opened_again_after_an_error_and_after_an_end_and_numbers_go_on() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let (known, open) = camera();
    let pipeline = Pipeline::<u32>::builder()
        .source(Restart::new(open).wait(SHORT))
        .end_stage(move |x: u32| kept.lock().unwrap().push((current_sample().unwrap().id.number, x)))
        .start()
        .unwrap();
    for x in [1, 2, u32::MAX, 3] {
        known.hand.send(Ok(x)).unwrap();
    }
    known.hand.send(Err("went away".into())).unwrap();
    known.hand.send(Ok(4)).unwrap();
    until(|| seen.lock().unwrap().len() == 4);
    let report = pipeline.setstop().unwrap();
    assert_eq!(*seen.lock().unwrap(), [(1, 1), (2, 2), (3, 3), (4, 4)]);
    assert_eq!(known.opened.load(Ordering::SeqCst), 3);
    let source = &report.sources[0];
    assert_eq!((source.restarts, source.state, source.counts.entered), (2, SourceState::Ended, 4));
    assert!(report.balances());
}

#[test]
fn the_wait_is_doubled_up_to_its_limit_and_ends_after_so_many_times() {
    let opened = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&opened);
    let open = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Err::<std::ops::Range<u32>, _>("no such address".into())
    };
    let seconds = Duration::from_secs;
    let mut simulation = Pipeline::<u32>::builder()
        .source(Restart::new(open).wait(seconds(1)).at_most(seconds(5)).times(5))
        .end_stage(|_: u32| {})
        .simulate()
        .unwrap();
    let mut moments = Vec::new();
    while let Some(event) = simulation.step() {
        if event == Event::Due || event == Event::Up {
            moments.push((simulation.now().as_secs(), opened.load(Ordering::SeqCst)));
        }
    }
    assert_eq!(moments, [(0, 1), (1, 2), (3, 3), (7, 4), (12, 5), (17, 6)]);
    let error = simulation.run().unwrap_err();
    assert_eq!((error.stage(), error.doing()), ("source", Doing::SourceOpen));
    let source = &error.report().sources[0];
    assert_eq!((source.state, source.restarts), (SourceState::Failed, 5));
    assert_eq!(source.last_error.as_deref(), Some("no such address"));
}

#[test]
fn a_sample_makes_the_waits_short_again() {
    let mut calls = 0;
    // One that fails twice before each time that it works.
    let open = move || {
        calls += 1;
        if calls % 3 == 0 { Ok(0..2) } else { Err("not yet".into()) }
    };
    let mut simulation = Pipeline::<u32>::builder()
        .source(Restart::new(open).wait(Duration::from_secs(1)).times(3))
        .end_stage(|_: u32| {})
        .simulate()
        .unwrap();
    simulation.setstop_at(Duration::from_secs(20));
    let report = simulation.run().unwrap();
    // It works after 1 + 2 s, and is lost at once; then after 1 + 2 + 4 s each time.
    assert_eq!(report.sources[0].counts.taken, 2 * 3);
    assert!(report.balances());
}

#[test]
fn a_first_opening_that_fails_is_a_try() {
    let frames = |times| {
        let source = Restart::new(failing_first(times, 3)).wait(SHORT).times(2);
        let mut simulation = Pipeline::<u32>::builder().source(source).end_stage(|_: u32| {}).simulate().unwrap();
        simulation.setstop_at(Duration::from_micros(4)).run().map(|report| report.sources[0].counts.taken)
    };
    assert_eq!(frames(2).unwrap(), 6);
    assert_eq!(frames(3).unwrap_err().cause().to_string(), "failure 3");
}

#[test]
fn while_one_waits_the_others_go_on_and_the_report_says_for_what() {
    let ((broken, open), (fine, open_fine)) = (camera(), camera());
    let pipeline = Pipeline::<u32>::builder()
        .source_at("broken", Restart::new(open).wait(LONG).at_most(LONG).live())
        .source_at("fine", Restart::new(open_fine).live())
        .end_stage(|_: u32| {})
        .start()
        .unwrap();
    broken.hand.send(Err("the lens is gone".into())).unwrap();
    until(|| pipeline.report().source("broken").unwrap().state == SourceState::Waiting);
    assert!(!broken.is_open.load(Ordering::SeqCst));
    let report = pipeline.report();
    let row = report.source("broken").unwrap();
    assert_eq!((row.last_error.as_deref(), row.restarts), (Some("the lens is gone"), 0));
    assert!(row.next_try.is_some_and(|wait| wait <= LONG));
    assert!(report.to_string().contains(" s: the lens is gone"), "{report}");
    until(|| pipeline.report().source("fine").unwrap().state == SourceState::Streaming);
    fine.hand.send(Ok(1)).unwrap();
    until(|| pipeline.report().source("fine").unwrap().counts.taken == 1);
    let report = pipeline.setstop().unwrap();
    assert_eq!(report.source("broken").unwrap().state, SourceState::Ended);
    assert!(report.balances());
}

#[test]
fn a_wait_ends_with_a_stop_an_abort_and_a_removal() {
    for end in ["setstop", "abort", "remove_source", "drop"] {
        let pipeline = Pipeline::<u32>::builder()
            .source_at("gone", Restart::new(failing_first(u32::MAX, 0)).wait(LONG).at_most(LONG))
            .entrance("door")
            .end_stage(|_: u32| {})
            .start()
            .unwrap();
        until(|| pipeline.report().source("gone").unwrap().state == SourceState::Waiting);
        match end {
            "setstop" => assert_eq!(pipeline.setstop().unwrap().left_behind, Vec::<String>::new()),
            "abort" => assert_eq!(pipeline.abort().left_behind, Vec::<String>::new()),
            "remove_source" => {
                pipeline.remove_source("gone").unwrap();
                assert_eq!(pipeline.report().source("gone").unwrap().state, SourceState::Ended);
                pipeline.setstop().unwrap();
            }
            _ => drop(pipeline),
        }
    }
}

#[test]
fn a_source_that_is_closed_for_a_stop_is_not_opened_again() {
    for remove in [true, false] {
        let (known, open) = camera();
        let pipeline = Pipeline::<u32>::builder().entrance("door").end_stage(|_: u32| {}).start().unwrap();
        pipeline.add_source("camera", Restart::new(open).wait(SHORT).times(1)).unwrap();
        until(|| pipeline.report().source("camera").unwrap().wait.is_some());
        if remove {
            pipeline.remove_source("camera").unwrap();
        }
        let report = pipeline.setstop().unwrap();
        let row = report.source("camera").unwrap();
        assert_eq!((row.state, row.restarts), (SourceState::Ended, 0));
        assert_eq!(row.last_error.as_deref(), Some("closed under its hands"));
        assert_eq!(known.opened.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_source_that_panics_is_opened_again() {
    let mut calls = 0;
    let open = move || {
        calls += 1;
        if calls == 1 {
            panic!("in the driver")
        }
        let call = calls;
        Ok((0..3).inspect(move |x| assert!(call == 3 || *x < 2, "in the {call}nd")))
    };
    let source = Restart::new(open).wait(SHORT);
    let pipeline = Pipeline::<u32>::builder().source(source).stage(|x: u32| x).stream().unwrap();
    let seen: Vec<u32> = pipeline.take(5).map(Result::unwrap).collect();
    assert_eq!(seen, [0, 1, 0, 1, 2]);
}

#[test]
fn a_restart_that_cannot_work_is_refused() {
    let refused = |restart: Restart<_, _>| {
        let named = Pipeline::<u32>::builder().source_at("north", restart).end_stage(|_: u32| {}).start();
        named.unwrap_err().to_string()
    };
    let restart = || Restart::new(failing_first(0, 1));
    assert!(refused(restart().wait(Duration::ZERO)).starts_with("wait of the restart of \"north\" is 0"));
    let crossed = refused(restart().wait(Duration::from_secs(2)).at_most(Duration::from_secs(1)));
    assert!(crossed.contains("is 1s, but must be at least its wait, which is 2s"), "{crossed}");
    assert!(refused(restart().times(0)).starts_with("times of the restart of \"north\" is 0"));
    let single = Pipeline::<u32>::builder().source(restart().times(0)).end_stage(|_: u32| {}).run();
    assert!(matches!(single, Err(RunError::Start(StartError::Graph(_)))));
}
