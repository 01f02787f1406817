//! An exact cut: after a flush nothing that had entered before comes out, and nothing else is missing.

use crate::case::Does::{FailAtFirst, FinishGives, HoldUntilFinish, Identity, Many};
use crate::case::{Case, EntranceSpec, Input, chain, entrance, stage};
use crate::cases::check;
use crate::random::{Random, Told};
use crate::simulated::{self, Moment};
use deeppipeline::Overflow::Block;
use deeppipeline::intake::Intake;
use deeppipeline::report::SampleId;
use deeppipeline::simulate::Event;

#[test]
fn what_waits_leaves_and_what_enters_afterwards_is_untouched() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 30)]).buffer_size(4).puts(8, 5).flush_at(22),
        &[
            "values: 1=1 6=6 7=7 8=8",
            "finished",
            "work: 8 entered, 6 taken, 2 flushed, 6 used, 6 gave",
            "end: 6 entered, 4 taken, 2 flushed, 4 used",
        ],
    );
}

#[test]
fn a_window_starts_empty_after_a_flush() {
    check(
        chain([stage("sum", Identity, 1).window(3, 1), stage("end", Identity, 0)]).puts(8, 10).flush_at(15),
        &[
            "values: 5=12 6=15 7=18 8=21",
            "finished",
            "sum: 8 entered, 8 taken, 4 used, 2 absorbed, 2 flushed inside, 4 gave",
            "end: 4 entered, 4 taken, 4 used",
        ],
    );
}

#[test]
fn a_list_has_samples_of_one_side_only() {
    check(
        chain([stage("sum", Identity, 1).all(), stage("end", Identity, 0)])
            .buffer_size([3, 2])
            .overflow(Block)
            .puts(8, 10)
            .flush_at(15),
        &[
            "values: 5=12 8=21",
            "finished",
            "sum: 8 entered, 6 taken, 2 flushed, 2 used, 4 absorbed, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn the_parts_that_are_still_to_be_given_of_many_are_not_asked_for() {
    check(
        chain([stage("many", Many(6), 10), stage("end", Identity, 20)])
            .buffer_size([4, 1])
            .overflow(Block)
            .puts(3, 1)
            .flush_at(35),
        &[
            "values: 1.1=11 1.2=12",
            "finished",
            "many: 3 entered, 1 taken, 2 flushed, 1 used, 4 gave",
            "end: 4 entered, 2 taken, 2 flushed, 2 used",
        ],
    );
}

#[test]
fn what_is_flushed_is_not_tried_again() {
    check(
        chain([stage("work", FailAtFirst { on: 1, times: 1 }, 10).retry(2), stage("end", Identity, 0)])
            .puts(3, 8)
            .flush_at(5),
        &[
            "values: 2=2 3=3",
            "finished",
            "work: 3 entered, 3 taken, 2 used, 1 flushed inside, 2 gave",
            "end: 2 entered, 2 taken, 2 used",
        ],
    );
}

#[test]
fn results_that_wait_for_their_turn_leave_too() {
    check(
        chain([stage("work", Identity, 10).workers(2).but(1, 50), stage("end", Identity, 0)])
            .overflow(Block)
            .puts(6, 10)
            .flush_at(35),
        &[
            "values: 5=5 6=6",
            "finished",
            "work: 6 entered, 6 taken, 6 used, 6 gave",
            "end: 6 entered, 2 taken, 4 flushed, 2 used",
        ],
    );
}

#[test]
fn what_the_branches_of_a_block_have_is_never_joined() {
    check(
        chain([stage("a", Identity, 5), stage("b", Identity, 20), stage("end", Identity, 0)])
            .parallel(0, [1, 1])
            .buffer_size(4)
            .puts(5, 7)
            .flush_at(22),
        &[
            "values: 1=2 5=10",
            "finished",
            "parallel: 5 entered, 5 taken, 5 used, 10 gave",
            "a: 5 entered, 5 taken, 5 used, 5 gave",
            "b: 5 entered, 3 taken, 2 flushed, 3 used, 3 gave",
            "end: 2 entered, 2 taken, 2 used",
            "parallel: 5 entered, 2 joined, 3 unjoined, 0 inside",
        ],
    );
}

#[test]
fn a_flush_during_a_drain_is_a_flush_and_after_the_end_nothing() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)])
            .buffer_size(8)
            .puts(6, 1)
            .flush_at(25)
            .flush_at(500),
        &[
            "values: 1=1 2=2",
            "finished",
            "work: 6 entered, 3 taken, 3 flushed, 3 used, 3 gave",
            "end: 3 entered, 2 taken, 1 flushed, 2 used",
        ],
    );
}

#[test]
fn what_a_source_waits_with_for_room_has_not_entered() {
    check(
        chain([stage("work", Identity, 10), stage("end", Identity, 0)]).buffer_size(2).source(8, 1).flush_at(25),
        &[
            "values: 1=1 2=2 6=6 7=7 8=8",
            "finished",
            "work: 8 entered, 6 taken, 2 flushed, 6 used, 6 gave",
            "end: 6 entered, 5 taken, 1 flushed, 5 used",
        ],
    );
}

#[test]
fn what_finish_gives_is_as_old_as_the_last_sample() {
    check(
        chain([stage("hold", HoldUntilFinish, 1), stage("end", Identity, 0)]).puts(4, 10).flush_at(35).stop_at(60),
        &["values: ", "finished", "hold: 4 entered, 4 taken, 4 skipped, 1 gave", "end: 1 entered, 1 flushed"],
    );
    check(
        chain([stage("hold", HoldUntilFinish, 1), stage("end", Identity, 0)]).puts(4, 10).flush_at(25).stop_at(60),
        &[
            "values: 4.1=1 4.3=3 4.4=4",
            "finished",
            "hold: 4 entered, 4 taken, 4 skipped, 4 gave",
            "end: 4 entered, 3 taken, 1 oldest, 3 used; dropped 4.2",
        ],
    );
}

#[test]
fn what_finish_gives_of_no_sample_goes_on() {
    check(
        chain([stage("work", Identity, 10), stage("sum", FinishGives(1), 1), stage("end", Identity, 0)])
            .buffer_size(4)
            .puts(4, 1)
            .flush_at(5),
        &[
            "values: 0.1=-1",
            "finished",
            "work: 4 entered, 1 taken, 3 flushed, 1 used, 1 gave",
            "sum: 1 entered, 1 flushed, 1 gave",
            "end: 1 entered, 1 taken, 1 used",
        ],
    );
}

/// `CUTS=1000000 cargo test --release -p deeppipeline --test conformance random_cuts` makes a million of them.
#[test]
fn random_cuts_leave_nothing_behind_and_take_nothing_else() {
    let wanted = std::env::var("CUTS").map_or(1_000, |cuts| cuts.parse().expect("CUTS is a number"));
    let only = std::env::var("CONFORMANCE_SEED").ok().map(|seed| seed.parse().expect("CONFORMANCE_SEED is a number"));
    let (mut seed, mut cuts) = (only.unwrap_or(0), 0);
    while cuts < wanted {
        let case = lossless(&mut Random(seed));
        let told = Told { seed, case: &case };
        cuts += case.flushes.len();
        let run = simulated::run(&case);
        assert_cut(&run.moments, &run.values);
        drop(told);
        if only.is_some() {
            break;
        }
        seed += 1;
    }
}

/// `CUTS=1000000 cargo test --release -p deeppipeline --test conformance random_cuts` makes a million of them, too.
#[test]
fn random_cuts_of_sources_take_nothing_of_others() {
    let wanted = std::env::var("CUTS").map_or(1_000, |cuts| cuts.parse().expect("CUTS is a number"));
    let only = std::env::var("CONFORMANCE_SEED").ok().map(|seed| seed.parse().expect("CONFORMANCE_SEED is a number"));
    let (mut seed, mut cuts) = (only.unwrap_or(0), 0);
    while cuts < wanted {
        let case = lossless_by_several(&mut Random(seed));
        let told = Told { seed, case: &case };
        cuts += case.flushes.len() + case.source_flushes.len();
        let run = simulated::run(&case);
        (0..case.entrances.len()).for_each(|entrance| assert_cut_of(&case, entrance, &run.moments, &run.values));
        drop(told);
        if only.is_some() {
            break;
        }
        seed += 1;
    }
}

/// The same by several entrances, which are flushed alone or together, and without lists that have one result: that is
/// of one source.
fn lossless_by_several(random: &mut Random) -> Case {
    let mut case = lossless(random);
    for stage in &mut case.stages {
        stage.intake = match stage.intake {
            Intake::Batch { max_size, max_wait, .. } => Intake::Batch { max_size, max_wait, fold: false },
            _ => Intake::Single,
        };
    }
    let count = 1 + random.below(3) as usize;
    let entrances = ["north", "south", "west"].into_iter().take(count);
    let entrances: Vec<_> = entrances.map(|name| entrance(name, random.below(15), random.below(8))).collect();
    let flushes = std::mem::take(&mut case.flushes);
    let case = Case { input: Input::Puts(Vec::new()), ..case }.by(entrances);
    flushes.into_iter().fold(case, |mut case, at| {
        match random.one_in(4) {
            true => case.flushes.push(at),
            false => case.source_flushes.push((at, random.below(count as u64) as usize)),
        }
        case
    })
}

/// After each flush of all or of that entrance nothing old of it comes out but what the end stage had in flight, and after
/// the last one everything that entered there comes out once.
fn assert_cut_of(case: &Case, entrance: usize, moments: &[Moment], values: &[(SampleId, i64)]) {
    let name = &case.entrances[entrance].name;
    let entered = |moment: &Moment| moment.report.source(name).map_or(0, |source| source.counts.entered) as i64;
    let first = EntranceSpec::before_first(entrance);
    // Its samples that have come out, from 1.
    let came_out = |values: &[(SampleId, i64)]| -> Vec<i64> {
        let own = values.iter().map(|(_, x)| x - first).filter(|x| (1..100).contains(x));
        own.collect()
    };
    let mut last_cut = (0, 0);
    for (before, moment) in moments.iter().zip(&moments[1..]) {
        match &moment.event {
            Event::Flush => {}
            Event::FlushSource(flushed) if flushed == name => {}
            _ => continue,
        }
        let cut = entered(before);
        let in_flight = before.report.stages.last().map_or(0, |end| end.counts.in_flight);
        let old = came_out(&values[before.values..]).iter().filter(|x| **x <= cut).count() as u64;
        assert!(old <= in_flight, "{old} of {name} came out of {in_flight} after the cut at {cut}");
        last_cut = (cut, before.values);
    }
    let (cut, after) = last_cut;
    let mut new: Vec<i64> = came_out(&values[after..]).into_iter().filter(|x| *x > cut).collect();
    new.sort_unstable();
    let all = moments.last().map_or(0, entered);
    assert_eq!(new, (cut + 1..=all).collect::<Vec<_>>(), "of {name}");
}

/// A chain that loses nothing by itself, so that what is missing a flush has taken: of each sample every stage makes one
/// result, or one of a list.
fn lossless(random: &mut Random) -> Case {
    let count = 1 + random.below(4);
    let stages = (0..count).map(|index| {
        let spec = stage(&format!("stage {index}"), Identity, random.below(12));
        let spec = match random.below(4) {
            0 => spec.all(),
            1 => spec.batch(1 + random.below(3) as usize, random.below(20)),
            _ => spec,
        };
        let workers = 1 + random.below(3) as usize;
        let spec = if random.one_in(3) && index + 1 < count { spec.workers(workers) } else { spec };
        let spec = if random.one_in(4) { spec.unordered() } else { spec };
        let number = 1 + random.below(12);
        spec.but(number, random.below(40))
    });
    let case = chain(stages).overflow(Block).buffer_size(3 + random.below(3) as usize);
    let case = match random.one_in(3) {
        true => case.source(random.below(30) as i64, random.below(6)),
        false => case.puts(random.below(30), random.below(6)),
    };
    (0..1 + random.below(6)).fold(case, |case, _| case.flush_at(random.below(150)))
}

/// After each flush nothing old comes out but what the end stage had in flight, and after the last one everything that
/// entered comes out: a list counts as the sum of its samples, and these are the numbers from 1 on.
fn assert_cut(moments: &[Moment], values: &[(SampleId, i64)]) {
    let entered = |moment: &Moment| moment.report.stages[0].buffer.entered;
    let mut last_cut = (0, 0);
    for (before, _) in moments.iter().zip(&moments[1..]).filter(|(_, moment)| moment.event == Event::Flush) {
        // What waited for room has entered since, and is on the other side.
        let cut = entered(before);
        let in_flight = before.report.stages.last().map_or(0, |end| end.counts.in_flight);
        let old = values[before.values..].iter().filter(|(id, _)| id.number <= cut).count() as u64;
        assert!(old <= in_flight, "{old} came out of {in_flight} after the cut at {cut}");
        last_cut = (cut, before.values);
    }
    let (cut, after) = last_cut;
    let all = moments.last().map_or(0, entered);
    let came_out = values[after..].iter().filter(|(id, _)| id.number > cut).map(|(_, sum)| sum).sum::<i64>() as u64;
    assert_eq!(came_out, (cut + 1..=all).sum::<u64>(), "of {} to {all}", cut + 1);
}

#[test]
fn a_list_that_the_end_stage_works_on_is_used_whole() {
    check(
        chain([stage("end", Identity, 10).all()]).buffer_size(3).overflow(Block).puts(7, 3).flush_at(10),
        &["values: 3=6 7=18", "finished", "end: 7 entered, 6 taken, 1 flushed, 2 used, 4 absorbed"],
    );
}
