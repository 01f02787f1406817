//! Stages in processes of their own, in Rust.
#![cfg(target_os = "linux")]

mod stages;

use deeppipeline::{Overflow, Pipeline};
use stages::{Double, Keep, Sum};

/// The workers of these tests begin here: in the parent it does nothing.
#[test]
fn become_a_worker() {
    deeppipeline::worker().stage::<Double>().stage::<Keep>().stage_all::<Sum, _>().run();
}

#[test]
fn samples_flow_through_processes_and_threads_in_order() {
    let path = stages::scratch("flow");
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .worker_arguments(stages::ARGUMENTS)
        .stage_isolated::<Double>(())
        .stage(|x: i64| x + 1)
        .stage_isolated::<Double>(())
        .end_stage_isolated::<Keep>(path.clone())
        .start()
        .unwrap();
    for x in 1..=100 {
        pipeline.put(x).unwrap();
    }
    let report = pipeline.setstop().unwrap();
    println!("{report}");
    assert!(report.balances(), "{report:#?}");
    let kept = stages::kept(&path);
    assert_eq!(kept, (1..=100).map(|x| 2 * (2 * x + 1)).collect::<Vec<i64>>());
}
