//! Samples of which each goes one of several ways, and come out in order.

use crate::case::Does::{Double, FailOn, FinishGives, Identity, Many, SkipEven};
use crate::case::{chain, stage};
use crate::cases::{check, simulate};
use deeppipeline::Overflow::{Block, DropNewest, DropOldest};

#[test]
fn each_sample_goes_one_way_and_all_come_out_in_order() {
    check(
        chain([stage("odd", Identity, 25), stage("even", Double, 5), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .routed()
            .overflow(Block)
            .puts(8, 5),
        &[
            "values: 1=1 2=4 3=3 4=8 5=5 6=12 7=7 8=16",
            "finished",
            "route: 8 entered, 8 taken, 8 used, 8 gave",
            "odd: 4 entered, 4 taken, 4 used, 4 gave",
            "even: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 8 entered, 8 taken, 8 used",
            "route: 8 entered, 8 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_sample_that_ends_on_its_way_holds_up_nothing() {
    check(
        chain([
            stage("before", Identity, 1),
            stage("odd", FailOn(3), 30).skip_errors(),
            stage("even", SkipEven, 5),
            stage("even too", Identity, 5),
            stage("end", Identity, 0),
        ])
        .parallel(1, [1, 2])
        .routed()
        .overflow(Block)
        .puts(9, 5),
        &[
            "values: 1=1 5=5 7=7 9=9",
            "finished",
            "before: 9 entered, 9 taken, 9 used, 9 gave",
            "route: 9 entered, 9 taken, 9 used, 9 gave",
            "odd: 5 entered, 5 taken, 4 used, 1 failed, 4 gave",
            "even: 4 entered, 4 taken, 4 skipped",
            "even too: ",
            "end: 4 entered, 4 taken, 4 used",
            "route: 9 entered, 4 joined, 5 unjoined, 0 inside",
        ],
    );
}

#[test]
fn what_a_full_way_drops_holds_up_nothing() {
    check(
        chain([
            stage("odd", Identity, 45).overflow(DropOldest),
            stage("even", Identity, 30).overflow(DropNewest),
            // How many of a burst it drops is up to the machine.
            stage("end", Identity, 0).overflow(Block),
        ])
        .parallel(0, [1, 1])
        .routed()
        .buffer_size(1)
        // The route never waits: whether it hands out before a way takes would be up to the machine.
        .puts_at(&[0, 5, 10, 15, 20, 50, 55, 60]),
        &[
            "values: 1=1 2=2 4=4 5=5 6=6 7=7",
            "finished",
            "route: 8 entered, 8 taken, 8 used, 8 gave",
            "odd: 4 entered, 3 taken, 1 oldest, 3 used, 3 gave; dropped 3",
            "even: 4 entered, 3 taken, 1 newest, 3 used, 3 gave; dropped 8",
            "end: 6 entered, 6 taken, 6 used",
            "route: 8 entered, 6 joined, 2 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_slow_way_holds_up_no_more_than_fits_in_front_of_what_is_behind() {
    check(
        chain([stage("odd", Identity, 1).but(1, 200), stage("even", Identity, 1), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .routed()
            .overflow(Block)
            .buffer_size(1)
            .puts(14, 1),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8 9=9 10=10 11=11 12=12 13=13 14=14",
            "finished",
            "route: 14 entered, 14 taken, 14 used, 14 gave",
            "odd: 7 entered, 7 taken, 7 used, 7 gave",
            "even: 7 entered, 7 taken, 7 used, 7 gave",
            "end: 14 entered, 14 taken, 14 used",
            "route: 14 entered, 14 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn several_workers_on_a_way_keep_the_order() {
    check(
        chain([
            stage("odd", Identity, 30).but(3, 80).workers(3),
            stage("even", Identity, 20).workers(2),
            stage("end", Identity, 10),
            stage("after", Identity, 0),
        ])
        .parallel(0, [1, 1])
        .routed()
        .overflow(Block)
        .buffer_size(4)
        .puts(12, 5),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8 9=9 10=10 11=11 12=12",
            "finished",
            "route: 12 entered, 12 taken, 12 used, 12 gave",
            "odd: 6 entered, 6 taken, 6 used, 6 gave",
            "even: 6 entered, 6 taken, 6 used, 6 gave",
            "end: 12 entered, 12 taken, 12 used, 12 gave",
            "after: 12 entered, 12 taken, 12 used",
            "route: 12 entered, 12 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_stop_on_one_way_lets_out_what_came_before() {
    check(
        chain([stage("odd", FailOn(5), 10), stage("even", Identity, 25), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .routed()
            .overflow(Block)
            .puts(9, 2),
        &[
            "values: 1=1 2=2 3=3 4=4",
            "stage \"odd\" failed in stage_run on sample 5: 5 is bad",
            "failed",
            "route: 9 entered, 9 taken, 9 used, 9 gave",
            "odd: 5 entered, 3 taken, 2 discarded, 2 used, 1 failed, 2 gave",
            "even: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 6 entered, 4 taken, 2 discarded, 4 used",
            "route: 9 entered, 6 joined, 3 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_list_on_a_way_goes_on_in_the_turn_of_its_newest() {
    check(
        chain([stage("odd", Identity, 5).all(), stage("even", Identity, 5), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .routed()
            .overflow(Block)
            .puts(10, 10),
        &[
            "values: 2=2 3=4 4=4 6=6 7=12 8=8 9=9 10=10",
            "finished",
            "route: 10 entered, 10 taken, 10 used, 10 gave",
            "odd: 5 entered, 5 taken, 3 used, 2 absorbed, 3 gave",
            "even: 5 entered, 5 taken, 5 used, 5 gave",
            "end: 8 entered, 8 taken, 8 used",
            "route: 10 entered, 8 joined, 2 unjoined, 0 inside",
        ],
    );
}

#[test]
fn what_is_tried_again_keeps_its_turn() {
    check(
        chain([stage("odd", FailOn(3), 10).retry_then_skip(2), stage("even", Identity, 4), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .routed()
            .overflow(Block)
            .puts(6, 3),
        &[
            "values: 1=1 2=2 4=4 5=5 6=6",
            "finished",
            "route: 6 entered, 6 taken, 6 used, 6 gave",
            "odd: 3 entered, 3 taken, 2 used, 1 failed, 2 gave",
            "even: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 5 entered, 5 taken, 5 used",
            "route: 6 entered, 5 joined, 1 unjoined, 0 inside",
        ],
    );
}

#[test]
fn end_stages_may_stand_on_each_way() {
    check(
        chain([stage("before", Identity, 1), stage("odd", Identity, 10), stage("even", Identity, 25)])
            .parallel(1, [1, 1])
            .routed()
            .overflow(Block)
            .puts(5, 10),
        &[
            "values: 1=1 3=3 2=2 5=5 4=4",
            "finished",
            "before: 5 entered, 5 taken, 5 used, 5 gave",
            "route: 5 entered, 5 taken, 5 used, 5 gave",
            "odd: 3 entered, 3 taken, 3 used",
            "even: 2 entered, 2 taken, 2 used",
            "route: 0 entered, 0 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_way_gives_one_result_for_each_sample() {
    for does in [Many(2), FinishGives(1)] {
        let run = simulate(
            chain([stage("odd", does, 10), stage("even", Identity, 5), stage("end", Identity, 0)])
                .parallel(0, [1, 1])
                .routed()
                .puts(1, 20),
        );
        assert!(run[1].contains("inside a parallel block"), "{run:?}");
    }
}
