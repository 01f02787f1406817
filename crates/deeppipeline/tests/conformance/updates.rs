//! Updates: a stage is told a factor while the pipeline runs, and multiplies by it from its next sample on.

use crate::case::Does::{FailAtFirst, Identity};
use crate::case::{Case, chain, ms, stage};
use crate::cases::check;
#[cfg(processes)]
use crate::processes;
use crate::random::{Random, only};
use crate::{simulated, threads};
use deeppipeline::Overflow::Block;

#[test]
fn an_idle_stage_is_changed_before_its_next_sample() {
    check(
        chain([stage("work", Identity, 2), stage("end", Identity, 0)])
            .puts(4, 10)
            .update_at(15, 0, 10)
            .update_at(35, 0, 3)
            .stop_at(60),
        &[
            "values: 1=1 2=2 3=30 4=40",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn a_sample_in_work_is_finished_as_the_stage_was() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(4, 1)
            .update_at(15, 0, 10)
            .stop_at(60),
        &[
            "values: 1=1 2=2 3=30 4=40",
            "finished",
            "work: 4 entered, 4 taken, 4 used, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn every_worker_is_changed_after_the_sample_that_it_works_on() {
    check(
        chain([stage("work", Identity, 10).workers(2), stage("end", Identity, 0)])
            .buffer_size(4)
            .overflow(Block)
            .puts(6, 0)
            .update_at(5, 0, 10)
            .stop_at(60),
        &[
            "values: 1=1 2=2 3=30 4=40 5=50 6=60",
            "finished",
            "work: 6 entered, 6 taken, 6 used, 6 gave",
            "end: 6 entered, 6 taken, 6 used",
        ],
    );
}

#[test]
fn a_batch_is_worked_on_by_the_stage_as_it_is_at_the_take() {
    check(
        chain([stage("work", Identity, 10).batch(2, 0), stage("end", Identity, 0)])
            .buffer_size(4)
            .overflow(Block)
            .puts(5, 0)
            .update_at(15, 0, 10)
            .stop_at(60),
        &[
            "values: 1=1 2=2 3=3 4=40 5=50",
            "finished",
            "work: 5 entered, 5 taken, 5 used, 5 gave",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn a_branch_is_changed_alone() {
    check(
        chain([stage("a", Identity, 1), stage("b", Identity, 1), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .puts(3, 10)
            .update_at(5, 1, 10)
            .stop_at(60),
        &[
            "values: 1=2 2=22 3=33",
            "finished",
            "parallel: 3 entered, 3 taken, 3 used, 6 gave",
            "a: 3 entered, 3 taken, 3 used, 3 gave",
            "b: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
            "parallel: 3 entered, 3 joined, 0 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_sample_is_tried_again_by_the_stage_that_failed_on_it() {
    check(
        chain([stage("work", FailAtFirst { on: 1, times: 2 }, 10).retry(2), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(2, 0)
            .update_at(15, 0, 10)
            .stop_at(60),
        &[
            "values: 1=1 2=20",
            "finished",
            "work: 2 entered, 2 taken, 2 used, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn a_paused_stage_is_changed_before_it_is_resumed() {
    check(
        chain([stage("work", Identity, 1), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(3, 5)
            .pause_at(3, Some(0))
            .update_at(8, 0, 10)
            .resume_at(30, Some(0))
            .stop_at(60),
        &[
            "values: 1=1 2=20 3=30",
            "finished",
            "work: 3 entered, 3 taken, 3 used, 3 gave",
            "end: 3 entered, 3 taken, 3 used",
        ],
    );
}

/// A random case in which some stages are updated.
fn updated(seed: u64) -> Case {
    let mut random = Random(seed);
    let mut case = random.case();
    // What joins two branches is another kind of stage.
    let joins = case.branches().filter(|_| case.is_joined()).map(|[_, second]| second.end);
    for _ in 0..1 + random.below(4) {
        let stage = random.below(case.stages.len() as u64) as usize;
        if joins != Some(stage) {
            case.updates.push((ms(random.below(80)), stage, 1 + random.below(5) as i64));
        }
    }
    case
}

#[test]
fn random_updates_come_out_the_same_on_every_executor() {
    for seed in only().map_or(0..200, |seed| seed..seed + 1) {
        let case = updated(seed);
        let case = if seed % 2 == 1 { case.with_fates() } else { case };
        let simulated = simulated::run(&case);
        assert_eq!(threads::follow(&case, &simulated), simulated.outcome, "seed {seed}: {case:#?}");
        #[cfg(processes)]
        if only().is_some() || seed.is_multiple_of(10) {
            let some = |index: usize| ((seed / 10) >> index) & 1 == 1;
            let simulated = simulated::run_in(&case, &some);
            if processes::are_updates_certain(&case, &simulated, some) {
                assert_eq!(processes::follow(&case, &simulated, some), simulated.outcome, "seed {seed}: {case:#?}");
            }
        }
    }
}
