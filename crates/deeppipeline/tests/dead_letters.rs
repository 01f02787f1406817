//! Dead letters: the samples on which a stage failed, kept in a folder and put in again.

use deeppipeline::builder::DeadLetters;
use deeppipeline::error::{DeadLetterError, GraphError, StartError};
use deeppipeline::report::{DeadLetter, Fate, FateEvent, replay};
use deeppipeline::{All, Batch, OnError, Overflow, Pipeline, made_by, retry, stage};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

/// A folder of one test, which is gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("dead letters {} {test}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Folder(folder)
    }

    fn letters(&self) -> Vec<DeadLetter> {
        replay(&self.0).unwrap().map(Result::unwrap).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

fn parse(text: String) -> Result<i32, std::num::ParseIntError> {
    text.parse()
}

fn refuse(_: u32) -> Result<(), &'static str> {
    Err("no")
}

fn texts(of: &[&str]) -> Vec<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}

/// The numbers and values of letters.
fn values(letters: &[DeadLetter]) -> Vec<(u64, String)> {
    letters.iter().map(|letter| (letter.sample.number, letter.value().unwrap())).collect()
}

#[test]
fn a_failed_sample_is_kept_with_its_error_and_replayed() {
    let folder = Folder::new("replayed");
    Pipeline::builder()
        .source_at("a", texts(&["1", "two", "3", "four"]).into_iter())
        .dead_letters(&folder.0)
        .stage(stage(parse).name("parse").keep_failed().on_error(OnError::Skip))
        .end_stage(drop::<i32>)
        .start()
        .unwrap()
        .join()
        .unwrap();

    let letters = folder.letters();
    assert_eq!(values(&letters), [(2, "two".to_owned()), (4, "four".to_owned())]);
    let letter = &letters[0];
    assert_eq!((letter.stage.as_str(), letter.fate, letter.source.as_deref()), ("parse", Fate::Failed, Some("a")));
    assert!(letter.error.as_ref().unwrap().contains("invalid digit"), "{:?}", letter.error);

    letters.into_iter().for_each(|letter| letter.remove().unwrap());
    assert!(folder.letters().is_empty());
}

#[test]
fn the_failed_sample_that_stops_the_pipeline_is_kept() {
    let folder = Folder::new("stops");
    let pipeline = Pipeline::builder().dead_letters(&folder.0).end_stage(stage(refuse).keep_failed());
    let pipeline = pipeline.start().unwrap();
    pipeline.put(7).unwrap();
    pipeline.setstop().unwrap_err();
    assert_eq!(folder.letters()[0].value::<u32>().unwrap(), 7);
}

#[test]
fn a_sample_on_which_a_stage_panics_is_kept() {
    let folder = Folder::new("panics");
    let panics = |x: u32| assert_ne!(x, 7, "unlucky");
    Pipeline::builder()
        .source([7_u32].into_iter())
        .dead_letters(&folder.0)
        .end_stage(stage(panics).on_error(OnError::Skip).keep_failed())
        .run()
        .unwrap();
    let [letter] = &folder.letters()[..] else { panic!("one letter") };
    assert_eq!(letter.value::<u32>().unwrap(), 7);
    assert!(letter.error.as_ref().unwrap().contains("unlucky"));
}

#[test]
fn a_sample_that_succeeds_at_the_second_try_is_no_dead_letter() {
    let folder = Folder::new("second try");
    fs::create_dir(&folder).unwrap();
    let mut calls = 0;
    let second = move |x: u32| {
        calls += 1;
        if calls == 2 || x > 1 { Ok(()) } else { Err("not now") }
    };
    Pipeline::builder()
        .source([1_u32, 2].into_iter())
        .dead_letters(&folder.0)
        .end_stage(stage(second).on_error(retry(1)).keep_failed())
        .run()
        .unwrap();
    assert!(folder.letters().is_empty());
}

#[test]
fn a_sample_that_fails_at_every_try_is_kept_once() {
    let folder = Folder::new("every try");
    Pipeline::builder()
        .source([1_u32].into_iter())
        .dead_letters(&folder.0)
        .end_stage(stage(refuse).on_error(retry(3).then_skip()).keep_failed())
        .run()
        .unwrap();
    assert_eq!(folder.letters().iter().map(|letter| letter.value::<u32>().unwrap()).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_stage_that_keeps_nothing_leaves_letters_without_values() {
    let folder = Folder::new("no value");
    Pipeline::builder()
        .source([1_u32].into_iter())
        .dead_letters(&folder.0)
        .end_stage(stage(refuse).on_error(OnError::Skip))
        .run()
        .unwrap();
    let [letter] = &folder.letters()[..] else { panic!("one letter") };
    assert!(matches!(letter.value::<u32>(), Err(DeadLetterError::NoValue { .. })));
}

/// Parses each of a batch, and fails on it as a whole where `as_a_whole`.
fn parse_all(as_a_whole: bool) -> impl FnMut(Vec<String>) -> Result<Vec<Result<i32, &'static str>>, &'static str> {
    move |texts| {
        let parsed: Vec<_> = texts.iter().map(|text| text.parse().map_err(|_| "no number")).collect();
        if as_a_whole && parsed.iter().any(Result::is_err) { Err("one is no number") } else { Ok(parsed) }
    }
}

#[test]
fn of_a_batch_each_failed_sample_is_kept_alone() {
    for as_a_whole in [false, true] {
        let folder = Folder::new(&format!("batch {as_a_whole}"));
        let (tell, told) = channel();
        Pipeline::builder()
            .source(texts(&["1", "two", "3", "four", "five"]).into_iter())
            .buffer_size(5)
            .dead_letters(&folder.0)
            .on_fate(move |mut event: FateEvent| tell.send(event.take_value::<String>()).unwrap())
            .stage(
                stage(parse_all(as_a_whole))
                    .intake(Batch::new(5).max_wait(Duration::from_secs(600)))
                    .keep_failed()
                    .on_error(OnError::Skip),
            )
            .end_stage(drop::<i32>)
            .run()
            .unwrap();
        let kept = [(2, "two"), (4, "four"), (5, "five")].map(|(number, text)| (number, text.to_owned()));
        assert_eq!(values(&folder.letters()), kept);
        assert_eq!(told.into_iter().flatten().collect::<Vec<_>>(), kept.map(|(_, text)| text));
    }
}

#[test]
fn a_batch_that_stops_the_pipeline_is_kept_sample_by_sample() {
    let folder = Folder::new("batch stops");
    Pipeline::builder()
        .source(texts(&["1", "two"]).into_iter())
        .dead_letters(&folder.0)
        .stage(stage(parse_all(true)).intake(Batch::new(2).max_wait(Duration::from_secs(600))).keep_failed())
        .end_stage(drop::<i32>)
        .run()
        .unwrap_err();
    assert_eq!(values(&folder.letters()), [(1, "1".to_owned()), (2, "two".to_owned())]);
}

#[test]
fn several_workers_keep_what_each_fails_on() {
    let folder = Folder::new("workers");
    Pipeline::builder()
        .source(0..40_u32)
        .dead_letters(&folder.0)
        .end_stage(
            made_by(|| Ok(|x: u32| if x.is_multiple_of(2) { Ok(()) } else { Err("odd") }))
                .workers(3)
                .on_error(OnError::Skip)
                .keep_failed(),
        )
        .run()
        .unwrap();
    let mut kept: Vec<u32> = folder.letters().iter().map(|letter| letter.value().unwrap()).collect();
    kept.sort_unstable();
    assert_eq!(kept, (0..40).filter(|x| x % 2 == 1).collect::<Vec<_>>());
}

#[test]
fn a_simulation_keeps_dead_letters_too() {
    let folder = Folder::new("simulation");
    let mut simulation = Pipeline::builder()
        .dead_letters(&folder.0)
        .end_stage(stage(refuse).on_error(OnError::Skip).keep_failed())
        .simulate()
        .unwrap();
    simulation.put_at(Duration::ZERO, 5);
    simulation.run().unwrap();
    assert_eq!(folder.letters()[0].value::<u32>().unwrap(), 5);
}

#[test]
fn a_thousand_failed_samples_stay_within_the_bytes_and_the_newest_are_kept() {
    let folder = Folder::new("bounded");
    let report = Pipeline::builder()
        .source(0..1000_u32)
        .dead_letters(DeadLetters::new(&folder.0).max_bytes(10_000))
        .end_stage(stage(refuse).name("refuse").on_error(OnError::Skip).keep_failed())
        .run()
        .unwrap();
    assert_eq!(report.stages[0].counts.failed, 1000);
    let sizes = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert!(sizes.sum::<u64>() <= 10_000);
    let kept: Vec<u32> = folder.letters().iter().map(|letter| letter.value().unwrap()).collect();
    assert!(!kept.is_empty() && kept.is_sorted(), "{kept:?}");
    if report.fates_missed == 0 {
        assert_eq!(kept, (1000 - kept.len() as u32..1000).collect::<Vec<_>>());
    }
}

#[test]
fn a_letter_that_is_larger_than_all_may_be_is_not_kept_and_holds_up_nothing() {
    let folder = Folder::new("too large");
    fs::create_dir(&folder).unwrap();
    let report = Pipeline::builder()
        .source([1_u32, 2].into_iter())
        .dead_letters(DeadLetters::new(&folder.0).max_bytes(10))
        .end_stage(stage(refuse).on_error(OnError::Skip).keep_failed())
        .run()
        .unwrap();
    assert_eq!(report.stages[0].counts.failed, 2);
    assert!(folder.letters().is_empty());
}

#[test]
fn a_folder_that_cannot_be_made_holds_up_nothing() {
    let folder = Folder::new("a file");
    fs::write(&folder, "in the way").unwrap();
    let report = Pipeline::builder()
        .source([1_u32, 2].into_iter())
        .dead_letters(&folder.0)
        .end_stage(stage(refuse).on_error(OnError::Skip).keep_failed())
        .run()
        .unwrap();
    assert_eq!((report.stages[0].counts.failed, report.fates_missed), (2, 0));
    fs::remove_file(&folder).unwrap();
}

#[test]
fn a_value_that_cannot_be_written_holds_up_nothing() {
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Lacking {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }
    let folder = Folder::new("not written");
    fs::create_dir(&folder).unwrap();
    let names = [None, Some("here".to_owned())];
    Pipeline::builder()
        .source(names.map(|name| Lacking { name }).into_iter())
        .dead_letters(&folder.0)
        .end_stage(stage(|_: Lacking| Err::<(), _>("no")).on_error(OnError::Skip).keep_failed())
        .run()
        .unwrap();
    let [letter] = &folder.letters()[..] else { panic!("one letter") };
    assert_eq!(letter.value::<Lacking>().unwrap().name.as_deref(), Some("here"));
}

#[test]
fn a_bad_letter_holds_up_no_other() {
    let folder = Folder::new("bad");
    Pipeline::builder()
        .source([1_u32, 2].into_iter())
        .dead_letters(&folder.0)
        .end_stage(stage(refuse).on_error(OnError::Skip).keep_failed())
        .run()
        .unwrap();
    fs::write(folder.0.join("00000.letter"), "cut o").unwrap();
    let read: Vec<_> = replay(&folder).unwrap().collect();
    assert!(matches!(read[0], Err(DeadLetterError::Unreadable { .. })), "{:?}", read[0]);
    assert_eq!(read.into_iter().filter_map(Result::ok).count(), 2);
}

#[test]
fn a_value_is_read_only_as_what_it_is() {
    let folder = Folder::new("type");
    Pipeline::builder()
        .source([1_u32].into_iter())
        .dead_letters(&folder.0)
        .end_stage(stage(refuse).on_error(OnError::Skip).keep_failed())
        .run()
        .unwrap();
    let [letter] = &folder.letters()[..] else { panic!("one letter") };
    let error = letter.value::<i32>().unwrap_err();
    assert!(error.to_string().ends_with("has a u32, not a i32"), "{error}");
}

#[test]
fn a_letter_of_python_is_told_apart_by_its_first_line() {
    let folder = Folder::new("python");
    fs::create_dir(&folder).unwrap();
    let line = r#"{"stage": "s", "number": 3, "part": 0, "source": null, "fate": "lost", "error": null, "error_type": null, "type": "builtins.int", "format": "pickle", "time": 1.5}"#;
    fs::write(folder.0.join("1.letter"), format!("{line}\n\u{80}")).unwrap();
    let [letter] = &folder.letters()[..] else { panic!("one letter") };
    assert_eq!((letter.stage.as_str(), letter.sample.number, letter.fate), ("s", 3, Fate::Lost));
    assert!(matches!(letter.value::<u32>(), Err(DeadLetterError::OtherFormat { format, .. }) if format == "pickle"));
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let error = replay(Folder::new("nowhere")).unwrap_err();
    assert!(format!("{error:?}").contains("nowhere\" cannot be read: "), "{error:?}");
}

#[test]
fn what_cannot_be_is_refused_at_the_description() {
    let start = |to: DeadLetters| Pipeline::builder().dead_letters(to).end_stage(drop::<u32>).start().map(drop);
    let refused = |error| matches!(start(error), Err(StartError::Graph(GraphError::NoDeadLetterFolder)));
    assert!(refused(DeadLetters::new("")));
    let nothing = start(DeadLetters::new("dead").max_bytes(0));
    assert!(matches!(nothing, Err(StartError::Graph(GraphError::DeadLetterBytesZero))));

    let lists = Pipeline::builder()
        .overflow(Overflow::Block)
        .end_stage(stage(|_: Vec<u32>| Err::<(), _>("no")).name("sum").intake(All).keep_failed());
    assert!(matches!(lists.start(), Err(StartError::Graph(GraphError::KeepsLists { stage })) if stage == "sum"));
}
