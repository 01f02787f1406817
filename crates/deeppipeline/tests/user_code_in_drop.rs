//! User code in `Drop`, wherever the engine frees a value: when it panics, waits or looks at the pipeline, nothing
//! hangs and every stage is torn down.

mod support;

use deeppipeline::engine::{Graph, Node, SourceNode, Supervisor};
use deeppipeline::report::Outcome;
use deeppipeline::{BoxError, Give, Latest, OnError, Overflow, Pipeline, Source, Stage, stage};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use support::until;

/// Panics when it is dropped while nobody is panicking already.
struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

/// Frees a value without its `Drop`.
fn keep(value: Fragile) {
    std::mem::forget(value);
}

/// Waits for a permit for each sample, and counts its teardown.
struct Gated {
    permits: Receiver<()>,
    fails: bool,
    torn_down: Arc<AtomicUsize>,
}

impl Gated {
    fn new(torn_down: &Arc<AtomicUsize>) -> (Sender<()>, Self) {
        let (permit, permits) = channel();
        (permit, Gated { permits, fails: false, torn_down: Arc::clone(torn_down) })
    }
}

impl Stage for Gated {
    type Input = Fragile;
    type Output = Fragile;

    fn stage_run(&mut self, x: Fragile) -> Result<Give<Fragile>, BoxError> {
        self.permits.recv()?;
        if self.fails {
            keep(x);
            return Err("gives up".into());
        }
        Ok(Give::One(x))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.torn_down.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn a_sample_dropped_to_make_room() {
    let torn_down = Arc::default();
    let (first_permit, first) = Gated::new(&torn_down);
    let (second_permit, second) = Gated::new(&torn_down);
    let pipeline = Pipeline::builder().buffer_size([8, 1]).stage(first).end_stage(second).start().unwrap();
    for _ in 0..4 {
        pipeline.put(Fragile).unwrap();
    }
    for _ in 0..4 {
        first_permit.send(()).unwrap();
    }
    // The second stage holds one, one waits, and the rest were dropped on the first stage's worker.
    until(|| pipeline.report().stages[1].buffer.entered == 4);
    drop(second_permit);
    let error = pipeline.setstop().unwrap_err();
    assert_eq!(error.stage(), "Gated 2");
    assert!(error.report().balances(), "{:?}", error.report());
    assert_eq!(torn_down.load(Ordering::SeqCst), 2);
}

#[test]
fn what_an_end_stage_gives_back() {
    let torn_down = Arc::default();
    let (permit, end) = Gated::new(&torn_down);
    let pipeline = Pipeline::builder().end_stage(end).start().unwrap();
    pipeline.put(Fragile).unwrap();
    permit.send(()).unwrap();
    let report = pipeline.setstop().unwrap();
    assert_eq!(report.stages[0].counts.used, 1);
    assert_eq!(torn_down.load(Ordering::SeqCst), 1);
}

#[test]
fn samples_passed_over_by_latest() {
    let (permit, permits) = channel();
    let pipeline = Pipeline::builder()
        .buffer_size(4)
        .stage(
            stage(move |x: Fragile| {
                keep(x);
                permits.recv().unwrap()
            })
            .intake(Latest),
        )
        .start()
        .unwrap();
    pipeline.put(Fragile).unwrap();
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    for _ in 0..4 {
        pipeline.put(Fragile).unwrap();
    }
    permit.send(()).unwrap();
    permit.send(()).unwrap();
    let report = pipeline.setstop().unwrap();
    assert_eq!((report.stages[0].buffer.superseded, report.stages[0].counts.used), (3, 2));
}

#[test]
fn samples_discarded_by_a_failure() {
    let torn_down = Arc::default();
    let (first_permit, first) = Gated::new(&torn_down);
    let (second_permit, mut second) = Gated::new(&torn_down);
    second.fails = true;
    let pipeline =
        Pipeline::builder().buffer_size(3).overflow(Overflow::Block).stage(first).end_stage(second).start().unwrap();
    // The failing stage has one in flight and two waiting, the stage before it one in flight and three waiting.
    for _ in 0..3 {
        pipeline.put(Fragile).unwrap();
        first_permit.send(()).unwrap();
    }
    until(|| pipeline.report().stages[1].buffer.entered == 3);
    for _ in 0..4 {
        pipeline.put(Fragile).unwrap();
    }
    second_permit.send(()).unwrap();
    until(|| pipeline.report().outcome == Outcome::Failed);
    drop(first_permit);
    let error = pipeline.setstop().unwrap_err();
    assert_eq!(error.to_string(), "stage \"Gated 2\" failed in stage_run on sample 1: gives up");
    assert!(error.report().balances(), "{:?}", error.report());
    assert_eq!(torn_down.load(Ordering::SeqCst), 2);
}

#[test]
fn samples_discarded_by_abort() {
    let torn_down = Arc::default();
    let (permit, end) = Gated::new(&torn_down);
    let pipeline = Pipeline::builder().buffer_size(3).end_stage(end).start().unwrap();
    pipeline.put(Fragile).unwrap();
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    for _ in 0..3 {
        pipeline.put(Fragile).unwrap();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| pipeline.abort());
        until(|| pipeline.report().stages[0].buffer.discarded == 3);
        permit.send(()).unwrap();
    });
    let report = pipeline.setstop().unwrap();
    assert_eq!((report.outcome, report.stages[0].buffer.discarded), (Outcome::Aborted, 3));
    assert_eq!(torn_down.load(Ordering::SeqCst), 1);
}

#[test]
fn the_iterator_of_a_many() {
    struct Countdown {
        left: u32,
        _fragile: Fragile,
    }
    impl Iterator for Countdown {
        type Item = u32;
        fn next(&mut self) -> Option<u32> {
            self.left = self.left.checked_sub(1)?;
            Some(self.left)
        }
    }
    let pipeline = Pipeline::builder().overflow(Overflow::Block).stage(Split).end_stage(|_: u32| {}).start().unwrap();
    struct Split;
    impl Stage for Split {
        type Input = u32;
        type Output = u32;
        fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
            Ok(Give::many(Countdown { left: x, _fragile: Fragile }))
        }
    }
    pipeline.put(3).unwrap();
    let report = pipeline.setstop().unwrap();
    assert_eq!(report.stages[1].counts.used, 3);
}

#[test]
fn a_closer_that_panics() {
    struct Broken(Receiver<()>);
    impl Source for Broken {
        type Item = u32;
        fn source_next(&mut self) -> Result<Option<u32>, BoxError> {
            Ok(self.0.recv().ok().map(|()| 1))
        }
        fn closer(&self) -> Option<Box<dyn Fn() + Send + Sync>> {
            Some(Box::new(|| panic!("the closer is broken")))
        }
    }
    let (more, source) = channel();
    let pipeline =
        Pipeline::builder().source(Broken(source)).stage(stage(|x: u32| x).on_error(OnError::Skip)).start().unwrap();
    let stopping = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| pipeline.setstop());
        drop(more);
        stopping.join()
    });
    assert!(stopping.unwrap().is_ok());
}

#[test]
fn a_closer_is_freed_outside_of_the_engines_locks() {
    /// Looks at the pipeline while it is freed.
    struct Looks(Arc<Supervisor<u32>>, Sender<()>);
    impl Drop for Looks {
        fn drop(&mut self) {
            assert_eq!(self.0.report().stages.len(), 1);
            self.1.send(()).unwrap();
        }
    }
    let source = Some(SourceNode::default());
    let graph = Graph { source, stages: vec![Node::new("end")], ..Graph::default() };
    let (supervisor, workers) = Supervisor::<u32>::new(graph).unwrap();
    drop(workers);
    let (freed, is_freed) = channel();
    let looks = Looks(Arc::clone(&supervisor), freed);
    supervisor.set_closer(0, Some(Box::new(move || drop(looks.1.clone()))));
    std::thread::spawn(move || supervisor.set_closer(0, None));
    is_freed.recv_timeout(Duration::from_secs(60)).expect("the closer is freed");
}

/// An error that looks at the pipeline while it is freed.
struct Curious(Arc<OnceLock<Weak<Pipeline<u32>>>>);

impl std::fmt::Debug for Curious {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Curious")
    }
}

impl std::fmt::Display for Curious {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("curious")
    }
}

impl std::error::Error for Curious {}

impl Drop for Curious {
    fn drop(&mut self) {
        if let Some(pipeline) = self.0.get().and_then(Weak::upgrade) {
            assert!(!pipeline.report().stages.is_empty());
        }
    }
}

#[test]
fn a_later_failure_is_freed_outside_of_the_engines_locks() {
    struct FailsTwice(Arc<OnceLock<Weak<Pipeline<u32>>>>);
    impl Stage for FailsTwice {
        type Input = u32;
        type Output = u32;
        fn stage_run(&mut self, _: u32) -> Result<Give<u32>, BoxError> {
            Err("first".into())
        }
        fn teardown(&mut self) -> Result<(), BoxError> {
            Err(Box::new(Curious(Arc::clone(&self.0))))
        }
    }
    let shared = Arc::default();
    let pipeline = Arc::new(Pipeline::builder().end_stage(FailsTwice(Arc::clone(&shared))).start().unwrap());
    assert!(shared.set(Arc::downgrade(&pipeline)).is_ok());
    pipeline.put(1).unwrap();
    assert_eq!(pipeline.setstop().unwrap_err().cause().to_string(), "first");
}

/// Waits in its `Drop` until its test lets it go.
struct Clings {
    let_go: crossbeam_channel::Receiver<()>,
}

impl Drop for Clings {
    fn drop(&mut self) {
        // Its test lets go by hanging up.
        let _ = self.let_go.recv();
    }
}

/// Time that nothing here takes, on any machine.
const LONG: Duration = Duration::from_secs(60);

/// What that gives on another thread, if it returns at all; in any case those that cling are let go then.
fn returns<T: Send>(let_go: crossbeam_channel::Sender<()>, stop: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let (tell, told) = channel();
        scope.spawn(move || tell.send(stop()));
        let result = told.recv_timeout(LONG);
        drop(let_go);
        result.expect("the stop returns although a value clings")
    })
}

/// What is left of a stop, in the words of the report.
const DISCARDED: &str = "Drop of what was discarded in front of end";

/// A pipeline whose stage waits for a permit with a first sample while others, that cling, wait in front of it.
fn clinging(fails: bool) -> (Pipeline<Option<Clings>>, Sender<()>, crossbeam_channel::Sender<()>) {
    let ((let_go, clings), (permit, permits)) = (crossbeam_channel::unbounded(), channel::<()>());
    let end = move |x: Option<Clings>| {
        let _ = permits.recv();
        std::mem::forget(x);
        if fails { Err(BoxError::from("gives up")) } else { Ok(()) }
    };
    let pipeline = Pipeline::builder().buffer_size(3).end_stage(stage(end).name("end")).start().unwrap();
    pipeline.put(None).unwrap();
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    (0..2).for_each(|_| assert!(pipeline.put(Some(Clings { let_go: clings.clone() })).unwrap().is_accepted()));
    (pipeline, permit, let_go)
}

#[test]
fn discarded_values_that_cling_hold_up_no_abort_and_are_named() {
    let (pipeline, permit, let_go) = clinging(false);
    drop(permit.clone());
    let report = returns(let_go, || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                until(|| pipeline.report().stages[0].buffer.discarded == 2);
                drop(permit);
            });
            pipeline.abort()
        })
    });
    assert_eq!((report.outcome, report.left_behind), (Outcome::Aborted, vec![DISCARDED.to_owned()]));
    // Once they are gone nothing is left behind, and a stop without a bound has waited for that.
    assert_eq!(pipeline.setstop().unwrap().left_behind, [""; 0]);
}

#[test]
fn discarded_values_that_cling_hold_up_no_stop_with_a_bound() {
    let (pipeline, permit, let_go) = clinging(true);
    drop(permit);
    until(|| pipeline.report().outcome == Outcome::Failed);
    let error = returns(let_go, || pipeline.setstop_or_abort(Duration::from_millis(20)).unwrap_err());
    assert_eq!(error.report().left_behind, [DISCARDED]);
    assert_eq!(pipeline.setstop().unwrap_err().report().left_behind, [""; 0]);
}

#[test]
fn a_discarded_value_that_stops_its_pipeline_does_not_wait_for_itself() {
    /// Stops a pipeline when it is dropped.
    struct Stops(Weak<Pipeline<Option<Stops>>>, Sender<()>);
    impl Drop for Stops {
        fn drop(&mut self) {
            if let Some(pipeline) = self.0.upgrade() {
                pipeline.abort();
                pipeline.setstop().unwrap();
            }
            self.1.send(()).unwrap();
        }
    }
    let ((stopped, is_stopped), (permit, permits)) = (channel(), channel::<()>());
    let end = move |x: Option<Stops>| {
        let _ = permits.recv();
        std::mem::forget(x);
    };
    let pipeline = Arc::new(Pipeline::builder().end_stage(end).start().unwrap());
    pipeline.put(None).unwrap();
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    pipeline.put(Some(Stops(Arc::downgrade(&pipeline), stopped))).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| pipeline.abort());
        until(|| pipeline.report().outcome == Outcome::Aborted);
        drop(permit);
    });
    is_stopped.recv_timeout(LONG).expect("the value stops its pipeline, and goes on");
    assert_eq!(pipeline.setstop().unwrap().left_behind, [""; 0]);
}

#[test]
fn a_stage_that_clings_holds_up_no_stop_with_a_bound_and_is_named() {
    for aborts in [true, false] {
        let (let_go, clings) = crossbeam_channel::unbounded();
        let held = Clings { let_go: clings };
        let end = move |_: u32| {
            let _ = &held;
        };
        let pipeline = Pipeline::builder().end_stage(stage(end).name("end")).start().unwrap();
        let report = returns(let_go, || match aborts {
            true => pipeline.abort(),
            false => pipeline.setstop_or_abort(Duration::from_millis(20)).unwrap(),
        });
        assert_eq!(report.left_behind, ["end"]);
        assert_eq!(pipeline.setstop().unwrap().left_behind, [""; 0]);
    }
}
