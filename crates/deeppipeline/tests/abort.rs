//! What is inside is discarded, and every worker ends after its present call.

mod support;

use deeppipeline::engine::{Call, Done, Graph, Node, Startup, Supervisor, Wait, Worker};
use deeppipeline::report::Outcome;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use support::until;

#[test]
fn a_pipeline_aborted_while_it_starts_never_comes_up() {
    let graph = Graph { stages: vec![Node::new("first"), Node::new("second")], ..Graph::default() };
    let (supervisor, mut workers) = Supervisor::<u32>::new(graph).unwrap();
    supervisor.put(1, Wait::No).unwrap();
    for worker in &mut workers {
        assert!(matches!(worker.next(), Some(Call::Setup)));
    }
    supervisor.abort();
    for worker in &mut workers {
        worker.done(Done::Gave(Give::Skip));
    }
    for worker in &mut workers {
        assert!(matches!(worker.next(), Some(Call::Teardown)));
        worker.done(Done::Gave(Give::Skip));
        assert!(worker.next().is_none());
    }
    assert_eq!(supervisor.wait_up(Wait::Forever), Startup::Failed);
    assert!(supervisor.wait_ended(Wait::No));
    let report = supervisor.report();
    assert_eq!(
        (report.outcome, report.elapsed, report.stages[0].buffer.discarded),
        (Outcome::Aborted, Duration::ZERO, 1)
    );
}

#[test]
fn a_setstop_that_waits_returns_when_another_caller_aborts_though_a_stage_is_stuck() {
    let (permit, permits) = channel::<()>();
    let pipeline = Pipeline::builder()
        .end_stage(move |_: u32| {
            let _ = permits.recv();
        })
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pipeline.setstop().unwrap());
        pipeline.abort();
        assert_eq!(waiting.join().unwrap().left_behind.len(), 1);
    });
    drop(permit);
    assert_eq!(pipeline.setstop().unwrap().left_behind, Vec::<String>::new());
}

#[test]
fn what_is_inside_is_discarded_and_what_is_in_flight_is_finished() {
    let (permit, permits) = channel::<()>();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(move |x: u32| {
            let _ = permits.recv();
            x
        })
        .end_stage(|_: u32| {})
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    pipeline.put(2).unwrap();
    pipeline.put(3).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| pipeline.abort());
        until(|| pipeline.report().stages[0].buffer.discarded == 2);
        drop(permit);
    });
    let report = pipeline.setstop().unwrap();
    assert!(report.balances(), "{report:?}");
    assert_eq!(report.outcome, Outcome::Aborted);
    assert_eq!((report.stages[0].counts.used, report.stages[1].buffer.discarded), (1, 1));
    assert!(report.left_behind.is_empty());
    assert!(pipeline.put(4).unwrap_err().to_string().contains("takes no more samples"));
}

/// Waits for what it holds to be dropped.
struct Stuck(Receiver<()>);

impl Stage for Stuck {
    type Input = u32;
    type Output = u32;
    fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
        let _ = self.0.recv();
        Ok(Give::One(x))
    }
}

#[test]
fn a_stage_that_does_not_return_is_named_and_left_behind() {
    let (release, stuck) = channel::<()>();
    let pipeline = Pipeline::builder().stage(|x: u32| x).stage(Stuck(stuck)).end_stage(|_: u32| {}).start().unwrap();
    pipeline.put(1).unwrap();
    until(|| pipeline.report().stages[1].counts.in_flight == 1);
    let report = pipeline.abort();
    assert!(report.left_behind.contains(&"Stuck".to_owned()), "{:?}", report.left_behind);
    assert!(report.to_string().contains("still in user code and left behind: "), "{report}");
    drop(release);
    assert!(pipeline.setstop().unwrap().left_behind.is_empty());
}

#[test]
fn from_an_own_stage_it_only_requests() {
    let pipeline = Arc::new(OnceLock::<Pipeline<u32>>::new());
    let own = Arc::clone(&pipeline);
    let (told, reports) = channel();
    let started = Pipeline::builder()
        .stage(move |_: u32| told.send(own.get().map(Pipeline::abort)).unwrap())
        .start_without_waiting()
        .unwrap();
    let pipeline = pipeline.get_or_init(|| started);
    pipeline.put(1).unwrap();
    let report = reports.recv().unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Aborted);
    assert!(report.left_behind.is_empty(), "nobody waited for anyone: {:?}", report.left_behind);
    assert_eq!(pipeline.setstop().unwrap().outcome, Outcome::Aborted);
}

/// Does something when it is freed.
struct WhenFreed(Option<Box<dyn FnOnce() + Send>>);

impl Drop for WhenFreed {
    fn drop(&mut self) {
        if let Some(does) = self.0.take() {
            does();
        }
    }
}

/// From a thread of its own, since this one drives the workers.
fn put(supervisor: &Supervisor<WhenFreed>, value: WhenFreed) {
    std::thread::scope(|scope| scope.spawn(|| supervisor.put(value, Wait::No).unwrap()).join().unwrap());
}

/// While what waits before the first stage is being freed, that stage ends and closes the buffer of the second, which
/// is asked what it has to do then: this says what it was. `give_up` is given a third stage with a sample in flight.
fn asked_while_all_is_given_up(give_up: impl FnOnce(&Supervisor<WhenFreed>, Worker<WhenFreed>)) -> String {
    let nodes = ["first", "second", "third"].map(Node::new);
    let graph = Graph { stages: nodes.into(), ..Graph::default() };
    let (supervisor, mut workers) = Supervisor::<WhenFreed>::new(graph).unwrap();
    for worker in &mut workers {
        assert!(matches!(worker.next(), Some(Call::Setup)));
        worker.done(Done::Gave(Give::Skip));
    }
    let [mut first, mut second, mut third] = <[_; 3]>::try_from(workers).ok().unwrap();
    put(&supervisor, WhenFreed(None));
    for worker in [&mut first, &mut second] {
        assert!(matches!(worker.next(), Some(Call::StageRun(_))));
        worker.done(Done::Gave(Give::One(WhenFreed(None))));
    }
    assert!(matches!(third.next(), Some(Call::StageRun(_))));
    put(&supervisor, WhenFreed(None));
    assert!(matches!(first.next(), Some(Call::StageRun(_))));
    let (tell, told) = channel();
    let first_ends = move || {
        first.done(Done::Gave(Give::Skip));
        assert!(matches!(first.next(), Some(Call::Teardown)));
        first.done(Done::Gave(Give::Skip));
        tell.send(format!("{:?}", second.next().map(|call| matches!(call, Call::Teardown)))).unwrap();
    };
    put(&supervisor, WhenFreed(Some(Box::new(first_ends))));
    give_up(&supervisor, third);
    told.recv().unwrap()
}

#[test]
fn no_stage_finishes_what_is_being_aborted() {
    let asked = asked_while_all_is_given_up(|supervisor, _third| supervisor.abort());
    assert_eq!(asked, "Some(true)", "it is torn down, and not asked to finish");
}

#[test]
fn no_stage_before_a_failed_one_finishes() {
    let asked = asked_while_all_is_given_up(|_, mut third| {
        third.done(Done::Failed("it fails".into()));
    });
    assert_eq!(asked, "Some(true)", "it is torn down, and not asked to finish");
}
