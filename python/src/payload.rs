//! What flows between stages: Python objects, as they are.

use pyo3::prelude::*;
use std::fmt;

/// A sample's value on its way through the engine.
pub(crate) type Payload = Py<PyAny>;

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
