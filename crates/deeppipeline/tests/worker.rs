//! The two calls of a worker, for those who drive them themselves.

use deeppipeline::engine::{
    Call, Done, ErrorPolicy, Got, Graph, Input, Moment, Node, Receives, SourceNode, Supervisor, Wait, Worker,
};
use deeppipeline::error::NoAnswer;
use deeppipeline::intake::Intake;
use deeppipeline::report::{Outcome, SOURCE};
use deeppipeline::{Give, Overflow, current_sample};
use std::sync::{Arc, Mutex};
use std::task::Poll;

fn two_stages(overflow: Overflow) -> Graph {
    Graph {
        stages: vec![Node::new("first"), Node::new("second")],
        buffer_size: 1.into(),
        overflow: Some(overflow),
        ..Graph::default()
    }
}

/// Brings up all workers on this thread.
fn bring_up(workers: &mut [Worker<u32>]) {
    for worker in workers {
        assert!(matches!(worker.try_next(), Poll::Ready(Some(Call::Setup))));
        worker.done(Done::Gave(Give::Skip));
    }
}

/// Makes every call of a worker that gives back what it gets.
fn run_to_the_end(worker: &mut Worker<u32>) {
    while let Some(call) = worker.next() {
        worker.done(Done::Gave(match call {
            Call::StageRun(Input::One(sample)) => Give::One(sample.value),
            _ => Give::Skip,
        }));
    }
}

#[test]
fn dropped_at_any_moment_makes_its_stage_fail_and_nothing_waits_for_it() {
    for calls in 0..4 {
        for dropped in 0..2 {
            let (supervisor, mut workers) = Supervisor::<u32>::new(two_stages(Overflow::Block)).unwrap();
            supervisor.put(1, Wait::No).unwrap();
            let mut gone = workers.remove(dropped);
            let mut stays = workers.remove(0);
            std::thread::scope(|scope| {
                scope.spawn(move || run_to_the_end(&mut stays));
                let puts = scope.spawn(|| {
                    // One of these waits for room when the worker goes.
                    (2..10).try_for_each(|x| supervisor.put(x, Wait::Forever).map(drop))
                });
                // Setup, stage_run, and the next stage_run, the last of them never answered.
                for call in 0..calls {
                    let asked = gone.next();
                    if call + 1 < calls
                        && let Some(Call::StageRun(Input::One(sample))) = asked
                    {
                        gone.done(Done::Gave(Give::One(sample.value)));
                    } else if call + 1 < calls {
                        gone.done(Done::Gave(Give::Skip));
                    }
                }
                drop(gone);
                assert!(puts.join().unwrap().is_err(), "{calls} {dropped}");
            });
            assert!(supervisor.wait_ended(Wait::No));
            let report = supervisor.report();
            assert!(report.balances(), "{calls} {dropped} {report:#?}");
            assert_eq!(report.outcome, Outcome::Failed);
            let failure = supervisor.failure().unwrap();
            assert_eq!(failure.stage(), ["first", "second"][dropped]);
            assert_eq!(failure.cause().to_string(), "its worker ended too early");
        }
    }
}

#[test]
fn a_thread_that_dropped_its_worker_may_put_again() {
    let (supervisor, mut workers) = Supervisor::<u32>::new(two_stages(Overflow::Block)).unwrap();
    bring_up(&mut workers);
    drop(workers);
    assert!(!supervisor.called_by_own_worker());
}

#[test]
fn a_dropped_source_ends_like_one_that_failed() {
    let graph = Graph { source: Some(SourceNode::default()), stages: vec![Node::new("end")], ..Graph::default() };
    let (supervisor, mut workers) = Supervisor::<u32>::new(graph).unwrap();
    bring_up(&mut workers);
    let mut source = workers.pop().unwrap();
    assert!(matches!(source.next(), Some(Call::SourceNext)));
    source.done(Done::Gave(Give::One(5)));
    assert!(matches!(source.next(), Some(Call::SourceNext)));
    drop(source);
    run_to_the_end(&mut workers[0]);
    assert!(supervisor.wait_ended(Wait::No));
    assert_eq!(supervisor.failure().unwrap().stage(), SOURCE);
    assert_eq!(supervisor.report().stages[0].counts.used, 1, "what came before flows out");
}

#[test]
fn next_without_done_counts_as_a_failed_call() {
    let mut graph = two_stages(Overflow::Block);
    graph.stages[0].on_error = ErrorPolicy::Skip;
    let (supervisor, mut workers) = Supervisor::<u32>::new(graph).unwrap();
    bring_up(&mut workers);
    supervisor.put(1, Wait::No).unwrap_err();
    std::thread::scope(|scope| scope.spawn(|| supervisor.put(1, Wait::No).map(drop)).join().unwrap()).unwrap();
    assert!(matches!(workers[0].try_next(), Poll::Ready(Some(Call::StageRun(_)))));
    assert_eq!(current_sample().unwrap().id.number, 1);
    assert!(workers[0].try_next().is_pending());
    let report = supervisor.report();
    assert_eq!((report.stages[0].counts.failed, report.stages[0].counts.in_flight), (1, 0));
}

#[test]
fn the_calls_of_a_worker_in_order() {
    let (supervisor, mut workers) = Supervisor::<u32>::new(two_stages(Overflow::Block)).unwrap();
    let mut second = workers.pop().unwrap();
    let mut first = workers.pop().unwrap();
    assert!(matches!(first.next(), Some(Call::Setup)));
    assert!(supervisor.called_by_own_worker());
    first.done(Done::Gave(Give::Skip));
    assert!(first.try_next().is_pending(), "the other is not up");
    assert_eq!(supervisor.not_up(), ["second"]);
    assert!(matches!(second.next(), Some(Call::Setup)));
    second.done(Done::Gave(Give::Skip));
    assert!(first.try_next().is_pending(), "nothing was put");
    supervisor.close();
    assert!(matches!(first.next(), Some(Call::Finish)));
    first.done(Done::Gave(Give::many([7])));
    assert!(matches!(first.next(), Some(Call::Teardown)));
    assert!(matches!(second.next(), Some(Call::StageRun(Input::One(sample))) if sample.value == 7));
    second.done(Done::Gave(Give::Skip));
    first.done(Done::Gave(Give::Skip));
    assert!(first.next().is_none());
    assert_eq!(supervisor.not_ended(), ["second"]);
    assert!(matches!(second.next(), Some(Call::Finish)));
    second.done(Done::Gave(Give::Skip));
    assert!(matches!(second.next(), Some(Call::Teardown)));
    second.done(Done::Gave(Give::Skip));
    assert!(second.next().is_none() && second.next().is_none());
    assert!(supervisor.wait_ended(Wait::No));
}

/// The receiver of one answer, driven by hand.
#[derive(Default)]
struct Receiver(Mutex<Option<Result<Got<u32>, NoAnswer>>>);

impl Receives<u32> for Receiver {
    fn receive(&self, answer: Result<Got<u32>, NoAnswer>) {
        assert!(self.0.lock().unwrap().replace(answer).is_none(), "one answer for each");
    }
}

/// Three stages whose first has given what it was submitted, and not looked for another sample yet.
fn submitted() -> (Arc<Supervisor<u32>>, Vec<Worker<u32>>, Arc<Receiver>) {
    let stages: Vec<Node> = ["a", "b", "c"].map(|name| Node { on_error: ErrorPolicy::Skip, ..Node::new(name) }).into();
    let (supervisor, mut workers) =
        Supervisor::<u32>::new(Graph { stages, answers: true, ..Graph::default() }).unwrap();
    bring_up(&mut workers);
    let receiver = Arc::<Receiver>::default();
    // On a thread of its own: this one works for the pipeline.
    let submit = || supervisor.submit(1, None, Moment::now(), Wait::No, Arc::clone(&receiver) as _).map(drop);
    std::thread::scope(|scope| scope.spawn(submit).join().unwrap().unwrap());
    runs(&mut workers[0], Done::Gave(Give::One(1)));
    (supervisor, workers, receiver)
}

/// Lets a worker take its next sample, of which that comes.
fn runs(worker: &mut Worker<u32>, done: Done<u32>) {
    assert!(matches!(worker.try_next(), Poll::Ready(Some(Call::StageRun(_)))), "{worker:?}");
    worker.done(done);
}

#[test]
fn a_failure_is_the_answer_though_the_stage_before_has_not_looked_for_another_sample() {
    let (_supervisor, mut workers, receiver) = submitted();
    runs(&mut workers[1], Done::Failed("it is bad".into()));
    assert!(workers[1].try_next().is_pending());
    let answer = receiver.0.lock().unwrap().take();
    assert!(matches!(answer, Some(Err(NoAnswer::Failed(_)))), "{answer:?}");
}

#[test]
fn parts_that_all_have_ended_are_the_answer_once_the_stages_before_have_looked_for_another_sample() {
    let (_supervisor, mut workers, receiver) = submitted();
    runs(&mut workers[1], Done::Gave(Give::many([11, 12])));
    for _ in 0..2 {
        runs(&mut workers[2], Done::Gave(Give::Skip));
    }
    assert!(workers[2].try_next().is_pending());
    assert!(workers[1].try_next().is_pending());
    // The first is found where it was, though it has gone on.
    assert!(receiver.0.lock().unwrap().is_none());
    assert!(workers[0].try_next().is_pending());
    let answer = receiver.0.lock().unwrap().take();
    assert!(matches!(answer, Some(Err(NoAnswer::Skipped { .. }))), "{answer:?}");
}

/// Aborts the pipeline once it has its answer.
struct Aborts(Arc<Supervisor<u32>>, Receiver);

impl Receives<u32> for Aborts {
    fn receive(&self, answer: Result<Got<u32>, NoAnswer>) {
        self.1.receive(answer);
        self.0.abort();
    }
}

#[test]
fn what_has_ended_is_not_taken_for_lost_by_an_abort_before_its_end_is_told() {
    let stages = vec![Node { intake: Intake::All, ..Node::new("list") }, Node::new("end")];
    let (supervisor, mut workers) =
        Supervisor::<u32>::new(Graph { stages, answers: true, ..Graph::default() }).unwrap();
    bring_up(&mut workers);
    let receiver = Arc::<Receiver>::default();
    let aborts = Arc::new(Aborts(Arc::clone(&supervisor), Receiver::default()));
    // On a thread of its own: this one works for the pipeline.
    let submit = |x, receiver| supervisor.submit(x, None, Moment::now(), Wait::No, receiver).map(drop).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| submit(1, Arc::clone(&aborts) as _)).join().unwrap();
        scope.spawn(|| submit(2, Arc::clone(&receiver) as _)).join().unwrap();
    });
    // Both end in one step, and the first is told first.
    runs(&mut workers[0], Done::Gave(Give::Skip));
    let _ = workers[0].try_next();
    for receiver in [&aborts.1, &*receiver] {
        let answer = receiver.0.lock().unwrap().take();
        assert!(matches!(answer, Some(Err(NoAnswer::Skipped { .. }))), "{answer:?}");
    }
}
