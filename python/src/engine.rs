//! The handle of one pipeline, for the Python package.

use crate::answers::{AnswerQueue, in_words};
use crate::discarded::Discarded;
use crate::fates::{FateFacts, fate_facts};
use crate::native::{AnyBody, Native};
use crate::payload::{Next, Payload, Raised, exception_of, raise};
use crate::putting::Putting;
use crate::report::{Explanation, Report, SampleId, Timeline};
use crate::ticket::Ticket;
use crate::tuple::Tuple;
use crate::worker::Worker;
use deeppipeline::StageError;
use deeppipeline::builder::BufferSize;
use deeppipeline::engine::{
    Block, BlockResults, EntranceNode, ErrorPolicy, Flow, ForkJoin, Graph, Node, Notice as EngineNotice, RestartPolicy,
    Role, SourceNode, Startup, Supervisor, Wait, Waiting, Worker as EngineWorker, WorkerId, spawn,
};
use deeppipeline::error::{Doing, Exit, RemoteError, StartError, UnknownPolicy, WorkerDied};
use deeppipeline::intake::Intake;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};
use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
#[cfg(processes)]
use {
    crate::{slot::Carrier, worker_process::WorkerProcess},
    deeppipeline::engine::{Codec, Codecs, WorkerProcess as EngineWorkerProcess},
};

/// The time for which a waiting call leaves the interpreter's signals unseen.
const LOOK_FOR_SIGNALS_EVERY: Duration = Duration::from_millis(500);

/// A pipeline as the Python package describes it.
#[derive(FromPyObject)]
pub(crate) struct PipelineDescription {
    stages: Vec<Description>,
    blocks: Vec<BlockDescription>,
    buffer_size: Sizes,
    buffer_bytes: Option<usize>,
    overflow: Option<String>,
    source: Option<SourceDescription>,
    entrances: Vec<EntranceDescription>,
    answers: bool,
    fates: bool,
    max_age: Option<f64>,
    stall_timeout: Option<f64>,
    record: usize,
}

/// One stage as the Python package describes it.
#[derive(FromPyObject)]
struct Description {
    name: String,
    buffer_size: Option<usize>,
    buffer_bytes: Option<usize>,
    overflow: Option<String>,
    intake: Takes,
    max_age: Option<f64>,
    workers: usize,
    ordered: bool,
    executor: String,
    on_error: AfterAnError,
    on_crash: Option<String>,
    max_restarts: Option<u32>,
    time_limit: Option<f64>,
    max_workers: Option<usize>,
}

/// The way in which a stage takes, as far as the engine is concerned; the first that has all the attributes counts.
#[derive(FromPyObject)]
enum Takes {
    Batch { max_size: usize, max_wait: f64, fold: bool },
    Window { size: usize, stride: usize },
    Plain { kind: String },
}

/// The source as the Python package describes it.
#[derive(FromPyObject)]
struct SourceDescription {
    is_live: bool,
    restart: Option<RestartDescription>,
}

impl SourceDescription {
    fn node(self) -> SourceNode {
        let restart = self.restart.map(|restart| RestartPolicy {
            wait: seconds(restart.wait),
            at_most: seconds(restart.at_most),
            times: restart.times,
        });
        SourceNode { is_live: self.is_live, restart }
    }
}

/// When a source is opened again.
#[derive(FromPyObject)]
struct RestartDescription {
    wait: f64,
    at_most: f64,
    times: Option<u32>,
}

/// An entrance with a name as the Python package describes it.
#[derive(FromPyObject)]
pub(crate) struct EntranceDescription {
    name: String,
    source: Option<SourceDescription>,
    overflow: Option<String>,
    max_age: Option<f64>,
    stall_timeout: Option<f64>,
}

impl EntranceDescription {
    fn node(self) -> PyResult<EntranceNode> {
        Ok(EntranceNode {
            name: self.name,
            source: self.source.map(SourceDescription::node),
            overflow: self.overflow.as_deref().map(policy).transpose()?,
            max_age: self.max_age.map(seconds),
            stall_timeout: self.stall_timeout.map(seconds),
        })
    }
}

/// The policy for a stage that fails on a sample.
#[derive(FromPyObject)]
enum AfterAnError {
    Word(String),
    Retry { times: u32, then: String },
}

/// A parallel block as the Python package describes it: of each branch the first stage, and the one behind it.
#[derive(FromPyObject)]
struct BlockDescription {
    name: String,
    branches: Vec<(usize, usize)>,
    join: Option<String>,
    routed: bool,
}

/// The number of samples that the buffers hold.
#[derive(FromPyObject)]
enum Sizes {
    Each(usize),
    List(Vec<usize>),
}

/// The driver of a worker: a Python thread, a process that a Python thread watches, or nothing in Python.
#[derive(IntoPyObject)]
#[expect(clippy::large_enum_variant, reason = "there is one for each worker, which becomes an object at once")]
pub(crate) enum Driver {
    Thread(Worker),
    #[cfg(processes)]
    Process(WorkerProcess),
    Engine(Option<()>),
}

/// The index in the list of natives of what a worker runs, the block that it is the relay of, its place among all workers
/// of stages, and its driver.
type HandedOut = (Option<usize>, Option<usize>, Option<usize>, Driver);

/// A worker that is to be given a driver.
pub(crate) enum Undriven {
    Thread(Box<EngineWorker<Payload>>),
    #[cfg(processes)]
    Process(Box<EngineWorkerProcess<Payload>>),
}

impl Undriven {
    fn name(&self) -> &str {
        match self {
            Undriven::Thread(worker) => worker.name(),
            #[cfg(processes)]
            Undriven::Process(process) => process.name(),
        }
    }

    pub(crate) fn worker_id(&self) -> WorkerId {
        match self {
            Undriven::Thread(worker) => worker.worker_id(),
            #[cfg(processes)]
            Undriven::Process(process) => process.worker_id(),
        }
    }

    pub(crate) fn role(&self) -> Role {
        match self {
            Undriven::Thread(worker) => worker.role(),
            #[cfg(processes)]
            Undriven::Process(process) => Role::Stage(process.stage()),
        }
    }

    #[cfg(processes)]
    fn is_in_process(&self) -> bool {
        !matches!(self, Undriven::Thread(_))
    }
}

type Assembled = (Arc<Supervisor<Payload>>, Vec<Undriven>);

#[cfg(processes)]
fn assemble(graph: Graph) -> Result<Assembled, StartError> {
    let codecs = graph.stages.iter().map(|node| {
        let carrier: Arc<dyn Codec<Payload>> = Arc::new(Carrier::to(&node.name));
        Some(Codecs { input: Arc::clone(&carrier), output: carrier })
    });
    let codecs = codecs.collect();
    let (supervisor, drivers) = Supervisor::with_processes(graph, codecs)?;
    Ok((supervisor, drivers.into_iter().map(Undriven::from).collect()))
}

#[cfg(not(processes))]
fn assemble(graph: Graph) -> Result<Assembled, StartError> {
    let (supervisor, workers) = Supervisor::new(graph)?;
    Ok((supervisor, workers.into_iter().map(Undriven::from).collect()))
}

/// Something that is to be logged when it happens.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) enum Notice {
    /// Samples were dropped in front of a stage.
    Dropped { text: String },
    /// The pipeline has failed.
    Failed {},
    /// A stage on a thread hangs: the worker, by its place among all.
    Hangs { text: String, worker: usize },
    /// A source has failed or ended, and is to be opened again.
    SourceLost { text: String },
    /// A source of which that was told gives samples again.
    SourceBack { text: String },
    /// A source gives nothing for longer than it may.
    SourceStalled { text: String },
    /// The source is to be closed that has that number.
    CloseSource { source: usize },
}

/// What came of the start.
#[pyclass(frozen, eq, module = "DeepPipeline._engine", name = "Startup")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Started {
    /// Every stage is up.
    Up,
    /// A stage has failed, or the pipeline was aborted.
    Failed,
    /// The time-out is over.
    TimedOut,
}

/// One pipeline.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Engine {
    pub(crate) supervisor: Arc<Supervisor<Payload>>,
    undriven: Mutex<Vec<Undriven>>,
    /// Native stages that have no thread yet.
    natives: Mutex<Vec<(EngineWorker<Payload>, AnyBody)>>,
    native_threads: Mutex<Vec<JoinHandle<()>>>,
    /// The consumer of what each node gives, for workers that join it later.
    pub(crate) nexts: Mutex<HashMap<usize, Next>>,
    /// The consumer of what is put.
    pub(crate) entrance: OnceLock<Next>,
    /// The answers that have come, for the thread that hands them over.
    pub(crate) answers: Arc<AnswerQueue>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A garbage collector must not wait for a buffer that a process has: once all have ended, none has.
        if self.supervisor.wait_ended(Wait::No) {
            self.supervisor.say_last();
        }
    }
}

#[pymethods]
impl Engine {
    #[new]
    fn new(description: PipelineDescription) -> PyResult<Self> {
        let graph = description.graph()?;
        // On whatever thread gives, so nothing here may touch the interpreter.
        let fork_join = |block: &Block| ForkJoin::<Payload> {
            fork: Box::new(Payload::into_copies),
            route: block.routed.then(|| Box::new(Payload::into_way) as _),
            join: Box::new(|parts| Payload::Tuple(Tuple::new(parts))),
            copy: block.branches.iter().skip(1).map(|_| Box::new(Payload::shared) as _).collect(),
            parts: Some((Box::new(Payload::into_parts), Box::new(Payload::gathered))),
        };
        let fork_joins = graph.blocks.iter().map(fork_join).collect();
        let (supervisor, undriven) = assemble(graph).map_err(|error| match error {
            StartError::Graph(error) => graph_error(error),
            other => Python::attach(|py| raise(py, "StartError", &other.to_string())),
        })?;
        supervisor.set_blocks(fork_joins);
        supervisor.keep_notices();
        supervisor.keep_discarded("__del__");
        Ok(Engine {
            supervisor,
            undriven: Mutex::new(undriven),
            natives: Mutex::default(),
            native_threads: Mutex::default(),
            nexts: Mutex::default(),
            entrance: OnceLock::new(),
            answers: Arc::default(),
        })
    }

    /// Refuses what cannot work, before anything is made for it.
    #[staticmethod]
    fn check(description: PipelineDescription) -> PyResult<()> {
        description.graph()?.check().map_err(graph_error)
    }

    /// Hands out the drivers, once, one per worker, with the index in `natives` of what it runs; none for a relay. With
    /// the relay in front of a route, or that puts samples and the results of their parts together, comes the index of its
    /// block; with a worker of a stage, its place among all.
    /// `natives` has one entry per stage, and one per source. Native stages are kept for `start_native`.
    fn drivers(&self, natives: Vec<Option<Native>>) -> PyResult<Vec<HandedOut>> {
        let undriven: Vec<_> = self.undriven.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let stages = natives.len() - undriven.iter().filter(|worker| matches!(worker.role(), Role::Source(_))).count();
        let index_of = |worker: &Undriven| match worker.role() {
            Role::Stage(index) => Some(index),
            Role::Source(source) => Some(stages + source),
            Role::Relay => None,
        };
        let native_of = |worker: &Undriven| index_of(worker).and_then(|index| natives.get(index)?.as_ref());
        // The workers of a stage are alike in everything that matters to those who give to it.
        let is_of = |worker: &Undriven, node: usize| matches!(worker.worker_id(), WorkerId::Stage { index, .. } if index == node);

        // What a stage in a process gives crosses to the next, wherever that is.
        let at = |node: usize| match undriven.iter().find(|worker| is_of(worker, node)) {
            None => Next::Nobody,
            Some(next) if native_of(next).is_some() => Next::Native(next.name().to_owned()),
            #[cfg(processes)]
            Some(next) if next.is_in_process() => Next::Elsewhere(Some(next.name().to_owned())),
            Some(_) => Next::Here,
        };
        let next_after = |worker: &Undriven| match self.supervisor.flow(worker.worker_id()) {
            Flow::End => Next::Nobody,
            Flow::Answers => Next::Here,
            Flow::Next(node) => at(node),
            Flow::Fork(block) if self.supervisor.is_routed(block) => {
                Next::Way(self.supervisor.branches(block).map(at).collect())
            }
            Flow::Fork(block) if self.supervisor.gathers(block) => {
                let first = self.supervisor.branches(block).map(at).next();
                Next::Parts(Box::new(first.unwrap_or(Next::Here)))
            }
            Flow::Fork(block) => Next::Branches(self.supervisor.branches(block).map(at).collect()),
            Flow::Join { block, .. } if self.supervisor.is_routed(block) => {
                self.supervisor.behind(block).map_or(Next::Nobody, at)
            }
            Flow::Join { .. } => Next::Join,
        };
        let _ = self.entrance.set(at(0));

        // Of all, before any is handed out.
        let block_of = |worker: &Undriven| match (worker.worker_id(), self.supervisor.flow(worker.worker_id())) {
            (_, Flow::Fork(block)) if self.supervisor.is_routed(block) => Some(block),
            (WorkerId::Stage { index, .. }, _) => self.supervisor.gathered_at(index),
            (WorkerId::Source(_), _) => None,
        };
        let nexts: Vec<_> =
            undriven.iter().map(|worker| (index_of(worker), block_of(worker), next_after(worker))).collect();
        {
            let mut of_nodes = self.nexts.lock().unwrap_or_else(PoisonError::into_inner);
            for (worker, (_, _, next)) in undriven.iter().zip(&nexts) {
                if let WorkerId::Stage { index, .. } = worker.worker_id() {
                    of_nodes.insert(index, next.clone());
                }
            }
        }
        let mut drivers = Vec::new();
        for (worker, (index, block, next)) in undriven.into_iter().zip(nexts) {
            let native = index.and_then(|index| natives.get(index)?.as_ref());
            let place = self.supervisor.place_among_all(worker.worker_id());
            let driver = match (worker, native) {
                #[cfg(processes)]
                (Undriven::Process(process), _) => Driver::Process(WorkerProcess::new(*process)),
                (Undriven::Thread(worker), None) => Driver::Thread(Worker::new(*worker, next)),
                (Undriven::Thread(worker), Some(native)) => {
                    let (body, closer) = native.take(worker.name())?;
                    if let Role::Source(source) = worker.role() {
                        self.supervisor.set_closer(source, closer);
                    }
                    self.natives.lock().unwrap_or_else(PoisonError::into_inner).push((*worker, body));
                    Driver::Engine(None)
                }
            };
            drivers.push((index, block, place, driver));
        }
        Ok(drivers)
    }

    /// Drops every worker that has not been handed out, or not been started here: it will have no driver, and its stage
    /// fails.
    fn drop_drivers(&self) {
        let undriven: Vec<_> = self.undriven.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let natives: Vec<_> = self.natives.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        drop((undriven, natives));
    }

    /// Writes the timeline into that folder whenever something has gone wrong, on a thread of the engine.
    fn dump_to(&self, folder: PathBuf) -> PyResult<()> {
        Ok(self.supervisor.dump_to(folder)?)
    }

    /// Starts the workers of native stages, on threads of the engine.
    fn start_native(&self) -> PyResult<()> {
        let natives: Vec<_> = self.natives.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        for (worker, body) in natives {
            let thread = spawn(worker, Box::new(move || body))?;
            self.native_threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(())
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

    /// Puts one sample, and returns its ticket; none where the pipeline has failed. What else refuses it is a `PutError`.
    fn put(&self, x: &Bound<'_, PyAny>, entrance: Option<&str>, timeout: Option<f64>) -> PyResult<Option<Ticket>> {
        self.put_for(x, timeout, "put", |payload, birth, wait| self.supervisor.put_born(payload, entrance, birth, wait))
    }

    /// Puts one sample as `put` does; `next_answers` hands out the answer to it with this object.
    fn submit(
        &self,
        x: &Bound<'_, PyAny>,
        entrance: Option<&str>,
        answer: Py<PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Ticket>> {
        let receiver = self.answers.receiver(answer);
        self.put_for(x, timeout, "submit", |payload, birth, wait| {
            self.supervisor.submit(payload, entrance, birth, wait, Arc::clone(&receiver) as _)
        })
    }

    /// Begins to put one sample for a coroutine, or to submit it where there is an answer.
    fn putting(&self, x: &Bound<'_, PyAny>, entrance: Option<String>, answer: Option<Py<PyAny>>) -> PyResult<Putting> {
        Putting::new(self, x, entrance, answer)
    }

    /// Waits for answers; None once no more will come. Each comes with the object that was given for it, and what it is
    /// in words.
    fn next_answers<'py>(&self, py: Python<'py>) -> PyResult<Option<Vec<Bound<'py, PyTuple>>>> {
        let Some(answers) = py.detach(|| self.answers.next()) else { return Ok(None) };
        answers.into_iter().map(|(answer, outcome)| in_words(py, answer, outcome)).collect::<PyResult<_>>().map(Some)
    }

    /// Waits until every stage is up.
    fn wait_up(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Started> {
        let deadline = deadline(timeout);
        loop {
            match py.detach(|| self.supervisor.wait_up(slice(deadline))) {
                Startup::Up => return Ok(Started::Up),
                Startup::Failed => return Ok(Started::Failed),
                Startup::TimedOut if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Ok(Started::TimedOut);
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

    /// Waits until everything has flowed out; aborts what has not after a time. Meanwhile it looks for signals and
    /// calls `look`, now and then; `note`, every five seconds, with the stages that it waits for; and `no_longer`, with
    /// those that are still busy, before it aborts. What they raise ends the wait.
    fn drain(
        &self,
        py: Python<'_>,
        abort_after: Option<f64>,
        look: Py<PyAny>,
        note: Py<PyAny>,
        no_longer: Py<PyAny>,
    ) -> PyResult<()> {
        let abort_after = abort_after.map(seconds);
        let meanwhile = |waiting: Waiting| {
            Python::attach(|py| {
                py.check_signals()?;
                let told = match waiting {
                    Waiting::On => look.call0(py),
                    Waiting::For(busy) => note.call1(py, (busy,)),
                    Waiting::NoLonger(busy) => no_longer.call1(py, (busy,)),
                };
                told.map(drop)
            })
        };
        py.detach(|| self.supervisor.drain(abort_after, meanwhile))
    }

    /// Waits as long as an abort may take, and looks for signals meanwhile.
    fn wait_aborted(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.supervisor.wait_aborted(|_| Python::attach(|py| py.check_signals())))
    }

    /// Drops all that has entered by now, wherever it is, or only what has by that source or entrance; does not wait.
    fn flush(&self, py: Python<'_>, source: Option<&str>) -> PyResult<()> {
        py.detach(|| match source {
            Some(source) => self.supervisor.flush_source(source).map_err(graph_error),
            None => {
                self.supervisor.flush();
                Ok(())
            }
        })
    }

    /// Waits until no end stage works on anything that had entered before the last flush; returns those that still do
    /// after `timeout` seconds. Meanwhile it looks for signals and calls `note`, every five seconds, with the stages that it
    /// waits for.
    fn wait_flushed(&self, py: Python<'_>, timeout: Option<f64>, note: Py<PyAny>) -> PyResult<Vec<String>> {
        let meanwhile = |waiting: Waiting| {
            Python::attach(|py| {
                py.check_signals()?;
                match waiting {
                    Waiting::For(busy) => note.call1(py, (busy,)).map(drop),
                    Waiting::On | Waiting::NoLonger(_) => Ok(()),
                }
            })
        };
        py.detach(|| match self.supervisor.wait_flushed(timeout.map(seconds), meanwhile)? {
            true => Ok(Vec::new()),
            false => Ok(self.supervisor.not_flushed()),
        })
    }

    /// Shows the garbage collector the way from the pipeline to the exception that stopped it, whose traceback may lead
    /// back to the pipeline.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // The cause alone: a report waits for engine locks, which a collection may not.
        let raised = self.supervisor.failure_cause().and_then(|cause| cause.downcast_ref::<Raised>());
        raised.map_or(Ok(()), |raised| visit.call(&raised.exception))
    }

    /// Lets a stage, or what stands at the entrance, take nothing until it is resumed.
    fn pause(&self, py: Python<'_>, stage: Option<&str>) -> PyResult<()> {
        py.detach(|| self.supervisor.pause(stage)).map_err(graph_error)
    }

    /// Lets a stage, or what stands at the entrance, take samples again.
    fn resume(&self, py: Python<'_>, stage: Option<&str>) -> PyResult<()> {
        py.detach(|| self.supervisor.resume(stage)).map_err(graph_error)
    }

    /// Closes the entrance; what is inside flows out.
    fn close(&self) {
        self.supervisor.close();
    }

    /// Discards what is inside and asks every worker to end after its present call.
    fn abort(&self) {
        self.supervisor.abort();
    }

    /// Returns true if the caller is one of the pipeline's own workers.
    fn called_by_own_worker(&self) -> bool {
        self.supervisor.called_by_own_worker()
    }

    /// Returns the sources that have been asked to end and have not ended yet.
    fn sources_that_should_end(&self) -> Vec<usize> {
        self.supervisor.sources_that_should_end()
    }

    /// Returns the sources that were left behind in the user's code.
    fn sources_left_behind(&self) -> Vec<usize> {
        self.supervisor.sources_left_behind()
    }

    /// Adds a source, and returns its number and its worker; none for a native source, which runs already.
    fn add_source(
        &self,
        description: EntranceDescription,
        native: Option<Native>,
    ) -> PyResult<(usize, Option<Worker>)> {
        let worker = self.supervisor.add_source(description.node()?, None).map_err(graph_error)?;
        let Role::Source(source) = worker.role() else { return Err(PyRuntimeError::new_err("this is no source")) };
        let Some(native) = native else {
            let next = self.entrance.get().map_or(Next::Here, Next::clone);
            return Ok((source, Some(Worker::new(worker, next))));
        };
        let (body, closer) = native.take(worker.name())?;
        self.supervisor.set_closer(source, closer);
        let thread = spawn(worker, Box::new(move || body))?;
        self.native_threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok((source, None))
    }

    /// Asks a source for nothing more.
    fn remove_source(&self, name: &str) -> PyResult<()> {
        self.supervisor.remove_source(name).map_err(graph_error)
    }

    /// Waits until a source that was removed has ended; false after the time-out.
    fn wait_source_ended(&self, py: Python<'_>, name: &str, timeout: Option<f64>) -> PyResult<bool> {
        let deadline = deadline(timeout);
        loop {
            if py.detach(|| self.supervisor.wait_source_ended(name, slice(deadline))) {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(false);
            }
            py.check_signals()?;
        }
    }

    /// Closes the entrance once all sources have ended; at once where there are none.
    fn close_after_sources(&self) {
        self.supervisor.close_after_sources();
    }

    /// Waits for something that is to be logged; None once everything has ended.
    fn next_notice(&self, py: Python<'_>) -> Option<Notice> {
        let notice = py.detach(|| self.supervisor.next_notice());
        if notice.is_none() {
            // Everything has ended, and so every answer has come.
            self.answers.close();
        }
        let notice = notice?;
        let text = notice.to_string();
        Some(match notice {
            EngineNotice::Hangs { worker, .. } => Notice::Hangs { text, worker },
            EngineNotice::Failed => Notice::Failed {},
            EngineNotice::SourceLost { .. } => Notice::SourceLost { text },
            EngineNotice::SourceBack { .. } => Notice::SourceBack { text },
            EngineNotice::SourceStalled { .. } => Notice::SourceStalled { text },
            EngineNotice::CloseSource { source } => Notice::CloseSource { source },
            _ => Notice::Dropped { text },
        })
    }

    /// Waits for values that a stop has discarded; None once everything has ended.
    fn next_discarded(&self, py: Python<'_>) -> Option<Discarded> {
        py.detach(|| self.supervisor.next_discarded()).map(Discarded::new)
    }

    /// Makes the end of the pipeline wait until `next_fate` has given the last event.
    fn keep_fates(&self, only_failures: bool) {
        self.supervisor.keep_fates(only_failures);
    }

    /// Waits for a sample that did not come through; None once everything has ended.
    fn next_fate(&self, py: Python<'_>) -> Option<FateFacts> {
        py.detach(|| self.supervisor.next_fate()).map(|event| fate_facts(py, event))
    }

    /// The stages that are in the user's code, and what others wait for.
    fn still_busy(&self) -> String {
        self.supervisor.still_busy()
    }

    /// The stages whose worker has not ended, from the front.
    fn not_ended(&self) -> Vec<String> {
        self.supervisor.not_ended()
    }

    /// The stages whose setup has not returned, from the front.
    fn not_up(&self) -> Vec<String> {
        self.supervisor.not_up()
    }

    /// The report of what happened to every sample up to now.
    fn report(&self) -> Report {
        Report(self.supervisor.report())
    }

    /// Which stage limits, and what would be with other settings of it.
    fn explain(&self, py: Python<'_>) -> Explanation {
        Explanation(py.detach(|| self.supervisor.explain()))
    }

    /// When each of the last samples came to a stage, was taken there, and ended.
    fn timeline(&self, py: Python<'_>) -> Timeline {
        Timeline(py.detach(|| self.supervisor.timeline()))
    }

    /// The report once no caller waits any longer: it names the workers left behind.
    fn final_report(&self) -> Report {
        Report(self.supervisor.final_report())
    }

    /// The failure that stopped the pipeline: message, stage, what it was doing, sample, and the exception where it was
    /// one, else what the native stage said.
    #[expect(clippy::type_complexity, reason = "one tuple for one exception's fields")]
    fn failure(&self, py: Python<'_>) -> Option<(String, String, String, Option<SampleId>, Py<PyAny>)> {
        let failure: StageError = self.supervisor.failure()?;
        let cause = cause_of(py, failure.cause());
        let sample = failure.sample().map(SampleId::from);
        let message = match failure.doing() {
            // A source in Python has no method of that name.
            Doing::SourceNext => format!("the source failed to give its next sample: {}", failure.cause()),
            Doing::SourceOpen => format!("the source failed to open: {}", failure.cause()),
            _ => failure.to_string(),
        };
        Some((message, failure.stage().to_owned(), failure.doing().to_string(), sample, cause))
    }
}

/// The exception that a failure was, or one that says what is known of it.
pub(crate) fn cause_of(py: Python<'_>, cause: &(dyn Error + Send + Sync + 'static)) -> Py<PyAny> {
    if let Some(raised) = cause.downcast_ref::<Raised>() {
        raised.exception.clone_ref(py)
    } else if let Some(remote) = cause.downcast_ref::<RemoteError>() {
        exception_of(py, remote)
    } else if let Some(died) = cause.downcast_ref::<WorkerDied>() {
        worker_died(py, died)
    } else {
        PyRuntimeError::new_err(cause.to_string()).into_value(py).into_any()
    }
}

/// The package's `WorkerDied`.
fn worker_died(py: Python<'_>, died: &WorkerDied) -> Py<PyAny> {
    let code = match died.exit {
        Exit::Code(code) => Some(code),
        Exit::Signal(signal) => Some(-signal),
        Exit::Unknown => None,
    };
    let error = raise(py, "WorkerDied", &died.to_string()).into_value(py).into_any();
    // An attribute that cannot be set leaves the text, which says the same.
    let _ = error.setattr(py, "exitcode", code);
    let _ = error.setattr(py, "stderr", died.stderr.clone());
    let _ = error.setattr(py, "while_starting", died.while_starting);
    error
}

impl PipelineDescription {
    /// The same for the engine.
    pub(crate) fn graph(self) -> PyResult<Graph> {
        Ok(Graph {
            answers: self.answers,
            fates: self.fates,
            source: self.source.map(SourceDescription::node),
            entrances: self.entrances.into_iter().map(EntranceDescription::node).collect::<PyResult<_>>()?,
            stages: self.stages.into_iter().map(node).collect::<PyResult<_>>()?,
            blocks: self.blocks.into_iter().map(block).collect(),
            buffer_size: match self.buffer_size {
                Sizes::Each(size) => BufferSize::Each(size),
                Sizes::List(sizes) => BufferSize::List(sizes),
            },
            buffer_bytes: self.buffer_bytes,
            overflow: self.overflow.as_deref().map(policy).transpose()?,
            max_age: self.max_age.map(seconds),
            stall_timeout: self.stall_timeout.map(seconds),
            record: Some(self.record),
        })
    }
}

fn block(description: BlockDescription) -> Block {
    let BlockDescription { name, branches, join, routed } = description;
    let results = match join.as_deref() {
        None => BlockResults::End,
        Some("latest") => BlockResults::JoinedWithLatest,
        Some("parts") => BlockResults::Gathered,
        Some(_) => BlockResults::Joined,
    };
    Block { name, branches: branches.into_iter().map(|(first, end)| first..end).collect(), results, routed }
}

fn node(description: Description) -> PyResult<Node> {
    let mut node = Node::new(description.name);
    node.buffer_size = description.buffer_size;
    node.buffer_bytes = description.buffer_bytes;
    node.max_restarts = description.max_restarts;
    // The package has checked it; one beyond what the clock can tell is none.
    node.time_limit = description.time_limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok());
    node.workers = description.workers;
    node.max_workers = description.max_workers;
    node.ordered = description.ordered;
    node.max_age = description.max_age.map(seconds);
    node.executor = policy(&description.executor)?;
    node.on_crash = description.on_crash.as_deref().map(policy).transpose()?;

    node.intake = match description.intake {
        Takes::Batch { max_size, max_wait, fold } => Intake::Batch { max_size, max_wait: seconds(max_wait), fold },
        Takes::Window { size, stride } => Intake::Window { size, stride },
        Takes::Plain { kind } => {
            Intake::plain(&kind).ok_or_else(|| PyValueError::new_err(format!("intake is {kind:?}")))?
        }
    };

    node.overflow = description.overflow.as_deref().map(policy).transpose()?;
    node.on_error = match description.on_error {
        AfterAnError::Word(word) => after_an_error(&word)?,
        AfterAnError::Retry { times, then } => {
            ErrorPolicy::Retry { times, skip: after_an_error(&then)? == ErrorPolicy::Skip }
        }
    };
    Ok(node)
}

fn after_an_error(word: &str) -> PyResult<ErrorPolicy> {
    match word {
        "stop" => Ok(ErrorPolicy::Stop),
        "skip" => Ok(ErrorPolicy::Skip),
        other => Err(PyValueError::new_err(format!("on_error is {other:?}, but must be one of \"stop\", \"skip\""))),
    }
}

fn policy<P: FromStr<Err = UnknownPolicy>>(name: &str) -> PyResult<P> {
    name.parse().map_err(graph_error)
}

/// The package's `GraphError`.
pub(crate) fn graph_error(error: impl std::error::Error) -> PyErr {
    Python::attach(|py| raise(py, "GraphError", &error.to_string()))
}

/// A number of seconds that the package has checked; one beyond what the clock can tell is as long as there is.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// The instant at which the time-out is over; one beyond what the clock can tell is none.
pub(crate) fn deadline(timeout: Option<f64>) -> Option<Instant> {
    Instant::now().checked_add(Duration::try_from_secs_f64(timeout?).ok()?)
}

/// A wait until the deadline, or until signals are to be looked for.
pub(crate) fn slice(deadline: Option<Instant>) -> Wait {
    let look = Instant::now() + LOOK_FOR_SIGNALS_EVERY;
    Wait::Until(deadline.map_or(look, |deadline| deadline.min(look)))
}
