//! The cases, and exactly what comes out of each.

use crate::case::Does::{
    BrokenMany, Double, FailInFinish, FailInSetup, FailInTeardown, FailOn, FinishGives, HoldUntilFinish, Identity,
    Many, PanicOn, SkipEven,
};
use crate::case::{Case, chain, stage};
#[cfg(processes)]
use crate::processes;
use crate::simulated::{self, Run};
use crate::threads;
use deeppipeline::Overflow::{Block, DropNewest, DropOldest};

/// Runs a case whose clock decides what happens: only a simulation's can be told what to show.
pub(crate) fn simulate(case: Case) -> Vec<String> {
    simulated::run(&case).outcome.lines().map(str::to_owned).collect()
}

/// Runs the case on every executor.
pub(crate) fn check(case: Case, expected: &[&str]) {
    let simulated = simulated::run(&case);
    assert_eq!(simulated.outcome.lines().collect::<Vec<_>>(), expected, "{case:#?}");
    run_everywhere(&case, &simulated);
    if let Some(case) = case.with_answers() {
        let simulated = simulated::run(&case);
        run_everywhere(&case, &simulated);
        assert_eq!(threads::follow(&case.by_tasks(), &simulated), simulated.outcome, "by tasks: {case:#?}");
    }
    assert_eq!(threads::follow(&case.by_tasks(), &simulated), simulated.outcome, "by tasks: {case:#?}");
    let case = case.with_fates();
    run_everywhere(&case, &simulated::run(&case));
}

/// Checks a case of which processes may make another: their workers hear a while later what the pipeline's has decided.
pub(crate) fn check_on_threads(case: Case, expected: &[&str]) {
    for case in [case.clone(), case.with_fates()] {
        let simulated = simulated::run(&case);
        let outcome = simulated.outcome.lines().take(expected.len());
        assert_eq!(outcome.collect::<Vec<_>>(), expected, "{case:#?}");
        assert_eq!(threads::follow(&case, &simulated), simulated.outcome, "{case:#?}");
    }
}

/// Runs the case on every executor but the simulated one.
fn run_everywhere(case: &Case, simulated: &Run) {
    assert_eq!(threads::follow(case, simulated), simulated.outcome, "{case:#?}");
    #[cfg(processes)]
    for (name, in_process) in processes::ALL_AND_MIXES {
        let placed = simulated::run_in(case, &in_process);
        assert_eq!(placed.outcome, simulated.outcome, "{name}: {case:#?}");
        if !processes::are_updates_certain(case, &placed, in_process) {
            continue;
        }
        assert_eq!(processes::follow(case, &placed, in_process), simulated.outcome, "{name}: {case:#?}");
    }
}

#[test]
fn drop_oldest_keeps_the_newest() {
    check(
        chain([stage("work", Identity, 30), stage("end", Identity, 0)]).puts(8, 10),
        &[
            "values: 1=1 2=2 5=5 7=7 8=8",
            "finished",
            "work: 8 entered, 5 taken, 3 oldest, 5 used, 5 gave; dropped 3 4 6",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn drop_newest_keeps_the_oldest() {
    check(
        chain([stage("work", Identity, 30), stage("end", Identity, 0)]).overflow(DropNewest).puts(8, 10),
        &[
            "values: 1=1 2=2 3=3 4=4 7=7",
            "finished",
            "work: 8 entered, 5 taken, 3 newest, 5 used, 5 gave; dropped 5 6 8",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn block_loses_nothing() {
    check(
        chain([stage("work", Identity, 30), stage("end", Identity, 0)]).overflow(Block).puts(8, 10),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8",
            "finished",
            "work: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
        ],
    );
}

#[test]
fn latest_takes_the_newest() {
    check(
        chain([stage("work", Identity, 25).latest(), stage("end", Identity, 0)]).puts(8, 10),
        &[
            "values: 1=1 3=3 5=5 8=8",
            "finished",
            "work: 8 entered, 4 taken, 1 oldest, 3 superseded, 4 used, 4 gave; dropped 2 4 6 7",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn latest_drops_the_oldest_even_where_the_pipeline_blocks() {
    check(
        chain([stage("work", Identity, 45).latest(), stage("end", Identity, 0)]).overflow(Block).puts(8, 10),
        &[
            "values: 1=1 5=5 8=8",
            "finished",
            "work: 8 entered, 3 taken, 3 oldest, 2 superseded, 3 used, 3 gave; dropped 2 3 4 6 7",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn all_takes_a_full_buffer_and_drops_the_oldest_while_busy() {
    check(
        chain([stage("sum", Identity, 45).all(), stage("end", Identity, 0)]).buffer_size([3, 2]).puts(11, 10),
        &[
            "values: 3=6 7=18 11=30",
            "finished",
            "sum: 11 entered, 9 taken, 2 oldest, 3 used, 6 absorbed, 3 gave; dropped 4 8",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn all_takes_a_full_buffer_and_drops_the_newest_while_busy() {
    check(
        chain([stage("sum", Identity, 45).all(), stage("end", Identity, 0)])
            .overflow(DropNewest)
            .buffer_size([3, 2])
            .puts(11, 10),
        &[
            "values: 3=6 6=15 10=27",
            "finished",
            "sum: 11 entered, 9 taken, 2 newest, 3 used, 6 absorbed, 3 gave; dropped 7 11",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn all_takes_a_full_buffer_and_blocks_while_busy() {
    check(
        chain([stage("sum", Identity, 45).all(), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size([3, 2])
            .puts(11, 10),
        &[
            "values: 3=6 6=15 9=24 11=21",
            "finished",
            "sum: 11 entered, 11 taken, 4 used, 7 absorbed, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn all_hands_over_what_is_left_when_draining() {
    check(
        chain([stage("sum", Identity, 5).all(), stage("end", Identity, 0)]).buffer_size(4).puts(6, 10),
        &[
            "values: 4=10 6=11",
            "finished",
            "sum: 6 entered, 6 taken, 2 used, 4 absorbed, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn all_behind_all_hands_over_what_is_left_in_order() {
    check(
        chain([stage("sum", Identity, 5).all(), stage("sums", Identity, 5).all(), stage("end", Identity, 0)])
            .buffer_size([2, 3, 1])
            .puts(9, 10),
        &[
            "values: 6=21 9=24",
            "finished",
            "sum: 9 entered, 9 taken, 5 used, 4 absorbed, 5 gave",
            "sums: 5 entered, 5 taken, 2 used, 3 absorbed, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn a_slow_end_stage_holds_up_the_whole_chain_under_block() {
    check(
        chain([stage("one", Identity, 10), stage("two", Double, 10), stage("end", Identity, 50)])
            .overflow(Block)
            .buffer_size(1)
            .puts(6, 5),
        &[
            "values: 1=2 2=4 3=6 4=8 5=10 6=12",
            "finished",
            "one: 6 entered, 6 taken, 6 used, 6 gave",
            "two: 6 entered, 6 taken, 6 used, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
        ],
    );
}

#[test]
fn a_stage_may_have_a_policy_of_its_own() {
    check(
        chain([
            stage("one", Identity, 10),
            stage("two", Identity, 10).overflow(DropNewest),
            stage("end", Identity, 50).overflow(DropOldest),
        ])
        .overflow(Block)
        .buffer_size(1)
        .puts(8, 5),
        &[
            "values: 1=1 5=5 8=8",
            "finished",
            "one: 8 entered, 8 taken, 8 used, 8 gave",
            "two: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 8 entered, 3 taken, 5 oldest, 3 used; dropped 2 3 4 6 7",
        ],
    );
}

#[test]
fn skip_ends_a_sample() {
    check(
        chain([stage("odd", SkipEven, 0), stage("end", Identity, 0)]).puts(5, 10),
        &[
            "values: 1=1 3=3 5=5",
            "finished",
            "odd: 5 entered, 5 taken, 3 used, 2 skipped, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn skip_of_a_list_ends_all_of_it() {
    check(
        chain([stage("odd", SkipEven, 0).all(), stage("end", Identity, 0)]).buffer_size(3).puts(6, 10),
        &[
            "values: 6=15",
            "finished",
            "odd: 6 entered, 6 taken, 1 used, 2 absorbed, 3 skipped, 1 gave",
            "end: 1 entered, 1 taken, 1 used",
        ],
    );
}

#[test]
fn many_of_none_is_a_skip() {
    check(
        chain([stage("none", Many(0), 0), stage("end", Identity, 0)]).puts(3, 10),
        &["values: ", "finished", "none: 3 entered, 3 taken, 3 skipped", "end: "],
    );
}

#[test]
fn many_gives_numbered_parts() {
    check(
        chain([stage("three", Many(3), 0), stage("end", Identity, 0)]).buffer_size(4).puts(2, 10),
        &[
            "values: 1.1=11 1.2=12 1.3=13 2.1=21 2.2=22 2.3=23",
            "finished",
            "three: 2 entered, 2 taken, 2 used, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
        ],
    );
}

#[test]
fn many_of_many_counts_on_where_a_part_is_taken() {
    check(
        chain([stage("two", Many(2), 0), stage("more", Many(2), 0), stage("end", Identity, 0)])
            .buffer_size(8)
            .puts(2, 10),
        &[
            "values: 1.1=111 1.2=112 1.3=121 1.4=122 2.1=211 2.2=212 2.3=221 2.4=222",
            "finished",
            "two: 2 entered, 2 taken, 2 used, 4 gave",
            "more: 4 entered, 4 taken, 4 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
        ],
    );
}

#[test]
fn a_part_keeps_its_number_through_later_stages() {
    check(
        chain([stage("three", Many(3), 0), stage("odd", SkipEven, 0), stage("end", Identity, 0)])
            .buffer_size(4)
            .puts(2, 10),
        &[
            "values: 1.1=11 1.3=13 2.1=21 2.3=23",
            "finished",
            "three: 2 entered, 2 taken, 2 used, 6 gave",
            "odd: 6 entered, 6 taken, 4 used, 2 skipped, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn many_into_a_buffer_that_drops_the_oldest() {
    check(
        chain([stage("five", Many(5), 0), stage("end", Identity, 15)]).buffer_size(2).puts(3, 10),
        &[
            "values: 1.1=11 2.4=24 3.4=34 3.5=35",
            "finished",
            "five: 3 entered, 3 taken, 3 used, 15 gave",
            "end: 15 entered, 4 taken, 11 oldest, 4 used; dropped 1.2 1.3 1.4 1.5 2.1 2.2 2.3 2.5 3.1 3.2 3.3",
        ],
    );
}

#[test]
fn many_into_a_buffer_that_drops_the_newest() {
    check(
        chain([stage("five", Many(5), 0), stage("end", Identity, 15)]).overflow(DropNewest).puts(3, 10),
        &[
            "values: 1.1=11 1.2=12 1.3=13 3.1=31",
            "finished",
            "five: 3 entered, 3 taken, 3 used, 15 gave",
            "end: 15 entered, 4 taken, 11 newest, 4 used; dropped 1.4 1.5 2.1 2.2 2.3 2.4 2.5 3.2 3.3 3.4 3.5",
        ],
    );
}

#[test]
fn many_into_a_buffer_that_blocks() {
    check(
        chain([stage("five", Many(5), 0), stage("end", Identity, 15)]).overflow(Block).puts(3, 10),
        &[
            "values: 1.1=11 1.2=12 1.3=13 1.4=14 1.5=15 2.1=21 2.2=22 2.3=23 2.4=24 2.5=25 3.1=31 3.2=32 3.3=33 3.4=34 3.5=35",
            "finished",
            "five: 3 entered, 3 taken, 3 used, 15 gave",
            "end: 15 entered, 15 taken, 15 used",
        ],
    );
}

#[test]
fn many_into_latest() {
    check(
        chain([stage("five", Many(5), 0), stage("end", Identity, 15).latest()]).puts(3, 10),
        &[
            "values: 1.1=11 2.5=25 3.5=35",
            "finished",
            "five: 3 entered, 3 taken, 3 used, 15 gave",
            "end: 15 entered, 3 taken, 10 oldest, 2 superseded, 3 used; dropped 1.2 1.3 1.4 1.5 2.1 2.2 2.3 2.4 3.1 3.2 3.3 3.4",
        ],
    );
}

#[test]
fn many_into_all() {
    check(
        chain([stage("five", Many(5), 0), stage("sum", Identity, 15).all(), stage("end", Identity, 0)]).puts(2, 10),
        &[
            "values: 1.2=23 2.5=49",
            "finished",
            "five: 2 entered, 2 taken, 2 used, 10 gave",
            "sum: 10 entered, 4 taken, 6 oldest, 2 used, 2 absorbed, 2 gave; dropped 1.3 1.4 1.5 2.1 2.2 2.3",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn what_an_end_stage_gives_back_is_ignored() {
    check(
        chain([stage("end", Many(5), 0)]).puts(2, 10),
        &["values: 1=1 2=2", "finished", "end: 2 entered, 2 taken, 2 used"],
    );
}

#[test]
fn finish_gives_what_was_held_as_parts_of_the_last_sample() {
    check(
        chain([stage("hold", HoldUntilFinish, 0), stage("end", Identity, 0)]).overflow(Block).puts(3, 10),
        &[
            "values: 3.1=1 3.2=2 3.3=3",
            "finished",
            "hold: 3 entered, 3 taken, 3 skipped, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn finish_gives_after_everything_else_and_is_not_dropped_before_it() {
    check(
        chain([stage("work", FinishGives(2), 20), stage("end", Identity, 30)]).overflow(Block).puts(3, 10),
        &[
            "values: 1=1 2=2 3=3 3.1=-1 3.2=-2",
            "finished",
            "work: 3 entered, 3 taken, 3 used, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn finish_gives_under_the_policy_of_the_next_buffer() {
    check(
        chain([stage("hold", HoldUntilFinish, 0), stage("end", Identity, 10)]).puts(6, 10),
        &[
            "values: 6.1=1 6.5=5 6.6=6",
            "finished",
            "hold: 6 entered, 6 taken, 6 skipped, 6 gave",
            "end: 6 entered, 3 taken, 3 oldest, 3 used; dropped 6.2 6.3 6.4",
        ],
    );
}

#[test]
fn finish_without_a_sample_gives_number_zero() {
    check(
        chain([stage("work", FinishGives(2), 0), stage("end", Identity, 0)]),
        &["values: 0.1=-1 0.2=-2", "finished", "work: 2 gave", "end: 2 entered, 2 taken, 2 used"],
    );
}

#[test]
fn every_finish_of_a_chain_flows_through_the_rest() {
    check(
        chain([stage("one", FinishGives(1), 0), stage("two", FinishGives(1), 0), stage("end", FinishGives(1), 0)])
            .puts(2, 10),
        &[
            "values: 1=1 2=2 2.1=-1 2.2=-1",
            "finished",
            "one: 2 entered, 2 taken, 2 used, 3 gave",
            "two: 3 entered, 3 taken, 3 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn error_at_the_first_stage_stops() {
    check(
        chain([stage("one", FailOn(4), 10), stage("two", Identity, 10), stage("end", Identity, 10)]).puts(8, 10),
        &[
            "values: 1=1 2=2 3=3",
            "stage \"one\" failed in stage_run on sample 4: 4 is bad",
            "failed",
            "one: 4 entered, 4 taken, 3 used, 1 failed, 3 gave",
            "two: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn error_at_a_middle_stage_discards_before_it_and_lets_flow_out_what_is_past_it() {
    check(
        chain([stage("one", Identity, 10), stage("two", FailOn(4), 10), stage("end", Identity, 25)])
            .overflow(Block)
            .puts(9, 10),
        &[
            "values: 1=1 2=2 3=3",
            "stage \"two\" failed in stage_run on sample 4: 4 is bad",
            "failed",
            "one: 5 entered, 5 taken, 5 used, 5 gave",
            "two: 5 entered, 4 taken, 1 discarded, 3 used, 1 failed, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn error_at_the_end_stage_stops() {
    check(
        chain([stage("one", Identity, 10), stage("two", Identity, 10), stage("end", FailOn(3), 10)]).puts(8, 10),
        &[
            "values: 1=1 2=2 3=3",
            "stage \"end\" failed in stage_run on sample 3: 3 is bad",
            "failed",
            "one: 5 entered, 5 taken, 5 used, 5 gave",
            "two: 5 entered, 4 taken, 1 discarded, 4 used, 4 gave",
            "end: 4 entered, 3 taken, 1 discarded, 2 used, 1 failed",
        ],
    );
}

#[test]
fn error_past_blocked_stages_frees_them() {
    check(
        chain([stage("one", Identity, 0), stage("two", Identity, 0), stage("end", FailOn(2), 50)])
            .overflow(Block)
            .buffer_size(1)
            .puts(8, 0),
        &[
            "values: 1=1 2=2",
            "stage \"end\" failed in stage_run on sample 2: 2 is bad",
            "failed",
            "one: 7 entered, 6 taken, 1 discarded, 6 used, 6 gave",
            "two: 6 entered, 4 taken, 2 discarded, 4 used, 4 gave",
            "end: 4 entered, 2 taken, 2 discarded, 1 used, 1 failed",
        ],
    );
}

#[test]
fn skipped_errors_at_every_stage() {
    check(
        chain([
            stage("one", FailOn(2), 0).skip_errors(),
            stage("two", FailOn(3), 0).skip_errors(),
            stage("end", FailOn(4), 0).skip_errors(),
        ])
        .puts(5, 10),
        &[
            "values: 1=1 4=4 5=5",
            "finished",
            "one: 5 entered, 5 taken, 4 used, 1 failed, 4 gave",
            "two: 4 entered, 4 taken, 3 used, 1 failed, 3 gave",
            "end: 3 entered, 3 taken, 2 used, 1 failed",
        ],
    );
}

#[test]
fn a_skipped_error_fails_the_whole_list() {
    check(
        chain([stage("sum", FailOn(7), 0).all().skip_errors(), stage("end", Identity, 0)]).puts(6, 10),
        &[
            "values: 2=3 6=11",
            "finished",
            "sum: 6 entered, 6 taken, 2 used, 2 absorbed, 2 failed, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn a_panic_stops_like_an_error() {
    check(
        chain([stage("one", PanicOn(3), 0), stage("end", Identity, 0)]).puts(4, 10),
        &[
            "values: 1=1 2=2",
            "stage \"one\" failed in stage_run on sample 3: panicked: 3 is very bad",
            "failed",
            "one: 3 entered, 3 taken, 2 used, 1 failed, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn a_skipped_panic_fails_its_sample() {
    check(
        chain([stage("one", PanicOn(3), 0).skip_errors(), stage("end", Identity, 0)]).puts(4, 10),
        &[
            "values: 1=1 2=2 4=4",
            "finished",
            "one: 4 entered, 4 taken, 3 used, 1 failed, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn a_many_that_breaks_gives_the_parts_before_it() {
    check(
        chain([stage("broken", BrokenMany, 0).skip_errors(), stage("end", Identity, 0)]).buffer_size(4).puts(2, 10),
        &[
            "values: 1.1=11 1.2=12 2.1=21 2.2=22",
            "finished",
            "broken: 2 entered, 2 taken, 2 failed, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn a_many_that_breaks_stops() {
    check(
        chain([stage("broken", BrokenMany, 0), stage("end", Identity, 0)]).buffer_size(4).puts(2, 10),
        &[
            "values: 1.1=11 1.2=12",
            "stage \"broken\" failed in stage_run on sample 1: panicked: broken iterator",
            "failed",
            "broken: 1 entered, 1 taken, 1 failed, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn a_failing_setup_discards_what_was_accepted() {
    check(
        chain([stage("one", Identity, 0), stage("bad", FailInSetup, 0), stage("end", Identity, 0)])
            .puts(3, 10)
            .up_after(15),
        &[
            "values: ",
            "stage \"bad\" failed in setup: no model",
            "failed",
            "one: 2 entered, 2 discarded",
            "bad: ",
            "end: ",
        ],
    );
}

#[test]
fn a_failing_finish_stops_after_everything_flowed_out() {
    check(
        chain([stage("bad", FailInFinish, 0), stage("end", FinishGives(1), 0)]).puts(2, 10),
        &[
            "values: 1=1 2=2",
            "stage \"bad\" failed in finish: cannot finish",
            "failed",
            "bad: 2 entered, 2 taken, 2 used, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn a_failing_teardown_is_told_after_everything_flowed_out() {
    check(
        chain([stage("bad", FailInTeardown, 0), stage("end", Identity, 30)]).puts(2, 10),
        &[
            "values: 1=1 2=2",
            "stage \"bad\" failed in teardown: cannot close",
            "failed",
            "bad: 2 entered, 2 taken, 2 used, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn samples_put_before_the_start_wait_for_it() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)]).buffer_size(3).puts(5, 10).up_after(45),
        &[
            "values: 3=3 4=4 5=5",
            "finished",
            "work: 5 entered, 3 taken, 2 oldest, 3 used, 3 gave; dropped 1 2",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn setstop_during_the_start_drains_once_it_is_up() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)]).puts(2, 5).stop_at(10).up_after(30),
        &["values: 1=1 2=2", "finished", "work: 2 entered, 2 taken, 2 used, 2 gave", "end: 2 entered, 2 taken, 2 used"],
    );
}

#[test]
fn a_put_blocked_before_the_start_goes_on_after_it() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size(1)
            .puts(3, 5)
            .up_after(30),
        &[
            "values: 1=1 2=2 3=3",
            "finished",
            "work: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn nothing_put_nothing_given() {
    check(chain([stage("one", Identity, 0), stage("end", Identity, 0)]), &["values: ", "finished", "one: ", "end: "]);
}

#[test]
fn a_source_that_ends() {
    check(
        chain([stage("work", Identity, 15), stage("end", Identity, 0)]).source(5, 10),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5",
            "finished",
            "work: 5 entered, 5 taken, 5 used, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn a_source_that_is_not_live_waits_so_that_nothing_is_lost() {
    check(
        chain([stage("quick", Identity, 5), stage("slow", Identity, 30), stage("end", Identity, 0)]).source(9, 0),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5 6=6 7=7 8=8 9=9",
            "finished",
            "quick: 9 entered, 9 taken, 9 used, 9 gave",
            "slow: 9 entered, 9 taken, 9 used, 9 gave",
            "end: 9 entered, 9 taken, 9 used",
        ],
    );
}

#[test]
fn a_live_source_waits_for_nobody() {
    check(
        chain([stage("slow", Identity, 30), stage("end", Identity, 0)]).live_source(9, 5),
        &[
            "values: 1=1 5=5 8=8 9=9",
            "finished",
            "slow: 9 entered, 4 taken, 5 oldest, 4 used, 4 gave; dropped 2 3 4 6 7",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn overflow_overrules_what_a_source_says() {
    check(
        chain([stage("slow", Identity, 30), stage("end", Identity, 0)]).overflow(DropNewest).source(5, 5),
        &[
            "values: 1=1 2=2 3=3",
            "finished",
            "slow: 5 entered, 3 taken, 2 newest, 3 used, 3 gave; dropped 4 5",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn a_source_held_up_by_block() {
    check(
        chain([stage("work", Identity, 30), stage("end", Identity, 0)]).overflow(Block).buffer_size(1).source(5, 10),
        &[
            "values: 1=1 2=2 3=3 4=4 5=5",
            "finished",
            "work: 5 entered, 5 taken, 5 used, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn a_source_stopped_while_it_waits_gives_its_last_sample() {
    check(
        chain([stage("work", Identity, 5), stage("end", Identity, 0)]).source(100, 10).stop_at(25),
        &[
            "values: 1=1 2=2 3=3",
            "finished",
            "work: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn a_source_stopped_before_it_is_up() {
    check(
        chain([stage("work", Identity, 5), stage("end", Identity, 0)]).source(100, 10).stop_at(5).up_after(10),
        &["values: ", "finished", "work: ", "end: "],
    );
}

#[test]
fn a_source_that_fails_lets_everything_flow_out() {
    check(
        chain([stage("work", Identity, 25), stage("end", Identity, 0)]).overflow(Block).failing_source(4, 10),
        &[
            "values: 1=1 2=2 3=3 4=4",
            "stage \"source\" failed in source_next: camera unplugged",
            "failed",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn a_failing_stage_ends_the_source() {
    check(
        chain([stage("work", FailOn(2), 25), stage("end", Identity, 0)]).overflow(Block).source(100, 10),
        &[
            "values: 1=1",
            "stage \"work\" failed in stage_run on sample 2: 2 is bad",
            "failed",
            "work: 5 entered, 2 taken, 3 discarded, 1 used, 1 failed, 1 gave",
            "end: 1 entered, 1 taken, 1 used",
        ],
    );
}
