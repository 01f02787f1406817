//! Branches inside branches, and what the next stage gets of them.

use deeppipeline::{BoxError, Give, GraphError, Options, Overflow, Pipeline, Report, Stage, StartError};
use std::sync::mpsc::{Receiver, channel};

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
        .parallel(
            |branch| {
                branch.stage(|x: u32| x + 1).parallel(
                    |inner| inner.stage(|x: u32| x * 2),
                    |inner| inner.stage(|x: u32| x * 3).stage(|x: u32| x.to_string()),
                )
            },
            |branch| branch.stage(|x: u32| x * 100),
        )
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
        .parallel(
            |branch| branch.parallel(|inner| inner.stage(Odd), |inner| inner.stage(|x: u32| x)),
            |branch| branch.stage(|x: u32| x),
        )
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
        .parallel3(
            |branch| branch.stage(|x: u64| x),
            |branch| branch.stage(|x: u64| x * x),
            |branch| branch.stage(|x: u64| x.to_string()),
        )
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
        .end_parallel(|branch| branch.stage(show), |branch| branch.stage(|x: u32| x * 2).stage(save))
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
        .end_parallel(
            |branch| branch.end_parallel(|inner| inner.stage(one), |inner| inner.stage(two)),
            |branch| branch.stage(three),
        )
        .start()
        .unwrap();
    (0..9).for_each(|x| assert!(pipeline.put(x).unwrap()));
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
        .parallel(
            |branch| {
                branch.stage(move |x: u32| {
                    enter.send(()).expect("the test listens");
                    let _ = stuck.recv();
                    x
                })
            },
            |branch| branch.stage(|x: u32| x),
        )
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
fn an_empty_branch_another_builder_and_options_of_a_block_are_refused() {
    let empty = Pipeline::<u32>::builder().parallel(|branch| branch, |branch| branch.stage(|x: u32| x));
    let refused = empty.end_stage(|_: (u32, u32)| {}).start();
    assert!(matches!(refused, Err(StartError::Graph(GraphError::EmptyBranch))));
    let other = |_| Pipeline::<u32>::builder().stage(|x: u32| x);
    let refused = Pipeline::<u32>::builder().parallel(other, other).end_stage(|_: (u32, u32)| {}).start();
    assert!(matches!(refused, Err(StartError::Graph(GraphError::AnotherBuilder))));
    let options = Pipeline::<u32>::builder()
        .parallel(|branch| branch.stage(|x: u32| x), |branch| branch.stage(|x: u32| x))
        .options(Options::new().name("both"));
    let refused = options.end_stage(|_: (u32, u32)| {}).start();
    assert!(matches!(refused, Err(StartError::Graph(GraphError::OptionsOfBlock))));
}
