//! Samples that are split: x into 0 to 3 parts, 10·x + 1 and so on. Behind them comes x with the sum of their results; a
//! part without one counts as 1000.

use crate::case::Does::{Double, FailAtFirst, FailOn, FinishGives, Identity, Many, PanicOn, SkipEven};
use crate::case::{Case, StageSpec, chain, stage};
use crate::cases::{check, simulate};
use deeppipeline::Overflow::{Block, DropNewest, DropOldest};

/// Samples that are split, stages for the parts, and an end stage.
fn each(inside: impl IntoIterator<Item = StageSpec>) -> Case {
    let inside: Vec<_> = inside.into_iter().collect();
    let number = inside.len();
    let (split, end) = (stage("split", Identity, 0), stage("end", Identity, 0));
    chain([split].into_iter().chain(inside).chain([end])).for_each(1, number).overflow(Block)
}

#[test]
fn the_results_of_its_parts_come_back_to_each_sample_in_order() {
    check(
        each([stage("work", Double, 10), stage("more", Identity, 5)]).puts(5, 5),
        &[
            "values: 1=23 2=88 3=195 4=4 5=107",
            "finished",
            "split: 5 entered, 5 taken, 5 used, 5 gave",
            "work: 7 entered, 7 taken, 7 used, 7 gave",
            "more: 7 entered, 7 taken, 7 used, 7 gave",
            "for each: 5 entered, 5 taken, 5 used, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
            "for each: 7 entered, 7 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_part_that_is_skipped_or_fails_is_missing_and_its_sample_goes_on() {
    check(
        each([stage("skips", SkipEven, 5), stage("fails", FailOn(31), 5).skip_errors()]).puts(4, 20),
        &[
            "values: 1=12 2=1023 3=2036 4=4",
            "finished",
            "split: 4 entered, 4 taken, 4 used, 4 gave",
            "skips: 6 entered, 6 taken, 4 used, 2 skipped, 4 gave",
            "fails: 4 entered, 4 taken, 3 used, 1 failed, 3 gave",
            "for each: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
            "for each: 6 entered, 3 joined, 3 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_part_that_is_dropped_is_missing_and_its_sample_goes_on() {
    check(
        each([stage("quick", Identity, 5), stage("slow", Identity, 40).overflow(DropOldest)]).buffer_size(1).puts(7, 5),
        &[
            "values: 1=12 2=2002 3=3003 4=4 5=56 6=2006 7=2080",
            "finished",
            "split: 7 entered, 7 taken, 7 used, 7 gave",
            "quick: 12 entered, 12 taken, 12 used, 12 gave",
            "slow: 12 entered, 3 taken, 9 oldest, 3 used, 3 gave; dropped 2.1 2.2 3.1 3.2 3.3 6.1 6.2 7.1 7.2",
            "for each: 7 entered, 7 taken, 7 used, 7 gave",
            "end: 7 entered, 7 taken, 7 used",
            "for each: 12 entered, 3 joined, 9 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_part_that_is_dropped_on_arrival_is_missing_and_its_sample_goes_on() {
    check(
        each([stage("quick", Identity, 5), stage("slow", Identity, 40).overflow(DropNewest)]).buffer_size(1).puts(7, 5),
        &[
            "values: 1=12 2=1023 3=3003 4=4 5=1005 6=1067 7=2078",
            "finished",
            "split: 7 entered, 7 taken, 7 used, 7 gave",
            "quick: 12 entered, 12 taken, 12 used, 12 gave",
            "slow: 12 entered, 4 taken, 8 newest, 4 used, 4 gave; dropped 2.2 3.1 3.2 3.3 5.1 6.2 7.2 7.3",
            "for each: 7 entered, 7 taken, 7 used, 7 gave",
            "end: 7 entered, 7 taken, 7 used",
            "for each: 12 entered, 4 joined, 8 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_batch_fills_across_samples() {
    check(
        each([stage("batch", Identity, 20).batch(4, 60_000)]).buffer_size(4).puts(9, 1),
        &[
            "values: 1=12 2=45 3=99 4=4 5=56 6=129 7=223 8=8 9=100",
            "finished",
            "split: 9 entered, 9 taken, 9 used, 9 gave",
            "batch: 13 entered, 13 taken, 13 used, 13 gave",
            "for each: 9 entered, 9 taken, 9 used, 9 gave",
            "end: 9 entered, 9 taken, 9 used",
            "for each: 13 entered, 13 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn more_parts_than_all_buffers_hold_come_through() {
    check(
        each([stage("work", Identity, 3)]).buffer_size(1).puts(12, 1),
        &[
            "values: 1=12 2=45 3=99 4=4 5=56 6=129 7=223 8=8 9=100 10=213 11=347 12=12",
            "finished",
            "split: 12 entered, 12 taken, 12 used, 12 gave",
            "work: 18 entered, 18 taken, 18 used, 18 gave",
            "for each: 12 entered, 12 taken, 12 used, 12 gave",
            "end: 12 entered, 12 taken, 12 used",
            "for each: 18 entered, 18 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_failure_that_stops_lets_out_what_came_before_it() {
    check(
        each([stage("work", Identity, 10), stage("fails", FailOn(32), 10)]).buffer_size(16).puts(6, 5),
        &[
            "values: 1=12 2=45",
            "stage \"fails\" failed in stage_run on sample 3.2: 32 is bad",
            "failed",
            "split: 6 entered, 6 taken, 6 used, 6 gave",
            "work: 9 entered, 6 taken, 3 discarded, 6 used, 6 gave",
            "fails: 6 entered, 5 taken, 1 discarded, 4 used, 1 failed, 4 gave",
            "for each: 6 entered, 2 taken, 4 discarded, 2 used, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
            "for each: 9 entered, 3 joined, 6 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_panic_that_stops_lets_out_what_came_before_it() {
    check(
        each([stage("work", PanicOn(21), 10)]).buffer_size(16).puts(6, 5),
        &[
            "values: 1=12",
            "stage \"work\" failed in stage_run on sample 2.1: panicked: 21 is very bad",
            "failed",
            "split: 4 entered, 4 taken, 4 used, 4 gave",
            "work: 6 entered, 2 taken, 4 discarded, 1 used, 1 failed, 1 gave",
            "for each: 4 entered, 1 taken, 3 discarded, 1 used, 1 gave",
            "end: 1 entered, 1 taken, 1 used",
            "for each: 6 entered, 1 joined, 5 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_retry_inside_makes_good() {
    check(
        each([stage("work", FailAtFirst { on: 22, times: 2 }, 10).retry(2)]).puts(4, 5),
        &[
            "values: 1=12 2=45 3=99 4=4",
            "finished",
            "split: 4 entered, 4 taken, 4 used, 4 gave",
            "work: 6 entered, 6 taken, 6 used, 6 gave",
            "for each: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
            "for each: 6 entered, 6 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn several_workers_inside_keep_the_parts_in_their_places() {
    check(
        each([stage("work", Identity, 10).but(2, 50).workers(3), stage("more", Identity, 1)]).buffer_size(4).puts(8, 5),
        &[
            "values: 1=12 2=45 3=99 4=4 5=56 6=129 7=223 8=8",
            "finished",
            "split: 8 entered, 8 taken, 8 used, 8 gave",
            "work: 12 entered, 12 taken, 12 used, 12 gave",
            "more: 12 entered, 12 taken, 12 used, 12 gave",
            "for each: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
            "for each: 12 entered, 12 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn several_workers_out_of_order_keep_the_parts_in_their_places() {
    check(
        each([stage("work", Identity, 10).but(2, 50).workers(3).unordered()]).buffer_size(4).puts(8, 5),
        &[
            "values: 1=12 2=45 3=99 4=4 5=56 6=129 7=223 8=8",
            "finished",
            "split: 8 entered, 8 taken, 8 used, 8 gave",
            "work: 12 entered, 12 taken, 12 used, 12 gave",
            "for each: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
            "for each: 12 entered, 12 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_flush_takes_samples_with_their_parts() {
    check(
        each([stage("work", Identity, 20), stage("more", Identity, 5)]).buffer_size(16).puts(6, 5).flush_at(33),
        &[
            "values: 1=12",
            "finished",
            "split: 6 entered, 6 taken, 6 used, 6 gave",
            "work: 9 entered, 2 taken, 7 flushed, 2 used, 2 gave",
            "more: 2 entered, 1 taken, 1 flushed, 1 used, 1 gave",
            "for each: 6 entered, 2 taken, 4 flushed, 2 used, 2 gave",
            "end: 2 entered, 1 taken, 1 flushed, 1 used",
            "for each: 9 entered, 1 joined, 8 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_stage_inside_gives_one_result_for_each_part() {
    check(
        each([stage("work", Many(2), 10)]).puts(3, 5),
        &[
            "values: ",
            "stage \"work\" failed in stage_run on sample 1.1: it gave many values inside a parallel block, which joins one result of each branch",
            "failed",
            "split: 2 entered, 2 taken, 2 used, 2 gave",
            "work: 3 entered, 1 taken, 2 discarded, 1 failed",
            "for each: 2 entered, 2 discarded",
            "end: ",
            "for each: 3 entered, 0 joined, 3 unjoined, 0 inside",
        ],
    );
}

#[test]
fn what_is_given_at_the_end_inside_has_nothing_to_come_back_to() {
    check(
        each([stage("work", FinishGives(1), 10)]).puts(3, 5),
        &[
            "values: 1=12 2=45 3=99",
            "stage \"work\" failed in finish: finish gave a value inside a parallel block, where there is nothing to join it with",
            "failed",
            "split: 3 entered, 3 taken, 3 used, 3 gave",
            "work: 6 entered, 6 taken, 6 used, 6 gave",
            "for each: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
            "for each: 6 entered, 6 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn samples_that_were_split_before_are_split_again() {
    let stages = [stage("many", Many(3), 5), stage("split", Identity, 0), stage("work", Identity, 4)];
    check(
        chain(stages.into_iter().chain([stage("end", Identity, 0)])).for_each(2, 1).overflow(Block).puts(3, 30),
        &[
            "values: 1.1=347 1.2=12 1.3=144 2.1=232 2.2=465 2.3=719 3.1=967 3.2=32 3.3=364",
            "finished",
            "many: 3 entered, 3 taken, 3 used, 9 gave",
            "split: 9 entered, 9 taken, 9 used, 9 gave",
            "work: 14 entered, 14 taken, 14 used, 14 gave",
            "for each: 9 entered, 9 taken, 9 used, 9 gave",
            "end: 9 entered, 9 taken, 9 used",
            "for each: 14 entered, 14 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_part_that_is_too_old_is_missing_and_its_sample_goes_on() {
    let inside = [stage("slow", Identity, 30), stage("fresh", Identity, 0).max_age(70)];
    let outcome = simulate(each(inside).buffer_size(16).puts(3, 0));
    assert_eq!(outcome[0], "values: 1=12 2=1023 3=3003");
    assert!(outcome.contains(&"for each: 6 entered, 2 joined, 4 unjoined, 0 inside".to_owned()), "{outcome:?}");
}
