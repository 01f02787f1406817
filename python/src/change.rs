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
    let values = match values.cast::<PyBytes>() {
        Ok(bytes) => Values::Bytes(bytes.as_bytes().into()),
        Err(_) => Values::Here(Arc::new(values.unbind())),
    };
    let meanwhile = |waiting: Waiting| {
        Python::attach(|py| {
            py.check_signals()?;
            match waiting {
                Waiting::For(busy) => note.call1(py, (busy,)).map(drop),
                Waiting::On | Waiting::NoLonger(_) => Ok(()),
            }
        })
    };
    let outcome = py.detach(|| match supervisor.update(stage, key, values) {
        Ok(updated) => supervisor.wait_updated(&updated, timeout.map(seconds), meanwhile),
        Err(refused) => Ok(Err(refused)),
    })?;

    Ok(outcome.err().map(|error| {
        let text = error.to_string();
        match error {
            UpdateError::UnknownStage(_) => ("unknown", text, None, None),
            UpdateError::Timeout { .. } => ("timeout", text, None, None),
            UpdateError::Failed { worker, cause, .. } => ("failed", text, Some(worker), Some(cause_of(py, &*cause))),
            _ => ("refused", text, None, None),
        }
    }))
}

/// Returns true if the workers of a stage are processes, so that what it is told crosses; none where there is no such
/// stage.
#[pyfunction]
pub(crate) fn is_in_process(engine: PyRef<'_, Engine>, stage: &str) -> Option<bool> {
    engine.supervisor.is_stage_in_process(stage).ok()
}
