//! The samples that a stop has discarded, for a thread of Python: freeing an object may run its `__del__`, which may
//! wait.

use crate::payload::Payload;
use deeppipeline::engine::Discarded as EngineDiscarded;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Values that were discarded in front of a stage.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Discarded(Mutex<Option<EngineDiscarded<Payload>>>);

impl Discarded {
    pub(crate) fn new(discarded: EngineDiscarded<Payload>) -> Self {
        Discarded(Mutex::new(Some(discarded)))
    }
}

#[pymethods]
impl Discarded {
    /// Hands out the objects, for the caller to release: in Python, since no frame of Rust may be above user code that
    /// hangs when the interpreter exits.
    fn take(&self) -> Vec<Py<PyAny>> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(EngineDiscarded::take);
        values.into_iter().flatten().flat_map(Payload::into_objects).collect()
    }

    /// Says that they are freed.
    fn freed(&self) {
        let discarded = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(discarded);
    }
}
