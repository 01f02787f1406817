//! Lists: batches, of whatever is there once the first sample has waited, and windows of the last samples.

use crate::case::Does::{Double, FailAtFirst, FailOn, FailWith, Identity, Many, OneTooFew, PanicOn, SkipEven};
use crate::case::{Case, StageSpec, chain, stage};
use crate::cases::{check, simulate};
use deeppipeline::Overflow::Block;

#[test]
fn a_batch_takes_what_is_there_when_its_time_is_up() {
    // 1 waits 25 ms, and 2 and 3 come meanwhile; then 4, 5 and 6 likewise.
    let run = simulate(
        chain([stage("sum", Identity, 1).batch(8, 25).fold(), stage("end", Identity, 0)])
            .buffer_size([8, 2])
            .puts(7, 10),
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
        chain([stage("sum", Identity, 1).batch(3, 3_600_000).fold(), stage("end", Identity, 0)])
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
        chain([stage("sum", Identity, 25).batch(4, 0).fold(), stage("end", Identity, 0)])
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
        chain([stage("sum", Identity, 25).but(2, 60).batch(2, 3_600_000).fold().workers(2), stage("end", Identity, 0)])
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

/// Puts of 1 to 6, and batches of three.
fn batches(work: StageSpec) -> Case {
    chain([work.batch(3, 3_600_000), stage("end", Identity, 0)]).overflow(Block).buffer_size([6, 8]).puts(6, 0)
}

#[test]
fn a_batch_gives_each_sample_its_own_result() {
    check(
        batches(stage("work", Double, 10)),
        &[
            "values: 1=2 2=4 3=6 4=8 5=10 6=12",
            "finished",
            "work: 6 entered, 6 taken, 6 used, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
        ],
    );
}

#[test]
fn a_sample_of_a_batch_may_be_skipped_or_many() {
    check(
        batches(stage("work", SkipEven, 10)),
        &[
            "values: 1=1 3=3 5=5",
            "finished",
            "work: 6 entered, 6 taken, 3 used, 3 skipped, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
    check(
        batches(stage("work", Many(2), 10)).buffer_size([6, 16]),
        &[
            "values: 1.1=11 1.2=12 2.1=21 2.2=22 3.1=31 3.2=32 4.1=41 4.2=42 5.1=51 5.2=52 6.1=61 6.2=62",
            "finished",
            "work: 6 entered, 6 taken, 6 used, 12 gave",
            "end: 12 entered, 12 taken, 12 used",
        ],
    );
}

#[test]
fn one_bad_result_of_a_batch_fails_alone() {
    check(
        batches(stage("work", FailOn(2), 10).skip_errors()),
        &[
            "values: 1=1 3=3 4=4 5=5 6=6",
            "finished",
            "work: 6 entered, 6 taken, 5 used, 1 failed, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
    // What came of the samples behind it does not go on where it stops the pipeline.
    check(
        batches(stage("work", FailOn(2), 10)),
        &[
            "values: 1=1",
            "stage \"work\" failed in stage_run on sample 2: 2 is bad",
            "failed",
            "work: 6 entered, 3 taken, 3 discarded, 1 used, 2 failed, 1 gave",
            "end: 1 entered, 1 taken, 1 used",
        ],
    );
    check(
        batches(stage("work", FailAtFirst { on: 2, times: 2 }, 10).retry(2)),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5 6=6",
            "finished",
            "work: 6 entered, 6 taken, 6 used, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
        ],
    );
}

#[test]
fn a_batch_that_fails_is_run_one_by_one() {
    for work in [stage("work", FailWith(2), 10), stage("work", PanicOn(2), 10)] {
        check(
            batches(work.skip_errors()),
            &[
                "values: 1=1 3=3 4=4 5=5 6=6",
                "finished",
                "work: 6 entered, 6 taken, 5 used, 1 failed, 5 gave",
                "end: 5 entered, 5 taken, 5 used",
            ],
        );
    }
    check(
        batches(stage("work", FailWith(2), 10).retry(1)),
        &[
            "values: 1=1",
            "stage \"work\" failed in stage_run on sample 2: 2 is in the batch",
            "failed",
            "work: 6 entered, 3 taken, 3 discarded, 1 used, 2 failed, 1 gave",
            "end: 1 entered, 1 taken, 1 used",
        ],
    );
}

#[test]
fn another_number_of_results_than_samples_is_an_error_of_the_stage() {
    check(
        batches(stage("work", OneTooFew, 10)),
        &[
            "values: ",
            "stage \"work\" failed in stage_run on sample 3: it gave 2 results for a batch of 3, but must give one for \
             each sample; a batch that folds gives one for all",
            "failed",
            "work: 6 entered, 3 taken, 3 discarded, 3 failed",
            "end: ",
        ],
    );
}

#[test]
fn batches_of_several_workers_give_in_order() {
    check(
        batches(stage("work", FailWith(2), 10).but(3, 60).workers(2).skip_errors()),
        &[
            "values: 1=1 3=3 4=4 5=5 6=6",
            "finished",
            "work: 6 entered, 6 taken, 5 used, 1 failed, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn a_batch_in_a_branch_is_joined_sample_by_sample() {
    let stages = [
        stage("one by one", Identity, 1),
        stage("batches", SkipEven, 10).batch(3, 3_600_000),
        stage("joined", Identity, 0),
        stage("end", Identity, 0),
    ];
    check(
        chain(stages).parallel(0, [1, 1]).overflow(Block).buffer_size([6, 6, 8, 8]).puts(6, 0),
        &[
            "values: 1=2 3=6 5=10",
            "finished",
            "parallel: 6 entered, 6 taken, 6 used, 12 gave",
            "one by one: 6 entered, 6 taken, 6 used, 6 gave",
            "batches: 6 entered, 6 taken, 3 used, 3 skipped, 3 gave",
            "joined: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
            "parallel: 6 entered, 3 joined, 3 unjoined, 0 inside",
        ],
    );
}

#[test]
fn an_end_stage_takes_batches() {
    check(
        chain([stage("end", Identity, 10).batch(3, 3_600_000)]).overflow(Block).buffer_size(6).puts(6, 0),
        &["values: 3=1 3=2 3=3 6=4 6=5 6=6", "finished", "end: 6 entered, 6 taken, 6 used"],
    );
    check(
        chain([stage("end", FailOn(2), 10).batch(3, 3_600_000).skip_errors()])
            .overflow(Block)
            .buffer_size(6)
            .puts(6, 0),
        &["values: 3=1 3=2 3=3 6=4 6=5 6=6", "finished", "end: 6 entered, 6 taken, 5 used, 1 failed"],
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
