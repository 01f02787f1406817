//! The fates of samples on their way to the thread of Python that tells them.

use crate::engine::cause_of;
use crate::payload::Payload;
use deeppipeline::report::FateEvent;
use pyo3::prelude::*;

/// The number and part of a sample, its source, the stage, the fate by its word, the exception, and the value.
pub(crate) type FateFacts =
    (u64, u64, Option<&'static str>, String, &'static str, Option<Py<PyAny>>, Option<Py<PyAny>>);

/// One event for the package.
pub(crate) fn fate_facts(py: Python<'_>, event: FateEvent<Payload>) -> FateFacts {
    let FateEvent { sample, source, stage, fate, error, value, .. } = event;
    let error = error.map(|failure| cause_of(py, failure.cause()));
    // What cannot be made an object any more is gone.
    let value = value.and_then(|value| value.into_object(py).ok());
    (sample.number, sample.part, source, stage, fate.word(), error, value)
}
