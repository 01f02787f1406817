//! Branches inside branches, and what the next stage gets of them.

mod support;

use deeppipeline::engine::{
    Block, BlockResults, Body, Call, Done, ForkJoin, Graph, Input, Joiner, Node, Relay, SourceNode, Supervisor, Wait,
    spawn,
};
use deeppipeline::error::{GraphError, StartError};
use deeppipeline::{BoxError, Give, OnError, Overflow, Pipeline, Report, Stage, chain, made_by, stage};
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

/// A stage, two branches with a stage in each, and one behind them.
fn two_branches() -> Graph {
    let blocks = vec![Block {
        name: "parallel".to_owned(),
        branches: vec![1..2, 2..3],
        results: BlockResults::Joined,
        routed: false,
    }];
    Graph { stages: ["front", "one", "other", "end"].map(Node::new).into(), blocks, ..Graph::default() }
}

fn names_of(graph: Graph) -> Vec<String> {
    let (_, workers) = Supervisor::<i32>::new(graph).unwrap();
    workers.iter().map(|worker| worker.name().to_owned()).collect()
}

#[test]
fn one_thread_in_front_of_a_block_or_at_the_end_of_a_branch_needs_no_relay() {
    assert_eq!(names_of(two_branches()), ["front", "one", "other", "end"]);
    let mut several = two_branches();
    several.stages[0].workers = 2;
    several.stages[2].workers = 2;
    let names = ["front", "front", "parallel", "one", "other", "other", "join of branch 2", "end"];
    assert_eq!(names_of(several), names);
}

#[test]
fn a_source_hands_samples_to_branches_itself_and_what_is_put_comes_by_a_relay() {
    let mut front = two_branches();
    front.stages.remove(0);
    front.blocks[0].branches = vec![0..1, 1..2];
    assert_eq!(names_of(front.clone()), ["parallel", "one", "other", "end"]);
    front.source = Some(SourceNode::default());
    assert_eq!(names_of(front), ["one", "other", "end", "source"]);
}

#[test]
fn what_a_block_has_joined_comes_into_the_next_one_by_a_relay() {
    let block =
        |branches| Block { name: "parallel".to_owned(), branches, results: BlockResults::Joined, routed: false };
    let stages = ["front", "a", "b", "c", "d", "end"].map(Node::new).into();
    let graph = Graph { stages, blocks: vec![block(vec![1..2, 2..3]), block(vec![3..4, 4..5])], ..Graph::default() };
    assert_eq!(names_of(graph), ["front", "a", "b", "parallel 2", "c", "d", "end"]);
}

#[test]
fn a_block_that_begins_a_branch_or_ends_one_has_relays() {
    let block =
        |branches| Block { name: "parallel".to_owned(), branches, results: BlockResults::Joined, routed: false };
    let stages = ["front", "a", "b", "c", "end"].map(Node::new).into();
    let graph = Graph { stages, blocks: vec![block(vec![1..3, 3..4]), block(vec![1..2, 2..3])], ..Graph::default() };
    assert_eq!(names_of(graph), ["front", "parallel 2", "a", "b", "join of branch 1", "c", "end"]);
}

/// Runs two branches whose results are joined like that.
fn joined_by(joiner: impl FnOnce(Weak<Supervisor<i32>>) -> Joiner<i32>) -> (Arc<Supervisor<i32>>, Vec<i32>) {
    struct Passes(Option<Sender<i32>>);
    impl Body<i32> for Passes {
        fn call(&mut self, call: Call<i32>) -> Done<i32> {
            if let (Some(told), Call::StageRun(Input::One(sample))) = (&self.0, &call) {
                let _ = told.send(sample.value);
            }
            Relay.call(call)
        }
    }
    let (supervisor, workers) = Supervisor::new(two_branches()).unwrap();
    let fork = Box::new(|value, branches| vec![value; branches]);
    supervisor.set_blocks(vec![ForkJoin {
        fork,
        route: None,
        join: joiner(Arc::downgrade(&supervisor)),
        copy: Vec::new(),
        parts: None,
    }]);
    let (end, ends) = channel();
    let threads: Vec<_> = workers
        .into_iter()
        .map(|worker| {
            let passes = Passes(worker.is_end_stage().then(|| end.clone()));
            spawn(worker, Box::new(move || Box::new(passes))).unwrap()
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
            values.into_iter().flatten().sum()
        })
    };
    let (supervisor, ends) = joined_by(looks);
    assert_eq!(ends, [42]);
    balanced(&supervisor.report());
}

#[test]
fn what_panics_while_it_joins_stops_the_pipeline() {
    let (supervisor, ends) = joined_by(|_| Box::new(|_| panic!("cannot join")));
    assert!(ends.is_empty());
    let failure = supervisor.failure().expect("it has failed");
    assert_eq!((failure.stage(), failure.sample().map(|sample| sample.number)), ("end", Some(1)));
    assert_eq!(supervisor.failure_cause().map(ToString::to_string), Some(failure.cause().to_string()));
}

#[test]
fn what_panics_while_it_is_cloned_for_the_branches_is_an_error_of_the_stage_in_front() {
    struct NoTwins(u32);
    impl Clone for NoTwins {
        fn clone(&self) -> Self {
            assert!(self.0.is_multiple_of(2), "{} is odd", self.0);
            NoTwins(self.0)
        }
    }
    let (tell, told) = told::<(u32, u32)>();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(NoTwins).name("front").on_error(OnError::Skip))
        .parallel((|x: NoTwins| x.0, |x: NoTwins| x.0))
        .end_stage(tell)
        .start()
        .unwrap();
    for x in 0..4 {
        pipeline.put(x).unwrap();
    }
    let report = pipeline.setstop().unwrap();
    balanced(&report);
    drop(pipeline);
    assert!(told.iter().eq([(0, 0), (2, 2)]));
    assert_eq!(report.stage("front").unwrap().counts.failed, 2);
    assert_eq!((report.joins[0].counts.joined, report.joins[0].counts.unjoined), (2, 0));
}

#[test]
fn no_more_is_asked_of_a_stage_in_front_once_a_branch_has_failed() {
    let endless = |x: u32| Give::many(std::iter::repeat(x));
    let fails = |_: u32| -> Result<u32, &str> { Err("it is bad") };
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(endless)
        .parallel((|x: u32| x, stage(fails).name("fails")))
        .end_stage(|_: (u32, u32)| {})
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    let failure = pipeline.setstop().unwrap_err();
    assert_eq!(failure.stage(), "fails");
    balanced(failure.report());
}

#[test]
fn a_block_has_a_row_in_the_report_with_a_relay_and_without() {
    let rows = |report: Report| {
        let rows =
            report.stages.iter().map(|row| (row.name.clone(), row.buffer.entered, row.counts.used, row.counts.gave));
        rows.collect::<Vec<_>>()
    };
    let run = |workers| {
        let pipeline = Pipeline::builder()
            .overflow(Overflow::Block)
            .stage(made_by(|| Ok(|x: u32| x)).name("front").workers(workers))
            .end_parallel((stage(|_: u32| {}).name("show"), stage(|_: u32| {}).name("save")))
            .start()
            .unwrap();
        for x in 0..5 {
            pipeline.put(x).unwrap();
        }
        rows(pipeline.setstop().unwrap())
    };
    let expected = [("front", 5, 5, 5), ("parallel", 5, 5, 10), ("show", 5, 5, 0), ("save", 5, 5, 0)];
    let expected = expected.map(|(name, entered, used, gave)| (name.to_owned(), entered, used, gave));
    assert_eq!(run(1), expected);
    assert_eq!(run(2), expected);
}

#[test]
fn an_empty_branch_is_refused() {
    let empty = Pipeline::<u32>::builder().parallel((chain(), |x: u32| x));
    let refused = empty.end_stage(|_: (u32, u32)| {}).start();
    assert!(matches!(refused, Err(StartError::Graph(GraphError::EmptyBranch))));
}

/// A value that tells when it is freed.
#[derive(Clone)]
struct Kept(#[expect(dead_code, reason = "it is only counted")] Arc<()>);

#[test]
fn the_newest_result_stands_beside_each_of_the_first_branch_and_is_freed_at_the_end() {
    let (mut tell, told) = told::<(u32, Option<u32>)>();
    let (go, gone) = channel::<()>();
    let detect = move |x: u32| {
        gone.recv().expect("the test lets it go");
        x * 10
    };
    let kept = Arc::new(());
    let keeps = Arc::clone(&kept);
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .parallel_latest((|x: u32| x, detect, move |_: u32| Kept(Arc::clone(&keeps))))
        .end_stage(move |(x, found, _): (u32, Option<u32>, Option<Kept>)| tell((x, found)))
        .start()
        .unwrap();

    pipeline.put(1).unwrap();
    assert_eq!(told.recv_timeout(WATCHDOG), Ok((1, None)));
    go.send(()).unwrap();
    until(|| pipeline.report().joins[0].counts.renewed == 2);
    for x in 2..5 {
        pipeline.put(x).unwrap();
        assert_eq!(told.recv_timeout(WATCHDOG), Ok((x, Some(10))));
    }
    drop(go);
    let failure = pipeline.setstop().unwrap_err();
    balanced(failure.report());
    assert_eq!(failure.report().joins[0].counts.joined, 4);
    drop(pipeline);
    assert_eq!(Arc::strong_count(&kept), 1);
}

#[test]
fn a_newest_result_whose_clone_panics_stops_the_pipeline() {
    struct Fragile;
    impl Clone for Fragile {
        fn clone(&self) -> Self {
            panic!("it breaks")
        }
    }
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(|x: u32| x)
        .parallel_latest((|x: u32| x, |_: u32| Fragile))
        .end_stage(|_: (u32, Option<Fragile>)| {})
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    until(|| pipeline.report().joins[0].counts.renewed == 1);
    while pipeline.put(2).is_ok() {}
    let failure = pipeline.setstop().unwrap_err();
    assert!(failure.to_string().contains("it breaks"), "{failure}");
    balanced(failure.report());
}
