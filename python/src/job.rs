//! What a stage may ask of the engine: its sample, its worker, whether it was flushed.

use deeppipeline::engine::{Interrupted, present_job};
use deeppipeline::report::SampleInfo;
use pyo3::prelude::*;
use std::sync::OnceLock;
use std::time::Instant;

/// The index of the worker that runs the calling stage, from 0; None on a thread that is no worker.
#[pyfunction]
pub(crate) fn worker_index() -> Option<usize> {
    deeppipeline::pipeline::current_worker().map(|worker| worker.index())
}

/// Returns true if the calling stage is in a process that was started again after a crash.
#[pyfunction]
pub(crate) fn restarted() -> bool {
    deeppipeline::pipeline::current_worker().is_some_and(|worker| worker.restarted())
}

/// Returns true if the sample that the calling stage works on had entered the pipeline before a flush.
#[pyfunction]
pub(crate) fn cancelled() -> bool {
    deeppipeline::cancelled()
}

/// Its number, its part, its birth in seconds of `time.monotonic()`, and the name of its source.
type KnownOfSample = (u64, u64, f64, Option<String>);

/// The sample that the calling stage works on.
#[pyfunction]
pub(crate) fn current_sample(py: Python<'_>) -> PyResult<Option<KnownOfSample>> {
    deeppipeline::current_sample().map(|sample| known_of(py, &sample)).transpose()
}

fn known_of(py: Python<'_>, sample: &SampleInfo) -> PyResult<KnownOfSample> {
    // Both clocks are the machine's monotonic clock; they are matched once, so that a sample's birth never changes.
    static ANCHOR: OnceLock<(Instant, f64)> = OnceLock::new();
    let anchor = match ANCHOR.get() {
        Some(anchor) => anchor,
        None => {
            let now = py.import("time")?.getattr("monotonic")?.call0()?.extract()?;
            ANCHOR.get_or_init(|| (Instant::now(), now))
        }
    };
    let after = sample.birth().saturating_duration_since(anchor.0).as_secs_f64();
    let before = anchor.0.saturating_duration_since(sample.birth()).as_secs_f64();
    let source = sample.source().map(str::to_owned);
    Ok((sample.id.number, sample.id.part, anchor.1 + after - before, source))
}

/// What the calling thread of a worker works on, for coroutines that run on another.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Job(Interrupted);

#[pymethods]
impl Job {
    #[new]
    fn new() -> Self {
        Job(present_job())
    }

    #[getter]
    fn sample(&self, py: Python<'_>) -> PyResult<Option<KnownOfSample>> {
        self.0.sample().map(|sample| known_of(py, &sample)).transpose()
    }

    #[getter]
    fn worker(&self) -> Option<usize> {
        self.0.worker().map(|worker| worker.index())
    }

    #[getter]
    fn restarted(&self) -> bool {
        self.0.worker().is_some_and(|worker| worker.restarted())
    }

    /// Returns true if the sample had entered the pipeline before a flush.
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }

    /// Lets the calling thread work for the same pipeline from now on.
    fn adopt(&self) {
        self.0.clone().adopt();
    }
}
