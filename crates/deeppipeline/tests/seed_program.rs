//! The documented example: ten samples, three stages of 0.5 s, a put every 0.3 s, buffers of two.

use deeppipeline::report::SampleId;
use deeppipeline::{Pipeline, stage};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn prints_eight_samples_in_order_and_reports_the_two_that_were_dropped() {
    let printed = Arc::new(Mutex::new(Vec::new()));
    let print = Arc::clone(&printed);
    let append = |stage: &'static str| {
        move |mut x: Vec<String>| {
            x.push(stage.to_owned());
            x
        }
    };
    let mut simulation = Pipeline::builder()
        .buffer_size(2)
        .stage(stage(append("stage one")).name("one"))
        .stage(stage(append("stage two")).name("two"))
        .stage(stage(append("stage three")).name("three"))
        .end_stage(move |x: Vec<String>| print.lock().unwrap().push(x))
        .simulate()
        .unwrap();
    simulation.up_after(ms(130));
    for stage in ["one", "two", "three"] {
        simulation.takes(stage, ms(500)).unwrap();
    }
    for i in 1..=10 {
        simulation.put_at(ms(300) * (i - 1), vec![format!("Pipeline: {i}")]);
    }
    let report = simulation.setstop_at(ms(3000)).run().unwrap();

    let expected = [1, 2, 3, 5, 7, 8, 9, 10]
        .map(|i| vec![format!("Pipeline: {i}"), "stage one".into(), "stage two".into(), "stage three".into()]);
    assert_eq!(*printed.lock().unwrap(), expected);
    let dropped: Vec<SampleId> = report.stages[0].buffer.last_dropped.iter().copied().collect();
    assert_eq!(dropped, [4, 6].map(|number| SampleId { number, part: 0 }));
    assert_eq!(report.dropped(), 2);
    assert!(report.balances(), "{report}");
}
