//! A worker's two calls, for a Python loop: `next`, then one of `done`, `fail` and `exhausted`.

use crate::payload::{Payload, Raised};
use deeppipeline::engine::{Call, Ending, Input, Part, Untold, Wait, Worker as EngineWorker};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyString, PyTuple};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Instant;

/// The engine's side of one worker.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Worker {
    /// One Python thread drives it; the lock only makes that visible to the compiler. Empty once the worker has ended:
    /// the traceback of an exception may keep this object for as long as the pipeline keeps the exception.
    inner: Mutex<Option<EngineWorker<Payload>>>,
    name: String,
    /// The name of the next stage, if that is a native one.
    native_next: Option<String>,
}

/// The name of a method, and its arguments.
type MethodCall<'py> = (&'py Bound<'py, PyString>, Bound<'py, PyTuple>);

impl Worker {
    pub(crate) fn new(inner: EngineWorker<Payload>, native_next: Option<String>) -> Self {
        let name = inner.name().to_owned();
        Worker { inner: Mutex::new(Some(inner)), name, native_next }
    }

    fn lock(&self) -> MutexGuard<'_, Option<EngineWorker<Payload>>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, ending: Ending) -> Untold {
        self.lock().as_mut().map_or(Untold::Nothing, |worker| worker.settle(ending))
    }

    /// Hands one value on: at once where there is room, otherwise waiting without the interpreter.
    fn give(&self, value: &Bound<'_, PyAny>, part: Part) -> PyResult<()> {
        let py = value.py();
        let value = Payload::from_object(value, self.native_next.as_deref())?;
        let mut guard = self.lock();
        let Some(worker) = guard.as_mut() else { return Ok(()) };
        let dropped = match worker.give(value, part, Wait::No) {
            Ok(dropped) => dropped,
            // `Forever` never comes back with the value.
            Err(value) => py.detach(|| worker.give(value, part, Wait::Forever)).unwrap_or_else(Some),
        };
        drop(guard);
        drop(dropped);
        Ok(())
    }
}

#[pymethods]
impl Worker {
    /// The name of its stage.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the next call to make, as (name of the method, arguments); None when the worker is to end.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<MethodCall<'py>>> {
        let mut guard = self.lock();
        let Some(worker) = guard.as_mut() else { return Ok(None) };
        let call = match worker.try_next() {
            Poll::Ready(call) => call,
            Poll::Pending => py.detach(|| worker.next()),
        };
        let Some(call) = call else {
            let ended = guard.take();
            drop(guard);
            drop(ended);
            return Ok(None);
        };
        drop(guard);
        let arguments = match call {
            Call::StageRun(Input::One(sample)) => PyTuple::new(py, [sample.value.into_object(py)?])?,
            Call::StageRun(Input::List(samples)) => {
                let objects = samples.into_iter().map(|sample| sample.value.into_object(py));
                PyTuple::new(py, [PyList::new(py, objects.collect::<PyResult<Vec<_>>>()?)?])?
            }
            Call::Setup => return Ok(Some((intern!(py, "setup"), PyTuple::empty(py)))),
            Call::SourceNext => return Ok(Some((intern!(py, "source_next"), PyTuple::empty(py)))),
            Call::Finish => return Ok(Some((intern!(py, "finish"), PyTuple::empty(py)))),
            Call::Teardown => return Ok(Some((intern!(py, "teardown"), PyTuple::empty(py)))),
        };
        Ok(Some((intern!(py, "stage_run"), arguments)))
    }

    /// Takes what the call returned.
    fn done(&self, py: Python<'_>, result: Bound<'_, PyAny>) -> PyResult<()> {
        if result.is(skip(py)?) {
            self.settle(Ending::Skipped);
            return Ok(());
        }
        self.give(&result, Part::Whole)?;
        self.settle(Ending::Returned);
        Ok(())
    }

    /// Hands on one of many values; after the last of them comes `done_many`. The loop over them is Python's: Rust must
    /// not stand above the user's code when the interpreter exits.
    fn give_part(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.give(value, Part::OfMany)
    }

    /// The call has returned and everything it gave was handed on, or it gave nothing and is a skip.
    fn done_many(&self, any: bool) {
        self.settle(if any { Ending::Returned } else { Ending::Skipped });
    }

    /// Whether what it gives is ignored.
    fn is_end_stage(&self) -> bool {
        self.lock().as_ref().is_some_and(EngineWorker::is_end_stage)
    }

    /// The source has no more samples.
    fn exhausted(&self) {
        self.settle(Ending::Exhausted);
    }

    /// The call raised. What is to be logged about it, since no caller will be told: the stage skips the sample and
    /// goes on, or the pipeline had failed before.
    fn fail(&self, exception: &Bound<'_, PyAny>) -> Option<&'static str> {
        let cause = Box::new(Raised::new(exception));
        match self.settle(Ending::Failed(cause)) {
            Untold::Nothing => None,
            Untold::SkippedFailure => Some("skipped a sample after an error"),
            Untold::LaterFailure => Some("failed too, after the failure that stopped the pipeline"),
        }
    }
}

/// The package's own SKIP, known by identity.
fn skip(py: Python<'_>) -> PyResult<&Py<PyAny>> {
    static SKIP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    SKIP.get_or_try_init(py, || Ok(py.import("DeepPipeline._give")?.getattr("SKIP")?.unbind()))
}

/// The sample that the calling stage works on, as (number, part, birth in seconds of `time.monotonic()`).
#[pyfunction]
pub(crate) fn current_sample(py: Python<'_>) -> PyResult<Option<(u64, u64, f64)>> {
    let Some(sample) = deeppipeline::current_sample() else { return Ok(None) };
    // Both clocks are the machine's monotonic clock; they are matched once, so that a sample's birth never changes.
    static ANCHOR: OnceLock<(Instant, f64)> = OnceLock::new();
    let anchor = match ANCHOR.get() {
        Some(anchor) => anchor,
        None => {
            let now = py.import("time")?.getattr("monotonic")?.call0()?.extract()?;
            ANCHOR.get_or_init(|| (Instant::now(), now))
        }
    };
    let after = sample.birth.saturating_duration_since(anchor.0).as_secs_f64();
    let before = anchor.0.saturating_duration_since(sample.birth).as_secs_f64();
    Ok(Some((sample.id.number, sample.id.part, anchor.1 + after - before)))
}
