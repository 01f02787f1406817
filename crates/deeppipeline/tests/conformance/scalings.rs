//! Scalings: workers join a stage or leave it between two samples, and none is lost.

use crate::case::Does::{FinishGives, HoldUntilFinish, Identity};
use crate::case::{chain, stage};
use crate::cases::{check, simulate};
use deeppipeline::Overflow::Block;

#[test]
fn those_that_join_take_what_waits() {
    check(
        chain([stage("work", Identity, 100).max_workers(3), stage("end", Identity, 0)])
            .buffer_size(4)
            .overflow(Block)
            .puts(5, 1)
            .stop_at(1000)
            .scale_at(20, 0, 3),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5",
            "finished",
            "work: 5 entered, 5 taken, 5 used, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn a_live_stage_drops_less_from_the_moment_it_has_more_workers() {
    check(
        chain([stage("work", Identity, 30).max_workers(3), stage("end", Identity, 0)])
            .buffer_size(1)
            .puts(12, 10)
            .stop_at(1000)
            .scale_at(65, 0, 3),
        &[
            "values: 1=1 3=3 6=6 7=7 8=8 9=9 10=10 11=11 12=12",
            "finished",
            "work: 12 entered, 9 taken, 3 oldest, 9 used, 9 gave; dropped 2 4 5",
            "end: 9 entered, 9 taken, 9 used",
        ],
    );
}

#[test]
fn what_one_that_leaves_still_holds_goes_on_in_its_turn() {
    // Which of two workers has a sample, threads do not say beforehand.
    let run = simulate(
        chain([stage("work", FinishGives(2), 10).workers(2), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size(4)
            .puts(4, 0)
            .stop_at(200)
            .scale_at(15, 0, 1),
    );
    assert_eq!(
        run,
        [
            "values: 1=1 2=2 3=3 4=4 4.1=-1 4.2=-2 3.1=-1 3.2=-2",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
        ]
    );
}

#[test]
fn those_that_are_idle_leave_at_once_and_others_come_in_their_places() {
    check(
        chain([stage("work", Identity, 5).workers(3), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(3, 40)
            .stop_at(500)
            .scale_at(20, 0, 1)
            .scale_at(60, 0, 3)
            .scale_at(100, 0, 2),
        &[
            "values: 1=1 2=2 3=3",
            "finished",
            "work: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn a_scaling_beside_a_pause_a_flush_and_a_stop_loses_nothing_else() {
    check(
        chain([stage("work", Identity, 10).max_workers(2), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size(4)
            .puts(4, 30)
            .pause_at(5, Some(0))
            .scale_at(6, 0, 2)
            .resume_at(35, Some(0))
            .scale_at(55, 0, 1)
            .stop_at(200),
        &[
            "values: 1=1 2=2 3=3 4=4",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn all_workers_of_a_stage_finish_once_however_they_ended() {
    check(
        chain([stage("work", HoldUntilFinish, 1).max_workers(2), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(3, 10)
            .scale_at(50, 0, 2)
            .stop_at(100),
        &[
            "values: 3.1=1 3.2=2 3.3=3",
            "finished",
            "work: 3 entered, 3 taken, 3 skipped, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}
