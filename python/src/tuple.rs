//! The results of the branches of a parallel block for one sample, as one value: a tuple, once a thread of Python looks
//! at it.
//!
//! The engine joins on whatever thread brought the last result, which may be one that knows no interpreter. So the
//! results are only put side by side there. They become a tuple when a Python stage takes them, or when they are laid
//! into the slot of another process.

use crate::payload::{Payload, Value};
#[cfg(processes)]
use crate::{
    payload::{Raised, send_error},
    slot::Packed,
};
#[cfg(processes)]
use deeppipeline::BoxError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
#[cfg(processes)]
use std::sync::MutexGuard;
use std::sync::{Mutex, PoisonError};

/// The results of all branches, in their order.
pub(crate) struct Tuple(Mutex<State>);

enum State {
    Parts(Vec<Payload>),
    #[cfg(processes)]
    Packed(Packed),
    /// It could not be packed.
    Gone,
}

impl Tuple {
    /// Puts the results side by side: `None` for a branch beside the first that has none yet.
    pub(crate) fn new(parts: Vec<Option<Payload>>) -> Self {
        let parts = parts.into_iter().map(|part| part.unwrap_or(Payload::Native(Value::Nothing)));
        Tuple(Mutex::new(State::Parts(parts.collect())))
    }

    pub(crate) fn into_object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            State::Parts(parts) => tuple(py, parts).map(|tuple| tuple.into_any().unbind()),
            #[cfg(processes)]
            State::Packed(packed) => Ok(packed.into_object()),
            State::Gone => Err(PyRuntimeError::new_err("the tuple could not be packed before")),
        }
    }

    pub(crate) fn into_objects(self) -> Vec<Py<PyAny>> {
        match self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            State::Parts(parts) => parts.into_iter().flat_map(Payload::into_objects).collect(),
            #[cfg(processes)]
            State::Packed(packed) => vec![packed.into_object()],
            State::Gone => Vec::new(),
        }
    }
}

fn tuple(py: Python<'_>, parts: Vec<Payload>) -> PyResult<Bound<'_, PyTuple>> {
    let objects = parts.into_iter().map(|part| part.into_object(py));
    PyTuple::new(py, objects.collect::<PyResult<Vec<_>>>()?)
}

/// The steps on its way into the process of a stage.
#[cfg(processes)]
impl Tuple {
    pub(crate) fn size(&self, stage: &str) -> Result<usize, BoxError> {
        match &*self.packed(stage)? {
            State::Packed(packed) => Ok(packed.size()),
            State::Parts(_) | State::Gone => Err(crate::slot::not_packed()),
        }
    }

    pub(crate) fn write(&self, room: &mut [u8], stage: &str) -> Result<(), BoxError> {
        match &*self.packed(stage)? {
            State::Packed(packed) => packed.write(room),
            State::Parts(_) | State::Gone => Err(crate::slot::not_packed()),
        }
    }

    /// Packs it, once.
    fn packed(&self, stage: &str) -> Result<MutexGuard<'_, State>, BoxError> {
        // Nobody else looks at this value, so nobody waits for the interpreter with this lock in mind.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Parts(parts) = &mut *state {
            let parts = std::mem::take(parts);
            *state = State::Gone;
            // What a block has joined is handed on by a thread of Python that has let go of the interpreter.
            *state = Python::attach(|py| match tuple(py, parts).and_then(|tuple| Packed::new(tuple.as_any())) {
                Ok(packed) => Ok(State::Packed(packed)),
                Err(cause) => {
                    let error = send_error(py, Some(stage), cause);
                    Err(Raised::new(error.value(py).as_any()))
                }
            })?;
        }
        Ok(state)
    }
}
