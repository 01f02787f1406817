//! Fates as events: what a program is told of samples that do not come through.

mod support;

use deeppipeline::error::NoAnswer;
use deeppipeline::pipeline::Put;
use deeppipeline::report::{Fate, FateEvent};
use deeppipeline::{Give, OnError, Overflow, Pipeline, stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// What is compared of an event: its sample's number, its fate, and the value.
fn facts(mut event: FateEvent) -> (u64, Fate, Option<u32>) {
    let value = event.take_value();
    (event.sample.number, event.fate, value)
}

/// A stage that says that it runs, and then waits until it is told to go on.
macro_rules! gated {
    ($runs:ident, $go:ident) => {
        move |_: u32| {
            $runs.send(()).unwrap();
            $go.recv().unwrap();
        }
    };
}

#[test]
fn every_drop_is_told_with_its_value() {
    let ((runs, has_begun), (let_go, go), (tell, told)) = (channel(), channel(), channel());
    let pipeline = Pipeline::builder()
        .buffer_size(1)
        .end_stage(gated!(runs, go))
        .on_fate(move |event| tell.send(facts(event)).unwrap())
        .start()
        .unwrap();
    pipeline.put(10).unwrap();
    has_begun.recv().unwrap();
    for x in 11..=13 {
        pipeline.put(x).unwrap();
    }
    (0..2).for_each(|_| let_go.send(()).unwrap());
    let report = pipeline.setstop().unwrap();
    let told: Vec<_> = told.into_iter().collect();
    assert_eq!(told, [(2, Fate::DroppedOldest, Some(11)), (3, Fate::DroppedOldest, Some(12))]);
    assert_eq!((report.stages[0].buffer.dropped_oldest, report.fates_missed), (2, 0));
}

#[test]
fn what_is_dropped_on_arrival_is_told_with_its_value() {
    let ((runs, has_begun), (let_go, go), (tell, told)) = (channel(), channel(), channel());
    let pipeline = Pipeline::builder()
        .buffer_size(1)
        .overflow(Overflow::DropNewest)
        .end_stage(gated!(runs, go))
        .on_fate(move |event| tell.send(facts(event)).unwrap())
        .start()
        .unwrap();
    pipeline.put(10).unwrap();
    has_begun.recv().unwrap();
    pipeline.put(11).unwrap();
    assert_eq!(pipeline.put(12).unwrap(), Put::Dropped);
    (0..2).for_each(|_| let_go.send(()).unwrap());
    pipeline.setstop().unwrap();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), [(3, Fate::DroppedNewest, Some(12))]);
}

#[test]
fn a_failure_is_told_with_its_error_and_its_stage() {
    let (tell, told) = channel();
    Pipeline::builder()
        .source(0..3_u32)
        .end_stage(stage(|x: u32| 6_u32.checked_div(x).map(drop).ok_or("no")).name("invert").on_error(OnError::Skip))
        .on_fate(move |event| tell.send(event).unwrap())
        .run()
        .unwrap();
    let told: Vec<_> =
        told.into_iter().map(|event| (event.stage, event.fate, event.error.unwrap().to_string())).collect();
    let [(stage, Fate::Failed, error)] = &told[..] else { panic!("{told:?}") };
    assert!(stage == "invert" && error.ends_with("no"), "{told:?}");
}

#[test]
fn a_function_that_panics_hears_of_the_next_all_the_same() {
    let (tell, told) = channel();
    let mut is_first = true;
    Pipeline::builder()
        .source(0..3_u32)
        .stage(|_: u32| Give::<u32>::Skip)
        .end_stage(|_: u32| {})
        .on_fate(move |event| {
            assert!(!std::mem::take(&mut is_first), "the first is too much");
            tell.send(event.sample.number).unwrap();
        })
        .run()
        .unwrap();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_function_that_hangs_is_left_behind() {
    let (let_go, go) = channel::<()>();
    let pipeline = Pipeline::builder()
        .stage(|_: u32| Give::<u32>::Skip)
        .end_stage(|_: u32| {})
        .on_fate(move |_| {
            let _ = go.recv();
        })
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    let report = pipeline.setstop_or_abort(Duration::ZERO).unwrap();
    assert_eq!(report.left_behind, ["on_fate"]);
    drop(let_go);
}

#[test]
fn what_the_function_is_too_slow_for_is_counted() {
    let is_open = Arc::new(AtomicBool::new(false));
    let (opened, (began, has_begun)) = (Arc::clone(&is_open), channel());
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(|_: u32| Give::<u32>::Skip).name("skip"))
        .end_stage(|_: u32| {})
        .on_fate(move |_| {
            let _ = began.send(());
            support::until(|| opened.load(Ordering::Acquire));
        })
        .start()
        .unwrap();
    pipeline.put(0).unwrap();
    has_begun.recv().unwrap();
    for x in 0..1030 {
        pipeline.put(x).unwrap();
    }
    support::until(|| pipeline.report().fates_missed == 6);
    is_open.store(true, Ordering::Release);
    let report = pipeline.setstop().unwrap();
    assert_eq!((report.fates_missed, report.stages[0].counts.skipped), (6, 1031));
}

#[test]
fn an_abort_discards_samples_whose_parts_are_in_work() {
    let ((runs, has_begun), (let_go, go), (tell, told)) = (channel(), channel::<()>(), channel());
    let work = move |part: u32| -> u32 {
        runs.send(()).unwrap();
        let _ = go.recv();
        part
    };
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .for_each(|x: u32| (x, vec![x, x]), work)
        .end_stage(|_: (u32, Vec<Result<u32, NoAnswer>>)| ())
        .on_fate(move |mut event: FateEvent| {
            tell.send((event.stage.clone(), event.fate, event.take_value::<u32>())).unwrap();
        })
        .start()
        .unwrap();
    pipeline.put(7).unwrap();
    has_begun.recv().unwrap();
    std::thread::scope(|scope| {
        let aborting = scope.spawn(|| pipeline.abort());
        // The sample that waits for its parts is discarded whether or not the part in work ends.
        let whole = told.recv().unwrap();
        let part = told.recv().unwrap();
        drop(let_go);
        let report = aborting.join().unwrap();
        assert!(report.balances(), "{report}");
        let mut told: Vec<_> = [whole, part].into_iter().collect();
        told.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(told[0].1, Fate::Discarded, "{told:?}");
        assert_eq!(told[1].1, Fate::Discarded, "{told:?}");
        assert!(report.stages.iter().all(|stage| stage.counts.failed == 0), "{report}");
    });
}
