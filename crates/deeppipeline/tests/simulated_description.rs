//! A simulation needs no more than a description: it tells the same as one in which the stages run.

use deeppipeline::engine::{Block, BlockResults, BufferSize, Graph, Node, SourceNode};
use deeppipeline::intake::Intake;
use deeppipeline::simulate::Simulation;
use deeppipeline::{Batch, Overflow, Pipeline, Report, Window, stage};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Runs a simulation of a camera that gives a frame every 10 ms.
fn filmed<I: Send + 'static>(mut simulation: Simulation<I>, frame: fn() -> I, takes: &[(&str, Duration)]) -> Report {
    for number in 0..100 {
        simulation.put_at(10 * number * MS, frame());
    }
    for (stage, duration) in takes {
        simulation.takes(stage, *duration).unwrap();
    }
    simulation.run().unwrap()
}

#[test]
fn it_tells_the_same_as_one_in_which_the_stages_run() {
    let takes = [("detect", 14 * MS), ("track", 25 * MS), ("show", 3 * MS)];
    let built = Pipeline::builder()
        .stage(stage(|_: ()| ()).name("detect"))
        .stage(stage(|list: Vec<()>| list).name("track").intake(Batch::new(2).max_wait(20 * MS)))
        .end_stage(stage(|_: Vec<()>| {}).name("show").intake(Window::new(3).stride(2)));
    let mut graph = Graph {
        stages: ["detect", "track", "show"].map(Node::new).into(),
        buffer_size: BufferSize::Each(2),
        ..Graph::default()
    };
    graph.stages[1].intake = Intake::Batch { max_size: 2, max_wait: 20 * MS, fold: false };
    graph.stages[2].intake = Intake::Window { size: 3, stride: 2 };
    let described = filmed(Simulation::of(graph).unwrap(), || (), &takes);
    assert!(described.balances() && described.dropped() > 0);
    assert_eq!(described, filmed(built.simulate().unwrap(), || (), &takes));
}

#[test]
fn what_one_branch_drops_is_not_joined() {
    let mut graph = Graph {
        stages: ["fast", "slow", "end"].map(Node::new).into(),
        blocks: vec![Block {
            name: "parallel".to_owned(),
            branches: vec![0..1, 1..2],
            results: BlockResults::Joined,
            routed: false,
        }],
        overflow: Some(Overflow::Block),
        ..Graph::default()
    };
    graph.stages[1].overflow = Some(Overflow::DropNewest);
    let report = filmed(Simulation::of(graph).unwrap(), || (), &[("slow", 20 * MS)]);
    let slow = report.stage("slow").unwrap();
    assert!(report.balances() && slow.buffer.dropped_newest > 0);
    assert_eq!(report.joins[0].counts.unjoined, slow.buffer.dropped_newest);
    assert_eq!(report.stage("end").unwrap().counts.used, slow.counts.used);
}

#[test]
fn samples_of_a_source_come_when_they_arrive_and_a_full_buffer_does_what_it_does_behind_it() {
    for (is_live, dropped) in [(false, 0), (true, 48)] {
        let stages = vec![Node::new("detect")];
        let graph = Graph { stages, source: Some(SourceNode { is_live, ..SourceNode::default() }), ..Graph::default() };
        let report = filmed(Simulation::of(graph).unwrap(), || (), &[("detect", 20 * MS)]);
        assert_eq!(report.dropped(), dropped);
    }
}

#[test]
fn the_last_ten_seconds_tell_that_a_stage_has_become_slow() {
    let graph =
        Graph { stages: ["detect", "show"].map(Node::new).into(), overflow: Some(Overflow::Block), ..Graph::default() };
    let mut simulation = Simulation::<()>::of(graph).unwrap();
    for number in 0..100 {
        simulation.put_at(1000 * number * MS, ());
    }
    simulation.takes_by("detect", |sample| if sample.number > 90 { 300 * MS } else { 20 * MS }).unwrap();
    let report = simulation.run().unwrap();
    let (detect, show) = (&report.stages[0], &report.stages[1]);
    let is_near = |found: Duration, wanted: Duration| found >= wanted && found <= wanted + wanted / 50;
    assert!(is_near(detect.p50, 20 * MS) && is_near(detect.recent.run.p50, 300 * MS), "{detect:#?}");
    assert_eq!((show.age.max, show.recent.age.max), (300 * MS, 300 * MS));
    assert!(is_near(report.age.p50, 20 * MS) && is_near(report.recent_age.p50, 300 * MS), "{report:#?}");
}

/// A stage that is always at work behind one that is three times as fast, and in front of one that is.
fn with_a_slow_stage(blocks: impl Fn(Graph) -> Graph) -> Report {
    let stages = ["read", "detect", "show"].map(Node::new).into();
    let graph = Graph { stages, overflow: Some(Overflow::Block), buffer_size: 1.into(), ..Graph::default() };
    let mut simulation = Simulation::<()>::of(blocks(graph)).unwrap();
    for _ in 0..2000 {
        simulation.put_at(Duration::ZERO, ());
    }
    for (stage, time) in [("read", 10), ("detect", 30), ("show", 10)] {
        simulation.takes(stage, time * MS).unwrap();
    }
    simulation.run().unwrap()
}

#[test]
fn a_stage_tells_what_its_workers_did_and_how_many_samples_it_takes_in_a_second() {
    let report = with_a_slow_stage(|graph| graph);
    let third = 1.0 / 3.0;
    for (stage, busy, starved, blocked) in
        [("read", third, 0.0, 2.0 * third), ("detect", 1.0, 0.0, 0.0), ("show", third, 2.0 * third, 0.0)]
    {
        let stage = report.stage(stage).unwrap();
        for shares in [stage.recent.shares, stage.shares(report.elapsed)] {
            let found = [shares.busy, shares.starved, shares.blocked];
            let is_near =
                found.iter().zip([busy, starved, blocked]).all(|(found, wanted)| (found - wanted).abs() < 0.01);
            assert!(is_near, "{}: {shares:?}", stage.name);
        }
        assert!((stage.recent.rate - 100.0 * third).abs() < 1.0, "{}: {}", stage.name, stage.recent.rate);
    }
}

#[test]
fn what_is_in_front_of_a_block_is_blocked_by_a_slow_branch_and_the_other_branch_starves() {
    let report = with_a_slow_stage(|graph| {
        let block = Block {
            name: "parallel".to_owned(),
            branches: vec![1..2, 2..3],
            results: BlockResults::Joined,
            routed: false,
        };
        Graph { stages: ["read", "detect", "beside", "show"].map(Node::new).into(), blocks: vec![block], ..graph }
    });
    let share = |stage: &str| report.stage(stage).unwrap().recent.shares;
    assert!(
        share("read").blocked > 0.6 && share("detect").busy > 0.99 && share("beside").starved > 0.99,
        "{report:#?}"
    );
}

#[test]
fn the_age_of_what_is_known_at_the_end_grows_while_nothing_comes_out() {
    let stages = ["detect", "show"].map(Node::new).into();
    let mut simulation = Simulation::<()>::of(Graph { stages, ..Graph::default() }).unwrap();
    simulation.put_at(100 * MS, ());
    simulation.put_at(1000 * MS, ());
    simulation.takes("detect", 30 * MS).unwrap();
    let age = |simulation: &Simulation<()>| simulation.report().stages[1].age_of_information;
    let mut ages = Vec::new();
    while simulation.step().is_some() {
        ages.push((simulation.now(), age(&simulation), simulation.report().stages[0].age_of_information));
    }
    ages.dedup();
    let ages: Vec<_> = ages.into_iter().filter(|(now, ..)| *now > Duration::ZERO).collect();
    let (none, of) = (None::<Duration>, |time: u32| Some(time * MS));
    // It is new again once the last stage is done.
    let wanted = [(100, none), (130, none), (130, of(30)), (1000, of(900)), (1030, of(930)), (1030, of(30))];
    assert_eq!(ages, wanted.map(|(now, age)| (now * MS, age, None)));
}
