//! What a worker writes to stderr reaches the pipeline's own, line by line under the name of its stage, and holds up
//! nothing.

use crate::alone::{command, is_alone, is_here};
use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{end, ended, pipeline};
use deeppipeline::Options;
use std::process::Stdio;

const WRITES: &str = "stderr::writes";

/// Has a worker that writes to stderr. As a test it has nothing to say.
#[test]
fn writes() {
    if !is_here(WRITES) {
        return;
    }
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage_isolated::<Puppet>(player.strings())
        .options(Options::new().name("chatty"))
        .end_stage(end)
        .start()
        .unwrap();
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

#[test]
fn a_line_without_an_end_fills_no_memory_and_no_pipe() {
    // Its output is for nobody.
    if !is_alone("stderr::a_line_without_an_end_fills_no_memory_and_no_pipe") {
        return;
    }
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage_isolated::<Puppet>(player.strings()).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    let text = "no end in sight, ".repeat(100_000);
    player.next().at_tell(At::Run(1), Do::Write(text, Box::new(Do::Go)));
    ended(pipeline);
    assert_eq!(values.rest(), [1]);
}
