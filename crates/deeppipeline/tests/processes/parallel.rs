//! Branches of a parallel block in processes of their own: a death in one of them never stalls the join.

use crate::puppet::{At, Player, Puppet};
use crate::stages::{Double, Values, end, ended, pipeline};
use deeppipeline::processes::OnCrash;
use deeppipeline::{Pipeline, isolated};

/// A block of a puppet and of a stage that doubles, each in a process.
fn block(on_crash: OnCrash) -> (Player, Pipeline<i64>, Values<(i64, i64)>) {
    let (player, (end, values)) = (Player::new(), end());
    let settings = player.strings();
    let pipeline = pipeline()
        .buffer_size(4)
        .parallel((isolated::<Puppet>(settings).on_crash(on_crash), isolated::<Double>(())))
        .end_stage(end)
        .start()
        .unwrap();
    (player, pipeline, values)
}

#[test]
fn a_sample_that_a_branch_loses_is_unjoined_and_the_others_go_on() {
    let (player, pipeline, values) = block(OnCrash::Skip);
    (1..=4).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    let mut first = player.next();
    first.lets(At::Run(1));
    first.kills(At::Run(2));
    let mut second = player.next();
    (3..=4).for_each(|x| second.lets(At::Run(x)));
    assert_eq!([values.next(), values.next(), values.next()], [(1, 2), (3, 6), (4, 8)]);
    let report = ended(pipeline);
    let counts = &report.joins[0].counts;
    assert_eq!((counts.entered, counts.joined, counts.unjoined), (4, 3, 1), "{report}");
    assert_eq!(report.stages[1].counts.lost, 1, "{report}");
}

#[test]
fn a_sample_that_is_tried_again_is_joined_in_its_place() {
    let (player, pipeline, values) = block(OnCrash::Retry);
    (1..=4).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    let mut first = player.next();
    first.lets(At::Run(1));
    first.kills(At::Run(2));
    let mut second = player.next();
    (2..=4).for_each(|x| second.lets(At::Run(x)));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [(1, 2), (2, 4), (3, 6), (4, 8)]);
    let counts = &report.joins[0].counts;
    assert_eq!((counts.entered, counts.joined, counts.unjoined), (4, 4, 0), "{report}");
}

#[test]
fn a_branch_whose_process_is_not_started_again_stops_the_pipeline() {
    let (player, pipeline, values) = block(OnCrash::Stop);
    (1..=4).for_each(|x| drop(pipeline.put(x)));
    let mut first = player.next();
    first.lets(At::Run(1));
    first.kills(At::Run(2));
    let error = pipeline.setstop().unwrap_err();
    assert_eq!(error.sample().map(|sample| sample.number), Some(2));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [(1, 2)]);
    let counts = &report.joins[0].counts;
    assert_eq!((counts.joined, counts.waiting), (1, 0), "{report}");
}
