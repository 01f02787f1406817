//! What each worker does now, and for how long.

mod support;

use deeppipeline::engine::{Call, Done, Graph, Node, Supervisor};
use deeppipeline::report::{Doing, Report, WorkerReport};
use deeppipeline::{BoxError, Give, Overflow, Pipeline, stage};
use std::sync::mpsc::channel;
use std::time::Duration;
use support::until;

const MS: Duration = Duration::from_millis(1);

fn only(report: &Report, stage: &str) -> WorkerReport {
    let doing = &report.stage(stage).unwrap().doing;
    assert_eq!(doing.len(), 1, "{doing:?}");
    doing[0]
}

#[test]
fn on_the_virtual_clock_it_is_exact() {
    let mut simulation = Pipeline::builder()
        .buffer_size(1)
        .overflow(Overflow::Block)
        .stage(stage(|x: u32| x).name("quick"))
        .stage(stage(|x: u32| x).name("slow"))
        .end_stage(stage(|_: u32| {}).name("idle"))
        .simulate()
        .unwrap();
    simulation.takes("quick", 10 * MS).unwrap().takes("slow", 100 * MS).unwrap();
    assert_eq!(only(&simulation.report(), "slow").doing, Doing::Starting);
    for x in 0..5 {
        simulation.put_at(x * 5 * MS, x);
    }
    while simulation.now() < 30 * MS {
        simulation.step().unwrap();
    }
    // The first is in work behind, the second waits in front of that, and the third has no room.
    let report = simulation.report();
    let WorkerReport { doing, since, sample, .. } = only(&report, "slow");
    assert_eq!((doing, since, sample), (Doing::Working, Some(20 * MS), Some(1)));
    let WorkerReport { doing, since, sample, .. } = only(&report, "quick");
    assert_eq!((doing, since, sample), (Doing::Blocked, Some(Duration::ZERO), Some(3)));
    assert_eq!(only(&report, "idle").doing, Doing::Waiting);
    // What has not come to its end is counted.
    assert!((report.stage("slow").unwrap().recent.shares.busy - 20.0 / 30.0).abs() < 1e-9, "{report:?}");

    let report = simulation.run().unwrap();
    assert!(report.stages.iter().all(|stage| stage.doing.is_empty()), "all have ended");
}

#[test]
fn a_worker_that_is_up_waits_until_its_first_sample() {
    let graph = Graph { stages: vec![Node::new("only")], ..Graph::default() };
    let (supervisor, mut workers) = Supervisor::<u32>::new(graph).unwrap();
    assert_eq!(only(&supervisor.report(), "only").doing, Doing::Starting);
    assert!(matches!(workers[0].next(), Some(Call::Setup)));
    workers[0].done(Done::Gave(Give::Skip));
    let worker = only(&supervisor.report(), "only");
    assert_eq!((worker.doing, worker.since, worker.sample), (Doing::Waiting, None, None));
}

#[test]
fn on_threads_a_call_that_hangs_shows() {
    let (go_on, wait) = channel();
    let hold = move |_: u32| wait.recv().map_err(|_| BoxError::from("nobody says when"));
    let pipeline = Pipeline::builder()
        .buffer_size(1)
        .overflow(Overflow::Block)
        .stage(stage(|x: u32| x).name("first"))
        .end_stage(stage(hold).name("hold"))
        .start()
        .unwrap();
    for x in 0..3 {
        pipeline.put(x).unwrap();
    }
    let is = |stage: &str, wanted: Doing| only(&pipeline.report(), stage).doing == wanted;
    until(|| is("hold", Doing::Working) && is("first", Doing::Blocked));
    let held = only(&pipeline.report(), "hold");
    assert_eq!((held.index, held.sample), (0, Some(1)));
    until(|| only(&pipeline.report(), "hold").since > held.since);
    (0..3).for_each(|_| go_on.send(()).unwrap());
    until(|| is("hold", Doing::Waiting) && is("first", Doing::Waiting));
    pipeline.setstop().unwrap();
}
