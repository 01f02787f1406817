//! Another try after an error.

use crate::case::Does::{BreakAtFirst, FailAtFirst, FailOn, Identity};
use crate::case::{chain, stage};
use crate::cases::check;
use deeppipeline::Overflow::Block;

#[test]
fn a_stage_is_run_again_on_a_sample_on_which_it_fails() {
    check(
        chain([stage("work", FailAtFirst { on: 2, times: 2 }, 10).retry(2), stage("end", Identity, 0)]).puts(4, 15),
        &[
            "values: 1=1 2=2 3=3 4=4",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn one_that_fails_every_time_stops_the_pipeline_or_is_skipped() {
    check(
        chain([stage("work", FailOn(2), 10).retry(2), stage("end", Identity, 0)]).overflow(Block).puts(4, 15),
        &[
            "values: 1=1",
            "stage \"work\" failed in stage_run on sample 2: 2 is bad",
            "failed",
            "work: 3 entered, 2 taken, 1 discarded, 1 used, 1 failed, 1 gave",
            "end: 1 entered, 1 taken, 1 used",
        ],
    );
    check(
        chain([stage("work", FailOn(2), 10).retry_then_skip(2), stage("end", Identity, 0)]).overflow(Block).puts(4, 15),
        &[
            "values: 1=1 3=3 4=4",
            "finished",
            "work: 4 entered, 4 taken, 3 used, 1 failed, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn parts_that_went_on_before_it_failed_are_left_out() {
    check(
        chain([stage("work", BreakAtFirst { on: 1, times: 2 }, 10).retry(2), stage("end", Identity, 0)])
            .buffer_size(8)
            .puts(2, 50),
        &[
            "values: 1.1=11 1.2=12 1.3=13 1.4=14 2.1=21 2.2=22 2.3=23 2.4=24",
            "finished",
            "work: 2 entered, 2 taken, 2 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
        ],
    );
}

#[test]
fn others_wait_for_one_of_several_workers_that_tries_again() {
    check(
        chain([stage("work", FailAtFirst { on: 1, times: 3 }, 10).retry(3).workers(2), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size([2, 8])
            .puts(5, 0),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5",
            "finished",
            "work: 5 entered, 5 taken, 5 used, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn lists_are_tried_again_as_they_were() {
    check(
        chain([stage("sum", FailAtFirst { on: 7, times: 1 }, 10).all().retry(1), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(4, 0),
        &[
            "values: 2=3 4=7",
            "finished",
            "sum: 4 entered, 4 taken, 2 used, 2 absorbed, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
    check(
        chain([stage("sum", FailAtFirst { on: 5, times: 1 }, 10).window(2, 1).retry(1), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(4, 0),
        &[
            "values: 2=3 3=5 4=7",
            "finished",
            "sum: 4 entered, 4 taken, 3 used, 1 absorbed, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}
