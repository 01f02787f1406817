//! Samples flow through processes and threads in order, whatever the intake.

use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{ARGUMENTS, Double, Sum, assert_clear, end, ended, pipeline};
use crate::support::until;
use deeppipeline::{All, Latest, Overflow, Pipeline, current_sample, isolated};
use std::sync::mpsc::channel;
use std::time::Duration;

#[test]
fn samples_flow_through_processes_and_threads_in_order() {
    let (end, values) = end();
    let pipeline = pipeline()
        .stage(isolated::<Double>(()))
        .stage(|x: i64| x + 1)
        .stage(isolated::<Double>(()))
        .stage(isolated::<Double>(()))
        .end_stage(end)
        .start()
        .unwrap();
    for x in 1..=1000 {
        pipeline.put(x).unwrap();
    }
    let report = ended(pipeline);
    assert_eq!(values.rest(), (1..=1000).map(|x| 4 * (2 * x + 1)).collect::<Vec<i64>>());
    assert!(report.stages.iter().all(|stage| stage.buffer.taken == 1000 && stage.restarts == 0), "{report:#?}");
}

#[test]
fn a_process_tells_how_long_it_waited_for_room_and_an_end_stage_how_old_the_newest_is() {
    let (mut end, values) = end();
    let (let_go, go_on) = channel();
    let held = move |x: i64| {
        // Once nobody lets it go any more, it goes on.
        let _ = go_on.recv();
        end(x);
    };
    let pipeline = pipeline().buffer_size(1).stage(isolated::<Double>(())).end_stage(held).start().unwrap();
    let has_waited = || {
        (0..4).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
        until(|| {
            let counts = pipeline.report().stages[0].counts.clone();
            counts.in_flight == 1
        });
        (0..4).for_each(|_| let_go.send(()).unwrap());
        (0..4).for_each(|x| assert_eq!(values.next(), 2 * x));
        // Where room came before it had asked for it, it has not waited.
        pipeline.report().stages[0].blocked > Duration::ZERO
    };
    until(has_waited);
    until(|| pipeline.report().stages[1].age_of_information.is_some());
    let stage = pipeline.report().stages[0].clone();
    assert!(stage.recent.shares.blocked > 0.0 && stage.recent.rate > 0.0, "{stage:#?}");
    assert_eq!(stage.age_of_information, None);
    drop(let_go);
    ended(pipeline);
}

#[test]
fn a_source_feeds_a_process() {
    let (end, values) = end();
    let report = Pipeline::<i64>::builder()
        .overflow(Overflow::Block)
        .source(1..=100_i64)
        .stage(isolated::<Double>(()))
        .end_stage(end)
        .worker_arguments(ARGUMENTS)
        .run()
        .unwrap();
    assert_clear(&report);
    assert_eq!(values.rest(), (1..=100).map(|x| 2 * x).collect::<Vec<i64>>());
}

#[test]
fn a_simulation_runs_such_a_stage_where_it_is() {
    let (end, values) = end();
    let mut simulation = pipeline().stage(isolated::<Double>(())).end_stage(end).simulate().unwrap();
    simulation.put_at(Duration::ZERO, 21);
    assert_clear(&simulation.run().unwrap());
    assert_eq!(values.next(), 42);
}

#[test]
fn a_process_takes_lists_and_the_rest_as_a_shorter_one() {
    let (end, values) = end();
    let pipeline = pipeline().buffer_size(3).stage(isolated::<Sum>(()).intake(All)).end_stage(end).start().unwrap();
    for x in 1..=7 {
        pipeline.put(x).unwrap();
    }
    let report = ended(pipeline);
    assert_eq!(values.rest(), [6, 15, 7]);
    assert_eq!((report.stages[0].counts.used, report.stages[0].counts.absorbed), (3, 4));
}

#[test]
fn a_process_takes_the_latest() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = Pipeline::builder()
        .worker_arguments(ARGUMENTS)
        .buffer_size(3)
        .stage(isolated::<Puppet>(player.strings()).intake(Latest))
        .end_stage(end)
        .start()
        .unwrap();
    let mut hand = player.next();
    pipeline.put(1).unwrap();
    assert_eq!(hand.at(), At::Run(1));
    for x in 2..=5 {
        pipeline.put(x).unwrap();
    }
    hand.tell(Do::Go);
    hand.lets(At::Run(5));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [1, 5]);
    let buffer = &report.stages[0].buffer;
    assert_eq!((buffer.dropped_oldest, buffer.superseded), (1, 2));
}

#[test]
fn an_end_stage_in_a_process_works_on_every_sample() {
    let player = Player::new();
    let pipeline = pipeline().end_stage(isolated::<Puppet>(player.strings())).start().unwrap();
    let mut hand = player.next();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
        hand.lets(At::Run(x));
    }
    assert_eq!(ended(pipeline).stages[0].counts.used, 3);
}

#[test]
fn samples_keep_their_numbers_and_parts_across_processes() {
    let (player, (mut tell, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()))
        .stage(isolated::<Double>(()).name("double"))
        .end_stage(move |x: i64| tell((current_sample().unwrap().id.to_string(), x)))
        .start()
        .unwrap();
    let mut hand = player.next();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    hand.lets(At::Run(1));
    hand.at_tell(At::Run(2), Do::Many(2));
    (1..=3).for_each(|part| hand.lets(At::Part(part)));
    hand.lets(At::Run(3));
    ended(pipeline);
    let said: Vec<(String, i64)> = values.rest();
    let said: Vec<(&str, i64)> = said.iter().map(|(id, x)| (id.as_str(), *x)).collect();
    assert_eq!(said, [("1", 2), ("2.1", 42), ("2.2", 44), ("3", 6)]);
}
