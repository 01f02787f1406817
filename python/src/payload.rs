//! What flows between stages: Python objects as they are, and what native stages work on.
//!
//! A native stage runs on a thread of the engine, which never touches the interpreter. So the border is crossed on the
//! Python side: what is taken by a Python stage becomes an object there, and what is given to a native stage stops being
//! one before it leaves.

use crate::{frame, scene};
use deeppipeline_vision::{Frame, Scene};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::fmt;

/// A sample's value on its way through the engine.
pub(crate) enum Payload {
    Object(Py<PyAny>),
    Native(Value),
}

/// What native stages take and give.
pub(crate) enum Value {
    Frame(Frame),
    Scene(Scene),
    /// An end stage gives nothing.
    Nothing,
}

impl Payload {
    /// What a Python stage gets.
    pub(crate) fn into_object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Payload::Object(object) => Ok(object),
            Payload::Native(Value::Frame(frame)) => {
                Ok(frame::Frame::from(frame).into_pyobject(py)?.into_any().unbind())
            }
            Payload::Native(Value::Scene(scene)) => {
                Ok(scene::Scene::wrap(py, scene)?.into_pyobject(py)?.into_any().unbind())
            }
            Payload::Native(Value::Nothing) => Ok(py.None()),
        }
    }

    /// What the engine carries: an object as it is, unless the next stage is native.
    ///
    /// # Errors
    /// `TypeError` for what no native stage takes.
    pub(crate) fn from_object(object: &Bound<'_, PyAny>, for_native: Option<&str>) -> PyResult<Self> {
        let Some(stage) = for_native else { return Ok(Payload::Object(object.clone().unbind())) };
        if let Ok(frame) = object.cast::<frame::Frame>() {
            return Ok(Payload::Native(Value::Frame(frame.get().inner.clone())));
        }
        if let Ok(scene) = object.cast::<scene::Scene>() {
            return Ok(Payload::Native(Value::Scene(scene.borrow().unwrap(object.py())?)));
        }
        let kind = object.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "the next stage, {stage}, takes a vision.Frame or vision.Scene, but got {kind}"
        )))
    }
}

/// An exception as the engine carries it. Its text is made when it is caught, so that the engine's threads can show it
/// without the interpreter.
#[derive(Debug)]
pub(crate) struct Raised {
    pub(crate) exception: Py<PyAny>,
    text: String,
}

impl Raised {
    pub(crate) fn new(exception: &Bound<'_, PyAny>) -> Self {
        let kind = exception.get_type().name().map(|name| name.to_string());
        let kind = kind.unwrap_or_else(|_| "an exception".to_owned());
        let text = match exception.str().map(|text| text.to_string()) {
            Ok(text) if !text.is_empty() => format!("{kind}: {text}"),
            _ => kind,
        };
        Raised { exception: exception.clone().unbind(), text }
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Raised {}
