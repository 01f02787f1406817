//! Workers end by themselves when the process of their pipeline is gone, whatever they are doing.

use crate::alone::{command, is_here};
use crate::puppet::{At, Do, Hand, Player, Puppet, Strings};
use crate::stages::{ARGUMENTS, pipeline};
use crate::support::until;
use deeppipeline::isolated;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

const AT_WORK: &str = "orphans::a_parent_at_work";
const STARTING: &str = "orphans::a_parent_that_starts";
/// Where the puppets of such a parent call.
const DESKS: &str = "PROCESSES_DESKS";

/// Starts a test in a process of its own, as the parent of workers.
fn parent(test: &str, players: &[&Player]) -> Child {
    let desks: Vec<String> = players.iter().map(|player| player.address()).collect();
    command(test).env(DESKS, desks.join(",")).stdout(Stdio::null()).spawn().unwrap()
}

fn strings() -> Vec<Strings> {
    std::env::var(DESKS).unwrap().split(',').map(|desk| Strings::to(desk.to_owned())).collect()
}

fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

/// Is to be killed while its workers are busy. As a test it has nothing to say.
#[test]
fn a_parent_at_work() {
    if !is_here(AT_WORK) {
        return;
    }
    let strings = strings();
    let pipeline = pipeline()
        .buffer_size(1)
        .stage(isolated::<Puppet>(strings[0].clone()))
        .stage(isolated::<Puppet>(strings[1].clone()))
        .stage(isolated::<Puppet>(strings[2].clone()))
        .end_stage(|_: i64| {})
        .start()
        .unwrap();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    stay();
}

#[test]
fn workers_end_when_the_process_of_their_pipeline_is_killed() {
    let players = [Player::new(), Player::new(), Player::new()];
    let mut parent = parent(AT_WORK, &players.each_ref());
    let mut hands: Vec<Hand> = players.iter().map(Player::next).collect();
    // One waits for room behind it, one is in stage_run, and one has nothing to do.
    for x in 1..=3 {
        hands[0].lets(At::Run(x));
    }
    assert_eq!(hands[1].at(), At::Run(1));
    parent.kill().unwrap();
    parent.wait().unwrap();
    hands.iter_mut().for_each(Hand::wait_until_it_ends);
    until(|| hands.iter().all(Hand::is_gone));
}

/// Is to be killed while its workers start. As a test it has nothing to say.
#[test]
fn a_parent_that_starts() {
    if !is_here(STARTING) {
        return;
    }
    let strings = strings();
    let _pipeline = pipeline()
        .stage(isolated::<Puppet>(strings[0].clone()))
        .stage(isolated::<Puppet>(strings[1].clone().asking_in_setup()))
        .end_stage(|_: i64| {})
        .start_without_waiting()
        .unwrap();
    stay();
}

#[test]
fn workers_end_when_the_process_of_their_pipeline_is_killed_while_they_start() {
    let players = [Player::new(), Player::new()];
    let mut parent = parent(STARTING, &players.each_ref());
    let mut hands: Vec<Hand> = players.iter().map(Player::next).collect();
    // One waits for the others to be up, and one hangs in setup.
    hands[1].at_tell(At::Setup, Do::Hang);
    parent.kill().unwrap();
    parent.wait().unwrap();
    hands.iter_mut().for_each(Hand::wait_until_it_ends);
    until(|| hands.iter().all(Hand::is_gone));
}

#[test]
fn a_worker_whose_pipeline_was_gone_before_it_began_does_not_take_itself_for_the_program() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    // The shell stands between the two, so that this process is not the worker's parent: as after the parent's death.
    let mut worker = Command::new("sh");
    worker.args(["-c", "\"$0\" \"$@\"; exit $?"]).arg(std::env::current_exe().unwrap()).args(ARGUMENTS);
    worker.env("DEEPPIPELINE_WORKER", std::process::id().to_string()).stdin(Stdio::from(OwnedFd::from(theirs)));
    let worker = worker.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(ours);
    let output = worker.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Killed, as the shell says it.
    assert_eq!(output.status.code(), Some(128 + 9), "{stdout}{stderr}");
    assert!(!stdout.contains("passed"), "{stdout}{stderr}");
}

#[test]
fn a_program_that_a_worker_starts_is_no_worker() {
    let mut program = Command::new("sh");
    program.args(["-c", "\"$0\" \"$@\"; exit $?"]).arg(std::env::current_exe().unwrap()).args(ARGUMENTS);
    program.env("DEEPPIPELINE_WORKER", std::process::id().to_string()).stdin(Stdio::null());
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
