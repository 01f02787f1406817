//! What a worker writes to stderr reaches the pipeline's own, line by line under the name of its stage, and holds up
//! nothing.

use crate::alone::{self, command, is_alone, is_here};
use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{end, ended, pipeline};
use crate::support::until;
use deeppipeline::error::WorkerDied;
use deeppipeline::isolated;
use deeppipeline::processes::OnCrash;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

const WRITES: &str = "stderr::writes";

/// Has a worker that writes to stderr. As a test it has nothing to say.
#[test]
fn writes() {
    if !is_here(WRITES) {
        return;
    }
    let (player, (end, values)) = (Player::new(), end());
    let pipeline =
        pipeline().stage(isolated::<Puppet>(player.strings()).name("chatty")).end_stage(end).start().unwrap();
    let mut hand = player.next();
    for (x, text) in [(1, "one\ntwo\n"), (2, "half"), (3, " a line\n"), (4, "not UTF-8 it is not\n"), (5, "no end")] {
        pipeline.put(x).unwrap();
        hand.at_tell(At::Run(x), Do::Write(text.to_owned(), Box::new(Do::Go)));
        assert_eq!(values.next(), x);
    }
    assert_eq!(ended(pipeline).stages[0].counts.used, 5);
}

#[test]
fn every_line_carries_the_name_of_its_stage() {
    let output = command(WRITES).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let lines: Vec<&str> = stderr.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(
        lines,
        ["[chatty] one", "[chatty] two", "[chatty] half a line", "[chatty] not UTF-8 it is not", "[chatty] no end"]
    );
}

#[test]
fn nobody_needs_to_read_it() {
    let mut program = command(WRITES).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(program.stderr.take());
    assert!(program.wait().unwrap().success());
}

const FLOODS: &str = "stderr::a_reader_that_has_stopped_keeps_no_worker_from_being_killed_and_no_program_from_ending";

#[test]
fn a_reader_that_has_stopped_keeps_no_worker_from_being_killed_and_no_program_from_ending() {
    if !is_here(FLOODS) {
        // Open, and not read.
        let mut program = command(FLOODS).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        until(|| alone::state_of(program.id()).is_none_or(|state| state == 'Z'));
        let mut stderr = String::new();
        program.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(program.wait().unwrap().success(), "{stderr}");
        return;
    }
    let (player, (end, _values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()).time_limit(Duration::from_secs(2)).on_crash(OnCrash::Stop))
        .end_stage(end)
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    player.next().at_tell(At::Run(1), Do::Write("flood\n".repeat(100_000), Box::new(Do::Hang)));
    let error = pipeline.setstop().unwrap_err();
    let died = error.cause().downcast_ref::<WorkerDied>().expect("a worker that died");
    assert!(died.time_limit.is_some());
}

const DRAWS: &str = "stderr::a_progress_bar_moves_while_it_is_drawn";

#[test]
fn a_progress_bar_moves_while_it_is_drawn() {
    if !is_here(DRAWS) {
        let mut program = command(DRAWS).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stderr) = (program.stdin.take().unwrap(), program.stderr.take().unwrap());
        let mut shown = Vec::new();
        for step in ["[bar]  10%", "\r[bar]  20%"] {
            let mut byte = [0];
            while !shown.ends_with(step.as_bytes()) {
                stderr.read_exact(&mut byte).unwrap();
                shown.push(byte[0]);
            }
            stdin.write_all(b"on\n").unwrap();
        }
        assert!(program.wait().unwrap().success());
        return;
    }
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings()).name("bar")).end_stage(end).start().unwrap();
    let mut hand = player.next();
    for (x, text) in [(1, "\r 10%"), (2, "\r 20%")] {
        pipeline.put(x).unwrap();
        hand.at_tell(At::Run(x), Do::Write(text.to_owned(), Box::new(Do::Go)));
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
    ended(pipeline);
    assert_eq!(values.rest(), [1, 2]);
}

#[test]
fn a_line_without_an_end_fills_no_memory_and_no_pipe() {
    // Its output is for nobody.
    if !is_alone("stderr::a_line_without_an_end_fills_no_memory_and_no_pipe") {
        return;
    }
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    let text = "no end in sight, ".repeat(100_000);
    player.next().at_tell(At::Run(1), Do::Write(text, Box::new(Do::Go)));
    ended(pipeline);
    assert_eq!(values.rest(), [1]);
}
