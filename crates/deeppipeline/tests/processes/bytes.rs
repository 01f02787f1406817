//! Buffers between processes are bounded by bytes too, and one sample that can never fit is refused.

use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{ARGUMENTS, assert_clear, end, ended, isolated_stage, pipeline};
use crate::support::until;
use deeppipeline::error::PutError;
use deeppipeline::processes::SharedBytes;
use deeppipeline::{All, BoxError, Give, Isolated, OnError, Overflow, Pipeline, Stage, isolated, stage};
use std::time::Duration;

isolated_stage! {
    /// Gives so many bytes for a number.
    pub(crate) Blow, "blow": |x: i64| -> SharedBytes {
        Ok(Give::One(vec![x as u8; x as usize].into()))
    }
}

/// Gives how many bytes there were, when its test lets it.
pub(crate) struct Weigh(Puppet);

impl Stage for Weigh {
    type Input = SharedBytes;
    type Output = i64;
    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }
    fn stage_run(&mut self, bytes: SharedBytes) -> Result<Give<i64>, BoxError> {
        self.0.stage_run(bytes.len() as i64)
    }
}

impl Isolated for Weigh {
    const NAME: &str = "weigh";
    type Settings = crate::puppet::Strings;
    fn make(strings: crate::puppet::Strings) -> Result<Self, BoxError> {
        Puppet::make(strings).map(Weigh)
    }
}

/// The same for lists: gives the sum.
pub(crate) struct WeighAll(Puppet);

impl Stage for WeighAll {
    type Input = Vec<SharedBytes>;
    type Output = i64;
    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }
    fn stage_run(&mut self, list: Vec<SharedBytes>) -> Result<Give<i64>, BoxError> {
        self.0.stage_run(list.iter().map(|bytes| bytes.len() as i64).sum())
    }
}

impl Isolated for WeighAll {
    const NAME: &str = "weigh all";
    type Settings = crate::puppet::Strings;
    fn make(strings: crate::puppet::Strings) -> Result<Self, BoxError> {
        Puppet::make(strings).map(WeighAll)
    }
}

fn weight(bytes: usize) -> SharedBytes {
    vec![7; bytes].into()
}

#[test]
fn the_buffer_bytes_of_a_stage_come_before_the_pipelines() {
    for of_pipeline in [10, 1 << 20] {
        let (player, (end, _)) = (Player::new(), end());
        let weigh = isolated::<Weigh>(player.strings()).buffer_bytes(1000);
        let pipeline = pipeline().buffer_bytes(of_pipeline).stage(weigh).end_stage(end).start().unwrap();
        let error = pipeline.put(weight(1001)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the sample takes 1001 bytes, but buffer_bytes is 1000: raise buffer_bytes, or send less"
        );
    }
}

#[test]
fn put_refuses_a_sample_that_can_never_fit_and_hands_it_back() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline =
        pipeline().buffer_bytes(1000).stage(isolated::<Weigh>(player.strings())).end_stage(end).start().unwrap();
    let mut hand = player.next();
    let error = pipeline.put(weight(1001)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sample takes 1001 bytes, but buffer_bytes is 1000: raise buffer_bytes, or send less"
    );
    assert!(matches!(error, PutError::Refused(..)), "{error}");
    assert_eq!(error.into_sample().len(), 1001);
    // The largest that fits still does.
    pipeline.put(weight(1000)).unwrap();
    hand.lets(At::Run(1000));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [1000]);
    assert_eq!(report.stages[0].buffer.entered, 1, "what was refused never entered");
}

#[test]
fn a_result_that_can_never_fit_is_an_error_of_its_stage() {
    let pipeline =
        pipeline().buffer_bytes(1000).stage(isolated::<Blow>(())).end_stage(|_: SharedBytes| {}).start().unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(1001).unwrap();
    let error = pipeline.setstop().unwrap_err();
    assert_clear(error.report());
    assert_eq!(
        error.to_string(),
        "stage \"Blow\" failed in stage_run on sample 2: the sample takes 1001 bytes, but buffer_bytes is 1000: raise \
         buffer_bytes, or send less"
    );
    assert_eq!((error.report().stages[0].counts.used, error.report().stages[0].counts.failed), (1, 1));
}

#[test]
fn a_thread_in_front_of_a_process_fails_in_the_same_way_and_may_skip_it() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .buffer_bytes(1000)
        .stage(stage(|x: i64| weight(x as usize)).on_error(OnError::Skip))
        .stage(isolated::<Weigh>(player.strings()))
        .end_stage(end)
        .start()
        .unwrap();
    for x in [1, 1001, 2] {
        pipeline.put(x).unwrap();
    }
    let mut hand = player.next();
    hand.lets(At::Run(1));
    hand.lets(At::Run(2));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [1, 2]);
    assert_eq!((report.stages[0].counts.used, report.stages[0].counts.failed), (2, 1));
}

#[test]
fn a_source_in_front_of_a_process_fails_with_both_sizes() {
    let player = Player::new();
    let strings = player.strings();
    let running = std::thread::spawn(move || {
        Pipeline::<SharedBytes>::builder()
            .worker_arguments(ARGUMENTS)
            .source([10, 2000].map(weight).into_iter())
            .buffer_bytes(1000)
            .stage(isolated::<Weigh>(strings))
            .end_stage(|_: i64| {})
            .run()
    });
    player.next().lets(At::Run(10));
    let error = running.join().unwrap().unwrap_err().to_string();
    assert_eq!(
        error,
        "stage \"source\" failed in source_next: the sample takes 2000 bytes, but buffer_bytes is 1000: raise \
         buffer_bytes, or send less"
    );
}

#[test]
fn block_lets_put_wait_for_room_for_its_bytes() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .buffer_size(10)
        .buffer_bytes(1000)
        .stage(isolated::<Weigh>(player.strings()))
        .end_stage(end)
        .start()
        .unwrap();
    let mut hand = player.next();
    pipeline.put(weight(900)).unwrap();
    assert_eq!(hand.at(), At::Run(900));
    // What is in flight is no longer in the buffer.
    pipeline.put(weight(500)).unwrap();
    pipeline.put(weight(500)).unwrap();
    let back = pipeline.put_timeout(weight(1), Duration::from_millis(10)).unwrap_err();
    assert!(matches!(back, PutError::Timeout(ref bytes) if bytes.len() == 1), "{back}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pipeline.put(weight(300)).unwrap().is_accepted());
        hand.tell(Do::Go);
        hand.lets(At::Run(500));
        assert!(waiting.join().unwrap());
        hand.lets(At::Run(500));
        hand.lets(At::Run(300));
    });
    let report = ended(pipeline);
    assert_eq!(values.rest(), [900, 500, 500, 300]);
    assert_eq!(report.stages[0].buffer.entered, 4);
}

/// A pipeline with a full buffer, of 400 and 500 bytes, behind a worker that has one more in flight.
fn full(overflow: Overflow, player: &Player) -> (Pipeline<SharedBytes>, crate::puppet::Hand) {
    let pipeline = Pipeline::builder()
        .overflow(overflow)
        .worker_arguments(ARGUMENTS)
        .buffer_size(10)
        .buffer_bytes(1000)
        .stage(isolated::<Weigh>(player.strings()))
        .end_stage(|_: i64| {})
        .start()
        .unwrap();
    let mut hand = player.next();
    pipeline.put(weight(1)).unwrap();
    assert_eq!(hand.at(), At::Run(1));
    pipeline.put(weight(400)).unwrap();
    pipeline.put(weight(500)).unwrap();
    (pipeline, hand)
}

#[test]
fn drop_oldest_drops_as_many_as_make_room_for_the_bytes() {
    let player = Player::new();
    let (pipeline, mut hand) = full(Overflow::DropOldest, &player);
    assert!(pipeline.put(weight(300)).unwrap().is_accepted());
    assert_eq!(pipeline.report().stages[0].buffer.dropped_oldest, 1);
    assert!(pipeline.put(weight(999)).unwrap().is_accepted());
    assert_eq!(pipeline.report().stages[0].buffer.dropped_oldest, 3);
    hand.tell(Do::Go);
    hand.lets(At::Run(999));
    let buffer = &ended(pipeline).stages[0].buffer;
    assert_eq!((buffer.entered, buffer.taken, buffer.dropped_oldest), (5, 2, 3));
    assert_eq!(buffer.last_dropped.iter().map(|id| id.number).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn drop_newest_drops_what_has_no_room_for_its_bytes() {
    let player = Player::new();
    let (pipeline, mut hand) = full(Overflow::DropNewest, &player);
    assert!(!pipeline.put(weight(101)).unwrap().is_accepted());
    assert!(pipeline.put(weight(100)).unwrap().is_accepted());
    hand.tell(Do::Go);
    for bytes in [400, 500, 100] {
        hand.lets(At::Run(bytes));
    }
    let buffer = &ended(pipeline).stages[0].buffer;
    assert_eq!((buffer.entered, buffer.taken, buffer.dropped_newest), (5, 4, 1));
}

#[test]
fn all_hands_over_a_shorter_list_when_it_is_full_by_bytes() {
    for overflow in [Overflow::Block, Overflow::DropNewest] {
        let (player, (end, values)) = (Player::new(), end());
        let pipeline = Pipeline::builder()
            .overflow(overflow)
            .worker_arguments(ARGUMENTS)
            .buffer_size([4, 4])
            .buffer_bytes(1000)
            .stage(isolated::<WeighAll>(player.strings()).intake(All))
            .end_stage(end)
            .start()
            .unwrap();
        let mut hand = player.next();
        assert!(pipeline.put(weight(400)).unwrap().is_accepted());
        assert!(pipeline.put(weight(500)).unwrap().is_accepted());
        // No room for these bytes: they wait, or are dropped, and what is inside is handed over.
        assert_eq!(pipeline.put(weight(200)).unwrap().is_accepted(), overflow == Overflow::Block);
        hand.lets(At::Run(900));
        until(|| pipeline.report().stages[0].counts.used == 1);
        // From here on it is full by count again.
        for _ in 0..4 {
            pipeline.put(weight(10)).unwrap();
        }
        let (first, second) = if overflow == Overflow::Block { (230, Some(10)) } else { (40, None) };
        hand.lets(At::Run(first));
        std::thread::scope(|scope| {
            let report = scope.spawn(|| ended(pipeline));
            second.iter().for_each(|left| hand.lets(At::Run(*left)));
            assert_eq!(report.join().unwrap().stages[0].buffer.dropped_newest, u64::from(second.is_none()));
        });
        assert_eq!(values.rest(), [Some(900), Some(first), second].into_iter().flatten().collect::<Vec<_>>());
    }
}
