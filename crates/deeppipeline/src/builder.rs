//! A typed chain under construction: what does not fit does not compile.

use crate::buffer::Overflow;
use crate::error::{BoxError, GraphError, RunError, StartError};
use crate::executor::BodyFactory;
use crate::executor::simulated::Simulation;
use crate::graph::{BufferSize, Graph, Node, OnCrash, OnError};
use crate::intake::{Input, Intake};
use crate::pipeline::{Pipeline, Sourced};
use crate::report::Report;
use crate::stage::{Source, Stage};
use crate::supervisor::Closer;
use crate::typed::{IntoStage, SourceBody, StageBody, Value, list, one};
#[cfg(processes)]
use crate::{
    graph::Executor,
    isolated::{Isolated, IsolatedStage, body},
    transfer::Transfer,
};
use std::marker::PhantomData;
use std::time::Duration;

/// What can be said about one stage. Everything has a default.
#[derive(Debug, Clone, Default)]
pub struct Options {
    name: Option<String>,
    overflow: Option<Overflow>,
    on_error: Option<OnError>,
    on_crash: Option<OnCrash>,
    max_restarts: Option<u32>,
    timeout: Option<Duration>,
}

impl Options {
    /// Nothing said yet.
    pub fn new() -> Self {
        Options::default()
    }

    /// The name in reports, errors and of the worker's thread.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What happens when the buffer in front of the stage is full.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// What happens when the stage fails on a sample.
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = Some(on_error);
        self
    }

    /// What happens to the sample in hand when the stage's process dies.
    pub fn on_crash(mut self, on_crash: OnCrash) -> Self {
        self.on_crash = Some(on_crash);
        self
    }

    /// How often the stage's process is restarted within [`RESTART_WINDOW`](crate::RESTART_WINDOW); after one death more
    /// the pipeline stops.
    pub fn max_restarts(mut self, max_restarts: u32) -> Self {
        self.max_restarts = Some(max_restarts);
        self
    }

    /// How long `stage_run` may take for one sample: a process is killed then and counts as crashed, on a thread it is
    /// only logged.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// A pipeline under construction: `I` is what `put` takes, `T` what the last stage so far gives.
///
/// The last stage added is the end stage; [`end_stage`](Builder::end_stage) says so in words.
///
/// ```
/// use deeppipeline::{OnError, Options, Pipeline};
///
/// let pipeline = Pipeline::builder()
///     .buffer_size(4)
///     .stage(|x: u32| x + 1)
///     .options(Options::new().name("increment").on_error(OnError::Skip))
///     .end_stage(|x: u32| println!("{x}"))
///     .start()?;
/// pipeline.put(41)?;
/// assert_eq!(pipeline.setstop()?.stages[0].name, "increment");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A stage that does not take what the stage before it gives does not compile:
///
/// ```compile_fail
/// # use deeppipeline::Pipeline;
/// Pipeline::builder().stage(|x: u32| x + 1).end_stage(|text: String| println!("{text}"));
/// ```
#[must_use = "a builder does nothing until `start`, `run` or `simulate`"]
pub struct Builder<I, T> {
    pub(crate) graph: Graph,
    pub(crate) bodies: Vec<BodyFactory<Value>>,
    pub(crate) source: Option<BodyFactory<Value>>,
    pub(crate) closer: Option<Closer>,
    /// One per stage: what its process is told, where it has one.
    #[cfg(processes)]
    pub(crate) isolated: Vec<Option<IsolatedStage>>,
    #[cfg(processes)]
    pub(crate) worker_arguments: Vec<std::ffi::OsString>,
    problem: Option<GraphError>,
    types: PhantomData<fn(I) -> T>,
}

/// What an end stage gives: nothing that another stage could take.
pub enum Ended {}

impl<I: Send + 'static> Builder<I, I> {
    pub(crate) fn new() -> Self {
        Builder {
            graph: Graph::default(),
            bodies: Vec::new(),
            source: None,
            closer: None,
            #[cfg(processes)]
            isolated: Vec::new(),
            #[cfg(processes)]
            worker_arguments: Vec::new(),
            problem: None,
            types: PhantomData,
        }
    }

    /// Samples come from this source, on a worker of its own, instead of `put`.
    pub fn source<S>(self, source: S) -> Builder<Sourced, I>
    where
        S: Source<Item = I> + Send,
    {
        let mut builder: Builder<Sourced, I> = self.retyped();
        if !builder.graph.stages.is_empty() {
            builder.problem.get_or_insert(GraphError::SourceAfterStage);
        }
        builder.graph.source = true;
        builder.closer = source.closer();
        builder.source = Some(Box::new(move || Box::new(SourceBody(source))));
        builder
    }
}

impl<I, T: Send + 'static> Builder<I, T> {
    /// How many samples each buffer holds: one number for all, or a list with one per stage, the end stage included.
    pub fn buffer_size(mut self, size: impl Into<BufferSize>) -> Self {
        self.graph.buffer_size = size.into();
        self
    }

    /// How many bytes the samples in one buffer have at most, where it lies in shared memory: in front of and behind an
    /// isolated stage. A single sample that is larger is refused.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.graph.buffer_bytes = bytes;
        self
    }

    /// What happens when a buffer is full, for every stage that does not say otherwise.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.graph.overflow = overflow;
        self
    }

    /// Adds a stage that takes the oldest waiting sample.
    pub fn stage<S, M>(self, stage: S) -> Builder<I, S::Output>
    where
        S: IntoStage<M, Input = T>,
        S::Stage: Send,
    {
        self.add(stage.into_stage(), Intake::Single, one)
    }

    /// Adds a stage that takes the newest waiting sample; older ones are counted as superseded.
    pub fn stage_latest<S, M>(self, stage: S) -> Builder<I, S::Output>
    where
        S: IntoStage<M, Input = T>,
        S::Stage: Send,
    {
        self.add(stage.into_stage(), Intake::Latest, one)
    }

    /// Adds a stage that takes a list of `buffer_size` samples as soon as its buffer is full.
    pub fn stage_all<S, M>(self, stage: S) -> Builder<I, S::Output>
    where
        S: IntoStage<M, Input = Vec<T>>,
        S::Stage: Send,
    {
        self.add(stage.into_stage(), Intake::All, list)
    }

    /// Adds a stage that is made on its own worker, for one that must not move between threads.
    ///
    /// An error from `make` is an error of the stage's setup.
    pub fn stage_made_by<S>(self, make: impl FnOnce() -> Result<S, BoxError> + Send + 'static) -> Builder<I, S::Output>
    where
        S: Stage<Input = T>,
    {
        let name = crate::stage::short_type_name::<S>();
        self.add_made(name, make, Intake::Single, one)
    }

    /// Adds the last stage; what it gives back is ignored.
    pub fn end_stage<S, M>(self, stage: S) -> Builder<I, Ended>
    where
        S: IntoStage<M, Input = T>,
        S::Stage: Send,
    {
        self.stage(stage).retyped()
    }

    fn add<S, U>(self, stage: S, intake: Intake, unpack: U) -> Builder<I, S::Output>
    where
        S: Stage + Send,
        U: FnMut(Input<Value>) -> Option<S::Input> + Send + 'static,
    {
        self.add_made(stage.name(), move || Ok(stage), intake, unpack)
    }

    fn add_made<S, U>(
        mut self,
        name: String,
        make: impl FnOnce() -> Result<S, BoxError> + Send + 'static,
        intake: Intake,
        unpack: U,
    ) -> Builder<I, S::Output>
    where
        S: Stage,
        U: FnMut(Input<Value>) -> Option<S::Input> + Send + 'static,
    {
        self.graph.stages.push(Node { intake, ..Node::new(name) });
        self.bodies.push(Box::new(move || Box::new(StageBody::new(make, unpack))));
        #[cfg(processes)]
        self.isolated.push(None);
        self.retyped()
    }
}

/// Stages in processes of their own; on Linux, with the feature `processes`.
#[cfg(processes)]
impl<I, T: Send + 'static> Builder<I, T> {
    /// Adds a stage in a process of its own, where it is made from these settings; it takes the oldest waiting sample.
    /// See [`Isolated`].
    pub fn stage_isolated<S>(self, settings: S::Settings) -> Builder<I, S::Output>
    where
        S: Isolated<Input = T, Output: Transfer>,
        T: Transfer,
    {
        self.add_isolated::<S, T, _>(&settings, Intake::Single, one)
    }

    /// Like [`stage_isolated`](Builder::stage_isolated), for a stage that takes the newest waiting sample.
    pub fn stage_isolated_latest<S>(self, settings: S::Settings) -> Builder<I, S::Output>
    where
        S: Isolated<Input = T, Output: Transfer>,
        T: Transfer,
    {
        self.add_isolated::<S, T, _>(&settings, Intake::Latest, one)
    }

    /// Like [`stage_isolated`](Builder::stage_isolated), for a stage that takes a list of `buffer_size` samples.
    pub fn stage_isolated_all<S>(self, settings: S::Settings) -> Builder<I, S::Output>
    where
        S: Isolated<Input = Vec<T>, Output: Transfer>,
        T: Transfer,
    {
        self.add_isolated::<S, T, _>(&settings, Intake::All, list)
    }

    /// Adds the last stage, in a process of its own; what it gives back is ignored.
    pub fn end_stage_isolated<S>(self, settings: S::Settings) -> Builder<I, Ended>
    where
        S: Isolated<Input = T, Output: Transfer>,
        T: Transfer,
    {
        self.stage_isolated::<S>(settings).retyped()
    }

    /// What the command line of worker processes has behind the program's name; nothing otherwise. Of use where `main`
    /// is not one's own, as in tests.
    pub fn worker_arguments<A: Into<std::ffi::OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.worker_arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    fn add_isolated<S, U, F>(mut self, settings: &S::Settings, intake: Intake, unpack: F) -> Builder<I, S::Output>
    where
        S: Isolated<Output: Transfer>,
        U: Transfer,
        F: FnMut(Input<Value>) -> Option<S::Input> + Send + 'static,
    {
        let name = crate::stage::short_type_name::<S>();
        let settings = postcard::to_stdvec(settings);
        let isolated = settings.and_then(|settings| {
            let stage = IsolatedStage::new::<S, U>(&settings, intake == Intake::All)?;
            Ok((stage, settings))
        });
        match isolated {
            Ok((isolated, settings)) => {
                // On a virtual clock it runs here.
                self.bodies.push(body::<S, F>(settings, unpack));
                self.isolated.push(Some(isolated));
            }
            Err(cause) => {
                let problem = GraphError::Settings { stage: name.clone(), cause: cause.to_string() };
                self.problem.get_or_insert(problem);
            }
        }
        self.graph.stages.push(Node { intake, executor: Executor::Process, ..Node::new(name) });
        self.retyped()
    }
}

impl<I, T> Builder<I, T> {
    /// Says more about the stage added just before.
    pub fn options(mut self, options: Options) -> Self {
        let Some(node) = self.graph.stages.last_mut() else {
            self.problem.get_or_insert(GraphError::OptionsBeforeStage);
            return self;
        };
        node.name = options.name.unwrap_or_else(|| std::mem::take(&mut node.name));
        node.overflow = options.overflow.or(node.overflow);
        node.on_error = options.on_error.unwrap_or(node.on_error);
        node.on_crash = options.on_crash.unwrap_or(node.on_crash);
        node.max_restarts = options.max_restarts.unwrap_or(node.max_restarts);
        node.timeout = options.timeout.or(node.timeout);
        self
    }

    /// Starts every worker, and returns when every `setup` has succeeded.
    ///
    /// # Errors
    /// What makes the description invalid, or what went wrong in a `setup`; then nothing is left running.
    pub fn start(self) -> Result<Pipeline<I>, StartError> {
        let pipeline = self.start_without_waiting()?;
        pipeline.wait_up(None)?;
        Ok(pipeline)
    }

    /// Like [`start`](Builder::start), but gives up after a time.
    ///
    /// # Errors
    /// As `start`, and [`StartError::Timeout`]; then the pipeline is aborted.
    pub fn start_timeout(self, timeout: Duration) -> Result<Pipeline<I>, StartError> {
        let pipeline = self.start_without_waiting()?;
        pipeline.wait_up(Some(timeout))?;
        Ok(pipeline)
    }

    /// Starts every worker and returns at once; what goes wrong in a `setup` comes from the next `put`, `join` or
    /// `setstop`. No stage runs before every `setup` has succeeded.
    ///
    /// # Errors
    /// What makes the description invalid, or a thread that the system refuses.
    pub fn start_without_waiting(mut self) -> Result<Pipeline<I>, StartError> {
        self.take_problem()?;
        Pipeline::spawn(self)
    }

    /// The same pipeline on a virtual clock.
    ///
    /// # Errors
    /// What makes the description invalid.
    pub fn simulate(mut self) -> Result<Simulation<I>, GraphError> {
        self.take_problem()?;
        Simulation::new(self)
    }

    fn take_problem(&mut self) -> Result<(), GraphError> {
        self.problem.take().map_or(Ok(()), Err)
    }

    fn retyped<J, U>(self) -> Builder<J, U> {
        Builder {
            graph: self.graph,
            bodies: self.bodies,
            source: self.source,
            closer: self.closer,
            #[cfg(processes)]
            isolated: self.isolated,
            #[cfg(processes)]
            worker_arguments: self.worker_arguments,
            problem: self.problem,
            types: PhantomData,
        }
    }
}

impl<T> Builder<Sourced, T> {
    /// Starts, waits for the source to end and for everything to flow out, and returns the report.
    ///
    /// # Errors
    /// As `start` and `join`.
    pub fn run(self) -> Result<Report, RunError> {
        Ok(self.start()?.join()?)
    }
}
