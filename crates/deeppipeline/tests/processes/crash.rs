//! What becomes of the sample that a worker has in flight when it dies.

use crate::puppet::{At, Do, Hand, Player, Puppet, Puppets};
use crate::stages::{end, ended, pipeline};
use deeppipeline::error::{Exit, WorkerDied};
use deeppipeline::processes::OnCrash;
use deeppipeline::report::Outcome;
use deeppipeline::{All, OnError, StageError, isolated};
use rustix::process::Signal;

#[test]
fn skip_loses_the_sample_in_flight_and_goes_on_with_the_next() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    let mut first = player.next();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    first.kills(At::Run(1));
    let mut second = player.next();
    second.lets(At::Run(2));
    second.lets(At::Run(3));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [2, 3]);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.lost, stage.counts.used, stage.restarts), (1, 2, 1));
    assert_eq!(report.outcome, Outcome::Finished);
    assert!(report.to_string().contains("Puppet restarted once"), "{report}");
}

#[test]
fn retry_tries_the_sample_again_before_the_others() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline =
        pipeline().stage(isolated::<Puppet>(player.strings()).on_crash(OnCrash::Retry)).end_stage(end).start().unwrap();
    let mut first = player.next();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    first.kills(At::Run(1));
    let mut second = player.next();
    for x in 1..=3 {
        second.lets(At::Run(x));
    }
    let report = ended(pipeline);
    assert_eq!(values.rest(), [1, 2, 3]);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.lost, stage.counts.used, stage.buffer.taken, stage.restarts), (0, 3, 3, 1));
}

#[test]
fn a_sample_that_killed_its_worker_twice_is_lost_even_with_retry() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline =
        pipeline().stage(isolated::<Puppet>(player.strings()).on_crash(OnCrash::Retry)).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    player.next().at_tell(At::Run(1), Do::Abort);
    player.next().at_tell(At::Run(1), Do::Abort);
    player.next().lets(At::Run(2));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [2]);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.lost, stage.counts.used, stage.restarts), (1, 1, 2));
}

/// The error of a pipeline that stops as soon as its one stage dies like this, with sample 1 in flight.
fn stopped_by(way: Do) -> StageError {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()).on_crash(OnCrash::Stop).name("fragile"))
        .end_stage(end)
        .start()
        .unwrap();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    player.next().at_tell(At::Run(1), way);
    let error = pipeline.setstop().unwrap_err();
    crate::stages::assert_clear(error.report());
    let stage = &error.report().stages[0];
    assert_eq!((stage.counts.lost, stage.buffer.discarded, stage.restarts), (1, 2, 0), "{error}");
    assert_eq!(values.rest(), [0_i64; 0]);
    error
}

#[test]
fn stop_names_the_stage_the_sample_and_how_the_worker_died() {
    let ways = [
        (Do::Abort, Exit::Signal(6), "was killed by SIGABRT (signal 6)"),
        (Do::Exit(0), Exit::Code(0), "ended with exit code 0"),
        (Do::Exit(3), Exit::Code(3), "ended with exit code 3"),
        (Do::Raise(11), Exit::Signal(11), "was killed by SIGSEGV (signal 11)"),
        (Do::Raise(24), Exit::Signal(24), "was killed by SIGXCPU (signal 24)"),
        (Do::Raise(9), Exit::Signal(9), "was killed by SIGKILL (signal 9) (a kill, or the system ran out of memory)"),
    ];
    for (way, exit, text) in ways {
        let error = stopped_by(way);
        assert_eq!((error.stage(), error.sample().map(|id| id.number)), ("fragile", Some(1)), "{error}");
        let died = error.cause().downcast_ref::<WorkerDied>().expect("a worker that died");
        assert_eq!(died.exit, exit, "{error}");
        assert_eq!(error.to_string(), format!("stage \"fragile\" failed in stage_run on sample 1: its worker {text}"));
    }
}

#[test]
fn a_panic_is_an_error_of_the_stage_and_no_crash() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline =
        pipeline().stage(isolated::<Puppet>(player.strings()).on_error(OnError::Skip)).end_stage(end).start().unwrap();
    let mut hand = player.next();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    hand.at_tell(At::Run(1), Do::Panic("what now".to_owned()));
    hand.at_tell(At::Run(2), Do::Fail("not this one".to_owned()));
    hand.lets(At::Run(3));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [3]);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.failed, stage.counts.lost, stage.restarts), (2, 0, 0));
}

#[test]
fn a_panic_that_stops_the_pipeline_says_what_it_said() {
    let (player, (end, _values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    player.next().at_tell(At::Run(1), Do::Panic("what now".to_owned()));
    let error = pipeline.setstop().unwrap_err();
    crate::stages::assert_clear(error.report());
    assert_eq!(error.to_string(), "stage \"Puppet\" failed in stage_run on sample 1: panicked: what now");
}

#[test]
fn what_a_terminal_or_a_manager_sends_to_every_process_does_not_end_a_worker() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    let mut hand = player.next();
    let signals = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];
    for (x, signal) in (1..).zip(signals) {
        pipeline.put(x).unwrap();
        assert_eq!(hand.at(), At::Run(x));
        hand.send(signal);
        hand.tell(Do::Go);
    }
    let report = ended(pipeline);
    assert_eq!(values.rest(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(report.stages[0].restarts, 0);
}

#[test]
fn a_program_that_a_stage_starts_ends_by_sigterm_all_the_same() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    player.next().at_tell(At::Run(1), Do::LeaveBehind(player.strings(), Box::new(Do::Go)));
    let mut started = player.next();
    started.send(Signal::TERM);
    started.wait_until_it_ends();
    ended(pipeline);
    assert_eq!(values.rest(), [1]);
}

#[test]
fn a_worker_that_is_started_again_is_told_from_a_first_start() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    let mut first = player.next();
    first.at_tell(At::Run(1), Do::GiveRestarted);
    first.kills(At::Run(2));
    player.next().at_tell(At::Run(3), Do::GiveRestarted);
    ended(pipeline);
    assert_eq!(values.rest(), [0, 1]);
}

#[test]
fn a_worker_that_dies_idle_loses_nothing() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    let mut first = player.next();
    pipeline.put(1).unwrap();
    first.lets(At::Run(1));
    assert_eq!(values.next(), 1);
    crate::support::until(|| pipeline.report().stages[0].counts.in_flight == 0);
    first.kill();
    let mut second = player.next();
    pipeline.put(2).unwrap();
    second.lets(At::Run(2));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [2]);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.lost, stage.counts.used, stage.restarts), (0, 2, 1));
}

#[test]
fn a_put_that_waits_for_room_goes_on_after_the_death_of_the_worker() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline =
        pipeline().buffer_size(1).stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    let mut first = player.next();
    pipeline.put(1).unwrap();
    assert_eq!(first.at(), At::Run(1));
    pipeline.put(2).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pipeline.put(3).unwrap().is_accepted());
        first.kill();
        let mut second = player.next();
        second.lets(At::Run(2));
        assert!(waiting.join().unwrap());
        second.lets(At::Run(3));
    });
    let report = ended(pipeline);
    assert_eq!(values.rest(), [2, 3]);
    assert_eq!(report.stages[0].counts.lost, 1);
}

#[test]
fn a_worker_that_waits_for_room_behind_it_may_die_too() {
    let (player, next, (end, values)) = (Player::new(), Player::new(), end());
    let pipeline = pipeline()
        .buffer_size(1)
        .stage(isolated::<Puppet>(player.strings()))
        .stage(isolated::<Puppet>(next.strings()))
        .end_stage(end)
        .start()
        .unwrap();
    let (mut first, mut slow) = (player.next(), next.next());
    for x in 1..=3 {
        pipeline.put(x).unwrap();
        first.lets(At::Run(x));
    }
    assert_eq!(slow.at(), At::Run(1));
    // Sample 2 is in the buffer between them, so sample 3 has no room.
    crate::support::until(|| pipeline.report().stages[1].buffer.waiting == 1);
    first.kill();
    let _second = player.next();
    slow.tell(Do::Go);
    slow.lets(At::Run(2));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [1, 2]);
    assert_eq!((report.stages[0].counts.lost, report.stages[0].counts.gave), (1, 2));
}

#[test]
fn a_list_in_flight_is_lost_or_tried_again_as_a_whole() {
    for (policy, wanted) in [(OnCrash::Skip, vec![7]), (OnCrash::Retry, vec![3, 7])] {
        let (player, (end, values)) = (Player::new(), end());
        let pipeline = pipeline()
            .buffer_size(2)
            .stage(isolated::<Puppets>(player.strings()).intake(All).on_crash(policy))
            .end_stage(end)
            .start()
            .unwrap();
        let mut first = player.next();
        for x in 1..=4 {
            pipeline.put(x).unwrap();
        }
        first.kills(At::Run(3));
        let mut second = player.next();
        wanted.iter().for_each(|sum| second.lets(At::Run(*sum)));
        let report = ended(pipeline);
        assert_eq!(values.rest(), wanted);
        let lost = if policy == OnCrash::Skip { 2 } else { 0 };
        assert_eq!(report.stages[0].counts.lost, lost, "{report:#?}");
    }
}

#[test]
fn a_death_in_finish_lets_the_next_process_finish() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline =
        pipeline().stage(isolated::<Puppet>(player.strings().asking_at_the_end())).end_stage(end).start().unwrap();
    let mut first = player.next();
    pipeline.put(1).unwrap();
    first.lets(At::Run(1));
    std::thread::scope(|scope| {
        let report = scope.spawn(|| pipeline.setstop().unwrap());
        first.kills(At::Finish);
        let mut second = player.next();
        second.lets(At::Finish);
        second.lets(At::Teardown);
        let report = report.join().unwrap();
        crate::stages::assert_clear(&report);
        assert_eq!((report.stages[0].restarts, report.stages[0].counts.used), (1, 1));
    });
    drop(pipeline);
    assert_eq!(values.rest(), [1]);
}

#[test]
fn a_death_in_teardown_is_a_failure_of_teardown() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline =
        pipeline().stage(isolated::<Puppet>(player.strings().asking_at_the_end())).end_stage(end).start().unwrap();
    let mut hand = player.next();
    pipeline.put(1).unwrap();
    hand.lets(At::Run(1));
    std::thread::scope(|scope| {
        let error = scope.spawn(|| pipeline.setstop().unwrap_err());
        hand.lets(At::Finish);
        hand.at_tell(At::Teardown, Do::Exit(7));
        let error = error.join().unwrap();
        crate::stages::assert_clear(error.report());
        assert_eq!(error.to_string(), "stage \"Puppet\" failed in teardown: its worker ended with exit code 7");
    });
    drop(pipeline);
    assert_eq!(values.rest(), [1]);
}

#[test]
fn neighbours_die_at_the_same_time() {
    let players = [Player::new(), Player::new(), Player::new()];
    let (end, values) = end();
    let pipeline = pipeline()
        .buffer_size(1)
        .stage(isolated::<Puppet>(players[0].strings()))
        .stage(isolated::<Puppet>(players[1].strings()))
        .stage(isolated::<Puppet>(players[2].strings()))
        .end_stage(end)
        .start()
        .unwrap();
    let mut hands: Vec<Hand> = players.iter().map(Player::next).collect();
    for (x, last) in [(1, 2), (2, 1), (3, 0)] {
        pipeline.put(x).unwrap();
        (0..last).for_each(|stage| hands[stage].lets(At::Run(x)));
        assert_eq!(hands[last].at(), At::Run(x));
    }
    hands.iter().for_each(Hand::kill);
    let mut hands: Vec<Hand> = players.iter().map(Player::next).collect();
    pipeline.put(4).unwrap();
    hands.iter_mut().for_each(|hand| hand.lets(At::Run(4)));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [4]);
    assert!(report.stages[..3].iter().all(|stage| stage.counts.lost == 1), "{report:#?}");
}
