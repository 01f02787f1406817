//! The dashboard, for the Python package.

use crate::engine::Engine;
use deeppipeline::pipeline::Reporter;
use deeppipeline_monitor::{Dashboard as Open, Options};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// A dashboard that is open.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Dashboard {
    /// None once it is closed.
    open: Mutex<Option<Open>>,
    /// The process that serves it: one that was forked off has no thread that does.
    process: u32,
    #[pyo3(get)]
    url: String,
    #[pyo3(get)]
    port: u16,
}

#[pymethods]
impl Dashboard {
    #[new]
    fn new(py: Python<'_>, address: Option<&str>, token: Option<String>) -> PyResult<Self> {
        let mut options = Options::new();
        if let Some(address) = address {
            let wanted =
                || PyValueError::new_err("must be a port, or an IP address and a port, as in \"127.0.0.1:8910\"");
            options = options.address(address.parse::<SocketAddr>().map_err(|_| wanted())?);
        }
        if let Some(token) = token {
            options = options.token(token);
        }
        let open = py.detach(|| options.open()).map_err(|error| PyOSError::new_err(error.to_string()))?;
        let (url, port) = (open.url(), open.address().port());
        Ok(Dashboard { open: Mutex::new(Some(open)), process: std::process::id(), url, port })
    }

    /// Shows a pipeline, and returns the name that it has got; None once the dashboard is closed.
    fn watch(&self, py: Python<'_>, name: &str, engine: &Engine) -> Option<String> {
        let reporter = Reporter::of(&engine.supervisor);
        py.detach(|| {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|open| open.watch(name, reporter))
        })
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.end());
    }
}

impl Dashboard {
    fn end(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        match std::process::id() == self.process {
            true => drop(open),
            // Its thread is elsewhere, and would be waited for in vain.
            false => std::mem::forget(open),
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.end();
    }
}
