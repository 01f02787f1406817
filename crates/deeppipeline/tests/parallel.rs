//! Branches inside branches, and what the next stage gets of them.

mod support;

use deeppipeline::engine::{Block, Body, Call, Done, Graph, Input, Joiner, Node, Supervisor, Wait, spawn};
use deeppipeline::error::{GraphError, StartError};
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Report, Stage, chain};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use support::until;

/// Longer than anything here takes, on any machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// An end stage that tells what it gets.
fn told<T: Send + 'static>() -> (impl FnMut(T) + Send + 'static, Receiver<T>) {
    let (tell, told) = channel();
    (move |x| tell.send(x).expect("the test listens"), told)
}

fn balanced(report: &Report) {
    assert!(report.balances(), "{report:#?}");
}

#[test]
fn blocks_nest_and_branches_are_chains() {
    let (tell, told) = told::<((u32, String), u32)>();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .parallel((
            chain()
                .stage(|x: u32| x + 1)
                .parallel((|x: u32| x * 2, chain().stage(|x: u32| x * 3).stage(|x: u32| x.to_string()))),
            |x: u32| x * 100,
        ))
        .end_stage(tell)
        .start()
        .unwrap();
    for x in 0..50 {
        pipeline.put(x).unwrap();
    }
    let report = pipeline.setstop().unwrap();
    balanced(&report);
    drop(pipeline);
    let expected = (0..50).map(|x| ((2 * (x + 1), (3 * (x + 1)).to_string()), 100 * x));
    assert!(told.iter().eq(expected));
    assert_eq!(report.joins.iter().map(|join| join.counts.joined).collect::<Vec<_>>(), [50, 50]);
}

#[test]
fn a_sample_that_an_inner_branch_skips_is_unjoined_in_both_blocks() {
    struct Odd;
    impl Stage for Odd {
        type Input = u32;
        type Output = u32;
        fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
            Ok(if x % 2 == 1 { Give::One(x) } else { Give::Skip })
        }
    }
    let (tell, told) = told::<((u32, u32), u32)>();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .parallel((chain().parallel((Odd, |x: u32| x)), |x: u32| x))
        .end_stage(tell)
        .start()
        .unwrap();
    for x in 0..200 {
        pipeline.put(x).unwrap();
    }
    let report = pipeline.setstop().unwrap();
    balanced(&report);
    drop(pipeline);
    assert!(told.iter().eq((0..200).filter(|x| x % 2 == 1).map(|x| ((x, x), x))));
    for join in &report.joins {
        assert_eq!((join.counts.entered, join.counts.joined, join.counts.unjoined), (200, 100, 100), "{join:?}");
    }
    assert!(report.to_string().contains("100 joined, 100 unjoined"), "{report}");
}

#[test]
fn three_branches_and_a_source_and_a_stream() {
    let stream = Pipeline::builder()
        .source(1..=20_u64)
        .parallel((|x: u64| x, |x: u64| x * x, |x: u64| x.to_string()))
        .stage(|(x, square, text): (u64, u64, String)| format!("{x} {square} {text}"))
        .stream()
        .unwrap();
    let texts: Vec<String> = stream.map(Result::unwrap).collect();
    assert!(texts.iter().eq(&(1..=20_u64).map(|x| format!("{x} {} {x}", x * x)).collect::<Vec<_>>()));
}

#[test]
fn each_end_stage_sees_everything() {
    let ((show, shown), (save, saved)) = (told::<u32>(), told::<u32>());
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(|x: u32| x + 1)
        .end_parallel((show, chain().stage(|x: u32| x * 2).stage(save)))
        .start()
        .unwrap();
    for x in 0..30 {
        pipeline.put(x).unwrap();
    }
    balanced(&pipeline.setstop().unwrap());
    drop(pipeline);
    assert!(shown.iter().eq(1..=30));
    assert!(saved.iter().eq((1..=30).map(|x| 2 * x)));
}

#[test]
fn branches_that_end_the_pipeline_nest() {
    let ((one, ones), (two, twos), (three, threes)) = (told::<u32>(), told::<u32>(), told::<u32>());
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .end_parallel((chain().end_parallel((one, two)), three))
        .start()
        .unwrap();
    (0..9).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    balanced(&pipeline.setstop().unwrap());
    drop(pipeline);
    for told in [ones, twos, threes] {
        assert!(told.iter().eq(0..9));
    }
}

#[test]
fn an_abort_leaves_nothing_in_a_join() {
    let (enter, entered) = channel();
    let (release, stuck) = channel::<()>();
    let pipeline = Pipeline::builder()
        .buffer_size(4)
        .parallel((
            move |x: u32| {
                enter.send(()).expect("the test listens");
                let _ = stuck.recv();
                x
            },
            |x: u32| x,
        ))
        .end_stage(|_: (u32, u32)| {})
        .start()
        .unwrap();
    for x in 0..4 {
        pipeline.put(x).unwrap();
    }
    entered.recv().unwrap();
    std::thread::scope(|scope| {
        let aborting = scope.spawn(|| pipeline.abort());
        drop(release);
        aborting.join().unwrap();
    });
    let report = pipeline.setstop().unwrap();
    balanced(&report);
    assert_eq!(report.joins[0].counts.waiting, 0, "{report:#?}");
}

#[test]
fn a_report_changes_nothing_and_frees_nothing() {
    struct Ends;
    impl Stage for Ends {
        type Input = Arc<()>;
        type Output = ();
        fn stage_run(&mut self, _: Arc<()>) -> Result<Give<()>, BoxError> {
            Ok(Give::Skip)
        }
    }
    let pipeline =
        Pipeline::builder().parallel((|x: Arc<()>| x, Ends)).end_stage(|_: (Arc<()>, ())| {}).start().unwrap();
    let value = Arc::new(());
    pipeline.put(Arc::clone(&value)).unwrap();
    // The first branch's result waits for one that will not come.
    until(|| pipeline.report().joins[0].counts.unjoined == 1 && Arc::strong_count(&value) == 2);
    let report = pipeline.report();
    assert_eq!(Arc::strong_count(&value), 2, "a report frees no sample");
    assert_eq!((report.joins[0].counts.entered, report.joins[0].counts.waiting), (1, 0), "{report}");
    assert_eq!(pipeline.report().joins, report.joins);
    let last = pipeline.setstop().unwrap();
    assert_eq!((last.joins, Arc::strong_count(&value)), (report.joins, 1));
}

/// The node at the front of two branches, a stage in each, and one behind them.
fn two_branches() -> Graph {
    let names = ["fork", "one", "to the join", "other", "to the join", "end"];
    let blocks = vec![Block { fork: 0, branches: vec![(1, 2), (3, 4)], joined: true }];
    Graph { stages: names.map(Node::new).into(), blocks, ..Graph::default() }
}

#[test]
fn the_one_thread_at_the_end_of_a_branch_brings_its_results_to_the_join_itself() {
    let names_of = |graph| {
        let (_, workers) = Supervisor::<i32>::new(graph).unwrap();
        workers.iter().map(|worker| worker.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names_of(two_branches()), ["fork", "one", "other", "end"]);
    let mut several = two_branches();
    several.stages[3].workers = 2;
    assert_eq!(names_of(several), ["fork", "one", "other", "other", "join of branch 2", "end"]);
}

/// Runs two branches whose results are joined like that.
fn joined_by(joiner: impl FnOnce(Weak<Supervisor<i32>>) -> Joiner<i32>) -> (Arc<Supervisor<i32>>, Vec<i32>) {
    struct Relay(Sender<i32>, bool);
    impl Body<i32> for Relay {
        fn call(&mut self, call: Call<i32>) -> Done<i32> {
            let Call::StageRun(Input::One(sample)) = call else { return Done::Gave(Give::Skip) };
            let _ = self.0.send(sample.value);
            Done::Gave(if self.1 { Give::many([sample.value; 2]) } else { Give::One(sample.value) })
        }
    }
    let (supervisor, workers) = Supervisor::new(two_branches()).unwrap();
    supervisor.set_joiners(vec![joiner(Arc::downgrade(&supervisor))]);
    let ((end, ends), (elsewhere, _)) = (channel(), channel());
    let threads: Vec<_> = workers
        .into_iter()
        .map(|worker| {
            let is_end = worker.is_end_stage();
            let relay = Relay(if is_end { end.clone() } else { elsewhere.clone() }, worker.name() == "fork");
            spawn(worker, Box::new(move || Box::new(relay))).unwrap()
        })
        .collect();
    drop(end);
    supervisor.put(21, Wait::Forever).unwrap();
    supervisor.close();
    assert!(supervisor.wait_ended(Wait::Until(Instant::now() + WATCHDOG)), "it hangs");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    (supervisor, ends.iter().collect())
}

#[test]
fn results_are_joined_outside_of_the_engines_locks() {
    let looks = |supervisor: Weak<Supervisor<i32>>| -> Joiner<i32> {
        Box::new(move |values| {
            let report = supervisor.upgrade().expect("it runs").report();
            assert_eq!(report.joins[0].counts.waiting, 1, "{report}");
            values.iter().sum()
        })
    };
    let (supervisor, ends) = joined_by(looks);
    assert_eq!(ends, [42]);
    balanced(&supervisor.report());
}

#[test]
fn what_panics_while_it_joins_stops_the_pipeline() {
    let (supervisor, ends) = joined_by(|_| Box::new(|_| panic!("cannot join")));
    assert_eq!(ends, []);
    let failure = supervisor.failure().expect("it has failed");
    assert_eq!((failure.stage(), failure.sample().map(|sample| sample.number)), ("end", Some(1)));
    assert_eq!(supervisor.failure_cause().map(ToString::to_string), Some(failure.cause().to_string()));
}

#[test]
fn an_empty_branch_is_refused() {
    let empty = Pipeline::<u32>::builder().parallel((chain(), |x: u32| x));
    let refused = empty.end_stage(|_: (u32, u32)| {}).start();
    assert!(matches!(refused, Err(StartError::Graph(GraphError::EmptyBranch))));
}
