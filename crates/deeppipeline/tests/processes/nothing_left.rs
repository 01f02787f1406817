//! After a pipeline has ended its process is as it was: no children, no descriptors, no memory.

use crate::alone::{children, descriptors, is_alone, mappings};
use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{Double, end, ended, pipeline};
use crate::support::until;
use deeppipeline::{OnCrash, Options};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn runs_once() {
    let (end, values) = end();
    let pipeline = pipeline().stage_isolated::<Double>(()).stage_isolated::<Double>(()).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    ended(pipeline);
    assert_eq!(values.rest(), [4]);
}

fn crashes_once() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage_isolated::<Puppet>(player.strings()).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    player.next().at_tell(At::Run(1), Do::Abort);
    player.next().lets(At::Run(2));
    ended(pipeline);
    assert_eq!(values.rest(), [2]);
}

fn loses_one_of_several() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage_isolated::<Puppet>(player.strings())
        .options(Options::new().workers(2).on_crash(OnCrash::Retry))
        .end_stage(end)
        .start()
        .unwrap();
    (1..=2).for_each(|x| assert!(pipeline.put(x).unwrap()));
    let mut hands = [player.next(), player.next()];
    hands.iter_mut().for_each(|hand| assert!(matches!(hand.at(), At::Run(_))));
    let [dies, mut lives] = hands;
    dies.kill();
    let next = player.next();
    lives.tell(Do::Go);
    let goes_on = [lives, next].map(|hand| std::thread::spawn(|| hand.lets_all()));
    ended(pipeline);
    goes_on.into_iter().for_each(|hand| hand.join().unwrap());
    assert_eq!(values.rest(), [1, 2]);
}

fn dies_for_good() {
    let (player, (end, _values)) = (Player::new(), end::<i64>());
    let pipeline = pipeline()
        .stage_isolated::<Puppet>(player.strings())
        .options(Options::new().max_restarts(0))
        .end_stage(end)
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    player.next().at_tell(At::Run(1), Do::Abort);
    ended(pipeline);
}

fn never_comes_up() {
    let player = Player::new();
    let strings = player.strings().asking_in_setup();
    let pipeline = pipeline().stage_isolated::<Puppet>(strings).end_stage(|_: i64| {}).start_without_waiting().unwrap();
    player.next().at_tell(At::Setup, Do::Abort);
    ended(pipeline);
}

fn is_aborted() {
    let player = Player::new();
    let pipeline = pipeline().stage_isolated::<Puppet>(player.strings()).end_stage(|_: i64| {}).start().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    hand.at_tell(At::Run(1), Do::Hang);
    pipeline.abort();
    ended(pipeline);
}

fn is_dropped() {
    let player = Player::new();
    let pipeline = pipeline().stage_isolated::<Puppet>(player.strings()).end_stage(|_: i64| {}).start().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    assert_eq!(hand.at(), At::Run(1));
    drop(pipeline);
    hand.tell(Do::Go);
    until(|| hand.is_gone());
}

#[test]
fn fifty_pipelines_leave_no_children_descriptors_or_memory() {
    if !is_alone("nothing_left::fifty_pipelines_leave_no_children_descriptors_or_memory") {
        return;
    }
    let ways = [runs_once, crashes_once, loses_one_of_several, dies_for_good, never_comes_up, is_aborted, is_dropped];
    // What is made once, and stays.
    ways.iter().for_each(|way| way());
    let left = || (children(), mappings(), descriptors());
    until(|| left().0.is_empty() && left().1 == 0);
    let before = descriptors();
    for round in 0..50 {
        ways[if round < 30 { 0 } else { round % ways.len() }]();
    }
    // The threads of a pipeline that was dropped may still be on their way out.
    until(|| left() == (Vec::new(), 0, before));
}

#[test]
fn a_start_without_enough_descriptors_fails_and_leaves_nothing() {
    if !is_alone("nothing_left::a_start_without_enough_descriptors_fails_and_leaves_nothing") {
        return;
    }
    runs_once();
    let enough = getrlimit(Resource::Nofile);
    let before = descriptors();
    let mut refused = Vec::new();
    // With one more at a time it comes a little further, until it comes up.
    for more in 0.. {
        let limit = Rlimit { current: Some((before + more) as u64), ..enough };
        setrlimit(Resource::Nofile, limit).unwrap();
        let started =
            pipeline().stage_isolated::<Double>(()).stage_isolated::<Double>(()).end_stage(|_: i64| {}).start();
        setrlimit(Resource::Nofile, enough).unwrap();
        match started {
            Ok(pipeline) => {
                ended(pipeline);
                break;
            }
            Err(error) => refused.push(error.to_string()),
        }
        until(|| (children(), mappings(), descriptors()) == (Vec::new(), 0, before));
    }
    println!("{refused:#?}");
    assert!(refused.len() > 5, "{refused:#?}");
    assert!(refused.iter().all(|text| text.contains("Too many open files")), "{refused:#?}");
}
