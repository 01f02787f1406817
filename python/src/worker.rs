//! A worker's two calls, for a Python loop: `next`, then one of `done`, `fail` and `exhausted`.

use crate::payload::{Payload, Raised};
use deeppipeline::engine::{Call, Ending, GoesOn, Input, Part, Wait, Worker as EngineWorker};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyTuple, PyType};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Instant;

/// The engine's side of one worker.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Worker {
    /// One Python thread drives it; the lock only makes that visible to the compiler.
    inner: Mutex<EngineWorker<Payload>>,
    name: String,
}

impl Worker {
    pub(crate) fn new(inner: EngineWorker<Payload>) -> Self {
        let name = inner.name().to_owned();
        Worker { inner: Mutex::new(inner), name }
    }

    fn lock(&self) -> MutexGuard<'_, EngineWorker<Payload>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands one value on: at once where there is room, otherwise waiting without the interpreter.
    fn give(&self, py: Python<'_>, value: Payload, part: Part) {
        let mut guard = self.lock();
        let worker = &mut *guard;
        match worker.give(value, part, Wait::No) {
            Ok(dropped) => drop(dropped),
            Err(value) => {
                let dropped = py.detach(|| worker.give(value, part, Wait::Forever));
                drop(dropped);
            }
        }
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
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<(&'static str, Bound<'py, PyTuple>)>> {
        let mut guard = self.lock();
        let worker = &mut *guard;
        let call = match worker.try_next() {
            Poll::Ready(call) => call,
            Poll::Pending => py.detach(|| worker.next()),
        };
        drop(guard);
        let no_arguments = PyTuple::empty(py);
        Ok(match call {
            None => None,
            Some(Call::Setup) => Some(("setup", no_arguments)),
            Some(Call::SourceNext) => Some(("source_next", no_arguments)),
            Some(Call::Finish) => Some(("finish", no_arguments)),
            Some(Call::Teardown) => Some(("teardown", no_arguments)),
            Some(Call::StageRun(Input::One(sample))) => Some(("stage_run", PyTuple::new(py, [sample.value])?)),
            Some(Call::StageRun(Input::List(samples))) => {
                let list = PyList::new(py, samples.into_iter().map(|sample| sample.value))?;
                Some(("stage_run", PyTuple::new(py, [list])?))
            }
        })
    }

    /// Takes what the call returned.
    fn done(&self, py: Python<'_>, result: Bound<'_, PyAny>) -> PyResult<()> {
        let words = Words::get(py)?;
        if result.is(&words.skip) {
            self.lock().settle(Ending::Skipped);
            return Ok(());
        }
        if result.is_instance(words.many.bind(py))? {
            return self.give_many(py, &result);
        }
        if result.is_instance(words.unfinished.bind(py))? {
            let kind = result.get_type().name()?;
            let advice = "a generator goes into Many(...) to give its values one by one, or into list(...) to give a \
                          list; a coroutine is run inside the stage, for example with asyncio.run(...)";
            return Err(PyTypeError::new_err(format!("stage_run returned a {kind}: {advice}")));
        }
        self.give(py, result.unbind(), Part::Whole);
        self.lock().settle(Ending::Returned);
        Ok(())
    }

    /// The source has no more samples.
    fn exhausted(&self) {
        self.lock().settle(Ending::Exhausted);
    }

    /// The call raised. True when the stage skips the sample and goes on.
    fn fail(&self, exception: &Bound<'_, PyAny>) -> bool {
        let cause = Box::new(Raised::new(exception));
        self.lock().settle(Ending::Failed(cause)) == GoesOn::SkippedFailure
    }
}

impl Worker {
    fn give_many(&self, py: Python<'_>, many: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut ending = Ending::Skipped;
        if self.lock().is_end_stage() {
            ending = Ending::Returned;
        } else {
            for value in many.getattr("values")?.try_iter()? {
                self.give(py, value?.unbind(), Part::OfMany);
                ending = Ending::Returned;
            }
        }
        self.lock().settle(ending);
        Ok(())
    }
}

/// The words of the Python package that the engine must know when it sees them.
struct Words {
    skip: Py<PyAny>,
    many: Py<PyType>,
    /// The types of what a function with `yield` or `async` returns.
    unfinished: Py<PyAny>,
}

impl Words {
    fn get(py: Python<'_>) -> PyResult<&'static Words> {
        static WORDS: PyOnceLock<Words> = PyOnceLock::new();
        WORDS.get_or_try_init(py, || {
            let module = py.import("DeepPipeline._give")?;
            let many = module.getattr("Many")?.cast_into::<PyType>().map_err(|_| PyRuntimeError::new_err("Many"))?;
            let unfinished = module.getattr("UNFINISHED")?.unbind();
            Ok(Words { skip: module.getattr("SKIP")?.unbind(), many: many.unbind(), unfinished })
        })
    }
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
