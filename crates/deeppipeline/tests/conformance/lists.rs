//! Lists: batches, of whatever is there once the first sample has waited, and windows of the last samples.

use crate::case::Does::{FailOn, Identity, SkipEven};
use crate::case::{chain, stage};
use crate::cases::{check, simulate};
use deeppipeline::Overflow::Block;

#[test]
fn a_batch_takes_what_is_there_when_its_time_is_up() {
    // 1 waits 25 ms, and 2 and 3 come meanwhile; then 4, 5 and 6 likewise.
    let run = simulate(
        chain([stage("sum", Identity, 1).batch(8, 25), stage("end", Identity, 0)]).buffer_size([8, 2]).puts(7, 10),
    );
    assert_eq!(
        run,
        [
            "values: 3=6 6=15 7=7",
            "finished",
            "sum: 7 entered, 7 taken, 3 used, 4 absorbed, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ]
    );
}

#[test]
fn a_batch_that_is_complete_does_not_wait() {
    check(
        chain([stage("sum", Identity, 1).batch(3, 3_600_000), stage("end", Identity, 0)])
            .buffer_size([4, 2])
            .puts(8, 10),
        &[
            "values: 3=6 6=15 8=15",
            "finished",
            "sum: 8 entered, 8 taken, 3 used, 5 absorbed, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn a_batch_without_patience_takes_what_has_come_while_the_stage_was_busy() {
    check(
        chain([stage("sum", Identity, 25).batch(4, 0), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size([4, 2])
            .puts(8, 10),
        &[
            "values: 1=1 3=5 5=9 8=21",
            "finished",
            "sum: 8 entered, 8 taken, 4 used, 4 absorbed, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn batches_of_several_workers_keep_their_order() {
    check(
        chain([stage("sum", Identity, 25).but(2, 60).batch(2, 3_600_000).workers(2), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size([4, 2])
            .puts(9, 5),
        &[
            "values: 2=3 4=7 6=11 8=15 9=9",
            "finished",
            "sum: 9 entered, 9 taken, 5 used, 4 absorbed, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn a_window_has_the_last_samples_and_moves_with_each() {
    check(
        chain([stage("sum", Identity, 5).window(3, 1), stage("end", Identity, 0)]).puts(6, 10),
        &[
            "values: 3=6 4=9 5=12 6=15",
            "finished",
            "sum: 6 entered, 6 taken, 4 used, 2 absorbed, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn a_window_moves_by_its_stride_and_skips_what_is_in_no_list() {
    // 7 and 8 are in no list: the next would have come with 9.
    check(
        chain([stage("sum", Identity, 5).window(3, 3), stage("end", Identity, 0)]).puts(8, 10),
        &[
            "values: 3=6 6=15",
            "finished",
            "sum: 8 entered, 8 taken, 2 used, 4 absorbed, 2 skipped, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
    // 3 and 6 are between two lists.
    check(
        chain([stage("sum", Identity, 5).window(2, 3), stage("end", Identity, 0)]).puts(8, 10),
        &[
            "values: 2=3 5=9 8=15",
            "finished",
            "sum: 8 entered, 8 taken, 3 used, 3 absorbed, 2 skipped, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn a_window_is_kept_for_each_key() {
    check(
        chain([stage("sum", Identity, 5).window(2, 1).keys(3), stage("end", Identity, 0)]).puts(8, 10),
        &[
            "values: 4=5 5=7 6=9 7=11 8=13",
            "finished",
            "sum: 8 entered, 8 taken, 5 used, 3 absorbed, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
    // With two samples between, each key is forgotten before it comes again.
    check(
        chain([stage("sum", Identity, 5).window(2, 1).keys(3).idle(2), stage("end", Identity, 0)]).puts(8, 10),
        &["values: ", "finished", "sum: 8 entered, 8 taken, 8 skipped", "end: "],
    );
}

#[test]
fn what_a_list_fails_on_is_counted_once() {
    // 2 and 3 have the sum 5, and were in lists with 1 and 2 before: only 3 is new.
    check(
        chain([stage("sum", FailOn(5), 5).window(2, 1).skip_errors(), stage("end", Identity, 0)]).puts(5, 10),
        &[
            "values: 2=3 4=7 5=9",
            "finished",
            "sum: 5 entered, 5 taken, 3 used, 1 absorbed, 1 failed, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
    check(
        chain([stage("sum", SkipEven, 5).window(3, 3), stage("end", Identity, 0)]).puts(6, 10),
        &[
            "values: 6=15",
            "finished",
            "sum: 6 entered, 6 taken, 1 used, 2 absorbed, 3 skipped, 1 gave",
            "end: 1 entered, 1 taken, 1 used",
        ],
    );
    check(
        chain([stage("sum", FailOn(9), 5).window(3, 1), stage("end", Identity, 0)]).puts(6, 10),
        &[
            "values: 3=6",
            "stage \"sum\" failed in stage_run on sample 4: 9 is bad",
            "failed",
            "sum: 4 entered, 4 taken, 1 used, 2 absorbed, 1 failed, 1 gave",
            "end: 1 entered, 1 taken, 1 used",
        ],
    );
}

#[test]
fn what_a_window_holds_when_the_pipeline_fails_elsewhere_is_skipped() {
    check(
        chain([stage("sum", Identity, 5).window(4, 4), stage("end", FailOn(10), 15)]).puts(7, 10),
        &[
            "values: 4=10",
            "stage \"end\" failed in stage_run on sample 4: 10 is bad",
            "failed",
            "sum: 5 entered, 5 taken, 1 used, 3 absorbed, 1 skipped, 1 gave",
            "end: 1 entered, 1 taken, 1 failed",
        ],
    );
}
