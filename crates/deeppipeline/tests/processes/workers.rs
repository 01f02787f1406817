//! Several processes for one stage: order, deaths, and what the intakes and policies of a stage in a process come to.

use crate::puppet::{At, Do, Hand, Player, Puppet, Puppets};
use crate::stages::{Double, Values, assert_clear, end, ended, isolated_stage, pipeline};
use crate::support::until;
use deeppipeline::builder::Described;
use deeppipeline::engine::ErrorPolicy;
use deeppipeline::error::WorkerDied;
use deeppipeline::intake::Single;
use deeppipeline::processes::{InProcess, OnCrash, SharedBytes, Transfer};
use deeppipeline::report::Outcome;
use deeppipeline::{Batch, BoxError, Give, Pipeline, Report, Stage, Window, isolated, made_by, retry, stage};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A puppet of whose options nothing is said.
type Plain = Described<InProcess<Puppet>>;
/// A puppet with its options.
type Of<E> = Described<InProcess<Puppet>, Single, E>;

/// A stage of so many puppets.
struct Crew {
    player: Player,
    pipeline: Pipeline<i64>,
    values: Values<i64>,
}

impl Crew {
    fn new<E: Into<ErrorPolicy>>(options: impl FnOnce(Plain) -> Of<E>) -> Self {
        let (player, (end, values)) = (Player::new(), end());
        let pipeline = pipeline()
            .buffer_size(8)
            .stage(options(isolated::<Puppet>(player.strings())))
            .end_stage(end)
            .start()
            .unwrap();
        Crew { player, pipeline, values }
    }

    /// Puts a sample for each of so many puppets, and waits until they have them: in the order of these.
    fn at_work<const N: usize>(&self) -> [Hand; N] {
        (1..=N as i64).for_each(|x| assert!(self.pipeline.put(x).unwrap().is_accepted()));
        let mut hands: Vec<_> = (0..N).map(|_| self.player.next()).map(|mut hand| (hand.at(), hand)).collect();
        hands.sort_by_key(|(at, _)| match at {
            At::Run(x) => *x,
            other => panic!("{other:?}"),
        });
        let ats: Vec<_> = hands.iter().map(|(at, _)| *at).collect();
        assert_eq!(ats, (1..=N as i64).map(At::Run).collect::<Vec<_>>());
        let hands: Vec<_> = hands.into_iter().map(|(_, hand)| hand).collect();
        hands.try_into().unwrap_or_else(|_| unreachable!())
    }

    /// What comes out, and the report; whoever is left does what a stage does.
    fn ends(self, hands: impl IntoIterator<Item = Hand>) -> (Vec<i64>, Report) {
        let goes_on: Vec<_> = hands.into_iter().map(|hand| std::thread::spawn(|| hand.lets_all())).collect();
        let report = ended(self.pipeline);
        goes_on.into_iter().for_each(|hand| hand.join().unwrap());
        (self.values.rest(), report)
    }
}

#[test]
fn what_comes_early_waits_for_a_slow_sample_before_it() {
    let crew = Crew::new(|stage| stage.workers(3));
    let [mut slow, mut second, mut third] = crew.at_work();
    crew.pipeline.put(4).unwrap();
    third.tell(Do::Go);
    third.lets(At::Run(4));
    second.tell(Do::Skip);
    slow.tell(Do::Many(2));
    (1..=3).for_each(|part| slow.lets(At::Part(part)));
    let (values, report) = crew.ends([slow, second, third]);
    assert_eq!(values, [11, 12, 3, 4]);
    let stage = &report.stages[0];
    assert_eq!((stage.workers, stage.counts.used, stage.counts.skipped, stage.counts.gave), (3, 3, 1, 4));
    assert_eq!((stage.restarts, report.stages[1].buffer.reordering), (0, 0));
}

#[test]
fn unordered_it_is_overtaken() {
    let crew = Crew::new(|stage| stage.workers(2).ordered(false));
    let [mut slow, mut fast] = crew.at_work();
    fast.tell(Do::Go);
    assert_eq!(crew.values.next(), 2);
    slow.tell(Do::Go);
    let (values, _) = crew.ends([slow, fast]);
    assert_eq!(values, [1]);
}

#[test]
fn a_killed_worker_loses_its_sample_and_the_rest_comes_out_in_order() {
    let crew = Crew::new(|stage| stage.workers(2));
    let [killed, mut other] = crew.at_work();
    (3..=5).for_each(|x| assert!(crew.pipeline.put(x).unwrap().is_accepted()));
    other.tell(Do::Go);
    other.lets(At::Run(3));
    assert_eq!(other.at(), At::Run(4));
    killed.kill();
    // Its successor takes what is next, while 4 is still in flight.
    let mut next = crew.player.next();
    next.lets(At::Run(5));
    until(|| crew.pipeline.report().stages[1].buffer.entered == 2);
    other.tell(Do::Go);
    let (values, report) = crew.ends([other, next]);
    assert_eq!(values, [2, 3, 4, 5]);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.lost, stage.counts.used, stage.restarts), (1, 4, 1));
}

#[test]
fn with_retry_everything_comes_out_exactly_once_and_in_order() {
    let crew = Crew::new(|stage| stage.workers(2).on_crash(OnCrash::Retry));
    let [mut killed, mut other] = crew.at_work();
    crew.pipeline.put(3).unwrap();
    other.tell(Do::Go);
    assert_eq!(other.at(), At::Run(3));
    killed.tell(Do::Many(3));
    killed.lets(At::Part(1));
    killed.kills(At::Part(2));
    let mut next = crew.player.next();
    next.at_tell(At::Run(1), Do::Many(3));
    (1..=4).for_each(|part| next.lets(At::Part(part)));
    other.tell(Do::Go);
    let (values, report) = crew.ends([other, next]);
    assert_eq!(values, [11, 12, 13, 2, 3]);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.lost, stage.counts.used, stage.buffer.taken, stage.restarts), (0, 3, 3, 1));
}

#[test]
fn what_is_tried_again_is_not_kept_waiting_by_those_who_are_as_far_ahead_as_they_may_be() {
    let crew = Crew::new(|stage| stage.workers(2).on_crash(OnCrash::Retry));
    let [killed, mut other] = crew.at_work();
    (3..=7).for_each(|x| assert!(crew.pipeline.put(x).unwrap().is_accepted()));
    other.tell(Do::Go);
    (3..=5).for_each(|x| other.lets(At::Run(x)));
    until(|| crew.pipeline.report().stages[0].counts.used == 4);
    killed.kill();
    let next = crew.player.next();
    let (values, report) = crew.ends([other, next]);
    assert_eq!(values, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!((report.stages[0].counts.used, report.stages[0].restarts), (7, 1));
}

#[test]
fn all_workers_die_at_the_same_time() {
    for (on_crash, wanted) in [(OnCrash::Skip, vec![4]), (OnCrash::Retry, vec![1, 2, 3, 4])] {
        let crew = Crew::new(|stage| stage.workers(3).on_crash(on_crash));
        let hands: [Hand; 3] = crew.at_work();
        crew.pipeline.put(4).unwrap();
        hands.iter().for_each(Hand::kill);
        let next = [(); 3].map(|()| crew.player.next());
        let (values, report) = crew.ends(next);
        assert_eq!(values, wanted);
        assert_eq!((report.stages[0].counts.lost, report.stages[0].restarts), (4 - wanted.len() as u64, 3));
    }
}

/// Two workers, of which the first dies in a way that stops the pipeline, while the other is ahead of it.
fn stopped(options: impl FnOnce(Plain) -> Plain, way: Do) -> (Vec<i64>, Report) {
    let crew = Crew::new(options);
    let [mut dies, mut other] = crew.at_work();
    crew.pipeline.put(3).unwrap();
    other.tell(Do::Go);
    assert_eq!(other.at(), At::Run(3));
    dies.tell(way);
    dies.wait_until_it_ends();
    until(|| crew.pipeline.report().outcome == Outcome::Failed);
    // More than may wait for their turn.
    other.tell(Do::Many(9));
    let goes_on = std::thread::spawn(|| other.lets_all());
    let error = crew.pipeline.setstop().unwrap_err();
    assert_clear(error.report());
    assert!(error.cause().is::<WorkerDied>(), "{error}");
    goes_on.join().unwrap();
    drop(crew.pipeline);
    (crew.values.rest(), error.report().clone())
}

#[test]
fn a_death_that_stops_the_pipeline_lets_nothing_out_that_was_taken_later() {
    let ways: [fn(Plain) -> Plain; 2] =
        [|stage| stage.workers(2).on_crash(OnCrash::Stop), |stage| stage.workers(2).max_restarts(0)];
    for options in ways {
        let (values, report) = stopped(options, Do::Abort);
        assert_eq!(values, [0_i64; 0]);
        assert_eq!((report.stages[0].counts.lost, report.stages[0].counts.used), (1, 2));
    }
}

#[test]
fn nobody_waits_for_the_turn_of_what_will_not_be_tried_again() {
    let (values, report) = stopped(|stage| stage.workers(2).on_crash(OnCrash::Retry).max_restarts(0), Do::Abort);
    assert_eq!(values, [0_i64; 0]);
    assert_eq!(report.stages[0].counts.used, 2);
}

#[test]
fn a_stage_that_fails_for_good_and_dies_before_it_says_so_does_not_go_on() {
    let (values, report) = stopped(|stage| stage.workers(2), Do::FailAndAbort);
    assert_eq!(values, [0_i64; 0]);
    assert_eq!((report.stages[0].counts.failed, report.stages[0].restarts), (1, 0));
}

#[test]
fn an_error_lets_out_exactly_what_was_taken_before_it() {
    let crew = Crew::new(|stage| stage.workers(3));
    let [mut first, mut second, mut third] = crew.at_work();
    third.tell(Do::Go);
    second.tell(Do::Fail("not this one".to_owned()));
    until(|| crew.pipeline.report().outcome == Outcome::Failed);
    first.tell(Do::Go);
    let error = crew.pipeline.setstop().unwrap_err();
    assert_clear(error.report());
    assert_eq!(error.to_string(), "stage \"Puppet\" failed in stage_run on sample 2: not this one");
    drop(crew.pipeline);
    assert_eq!(crew.values.rest(), [1]);
}

#[test]
fn what_was_given_up_while_it_waited_for_another_try_keeps_nobody_waiting() {
    let (player, (end, values)) = (Player::new(), end::<i64>());
    let strings = player.strings().asking_in_setup();
    let pipeline = pipeline()
        .buffer_size(8)
        .stage(isolated::<Puppet>(strings).workers(3).on_crash(OnCrash::Retry))
        .end_stage(end)
        .start_without_waiting()
        .unwrap();
    (1..=3).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    let mut hands = [(); 3].map(|()| player.next());
    hands.iter_mut().for_each(|hand| hand.lets(At::Setup));
    let mut hands = hands.map(|mut hand| (hand.at(), hand));
    hands.sort_by_key(|(at, _)| if let At::Run(x) = at { *x } else { 0 });
    let [(_, killed), (_, mut busy), (_, mut fails)] = hands;
    killed.kill();
    let mut next = player.next();
    // 1 waits for another try, and so does 2 for the turn of 1, with more than there is place for.
    assert_eq!(next.at(), At::Setup);
    busy.tell(Do::Many(20));
    fails.tell(Do::Fail("enough".to_owned()));
    until(|| pipeline.report().outcome == Outcome::Failed);
    let busy = std::thread::spawn(|| busy.lets_all());
    next.tell(Do::Go);
    let error = pipeline.setstop().unwrap_err();
    assert_clear(error.report());
    busy.join().unwrap();
    assert_eq!(error.to_string(), "stage \"Puppet\" failed in stage_run on sample 3: enough");
    drop(pipeline);
    assert_eq!(values.rest(), [0_i64; 0]);
}

#[test]
fn several_workers_behind_several() {
    for deadly in 0..2 {
        let (players, (end, values)) = ([Player::new(), Player::new()], end());
        let pipeline = pipeline()
            .buffer_size(8)
            .stage(isolated::<Puppet>(players[0].strings()).workers(2).on_crash(OnCrash::Retry))
            .stage(isolated::<Puppet>(players[1].strings()).workers(3).on_crash(OnCrash::Retry))
            .end_stage(end)
            .start()
            .unwrap();
        (1..=8).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
        let mut goes_on = Vec::new();
        for (stage, player) in players.iter().enumerate() {
            let mut hands: Vec<_> = (0..2 + stage).map(|_| player.next()).collect();
            if stage == deadly {
                // Whatever it has first, it dies of.
                let mut dies = hands.remove(0);
                assert!(matches!(dies.at(), At::Run(_)));
                dies.kill();
                hands.push(player.next());
            }
            goes_on.extend(hands.into_iter().map(|hand| std::thread::spawn(|| hand.lets_all())));
        }
        let report = ended(pipeline);
        goes_on.into_iter().for_each(|hand| hand.join().unwrap());
        assert_eq!(values.rest(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((report.stages[deadly].restarts, report.stages[deadly].counts.used), (1, 8));
    }
}

#[test]
fn a_death_in_finish_lets_the_others_and_the_next_finish() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings().asking_at_the_end()).workers(2))
        .end_stage(end)
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    let mut hands = [player.next(), player.next()];
    std::thread::scope(|scope| {
        let report = scope.spawn(|| pipeline.setstop().unwrap());
        // The one that does not get the sample is drained at once, while the other has it.
        let [one, other] = hands.each_mut().map(|hand| hand.at());
        let (busy, idle) = match (one, other) {
            (At::Run(1), At::Finish) => (0, 1),
            (At::Finish, At::Run(1)) => (1, 0),
            other => panic!("{other:?}"),
        };
        hands[idle].kill();
        let mut next = player.next();
        next.at_tell(At::Finish, Do::Many(1));
        (1..=2).for_each(|part| next.lets(At::Part(part)));
        next.lets(At::Teardown);
        hands[busy].tell(Do::Go);
        hands[busy].lets(At::Finish);
        hands[busy].lets(At::Teardown);
        let report = report.join().unwrap();
        assert_clear(&report);
        assert_eq!((report.stages[0].restarts, report.stages[0].counts.used), (1, 1));
    });
    drop(pipeline);
    assert_eq!(values.rest(), [1, 1]);
}

#[test]
fn batches_cross_between_processes() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .buffer_size(8)
        .stage(isolated::<Double>(()).workers(2))
        .stage(
            isolated::<Puppets>(player.strings())
                .intake(Batch::new(2).max_wait(Duration::from_secs(3600)).fold())
                .workers(2)
                .on_crash(OnCrash::Retry),
        )
        .end_stage(end)
        .start()
        .unwrap();
    (1..=5).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    let mut hands = [(); 2].map(|()| player.next()).map(|mut hand| (hand.at(), hand));
    hands.sort_by_key(|(at, _)| if let At::Run(x) = at { *x } else { 0 });
    let [(one, dies), (other, mut lives)] = hands;
    assert_eq!((one, other), (At::Run(6), At::Run(14)), "two at a time");
    dies.kill();
    let mut next = player.next();
    next.lets(At::Run(6));
    lives.tell(Do::Go);
    // What is left is a shorter list, to whoever comes first.
    let goes_on = [lives, next].map(|hand| std::thread::spawn(|| hand.lets_all()));
    let report = ended(pipeline);
    goes_on.into_iter().for_each(|hand| hand.join().unwrap());
    assert_eq!(values.rest(), [6, 14, 10]);
    let stage = &report.stages[1];
    assert_eq!((stage.counts.used, stage.counts.absorbed, stage.restarts), (3, 2, 1));
}

#[test]
fn a_batch_that_is_not_complete_comes_when_it_is_due() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppets>(player.strings()).intake(Batch::new(2).max_wait(Duration::from_millis(1)).fold()))
        .end_stage(end)
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    hand.lets(At::Run(1));
    ended(pipeline);
    assert_eq!(values.rest(), [1]);
}

#[test]
fn a_window_on_a_thread_gets_its_samples_from_a_process() {
    let (end, values) = end();
    let pipeline = pipeline()
        .stage(isolated::<Double>(()))
        .stage(stage(|last: Vec<i64>| last.iter().sum::<i64>()).intake(Window::new(3)))
        .stage(isolated::<Double>(()))
        .end_stage(end)
        .start()
        .unwrap();
    (1..=4).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [24, 36]);
    assert_eq!((report.stages[1].counts.used, report.stages[1].counts.absorbed), (2, 2));
}

#[test]
fn what_a_window_on_a_thread_keeps_at_the_end_is_skipped() {
    let pipeline = pipeline()
        .stage(isolated::<Double>(()))
        .stage(stage(|last: Vec<i64>| last.len()).intake(Window::new(3)))
        .end_stage(|_: usize| {})
        .start()
        .unwrap();
    (1..=2).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    assert_eq!(ended(pipeline).stages[1].counts.skipped, 2);
}

/// A number that nobody can read if it is odd.
pub(crate) struct Even(i64);

impl Transfer for Even {
    fn size(&self) -> Result<usize, BoxError> {
        Ok(8)
    }

    fn write(&self, room: &mut [u8]) -> Result<(), BoxError> {
        room.copy_from_slice(&self.0.to_le_bytes());
        Ok(())
    }

    fn read(bytes: SharedBytes) -> Result<Self, BoxError> {
        let number = i64::from_le_bytes(*bytes.first_chunk().ok_or("no number")?);
        if number % 2 == 0 { Ok(Even(number)) } else { Err("it is odd".into()) }
    }
}

isolated_stage! {
    /// Gives the number.
    pub(crate) Reads, "reads": |x: Even| -> i64 {
        Ok(Give::One(x.0))
    }
}

#[test]
fn nobody_waits_for_the_turn_of_what_cannot_be_read() {
    for on_error in [ErrorPolicy::Skip, ErrorPolicy::Retry { times: 1, skip: true }] {
        let (end, values) = end();
        let pipeline =
            pipeline().stage(isolated::<Reads>(()).workers(2).on_error(on_error)).end_stage(end).start().unwrap();
        (1..=20).for_each(|x| assert!(pipeline.put(Even(x)).unwrap().is_accepted()));
        let report = ended(pipeline);
        assert_eq!(values.rest(), (1..=10).map(|x| 2 * x).collect::<Vec<_>>());
        assert_eq!((report.stages[0].counts.used, report.stages[0].counts.failed), (10, 10));
    }
}

/// On a thread: 2 waits until its test lets it go on, and what ends in 4 or 8 ends here.
struct Filter(Arc<Mutex<Receiver<()>>>);

impl Stage for Filter {
    type Input = i64;
    type Output = i64;
    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        if x == 2 {
            self.0.lock().unwrap().recv()?;
        }
        Ok(if x % 4 == 0 { Give::Skip } else { Give::One(x) })
    }
}

#[test]
fn several_threads_between_processes_keep_the_order() {
    let ((end, values), (lets, waits)) = (end(), channel());
    let waits = Arc::new(Mutex::new(waits));
    let pipeline = pipeline()
        .buffer_size(8)
        .stage(isolated::<Double>(()))
        .stage(made_by(move || Ok(Filter(Arc::clone(&waits)))).workers(2))
        .stage(isolated::<Double>(()))
        .end_stage(end)
        .start()
        .unwrap();
    std::thread::scope(|scope| {
        let puts = scope.spawn(|| (1..=40).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted())));
        // 4 ends and 6 comes early, while 2 is still in flight.
        until(|| pipeline.report().stages[2].buffer.reordering > 0);
        lets.send(()).unwrap();
        puts.join().unwrap();
    });
    let report = ended(pipeline);
    assert_eq!(values.rest(), (1..=20).map(|x| 8 * x - 4).collect::<Vec<_>>());
    assert_eq!((report.stages[1].counts.used, report.stages[1].counts.skipped), (20, 20));
}

#[test]
fn a_stage_in_a_process_is_run_again_on_a_sample_on_which_it_fails() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()).on_error(retry(2).then_skip()))
        .end_stage(end)
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    let mut hand = player.next();
    hand.at_tell(At::Run(1), Do::Fail("not yet".to_owned()));
    hand.at_tell(At::Run(1), Do::Many(2));
    hand.lets(At::Part(1));
    hand.at_tell(At::Part(2), Do::Panic("nor now".to_owned()));
    hand.at_tell(At::Run(1), Do::Many(2));
    (1..=3).for_each(|part| hand.lets(At::Part(part)));
    (0..3).for_each(|_| hand.at_tell(At::Run(2), Do::Fail("never".to_owned())));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [11, 12]);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.used, stage.counts.failed, stage.restarts), (1, 1, 0));
}

#[test]
fn a_death_does_not_give_a_sample_more_tries() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()).on_error(retry(2).then_skip()).on_crash(OnCrash::Retry))
        .end_stage(end)
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    let mut first = player.next();
    first.at_tell(At::Run(1), Do::Fail("once".to_owned()));
    first.at_tell(At::Run(1), Do::Abort);
    let mut second = player.next();
    second.at_tell(At::Run(1), Do::Fail("twice".to_owned()));
    second.at_tell(At::Run(1), Do::Fail("three times".to_owned()));
    second.lets(At::Run(2));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [2]);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.used, stage.counts.failed, stage.counts.lost, stage.restarts), (1, 1, 0, 1));
}

#[test]
fn after_the_last_try_the_pipeline_stops_unless_it_is_to_skip() {
    let crew = Crew::new(|stage| stage.on_error(retry(1)).workers(2));
    let [mut fails, mut other] = crew.at_work();
    other.tell(Do::Go);
    fails.tell(Do::Fail("once".to_owned()));
    fails.at_tell(At::Run(1), Do::Fail("twice".to_owned()));
    let error = crew.pipeline.setstop().unwrap_err();
    assert_clear(error.report());
    assert_eq!(error.to_string(), "stage \"Puppet\" failed in stage_run on sample 1: twice");
    drop(crew.pipeline);
    assert_eq!(crew.values.rest(), [0_i64; 0]);
}
