//! The handle of one pipeline, for the Python package.

use crate::native::Native;
use crate::payload::{Payload, Raised};
use crate::report::{Report, SampleId};
use crate::worker::Worker;
use deeppipeline::engine::{Graph, Node, Seat, Startup, Supervisor, Wait, Worker as EngineWorker, spawn};
use deeppipeline::{BufferSize, Intake, OnError, Overflow, PutError, StageError};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a waiting call leaves the interpreter's signals unseen.
const LOOK_FOR_SIGNALS_EVERY: Duration = Duration::from_millis(500);

/// One stage as the Python package describes it: name, intake, overflow or None, on_error.
type Description = (String, String, Option<String>, String);

/// What became of a `put`.
#[derive(IntoPyObject)]
enum Put {
    Done(bool),
    Refused(&'static str),
}

/// One pipeline.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Engine {
    supervisor: Arc<Supervisor<Payload>>,
    workers: Mutex<Vec<EngineWorker<Payload>>>,
    native_threads: Mutex<Vec<JoinHandle<()>>>,
    /// The name of the first stage, if that is a native one.
    native_entrance: OnceLock<String>,
}

#[pymethods]
impl Engine {
    #[new]
    fn new(stages: Vec<Description>, buffer_size: Vec<usize>, overflow: &str, source: bool) -> PyResult<Self> {
        let graph = Graph {
            source,
            stages: stages.into_iter().map(node).collect::<PyResult<_>>()?,
            buffer_size: BufferSize::List(buffer_size),
            overflow: policy(overflow)?,
        };
        let (supervisor, workers) = Supervisor::new(graph).map_err(value_error)?;
        Ok(Engine {
            supervisor,
            workers: Mutex::new(workers),
            native_threads: Mutex::default(),
            native_entrance: OnceLock::new(),
        })
    }

    /// Starts the workers of native stages on threads of their own, and hands out the others, once: one entry per stage
    /// in order, and the source's last.
    fn workers(&self, natives: Vec<Option<Native>>) -> PyResult<Vec<Option<Worker>>> {
        let workers: Vec<_> = self.workers.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let names: Vec<String> = workers.iter().map(|worker| worker.name().to_owned()).collect();
        let native_name = |index: usize| natives.get(index)?.as_ref().map(|_| names[index].clone());
        if let Some(name) = native_name(0) {
            let _ = self.native_entrance.set(name);
        }
        let stages = if self.supervisor.has_source() { names.len() - 1 } else { names.len() };
        let mut handed_out = Vec::new();
        for (index, worker) in workers.into_iter().enumerate() {
            let Some(native) = natives.get(index).and_then(Option::as_ref) else {
                let next = match worker.seat() {
                    Seat::Source => Some(0),
                    Seat::Stage(index) => Some(index + 1).filter(|next| *next < stages),
                };
                handed_out.push(Some(Worker::new(worker, next.and_then(native_name))));
                continue;
            };
            let (body, closer) = native.take(worker.name())?;
            if worker.seat() == Seat::Source {
                self.supervisor.set_closer(closer);
            }
            let thread = spawn(worker, Box::new(move || body))?;
            self.native_threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
            handed_out.push(None);
        }
        Ok(handed_out)
    }

    /// Waits for native threads that have nothing more to do.
    fn join_native(&self, py: Python<'_>) {
        let threads: Vec<_> = self.native_threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        py.detach(|| {
            for thread in threads {
                // A stage's panic was caught where it happened; there is nothing more to learn here.
                let _ = thread.join();
            }
        });
    }

    /// Puts one sample: whether it was accepted, or "timeout", "closed", "failed" or "own stage".
    fn put(&self, x: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Put> {
        let py = x.py();
        let x = Payload::from_object(x, self.native_entrance.get().map(String::as_str))?;
        let birth = Instant::now();
        let mut refused = match self.supervisor.put_born(x, birth, Wait::No) {
            Ok(put) => return Ok(Put::Done(put.accepted)),
            Err(refused) => refused,
        };
        let deadline = deadline(timeout);
        loop {
            let x = match refused {
                PutError::Timeout(x) if deadline.is_none_or(|deadline| Instant::now() < deadline) => x,
                PutError::Timeout(_) => return Ok(Put::Refused("timeout")),
                PutError::Closed(_) => return Ok(Put::Refused("closed")),
                PutError::OwnStage(_) => return Ok(Put::Refused("own stage")),
                _ => return Ok(Put::Refused("failed")),
            };
            py.check_signals()?;
            match py.detach(|| self.supervisor.put_born(x, birth, slice(deadline))) {
                Ok(put) => return Ok(Put::Done(put.accepted)),
                Err(again) => refused = again,
            }
        }
    }

    /// Waits until every stage is up: "up", "failed" or "timeout".
    fn wait_up(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<&'static str> {
        let deadline = deadline(timeout);
        loop {
            match py.detach(|| self.supervisor.wait_up(slice(deadline))) {
                Startup::Up => return Ok("up"),
                Startup::Failed => return Ok("failed"),
                Startup::TimedOut if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Ok("timeout");
                }
                Startup::TimedOut => py.check_signals()?,
            }
        }
    }

    /// Waits until every worker has ended; false after the time-out.
    fn wait_ended(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let deadline = deadline(timeout);
        loop {
            if py.detach(|| self.supervisor.wait_ended(slice(deadline))) {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(false);
            }
            py.check_signals()?;
        }
    }

    /// Shows the garbage collector the way from the pipeline to the exception that stopped it, whose traceback may lead
    /// back to the pipeline.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.supervisor.failure() {
            Some(failure) => failure.cause().downcast_ref::<Raised>().map_or(Ok(()), |r| visit.call(&r.exception)),
            None => Ok(()),
        }
    }

    /// Closes the entrance; what is inside flows out.
    fn close(&self) {
        self.supervisor.close();
    }

    /// Discards what is inside and asks every worker to end after its present call.
    fn abort(&self) {
        self.supervisor.abort();
    }

    /// Whether the caller is one of the pipeline's own workers.
    fn called_by_own_worker(&self) -> bool {
        self.supervisor.called_by_own_worker()
    }

    /// Whether the source has been asked to end and has not ended yet.
    fn source_should_end(&self) -> bool {
        self.supervisor.source_should_end()
    }

    /// The stages whose worker has not ended, from the front.
    fn not_ended(&self) -> Vec<String> {
        self.supervisor.not_ended()
    }

    /// The stages whose setup has not returned, from the front.
    fn not_up(&self) -> Vec<String> {
        self.supervisor.not_up()
    }

    /// What happened to every sample up to now.
    fn report(&self) -> Report {
        Report(self.supervisor.report())
    }

    /// The report once nobody waits any longer: it names the workers left behind.
    fn final_report(&self) -> Report {
        Report(deeppipeline::Report { left_behind: self.supervisor.not_ended(), ..self.supervisor.report() })
    }

    /// The failure that stopped the pipeline: message, stage, what it was doing, sample, and the exception where it was
    /// one, else what the native stage said.
    #[expect(clippy::type_complexity, reason = "one tuple for one exception's fields")]
    fn failure(&self, py: Python<'_>) -> Option<(String, String, String, Option<SampleId>, Py<PyAny>)> {
        let failure: StageError = self.supervisor.failure()?;
        let cause = match failure.cause().downcast_ref::<Raised>() {
            Some(raised) => raised.exception.clone_ref(py),
            None => PyRuntimeError::new_err(failure.cause().to_string()).into_value(py).into_any(),
        };
        let sample = failure.sample().map(SampleId::from);
        Some((failure.to_string(), failure.stage().to_owned(), failure.doing().to_string(), sample, cause))
    }
}

fn node((name, intake, overflow, on_error): Description) -> PyResult<Node> {
    let mut node = Node::new(name);
    node.intake = match intake.as_str() {
        "single" => Intake::Single,
        "latest" => Intake::Latest,
        "all" => Intake::All,
        other => return Err(PyValueError::new_err(format!("intake is {other:?}"))),
    };
    node.overflow = overflow.as_deref().map(policy).transpose()?;
    node.on_error = match on_error.as_str() {
        "stop" => OnError::Stop,
        "skip" => OnError::Skip,
        other => {
            return Err(PyValueError::new_err(format!("on_error is {other:?}, but must be one of \"stop\", \"skip\"")));
        }
    };
    Ok(node)
}

fn policy(name: &str) -> PyResult<Overflow> {
    name.parse().map_err(value_error)
}

fn value_error(error: impl std::error::Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// When the time-out is over; one beyond what the clock can tell is none.
fn deadline(timeout: Option<f64>) -> Option<Instant> {
    Instant::now().checked_add(Duration::try_from_secs_f64(timeout?).ok()?)
}

/// Until the deadline, or until signals are to be looked for.
fn slice(deadline: Option<Instant>) -> Wait {
    let look = Instant::now() + LOOK_FOR_SIGNALS_EVERY;
    Wait::Until(deadline.map_or(look, |deadline| deadline.min(look)))
}
