//! What a closure returns is meant: an error is the stage's, nothing ends the sample, and no error goes unnoticed.

use deeppipeline::pipeline::Stream;
use deeppipeline::{All, BoxError, Give, OnError, Overflow, Pipeline, StageError, made_by, retry, stage};
use std::num::ParseIntError;

fn parse(text: &str) -> Result<u32, ParseIntError> {
    text.parse()
}

/// What the failed pipeline says: the stage, and the user's own words.
fn stage_and_cause(error: &StageError) -> (&str, String) {
    (error.stage(), error.cause().to_string())
}

#[test]
fn an_error_of_the_end_stages_closure_stops_the_pipeline() {
    let save = |x: u32| -> Result<(), std::io::Error> { std::fs::write("/proc/nowhere/x", x.to_string()) };
    let pipeline = Pipeline::builder().end_stage(stage(save).name("save")).start().unwrap();
    pipeline.put(1).unwrap();
    let error = pipeline.setstop().unwrap_err();
    assert_eq!(stage_and_cause(&error), ("save", "No such file or directory (os error 2)".to_owned()));
    assert_eq!(error.report().stages[0].counts.failed, 1);
}

#[test]
fn an_error_of_a_closure_is_one_of_its_stage_and_its_value_goes_on() {
    let numbers = Pipeline::builder().source(["1", "2", "x", "4"].into_iter()).stage(parse).stage(|x: u32| 10 * x);
    let mut got: Vec<_> = numbers.stream().unwrap().collect();
    let error = got.pop().unwrap().unwrap_err();
    assert_eq!(stage_and_cause(&error), ("parse", "invalid digit found in string".to_owned()));
    assert!(error.cause().is::<ParseIntError>());
    assert_eq!(got.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [10, 20]);
}

#[test]
fn errors_of_closures_follow_on_error() {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(parse).on_error(OnError::Skip))
        .end_stage(
            stage(|x: u32| if x == 4 { Err(format!("{x} is too much")) } else { Ok(()) }).on_error(OnError::Skip),
        )
        .start()
        .unwrap();
    for text in ["1", "x", "4", ""] {
        pipeline.put(text).unwrap();
    }
    let report = pipeline.setstop().unwrap();
    let failed_and_used = |stage: usize| (report.stages[stage].counts.failed, report.stages[stage].counts.used);
    assert_eq!((failed_and_used(0), failed_and_used(1)), ((2, 2), (1, 1)));
}

#[test]
fn a_closure_that_returns_nothing_of_an_option_ends_the_sample() {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(|x: u32| x.checked_sub(3))
        .stage(|x: u32| Ok::<_, BoxError>((x < 2).then_some(x)))
        .end_stage(|x: u32| (x == 1).then_some(()))
        .start()
        .unwrap();
    for x in 0..10 {
        pipeline.put(x).unwrap();
    }
    let report = pipeline.setstop().unwrap();
    let skipped = report.stages.iter().map(|stage| (stage.counts.skipped, stage.counts.used));
    assert!(skipped.eq([(3, 7), (5, 2), (1, 1)]), "{report}");
}

#[test]
fn a_closure_that_returns_a_give_means_it() {
    let picky = |x: u64| if x == 21 { Err("not that one") } else { Ok(Give::One(x)) };
    let parts = Pipeline::builder()
        .source(0..4_u64)
        .stage(|x: u64| match x {
            0 => Give::Skip,
            1 => Give::One(1),
            x => Give::many((0..x).map(move |part| 10 * x + part)),
        })
        .stage(stage(picky).on_error(OnError::Skip));
    let values: Vec<_> = parts.stream().unwrap().collect();
    assert_eq!(values.into_iter().map(Result::<u64, _>::unwrap).collect::<Vec<_>>(), [1, 20, 30, 31, 32]);

    let end = Pipeline::builder().end_stage(|x: u64| if x == 0 { Give::Skip } else { Give::One(()) }).start().unwrap();
    end.put(0).unwrap();
    end.put(1).unwrap();
    let counts = end.setstop().unwrap().stages.remove(0).counts;
    assert_eq!((counts.skipped, counts.used), (1, 1));
}

#[test]
fn a_next_stage_that_takes_an_option_or_a_result_gets_it_as_it_is() {
    let told: Stream<String> = Pipeline::builder()
        .source(["7", "x"].into_iter())
        .stage(parse)
        .stage(|x: Result<u32, ParseIntError>| x.ok())
        .stage(|x: Option<u32>| Give::One(x.map(|x| x + 1)))
        .stage(|x: Option<u32>| format!("{x:?}"))
        .stream()
        .unwrap();
    assert_eq!(told.map(Result::unwrap).collect::<Vec<_>>(), ["Some(8)", "None"]);
}

#[test]
fn a_closure_that_is_made_or_repeated_or_takes_lists_means_its_result_too() {
    let mut calls = 0;
    let flaky = move |x: u32| {
        calls += 1;
        if calls % 2 == 0 { Ok(x) } else { Err("not now") }
    };
    let sum = |list: Vec<u32>| if list.contains(&9) { Err("nine") } else { Ok(list.iter().sum::<u32>()) };
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(made_by(|| Ok(parse)).workers(2).on_error(OnError::Skip))
        .stage(stage(flaky).on_error(retry(1)))
        .stage(stage(sum).intake(All).on_error(OnError::Skip))
        .end_stage(made_by(|| Ok(|x: u32| if x == 3 { Err("three") } else { Ok(()) })))
        .start()
        .unwrap();
    // What stops the pipeline comes last.
    for text in ["9", "x", "9", "1", "2"] {
        pipeline.put(text).unwrap();
    }
    let error = pipeline.setstop().unwrap_err();
    assert_eq!(stage_and_cause(&error), ("closure 3", "three".to_owned()));
    assert!(error.report().balances(), "{}", error.report());
}

#[test]
fn a_closure_that_only_panics_may_stand_at_the_end() {
    let pipeline = Pipeline::builder().end_stage(|_: u32| panic!("boom")).start().unwrap();
    pipeline.put(1).unwrap();
    assert_eq!(stage_and_cause(&pipeline.setstop().unwrap_err()).1, "panicked: boom");
}
