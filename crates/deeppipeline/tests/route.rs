//! Samples that go one of several ways: what a description may say, and what becomes of an unknown key.

use deeppipeline::builder::route_by;
use deeppipeline::error::{GraphError, StartError};
use deeppipeline::{Overflow, Pipeline, chain};
use std::sync::mpsc::channel;

fn parity(x: &u32) -> &'static str {
    if x.is_multiple_of(2) { "even" } else { "odd" }
}

#[test]
fn values_that_are_not_clone_go_one_way_each_and_come_out_in_order() {
    struct Unique(u32);
    let (tell, told) = channel();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(|x: u32| Unique(x))
        .route(
            route_by(|x: &Unique| parity(&x.0))
                .on("even", |x: Unique| Unique(x.0 * 10))
                .otherwise(chain().stage(|x: Unique| x.0 + 1).stage(Unique)),
        )
        .end_stage(move |x: Unique| tell.send(x.0).expect("the test listens"))
        .start()
        .unwrap();
    for x in 0..100 {
        pipeline.put(x).unwrap();
    }
    let report = pipeline.setstop().unwrap();
    assert!(report.balances(), "{report:#?}");
    drop(pipeline);
    assert!(told.iter().eq((0..100).map(|x| if x % 2 == 0 { x * 10 } else { x + 1 })));
}

#[test]
fn an_unknown_key_stops_the_pipeline_and_names_the_known_ones() {
    let pipeline = Pipeline::builder()
        .route(route_by(|x: &u32| x % 3).on(0, |x: u32| x).on(2, |x: u32| x))
        .end_stage(|_: u32| {})
        .start()
        .unwrap();
    pipeline.put(3).unwrap();
    pipeline.put(4).unwrap();
    let failure = pipeline.setstop().unwrap_err();
    let told =
        "stage \"route\" failed in stage_run on sample 2: no way is for the key 1: there are [0, 2], and no otherwise";
    assert_eq!(failure.to_string(), told);
    assert!(failure.report().balances(), "{}", failure.report());
}

#[test]
fn a_key_given_twice_and_a_route_without_ways_are_refused() {
    let twice = Pipeline::builder()
        .end_route(route_by(parity).on("odd", |_: u32| {}).on("odd", |_: u32| {}))
        .start_without_waiting();
    assert!(matches!(twice, Err(StartError::Graph(GraphError::SameKeyTwice { .. }))), "{twice:?}");
    let none = Pipeline::<u32>::builder().end_route(route_by(parity)).start_without_waiting();
    assert!(matches!(none, Err(StartError::Graph(GraphError::NoWays))), "{none:?}");
}
