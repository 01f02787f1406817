//! Replacements: another stage takes the place of one, between two samples, and none is lost.

use crate::case::Does::{Double, FailInFinish, FailInSetup, FailInTeardown, FinishGives, HoldUntilFinish, Identity};
use crate::case::{Case, chain, ms, stage};
use crate::cases::{check, check_on_threads};
use crate::random::{Random, Told, only};
use crate::{simulated, threads};
use deeppipeline::Overflow::Block;

#[test]
fn a_sample_in_work_is_finished_by_the_old_stage_and_those_that_wait_meet_the_new_one() {
    check_on_threads(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(4, 1)
            .stop_at(100)
            .replace_at(15, 0, Double),
        &[
            "values: 1=1 2=2 3=6 4=8",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn what_the_old_stage_still_holds_goes_on_before_anything_of_the_new_one() {
    check(
        chain([stage("work", HoldUntilFinish, 1), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(4, 10)
            .stop_at(100)
            .replace_at(15, 0, FinishGives(1)),
        &[
            "values: 2.1=1 2.2=2 3=3 4=4 4.1=-1",
            "finished",
            "work: 4 entered, 4 taken, 2 used, 2 skipped, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn one_that_fails_in_setup_is_never_seen() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(4, 20)
            .stop_at(100)
            .replace_at(35, 0, FailInSetup)
            .replace_at(75, 0, FailInSetup),
        &[
            "values: 1=1 2=2 3=3 4=4",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn one_that_fails_at_its_end_has_been_replaced_all_the_same() {
    check_on_threads(
        chain([stage("work", FailInFinish, 1), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(4, 10)
            .stop_at(100)
            .replace_at(15, 0, FailInTeardown)
            .replace_at(25, 0, Double),
        &[
            "values: 1=1 2=2 3=3 4=8",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn each_of_several_workers_changes_over_before_its_next_sample() {
    check_on_threads(
        chain([stage("work", Identity, 20).workers(2), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size(8)
            .puts(6, 5)
            .stop_at(200)
            .replace_at(12, 0, Double),
        &[
            "values: 1=1 2=2 3=3 4=8 5=10 6=12",
            "finished",
            "work: 6 entered, 6 taken, 6 used, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
        ],
    );
}

#[test]
fn what_several_workers_still_hold_goes_on_in_its_turn() {
    check_on_threads(
        chain([stage("work", FinishGives(1), 20).workers(2), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size(8)
            .puts(4, 5)
            .stop_at(200)
            .replace_at(12, 0, Double),
        &[
            "values: 1=1 2=2 3=3 2.1=-1 4=8 3.1=-1",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
        ],
    );
}

#[test]
fn a_window_goes_on_with_the_new_stage() {
    check(
        chain([stage("work", Identity, 1).window(2, 1), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(4, 10)
            .stop_at(100)
            .replace_at(15, 0, Double),
        &[
            "values: 2=3 3=10 4=14",
            "finished",
            "work: 4 entered, 4 taken, 3 used, 1 absorbed, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

#[test]
fn a_flush_drops_what_the_old_stage_still_held_of_before() {
    check(
        chain([stage("work", FinishGives(2), 1), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(4, 10)
            .stop_at(100)
            .flush_at(15)
            .replace_at(16, 0, Double),
        &[
            "values: 1=1 2=2 3=6 4=8",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 5 gave",
            "end: 5 entered, 4 taken, 1 flushed, 4 used",
        ],
    );
}

#[test]
fn a_stage_is_replaced_in_a_pause_and_at_the_end() {
    check(
        chain([stage("work", Identity, 1), stage("end", Identity, 0)])
            .overflow(Block)
            .buffer_size(8)
            .puts(4, 10)
            .stop_at(100)
            .pause_at(5, None)
            .replace_at(25, 0, Double)
            .resume_at(50, None)
            .replace_at(60, 1, Double),
        &[
            "values: 1=1 2=4 3=6 4=8",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

/// A random case in which some stages are replaced, each once.
fn replaced(seed: u64) -> Case {
    let mut random = Random(seed);
    let mut case = random.case();
    // What joins two branches is another kind of stage.
    let joins = case.branches().filter(|_| case.is_joined()).map(|[_, second]| second.end);
    for stage in 0..case.stages.len() {
        if joins != Some(stage) && random.one_in(2) {
            let does = [Identity, Double, FailInSetup][random.below(3) as usize];
            case.replacements.push((ms(random.below(80)), stage, does));
        }
    }
    // Whoever scales a stage that is being replaced waits for that.
    case.scalings.clear();
    case.replacements.sort_by_key(|(at, ..)| *at);
    case
}

/// A worker in a process hears of it a while later.
#[test]
fn random_replacements_come_out_the_same_on_threads() {
    for seed in only().map_or(0..200, |seed| seed..seed + 1) {
        let case = replaced(seed);
        let case = if seed % 2 == 1 { case.with_fates() } else { case };
        let told = Told { seed, case: &case };
        let simulated = simulated::run(&case);
        assert_eq!(threads::follow(&case, &simulated), simulated.outcome);
        drop(told);
    }
}
