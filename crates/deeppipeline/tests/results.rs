//! The last stage's values, one by one, while samples are put.

mod support;

use deeppipeline::{Overflow, Pipeline};
use std::time::Duration;
use support::until;

/// Longer than anything here takes, on any machine.
const WATCHDOG: Duration = Duration::from_secs(60);

#[test]
fn results_come_out_in_order_while_others_put() {
    let (pipeline, results) =
        Pipeline::builder().overflow(Overflow::Block).stage(|x: u32| x * x).results_with_samples().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for x in 0..200 {
                pipeline.put(x).unwrap();
            }
            pipeline.setstop().unwrap();
        });
        let results: Vec<_> = results.map(|(sample, value)| (sample.id.number, value)).collect();
        assert!(results.into_iter().eq((0..200).map(|x| (u64::from(x) + 1, x * x))));
    });
}

#[test]
fn a_result_is_waited_for_no_longer_than_it_is_said() {
    let (pipeline, mut results) = Pipeline::builder().stage(|x: u32| x + 1).results().unwrap();
    assert!(results.next_timeout(Duration::ZERO).is_err());
    pipeline.put(1).unwrap();
    assert_eq!(results.next_timeout(WATCHDOG), Ok(Some(2)));
    pipeline.setstop().unwrap();
    assert_eq!(results.next_timeout(WATCHDOG), Ok(None));
    assert_eq!(results.next(), None);
}

#[test]
fn a_flush_takes_back_the_result_that_nobody_has_asked_for() {
    let (pipeline, mut results) = Pipeline::builder().stage(|x: u32| x).results().unwrap();
    pipeline.put(1).unwrap();
    until(|| pipeline.report().stages[1].counts.in_flight == 1);
    pipeline.flush();
    pipeline.put(2).unwrap();
    assert_eq!(results.next(), Some(2));
    assert!(pipeline.setstop().unwrap().balances());
    assert_eq!(results.next(), None);
}

#[test]
fn what_comes_out_once_the_results_are_dropped_is_ignored() {
    let (pipeline, results) = Pipeline::builder().overflow(Overflow::Block).stage(|x: u32| x).results().unwrap();
    pipeline.put(1).unwrap();
    drop(results);
    for x in 2..50 {
        pipeline.put(x).unwrap();
    }
    assert_eq!(pipeline.setstop().unwrap().stages[1].counts.used, 49);
}
