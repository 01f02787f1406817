//! Reports for the user, as Python objects.

use deeppipeline::report;
use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// The recipe by which pickle makes a report again: a class method, and the JSON that it takes. Its fields have names,
/// so that another version of the package says which of them it misses.
type Remade<'py> = (Bound<'py, PyAny>, (String,));

fn reduce<'py, T: PyTypeInfo>(py: Python<'py>, value: &impl Serialize) -> PyResult<Remade<'py>> {
    let json = serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok((py.get_type::<T>().getattr("_from_json")?, (json,)))
}

fn from_json<T: DeserializeOwned>(json: &str) -> PyResult<T> {
    let unknown = |error| format!("this report is of another version of DeepPipeline: {error}");
    serde_json::from_str(json).map_err(|error| PyValueError::new_err(unknown(error)))
}

/// The identity of a sample: the number of its put, from 1, and its part (0 unless a stage made many of one).
#[pyclass(frozen, eq, ord, module = "DeepPipeline")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SampleId {
    #[pyo3(get)]
    number: u64,
    #[pyo3(get)]
    part: u64,
}

impl From<report::SampleId> for SampleId {
    fn from(id: report::SampleId) -> Self {
        SampleId { number: id.number, part: id.part }
    }
}

#[pymethods]
impl SampleId {
    #[new]
    #[pyo3(signature = (number, part = 0))]
    fn new(number: u64, part: u64) -> Self {
        SampleId { number, part }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyType>, (u64, u64)) {
        (py.get_type::<Self>(), (self.number, self.part))
    }

    fn __str__(&self) -> String {
        report::SampleId { number: self.number, part: self.part }.to_string()
    }

    fn __repr__(&self) -> String {
        format!("SampleId(number={}, part={})", self.number, self.part)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.number, self.part).hash(&mut hasher);
        hasher.finish()
    }
}

/// The spread of a number of durations, in seconds.
#[pyclass(frozen, eq, module = "DeepPipeline")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    #[pyo3(get)]
    p50: f64,
    #[pyo3(get)]
    p99: f64,
    #[pyo3(get)]
    max: f64,
}

impl From<report::Spread> for Spread {
    fn from(spread: report::Spread) -> Self {
        let report::Spread { p50, p99, max, .. } = spread;
        Spread { p50: p50.as_secs_f64(), p99: p99.as_secs_f64(), max: max.as_secs_f64() }
    }
}

#[pymethods]
impl Spread {
    #[new]
    fn new(p50: f64, p99: f64, max: f64) -> Self {
        Spread { p50, p99, max }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyType>, (f64, f64, f64)) {
        (py.get_type::<Self>(), (self.p50, self.p99, self.max))
    }

    fn __repr__(&self) -> String {
        format!("Spread(p50={:?}, p99={:?}, max={:?})", self.p50, self.p99, self.max)
    }
}

/// The fate of every sample, stage by stage. `print(report)` shows a table with a row per stage.
#[pyclass(frozen, module = "DeepPipeline")]
pub(crate) struct Report(pub(crate) deeppipeline::Report);

#[pymethods]
impl Report {
    /// "running", "finished", "failed" or "aborted".
    #[getter]
    fn outcome(&self) -> String {
        self.0.outcome.to_string()
    }

    /// Seconds from the moment every stage was up until the last worker ended (or now).
    #[getter]
    fn elapsed(&self) -> f64 {
        self.0.elapsed.as_secs_f64()
    }

    /// The source, where samples come from one and not by `put`.
    #[getter]
    fn source(&self) -> Option<SourceReport> {
        self.0.source.map(SourceReport)
    }

    /// One entry per stage, in order.
    #[getter]
    fn stages(&self) -> Vec<StageReport> {
        self.0.stages.iter().cloned().map(StageReport).collect()
    }

    /// The age of samples when the end stage was done with them (for a list, its newest).
    #[getter]
    fn age(&self) -> Spread {
        self.0.age.into()
    }

    /// One entry per parallel block whose branches are joined.
    #[getter]
    fn joins(&self) -> Vec<JoinReport> {
        self.0.joins.iter().cloned().map(JoinReport).collect()
    }

    /// Workers that were still in the user's code when the pipeline stopped waiting for them, and what was discarded
    /// and is still in its `__del__`.
    #[getter]
    fn left_behind(&self) -> Vec<String> {
        self.0.left_behind.clone()
    }

    /// All samples dropped in front of any stage.
    #[getter]
    fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    /// Returns true if every sample has exactly one fate.
    fn balances(&self) -> bool {
        self.0.balances()
    }

    /// The stage of that name. Raises `KeyError`, which names those that there are.
    fn stage(&self, name: &Bound<'_, PyString>) -> PyResult<StageReport> {
        let name = name.to_string_lossy();
        self.0.stage(&name).cloned().map(StageReport).ok_or_else(|| {
            let known: Vec<String> = self.0.stages.iter().map(|stage| format!("{:?}", stage.name)).collect();
            PyKeyError::new_err(format!("no stage is called {name:?}: there are {}", known.join(", ")))
        })
    }

    #[classmethod]
    fn _from_json(_class: &Bound<'_, PyType>, json: &str) -> PyResult<Self> {
        from_json(json).map(Report)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Remade<'py>> {
        reduce::<Self>(py, &self.0)
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        let stages: Vec<&str> = self.0.stages.iter().map(|stage| stage.name.as_str()).collect();
        format!("<Report {} stages={stages:?} dropped={}>", self.0.outcome, self.0.dropped())
    }
}

/// The time for which the source lets the pipeline wait. Its own wait for room does not count.
#[pyclass(frozen, module = "DeepPipeline")]
pub(crate) struct SourceReport(report::SourceReport);

#[pymethods]
impl SourceReport {
    /// Seconds for which it has been asked for its next sample by now; `None` when it is not being asked.
    #[getter]
    fn wait(&self) -> Option<f64> {
        self.0.wait.map(|wait| wait.as_secs_f64())
    }

    /// The most seconds for which it was asked for one sample, the present wait included.
    #[getter]
    fn longest_wait(&self) -> f64 {
        self.0.longest_wait.as_secs_f64()
    }

    #[classmethod]
    fn _from_json(_class: &Bound<'_, PyType>, json: &str) -> PyResult<Self> {
        from_json(json).map(SourceReport)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Remade<'py>> {
        reduce::<Self>(py, &self.0)
    }

    fn __repr__(&self) -> String {
        let wait = self.wait().map_or_else(|| "None".to_owned(), |wait| format!("{wait:?}"));
        format!("<SourceReport wait={wait} longest_wait={:?}>", self.longest_wait())
    }
}

/// One parallel block.
#[pyclass(frozen, module = "DeepPipeline")]
pub(crate) struct JoinReport(report::JoinReport);

#[pymethods]
impl JoinReport {
    /// The block's name.
    #[getter]
    fn name(&self) -> String {
        self.0.name.clone()
    }

    /// The number of branches.
    #[getter]
    fn branches(&self) -> usize {
        self.0.branches
    }

    /// Samples that were given to all branches.
    #[getter]
    fn entered(&self) -> u64 {
        self.0.counts.entered
    }

    /// Samples of which every branch had a result: the next stage got these.
    #[getter]
    fn joined(&self) -> u64 {
        self.0.counts.joined
    }

    /// Samples that some branch has ended without a result, or whose results were given up.
    #[getter]
    fn unjoined(&self) -> u64 {
        self.0.counts.unjoined
    }

    /// Samples that are still inside.
    #[getter]
    fn waiting(&self) -> u64 {
        self.0.counts.waiting
    }

    #[classmethod]
    fn _from_json(_class: &Bound<'_, PyType>, json: &str) -> PyResult<Self> {
        from_json(json).map(JoinReport)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Remade<'py>> {
        reduce::<Self>(py, &self.0)
    }

    fn __repr__(&self) -> String {
        let report::JoinCounts { entered, joined, unjoined, .. } = self.0.counts;
        format!("<JoinReport {:?} entered={entered} joined={joined} unjoined={unjoined}>", self.0.name)
    }
}

/// One stage and the buffer in front of it.
#[pyclass(frozen, module = "DeepPipeline")]
pub(crate) struct StageReport(report::StageReport);

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;)*) => {
        #[pymethods]
        impl StageReport {
            $($(#[$doc])* #[getter] fn $name(&self) -> $type { let read: fn(&report::StageReport) -> $type = $value; read(&self.0) })*

            #[classmethod]
            fn _from_json(_class: &Bound<'_, PyType>, json: &str) -> PyResult<Self> {
                from_json(json).map(StageReport)
            }

            fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Remade<'py>> {
                reduce::<Self>(py, &self.0)
            }

            fn __repr__(&self) -> String {
                let dropped = self.0.buffer.dropped();
                format!("<StageReport {:?} taken={} used={} dropped={dropped}>", self.0.name, self.0.buffer.taken, self.0.counts.used)
            }
        }
    };
}

getters! {
    /// The stage's name.
    name: String = |s| s.name.clone();
    /// The intake: "single", "latest", "all", "batch" or "window".
    intake: String = |s| s.intake.to_string();
    /// The overflow policy: what its buffer does when full.
    overflow: &'static str = |s| s.overflow.name();
    /// The number of samples that its buffer holds at most.
    buffer_size: usize = |s| s.buffer_size;
    /// Results of several workers of the stage before that wait for one before them, and have not arrived yet.
    reordering: u64 = |s| s.buffer.reordering;
    /// Samples that arrived in the buffer.
    entered: u64 = |s| s.buffer.entered;
    /// Samples that the stage took.
    taken: u64 = |s| s.buffer.taken;
    /// Waiting samples dropped to make room.
    dropped_oldest: u64 = |s| s.buffer.dropped_oldest;
    /// Arriving samples dropped for want of room.
    dropped_newest: u64 = |s| s.buffer.dropped_newest;
    /// Samples passed over by the intake "latest".
    superseded: u64 = |s| s.buffer.superseded;
    /// Samples that were older than `max_age` when they were to be taken.
    expired: u64 = |s| s.buffer.expired;
    /// All samples dropped: oldest, newest, superseded and expired.
    dropped: u64 = |s| s.buffer.dropped();
    /// Samples given up because the pipeline stopped.
    discarded: u64 = |s| s.buffer.discarded;
    /// Samples in the buffer now.
    waiting: u64 = |s| s.buffer.waiting;
    /// The last samples dropped, superseded or expired, oldest first, 16 at most.
    last_dropped: Vec<SampleId> = |s| s.buffer.last_dropped.iter().copied().map(SampleId::from).collect();
    /// Samples whose result went on (or, in the end stage, that were worked on).
    used: u64 = |s| s.counts.used;
    /// Samples used by a list whose result went on under its newest sample's number.
    absorbed: u64 = |s| s.counts.absorbed;
    /// Samples that the stage ended with SKIP.
    skipped: u64 = |s| s.counts.skipped;
    /// Samples on which the stage failed.
    failed: u64 = |s| s.counts.failed;
    /// Samples that were in flight in a worker process when it died.
    lost: u64 = |s| s.counts.lost;
    /// The number of workers of the stage.
    workers: usize = |s| s.workers;
    /// The age of samples when the stage took them.
    age: Spread = |s| s.age.into();
    /// The number of times a worker process was started again.
    restarts: u64 = |s| s.restarts;
    /// Samples that stage_run is working on now.
    in_flight: u64 = |s| s.counts.in_flight;
    /// Values that the stage gave to the next buffer.
    gave: u64 = |s| s.counts.gave;
    /// Seconds spent in stage_run, all samples together.
    busy: f64 = |s| s.busy.as_secs_f64();
    /// Half of the calls of stage_run took no longer than this many seconds.
    p50: f64 = |s| s.p50.as_secs_f64();
    /// 99 of 100 calls of stage_run took no longer than this many seconds.
    p99: f64 = |s| s.p99.as_secs_f64();
}
