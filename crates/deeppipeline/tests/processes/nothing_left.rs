//! After a pipeline has ended its process is as it was: no children, no descriptors, no memory.

use crate::alone::{children, descriptors, is_alone, mappings, threads};
use crate::line::WATCHDOG;
use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{Double, end, ended, isolated_stage, pipeline};
use crate::support::until;
use deeppipeline::processes::OnCrash;
use deeppipeline::report::Outcome;
use deeppipeline::{Give, isolated};
use rustix::process::{Resource, Rlimit, Uid, getrlimit, getuid, setrlimit};
use rustix::thread::set_thread_res_uid;

fn runs_once() {
    let (end, values) = end();
    let pipeline =
        pipeline().stage(isolated::<Double>(())).stage(isolated::<Double>(())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    ended(pipeline);
    assert_eq!(values.rest(), [4]);
}

fn crashes_once() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
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
        .stage(isolated::<Puppet>(player.strings()).workers(2).on_crash(OnCrash::Retry))
        .end_stage(end)
        .start()
        .unwrap();
    (1..=2).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
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
    let pipeline =
        pipeline().stage(isolated::<Puppet>(player.strings()).max_restarts(0)).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    player.next().at_tell(At::Run(1), Do::Abort);
    ended(pipeline);
}

fn dies_once() {
    let pipeline = pipeline().stage(isolated::<DiesOnce>(())).end_stage(|_: i64| {}).start().unwrap();
    (1..=2).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    ended(pipeline);
}

fn never_comes_up() {
    let player = Player::new();
    let strings = player.strings().asking_in_setup();
    let pipeline =
        pipeline().stage(isolated::<Puppet>(strings)).end_stage(|_: i64| {}).start_without_waiting().unwrap();
    player.next().at_tell(At::Setup, Do::Abort);
    ended(pipeline);
}

fn is_aborted() {
    let player = Player::new();
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(|_: i64| {}).start().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    hand.at_tell(At::Run(1), Do::Hang);
    pipeline.abort();
    ended(pipeline);
}

fn is_dropped() {
    let player = Player::new();
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(|_: i64| {}).start().unwrap();
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

/// Children, mappings, descriptors and threads of this process.
fn left() -> (Vec<u32>, usize, usize, usize) {
    (children(), mappings(), descriptors(), threads())
}

/// What a first pipeline leaves: the thread that writes what workers say is made once, and stays beside the two of a test.
fn left_by_a_first() -> (Vec<u32>, usize, usize, usize) {
    dies_once();
    until(|| children().is_empty() && mappings() == 0 && threads() == 3);
    left()
}

/// Starts a pipeline again and again while there may be few of something, one more each time, so that every step that
/// takes one fails in its turn, for the first worker, the second and the last. Gives what each start said that failed.
fn refused_until_there_is_enough(of: Resource, has: u64) -> Vec<String> {
    let all = getrlimit(of);
    let start_with = |few: u64| {
        setrlimit(of, Rlimit { current: Some(few), ..all }).unwrap();
        let stages = pipeline().stage(isolated::<Double>(()).workers(2)).stage(isolated::<Double>(()));
        let started = stages.end_stage(|_: i64| {}).start_timeout(WATCHDOG);
        setrlimit(of, all).unwrap();
        started.map(ended).map_err(|error| error.to_string())
    };
    let before = left_by_a_first();
    let refused = (has..).map_while(|few| {
        let refused = start_with(few).err();
        until(|| left() == before);
        refused
    });
    refused.collect()
}

#[test]
fn a_start_that_gets_one_descriptor_too_few_at_any_step_fails_and_leaves_nothing() {
    if !is_alone("nothing_left::a_start_that_gets_one_descriptor_too_few_at_any_step_fails_and_leaves_nothing") {
        return;
    }
    let refused = refused_until_there_is_enough(Resource::Nofile, descriptors() as u64);
    println!("{refused:#?}");
    // Two buffers in shared memory, three wakers, and a socket, a pipe and the process for each of three workers.
    assert!(refused.len() > 10, "{refused:#?}");
    assert!(refused.iter().all(|text| text.contains("Too many open files")), "{refused:#?}");
}

#[test]
fn a_start_that_gets_one_thread_or_process_too_few_at_any_step_fails_and_leaves_nothing() {
    if !is_alone("nothing_left::a_start_that_gets_one_thread_or_process_too_few_at_any_step_fails_and_leaves_nothing") {
        return;
    }
    if getuid().is_root() {
        // The limit does not hold for root, and is counted for each user.
        let nobody_else = Uid::from_raw(0x6e6f_626f);
        set_thread_res_uid(nobody_else, nobody_else, nobody_else).unwrap();
    }
    let refused = refused_until_there_is_enough(Resource::Nproc, 1);
    println!("{refused:#?}");
    // The end stage's thread, three that watch, and three workers.
    assert!(refused.len() >= 7, "{refused:#?}");
    assert!(refused.iter().all(|text| text.contains("Resource temporarily unavailable")), "{refused:#?}");
}

#[test]
fn a_restart_that_gets_one_descriptor_too_few_at_any_step_fails_and_leaves_nothing() {
    if !is_alone("nothing_left::a_restart_that_gets_one_descriptor_too_few_at_any_step_fails_and_leaves_nothing") {
        return;
    }
    let enough = getrlimit(Resource::Nofile);
    let dies_while_there_are = |few: u64| {
        let (end, values) = end();
        let pipeline = pipeline().stage(isolated::<DiesOnce>(())).end_stage(end).start().unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(few), ..enough }).unwrap();
        (1..=2).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
        until(|| pipeline.report().outcome == Outcome::Failed || pipeline.report().stages[1].counts.used == 1);
        setrlimit(Resource::Nofile, enough).unwrap();
        let stopped = pipeline.setstop_or_abort(WATCHDOG);
        stopped.map(|_| assert_eq!(values.rest(), [2])).map_err(|error| error.to_string())
    };
    let before = left_by_a_first();
    let refused = (before.2 as u64..).map_while(|few| {
        let refused = dies_while_there_are(few).err();
        until(|| left() == before);
        refused
    });
    let refused: Vec<_> = refused.collect();
    println!("{refused:#?}");
    assert!(refused.len() >= 5, "{refused:#?}");
    assert!(refused.iter().all(|text| text.contains("Too many open files")), "{refused:#?}");
}

isolated_stage! {
    /// Dies of the first sample.
    pub(crate) DiesOnce, "dies once": |x: i64| -> i64 {
        if x == 1 {
            eprintln!("dies of it");
            std::process::abort();
        }
        Ok(Give::One(x))
    }
}
