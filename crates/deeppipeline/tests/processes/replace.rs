//! Replacements of stages in processes: made from new settings, and also after a crash.

use crate::stages::{end, pipeline};
use deeppipeline::error::UpdateError;
use deeppipeline::{BoxError, Give, Isolated, Overflow, Stage, isolated, stage};
use std::sync::atomic::{AtomicBool, Ordering};

/// Gives 1000 times its settings and what it gets. Settings below 0 fail in `setup`, and those below -9 kill the process;
/// so does a sample that is 13.
pub(crate) struct Thousands(i64);

impl Stage for Thousands {
    type Input = i64;
    type Output = i64;

    fn setup(&mut self) -> Result<(), BoxError> {
        match self.0 {
            0.. => Ok(()),
            -9..0 => Err("settings below 0".into()),
            _ => std::process::abort(),
        }
    }

    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        if x == 13 {
            std::process::abort();
        }
        Ok(Give::One(1000 * self.0 + x))
    }
}

impl Isolated for Thousands {
    const NAME: &str = "Thousands";
    type Settings = i64;

    fn make(thousands: i64) -> Result<Self, BoxError> {
        Ok(Thousands(thousands))
    }

    fn update(&mut self, thousands: i64) -> Result<(), BoxError> {
        self.0 = thousands;
        Ok(())
    }
}

#[test]
fn replacements_under_full_load_lose_nothing_and_keep_the_order() {
    for workers in [1, 2] {
        let (end, values) = end();
        let place = isolated::<Thousands>(0).name("place").workers(workers);
        let pipeline = pipeline().overflow(Overflow::Block).stage(place).end_stage(end).start().unwrap();
        let is_over = &AtomicBool::new(false);
        let put = std::thread::scope(|scope| {
            let pipeline = &pipeline;
            let putting = scope.spawn(move || {
                let mut samples = (1..).map(|x| x % 10).take_while(|_| !is_over.load(Ordering::Relaxed));
                samples.by_ref().take_while(|x| pipeline.put(*x).is_ok()).count()
            });
            for thousands in 1..=1000 {
                pipeline.replace_settings::<Thousands>("place", &thousands).unwrap();
                if thousands % 10 == 0 {
                    let error = pipeline.replace_settings::<Thousands>("place", &-1).unwrap_err();
                    assert!(matches!(error, UpdateError::NotReplaced { .. }), "{error}");
                }
            }
            is_over.store(true, Ordering::Relaxed);
            putting.join().unwrap()
        });
        let report = pipeline.setstop().unwrap();
        drop(pipeline);
        let results = values.rest();
        assert!(results.iter().map(|x| x % 1000).eq((1..=put as i64).map(|x| x % 10)), "lost, or out of order");
        assert!(results.iter().all(|x| (0..=1000).contains(&(x / 1000))), "one that was never up was seen");
        assert!(workers > 1 || results.is_sorted_by_key(|x| x / 1000), "an old stage came back");
        assert!(report.balances());
        assert_eq!((report.stages[0].counts.used, report.stages[0].restarts), (put as u64, 0));
    }
}

#[test]
fn a_setup_that_kills_its_process_brings_the_old_stage_back_and_is_no_crash() {
    for workers in [1, 2] {
        let (end, values) = end();
        let place = isolated::<Thousands>(1).name("place").workers(workers).max_restarts(0);
        let pipeline = pipeline().overflow(Overflow::Block).stage(place).end_stage(end).start().unwrap();
        let error = pipeline.replace_settings::<Thousands>("place", &-10).unwrap_err();
        assert!(error.to_string().contains("of stage \"place\" failed in setup of its replacement: "), "{error}");
        (1..=4).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
        assert!(pipeline.setstop().unwrap().balances());
        drop(pipeline);
        assert_eq!(values.rest(), [1001, 1002, 1003, 1004]);
    }
}

#[test]
fn a_process_that_is_started_again_is_made_of_the_new_stage_and_not_told_the_updates_of_the_old_one() {
    let (end, values) = end();
    let place = isolated::<Thousands>(1).name("place").max_restarts(20);
    let pipeline = pipeline().overflow(Overflow::Block).stage(place).end_stage(end).start().unwrap();
    pipeline.update_settings::<Thousands>("place", &2).unwrap();
    pipeline.replace_settings::<Thousands>("place", &3).unwrap();
    pipeline.put(13).unwrap();
    pipeline.put(1).unwrap();
    assert_eq!(values.next(), 3001);
    pipeline.update_settings::<Thousands>("place", &4).unwrap();
    pipeline.replace_settings::<Thousands>("place", &-1).unwrap_err();
    pipeline.put(13).unwrap();
    pipeline.put(2).unwrap();
    assert_eq!(values.next(), 4002);
    let report = pipeline.setstop().unwrap();
    assert_eq!((report.stages[0].restarts, report.stages[0].counts.lost), (2, 2));
}

#[test]
fn a_replacement_beside_a_crash_is_made_by_the_process_that_follows() {
    let (end, values) = end();
    let place = isolated::<Thousands>(0).name("place").workers(2).max_restarts(1000);
    let pipeline = pipeline().overflow(Overflow::Block).stage(place).end_stage(end).start().unwrap();
    for thousands in 1..=10 {
        pipeline.put(13).unwrap();
        pipeline.replace_settings::<Thousands>("place", &thousands).unwrap();
        for x in 1..=4 {
            pipeline.put(x).unwrap();
            assert_eq!(values.next(), 1000 * thousands + x, "half of its workers have another");
        }
    }
    let report = pipeline.setstop().unwrap();
    assert!(report.balances());
    assert_eq!(report.stages[0].counts.lost, 10);
}

#[test]
fn a_replacement_of_the_wrong_kind_is_refused() {
    let place = isolated::<Thousands>(1).name("place");
    let pipeline = pipeline().stage(place).end_stage(stage(|_: i64| {}).name("end")).start().unwrap();
    let error = pipeline.replace("place", || Ok(Thousands(1))).unwrap_err();
    assert_eq!(error.to_string(), "stage \"place\" is in a process: use update_settings or replace_settings");
    let error = pipeline.replace_settings::<Thousands>("end", &1).unwrap_err();
    assert!(matches!(error, UpdateError::Elsewhere { in_process: false, .. }), "{error}");
    pipeline.setstop().unwrap();
}
