//! Parallel blocks, and what their join makes of what the branches end.

use crate::case::Does::{Double, FailOn, FinishGives, HoldUntilFinish, Identity, Many, SkipEven};
use crate::case::{chain, stage};
use crate::cases::{check, simulate};
use deeppipeline::Overflow::{Block, DropNewest, DropOldest};

#[test]
fn both_branches_get_every_sample_and_the_next_stage_gets_both_results() {
    check(
        chain([stage("a", Identity, 10), stage("b", Double, 5), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .puts(4, 20),
        &[
            "values: 1=3 2=6 3=9 4=12",
            "finished",
            "parallel: 4 entered, 4 taken, 4 used, 8 gave",
            "a: 4 entered, 4 taken, 4 used, 4 gave",
            "b: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
            "parallel: 4 entered, 4 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_branch_that_skips_or_fails_holds_up_nothing() {
    check(
        chain([
            stage("before", Identity, 2),
            stage("a", SkipEven, 10),
            stage("b", FailOn(3), 5).skip_errors(),
            stage("end", Identity, 0),
        ])
        .parallel(1, [1, 1])
        .puts(7, 20),
        &[
            "values: 1=2 5=10 7=14",
            "finished",
            "before: 7 entered, 7 taken, 7 used, 7 gave",
            "parallel: 7 entered, 7 taken, 7 used, 14 gave",
            "a: 7 entered, 7 taken, 4 used, 3 skipped, 4 gave",
            "b: 7 entered, 7 taken, 6 used, 1 failed, 6 gave",
            "end: 3 entered, 3 taken, 3 used",
            "parallel: 7 entered, 3 joined, 4 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_branch_that_drops_holds_up_nothing() {
    check(
        chain([stage("a", Identity, 35), stage("b", Identity, 1), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .puts(8, 10),
        &[
            "values: 1=2 3=6 6=12 7=14 8=16",
            "finished",
            "parallel: 8 entered, 8 taken, 8 used, 16 gave",
            "a: 8 entered, 5 taken, 3 oldest, 5 used, 5 gave; dropped 2 4 5",
            "b: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 5 entered, 5 taken, 5 used",
            "parallel: 8 entered, 5 joined, 3 unjoined, 0 inside",
        ],
    );
    check(
        chain([
            stage("a", Identity, 35).overflow(DropNewest),
            stage("b", Identity, 1).latest(),
            stage("end", Identity, 0),
        ])
        .parallel(0, [1, 1])
        .puts(8, 10),
        &[
            "values: 1=2 2=4 3=6 5=10 8=16",
            "finished",
            "parallel: 8 entered, 8 taken, 8 used, 16 gave",
            "a: 8 entered, 5 taken, 3 newest, 5 used, 5 gave; dropped 4 6 7",
            "b: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 5 entered, 5 taken, 5 used",
            "parallel: 8 entered, 5 joined, 3 unjoined, 0 inside",
        ],
    );
}

#[test]
fn block_with_all_in_one_branch_does_not_deadlock() {
    check(
        chain([stage("sum", Identity, 5).all(), stage("b", Identity, 1), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .overflow(Block)
            .buffer_size([4, 1, 1])
            .puts(9, 0),
        &[
            "values: 4=14 8=34 9=18",
            "finished",
            "parallel: 9 entered, 9 taken, 9 used, 18 gave",
            "sum: 9 entered, 9 taken, 3 used, 6 absorbed, 3 gave",
            "b: 9 entered, 9 taken, 9 used, 9 gave",
            "end: 3 entered, 3 taken, 3 used",
            "parallel: 9 entered, 3 joined, 6 unjoined, 0 inside",
        ],
    );
}

#[test]
fn block_keeps_up_with_the_slower_branch_and_loses_nothing() {
    check(
        chain([
            stage("a", Identity, 20),
            stage("a2", Double, 30),
            stage("b", Identity, 5),
            stage("end", Identity, 10),
            stage("after", Identity, 0),
        ])
        .parallel(0, [2, 1])
        .overflow(Block)
        .buffer_size(1)
        .puts(8, 5),
        &[
            "values: 1=3 2=6 3=9 4=12 5=15 6=18 7=21 8=24",
            "finished",
            "parallel: 8 entered, 8 taken, 8 used, 16 gave",
            "a: 8 entered, 8 taken, 8 used, 8 gave",
            "a2: 8 entered, 8 taken, 8 used, 8 gave",
            "b: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used, 8 gave",
            "after: 8 entered, 8 taken, 8 used",
            "parallel: 8 entered, 8 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_slow_stage_behind_the_join_holds_up_both_branches_under_block() {
    check(
        chain([stage("a", Identity, 1), stage("b", Identity, 2), stage("end", Identity, 30)])
            .parallel(0, [1, 1])
            .overflow(Block)
            .buffer_size(1)
            .puts(9, 1),
        &[
            "values: 1=2 2=4 3=6 4=8 5=10 6=12 7=14 8=16 9=18",
            "finished",
            "parallel: 9 entered, 9 taken, 9 used, 18 gave",
            "a: 9 entered, 9 taken, 9 used, 9 gave",
            "b: 9 entered, 9 taken, 9 used, 9 gave",
            "end: 9 entered, 9 taken, 9 used",
            "parallel: 9 entered, 9 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_stop_in_a_branch_lets_out_what_both_had_done() {
    check(
        chain([stage("a", FailOn(3), 10), stage("b", Identity, 25), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .overflow(Block)
            .puts(6, 10),
        &[
            "values: 1=2 2=4",
            "stage \"a\" failed in stage_run on sample 3: 3 is bad",
            "failed",
            "parallel: 3 entered, 3 taken, 3 used, 6 gave",
            "a: 3 entered, 3 taken, 2 used, 1 failed, 2 gave",
            "b: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 2 entered, 2 taken, 2 used",
            "parallel: 3 entered, 2 joined, 1 unjoined, 0 inside",
        ],
    );
}

#[test]
fn only_one_result_of_each_branch_can_be_joined() {
    for does in [Many(2), FinishGives(1)] {
        let run = simulate(
            chain([stage("a", does, 10), stage("b", Identity, 5), stage("end", Identity, 0)])
                .parallel(0, [1, 1])
                .puts(1, 20),
        );
        assert!(run[1].contains("inside a parallel block"), "{run:?}");
    }
}

#[test]
fn several_workers_in_a_branch_keep_the_order_of_what_is_joined() {
    check(
        chain([stage("a", Identity, 30).but(2, 70).workers(3), stage("b", Identity, 5), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .overflow(Block)
            .buffer_size(8)
            .puts(7, 10),
        &[
            "values: 1=2 2=4 3=6 4=8 5=10 6=12 7=14",
            "finished",
            "parallel: 7 entered, 7 taken, 7 used, 14 gave",
            "a: 7 entered, 7 taken, 7 used, 7 gave",
            "b: 7 entered, 7 taken, 7 used, 7 gave",
            "end: 7 entered, 7 taken, 7 used",
            "parallel: 7 entered, 7 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn what_several_workers_have_split_is_joined_with_itself() {
    check(
        chain([
            stage("two", Many(2), 0),
            stage("more", Many(2), 10).but(1, 35).workers(3),
            stage("a", Identity, 5),
            stage("b", Double, 3),
            stage("end", Identity, 0),
        ])
        .parallel(2, [1, 1])
        .overflow(Block)
        .buffer_size(8)
        .puts(2, 0),
        &[
            "values: 1.1=333 1.2=336 1.3=363 1.4=366 2.1=633 2.2=636 2.3=663 2.4=666",
            "finished",
            "two: 2 entered, 2 taken, 2 used, 4 gave",
            "more: 4 entered, 4 taken, 4 used, 8 gave",
            "parallel: 8 entered, 8 taken, 8 used, 16 gave",
            "a: 8 entered, 8 taken, 8 used, 8 gave",
            "b: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
            "parallel: 8 entered, 8 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn end_stages_may_stand_in_parallel() {
    check(
        chain([stage("before", Identity, 1), stage("show", Identity, 10), stage("save", Identity, 25).overflow(Block)])
            .parallel(1, [1, 1])
            .overflow(DropOldest)
            .puts(5, 10),
        &[
            "values: 1=1 2=2 1=1 3=3 4=4 2=2 5=5 3=3 4=4 5=5",
            "finished",
            "before: 5 entered, 5 taken, 5 used, 5 gave",
            "parallel: 5 entered, 5 taken, 5 used, 10 gave",
            "show: 5 entered, 5 taken, 5 used",
            "save: 5 entered, 5 taken, 5 used",
            "parallel: 0 entered, 0 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn the_first_branch_goes_on_at_once_with_the_newest_of_the_second() {
    check(
        chain([stage("frames", Identity, 1), stage("detect", Many(1), 25), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .with_latest()
            .buffer_size(1)
            .puts(8, 10),
        &[
            "values: 1=1 2=2 3=3 4=15 5=16 6=37 7=38 8=39",
            "finished",
            "parallel: 8 entered, 8 taken, 8 used, 16 gave",
            "frames: 8 entered, 8 taken, 8 used, 8 gave",
            "detect: 8 entered, 4 taken, 4 oldest, 4 used, 4 gave; dropped 2 4 6 7",
            "end: 8 entered, 8 taken, 8 used",
            "parallel: 8 entered, 8 joined, 0 unjoined, 0 inside, 4 renewed",
        ],
    );
}

#[test]
fn a_slow_branch_beside_the_first_drops_what_it_has_no_time_for_also_where_the_pipeline_blocks() {
    check(
        chain([
            stage("before", Identity, 0),
            stage("frames", Identity, 2),
            stage("detect", Double, 30),
            stage("end", Identity, 0),
        ])
        .parallel(1, [1, 1])
        .with_latest()
        .overflow(Block)
        .puts(6, 10),
        &[
            "values: 1=1 2=2 3=3 4=6 5=7 6=8",
            "finished",
            "before: 6 entered, 6 taken, 6 used, 6 gave",
            "parallel: 6 entered, 6 taken, 6 used, 12 gave",
            "frames: 6 entered, 6 taken, 6 used, 6 gave",
            "detect: 6 entered, 4 taken, 2 oldest, 4 used, 4 gave; dropped 3 4",
            "end: 6 entered, 6 taken, 6 used",
            "parallel: 6 entered, 6 joined, 0 unjoined, 0 inside, 4 renewed",
        ],
    );
}

#[test]
fn a_branch_beside_the_first_that_is_told_to_wait_holds_up_the_block() {
    check(
        chain([stage("frames", Identity, 1), stage("detect", Double, 20).overflow(Block), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .with_latest()
            .overflow(Block)
            .buffer_size(1)
            .puts(6, 1),
        &[
            "values: 1=1 2=2 3=3 4=6 5=9 6=12",
            "finished",
            "parallel: 6 entered, 6 taken, 6 used, 12 gave",
            "frames: 6 entered, 6 taken, 6 used, 6 gave",
            "detect: 6 entered, 6 taken, 6 used, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
            "parallel: 6 entered, 6 joined, 0 unjoined, 0 inside, 6 renewed",
        ],
    );
}

#[test]
fn what_either_branch_skips_or_fails_on_holds_up_nothing_with_the_latest() {
    check(
        chain([stage("frames", SkipEven, 1), stage("detect", FailOn(3), 1).skip_errors(), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .with_latest()
            .puts(5, 10),
        &[
            "values: 1=2 3=5 5=10",
            "finished",
            "parallel: 5 entered, 5 taken, 5 used, 10 gave",
            "frames: 5 entered, 5 taken, 3 used, 2 skipped, 3 gave",
            "detect: 5 entered, 5 taken, 4 used, 1 failed, 4 gave",
            "end: 3 entered, 3 taken, 3 used",
            "parallel: 3 entered, 3 joined, 0 unjoined, 0 inside, 4 renewed",
        ],
    );
}

#[test]
fn parts_go_on_with_the_latest_and_so_does_what_finish_gives() {
    check(
        chain([
            stage("frames", Many(2), 1),
            stage("detect", HoldUntilFinish, 1),
            stage("end", FinishGives(1), 0),
            stage("after", Identity, 0),
        ])
        .parallel(0, [1, 1])
        .with_latest()
        .puts(2, 10),
        &[
            "values: 1.1=11 1.2=12 2.1=23 2.2=24 2.3=-1",
            "finished",
            "parallel: 2 entered, 2 taken, 2 used, 4 gave",
            "frames: 2 entered, 2 taken, 2 used, 4 gave",
            "detect: 2 entered, 2 taken, 2 skipped, 2 gave",
            "end: 4 entered, 4 taken, 4 used, 5 gave",
            "after: 5 entered, 5 taken, 5 used",
            "parallel: 4 entered, 4 joined, 0 unjoined, 0 inside, 2 renewed",
        ],
    );
}

#[test]
fn several_workers_in_either_branch_go_on_with_the_latest_in_order() {
    check(
        chain([
            stage("frames", Identity, 20).but(2, 45).workers(3),
            stage("detect", Double, 25).workers(2).overflow(Block),
            stage("end", Identity, 0),
        ])
        .parallel(0, [1, 1])
        .with_latest()
        .overflow(Block)
        .buffer_size(8)
        .puts(6, 10),
        &[
            "values: 1=1 2=8 3=9 4=10 5=13 6=14",
            "finished",
            "parallel: 6 entered, 6 taken, 6 used, 12 gave",
            "frames: 6 entered, 6 taken, 6 used, 6 gave",
            "detect: 6 entered, 6 taken, 6 used, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
            "parallel: 6 entered, 6 joined, 0 unjoined, 0 inside, 6 renewed",
        ],
    );
}

#[test]
fn a_stop_in_the_branch_beside_ends_both() {
    check(
        chain([stage("frames", Identity, 1), stage("detect", FailOn(2), 15), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .with_latest()
            .overflow(Block)
            .puts(6, 10),
        &[
            "values: 1=1 2=2 3=4",
            "stage \"detect\" failed in stage_run on sample 2: 2 is bad",
            "failed",
            "parallel: 3 entered, 3 taken, 3 used, 6 gave",
            "frames: 3 entered, 3 taken, 3 used, 3 gave",
            "detect: 3 entered, 2 taken, 1 discarded, 1 used, 1 failed, 1 gave",
            "end: 3 entered, 3 taken, 3 used",
            "parallel: 3 entered, 3 joined, 0 unjoined, 0 inside, 1 renewed",
        ],
    );
}
