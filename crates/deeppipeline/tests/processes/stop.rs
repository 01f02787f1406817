//! However a pipeline is stopped, its processes are gone afterwards, and every sample has its fate.

use crate::puppet::{At, Do, Hand, Player, Puppet};
use crate::stages::{assert_clear, end, pipeline};
use crate::support::until;
use deeppipeline::report::Outcome;
use deeppipeline::{BoxError, Give, Isolated, Pipeline, Report, Stage, isolated};
use std::time::Duration;

/// Long enough for nothing: it only has to be over.
const SOON: Duration = Duration::from_millis(20);

/// Stops it by a time-out while somebody hangs.
fn stopped(pipeline: &Pipeline<i64>, hangs: &Hand) -> Report {
    let report = pipeline.setstop_or_abort(SOON).unwrap();
    assert!(hangs.is_gone());
    assert_clear(&report);
    assert_eq!(report.outcome, Outcome::Aborted);
    report
}

#[test]
fn a_worker_that_hangs_in_stage_run_is_killed_when_time_is_over() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    let mut hand = player.next();
    hand.at_tell(At::Run(1), Do::Hang);
    let report = stopped(&pipeline, &hand);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.lost, stage.buffer.discarded, stage.restarts), (1, 2, 0));
    assert!(!player.has_next());
    drop(pipeline);
    assert_eq!(values.rest(), [0_i64; 0]);
}

#[test]
fn a_worker_that_a_signal_has_stopped_is_killed_when_time_is_over() {
    let (player, (end, _values)) = (Player::new(), end::<i64>());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    assert_eq!(hand.at(), At::Run(1));
    hand.stop();
    hand.tell(Do::Go);
    assert_eq!(stopped(&pipeline, &hand).stages[0].counts.lost, 1);
}

#[test]
fn a_worker_that_hangs_in_setup_is_killed_when_time_is_over() {
    let (player, (end, _values)) = (Player::new(), end());
    let strings = player.strings().asking_in_setup();
    let pipeline = pipeline().stage(isolated::<Puppet>(strings)).end_stage(end).start_without_waiting().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    hand.at_tell(At::Setup, Do::Hang);
    let report = stopped(&pipeline, &hand);
    assert_eq!(report.stages[0].buffer.discarded, 1);
}

#[test]
fn a_worker_that_hangs_in_finish_or_teardown_is_killed_when_time_is_over() {
    for at in [At::Finish, At::Teardown] {
        let (player, (end, values)) = (Player::new(), end());
        let strings = player.strings().asking_at_the_end();
        let pipeline = pipeline().stage(isolated::<Puppet>(strings)).end_stage(end).start().unwrap();
        pipeline.put(1).unwrap();
        let mut hand = player.next();
        hand.lets(At::Run(1));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pipeline.setstop().unwrap());
            if at == At::Teardown {
                hand.lets(At::Finish);
            }
            hand.at_tell(at, Do::Hang);
            let report = stopped(&pipeline, &hand);
            assert_eq!((report.stages[0].counts.used, report.stages[0].counts.lost), (1, 0));
            assert_eq!(waiting.join().unwrap().outcome, Outcome::Aborted);
        });
        drop(pipeline);
        assert_eq!(values.rest(), [1]);
    }
}

#[test]
fn abort_discards_what_waits_and_lets_the_call_in_flight_end() {
    let (player, (end, values)) = (Player::new(), end());
    let strings = player.strings().asking_at_the_end();
    let pipeline = pipeline().stage(isolated::<Puppet>(strings)).end_stage(end).start().unwrap();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
    }
    let mut hand = player.next();
    assert_eq!(hand.at(), At::Run(1));
    std::thread::scope(|scope| {
        let aborting = scope.spawn(|| pipeline.abort());
        until(|| pipeline.report().stages[0].buffer.discarded == 2);
        hand.tell(Do::Go);
        hand.lets(At::Teardown);
        let report = aborting.join().unwrap();
        assert_clear(&report);
        assert!(hand.is_gone());
        let counts = &report.stages[0].counts;
        assert_eq!((counts.used, counts.lost, report.stages[1].buffer.discarded), (1, 0, 1));
    });
    drop(pipeline);
    assert_eq!(values.rest(), [0_i64; 0]);
}

#[test]
fn a_worker_that_died_is_not_started_again_after_an_abort() {
    let (player, (end, _values)) = (Player::new(), end::<i64>());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    let mut hand = player.next();
    assert_eq!(hand.at(), At::Run(1));
    std::thread::scope(|scope| {
        let aborting = scope.spawn(|| pipeline.abort());
        until(|| pipeline.report().stages[0].buffer.discarded == 1);
        hand.kill();
        let report = aborting.join().unwrap();
        assert_clear(&report);
        assert_eq!((report.stages[0].counts.lost, report.stages[0].restarts), (1, 0));
    });
    assert!(!player.has_next());
}

#[test]
fn an_abort_ends_the_pause_before_a_restart() {
    let (player, (end, _values)) = (Player::new(), end::<i64>());
    let pipeline = pipeline()
        .buffer_size(8)
        .stage(isolated::<Puppet>(player.strings()).max_restarts(100))
        .end_stage(end)
        .start()
        .unwrap();
    for x in 1..=8 {
        pipeline.put(x).unwrap();
    }
    // Each pause is twice as long as the one before.
    for x in 1..=5 {
        player.next().at_tell(At::Run(x), Do::Abort);
    }
    until(|| pipeline.report().stages[0].counts.lost == 5);
    let report = pipeline.abort();
    assert_clear(&report);
    assert_eq!((report.stages[0].counts.lost, report.stages[0].buffer.discarded), (5, 3));
}

#[test]
fn a_pipeline_dropped_without_setstop_leaves_no_process() {
    let (player, (end, _values)) = (Player::new(), end::<i64>());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()))
        .stage(isolated::<Puppet>(player.strings()))
        .end_stage(end)
        .start()
        .unwrap();
    let hands = [player.next(), player.next()];
    pipeline.put(1).unwrap();
    drop(pipeline);
    until(|| hands.iter().all(Hand::is_gone));
}

#[test]
fn a_pipeline_dropped_while_a_worker_hangs_leaves_no_process() {
    let (player, (end, _values)) = (Player::new(), end::<i64>());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    hand.at_tell(At::Run(1), Do::Hang);
    drop(pipeline);
    until(|| hand.is_gone());
}

#[test]
fn setstop_from_two_threads_and_once_more_says_the_same() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    std::thread::scope(|scope| {
        let stops = [scope.spawn(|| pipeline.setstop().unwrap()), scope.spawn(|| pipeline.setstop().unwrap())];
        hand.lets(At::Run(1));
        let reports = stops.map(|stop| stop.join().unwrap());
        assert_eq!(reports[0], reports[1]);
        assert_eq!(reports[0], pipeline.setstop().unwrap());
        assert_clear(&reports[0]);
    });
    assert!(hand.is_gone());
    drop(pipeline);
    assert_eq!(values.rest(), [1]);
}

/// Does not let go when it is dropped, and leaves another process behind that holds what it inherits.
pub(crate) struct Clinging(Puppet);

impl Stage for Clinging {
    type Input = i64;
    type Output = i64;
    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }
    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        self.0.stage_run(x)
    }
}

impl Drop for Clinging {
    fn drop(&mut self) {
        // It asks in the last moment of its process, long after teardown.
        let _ = self.0.stage_run(0);
    }
}

impl Isolated for Clinging {
    const NAME: &str = "clinging";
    type Settings = crate::puppet::Strings;
    fn make(strings: crate::puppet::Strings) -> Result<Self, BoxError> {
        Puppet::make(strings).map(Clinging)
    }
}

#[test]
fn a_process_that_hangs_on_its_way_out_is_killed_and_nothing_has_failed() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Clinging>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    hand.lets(At::Run(1));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pipeline.setstop().unwrap());
        hand.at_tell(At::Run(0), Do::Hang);
        let report = stopped(&pipeline, &hand);
        assert_eq!(report.stages[0].counts.used, 1);
        waiting.join().unwrap();
    });
    drop(pipeline);
    assert_eq!(values.rest(), [1]);
}

#[test]
fn a_process_that_does_not_end_after_its_work_is_killed_without_an_abort() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Clinging>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    hand.lets(At::Run(1));
    let report = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pipeline.setstop().unwrap());
        hand.at_tell(At::Run(0), Do::Hang);
        waiting.join().unwrap()
    });
    assert_clear(&report);
    assert_eq!((report.stages[0].counts.used, report.stages[0].restarts), (1, 0));
    assert!(hand.is_gone());
    drop(pipeline);
    assert_eq!(values.rest(), [1]);
}

#[test]
fn what_a_worker_leaves_behind_with_its_stderr_holds_up_nothing() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    // Its own child outlives it, until nobody is left at the other end of its stdin.
    hand.at_tell(At::Run(1), Do::LeaveBehind(player.strings(), Box::new(Do::Go)));
    let mut left = player.next();
    let report = pipeline.setstop().unwrap();
    assert_clear(&report);
    assert!(hand.is_gone() && !left.is_gone());
    left.tell(Do::Go);
    left.wait_until_it_ends();
    drop(pipeline);
    assert_eq!(values.rest(), [1]);
}
