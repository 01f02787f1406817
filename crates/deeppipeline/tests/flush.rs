//! Flushes on threads, while everything runs. `CUTS=10000` makes so many of each.

#[path = "support/cuts.rs"]
mod cuts;
#[path = "support/mod.rs"]
mod support;

use cuts::{Seen, cut_beside_puts, cut_between_puts, cut_north_beside_south, wanted};
use deeppipeline::builder::Builder;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, cancelled, made_by, stage};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

const CUTS: u64 = 300;

fn builder() -> Builder<i64, i64> {
    Pipeline::builder().overflow(Overflow::Block).buffer_size(3)
}

fn chain(seen: &Seen) -> Pipeline<i64> {
    builder()
        .stage(|x: i64| x)
        .stage(made_by(|| Ok(Pass)).workers(3))
        .stage(|x: i64| x)
        .end_stage(seen.end())
        .start()
        .unwrap()
}

/// Gives what it gets, on any of several workers.
struct Pass;

impl Stage for Pass {
    type Input = i64;
    type Output = i64;

    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        Ok(Give::One(x))
    }
}

fn block(seen: &Seen) -> Pipeline<i64> {
    builder().parallel((|x: i64| x, |x: i64| -x)).end_stage(seen.end::<(i64, i64)>()).start().unwrap()
}

#[test]
fn nothing_old_comes_out_of_a_chain_and_everything_new_does() {
    let seen = Seen::default();
    let report = cut_between_puts(chain(&seen), &seen, wanted(CUTS));
    assert!(report.balances(), "{report:#?}");
}

#[test]
fn nothing_old_comes_out_of_a_block_and_everything_new_does() {
    let seen = Seen::default();
    let report = cut_between_puts(block(&seen), &seen, wanted(CUTS));
    assert!(report.balances(), "{report:#?}");
}

#[test]
fn a_flush_beside_puts_loses_nothing_else() {
    let seen = Seen::default();
    let report = cut_beside_puts(chain(&seen), &seen, wanted(CUTS));
    assert!(report.balances(), "{report:#?}");
}

#[test]
fn a_flush_of_one_source_beside_puts_of_another_takes_nothing_of_that() {
    let seen = Seen::default();
    let pipeline = builder()
        .entrance("north")
        .entrance("south")
        .stage(made_by(|| Ok(Pass)).workers(3))
        .stage(|x: i64| x)
        .end_stage(seen.end())
        .start()
        .unwrap();
    let report = cut_north_beside_south(pipeline, &seen, wanted(CUTS));
    assert!(report.balances(), "{report:#?}");
}

#[test]
fn a_flush_waits_for_the_end_stage_as_long_as_it_is_told() {
    let (taken, is_taken) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let end = move |x: i64| {
        taken.send(x).unwrap();
        let _ = may_go_on.recv();
    };
    let pipeline = builder().end_stage(stage(end).name("speak")).start().unwrap();
    pipeline.put(1).unwrap();
    assert_eq!(is_taken.recv(), Ok(1));
    let error = pipeline.flush_timeout(Duration::from_millis(1)).unwrap_err();
    assert_eq!(error.stages, ["speak"]);
    assert!(error.to_string().starts_with("[\"speak\"] still at work after 1ms"), "{error}");
    drop(go_on);
    pipeline.flush();
    assert_eq!(pipeline.setstop().unwrap().stages[0].counts.used, 1);
}

#[test]
fn a_stage_that_takes_long_is_told() {
    let (taken, is_taken) = channel();
    let work = move |x: i64| {
        assert!(!cancelled());
        taken.send(x).unwrap();
        while x == 1 && !cancelled() {
            std::thread::yield_now();
        }
        x
    };
    let seen = Seen::default();
    let pipeline = builder().stage(work).end_stage(seen.end()).start().unwrap();
    pipeline.put(1).unwrap();
    assert_eq!(is_taken.recv(), Ok(1));
    pipeline.flush();
    pipeline.put(2).unwrap();
    let report = pipeline.setstop().unwrap();
    assert_eq!((report.stages[1].buffer.flushed, report.stages[1].counts.used), (1, 1));
    assert!(!cancelled(), "outside of a stage");
}

#[test]
fn a_stage_that_stops_for_a_flush_takes_nothing_of_what_is_given_up() {
    for _ in 0..100 {
        let (begun, (tell, told)) = (Arc::new(Barrier::new(2)), channel());
        let begins = Arc::clone(&begun);
        let talks = move |x: u64| {
            tell.send(x).unwrap();
            if x == 1 {
                begins.wait();
                while !cancelled() {
                    std::thread::yield_now();
                }
            }
        };
        let pipeline = Pipeline::builder().buffer_size(8).stage(|x: u64| x).end_stage(talks).start().unwrap();
        (1..=4).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
        begun.wait();
        pipeline.flush();
        assert!(pipeline.put(5).unwrap().is_accepted());
        assert!(pipeline.setstop().unwrap().balances());
        drop(pipeline);
        assert_eq!(told.iter().collect::<Vec<_>>(), [1, 5]);
    }
}
