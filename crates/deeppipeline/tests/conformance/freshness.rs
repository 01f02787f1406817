//! Freshness: what is too old is not worked on.

use crate::case::Does::Identity;
use crate::case::{chain, ms, stage};
use crate::cases::{check, simulate};
use crate::simulated;
use deeppipeline::Overflow::Block;
use deeppipeline::intake::Intake;

#[test]
fn a_sample_that_is_too_old_is_not_taken() {
    let run = simulate(
        chain([stage("work", Identity, 30).max_age(25), stage("end", Identity, 0)]).buffer_size(4).puts(8, 10),
    );
    assert_eq!(
        run,
        [
            "values: 1=1 2=2 5=5 8=8",
            "finished",
            "work: 8 entered, 4 taken, 4 expired, 4 used, 4 gave; dropped 3 4 6 7",
            "end: 4 entered, 4 taken, 4 used",
        ]
    );
}

#[test]
fn a_list_is_made_of_fresh_samples() {
    let run = simulate(
        chain([stage("sum", Identity, 50).max_age(30).all(), stage("end", Identity, 0)])
            .buffer_size([3, 2])
            .overflow(Block)
            .puts(9, 10),
    );
    assert_eq!(
        run,
        [
            "values: 3=6 7=18",
            "finished",
            "sum: 9 entered, 6 taken, 3 expired, 2 used, 4 absorbed, 2 gave; dropped 4 8 9",
            "end: 2 entered, 2 taken, 2 used",
        ]
    );
}

#[test]
fn an_age_that_nothing_reaches_changes_nothing() {
    check(
        chain([stage("work", Identity, 30).max_age(3_600_000), stage("end", Identity, 0)]).puts(8, 10),
        &[
            "values: 1=1 2=2 5=5 7=7 8=8",
            "finished",
            "work: 8 entered, 5 taken, 3 oldest, 5 used, 5 gave; dropped 3 4 6",
            "end: 5 entered, 5 taken, 5 used",
        ],
    );
}

#[test]
fn the_report_tells_how_old_samples_were_at_every_stage_and_at_the_end() {
    let run = simulated::run(
        &chain([stage("one", Identity, 10), stage("two", Identity, 30), stage("end", Identity, 5)]).puts(9, 20),
    );
    let report = &run.moments.last().unwrap().report;
    let ages: Vec<_> = report.stages.iter().map(|stage| (stage.age.p50, stage.age.max)).collect();
    assert_eq!(ages[0], (ms(0), ms(0)));
    assert_eq!([ages[1].1, ages[2].1, report.age.max], [ms(60), ms(90), ms(95)]);
    assert!(report.age.p50 <= report.age.p99 && report.age.p99 <= report.age.max);
}

#[test]
fn under_three_times_overload_nothing_older_is_ever_handed_over() {
    let end = || stage("end", Identity, 90).latest().max_age(100);
    for work in [stage("work", Identity, 30), stage("work", Identity, 30).latest(), stage("work", Identity, 30).all()] {
        let latest = work.intake == Intake::Latest;
        let run = simulated::run(&chain([work.max_age(100), end()]).buffer_size(30).puts(300, 10));
        for moment in &run.moments {
            for stage in &moment.report.stages {
                assert!(stage.age.max <= ms(100), "{stage:?}");
            }
        }
        let last = &run.moments.last().unwrap().report;
        assert!(!latest || last.stages[1].counts.used > 30, "and the stream does not dry up: {last:#?}");
    }
}
