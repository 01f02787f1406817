//! The values that flow between stages: Python objects as they are or made ready for another process, and the values of
//! native stages.
//!
//! A native stage runs on a thread of the engine, which never touches the interpreter. So the border is crossed on the
//! Python side: what is taken by a Python stage becomes an object there, and what is given to a native stage stops
//! being one before it leaves.

use crate::answers::NoResult;
#[cfg(processes)]
use crate::slot::{Laid, Packed};
use crate::tuple::Tuple;
use crate::{frame, scene};
use deeppipeline::BoxError;
use deeppipeline::error::{NoAnswer, RemoteError};
use deeppipeline_vision::{Frame, Scene};
#[cfg(processes)]
use pyo3::exceptions::PyException;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::fmt;
use std::iter::once;
use std::sync::Arc;

/// A sample's value on its way through the engine.
pub(crate) enum Payload {
    Object(Py<PyAny>),
    Native(Value),
    /// The newest result of a branch, that goes on beside several of another.
    Shared(Arc<Py<PyAny>>),
    /// The results of the branches of a parallel block.
    Tuple(Tuple),
    /// One payload for each branch of a parallel block, as its first stage takes it; the fork takes them apart.
    Branches(Vec<Payload>),
    /// A payload for one way of a route, by its index, as its first stage takes it.
    Way(usize, Box<Payload>),
    /// A sample and its parts, each as it is taken next; the split takes them asunder.
    Parts(Box<Payload>, Vec<Payload>),
    /// A sample and the results of its parts, or how each has ended without one.
    Gathered(Box<Payload>, Vec<Result<Payload, NoAnswer>>),
    /// A sample on its way into another process.
    #[cfg(processes)]
    Packed(Packed),
    /// A sample as it came from another process.
    #[cfg(processes)]
    Laid(Laid),
}

/// The consumer of what is given.
#[derive(Clone)]
pub(crate) enum Next {
    /// A Python stage in the same process.
    Here,
    /// A native stage of that name.
    Native(String),
    /// A stage on the other side of a border between processes, and its name where this process knows it.
    #[cfg(processes)]
    Elsewhere(Option<String>),
    /// The first stages of the branches of a parallel block, each of which gets the object.
    Branches(Vec<Next>),
    /// The first stage of one way of a route: of that which what is given names.
    Way(Vec<Next>),
    /// The first stage for the parts of what is given, which waits for them in this process.
    Parts(Box<Next>),
    /// The join of a parallel block.
    Join,
    /// No consumer: what an end stage gives is ignored.
    Nobody,
}

/// A value that native stages take and give.
#[derive(Clone)]
pub(crate) enum Value {
    Frame(Frame),
    Scene(Scene),
    /// An end stage gives nothing.
    Nothing,
}

impl Payload {
    /// The object that a Python stage gets.
    pub(crate) fn into_object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Payload::Object(object) => Ok(object),
            Payload::Shared(object) => Ok(object.clone_ref(py)),
            Payload::Native(Value::Frame(frame)) => {
                Ok(frame::Frame::from(frame).into_pyobject(py)?.into_any().unbind())
            }
            Payload::Native(Value::Scene(scene)) => {
                Ok(scene::Scene::wrap(py, scene)?.into_pyobject(py)?.into_any().unbind())
            }
            Payload::Native(Value::Nothing) => Ok(py.None()),
            Payload::Tuple(tuple) => tuple.into_object(py),
            Payload::Branches(_) => Err(PyRuntimeError::new_err("what is for several branches was given to one stage")),
            Payload::Way(_, value) => value.into_object(py),
            Payload::Parts(whole, _) => whole.into_object(py),
            Payload::Gathered(whole, results) => {
                let results = results.into_iter().map(|result| match result {
                    Ok(payload) => payload.into_object(py),
                    Err(fate) => Ok(Py::new(py, NoResult::new(py, fate)?)?.into_any()),
                });
                let results = PyList::new(py, results.collect::<PyResult<Vec<_>>>()?)?;
                Ok((whole.into_object(py)?, results).into_pyobject(py)?.into_any().unbind())
            }
            #[cfg(processes)]
            Payload::Packed(packed) => Ok(packed.into_object()),
            #[cfg(processes)]
            Payload::Laid(laid) => laid.into_object(py).map_err(|cause| not_made_again(py, cause)),
        }
    }

    /// The objects in it, for the caller to release.
    pub(crate) fn into_objects(self) -> Vec<Py<PyAny>> {
        match self {
            Payload::Object(object) => vec![object],
            Payload::Shared(object) => Arc::into_inner(object).into_iter().collect(),
            Payload::Native(_) => Vec::new(),
            Payload::Tuple(tuple) => tuple.into_objects(),
            Payload::Branches(payloads) => payloads.into_iter().flat_map(Payload::into_objects).collect(),
            Payload::Way(_, value) => value.into_objects(),
            Payload::Parts(whole, parts) => once(*whole).chain(parts).flat_map(Payload::into_objects).collect(),
            Payload::Gathered(whole, results) => {
                once(*whole).chain(results.into_iter().flatten()).flat_map(Payload::into_objects).collect()
            }
            #[cfg(processes)]
            Payload::Packed(packed) => vec![packed.into_object()],
            #[cfg(processes)]
            Payload::Laid(_) => Vec::new(),
        }
    }

    /// What each of so many branches gets: the package's own threads have made that already, since an object can be
    /// shared only where there is an interpreter.
    pub(crate) fn into_copies(self, branches: usize) -> Vec<Payload> {
        match self {
            Payload::Branches(payloads) => payloads,
            Payload::Native(value) => vec![value; branches].into_iter().map(Payload::Native).collect(),
            _ => unreachable!("a thread of the engine gives native values alone"),
        }
    }

    /// Returns the way that it goes, and what goes it: a thread of Python has chosen already.
    pub(crate) fn into_way(self) -> Result<(usize, Payload), BoxError> {
        match self {
            Payload::Way(branch, value) => Ok((branch, *value)),
            _ => Err("a route was given what names no way".into()),
        }
    }

    /// Takes a sample and its parts asunder: a thread of Python has put them side by side.
    pub(crate) fn into_parts(self) -> Result<(Payload, Vec<Payload>), BoxError> {
        match self {
            Payload::Parts(whole, parts) => Ok((*whole, parts)),
            _ => Err("what was to be split came without its parts".into()),
        }
    }

    /// Puts a sample and the results of its parts side by side.
    pub(crate) fn gathered(self, results: Vec<Result<Payload, NoAnswer>>) -> Payload {
        Payload::Gathered(Box::new(self), results)
    }

    /// Makes so many of the newest result of a branch, which is an object or a native value: what brings results to a
    /// join is a native stage, or a thread of Python that has made an object of what it got.
    pub(crate) fn shared(self, copies: usize) -> Vec<Payload> {
        match self {
            Payload::Object(object) => Payload::Shared(Arc::new(object)).shared(copies),
            Payload::Shared(object) => (0..copies).map(|_| Payload::Shared(Arc::clone(&object))).collect(),
            native => native.into_copies(copies),
        }
    }

    /// The payload that the engine carries: an object as it is, unless the next stage is native or elsewhere.
    ///
    /// # Errors
    /// `TypeError` for what no native stage takes, `SendError` for what cannot be sent to another process.
    pub(crate) fn from_object(object: &Bound<'_, PyAny>, next: &Next) -> PyResult<Self> {
        let stage = match next {
            Next::Here | Next::Join | Next::Nobody => return Ok(Payload::Object(object.clone().unbind())),
            Next::Branches(nexts) => {
                let payloads = nexts.iter().map(|next| Payload::from_object(object, next));
                return payloads.collect::<PyResult<_>>().map(Payload::Branches);
            }
            Next::Way(nexts) => {
                let branch: usize = object.getattr("branch")?.extract()?;
                let next = nexts.get(branch).unwrap_or(&Next::Here);
                let value = Payload::from_object(&object.getattr("value")?, next)?;
                return Ok(Payload::Way(branch, Box::new(value)));
            }
            Next::Parts(first) => {
                let whole = Payload::Object(object.getattr("whole")?.unbind());
                let parts = object.getattr("parts")?.try_iter()?;
                let parts = parts.map(|part| Payload::from_object(&part?, first)).collect::<PyResult<_>>()?;
                return Ok(Payload::Parts(Box::new(whole), parts));
            }
            Next::Native(stage) => Some(stage.as_str()),
            #[cfg(processes)]
            Next::Elsewhere(stage) => stage.as_deref(),
        };

        if let Ok(frame) = object.cast::<frame::Frame>() {
            return Ok(Payload::Native(Value::Frame(frame.get().inner.clone())));
        }
        if let Ok(scene) = object.cast::<scene::Scene>() {
            return Ok(Payload::Native(Value::Scene(scene.borrow().unwrap(object.py())?)));
        }
        #[cfg(processes)]
        if let Next::Elsewhere(_) = next {
            return match Packed::new(object) {
                Ok(packed) => Ok(Payload::Packed(packed)),
                Err(cause) => Err(send_error(object.py(), stage, cause)),
            };
        }

        let (stage, kind) = (stage.unwrap_or_default(), object.get_type().name()?);
        Err(PyTypeError::new_err(format!(
            "the next stage, {stage}, takes a vision.Frame or vision.Scene, but got {kind}"
        )))
    }
}

/// The number of bytes that are copied in less time than it takes to let go of the interpreter and to get it again.
#[cfg(processes)]
const COPIED_AT_ONCE: usize = 4096;

/// Returns true if it takes a while to hand the value on, since it is copied then.
pub(crate) fn takes_a_while(value: &Payload) -> bool {
    match value {
        Payload::Object(_) | Payload::Shared(_) | Payload::Tuple(_) => false,
        Payload::Native(_) => true,
        Payload::Branches(payloads) => payloads.iter().any(takes_a_while),
        Payload::Way(_, value) => takes_a_while(value),
        Payload::Parts(_, parts) => parts.iter().any(takes_a_while),
        Payload::Gathered(..) => false,
        #[cfg(processes)]
        Payload::Packed(packed) => packed.size() > COPIED_AT_ONCE,
        #[cfg(processes)]
        Payload::Laid(_) => false,
    }
}

/// The package's `SendError`, with what went wrong as its cause.
#[cfg(processes)]
pub(crate) fn send_error(py: Python<'_>, stage: Option<&str>, cause: PyErr) -> PyErr {
    let to = stage.map_or("the next stage".to_owned(), |stage| format!("the process of stage {stage:?}"));
    blame_sample(py, cause, |cause| format!("the sample cannot be sent to {to}: {cause}"))
}

/// The package's `SendError` for a sample that has arrived and that pickle cannot make again.
#[cfg(processes)]
fn not_made_again(py: Python<'_>, cause: PyErr) -> PyErr {
    let kind = cause.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
    blame_sample(py, cause, |cause| {
        format!("the sample cannot be made again from its pickle, before the stage gets it: {kind}: {cause}")
    })
}

#[cfg(processes)]
fn blame_sample(py: Python<'_>, cause: PyErr, text: impl FnOnce(&Bound<'_, PyAny>) -> String) -> PyErr {
    // Only an `Exception` says something about the sample.
    if !cause.is_instance_of::<PyException>(py) {
        return cause;
    }
    let error = raise(py, "SendError", &text(cause.value(py).as_any()));
    error.set_cause(py, Some(cause));
    error
}

/// An exception of the package's own.
pub(crate) fn raise(py: Python<'_>, exception: &str, text: &str) -> PyErr {
    let class = py.import("DeepPipeline.errors").and_then(|errors| errors.getattr(exception));
    match class.and_then(|class| class.call1((text,))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(broken) => broken,
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

/// The exception as bytes, for the pipeline's process; none where it does not pickle.
#[cfg(processes)]
pub(crate) fn detail(cause: &BoxError) -> Vec<u8> {
    let Some(raised) = cause.downcast_ref::<Raised>() else { return Vec::new() };
    // Only a thread of Python has raised it, and this is the same thread.
    Python::attach(|py| {
        let dump = py.import("DeepPipeline._pickled").and_then(|module| module.getattr("dump_exception"));
        dump.and_then(|dump| dump.call1((&raised.exception,))?.extract()).unwrap_or_default()
    })
}

/// The exception that a worker process sent, or one that says what is known of it.
pub(crate) fn exception_of(py: Python<'_>, cause: &RemoteError) -> Py<PyAny> {
    let load = py.import("DeepPipeline._pickled").and_then(|module| module.getattr("load_exception"));
    let loaded = load.and_then(|load| load.call1((PyBytes::new(py, cause.detail()), cause.to_string())));
    match loaded {
        Ok(exception) => exception.unbind(),
        Err(broken) => broken.into_value(py).into_any(),
    }
}
