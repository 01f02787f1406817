//! Batches: whatever is there once the first sample has waited.

use crate::case::Does::Identity;
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
