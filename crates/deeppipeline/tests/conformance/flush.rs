//! An exact cut: after a flush nothing that had entered before comes out, and nothing else is missing.

use crate::case::Does::{FailAtFirst, FinishGives, HoldUntilFinish, Identity, Many};
use crate::case::{chain, stage};
use crate::cases::check;
use deeppipeline::Overflow::Block;

#[test]
fn what_waits_leaves_and_what_enters_afterwards_is_untouched() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 30)]).buffer_size(4).puts(8, 5).flush_at(22),
        &[
            "values: 1=1 6=6 7=7 8=8",
            "finished",
            "work: 8 entered, 6 taken, 2 flushed, 6 used, 6 gave",
            "end: 6 entered, 4 taken, 2 flushed, 4 used",
        ],
    );
}

#[test]
fn a_window_starts_empty_after_a_flush() {
    check(
        chain([stage("sum", Identity, 1).window(3, 1), stage("end", Identity, 0)]).puts(8, 10).flush_at(15),
        &[
            "values: 5=12 6=15 7=18 8=21",
            "finished",
            "sum: 8 entered, 8 taken, 4 used, 2 absorbed, 2 flushed inside, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn a_list_has_samples_of_one_side_only() {
    check(
        chain([stage("sum", Identity, 1).all(), stage("end", Identity, 0)])
            .buffer_size([3, 2])
            .overflow(Block)
            .puts(8, 10)
            .flush_at(15),
        &[
            "values: 5=12 8=21",
            "finished",
            "sum: 8 entered, 6 taken, 2 flushed, 2 used, 4 absorbed, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn the_parts_that_are_still_to_be_given_of_many_are_not_asked_for() {
    check(
        chain([stage("many", Many(6), 10), stage("end", Identity, 20)])
            .buffer_size([4, 1])
            .overflow(Block)
            .puts(3, 1)
            .flush_at(35),
        &[
            "values: 1.1=11 1.2=12",
            "finished",
            "many: 3 entered, 1 taken, 2 flushed, 1 used, 4 gave",
            "end: 4 entered, 2 taken, 2 flushed, 2 used",
        ],
    );
}

#[test]
fn what_is_flushed_is_not_tried_again() {
    check(
        chain([stage("work", FailAtFirst { on: 1, times: 1 }, 10).retry(2), stage("end", Identity, 0)])
            .puts(3, 8)
            .flush_at(5),
        &[
            "values: 2=2 3=3",
            "finished",
            "work: 3 entered, 3 taken, 2 used, 1 flushed inside, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn results_that_wait_for_their_turn_leave_too() {
    check(
        chain([stage("work", Identity, 10).workers(2).but(1, 50), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(6, 10)
            .flush_at(35),
        &[
            "values: 5=5 6=6",
            "finished",
            "work: 6 entered, 6 taken, 6 used, 6 gave",
            "end: 6 entered, 2 taken, 4 flushed, 2 used",
        ],
    );
}

#[test]
fn what_the_branches_of_a_block_have_is_never_joined() {
    check(
        chain([stage("a", Identity, 5), stage("b", Identity, 20), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .buffer_size(4)
            .puts(5, 7)
            .flush_at(22),
        &[
            "values: 1=2 5=10",
            "finished",
            "parallel: 5 entered, 5 taken, 5 used, 10 gave",
            "a: 5 entered, 5 taken, 5 used, 5 gave",
            "b: 5 entered, 3 taken, 2 flushed, 3 used, 3 gave",
            "end: 2 entered, 2 taken, 2 used",
            "parallel: 5 entered, 2 joined, 3 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_flush_during_a_drain_is_a_flush_and_after_the_end_nothing() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)])
            .buffer_size(8)
            .puts(6, 1)
            .flush_at(25)
            .flush_at(500),
        &[
            "values: 1=1 2=2",
            "finished",
            "work: 6 entered, 3 taken, 3 flushed, 3 used, 3 gave",
            "end: 3 entered, 2 taken, 1 flushed, 2 used",
        ],
    );
}

#[test]
fn what_a_source_waits_with_for_room_has_not_entered() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)]).buffer_size(2).source(8, 1).flush_at(25),
        &[
            "values: 1=1 2=2 6=6 7=7 8=8",
            "finished",
            "work: 8 entered, 6 taken, 2 flushed, 6 used, 6 gave",
            "end: 6 entered, 5 taken, 1 flushed, 5 used",
        ],
    );
}

#[test]
fn what_finish_gives_is_as_old_as_the_last_sample() {
    check(
        chain([stage("hold", HoldUntilFinish, 1), stage("end", Identity, 0)]).puts(4, 10).flush_at(35).stop_at(60),
        &["values: ", "finished", "hold: 4 entered, 4 taken, 4 skipped, 1 gave", "end: 1 entered, 1 flushed"],
    );
    check(
        chain([stage("hold", HoldUntilFinish, 1), stage("end", Identity, 0)]).puts(4, 10).flush_at(25).stop_at(60),
        &[
            "values: 4.1=1 4.3=3 4.4=4",
            "finished",
            "hold: 4 entered, 4 taken, 4 skipped, 4 gave",
            "end: 4 entered, 3 taken, 1 oldest, 3 used; dropped 4.2",
        ],
    );
}

#[test]
fn what_finish_gives_of_no_sample_goes_on() {
    check(
        chain([stage("work", Identity, 10), stage("sum", FinishGives(1), 1), stage("end", Identity, 0)])
            .buffer_size(4)
            .puts(4, 1)
            .flush_at(5),
        &[
            "values: 0.1=-1",
            "finished",
            "work: 4 entered, 1 taken, 3 flushed, 1 used, 1 gave",
            "sum: 1 entered, 1 flushed, 1 gave",
            "end: 1 entered, 1 taken, 1 used",
        ],
    );
}
