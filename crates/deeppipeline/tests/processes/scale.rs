//! Workers in processes that join and leave a stage while the pipeline runs.

use crate::stages::{end, pipeline};
use deeppipeline::error::ScaleError;
use deeppipeline::pipeline::current_worker;
use deeppipeline::{BoxError, Give, Isolated, Overflow, Stage, isolated};
use std::sync::atomic::{AtomicBool, Ordering};

/// Gives its offset and what it gets, dies of 13, and in `setup` as the worker of the index that it is told.
pub(crate) struct Member {
    dies_as: usize,
    offset: i64,
}

impl Stage for Member {
    type Input = i64;
    type Output = i64;

    fn setup(&mut self) -> Result<(), BoxError> {
        if current_worker().is_some_and(|worker| worker.index() == self.dies_as) {
            std::process::abort();
        }
        Ok(())
    }

    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        if x == 13 {
            std::process::abort();
        }
        Ok(Give::One(self.offset + x))
    }
}

impl Isolated for Member {
    const NAME: &str = "Member";
    type Settings = (usize, i64);

    fn make((dies_as, offset): (usize, i64)) -> Result<Self, BoxError> {
        Ok(Member { dies_as, offset })
    }

    fn update(&mut self, (_, offset): (usize, i64)) -> Result<(), BoxError> {
        self.offset = offset;
        Ok(())
    }
}

const NOBODY: usize = usize::MAX;

#[test]
fn workers_join_and_leave_under_load_and_nothing_is_lost_or_out_of_order() {
    let (end, values) = end();
    let member = isolated::<Member>((NOBODY, 0)).name("member").workers(1).max_workers(4);
    let pipeline = pipeline().overflow(Overflow::Block).stage(member).end_stage(end).start().unwrap();
    let is_over = &AtomicBool::new(false);
    let put = std::thread::scope(|scope| {
        let pipeline = &pipeline;
        let putting = scope.spawn(move || {
            let samples = (1..).map(|x| 100 + x).take_while(|_| !is_over.load(Ordering::Relaxed));
            samples.take_while(|x| pipeline.put(*x).is_ok()).count()
        });
        for round in 0..40 {
            let workers = [3, 1, 4, 2][round % 4];
            pipeline.scale("member", workers).unwrap();
            assert_eq!(pipeline.report().stages[0].workers, workers);
        }
        is_over.store(true, Ordering::Relaxed);
        putting.join().unwrap()
    });
    let report = pipeline.setstop().unwrap();
    drop(pipeline);
    assert_eq!(values.rest(), (1..=put as i64).map(|x| 100 + x).collect::<Vec<_>>());
    assert!(report.balances());
    assert_eq!((report.stages[0].counts.used, report.stages[0].restarts), (put as u64, 0));
}

#[test]
fn one_that_dies_in_setup_is_told_and_the_stage_goes_on_as_before() {
    let (end, values) = end();
    let member = isolated::<Member>((2, 0)).name("member").workers(1).max_workers(3);
    let pipeline = pipeline().stage(member).end_stage(end).start().unwrap();
    let error = pipeline.scale("member", 3).unwrap_err();
    assert!(matches!(&error, ScaleError::Failed { worker: 2, .. }), "{error}");
    assert!(error.to_string().contains("SIGABRT"), "{error}");
    assert_eq!(pipeline.report().stages[0].workers, 1);
    pipeline.scale("member", 2).unwrap();
    assert!(pipeline.put(1).unwrap().is_accepted());
    assert!(pipeline.setstop().unwrap().balances());
    drop(pipeline);
    assert_eq!(values.rest(), [1]);
}

#[test]
fn one_that_joins_has_the_updates_and_what_replaced_the_stage() {
    let (end, values) = end();
    let member = isolated::<Member>((NOBODY, 1)).name("member").workers(1).max_workers(3);
    let pipeline = pipeline().overflow(Overflow::Block).stage(member).end_stage(end).start().unwrap();
    pipeline.update_settings::<Member>("member", &(NOBODY, 100)).unwrap();
    pipeline.scale("member", 3).unwrap();
    (0..10).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    pipeline.scale("member", 1).unwrap();
    pipeline.replace_settings::<Member>("member", &(NOBODY, 200)).unwrap();
    pipeline.scale("member", 3).unwrap();
    (0..10).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    assert!(pipeline.setstop().unwrap().balances());
    drop(pipeline);
    assert_eq!(values.rest(), (100..110).chain(200..210).collect::<Vec<_>>());
}

#[test]
fn crashes_beside_scalings_lose_the_samples_that_kill_and_no_others() {
    let (end, values) = end();
    let member = isolated::<Member>((NOBODY, 0)).name("member").workers(2).max_workers(3).max_restarts(100);
    let pipeline = pipeline().overflow(Overflow::Block).stage(member).end_stage(end).start().unwrap();
    for round in 0..8 {
        assert!(pipeline.put(13).unwrap().is_accepted());
        assert!(pipeline.put(round).unwrap().is_accepted());
        // The one that dies may be one that is to leave, or the one in whose place another comes.
        pipeline.scale("member", [1, 3, 2, 3][round as usize % 4]).unwrap();
    }
    let report = pipeline.setstop().unwrap();
    drop(pipeline);
    assert_eq!(values.rest(), (0..8).collect::<Vec<_>>());
    assert!(report.balances());
    assert_eq!(report.stages[0].counts.lost, 8);
}

/// Dies in `teardown`, if it is not the first worker.
pub(crate) struct DiesAtItsEnd;

impl Stage for DiesAtItsEnd {
    type Input = i64;
    type Output = i64;

    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        Ok(Give::One(x))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        if current_worker().is_some_and(|worker| worker.index() > 0) {
            std::process::abort();
        }
        Ok(())
    }
}

impl Isolated for DiesAtItsEnd {
    const NAME: &str = "DiesAtItsEnd";
    type Settings = ();

    fn make((): ()) -> Result<Self, BoxError> {
        Ok(DiesAtItsEnd)
    }
}

#[test]
fn one_that_dies_in_teardown_after_it_was_told_to_leave_has_left() {
    let (end, values) = end();
    let stage = isolated::<DiesAtItsEnd>(()).name("dies").workers(2);
    let pipeline = pipeline().stage(stage).end_stage(end).start().unwrap();
    pipeline.scale("dies", 1).unwrap();
    assert!(pipeline.put(1).unwrap().is_accepted());
    let report = pipeline.setstop().unwrap();
    drop(pipeline);
    assert_eq!((values.rest(), report.stages[0].workers, report.stages[0].restarts), (vec![1], 1, 0));
}
