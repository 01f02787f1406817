//! A process that takes too long on one sample is killed, and counts as crashed.

use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{assert_clear, end, ended, pipeline};
use deeppipeline::error::{Exit, WorkerDied};
use deeppipeline::isolated;
use deeppipeline::processes::OnCrash;
use std::time::Duration;

/// Much more than any call here takes that is not told to hang.
const TIMEOUT: Duration = Duration::from_secs(1);

#[test]
fn a_stage_that_hangs_is_killed_and_the_next_sample_flows() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline =
        pipeline().stage(isolated::<Puppet>(player.strings()).time_limit(TIMEOUT)).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    let mut first = player.next();
    first.at_tell(At::Run(1), Do::Hang);
    first.wait_until_it_ends();
    player.next().lets(At::Run(2));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [2]);
    assert_eq!((report.stages[0].counts.lost, report.stages[0].restarts), (1, 1));
}

#[test]
fn a_part_of_many_that_hangs_is_killed_too() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()).time_limit(TIMEOUT).on_crash(OnCrash::Retry))
        .end_stage(end)
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    let mut first = player.next();
    first.at_tell(At::Run(1), Do::Many(2));
    first.lets(At::Part(1));
    first.at_tell(At::Part(2), Do::Hang);
    first.wait_until_it_ends();
    let mut second = player.next();
    second.at_tell(At::Run(1), Do::Many(2));
    (1..=3).for_each(|part| second.lets(At::Part(part)));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [11, 12]);
    assert_eq!((report.stages[0].counts.used, report.stages[0].restarts), (1, 1));
}

#[test]
fn the_error_says_that_it_was_killed_for_it() {
    let (player, (end, _values)) = (Player::new(), end::<i64>());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()).time_limit(TIMEOUT).on_crash(OnCrash::Stop))
        .end_stage(end)
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    player.next().at_tell(At::Run(1), Do::Hang);
    let error = pipeline.setstop().unwrap_err();
    assert_clear(error.report());
    assert_eq!(
        error.to_string(),
        "stage \"Puppet\" failed in stage_run on sample 1: its worker was killed for taking longer than 1s on one sample"
    );
    let died = error.cause().downcast_ref::<WorkerDied>().unwrap();
    assert_eq!((died.exit, died.time_limit), (Exit::Signal(9), Some(TIMEOUT)));
}

#[test]
fn waiting_for_room_behind_the_stage_is_not_its_time() {
    let (player, slow, (end, values)) = (Player::new(), Player::new(), end());
    let pipeline = pipeline()
        .buffer_size(1)
        .stage(isolated::<Puppet>(player.strings()).time_limit(TIMEOUT))
        .stage(isolated::<Puppet>(slow.strings()).time_limit(3 * TIMEOUT))
        .end_stage(end)
        .start()
        .unwrap();
    let (mut hand, mut hangs) = (player.next(), slow.next());
    for x in 1..=3 {
        pipeline.put(x).unwrap();
        hand.lets(At::Run(x));
    }
    // From here on the first waits, for as long as the second hangs: until that one's own time is over.
    hangs.at_tell(At::Run(1), Do::Hang);
    hangs.wait_until_it_ends();
    let mut slow = slow.next();
    slow.lets(At::Run(2));
    slow.lets(At::Run(3));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [2, 3]);
    assert_eq!((report.stages[0].restarts, report.stages[1].restarts), (0, 1));
}
