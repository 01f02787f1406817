//! The number of a stage's workers while the pipeline runs, for the Python package.

use crate::engine::{Driver, Engine, Undriven, cause_of, seconds};
use crate::payload::Payload;
use crate::worker::Worker;
#[cfg(processes)]
use crate::worker_process::WorkerProcess;
#[cfg(processes)]
use deeppipeline::engine::Driver as Joining;
#[cfg(not(processes))]
use deeppipeline::engine::Worker as Joining;
use deeppipeline::engine::{Scaling as EngineScaling, Supervisor, Waiting, Worker as EngineWorker, WorkerId};
use deeppipeline::error::ScaleError;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(processes)]
impl From<Joining<Payload>> for Undriven {
    fn from(driver: Joining<Payload>) -> Self {
        match driver {
            Joining::Thread(worker) => Undriven::Thread(Box::new(worker)),
            Joining::Process(process) => Undriven::Process(Box::new(process)),
        }
    }
}

impl From<EngineWorker<Payload>> for Undriven {
    fn from(worker: EngineWorker<Payload>) -> Self {
        Undriven::Thread(Box::new(worker))
    }
}

/// Makes the driver of a worker that joins a stage, which is none of the engine's own; with it come the index of the stage
/// and its place among all workers.
fn driver(engine: &Engine, joining: Joining<Payload>) -> Option<(usize, Option<usize>, Driver)> {
    let undriven = Undriven::from(joining);
    let (worker_id, index) = (undriven.worker_id(), undriven.role().stage()?);
    let driver = match undriven {
        #[cfg(processes)]
        Undriven::Process(process) => Driver::Process(WorkerProcess::new(*process)),
        Undriven::Thread(worker) => {
            let WorkerId::Stage { index: node, .. } = worker_id else { return None };
            let next = engine.nexts.lock().unwrap_or_else(PoisonError::into_inner).get(&node)?.clone();
            Driver::Thread(Worker::new(*worker, next))
        }
    };
    Some((index, engine.supervisor.place_among_all(worker_id), driver))
}

/// The reason why a stage has not got as many workers as it was to have: its kind, its text, the worker and the
/// exception.
type NotScaled = (&'static str, String, Option<usize>, Option<Py<PyAny>>);

/// A change of the number of a stage's workers that is under way.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Scaling {
    supervisor: Arc<Supervisor<Payload>>,
    /// None once it was waited for: an exception may keep this object, and others are to come to their turn.
    scaling: Mutex<Option<EngineScaling<Payload>>>,
    joining: Mutex<Vec<Joining<Payload>>>,
}

/// What came of the beginning.
#[derive(IntoPyObject)]
pub(crate) enum Begun {
    Scaling(Scaling),
    Not(NotScaled),
}

#[pymethods]
impl Scaling {
    /// Hands out the drivers of the workers that join the stage, once: each with the index of the stage and its place
    /// among all workers.
    fn joining(&self, engine: PyRef<'_, Engine>) -> Vec<(usize, Option<usize>, Driver)> {
        let joining = std::mem::take(&mut *self.joining.lock().unwrap_or_else(PoisonError::into_inner));
        joining.into_iter().filter_map(|joining| driver(&engine, joining)).collect()
    }

    /// Waits until those that join the stage are set up, and those that leave it have ended. Returns what is to be
    /// raised.
    fn wait(&self, py: Python<'_>, note: Py<PyAny>) -> PyResult<Option<NotScaled>> {
        let Some(scaling) = self.scaling.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(None) };
        let outcome = py.detach(|| self.supervisor.wait_scaled(&scaling, meanwhile(&note)))?;
        Ok(outcome.err().map(|error| in_words(py, error)))
    }
}

/// Begins to give a stage so many workers. Those that are to leave it do so; those that are to join it are handed out.
#[pyfunction]
pub(crate) fn scale(
    py: Python<'_>,
    engine: PyRef<'_, Engine>,
    stage: &str,
    workers: usize,
    timeout: Option<f64>,
    note: Py<PyAny>,
) -> PyResult<Begun> {
    let supervisor = Arc::clone(&engine.supervisor);
    let begun = py.detach(|| supervisor.scale(stage, workers, timeout.map(seconds), meanwhile(&note)))?;
    Ok(match begun {
        Ok((scaling, joining)) => {
            let (scaling, joining) = (Mutex::new(Some(scaling)), Mutex::new(joining));
            Begun::Scaling(Scaling { supervisor, scaling, joining })
        }
        Err(error) => Begun::Not(in_words(py, error)),
    })
}

/// Looks for signals while a caller waits, and tells it what it waits for.
fn meanwhile(note: &Py<PyAny>) -> impl FnMut(Waiting) -> PyResult<()> + Send + '_ {
    |waiting| {
        Python::attach(|py| {
            py.check_signals()?;
            match waiting {
                Waiting::For(busy) => note.call1(py, (busy,)).map(drop),
                Waiting::On | Waiting::NoLonger(_) => Ok(()),
            }
        })
    }
}

fn in_words(py: Python<'_>, error: ScaleError) -> NotScaled {
    let text = error.to_string();
    match error {
        ScaleError::UnknownStage(_) | ScaleError::Zero { .. } | ScaleError::TooMany { .. } => ("bad", text, None, None),
        ScaleError::Timeout { .. } | ScaleError::NotBegun { .. } => ("timeout", text, None, None),
        ScaleError::Failed { worker, cause, .. } => ("failed", text, Some(worker), Some(cause_of(py, &*cause))),
        _ => ("refused", text, None, None),
    }
}
