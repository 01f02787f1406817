//! A stage in a process, for the Python thread that starts the process and watches over it.

use crate::payload::{Payload, exception_of};
use crate::worker::Worker;
use deeppipeline::engine::{
    ChildEnds, Console as EngineConsole, LEFT_TO_THE_PROGRAM, Lifeline as EngineLifeline, Reads, Then, Watched,
    WorkerProcess as EngineWorkerProcess, Written,
};
use deeppipeline::error::Exit;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A worker process's hold on the pipeline's process, in a process that was started as a worker.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Lifeline(Mutex<Option<EngineLifeline>>);

#[pymethods]
impl Lifeline {
    /// Makes this process end when the pipeline's does; `socket` is its end of the socket, which it keeps.
    #[new]
    fn new(socket: i32, pipeline: u32) -> PyResult<Self> {
        // SAFETY: the descriptor was made for this process and given to it to keep; the package calls this once with it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        Ok(Lifeline(Mutex::new(Some(EngineLifeline::hold(socket, pipeline)?))))
    }

    /// Becomes the worker of a stage, once.
    fn become_worker(&self, py: Python<'_>) -> PyResult<Worker> {
        let lifeline = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let lifeline = lifeline.ok_or_else(|| PyRuntimeError::new_err("this process is a worker already"))?;
        Ok(py.detach(|| Worker::of_bootstrap(lifeline.listen()?))?)
    }
}

/// The signals that a worker leaves to the pipeline's process.
#[pyfunction]
pub(crate) fn left_to_the_program() -> Vec<i32> {
    LEFT_TO_THE_PROGRAM.to_vec()
}

/// Makes those signals do nothing in this process, a worker, from now on.
#[pyfunction]
pub(crate) fn leave_to_the_program() -> PyResult<()> {
    Ok(deeppipeline::engine::leave_to_the_program()?)
}

/// The stderr of workers, put together into one stream.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Console {
    inner: Mutex<EngineConsole>,
}

#[pymethods]
impl Console {
    #[new]
    fn new() -> Self {
        Console { inner: Mutex::new(EngineConsole::new()) }
    }

    /// The text for the stream when that process of that stage has written this.
    fn shows(&self, pid: u32, stage: &str, text: String, redraws: bool, ends: bool) -> String {
        let mut console = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        console.shows(pid, stage, &Written { text, redraws, ends })
    }
}

/// What a caller that watches over a process is to do something about.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) enum News {
    /// The process wrote this to stderr.
    Wrote { text: String, redraws: bool, ends: bool },
    /// The process sent this: a log record.
    Note { note: Py<PyBytes> },
    /// Something happened that is to be logged.
    Told { text: String },
    /// The stage failed, after the failure that stopped the pipeline.
    LaterFailure { exception: Py<PyAny> },
    /// Nothing that is to be read for now: to be asked again.
    Nothing {},
}

/// A stage in a process.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct WorkerProcess {
    /// One Python thread drives it; the lock only makes that visible to the compiler. Empty once the stage has ended.
    inner: Mutex<Option<EngineWorkerProcess<Payload>>>,
    /// The ends that a process that is being started is to have.
    ends: Mutex<Option<ChildEnds>>,
    name: String,
}

impl WorkerProcess {
    pub(crate) fn new(inner: EngineWorkerProcess<Payload>) -> Self {
        let name = inner.name().to_owned();
        WorkerProcess { inner: Mutex::new(Some(inner)), ends: Mutex::default(), name }
    }

    fn lock(&self) -> MutexGuard<'_, Option<EngineWorkerProcess<Payload>>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, call: impl FnOnce(&mut EngineWorkerProcess<Payload>) -> T) -> PyResult<T> {
        match self.lock().as_mut() {
            Some(process) => Ok(call(process)),
            None => Err(PyRuntimeError::new_err("the stage has ended")),
        }
    }
}

#[pymethods]
impl WorkerProcess {
    /// The name of its stage.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// Its first process is its last.
    fn never_restart(&self) -> PyResult<()> {
        self.with(EngineWorkerProcess::never_restart)
    }

    /// Makes ready for a new process: the descriptors that it is to get, its end of the socket and its stderr. They are
    /// closed here by `started`.
    fn open(&self) -> PyResult<(i32, i32)> {
        let ends = self.with(EngineWorkerProcess::open)??;
        let descriptors = (ends.socket.as_raw_fd(), ends.stderr.as_raw_fd());
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends);
        Ok(descriptors)
    }

    /// The process has been started.
    fn started(&self, py: Python<'_>, pid: u32) -> PyResult<()> {
        drop(self.ends.lock().unwrap_or_else(PoisonError::into_inner).take());
        py.detach(|| self.with(|process| process.started(pid)))??;
        Ok(())
    }

    /// Waits until the process that forks a new one has something to say there; false when there is no need for it any
    /// longer.
    fn wait_for(&self, py: Python<'_>, forker: i32) -> PyResult<bool> {
        // SAFETY: the package keeps the descriptor open until this returns.
        let forker = unsafe { BorrowedFd::borrow_raw(forker) };
        Ok(py.detach(|| self.with(|process| process.wait_for(forker)))??)
    }

    /// Watches over the process until there is something to be done about it; None when it has ended.
    fn watch(&self, py: Python<'_>, stderr: bool, words: bool) -> PyResult<Option<News>> {
        Ok(match py.detach(|| self.with(|process| process.watch(Reads { stderr, words })))?? {
            Watched::Wrote(Written { text, redraws, ends }) => Some(News::Wrote { text, redraws, ends }),
            Watched::Nothing => Some(News::Nothing {}),
            Watched::Note(note) => Some(News::Note { note: PyBytes::new(py, &note).unbind() }),
            Watched::Told(text) => Some(News::Told { text }),
            Watched::LaterFailure(cause) => Some(News::LaterFailure { exception: exception_of(py, &cause) }),
            Watched::Exited => None,
        })
    }

    /// Handles the end of the process, with this exit code if it is known, a negative one for a signal. Returns after
    /// how many seconds another is to be started, and what happened; None if the stage has ended, and what is to be
    /// logged of it.
    fn ended(&self, py: Python<'_>, code: Option<i32>) -> PyResult<(Option<f64>, Option<String>)> {
        let told = code.map(|code| if code < 0 { Exit::Signal(-code) } else { Exit::Code(code) });
        match py.detach(|| self.with(|process| process.ended(told)))? {
            Then::Restart { pause, why } => Ok((Some(pause.as_secs_f64()), Some(why))),
            Then::Over { warning } => {
                drop(self.lock().take());
                Ok((None, warning))
            }
        }
    }

    /// Waits out the pause before a restart; false when there is no need for one any longer.
    fn rest(&self, py: Python<'_>, pause: f64) -> PyResult<bool> {
        let pause = Duration::try_from_secs_f64(pause).unwrap_or_default();
        Ok(py.detach(|| self.with(|process| process.rest(pause)))??)
    }

    /// Stops the pipeline, since another process could not be started, or not be watched.
    fn cannot_start(&self, py: Python<'_>, why: String) {
        drop(self.ends.lock().unwrap_or_else(PoisonError::into_inner).take());
        let process = self.lock().take();
        py.detach(|| {
            if let Some(mut process) = process {
                process.cannot_start(io::Error::other(why));
            }
        });
    }
}
