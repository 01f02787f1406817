//! Several workers for one stage: order, and what it waits for.

use crate::case::Does::{FailOn, FinishGives, Identity, Many, PanicOn, SkipEven};
use crate::case::{chain, stage};
use crate::cases::{check, simulate};
use deeppipeline::Overflow::{Block, DropNewest, DropOldest};

#[test]
fn two_workers_keep_up_where_one_does_not() {
    check(
        chain([stage("work", Identity, 18).workers(2), stage("end", Identity, 0)]).puts(8, 10),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8",
            "finished",
            "work: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
        ],
    );
}

#[test]
fn a_slow_sample_keeps_its_place() {
    check(
        chain([stage("work", Identity, 10).but(1, 25).workers(2), stage("end", Identity, 0)])
            .overflow(Block)
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
fn unordered_a_slow_sample_is_overtaken() {
    check(
        chain([stage("work", Identity, 10).but(1, 25).workers(2).unordered(), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(5, 0),
        &[
            "values: 2=2 3=3 1=1 4=4 5=5",
            "finished",
            "work: 5 entered, 5 taken, 5 used, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn workers_wait_when_too_many_results_wait_for_one_before_them() {
    // Four results, from 2 to 5, wait for the first sample; 6 and 7 wait in the buffer, and push out what came before.
    check(
        chain([stage("work", Identity, 5).but(1, 100).workers(2), stage("end", Identity, 0)])
            .buffer_size([2, 8])
            .puts(9, 10),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5 8=8 9=9",
            "finished",
            "work: 9 entered, 7 taken, 2 oldest, 7 used, 7 gave; dropped 6 7",
            "end: 7 entered, 7 taken, 7 used",
        ],
    );
}

#[test]
fn what_ends_in_a_stage_keeps_nobody_waiting() {
    check(
        chain([stage("work", SkipEven, 10).but(2, 35).workers(3), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(7, 0),
        &[
            "values: 1=1 3=3 5=5 7=7",
            "finished",
            "work: 7 entered, 7 taken, 4 used, 3 skipped, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
    for does in [FailOn(2), PanicOn(2)] {
        check(
            chain([stage("work", does, 10).but(2, 35).workers(3).skip_errors(), stage("end", Identity, 0)])
                .overflow(Block)
                .puts(5, 0),
            &[
                "values: 1=1 3=3 4=4 5=5",
                "finished",
                "work: 5 entered, 5 taken, 4 used, 1 failed, 4 gave",
                "end: 4 entered, 4 taken, 4 used",
            ],
        );
    }
}

#[test]
fn a_stop_lets_out_exactly_what_was_before_the_failure() {
    // 3 fails while 2 is still in flight; 4, 5 and 6, though done, do not go on, and 7 comes too late.
    check(
        chain([stage("work", FailOn(3), 10).but(2, 30).but(3, 20).workers(4), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size(8)
            .puts(7, 0),
        &[
            "values: 1=1 2=2",
            "stage \"work\" failed in stage_run on sample 3: 3 is bad",
            "failed",
            "work: 7 entered, 7 taken, 6 used, 1 failed, 6 gave",
            "end: 6 entered, 2 taken, 4 discarded, 2 used",
        ],
    );
}

#[test]
fn the_parts_of_a_many_keep_their_place() {
    for ordered in [Many(2), Many(5)] {
        let Many(parts) = ordered else { continue };
        let values = (1..=4).flat_map(|x| (1..=parts).map(move |part| format!("{x}.{part}={}", 10 * x + part)));
        let values = format!("values: {}", values.collect::<Vec<_>>().join(" "));
        let (gave, ends) = (format!("{} gave", 4 * parts), 4 * parts);
        check(
            chain([stage("work", ordered, 10).but(1, 45).workers(2), stage("end", Identity, 0)])
                .overflow(Block)
                .puts(4, 0),
            &[
                &values,
                "finished",
                &format!("work: 4 entered, 4 taken, 4 used, {gave}"),
                &format!("end: {ends} entered, {ends} taken, {ends} used"),
            ],
        );
    }
}

#[test]
fn what_is_split_twice_is_numbered_as_by_one_worker() {
    for workers in [1, 3] {
        check(
            chain([
                stage("two", Many(2), 0),
                stage("more", Many(2), 10).but(1, 45).workers(workers),
                stage("end", Identity, 0),
            ])
            .overflow(Block)
            .buffer_size(8)
            .puts(2, 0),
            &[
                "values: 1.1=111 1.2=112 1.3=121 1.4=122 2.1=211 2.2=212 2.3=221 2.4=222",
                "finished",
                "two: 2 entered, 2 taken, 2 used, 4 gave",
                "more: 4 entered, 4 taken, 4 used, 8 gave",
                "end: 8 entered, 8 taken, 8 used",
            ],
        );
    }
}

#[test]
fn parts_are_told_apart_where_workers_overtake_each_other() {
    // Sample 1 is split last, and its parts count from 1 all the same.
    check(
        chain([stage("three", Many(3), 10).but(1, 35).workers(2).unordered(), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size(16)
            .puts(4, 0),
        &[
            "values: 2.1=21 2.2=22 2.3=23 3.1=31 3.2=32 3.3=33 4.1=41 4.2=42 4.3=43 1.1=11 1.2=12 1.3=13",
            "finished",
            "three: 4 entered, 4 taken, 4 used, 12 gave",
            "end: 12 entered, 12 taken, 12 used",
        ],
    );
    // Both workers split parts of sample 1.
    let run = simulate(
        chain([stage("two", Many(2), 0), stage("more", Many(2), 10).workers(2).unordered(), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size(8)
            .puts(1, 0),
    );
    assert_eq!(run[0].split_whitespace().count(), 5, "{run:?}");
    for id in ["1.1=", "1.2=", "1.3=", "1.4="] {
        assert_eq!(run[0].matches(id).count(), 1, "{run:?}");
    }
}

#[test]
fn what_several_workers_give_at_the_end_are_parts_of_their_own() {
    let run = simulate(
        chain([stage("two", Many(2), 0), stage("work", FinishGives(1), 10).workers(2), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(1, 0),
    );
    assert_eq!(
        run,
        [
            "values: 1.1=11 1.2=12 1.3=-1 1.4=-1",
            "finished",
            "two: 1 entered, 1 taken, 1 used, 2 gave",
            "work: 2 entered, 2 taken, 2 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ]
    );
    let without_a_sample =
        simulate(chain([stage("work", FinishGives(1), 0).workers(3), stage("end", Identity, 0)]).overflow(Block));
    assert_eq!(without_a_sample[0], "values: 0.1=-1 0.2=-1 0.3=-1");
}

#[test]
fn what_finish_gives_comes_after_everything_else() {
    let run = simulate(
        chain([stage("work", FinishGives(1), 10).but(1, 40).workers(2), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(4, 0),
    );
    assert_eq!(
        run,
        [
            "values: 1=1 2=2 3=3 4=4 4.1=-1 1.1=-1",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
        ]
    );
}

#[test]
fn every_policy_and_intake_of_several_workers() {
    for overflow in [DropOldest, DropNewest] {
        let dropped = if overflow == DropOldest { ("oldest", "5 6", "7=7 8=8") } else { ("newest", "7 8", "5=5 6=6") };
        let (fate, which, last) = dropped;
        check(
            chain([stage("work", Identity, 100).workers(4), stage("end", Identity, 0)]).overflow(overflow).puts(8, 1),
            &[
                &format!("values: 1=1 2=2 3=3 4=4 {last}"),
                "finished",
                &format!("work: 8 entered, 6 taken, 2 {fate}, 6 used, 6 gave; dropped {which}"),
                "end: 6 entered, 6 taken, 6 used",
            ],
        );
    }
    check(
        chain([stage("work", Identity, 25).workers(2).latest(), stage("end", Identity, 0)]).puts(8, 5),
        &[
            "values: 1=1 2=2 5=5 6=6 8=8",
            "finished",
            "work: 8 entered, 5 taken, 1 oldest, 2 superseded, 5 used, 5 gave; dropped 3 4 7",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
    check(
        chain([stage("sum", Identity, 25).workers(2).all(), stage("end", Identity, 0)]).overflow(Block).puts(7, 5),
        &[
            "values: 2=3 4=7 6=11 7=7",
            "finished",
            "sum: 7 entered, 7 taken, 4 used, 3 absorbed, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn several_workers_behind_several_and_at_the_end() {
    check(
        chain([
            stage("one", Identity, 20).but(2, 50).workers(2),
            stage("two", Identity, 30).but(3, 5).workers(3),
            stage("end", Identity, 10).but(1, 40).workers(2),
        ])
        .overflow(Block)
        .puts(8, 5),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8",
            "finished",
            "one: 8 entered, 8 taken, 8 used, 8 gave",
            "two: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
        ],
    );
}

#[test]
fn others_go_on_without_a_sample_that_takes_longer_than_the_time_out() {
    let run = simulate(
        chain([stage("work", Identity, 5).but(1, 300).workers(2).time_limit(60), stage("end", Identity, 0)])
            .buffer_size(8)
            .puts(12, 10),
    );
    assert_eq!(
        run,
        [
            "values: 2=2 3=3 4=4 5=5 6=6 7=7 8=8 9=9 10=10 11=11 12=12",
            "finished",
            "work: 12 entered, 12 taken, 11 used, 1 lost, 11 gave",
            "end: 11 entered, 11 taken, 11 used",
        ]
    );
}
