//! How often a worker is started again, and what is said when that is too much.

use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{end, ended, pipeline};
use deeppipeline::error::{Exit, PutError, WorkerDied};
use deeppipeline::isolated;

fn wrote(lines: impl IntoIterator<Item = u32>, then: Do) -> Do {
    let text: String = lines.into_iter().map(|line| format!("line {line}\n")).collect();
    Do::Write(text, Box::new(then))
}

#[test]
fn one_death_too_many_stops_with_the_exit_and_the_last_lines_of_stderr() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .buffer_size(4)
        .stage(isolated::<Puppet>(player.strings()).max_restarts(1))
        .end_stage(end)
        .start()
        .unwrap();
    for x in 1..=4 {
        pipeline.put(x).unwrap();
    }
    let mut first = player.next();
    first.at_tell(At::Run(1), wrote(100..=101, Do::Abort));
    let mut second = player.next();
    second.lets(At::Run(2));
    second.at_tell(At::Run(3), wrote(1..=25, Do::Exit(3)));
    let error = pipeline.setstop().unwrap_err();
    crate::stages::assert_clear(error.report());
    let died = error.cause().downcast_ref::<WorkerDied>().expect("a worker that died");
    assert_eq!((died.exit, died.restarts, died.while_starting), (Exit::Code(3), 1, false));
    assert_eq!(died.stderr, (6..=25).map(|line| format!("line {line}")).collect::<Vec<_>>());
    let text = error.to_string();
    assert!(text.contains("on sample 3: its worker ended with exit code 3; it had been restarted 1 times"), "{text}");
    assert!(text.contains("the last it wrote to stderr:\n  line 6\n") && text.ends_with("\n  line 25"), "{text}");
    let stage = &error.report().stages[0];
    assert_eq!((stage.counts.lost, stage.counts.used, stage.buffer.discarded, stage.restarts), (2, 1, 1, 1));
    assert!(matches!(pipeline.put(5), Err(PutError::Stage(5, _))));
    drop(pipeline);
    assert_eq!(values.rest(), [2]);
}

#[test]
fn without_restarts_the_first_death_stops() {
    let (player, (end, _values)) = (Player::new(), end());
    let pipeline =
        pipeline().stage(isolated::<Puppet>(player.strings()).max_restarts(0)).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    player.next().at_tell(At::Run(1), Do::Exit(1));
    let error = pipeline.setstop().unwrap_err();
    crate::stages::assert_clear(error.report());
    assert_eq!(
        error.to_string(),
        "stage \"Puppet\" failed in stage_run on sample 1: its worker ended with exit code 1"
    );
}

#[test]
fn a_put_that_waits_for_room_gets_its_sample_back_when_the_worker_dies_for_good() {
    let (player, (end, _values)) = (Player::new(), end());
    let pipeline = pipeline()
        .buffer_size(1)
        .stage(isolated::<Puppet>(player.strings()).max_restarts(0))
        .end_stage(end)
        .start()
        .unwrap();
    let mut hand = player.next();
    pipeline.put(1).unwrap();
    assert_eq!(hand.at(), At::Run(1));
    pipeline.put(2).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pipeline.put(3));
        hand.kill();
        assert!(matches!(waiting.join().unwrap(), Err(PutError::Stage(3, _))));
    });
    let report = ended(pipeline);
    assert_eq!((report.stages[0].buffer.entered, report.stages[0].buffer.discarded), (2, 1));
}

#[test]
fn a_death_in_the_setup_of_a_restart_is_one_more_death() {
    let (player, (end, values)) = (Player::new(), end());
    let strings = player.strings().asking_in_setup();
    let pipeline = pipeline().stage(isolated::<Puppet>(strings)).end_stage(end).start_without_waiting().unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    let mut first = player.next();
    first.lets(At::Setup);
    first.kills(At::Run(1));
    player.next().at_tell(At::Setup, Do::Abort);
    let mut third = player.next();
    third.lets(At::Setup);
    third.lets(At::Run(2));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [2]);
    assert_eq!((report.stages[0].restarts, report.stages[0].counts.lost), (2, 1));
}

#[test]
fn an_error_in_the_setup_of_a_restart_stops() {
    let (player, (end, _values)) = (Player::new(), end());
    let strings = player.strings().asking_in_setup();
    let pipeline = pipeline().stage(isolated::<Puppet>(strings)).end_stage(end).start_without_waiting().unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    let mut first = player.next();
    first.lets(At::Setup);
    first.kills(At::Run(1));
    player.next().at_tell(At::Setup, Do::Fail("no camera any more".to_owned()));
    let error = pipeline.setstop().unwrap_err();
    crate::stages::assert_clear(error.report());
    assert_eq!(error.to_string(), "stage \"Puppet\" failed in setup: no camera any more");
    let stage = &error.report().stages[0];
    assert_eq!((stage.counts.lost, stage.buffer.discarded), (1, 1));
}

#[test]
fn what_is_past_a_stage_that_dies_for_good_still_flows_out() {
    let (player, slow, (end, values)) = (Player::new(), Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()).max_restarts(0))
        .stage(isolated::<Puppet>(slow.strings()))
        .end_stage(end)
        .start()
        .unwrap();
    let (mut hand, mut slow) = (player.next(), slow.next());
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    hand.lets(At::Run(1));
    hand.lets(At::Run(2));
    hand.kills(At::Run(3));
    hand.wait_until_it_ends();
    slow.lets(At::Run(1));
    slow.lets(At::Run(2));
    let error = pipeline.setstop().unwrap_err();
    crate::stages::assert_clear(error.report());
    drop(pipeline);
    assert_eq!(values.rest(), [1, 2]);
}

#[test]
fn a_worker_past_the_failure_is_still_started_again() {
    let (player, slow, (end, values)) = (Player::new(), Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()))
        .stage(isolated::<Puppet>(slow.strings()))
        .end_stage(end)
        .start()
        .unwrap();
    let (mut hand, mut first) = (player.next(), slow.next());
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    hand.lets(At::Run(1));
    hand.lets(At::Run(2));
    hand.at_tell(At::Run(3), Do::Fail("enough".to_owned()));
    assert_eq!(first.at(), At::Run(1));
    crate::support::until(|| pipeline.put(4).is_err());
    first.kill();
    slow.next().lets(At::Run(2));
    let error = pipeline.setstop().unwrap_err();
    crate::stages::assert_clear(error.report());
    assert_eq!(error.to_string(), "stage \"Puppet\" failed in stage_run on sample 3: enough");
    assert_eq!((error.report().stages[1].restarts, error.report().stages[1].counts.lost), (1, 1));
    drop(pipeline);
    assert_eq!(values.rest(), [2]);
}
