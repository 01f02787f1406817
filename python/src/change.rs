//! What a pipeline changes while it runs, for the Python package.

use crate::engine::{Engine, cause_of, seconds};
use deeppipeline::engine::{Values, Waiting};
use deeppipeline::error::UpdateError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Arc;

/// The reason why an update was not applied by all workers: its kind, its text, the worker and the exception.
type NotUpdated = (&'static str, String, Option<usize>, Option<Py<PyAny>>);

/// Tells every worker of a stage these values between two samples, and waits until all have applied them: bytes for a
/// stage in a process, any object for one on a thread. Returns what is to be raised.
#[pyfunction]
pub(crate) fn update(
    py: Python<'_>,
    engine: PyRef<'_, Engine>,
    stage: &str,
    key: &str,
    values: Bound<'_, PyAny>,
    timeout: Option<f64>,
    note: Py<PyAny>,
) -> PyResult<Option<NotUpdated>> {
    let supervisor = Arc::clone(&engine.supervisor);
    let (values, timeout) = (values_of(&values), timeout.map(seconds));
    let outcome = py.detach(|| match supervisor.update(stage, Some(key), values) {
        Ok(updated) => supervisor.wait_updated(&updated, timeout, |waiting| meanwhile(waiting, &note)),
        Err(refused) => Ok(Err(refused)),
    })?;
    Ok(outcome.err().map(|error| in_words(py, error)))
}

/// Lets every worker of a stage set another one up, and then puts that in its place; waits until all have: bytes for a
/// stage in a process, a list with what each worker is to run for one on threads. Returns what is to be raised.
#[pyfunction]
pub(crate) fn replace(
    py: Python<'_>,
    engine: PyRef<'_, Engine>,
    stage: &str,
    new: Bound<'_, PyAny>,
    timeout: Option<f64>,
    note: Py<PyAny>,
) -> PyResult<Option<NotUpdated>> {
    let supervisor = Arc::clone(&engine.supervisor);
    let (new, timeout) = (values_of(&new), timeout.map(seconds));
    let outcome = py.detach(|| match supervisor.replace(stage, new) {
        Ok(replacement) => supervisor.wait_replaced(&replacement, timeout, |waiting| meanwhile(waiting, &note)),
        Err(refused) => Ok(Err(refused)),
    })?;
    Ok(outcome.err().map(|error| in_words(py, error)))
}

fn values_of(values: &Bound<'_, PyAny>) -> Values {
    match values.cast::<PyBytes>() {
        Ok(bytes) => Values::Bytes(bytes.as_bytes().into()),
        Err(_) => Values::Here(Arc::new(values.clone().unbind())),
    }
}

fn meanwhile(waiting: Waiting, note: &Py<PyAny>) -> PyResult<()> {
    Python::attach(|py| {
        py.check_signals()?;
        match waiting {
            Waiting::For(busy) => note.call1(py, (busy,)).map(drop),
            Waiting::On | Waiting::NoLonger(_) => Ok(()),
        }
    })
}

fn in_words(py: Python<'_>, error: UpdateError) -> NotUpdated {
    let text = error.to_string();
    match error {
        UpdateError::UnknownStage(_) => ("unknown", text, None, None),
        UpdateError::Timeout { .. } => ("timeout", text, None, None),
        UpdateError::ReplaceTimeout { exchanges: false, .. } => ("timeout", text, None, None),
        UpdateError::ReplaceTimeout { exchanges: true, .. } => ("late", text, None, None),
        UpdateError::Failed { worker, cause, .. } | UpdateError::NotReplaced { worker, cause, .. } => {
            ("failed", text, Some(worker), Some(cause_of(py, &*cause)))
        }
        _ => ("refused", text, None, None),
    }
}

/// Returns the index of a stage in the description, and whether its workers are processes, so that what it is told
/// crosses; none where there is no such stage.
#[pyfunction]
pub(crate) fn place_of_stage(engine: PyRef<'_, Engine>, stage: &str) -> Option<(usize, bool)> {
    engine.supervisor.place_of_stage(stage).ok()
}
