//! Pauses: a stage takes nothing until it is resumed, and the policies go on.

use crate::case::Does::{FailOn, Identity};
use crate::case::{chain, stage};
use crate::cases::{check, simulate};
use deeppipeline::Overflow::Block;

#[test]
fn a_file_misses_nothing_while_the_entrance_is_paused() {
    check(
        chain([stage("work", Identity, 2), stage("end", Identity, 0)])
            .source(8, 1)
            .pause_at(5, None)
            .resume_at(40, None),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8",
            "finished",
            "work: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
        ],
    );
}

#[test]
fn a_live_camera_is_read_while_the_entrance_is_paused_and_shows_the_newest() {
    check(
        chain([stage("work", Identity, 2), stage("end", Identity, 0)])
            .buffer_size(1)
            .live_source(8, 10)
            .pause_at(15, None)
            .resume_at(65, None),
        &[
            "values: 1=1 6=6 7=7 8=8",
            "finished",
            "work: 8 entered, 4 taken, 4 oldest, 4 used, 4 gave; dropped 2 3 4 5",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn what_waited_too_long_in_a_pause_is_too_old() {
    let run = simulate(
        chain([stage("work", Identity, 1).max_age(20), stage("end", Identity, 0)])
            .buffer_size(8)
            .puts(5, 10)
            .stop_at(60)
            .pause_at(5, None)
            .resume_at(45, None),
    );
    assert_eq!(
        run,
        [
            "values: 1=1 4=4 5=5",
            "finished",
            "work: 5 entered, 3 taken, 2 expired, 3 used, 3 gave; dropped 2 3",
            "end: 3 entered, 3 taken, 3 used",
        ]
    );
}

#[test]
fn a_sample_in_work_is_finished_and_what_is_behind_the_stage_goes_on() {
    check(
        chain([stage("first", Identity, 1), stage("work", Identity, 10), stage("end", Identity, 5)])
            .overflow(Block)
            .puts(4, 1)
            .stop_at(100)
            .pause_at(5, Some(1))
            .resume_at(50, Some(1)),
        &[
            "values: 1=1 2=2 3=3 4=4",
            "finished",
            "first: 4 entered, 4 taken, 4 used, 4 gave",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn a_stop_ends_every_pause() {
    check(
        chain([stage("work", Identity, 1), stage("end", Identity, 0)])
            .puts(4, 1)
            .stop_at(20)
            .pause_at(2, None)
            .pause_at(3, None)
            .pause_at(4, Some(1)),
        &[
            "values: 1=1 2=2 3=3 4=4",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn a_failure_ends_the_pause_of_what_is_behind_it() {
    check(
        chain([stage("work", FailOn(3), 1), stage("end", Identity, 0)]).puts(5, 2).stop_at(50).pause_at(1, Some(1)),
        &[
            "values: 1=1 2=2",
            "stage \"work\" failed in stage_run on sample 3: 3 is bad",
            "failed",
            "work: 3 entered, 3 taken, 2 used, 1 failed, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn every_branch_at_the_entrance_is_paused() {
    check(
        chain([stage("a", Identity, 1), stage("b", Identity, 1), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .overflow(Block)
            .puts(3, 1)
            .stop_at(60)
            .pause_at(0, None)
            .resume_at(30, None),
        &[
            "values: 1=2 2=4 3=6",
            "finished",
            "parallel: 3 entered, 3 taken, 3 used, 6 gave",
            "a: 3 entered, 3 taken, 3 used, 3 gave",
            "b: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
            "parallel: 3 entered, 3 joined, 0 unjoined, 0 inside",
        ],
    );
}
