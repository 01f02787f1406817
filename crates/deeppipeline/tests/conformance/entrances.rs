//! Entrances and sources with names: each with a policy of its own, taken from in turn, counted apart, and flushed alone.

use crate::case::Does::{FailAtFirst, FailWith, Identity, Many};
use crate::case::{Case, chain, entrance, source, stage};
use crate::cases::{check, simulate};
use deeppipeline::Overflow::{Block, DropNewest};

#[test]
fn entrances_are_taken_from_in_turn_and_each_does_as_it_says_when_full() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)])
            .by([entrance("fast", 6, 2), entrance("slow", 4, 3).overflow(DropNewest)]),
        &[
            "values: 1=101 2=201 8=105 4=202 10=106",
            "finished",
            "work: 10 entered, 5 taken, 3 oldest, 2 newest, 5 used, 5 gave; dropped 3 7 5 9 6",
            "end: 5 entered, 5 taken, 5 used",
            "from fast: 6 entered, 3 taken, 3 oldest",
            "from slow: 4 entered, 2 taken, 2 newest",
        ],
    );
}

#[test]
fn each_entrance_has_an_age_of_its_own() {
    let run = simulate(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)])
            .by([entrance("old", 4, 4), entrance("young", 4, 4).max_age(9)]),
    );
    assert_eq!(
        run,
        [
            "values: 1=101 4=202 5=103 7=104",
            "finished",
            "work: 8 entered, 4 taken, 2 oldest, 2 expired, 4 used, 4 gave; dropped 2 3 6 8",
            "end: 4 entered, 4 taken, 4 used",
            "from old: 4 entered, 3 taken, 1 oldest",
            "from young: 4 entered, 1 taken, 1 oldest, 2 expired",
        ]
    );
}

#[test]
fn a_source_that_ends_or_fails_leaves_the_others_as_they_are() {
    check(
        chain([stage("work", Identity, 3), stage("end", Identity, 0)]).overflow(Block).by([
            source("short", 2, 4),
            source("bad", 2, 5).fails(),
            source("long", 6, 4),
        ]),
        &[
            "values: 1=101 2=301 3=201 4=102 5=302 6=202 7=303 8=304 9=305 10=306",
            "stage \"bad\" failed in source_next: camera unplugged",
            "failed",
            "work: 10 entered, 10 taken, 10 used, 10 gave",
            "end: 10 entered, 10 taken, 10 used",
            "from short: 2 entered, 2 taken",
            "from bad: 2 entered, 2 taken, failed",
            "from long: 6 entered, 6 taken",
        ],
    );
}

fn two() -> [crate::case::EntranceSpec; 2] {
    [entrance("north", 4, 5), entrance("south", 4, 5)]
}

/// North is flushed alone, at that time.
fn north_flushed_at(case: Case, milliseconds: u64) -> Case {
    case.by(two()).flush_source_at(milliseconds, 0)
}

#[test]
fn what_waits_of_one_source_leaves_and_what_others_gave_is_untouched() {
    let case = chain([stage("work", Identity, 10), stage("end", Identity, 30)]).buffer_size(4);
    check(
        north_flushed_at(case, 22),
        &[
            "values: 1=101 2=201 4=202 6=203 8=204",
            "finished",
            "work: 8 entered, 6 taken, 2 flushed, 6 used, 6 gave",
            "end: 6 entered, 5 taken, 1 flushed, 5 used",
            "from north: 4 entered, 2 taken, 2 flushed",
            "from south: 4 entered, 4 taken",
        ],
    );
}

#[test]
fn an_entrance_that_was_flushed_comes_behind_those_that_have_waited() {
    let case = chain([stage("work", Identity, 10), stage("end", Identity, 0)]).buffer_size(4);
    check(
        case.by([entrance("north", 4, 5), entrance("south", 2, 11)]).flush_source_at(12, 0),
        &[
            "values: 1=101 2=201 5=202 6=104",
            "finished",
            "work: 6 entered, 4 taken, 2 flushed, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
            "from north: 4 entered, 2 taken, 2 flushed",
            "from south: 2 entered, 2 taken",
        ],
    );
}

#[test]
fn a_window_keeps_what_is_of_other_sources() {
    let case = chain([stage("sum", Identity, 1).window(3, 1), stage("end", Identity, 0)]).buffer_size(4);
    check(
        north_flushed_at(case, 7),
        &[
            "values: 3=404 4=505 5=506 6=508 7=410 8=511",
            "finished",
            "sum: 8 entered, 8 taken, 6 used, 2 absorbed, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
            "from north: 4 entered, 4 taken",
            "from south: 4 entered, 4 taken",
        ],
    );
}

#[test]
fn a_list_that_gives_one_result_goes_on_if_its_newest_does() {
    let case = |end| chain([stage("sum", Identity, 12).all(), stage("end", Identity, end)]).buffer_size([2, 4]);
    check(
        north_flushed_at(case(0).overflow(Block), 7),
        &[
            "values: 2=302 6=508 8=308",
            "finished",
            "sum: 8 entered, 7 taken, 1 flushed, 3 used, 4 absorbed, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
            "from north: 4 entered, 3 taken, 1 flushed",
            "from south: 4 entered, 4 taken",
        ],
    );
    check(
        north_flushed_at(case(0).overflow(Block), 13),
        &[
            "values: 2=302 6=610 8=308",
            "finished",
            "sum: 8 entered, 8 taken, 3 used, 5 absorbed, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
            "from north: 4 entered, 4 taken",
            "from south: 4 entered, 4 taken",
        ],
    );
    let [north, south] = two();
    check(
        case(0).overflow(Block).by([south, north]).flush_source_at(13, 1),
        &[
            "values: 2=302 8=308",
            "finished",
            "sum: 8 entered, 8 taken, 3 used, 5 absorbed, 3 gave",
            "end: 3 entered, 2 taken, 1 flushed, 2 used",
            "from south: 4 entered, 4 taken",
            "from north: 4 entered, 4 taken",
        ],
    );
}

#[test]
fn of_a_batch_only_what_is_of_the_source_is_dropped() {
    let case = chain([stage("work", FailWith(202), 10).batch(4, 0).retry_then_skip(1), stage("end", Identity, 0)]);
    check(
        north_flushed_at(case.buffer_size(4).overflow(Block), 12),
        &[
            "values: 1=101 2=201 6=203 7=104 8=204",
            "finished",
            "work: 8 entered, 7 taken, 1 flushed, 6 used, 1 failed, 6 gave",
            "end: 6 entered, 5 taken, 1 flushed, 5 used",
            "from north: 4 entered, 3 taken, 1 flushed",
            "from south: 4 entered, 4 taken",
        ],
    );
}

#[test]
fn parts_of_one_source_are_not_asked_for_any_more() {
    let case = chain([stage("many", Many(3), 2), stage("end", Identity, 4)]).buffer_size([4, 1]).overflow(Block);
    check(
        north_flushed_at(case, 7),
        &[
            "values: 1.1=1011 1.2=1012 2.1=2011 2.2=2012 2.3=2013 4.1=2021 4.2=2022 4.3=2023 5.1=1031 5.2=1032 5.3=1033 6.1=2031 6.2=2032 6.3=2033 7.1=1041 7.2=1042 7.3=1043 8.1=2041 8.2=2042 8.3=2043",
            "finished",
            "many: 8 entered, 7 taken, 1 flushed, 7 used, 21 gave",
            "end: 21 entered, 20 taken, 1 flushed, 20 used",
            "from north: 4 entered, 3 taken, 1 flushed",
            "from south: 4 entered, 4 taken",
        ],
    );
}

#[test]
fn what_is_flushed_with_its_source_is_not_tried_again() {
    let case = |bad| chain([stage("work", FailAtFirst { on: bad, times: 1 }, 10).retry(2), stage("end", Identity, 0)]);
    check(
        north_flushed_at(case(101).buffer_size(4), 7),
        &[
            "values: 2=201 4=202 5=103 6=203 7=104 8=204",
            "finished",
            "work: 8 entered, 7 taken, 1 flushed, 6 used, 1 flushed inside, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
            "from north: 4 entered, 3 taken, 1 flushed",
            "from south: 4 entered, 4 taken",
        ],
    );
    check(
        north_flushed_at(case(201).buffer_size(4), 17),
        &[
            "values: 1=101 2=201 4=202 6=203 8=204",
            "finished",
            "work: 8 entered, 5 taken, 3 flushed, 5 used, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
            "from north: 4 entered, 1 taken, 3 flushed",
            "from south: 4 entered, 4 taken",
        ],
    );
}

#[test]
fn results_of_several_workers_that_wait_for_their_turn_leave_too() {
    let case = chain([stage("work", Identity, 10).workers(2).but(2, 60), stage("end", Identity, 0)]).buffer_size(4);
    check(
        north_flushed_at(case.overflow(Block), 35),
        &[
            "values: 1=101 2=201 4=202 6=203 8=204",
            "finished",
            "work: 8 entered, 7 taken, 1 flushed, 7 used, 7 gave",
            "end: 7 entered, 5 taken, 2 flushed, 5 used",
            "from north: 4 entered, 3 taken, 1 flushed",
            "from south: 4 entered, 4 taken",
        ],
    );
}

#[test]
fn what_the_branches_of_a_block_have_of_one_source_is_never_joined() {
    let stages = [stage("a", Identity, 5), stage("b", Identity, 20), stage("end", Identity, 0)];
    check(
        north_flushed_at(chain(stages.clone()).parallel(0, [1, 1]).buffer_size(8).overflow(Block), 17),
        &[
            "values: 2=402 4=404 6=406 8=408",
            "finished",
            "parallel: 8 entered, 8 taken, 8 used, 16 gave",
            "a: 8 entered, 6 taken, 2 flushed, 6 used, 6 gave",
            "b: 8 entered, 5 taken, 3 flushed, 5 used, 5 gave",
            "end: 4 entered, 4 taken, 4 used",
            "from north: 4 entered, 4 taken",
            "from south: 4 entered, 4 taken",
            "parallel: 8 entered, 4 joined, 4 unjoined, 0 inside",
        ],
    );
    check(
        north_flushed_at(chain(stages).parallel(0, [1, 1]).routed().buffer_size(8).overflow(Block), 27),
        &[
            "values: 1=101 2=201 3=102 4=202 6=203 8=204",
            "finished",
            "route: 8 entered, 8 taken, 8 used, 8 gave",
            "a: 4 entered, 4 taken, 4 used, 4 gave",
            "b: 4 entered, 3 taken, 1 flushed, 3 used, 3 gave",
            "end: 7 entered, 6 taken, 1 flushed, 6 used",
            "from north: 4 entered, 4 taken",
            "from south: 4 entered, 4 taken",
            "route: 8 entered, 7 joined, 1 unjoined, 0 inside",
        ],
    );
}

#[test]
fn the_newest_results_of_other_sources_stay() {
    let stages =
        [stage("before", Identity, 0), stage("a", Identity, 1), stage("b", Identity, 3), stage("end", Identity, 0)];
    check(
        north_flushed_at(chain(stages).parallel(1, [1, 1]).with_latest().buffer_size(8).overflow(Block), 14),
        &[
            "values: 1=101 2=201 3=203 4=403 5=205 6=405 7=104 8=406",
            "finished",
            "before: 8 entered, 8 taken, 8 used, 8 gave",
            "parallel: 8 entered, 8 taken, 8 used, 16 gave",
            "a: 8 entered, 8 taken, 8 used, 8 gave",
            "b: 8 entered, 8 taken, 8 used, 8 gave",
            "end: 8 entered, 8 taken, 8 used",
            "from north: 4 entered, 4 taken",
            "from south: 4 entered, 4 taken",
            "parallel: 8 entered, 8 joined, 0 unjoined, 0 inside, 7 renewed",
        ],
    );
}

#[test]
fn parts_of_samples_of_one_source_come_together_no_more() {
    let stages = [
        stage("split", Identity, 1),
        stage("parts", Identity, 2),
        stage("together", Identity, 1),
        stage("end", Identity, 0),
    ];
    check(
        chain(stages).for_each(1, 1).buffer_size(8).overflow(Block).by(two()).flush_source_at(11, 0),
        &[
            "values: 1=1112 2=2212 3=2145 4=4245 6=6299 7=104 8=204",
            "finished",
            "split: 8 entered, 8 taken, 8 used, 8 gave",
            "parts: 12 entered, 9 taken, 3 flushed, 9 used, 9 gave",
            "for each: 8 entered, 7 taken, 1 flushed, 7 used, 7 gave",
            "together: 7 entered, 7 taken, 7 used, 7 gave",
            "end: 7 entered, 7 taken, 7 used",
            "from north: 4 entered, 4 taken",
            "from south: 4 entered, 4 taken",
            "for each: 12 entered, 9 joined, 3 unjoined, 0 inside",
        ],
    );
}

#[test]
fn flushes_of_all_and_of_sources_follow_each_other() {
    let case = chain([stage("work", Identity, 6), stage("end", Identity, 9)]).buffer_size(4).by(two());
    check(
        case.flush_source_at(6, 1).flush_at(8).flush_source_at(12, 0).flush_source_at(21, 1),
        &[
            "values: 1=101 7=104",
            "finished",
            "work: 8 entered, 5 taken, 3 flushed, 5 used, 5 gave",
            "end: 5 entered, 2 taken, 3 flushed, 2 used",
            "from north: 4 entered, 3 taken, 1 flushed",
            "from south: 4 entered, 2 taken, 2 flushed",
        ],
    );
}

#[test]
fn a_source_that_is_added_takes_its_turn_from_then_on() {
    check(
        chain([stage("work", Identity, 4), stage("end", Identity, 0)])
            .overflow(Block)
            .by([source("first", 6, 3), source("guest", 3, 2).added_at(10)]),
        &[
            "values: 1=101 2=102 3=103 4=104 5=201 7=105 6=202 8=106 9=203",
            "finished",
            "work: 9 entered, 9 taken, 9 used, 9 gave",
            "end: 9 entered, 9 taken, 9 used",
            "from first: 6 entered, 6 taken",
            "from guest: 3 entered, 3 taken",
        ],
    );
}

#[test]
fn a_source_that_is_removed_is_asked_for_nothing_more_and_what_it_gave_flows_out() {
    check(
        chain([stage("work", Identity, 4), stage("end", Identity, 0)]).overflow(Block).by([
            source("stays", 6, 3),
            source("leaves", 100, 2).removed_at(9),
            source("late", 2, 1).added_at(12),
        ]),
        &[
            "values: 1=201 2=101 3=202 4=102 5=203 8=301 6=103 7=204 10=302 9=104 11=105 12=106",
            "finished",
            "work: 12 entered, 12 taken, 12 used, 12 gave",
            "end: 12 entered, 12 taken, 12 used",
            "from stays: 6 entered, 6 taken",
            "from leaves: 4 entered, 4 taken",
            "from late: 2 entered, 2 taken",
        ],
    );
}

#[test]
fn a_pipeline_of_entrances_waits_for_a_source_that_is_to_come() {
    check(
        chain([stage("work", Identity, 4), stage("end", Identity, 0)])
            .overflow(Block)
            .by([entrance("by hand", 2, 3), source("guest", 3, 2).added_at(30)])
            .stop_at(60),
        &[
            "values: 1=101 2=102 3=201 4=202 5=203",
            "finished",
            "work: 5 entered, 5 taken, 5 used, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
            "from by hand: 2 entered, 2 taken",
            "from guest: 3 entered, 3 taken",
        ],
    );
}
