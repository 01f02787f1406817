//! The timeline: when each of the last samples came to a stage, was taken, and ended.

use deeppipeline::report::{Fate, Timeline, Visit};
use deeppipeline::{All, BoxError, Give, OnError, Overflow, Pipeline, stage};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A sample, the milliseconds at which it came, was taken and ended, and what came of it.
type Times = (u64, u128, Option<u128>, Option<u128>, &'static str);

/// What the visits of a stage have.
fn times(timeline: &Timeline, stage: &str) -> Vec<Times> {
    let place = timeline.stages.iter().position(|row| row.name == stage).unwrap();
    let of_stage = timeline.visits.iter().filter(|visit| visit.stage == place);
    let time = |visit: &Visit| {
        let (taken, ended) = (visit.taken.map(|at| at.as_millis()), visit.ended.map(|at| at.as_millis()));
        (visit.sample.number, visit.came.as_millis(), taken, ended, visit.word())
    };
    of_stage.map(time).collect()
}

#[test]
fn on_the_virtual_clock_every_visit_is_exact() {
    let mut simulation = Pipeline::builder()
        .buffer_size(1)
        .stage(stage(|x: u32| x).name("quick"))
        .end_stage(stage(|_: u32| {}).name("slow"))
        .simulate()
        .unwrap();
    simulation.takes("quick", 10 * MS).unwrap().takes("slow", 25 * MS).unwrap();
    for x in 0..4 {
        simulation.put_at(x * 10 * MS, x);
    }
    while simulation.now() < 40 * MS {
        simulation.step().unwrap();
    }
    let timeline = simulation.timeline();
    assert_eq!(
        times(&timeline, "quick"),
        [
            (1, 0, Some(0), Some(10), "used"),
            (2, 10, Some(10), Some(20), "used"),
            (3, 20, Some(20), Some(30), "used"),
            (4, 30, Some(30), Some(40), "used"),
        ]
    );
    // The third was the oldest when the fourth came.
    assert_eq!(
        times(&timeline, "slow"),
        [
            (1, 10, Some(10), Some(35), "used"),
            (2, 20, None, Some(30), "dropped_oldest"),
            (3, 30, Some(35), None, "in work"),
            (4, 40, None, None, "waiting"),
        ]
    );
    let wait = simulation.report().stage("slow").unwrap().wait;
    assert_eq!((wait.count, wait.max), (2, 5 * MS), "the first did not wait");
    let lately = timeline.last(6 * MS);
    assert_eq!(
        (times(&lately, "quick").len(), times(&lately, "slow").len()),
        (1, 3),
        "what had ended before is left out"
    );
    assert_eq!(timeline.of_sample(2).iter().filter_map(|visit| visit.fate).collect::<Vec<_>>(), [Fate::DroppedOldest]);
}

#[test]
fn a_stage_that_waits_for_room_gives_its_sample_when_there_is_some() {
    let mut simulation = Pipeline::builder()
        .buffer_size(1)
        .overflow(Overflow::Block)
        .stage(stage(|x: u32| x).name("quick"))
        .end_stage(stage(|_: u32| {}).name("slow"))
        .simulate()
        .unwrap();
    simulation.takes("quick", MS).unwrap().takes("slow", 10 * MS).unwrap();
    for x in 0..4 {
        simulation.put_at(Duration::ZERO, x);
    }
    simulation.run().unwrap();
    let timeline = simulation.timeline();
    let came: Vec<u128> = times(&timeline, "slow").iter().map(|(_, came, ..)| *came).collect();
    assert_eq!(came, [1, 2, 11, 21], "the third waited until the second was taken");
}

#[test]
fn only_the_last_are_kept() {
    for (record, kept) in [(Some(0), 0), (Some(3), 3), (None, 10)] {
        let mut builder = Pipeline::builder().overflow(Overflow::Block);
        if let Some(record) = record {
            builder = builder.record(record);
        }
        let pipeline = builder.end_stage(|_: u32| {}).start().unwrap();
        (0..10).for_each(|x| pipeline.put(x).map(drop).unwrap());
        pipeline.setstop().unwrap();
        let numbers: Vec<u64> = pipeline.timeline().visits.iter().map(|visit| visit.sample.number).collect();
        assert_eq!(numbers, (11 - kept..=10).collect::<Vec<u64>>(), "{record:?}");
    }
}

#[test]
fn what_waits_in_vain_for_room_came_when_there_was_some() {
    let mut simulation = Pipeline::builder()
        .buffer_size(1)
        .overflow(Overflow::Block)
        .source(0..4)
        .end_stage(stage(|_: i32| {}).name("slow"))
        .simulate()
        .unwrap();
    simulation.takes("slow", 10 * MS).unwrap();
    simulation.run().unwrap();
    let came: Vec<u128> = times(&simulation.timeline(), "slow").iter().map(|(_, came, ..)| *came).collect();
    assert_eq!(came, [0, 0, 10, 20]);
}

#[test]
fn each_way_in_which_a_sample_ends_is_a_visit_of_its_own() {
    let mut simulation = Pipeline::builder()
        .buffer_size(3)
        .stage(stage(|x: u32| if x == 1 { Give::Skip } else { Give::One(x) }).name("some"))
        .end_stage(
            stage(|x: u32| if x == 2 { Err(BoxError::from("two")) } else { Ok(()) })
                .on_error(OnError::Skip)
                .max_age(10 * MS)
                .name("slow"),
        )
        .simulate()
        .unwrap();
    simulation.takes("slow", 20 * MS).unwrap();
    for x in 1..=6 {
        simulation.put_at(x * 4 * MS, x);
    }
    simulation.flush_at(45 * MS);
    simulation.run().unwrap();
    let fates: Vec<_> =
        times(&simulation.timeline(), "slow").iter().map(|(number, .., word)| (*number, *word)).collect();
    let skipped = times(&simulation.timeline(), "some")[0].4;
    assert_eq!(
        (skipped, fates),
        ("skipped", vec![(2, "failed"), (3, "dropped_oldest"), (4, "expired"), (5, "used"), (6, "flushed")])
    );
}

#[test]
fn of_a_list_that_gives_one_result_the_others_are_absorbed() {
    let mut simulation = Pipeline::builder()
        .buffer_size(3)
        .overflow(Overflow::Block)
        .end_stage(stage(|_: Vec<u32>| {}).intake(All).name("sum"))
        .simulate()
        .unwrap();
    for x in 0..3 {
        simulation.put_at(x * MS, x);
    }
    let report = simulation.run().unwrap();
    let words: Vec<_> = times(&simulation.timeline(), "sum").iter().map(|(.., word)| *word).collect();
    assert_eq!((words, report.stages[0].counts.absorbed), (vec!["absorbed", "absorbed", "used"], 2));
}

#[test]
fn what_a_stage_skips_says_nothing_about_what_the_next_skips() {
    let even = |x: u32| if x.is_multiple_of(2) { Give::One(x / 2) } else { Give::Skip };
    let builder = Pipeline::builder().overflow(Overflow::Block).stage(stage(even).name("first"));
    let mut simulation =
        builder.stage(stage(even).name("second")).end_stage(stage(|_: u32| {}).name("end")).simulate().unwrap();
    simulation.takes("first", MS).unwrap();
    for x in 0..400 {
        simulation.put_at(x * 10 * MS, x);
    }
    simulation.run().unwrap();
    let rate = simulation.timeline().what_if(&[]).unwrap().rate;
    assert!((rate - 25.0).abs() < 1.0, "a quarter of 100 a second come through, foretold {rate}");
}

#[test]
fn the_last_second_is_drawn_as_one_second_whatever_is_still_there() {
    let mut simulation = Pipeline::builder()
        .stage(stage(|x: u32| x).name("first"))
        .end_stage(stage(|_: u32| {}).name("hangs"))
        .simulate()
        .unwrap();
    simulation.takes("hangs", 3600 * 1000 * MS).unwrap();
    for x in 0..600 {
        simulation.put_at(x * 1000 * MS, x);
    }
    while simulation.now() < 590 * 1000 * MS {
        simulation.step().unwrap();
    }
    let picture = simulation.timeline().last(2 * 1000 * MS).to_svg(None);
    assert!(picture.contains("the last 2.00 s of 2 stages") && picture.contains("589.000 s"), "{picture}");
    assert!(picture.contains("in work"), "{picture}");
}

#[cfg(feature = "timeline")]
#[test]
fn a_file_that_could_not_be_ours_is_refused_and_one_in_another_order_is_not() {
    let mut simulation = Pipeline::builder().end_stage(stage(|_: u32| {}).name("only")).simulate().unwrap();
    for x in 0..3 {
        simulation.put_at(x * MS, x);
    }
    simulation.run().unwrap();
    let timeline = simulation.timeline();
    let text = timeline.to_json();
    assert_eq!(Timeline::from_json(text.as_bytes()).unwrap(), timeline);
    let changed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
        change(&mut file["deeppipeline"]);
        Timeline::from_json(file.to_string().as_bytes())
    };
    let backwards = changed(&|file| file["visits"].as_array_mut().unwrap().reverse()).unwrap();
    assert_eq!(backwards, timeline);
    type Wrong<'a> = (&'a str, &'a dyn Fn(&mut serde_json::Value));
    let wrong: [Wrong<'_>; 8] = [
        ("visits stage 7 of 1", &|file| file["visits"][0]["stage"] = 7.into()),
        ("has 1000000 workers", &|file| file["stages"][0]["workers"] = 1_000_000.into()),
        ("the visit of sample 1 cannot be", &|file| file["visits"][0]["worker"] = u64::MAX.into()),
        ("the visit of sample 2 cannot be", &|file| file["visits"][1]["taken"] = 0.0.into()),
        ("the visit of sample 3 cannot be", &|file| file["visits"][2]["ended"] = 1e19.into()),
        ("a time that cannot be", &|file| file["until"] = 1e300.into()),
        ("a time that cannot be", &|file| file["plan"]["bringers_wait"] = 7.0.into()),
        ("too many blocks", &|file| {
            let block = serde_json::json!({"name": "", "branches": [], "results": "End", "routed": false});
            file["plan"]["blocks"] = vec![block; 2].into();
        }),
    ];
    for (says, change) in wrong {
        let refused = changed(change).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn a_picture_has_the_newest_and_what_is_followed_and_says_how_many_bars_it_leaves_out() {
    let end = stage(|_: u32| {}).name("only");
    let mut simulation = Pipeline::builder().record(3000).overflow(Overflow::Block).end_stage(end).simulate().unwrap();
    for x in 0..2500 {
        simulation.put_at(x * MS, x);
    }
    simulation.run().unwrap();
    let timeline = simulation.timeline();
    for (follow, left_out) in [(None, "1000 older bars"), (Some(1), "998 older bars")] {
        let picture = timeline.to_svg(follow);
        assert!(picture.contains(left_out), "{follow:?}");
        assert_eq!(picture.contains("data-sample=\"1\""), follow.is_some());
    }
}
