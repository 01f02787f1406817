//! The timelines that are written when something goes wrong.

#[cfg(unix)]
#[path = "processes/alone.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod alone;
mod support;

use deeppipeline::report::{Fate, Timeline};
use deeppipeline::{BoxError, OnError, Pipeline, stage};
use std::fs;
use std::path::PathBuf;
use support::until;

/// An empty folder, which goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("deeppipeline-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Folder(folder)
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    /// The timelines, and for each why it was written.
    fn timelines(&self) -> Vec<(String, Timeline)> {
        let read = |name: String| Timeline::from_json(&fs::read(self.0.join(name)).unwrap()).unwrap();
        let timelines = self.names().into_iter().map(read);
        timelines.map(|timeline| (timeline.marks.last().unwrap().text.clone(), timeline)).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn odd(x: u32) -> Result<(), BoxError> {
    if x % 2 == 1 { Ok(()) } else { Err("it is even".into()) }
}

#[test]
fn a_pipeline_that_fails_leaves_its_timeline_once_setstop_returns() {
    let folder = Folder::new("fails");
    let pipeline = Pipeline::builder().dump_to(&folder.0).end_stage(stage(odd).name("odd")).start().unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    pipeline.setstop().unwrap_err();
    let [(why, timeline)] = folder.timelines().try_into().unwrap();
    assert_eq!(why, "the pipeline failed");
    assert_eq!(timeline.marks[0].text, "odd failed in stage_run: it is even");
    let fates: Vec<_> = timeline.visits.iter().map(|visit| (visit.sample.number, visit.fate)).collect();
    assert_eq!(fates, [(1, None), (2, Some(Fate::Failed))]);
}

#[test]
fn what_a_running_pipeline_meets_is_written_at_once_and_what_follows_at_the_end() {
    let folder = Folder::new("runs");
    let end = stage(odd).on_error(OnError::Skip);
    let pipeline = Pipeline::builder().dump_to(&folder.0).end_stage(end).start().unwrap();
    pipeline.put(2).unwrap();
    until(|| !folder.names().is_empty());
    pipeline.put(4).unwrap();
    pipeline.setstop().unwrap();
    let written: Vec<_> = folder.timelines().into_iter().map(|(why, timeline)| (why, timeline.visits.len())).collect();
    assert_eq!(written, [("a stage failed".to_owned(), 1), ("a stage failed".to_owned(), 2)]);
}

#[test]
fn one_in_which_nothing_goes_wrong_writes_nothing() {
    let folder = Folder::new("well");
    let pipeline = Pipeline::builder().dump_to(&folder.0).end_stage(odd).start().unwrap();
    pipeline.put(1).unwrap();
    pipeline.setstop().unwrap();
    assert!(!folder.0.exists());
}

#[test]
fn a_folder_that_cannot_be_written_changes_nothing_else() {
    let folder = Folder::new("file");
    fs::write(&folder.0, "a file").unwrap();
    let end = stage(odd).on_error(OnError::Skip);
    let pipeline = Pipeline::builder().dump_to(folder.0.join("inside")).end_stage(end).start().unwrap();
    pipeline.put(2).unwrap();
    assert_eq!(pipeline.setstop().unwrap().stages[0].counts.failed, 1);
    fs::remove_file(&folder.0).unwrap();
}

#[test]
fn a_folder_without_a_name_is_refused() {
    let refused = Pipeline::builder().dump_to("").end_stage(odd).start().unwrap_err();
    assert_eq!(refused.to_string(), "dump_to is empty, but must be the path of a folder; \".\" is the current one");
}

#[test]
fn a_folder_keeps_the_newest_ten_and_what_is_not_ours() {
    let folder = Folder::new("ten");
    fs::create_dir(&folder.0).unwrap();
    for name in (10..22).map(|number| format!("timeline-{number:016}-1-1.json")).chain(["notes.json".to_owned()]) {
        fs::write(folder.0.join(name), "").unwrap();
    }
    let pipeline = Pipeline::builder().dump_to(&folder.0).end_stage(odd).start().unwrap();
    pipeline.put(2).unwrap();
    pipeline.setstop().unwrap_err();
    let names = folder.names();
    assert_eq!((names.len(), &*names[0], &*names[1]), (11, "notes.json", "timeline-0000000000000013-1-1.json"));
}

#[cfg(unix)]
#[test]
fn a_signal_asks_for_it() {
    // All pipelines of a process hear of it.
    if !alone::is_alone("a_signal_asks_for_it") {
        return;
    }
    let folder = Folder::new("signal");
    let pipeline = Pipeline::builder().dump_to(&folder.0).end_stage(odd).start().unwrap();
    pipeline.put(1).unwrap();
    signal_hook::low_level::raise(signal_hook::consts::SIGUSR2).unwrap();
    until(|| !folder.names().is_empty());
    assert_eq!(folder.timelines()[0].0, "asked for with SIGUSR2");
    pipeline.setstop().unwrap();
}
