//! Updates of stages in processes: new settings between two samples, and again after a crash.

use crate::stages::{end, pipeline};
use deeppipeline::error::UpdateError;
use deeppipeline::{BoxError, Give, Isolated, Overflow, Stage, isolated, stage};

/// Multiplies by its settings, and dies on 13, or of the settings 13.
pub(crate) struct Times(i64);

impl Stage for Times {
    type Input = i64;
    type Output = i64;

    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        if x == 13 {
            std::process::abort();
        }
        Ok(Give::One(x * self.0))
    }
}

impl Isolated for Times {
    const NAME: &str = "Times";
    type Settings = i64;

    fn make(factor: i64) -> Result<Self, BoxError> {
        Ok(Times(factor))
    }

    fn update(&mut self, factor: i64) -> Result<(), BoxError> {
        if factor == 13 {
            std::process::abort();
        }
        if factor < 0 {
            return Err("a factor below 0".into());
        }
        self.0 = factor;
        Ok(())
    }
}

#[test]
fn all_workers_have_the_settings_once_update_returns() {
    for workers in [1, 2] {
        let (end, values) = end();
        let times = isolated::<Times>(1).name("times").workers(workers);
        let pipeline = pipeline().overflow(Overflow::Block).stage(times).end_stage(end).start().unwrap();
        for factor in 1..=10 {
            pipeline.update_settings::<Times>("times", &factor).unwrap();
            (1..=3).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
            // What still waits would be taken with the next settings.
            assert_eq!([0; 3].map(|_| values.next()), [factor, 2 * factor, 3 * factor]);
        }
        assert!(pipeline.setstop().unwrap().balances());
    }
}

#[test]
fn a_process_that_is_started_again_has_the_last_settings() {
    let (end, values) = end();
    let pipeline = pipeline().stage(isolated::<Times>(1).name("times")).end_stage(end).start().unwrap();
    pipeline.update_settings::<Times>("times", &5).unwrap();
    pipeline.update_settings::<Times>("times", &7).unwrap();
    let error = pipeline.update_settings::<Times>("times", &-1).unwrap_err();
    assert_eq!(error.to_string(), "worker 0 of stage \"times\" failed in update: a factor below 0");
    pipeline.update_settings::<Times>("times", &8).unwrap();
    pipeline.put(13).unwrap();
    pipeline.put(2).unwrap();
    let report = pipeline.setstop().unwrap();
    assert_eq!((report.stages[0].restarts, report.stages[0].counts.lost), (1, 1));
    drop(pipeline);
    assert_eq!(values.rest(), [16]);
}

#[test]
fn settings_that_were_refused_leave_the_ones_before_in_force_also_after_a_crash() {
    for workers in [1, 2] {
        let (end, values) = end();
        let times = isolated::<Times>(1).name("times").workers(workers).max_restarts(20);
        let pipeline = pipeline().overflow(Overflow::Block).stage(times).end_stage(end).start().unwrap();
        pipeline.update_settings::<Times>("times", &5).unwrap();
        pipeline.update_settings::<Times>("times", &-1).unwrap_err();
        (0..workers).for_each(|_| assert!(pipeline.put(13).unwrap().is_accepted()));
        for x in [2, 3] {
            pipeline.put(x).unwrap();
            assert_eq!(values.next(), 5 * x);
        }
        pipeline.setstop().unwrap();
    }
}

#[test]
fn settings_of_which_a_process_dies_are_not_told_to_the_next() {
    for workers in [1, 2] {
        let (end, values) = end();
        let times = isolated::<Times>(1).name("times").workers(workers).max_restarts(workers as u32);
        let pipeline = pipeline().overflow(Overflow::Block).stage(times).end_stage(end).start().unwrap();
        pipeline.update_settings::<Times>("times", &5).unwrap();
        let error = pipeline.update_settings::<Times>("times", &13).unwrap_err();
        assert!(error.to_string().starts_with("worker 0 of stage \"times\" failed in update: its worker "), "{error}");
        for x in 1..=4 {
            pipeline.put(x).unwrap();
            assert_eq!(values.next(), 5 * x);
        }
        let report = pipeline.setstop().unwrap();
        assert_eq!((report.stages[0].restarts, report.stages[0].counts.lost), (workers as u64, 0));
    }
}

#[test]
fn an_update_of_the_wrong_kind_is_refused() {
    let pipeline =
        pipeline().stage(isolated::<Times>(1).name("times")).end_stage(stage(|_: i64| {}).name("end")).start().unwrap();
    let error = pipeline.update("times", |_: &mut Times| Ok(())).unwrap_err();
    assert!(matches!(error, UpdateError::Elsewhere { in_process: true, .. }), "{error}");
    let error = pipeline.update_settings::<Times>("end", &1).unwrap_err();
    assert_eq!(error.to_string(), "stage \"end\" is on a thread: use update or replace");
    pipeline.setstop().unwrap();
}

#[test]
fn an_update_beside_a_crash_is_applied_by_the_process_that_follows() {
    let (end, values) = end();
    let times = isolated::<Times>(1).name("times").max_restarts(20);
    let pipeline = pipeline().overflow(Overflow::Block).stage(times).end_stage(end).start().unwrap();
    for factor in 1..=5 {
        pipeline.put(13).unwrap();
        pipeline.update_settings::<Times>("times", &factor).unwrap();
        pipeline.put(2).unwrap();
        assert_eq!(values.next(), 2 * factor);
    }
    let report = pipeline.setstop().unwrap();
    assert_eq!((report.stages[0].restarts, report.stages[0].counts.lost), (5, 5));
}
