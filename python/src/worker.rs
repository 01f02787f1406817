//! A worker's two calls, for a Python loop: `next`, then one of `done`, `fail` and `exhausted`.

use crate::payload::{Next, Payload, Raised, raise, takes_a_while};
use deeppipeline::engine::{
    Call, Ending, GiveError, Given, Input, LogEvent, Part, Values, Wait, Windowed, Worker as EngineWorker,
};
use deeppipeline::error::NotJoined;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
#[cfg(processes)]
use {
    crate::payload::detail,
    crate::slot::Carrier,
    deeppipeline::engine::{Bootstrap, Notes},
    std::sync::Arc,
};

/// The engine's side of one worker.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Worker {
    /// One Python thread drives it; the lock only makes that visible to the compiler. Empty once the worker has ended:
    /// the traceback of an exception may keep this object for as long as the pipeline keeps the exception.
    inner: Mutex<Option<EngineWorker<Payload>>>,
    name: String,
    next: Next,
    /// The index of the sample on which the stage is run alone, in the batch that it got.
    alone: AtomicUsize,
    /// True if it is a worker of the last stage.
    is_last: bool,
    /// The input of the current call.
    input: Mutex<Option<Input<Payload>>>,
    /// The values of the present update.
    values: Mutex<Option<Values>>,
    /// A call that `next_input` has come upon, for `next`.
    call: Mutex<Option<Box<Call<Payload>>>>,
    /// The way from a worker process to the pipeline's process.
    #[cfg(processes)]
    notes: Option<Notes>,
    /// What the stage was replaced with before this process was started.
    #[cfg(processes)]
    replaced: Option<Vec<u8>>,
}

impl Worker {
    pub(crate) fn new(inner: EngineWorker<Payload>, next: Next) -> Self {
        let name = inner.name().to_owned();
        // Nobody waits for anything yet.
        let is_last = inner.is_end_stage();
        Worker {
            inner: Mutex::new(Some(inner)),
            name,
            next,
            alone: AtomicUsize::new(0),
            is_last,
            input: Mutex::default(),
            values: Mutex::default(),
            call: Mutex::default(),
            #[cfg(processes)]
            notes: None,
            #[cfg(processes)]
            replaced: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<EngineWorker<Payload>>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker of a process that was started for it.
    #[cfg(processes)]
    pub(crate) fn of_bootstrap(bootstrap: Bootstrap) -> std::io::Result<Self> {
        let replaced = bootstrap.replaced().map(<[u8]>::to_vec);
        let carrier = Arc::new(Carrier::default());
        let (inner, notes) = bootstrap.begin(Arc::clone(&carrier) as _, carrier, detail)?;
        let next = if inner.gives_nothing() { Next::Nobody } else { Next::Elsewhere(None) };
        Ok(Worker { notes: Some(notes), replaced, ..Worker::new(inner, next) })
    }

    /// Waits for the next call to make; `None` when the worker is to end.
    fn next_call(&self, py: Python<'_>) -> Option<Call<Payload>> {
        let mut guard = self.lock();
        let worker = guard.as_mut()?;
        let call = match worker.try_next() {
            Poll::Ready(call) => call,
            Poll::Pending => py.detach(|| worker.next()),
        };
        if call.is_none() {
            let ended = guard.take();
            drop(guard);
            drop(ended);
        }
        call
    }

    fn settle(&self, ending: Ending) -> LogEvent {
        self.lock().as_mut().map_or(LogEvent::Nothing, |worker| worker.settle(ending))
    }

    /// Hands one value on, at once where there is room, otherwise waiting without the interpreter. Says whether the
    /// call's next one is wanted.
    fn give(&self, value: &Bound<'_, PyAny>, part: Part) -> PyResult<bool> {
        let py = value.py();
        // At the end a value is made ready only where somebody waits for it.
        if self.is_last && self.is_end_stage() {
            return Ok(false);
        }
        let value = Payload::from_object(value, &self.next)?;
        // What a branch has completed goes on from here, and its worker waits until there is room for it.
        let may_take_a_while = takes_a_while(&value) || matches!(self.next, Next::Join);
        let mut guard = self.lock();
        let Some(worker) = guard.as_mut() else { return Ok(false) };
        // What goes into another process is copied there, which takes a while.
        let given = match may_take_a_while {
            true => py.detach(|| worker.give(value, part, Wait::Forever)),
            false => match worker.give(value, part, Wait::No) {
                Err(GiveError::Full(value)) => py.detach(|| worker.give(value, part, Wait::Forever)),
                given => given,
            },
        };
        drop(guard);
        match given {
            Ok(Given { wants_more, .. }) => Ok(wants_more),
            // `Forever` never comes back with what is full.
            Err(GiveError::Full(_)) => Ok(true),
            Err(GiveError::Refused(_, cause)) if cause.is::<NotJoined>() => {
                Err(PyTypeError::new_err(cause.to_string()))
            }
            Err(GiveError::Refused(_, cause)) => Err(raise(py, "SendError", &cause.to_string())),
        }
    }
}

#[pymethods]
impl Worker {
    /// The name of its stage.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the next call to make: the name of the method; None when the worker is to end.
    fn next<'py>(&self, py: Python<'py>) -> Option<&'py Bound<'py, PyString>> {
        let found = self.call.lock().unwrap_or_else(PoisonError::into_inner).take();
        let call = found.map(|call| *call).or_else(|| self.next_call(py))?;
        match call {
            Call::StageRun(input) => {
                *self.input.lock().unwrap_or_else(PoisonError::into_inner) = Some(input);
                Some(intern!(py, "stage_run"))
            }
            Call::RunAgain(input) => {
                *self.input.lock().unwrap_or_else(PoisonError::into_inner) = input;
                Some(intern!(py, "run_again"))
            }
            Call::RunAlone(index, input) => {
                *self.input.lock().unwrap_or_else(PoisonError::into_inner) = input;
                self.alone.store(index, Ordering::Relaxed);
                Some(intern!(py, "run_alone"))
            }
            Call::Setup => Some(intern!(py, "setup")),
            Call::SourceOpen => Some(intern!(py, "source_open")),
            Call::SourceNext => Some(intern!(py, "source_next")),
            Call::Update(values) => {
                *self.values.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
                Some(intern!(py, "update"))
            }
            Call::Prepare(values) => {
                *self.values.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
                Some(intern!(py, "prepare"))
            }
            Call::Exchange => Some(intern!(py, "exchange")),
            Call::Discard => Some(intern!(py, "discard")),
            Call::Finish => Some(intern!(py, "finish")),
            Call::Teardown => Some(intern!(py, "teardown")),
        }
    }

    /// Waits for the next input of `stage_run`, and returns it; `other` where another call is to be made, which `next`
    /// tells. In one call across the border what `next` and `arguments` do in two.
    fn next_input(&self, other: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = other.py();
        match self.next_call(py) {
            Some(Call::StageRun(input)) => object_of(py, input),
            call => {
                *self.call.lock().unwrap_or_else(PoisonError::into_inner) = call.map(Box::new);
                Ok(other.unbind())
            }
        }
    }

    /// The values of an update, or what a new stage is made from, once: as they were given, or bytes where they came from another process.
    fn update_values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner).take();
        match values {
            Some(Values::Bytes(bytes)) => Ok(PyBytes::new(py, &bytes).into_any()),
            Some(Values::Here(values)) => {
                let values = values.downcast_ref::<Py<PyAny>>().map(|values| values.bind(py).clone());
                values.ok_or_else(|| PyValueError::new_err("the update is no object"))
            }
            None => Err(PyValueError::new_err("there is no update")),
        }
    }

    /// The index of the sample on which `run_alone` runs the stage, in the batch that it got last.
    fn alone(&self) -> usize {
        self.alone.load(Ordering::Relaxed)
    }

    /// Returns true if the stage gives a result for each sample of a list.
    #[getter]
    fn takes_batches(&self) -> bool {
        self.lock().as_ref().is_some_and(EngineWorker::takes_batches)
    }

    /// Notes that the stage returned so many results, one for each sample: each is then handed on as that of a call of its
    /// own, while one is expected. It fails where the stage got another number of samples.
    fn expect_results(&self, results: usize) -> PyResult<()> {
        let expected = self.lock().as_mut().map_or(Ok(()), |worker| worker.expect_results(results));
        expected.map_err(|cause| PyValueError::new_err(cause.to_string()))
    }

    /// Returns true if the next result of a batch is to be handed on.
    fn expects_result(&self) -> bool {
        self.lock().as_ref().is_some_and(EngineWorker::expects_result)
    }

    /// Returns true if the stage is to be run again on what it got, so that the results that are left are kept.
    fn tries_again(&self) -> bool {
        self.lock().as_ref().is_some_and(EngineWorker::tries_again)
    }

    /// The arguments of the call, once; none for `run_again` and `run_alone` where the stage got objects of this process, which its
    /// caller has kept. It fails where a sample from another process cannot be made again here.
    fn arguments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
        match input {
            Some(input) => PyTuple::new(py, [object_of(py, input)?]),
            None => Ok(PyTuple::empty(py)),
        }
    }

    /// Sends something from a worker process to the pipeline's process: a log record. False in a child of the worker's.
    #[cfg(processes)]
    fn send_note(&self, py: Python<'_>, note: Vec<u8>) -> bool {
        self.notes.as_ref().is_some_and(|notes| py.detach(|| notes.send(note)))
    }

    /// Returns true if the fate of every sample is told, and with a failure the value.
    #[getter]
    fn tells_fates(&self) -> bool {
        self.lock().as_ref().is_some_and(EngineWorker::tells_fates)
    }

    /// Hands in the value of the sample at that index of a batch, on which the stage has failed.
    fn fails_on(&self, index: usize, value: Py<PyAny>) {
        if let Some(worker) = self.lock().as_mut() {
            worker.fails_on(index, Payload::Object(value));
        }
    }

    /// What the stage was replaced with before this process was started.
    #[cfg(processes)]
    #[getter]
    fn replaced<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.replaced.as_ref().map(|bytes| PyBytes::new(py, bytes))
    }

    /// Takes what the call returned.
    ///
    /// True when the call took longer than the stage's time limit.
    fn done(&self, py: Python<'_>, result: Bound<'_, PyAny>) -> PyResult<bool> {
        let ending = match result.is(skip(py)?) {
            true => Ending::Gave(false),
            false => {
                self.give(&result, Part::Whole)?;
                Ending::Gave(true)
            }
        };
        // The sample is given back before it is counted, so that its slot is free again.
        drop(result);
        Ok(self.settle(ending) == LogEvent::OverTimeout)
    }

    /// Hands on one of many values, and says whether another is wanted; after the last comes `done_many`. The loop over
    /// them is Python's: Rust must not stand above the user's code when the interpreter exits.
    fn give_part(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.give(value, Part::OfMany)
    }

    /// The call has returned and everything it gave was handed on, or it gave nothing and is a skip.
    fn done_many(&self, any: bool) -> bool {
        self.settle(Ending::Gave(any)) == LogEvent::OverTimeout
    }

    /// Says what becomes of samples that the stage has kept, before the current call ends: `used` are in the list that
    /// the call gets, `skipped` will be in none, and `flushed` were flushed with their source.
    #[pyo3(signature = (used, skipped, flushed = 0))]
    fn account(&self, used: u64, skipped: u64, flushed: u64) {
        if let Some(worker) = self.lock().as_mut() {
            worker.account(Windowed { used, skipped, flushed });
        }
    }

    /// Returns true, once, if what the stage keeps for later lists was flushed: it is to forget that.
    fn forgets_windows(&self) -> bool {
        self.lock().as_mut().is_some_and(EngineWorker::forgets_windows)
    }

    /// Returns, once, the flushes of single sources: the stage is to forget what it keeps from before them.
    fn forgets_sources(&self) -> Vec<(u64, u64)> {
        let cuts = self.lock().as_mut().map(EngineWorker::forgets_sources).unwrap_or_default();
        cuts.into_iter().map(|cut| (cut.source, cut.number)).collect()
    }

    /// The stage keeps the sample: a later list will use it. True when deciding that took longer than the time limit.
    fn keep(&self) -> bool {
        self.settle(Ending::Windowed) == LogEvent::OverTimeout
    }

    /// Returns true if what it gives is ignored.
    fn is_end_stage(&self) -> bool {
        self.lock().as_ref().is_some_and(EngineWorker::is_end_stage)
    }

    /// The source has no more samples.
    fn exhausted(&self) {
        self.settle(Ending::Exhausted);
    }

    /// Settles a call that raised. Returns what is to be logged about it where no caller will learn of it: the stage
    /// skips the sample and goes on, or the pipeline had failed before.
    /// What it got comes with it, one value for each sample from the present one on, for who is told of their fates.
    #[pyo3(signature = (exception, *on))]
    fn fail(&self, exception: &Bound<'_, PyAny>, on: &Bound<'_, PyTuple>) -> Option<FailureEvent> {
        if let Some(worker) = self.lock().as_mut().filter(|worker| worker.tells_fates()) {
            let first = worker.present_index();
            for (index, value) in on.iter().enumerate() {
                worker.fails_on(first + index, Payload::Object(value.unbind()));
            }
        }
        let cause = Box::new(Raised::new(exception));
        match self.settle(Ending::Failed(cause)) {
            LogEvent::Nothing | LogEvent::OverTimeout => None,
            LogEvent::SkippedFailure => Some(FailureEvent::Skipped),
            LogEvent::RetriedFailure => Some(FailureEvent::Retried),
            LogEvent::LaterFailure => Some(FailureEvent::Later),
            LogEvent::FailedAtExchange => Some(FailureEvent::AtExchange),
        }
    }
}

/// What is to be logged about a failure that no caller will learn of.
#[pyclass(frozen, eq, module = "DeepPipeline._engine")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum FailureEvent {
    /// The sample is skipped, and the stage goes on.
    Skipped,
    /// The stage is to be run on the sample again.
    Retried,
    /// The pipeline had failed before.
    Later,
    /// The stage was at its end, and another has its place, or keeps it.
    AtExchange,
}

#[pymethods]
impl FailureEvent {
    fn __str__(&self) -> &'static str {
        match self {
            FailureEvent::Skipped => "skipped a sample after an error",
            FailureEvent::Retried => "tried again after an error",
            FailureEvent::Later => "failed too, after the failure that stopped the pipeline",
            FailureEvent::AtExchange => "failed in finish or teardown, in a replacement",
        }
    }
}

/// What `stage_run` gets: an object, or a list of them.
fn object_of(py: Python<'_>, input: Input<Payload>) -> PyResult<Py<PyAny>> {
    match input {
        Input::One(sample) => sample.value.into_object(py),
        Input::List(samples) => {
            let objects = samples.into_iter().map(|sample| sample.value.into_object(py));
            Ok(PyList::new(py, objects.collect::<PyResult<Vec<_>>>()?)?.into_any().unbind())
        }
    }
}

/// The package's own SKIP, known by identity.
fn skip(py: Python<'_>) -> PyResult<&Py<PyAny>> {
    static SKIP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    SKIP.get_or_try_init(py, || Ok(py.import("DeepPipeline._give")?.getattr("SKIP")?.unbind()))
}
