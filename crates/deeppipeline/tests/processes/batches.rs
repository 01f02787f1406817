//! Batches in processes: a result and a fate for each sample, whoever dies.

use crate::stages::{end, ended, pipeline};
use deeppipeline::pipeline::current_worker;
use deeppipeline::processes::OnCrash;
use deeppipeline::{Batch, BoxError, Give, Isolated, OnError, Pipeline, Stage, isolated, retry};
use std::time::Duration;

/// Gives ten times each sample of a batch. It fails on a batch with 2 in it, and 4 has no result.
pub(crate) struct Tenfold;

impl Stage for Tenfold {
    type Input = Vec<i64>;
    type Output = Vec<Result<i64, String>>;

    fn stage_run(&mut self, batch: Vec<i64>) -> Result<Give<Self::Output>, BoxError> {
        if batch.contains(&2) {
            return Err("2 is in the batch".into());
        }
        Ok(Give::One(batch.iter().map(|x| if *x == 4 { Err("4 is bad".to_owned()) } else { Ok(10 * x) }).collect()))
    }
}

impl Isolated for Tenfold {
    const NAME: &str = "tenfold";
    type Settings = ();
    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Tenfold)
    }
}

/// Dies between two results of its first batch: on the way to that of 3, after so many parts of it.
pub(crate) struct DiesInBatch(i64);

impl Stage for DiesInBatch {
    type Input = Vec<i64>;
    type Output = Vec<Give<i64>>;

    fn stage_run(&mut self, batch: Vec<i64>) -> Result<Give<Self::Output>, BoxError> {
        let parts = self.0;
        let results = batch.into_iter().map(|x| match x {
            2 => Give::Skip,
            3 => Give::many((0..2).map(move |part| {
                if part == parts && !current_worker().is_some_and(|worker| worker.restarted()) {
                    std::process::abort();
                }
                10 * x + part
            })),
            _ => Give::One(x),
        });
        Ok(Give::One(results.collect()))
    }
}

impl Isolated for DiesInBatch {
    const NAME: &str = "dies in batch";
    type Settings = i64;
    fn make(parts: i64) -> Result<Self, BoxError> {
        Ok(DiesInBatch(parts))
    }
}

const COMPLETE: Duration = Duration::from_secs(3600);

#[test]
fn each_sample_of_a_batch_has_its_own_result_and_fails_alone() {
    let (end, values) = end::<i64>();
    let pipeline = pipeline()
        .buffer_size(6)
        .stage(isolated::<Tenfold>(()).intake(Batch::new(3).max_wait(COMPLETE)).on_error(OnError::Skip))
        .end_stage(end)
        .start()
        .unwrap();
    (1..=6).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [10, 30, 50, 60]);
    let counts = &report.stages[0].counts;
    assert_eq!((counts.used, counts.failed, counts.absorbed), (4, 2, 0));
}

#[test]
fn a_batch_in_a_process_is_tried_again_one_by_one_until_it_stops_the_pipeline() {
    let (end, values) = end::<i64>();
    let pipeline = pipeline()
        .buffer_size(6)
        .stage(isolated::<Tenfold>(()).intake(Batch::new(3).max_wait(COMPLETE)).on_error(retry(3)))
        .end_stage(end)
        .start()
        .unwrap();
    (1..=3).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    let error = pipeline.setstop().unwrap_err();
    assert_eq!(error.sample().map(|sample| sample.number), Some(2));
    assert_eq!(values.rest(), [10]);
    let counts = &error.report().stages[0].counts;
    assert_eq!((counts.used, counts.failed), (1, 2));
}

/// What comes out of a batch of four whose process dies at its third sample, and its fates: used, skipped and lost.
fn after_a_crash(on_crash: OnCrash, parts: i64) -> (Vec<i64>, [u64; 3]) {
    let (end, values) = end::<i64>();
    let pipeline = pipeline()
        .buffer_size(8)
        .stage(isolated::<DiesInBatch>(parts).intake(Batch::new(4).max_wait(COMPLETE)).on_crash(on_crash))
        .end_stage(end)
        .start()
        .unwrap();
    (1..=4).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    let report = ended(pipeline);
    let counts = &report.stages[0].counts;
    assert_eq!(report.stages[0].restarts, 1);
    (values.rest(), [counts.used, counts.skipped, counts.lost])
}

#[test]
fn what_of_a_batch_had_gone_on_when_its_process_died_is_used_and_the_rest_lost_or_tried_again() {
    assert_eq!(after_a_crash(OnCrash::Skip, 0), (vec![1], [1, 1, 2]));
    assert_eq!(after_a_crash(OnCrash::Retry, 0), (vec![1, 30, 31, 4], [3, 1, 0]));
    // A part of the third had gone on.
    assert_eq!(after_a_crash(OnCrash::Skip, 1), (vec![1, 30], [2, 1, 1]));
    assert_eq!(after_a_crash(OnCrash::Retry, 1), (vec![1, 30, 31, 4], [3, 1, 0]));
}

#[test]
fn a_batch_in_a_process_ends_a_pipeline_and_is_simulated() {
    let mut simulation =
        Pipeline::builder().buffer_size(4).end_stage(isolated::<Ends>(()).intake(Batch::new(2))).simulate().unwrap();
    for x in 1..=4 {
        simulation.put_at(Duration::ZERO, x);
    }
    assert_eq!(simulation.run().unwrap().stages[0].counts.used, 4);
    let pipeline = pipeline().buffer_size(4).end_stage(isolated::<Ends>(()).intake(Batch::new(2))).start().unwrap();
    (1..=4).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    assert_eq!(ended(pipeline).stages[0].counts.used, 4);
}

/// Gives nothing for each sample.
pub(crate) struct Ends;

impl Stage for Ends {
    type Input = Vec<i64>;
    type Output = Vec<()>;

    fn stage_run(&mut self, batch: Vec<i64>) -> Result<Give<Vec<()>>, BoxError> {
        Ok(Give::One(vec![(); batch.len()]))
    }
}

impl Isolated for Ends {
    const NAME: &str = "ends";
    type Settings = ();
    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Ends)
    }
}
