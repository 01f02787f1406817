//! The pipelines that are watched, and what is known of each.

use deeppipeline::Report;
use deeppipeline::pipeline::Reporter;
use deeppipeline::report::{Explanation, Outcome, Timeline};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A report that is not older than that is shown to the next who asks: many who look cost the pipelines no more than one.
const FRESH: Duration = Duration::from_millis(400);

/// The number of pipelines that are gone of which the last report is kept.
const GONE: usize = 100;

/// One pipeline at one moment, as `/api/report` gives it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The name under which it is watched.
    pub name: String,
    /// False once the pipeline is gone: this is the last that was seen of it.
    pub is_there: bool,
    /// What happened to every sample.
    pub report: Report,
    /// The text of the failure that stopped it.
    pub failure: Option<String>,
    /// What limits it.
    pub explanation: Explanation,
    /// The column and the lane of each stage in the picture.
    pub places: Vec<(usize, f64)>,
}

/// What the list of pipelines says of one.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    name: String,
    is_there: bool,
    outcome: Outcome,
    stages: usize,
}

/// All that is watched, in the order in which it was added.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pipelines: Mutex<Vec<Pipeline>>,
    /// Held by the one who makes something of a timeline.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Pipeline {
    name: String,
    reporter: Reporter,
    seen: Option<(Instant, Arc<Snapshot>)>,
}

impl Pipeline {
    /// What is known now.
    fn snapshot(&mut self) -> Option<Arc<Snapshot>> {
        let now = Instant::now();
        let is_fresh = |(at, last): &&(Instant, Arc<Snapshot>)| !last.is_there || now.duration_since(*at) < FRESH;
        if let Some((_, last)) = self.seen.as_ref().filter(is_fresh) {
            return Some(Arc::clone(last));
        }
        // First: what is said of one that goes meanwhile may not be the last.
        let is_there = self.reporter.is_there();
        if let Some((report, failure)) = self.reporter.report() {
            let (explanation, places) = (report.explain(), report.places());
            let snapshot = Snapshot { name: self.name.clone(), is_there, report, failure, explanation, places };
            self.seen = Some((now, Arc::new(snapshot)));
        }
        self.seen.as_ref().map(|(_, last)| Arc::clone(last))
    }
}

impl Watched {
    /// Adds a pipeline, and returns the name that it has here: that of one that is gone is free, and otherwise a number
    /// follows it.
    pub(crate) fn add(&self, name: &str, reporter: Reporter) -> String {
        let mut pipelines = self.pipelines.lock();
        let mut name = name.to_owned();
        let is_gone = |old: &&Pipeline| !old.reporter.is_there();
        let mut gone: Vec<String> = pipelines.iter().filter(is_gone).map(|old| old.name.clone()).collect();
        let is_taken =
            |name: &str| pipelines.iter().any(|known| known.name == name) && !gone.iter().any(|old| old == name);
        if is_taken(&name) {
            let numbered = (2..).map(|number| format!("{name} {number}"));
            name = numbered.into_iter().find(|name| !is_taken(name)).unwrap_or(name);
        }
        gone.truncate(gone.len().saturating_sub(GONE));
        pipelines.retain(|known| known.name != name && !gone.contains(&known.name));
        pipelines.push(Pipeline { name: name.clone(), reporter, seen: None });
        name
    }

    /// Returns what is known of every pipeline now.
    pub(crate) fn all(&self) -> Vec<Arc<Snapshot>> {
        self.pipelines.lock().iter_mut().filter_map(Pipeline::snapshot).collect()
    }

    /// Returns what is known of the pipeline of that name; without a name of the first that runs, or else of the last.
    pub(crate) fn one(&self, name: Option<&str>) -> Option<Arc<Snapshot>> {
        let mut pipelines = self.pipelines.lock();
        if let Some(name) = name {
            return pipelines.iter_mut().find(|known| known.name == name)?.snapshot();
        }
        let mut last = None;
        for pipeline in pipelines.iter_mut() {
            last = pipeline.snapshot().or(last);
            if last.as_ref().is_some_and(|last| last.is_there && last.report.outcome == Outcome::Running) {
                break;
            }
        }
        last
    }

    /// Waits for the turn to make something of a timeline.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// Returns the timeline of the pipeline of that name, if it is still there; without a name of the one that
    /// [`one`](Watched::one) returns.
    pub(crate) fn timeline(&self, name: Option<&str>) -> Option<Timeline> {
        let shown = self.one(name)?;
        let reporter = self.pipelines.lock().iter().find(|known| known.name == shown.name)?.reporter.clone();
        reporter.timeline()
    }

    /// Returns the list of all.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let entry = |snapshot: Arc<Snapshot>| Entry {
            name: snapshot.name.clone(),
            is_there: snapshot.is_there,
            outcome: snapshot.report.outcome,
            stages: snapshot.report.stages.len(),
        };
        self.all().into_iter().map(entry).collect()
    }
}
