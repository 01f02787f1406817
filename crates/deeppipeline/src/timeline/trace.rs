//! The timeline as a file: trace events in JSON, which [Perfetto](https://ui.perfetto.dev) and `chrome://tracing` open, with
//! the timeline itself beside them.
//!
//! The format is described in Google's "Trace Event Format".

use super::rows::{Bars, Row};
use super::{Timeline, Visit};
use crate::graph::{MAX_ENTRANCES, MAX_WORKERS};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};
use thiserror::Error;

/// The bytes are no timeline.
#[derive(Debug, Error)]
#[error("this is no timeline that DeepPipeline has written: {0}")]
pub struct NotATimeline(String);

/// The thread numbers of a stage, which no other stage has, and where among them those of its workers begin.
const THREADS: usize = 1_000_000;
const WORKERS: usize = 500_000;

/// The latest time of one: a hundred years.
const LATEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The process that stands for the pipeline; one for each stage comes behind.
const PIPELINE: usize = 1;

impl Timeline {
    /// Returns it as JSON that [Perfetto](https://ui.perfetto.dev) opens: a group of rows for each stage, with the samples
    /// that wait in front of it, those that its workers work on, and the number that wait; arrows from stage to stage along
    /// each sample. [`from_json`](Timeline::from_json) reads it back.
    pub fn to_json(&self) -> String {
        let mut events = vec![name_of("process_name", PIPELINE, 0, "pipeline")];
        events.push(name_of("thread_name", PIPELINE, 1, "what happened"));
        for mark in &self.marks {
            let at = micros(mark.at);
            events.push(json!({"ph": "i", "s": "t", "name": mark.text, "ts": at, "pid": PIPELINE, "tid": 1}));
        }
        let Bars { bars, lanes, workers } = self.bars();
        for (stage, row) in self.stages.iter().enumerate() {
            let pid = pid_of(stage);
            events.push(name_of("process_name", pid, 0, &row.name));
            events.push(json!({"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}}));
            let waiting = (0..lanes[stage]).map(|lane| (Row::Buffer { stage, lane }, format!("waits {}", lane + 1)));
            let workers = (0..workers[stage]).map(|worker| (Row::Worker { stage, worker }, format!("worker {worker}")));
            for (row, name) in waiting.chain(workers) {
                let (_, tid) = ids(row);
                events.push(name_of("thread_name", pid, tid, &name));
                events.push(
                    json!({"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}),
                );
            }
        }

        for bar in &bars {
            let (pid, tid) = ids(bar.row);
            let Visit { sample, source, fate, .. } = bar.visit;
            let is_work = matches!(bar.row, Row::Worker { .. });
            events.push(json!({
                "ph": "X", "cat": if is_work { "work" } else { "wait" }, "name": sample.to_string(), "pid": pid, "tid": tid, "ts": micros(bar.begin),
                "dur": micros(bar.end.saturating_sub(bar.begin)),
                "args": {"sample": sample.number, "part": sample.part, "source": source, "end": bar.visit.word()},
            }));
            // What did not come through is marked where it ended.
            let is_its_last = is_work || bar.visit.taken.is_none();
            if is_its_last && (fate.is_some() || bar.visit.crashed) {
                let name = format!("{sample} {}", bar.visit.word());
                events.push(json!({"ph": "i", "s": "t", "name": name, "ts": micros(bar.end), "pid": pid, "tid": tid}));
            }
        }
        self.add_flows(&bars, &mut events);
        self.add_counts(&mut events);
        json!({"displayTimeUnit": "ms", "traceEvents": events, "deeppipeline": self}).to_string()
    }

    /// Adds an arrow from each time that a worker had a sample to the next such time of it, or of a part of it.
    fn add_flows(&self, bars: &[super::rows::Bar<'_>], events: &mut Vec<Value>) {
        let mut last = BTreeMap::new();
        for bar in bars.iter().filter(|bar| matches!(bar.row, Row::Worker { .. })) {
            let key = (bar.visit.sample.number, bar.visit.source.clone());
            let whole = (key.clone(), 0);
            let before = last.insert((key, bar.visit.sample.part), bar);
            if let Some(before) = before.or_else(|| last.get(&whole).copied().filter(|before| before.end <= bar.begin))
            {
                for (ph, at, (pid, tid)) in [("s", before.begin, ids(before.row)), ("f", bar.begin, ids(bar.row))] {
                    let id = events.len() - usize::from(ph == "f");
                    events.push(json!({
                        "ph": ph, "bp": "e", "id": id, "cat": "sample", "name": "sample", "ts": micros(at), "pid": pid,
                        "tid": tid,
                    }));
                }
            }
        }
    }

    /// Adds how many samples waited in front of each stage over time.
    fn add_counts(&self, events: &mut Vec<Value>) {
        for stage in 0..self.stages.len() {
            let mut changes = Vec::new();
            for visit in self.visits.iter().filter(|visit| visit.stage == stage) {
                changes.push((visit.came, 1));
                changes.extend(visit.taken.or(visit.ended).map(|left| (left, -1)));
            }
            changes.sort();
            let mut waiting = 0;
            for (at, change) in changes {
                waiting += change;
                events.push(json!({"ph": "C", "name": "waiting", "pid": pid_of(stage), "ts": micros(at), "args": {"samples": waiting}}));
            }
        }
    }

    /// Writes it into a file: as a [picture](Timeline::to_svg) where the name ends in `.svg`, otherwise as
    /// [JSON](Timeline::to_json).
    ///
    /// # Errors
    /// The error of the file.
    pub fn save(&self, path: impl AsRef<Path>, follow: Option<u64>) -> io::Result<()> {
        let path = path.as_ref();
        let is_picture = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg"));
        fs::write(path, if is_picture { self.to_svg(follow) } else { self.to_json() })
    }

    /// Reads what [`to_json`](Timeline::to_json) has written.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn from_json(text: &[u8]) -> Result<Timeline, NotATimeline> {
        #[derive(serde::Deserialize)]
        struct File {
            deeppipeline: Timeline,
        }
        let file: File = serde_json::from_slice(text).map_err(|error| NotATimeline(error.to_string()))?;
        file.deeppipeline.checked().map_err(NotATimeline)
    }

    /// The same, in order, if it could be one of ours.
    fn checked(mut self) -> Result<Self, String> {
        let stages = self.stages.len();
        if self.plan.blocks.len() > stages || self.plan.entrances.len() > MAX_ENTRANCES {
            return Err("it has too many blocks or entrances".to_owned());
        }
        if let Some(stage) = self.stages.iter().find(|stage| stage.workers > MAX_WORKERS) {
            return Err(format!("stage {:?} has {} workers", stage.name, stage.workers));
        }
        let is_share = (0.0..=1.0).contains(&self.plan.bringers_wait);
        if !is_share || self.until > LATEST || self.marks.iter().any(|mark| mark.at > LATEST) {
            return Err("it has a time that cannot be".to_owned());
        }
        for visit in &self.visits {
            let Visit { stage, came, taken, ended, worker, .. } = visit;
            if *stage >= stages {
                return Err(format!("a sample visits stage {stage} of {stages}"));
            }
            let times = [Some(*came), *taken, *ended, Some(LATEST)];
            if !times.iter().flatten().is_sorted() || worker.is_some_and(|worker| worker >= MAX_WORKERS) {
                return Err(format!("the visit of sample {} cannot be", visit.sample));
            }
        }
        self.visits.sort_by_key(|visit| (visit.came, visit.stage));
        self.marks.sort_by_key(|mark| mark.at);
        Ok(self)
    }
}

/// The process that stands for a stage.
fn pid_of(stage: usize) -> usize {
    PIPELINE + 1 + stage
}

/// The process and thread that stand for a row.
fn ids(row: Row) -> (usize, usize) {
    let (stage, thread) = match row {
        Row::Buffer { stage, lane } => (stage, lane.min(WORKERS - 1)),
        Row::Worker { stage, worker } => (stage, WORKERS + worker),
    };
    (pid_of(stage), pid_of(stage) * THREADS + thread)
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

fn name_of(what: &str, pid: usize, tid: usize, name: &str) -> Value {
    json!({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}})
}
