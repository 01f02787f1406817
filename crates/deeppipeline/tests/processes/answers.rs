//! Answers where stages are in processes: exactly one each, whoever dies.

use crate::line::WATCHDOG;
use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{Double, assert_clear, pipeline};
use deeppipeline::error::NoAnswer;
use deeppipeline::pipeline::Answer;
use deeppipeline::processes::OnCrash;
use deeppipeline::{OnError, Overflow, isolated};
use std::time::Duration;

/// The answer, which comes in time.
fn answer<T: std::fmt::Debug>(answer: Answer<T>) -> Result<T, NoAnswer> {
    answer.wait_timeout(WATCHDOG).expect("every answer comes")
}

#[test]
fn workers_of_the_last_stage_in_processes_answer_each_to_its_own() {
    let pipeline = pipeline().stage(isolated::<Double>(()).workers(2)).start_answering().unwrap();
    let answers: Vec<_> = (0..100).map(|x| pipeline.submit(x).unwrap()).collect();
    for (x, each) in (0..).zip(answers) {
        assert_eq!(answer(each).unwrap(), 2 * x);
    }
    let report = pipeline.setstop().unwrap();
    assert_clear(&report);
    assert_eq!((report.stages.len(), report.stages[0].counts.gave), (1, 0));
}

#[test]
fn a_sample_is_lost_with_its_worker_and_the_others_are_answered() {
    let player = Player::new();
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).start_answering().unwrap();
    let mut first = player.next();
    let answers = [1, 2].map(|x| pipeline.submit(x).unwrap());
    first.kills(At::Run(1));
    player.next().lets(At::Run(2));
    let [lost, second] = answers;
    assert!(matches!(answer(lost), Err(NoAnswer::Lost { .. })));
    assert_eq!(answer(second).unwrap(), 2);
    assert_clear(&pipeline.setstop().unwrap());
}

#[test]
fn a_sample_that_is_tried_again_after_a_crash_is_answered_once() {
    let player = Player::new();
    let stage = isolated::<Puppet>(player.strings()).on_crash(OnCrash::Retry);
    let pipeline = pipeline().stage(stage).start_answering().unwrap();
    let tried = pipeline.submit(1).unwrap();
    player.next().kills(At::Run(1));
    player.next().lets(At::Run(1));
    assert_eq!(answer(tried).unwrap(), 1);
    assert_clear(&pipeline.setstop().unwrap());
}

#[test]
fn parts_that_had_gone_on_before_a_crash_are_the_answer() {
    let player = Player::new();
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).start_answering().unwrap();
    let many = pipeline.submit(1).unwrap().all();
    let mut hand = player.next();
    hand.at_tell(At::Run(1), Do::Many(3));
    hand.lets(At::Part(1));
    hand.lets(At::Part(2));
    hand.kills(At::Part(3));
    assert_eq!(answer(many).unwrap(), [11, 12]);
    player.next();
    assert_clear(&pipeline.setstop().unwrap());
}

#[test]
fn a_failure_that_is_skipped_tells_its_error_across_the_border() {
    let player = Player::new();
    let stage = isolated::<Puppet>(player.strings()).on_error(OnError::Skip).name("fragile");
    let pipeline = pipeline().stage(stage).start_answering().unwrap();
    let mut hand = player.next();
    let (failed, skipped) = (pipeline.submit(1).unwrap(), pipeline.submit(2).unwrap());
    hand.at_tell(At::Run(1), Do::Fail("it is bad".to_owned()));
    hand.at_tell(At::Run(2), Do::Skip);
    let Err(NoAnswer::Failed(failure)) = answer(failed) else { panic!("it failed") };
    assert_eq!((failure.stage(), failure.cause().to_string()), ("fragile", "it is bad".to_owned()));
    assert!(matches!(answer(skipped), Err(NoAnswer::Skipped { stage, .. }) if stage == "fragile"));
    assert_clear(&pipeline.setstop().unwrap());
}

#[test]
fn what_a_process_drops_in_front_of_the_next_is_answered() {
    let (before, behind) = (Player::new(), Player::new());
    let last = isolated::<Puppet>(behind.strings()).overflow(Overflow::DropOldest).buffer_size(1).name("slow");
    let pipeline = pipeline().stage(isolated::<Puppet>(before.strings())).stage(last).start_answering().unwrap();
    let (mut before, mut behind) = (before.next(), behind.next());
    let answers = [1, 2, 3].map(|x| {
        let answer = pipeline.submit(x).unwrap();
        before.lets(At::Run(x));
        if x == 1 {
            assert_eq!(behind.at(), At::Run(1));
        }
        answer
    });
    let [first, dropped, last] = answers;
    assert!(matches!(answer(dropped), Err(NoAnswer::Dropped { stage, .. }) if stage == "slow"));
    behind.tell(Do::Go);
    behind.lets(At::Run(3));
    assert_eq!((answer(first).unwrap(), answer(last).unwrap()), (1, 3));
    assert_clear(&pipeline.setstop().unwrap());
}

#[test]
fn an_abort_answers_what_a_process_has_in_flight() {
    let player = Player::new();
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).start_answering().unwrap();
    let (stuck, waits) = (pipeline.submit(1).unwrap(), pipeline.submit(2).unwrap());
    assert_eq!(player.next().at(), At::Run(1));
    pipeline.abort();
    assert!(matches!(stuck.wait_timeout(Duration::ZERO), Ok(Err(NoAnswer::Lost { .. }))));
    assert!(matches!(waits.wait_timeout(Duration::ZERO), Ok(Err(NoAnswer::Discarded(_)))));
}
