//! User code in `Drop`, wherever the engine frees a value: when it panics or looks at the pipeline, nothing hangs and
//! every stage is torn down.

mod support;

use deeppipeline::engine::{Graph, Node, Supervisor};
use deeppipeline::{BoxError, Give, OnError, Options, Outcome, Overflow, Pipeline, Source, Stage};
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
        .stage_latest(move |x: Fragile| {
            keep(x);
            permits.recv().unwrap()
        })
        .start()
        .unwrap();
    pipeline.put(Fragile).unwrap();
    until(|| pipeline.report().stages[0].counts.in_hand == 1);
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
    // The failing stage has one in hand and two waiting, the stage before it one in hand and three waiting.
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
    until(|| pipeline.report().stages[0].counts.in_hand == 1);
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
    let pipeline = Pipeline::builder()
        .source(Broken(source))
        .stage(|x: u32| x)
        .options(Options::new().on_error(OnError::Skip))
        .start()
        .unwrap();
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
    let graph = Graph { stages: vec![Node::new("end")], ..Graph::default() };
    let (supervisor, workers) = Supervisor::<u32>::new(graph).unwrap();
    drop(workers);
    let (freed, is_freed) = channel();
    let looks = Looks(Arc::clone(&supervisor), freed);
    supervisor.set_closer(Some(Box::new(move || drop(looks.1.clone()))));
    std::thread::spawn(move || supervisor.set_closer(None));
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
