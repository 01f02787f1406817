//! Parts of samples in a process: a death there never stalls the samples that they are of.

use crate::puppet::{At, Player, Puppet};
use crate::stages::{Values, end, ended, pipeline};
use deeppipeline::error::NoAnswer;
use deeppipeline::processes::OnCrash;
use deeppipeline::{Pipeline, isolated};

/// The results of the parts of a sample: `None` for one that is lost.
type Results = (i64, Vec<Option<i64>>);

/// Samples of two parts, 10·x + 1 and 10·x + 2, that go through a puppet in a process.
fn split(on_crash: OnCrash) -> (Player, Pipeline<i64>, Values<Results>) {
    let (player, (end, values)) = (Player::new(), end());
    let lost = |result: Result<i64, NoAnswer>| match result {
        Ok(x) => Some(x),
        Err(NoAnswer::Lost { .. }) => None,
        Err(other) => panic!("{other:?} is not expected here"),
    };
    let pipeline = pipeline()
        .buffer_size(4)
        .for_each(|x: i64| (x, vec![10 * x + 1, 10 * x + 2]), isolated::<Puppet>(player.strings()).on_crash(on_crash))
        .stage(move |(x, results): (i64, Vec<_>)| (x, results.into_iter().map(lost).collect::<Vec<_>>()))
        .end_stage(end)
        .start()
        .unwrap();
    (player, pipeline, values)
}

#[test]
fn a_part_that_is_lost_is_missing_and_its_sample_goes_on() {
    let (player, pipeline, values) = split(OnCrash::Skip);
    (1..=2).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    let mut first = player.next();
    first.lets(At::Run(11));
    first.kills(At::Run(12));
    let mut second = player.next();
    (21..=22).for_each(|x| second.lets(At::Run(x)));
    assert_eq!([values.next(), values.next()], [(1, vec![Some(11), None]), (2, vec![Some(21), Some(22)])]);
    let report = ended(pipeline);
    let counts = &report.joins[0].counts;
    assert_eq!((counts.entered, counts.joined, counts.unjoined), (4, 3, 1), "{report}");
}

#[test]
fn a_part_that_is_tried_again_is_in_its_place() {
    let (player, pipeline, values) = split(OnCrash::Retry);
    (1..=2).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    let mut first = player.next();
    first.lets(At::Run(11));
    first.kills(At::Run(12));
    let mut second = player.next();
    [12, 21, 22].into_iter().for_each(|x| second.lets(At::Run(x)));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [(1, vec![Some(11), Some(12)]), (2, vec![Some(21), Some(22)])]);
    assert_eq!(report.joins[0].counts.joined, 4, "{report}");
}

#[test]
fn a_process_that_is_not_started_again_stops_the_pipeline_behind_the_last_whole_sample() {
    let (player, pipeline, values) = split(OnCrash::Stop);
    (1..=3).for_each(|x| drop(pipeline.put(x)));
    let mut first = player.next();
    [11, 12, 21].into_iter().for_each(|x| first.lets(At::Run(x)));
    first.kills(At::Run(22));
    let error = pipeline.setstop().unwrap_err();
    assert_eq!(error.sample().map(|sample| (sample.number, sample.part)), Some((2, 2)));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [(1, vec![Some(11), Some(12)])]);
    let counts = &report.joins[0].counts;
    assert_eq!((counts.joined, counts.waiting), (2, 0), "{report}");
}
