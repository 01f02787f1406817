//! SIGINT, SIGTERM and SIGHUP: the first one drains, a second one aborts.
#![cfg(unix)]

#[path = "processes/alone.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod alone;
#[path = "support/mod.rs"]
mod support;

use alone::{command, is_alone, is_here};
use deeppipeline::error::PutError;
use deeppipeline::pipeline::StopSignal;
use deeppipeline::report::Outcome;
use deeppipeline::{Overflow, Pipeline};
use signal_hook::low_level::raise;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use support::until;

/// A pipeline of one stage that waits for a word with every sample, and who says it.
fn gated() -> (Pipeline<i32>, Sender<()>) {
    let (open, gate) = channel();
    let pipeline = Pipeline::builder().overflow(Overflow::Block).buffer_size(8).end_stage(move |_: i32| {
        // Nobody says anything any more when the test is over.
        let _ = gate.recv();
    });
    (pipeline.start().unwrap(), open)
}

fn send(signal: StopSignal) {
    raise(signal.number()).unwrap();
}

fn is_closed(pipeline: &Pipeline<i32>) -> bool {
    matches!(pipeline.put(0), Err(PutError::Closed(_)))
}

#[test]
fn the_exit_codes_are_those_of_shells() {
    let codes = [StopSignal::Interrupt, StopSignal::Terminate, StopSignal::HangUp].map(StopSignal::exit_code);
    assert_eq!(codes, [130, 143, 129]);
}

#[test]
fn the_first_signal_drains_and_is_told() {
    if !is_alone("the_first_signal_drains_and_is_told") {
        return;
    }
    for signal in [StopSignal::Interrupt, StopSignal::Terminate, StopSignal::HangUp] {
        let (pipeline, open) = gated();
        let stop = pipeline.on_stop_signals().unwrap();
        (1..=3).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
        assert_eq!(stop.received(), None);
        send(signal);
        until(|| stop.received().is_some());
        (1..=3).for_each(|_| open.send(()).unwrap());
        let report = pipeline.join().unwrap();
        assert_eq!((report.outcome, report.stages[0].counts.used), (Outcome::Finished, 3));
        assert_eq!(stop.received(), Some(signal));
    }
}

#[test]
fn a_second_signal_aborts_whichever_it_is() {
    if !is_alone("a_second_signal_aborts_whichever_it_is") {
        return;
    }
    let (pipeline, _open) = gated();
    let stop = pipeline.on_stop_signals().unwrap();
    (1..=3).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    send(StopSignal::Terminate);
    until(|| stop.received().is_some());
    send(StopSignal::HangUp);
    until(|| pipeline.report().outcome == Outcome::Aborted);
    assert_eq!(pipeline.report().stages[0].buffer.discarded, 2);
    assert_eq!(stop.received(), Some(StopSignal::Terminate));
}

#[test]
fn every_pipeline_that_asked_for_it_drains() {
    if !is_alone("every_pipeline_that_asked_for_it_drains") {
        return;
    }
    let ((first, _), (second, _), (other, _)) = (gated(), gated(), gated());
    let _stops = [first.on_stop_signals().unwrap(), second.on_stop_signals().unwrap()];
    send(StopSignal::Terminate);
    until(|| is_closed(&first) && is_closed(&second));
    assert!(!is_closed(&other));
}

const ENDS: &str = "with_nothing_left_to_drain_such_a_signal_ends_the_program";

#[test]
fn with_nothing_left_to_drain_such_a_signal_ends_the_program() {
    if !is_here(ENDS) {
        let status = command(ENDS).status().unwrap();
        assert_eq!(status.signal(), Some(StopSignal::Terminate.number()), "{status}");
        return;
    }
    let (pipeline, _) = gated();
    let stop = pipeline.on_stop_signals().unwrap();
    pipeline.setstop().unwrap();
    send(StopSignal::HangUp);
    until(|| stop.received().is_some());
    drop(stop);
    send(StopSignal::Terminate);
    until(|| false);
}

const IGNORES: &str = "what_the_program_was_started_to_ignore_stays_ignored";

#[test]
fn what_the_program_was_started_to_ignore_stays_ignored() {
    if !is_here(IGNORES) {
        let test = command(IGNORES);
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(test.get_program()).args(test.get_args());
        shell.envs(test.get_envs().filter_map(|(name, value)| Some((name, value?))));
        assert!(shell.status().unwrap().success());
        return;
    }
    let (pipeline, _) = gated();
    let stop = pipeline.on_stop_signals().unwrap();
    send(StopSignal::HangUp);
    send(StopSignal::Interrupt);
    until(|| stop.received().is_some());
    assert_eq!(stop.received(), Some(StopSignal::Interrupt));
}
