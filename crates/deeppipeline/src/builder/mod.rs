//! A typed chain under construction: what does not fit does not compile.

mod blocks;
mod options;
#[cfg(processes)]
mod processes;

pub use options::Options;

use crate::buffer::Overflow;
use crate::error::{GraphError, RunError, StartError};
use crate::executor::simulated::Simulation;
use crate::executor::{Body, BodyFactory};
use crate::gives::{Ended, Flows, Last, Onward};
use crate::graph::{BufferSize, DEFAULT_BUFFER_SIZE, Executor, Graph, Node, OnError, SourceNode};
use crate::intake::{Input, Intake};
use crate::into_stage::{IntoStage, Maker, Making};
#[cfg(processes)]
use crate::isolated::IsolatedStage;
use crate::join::Joiner;
use crate::pipeline::{Pipeline, Sourced};
use crate::report::Report;
use crate::stage::{Source, Stage};
use crate::stream::{STREAM, Stream};
use crate::supervisor::Closer;
use crate::typed::{OfKey, OfKeys, SourceBody, StageBody, Unpack, Value, list, one};
use crate::window::{Window, Windows};
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

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
    pub(crate) bodies: Vec<Bodies>,
    /// One per parallel block.
    pub(crate) joiners: Vec<Joiner<Value>>,
    pub(crate) source: Option<BodyFactory<Value>>,
    pub(crate) closer: Option<Closer>,
    /// One per stage: what its process is told, where it has one.
    #[cfg(processes)]
    pub(crate) isolated: Vec<Option<IsolatedStage>>,
    #[cfg(processes)]
    pub(crate) worker_arguments: Vec<std::ffi::OsString>,
    /// Parallel blocks to which branches are being added, the innermost last.
    open_blocks: Vec<usize>,
    problem: Option<GraphError>,
    /// Tells builders apart.
    identity: Arc<()>,
    types: PhantomData<fn(I) -> T>,
}

impl<I, T> fmt::Debug for Builder<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("graph", &self.graph).field("problem", &self.problem).finish_non_exhaustive()
    }
}

/// The code that the workers of one stage run.
pub(crate) enum Bodies {
    /// There is one stage, so one worker.
    One(BodyFactory<Value>),
    /// A stage is made for each worker.
    Each(Box<dyn Fn() -> BodyFactory<Value> + Send>),
}

/// Makes what each worker of a pipeline runs, the source's last.
pub(crate) fn factories(
    graph: &Graph,
    bodies: Vec<Bodies>,
    source: Option<BodyFactory<Value>>,
) -> Result<Vec<BodyFactory<Value>>, GraphError> {
    let mut factories = Vec::new();
    for (node, bodies) in graph.stages.iter().zip(bodies) {
        match bodies {
            Bodies::One(body) if node.workers == 1 => factories.push(body),
            Bodies::One(_) => {
                let (stage, workers) = (node.name.clone(), node.workers);
                return Err(GraphError::OneObjectForSeveralWorkers { stage, workers });
            }
            Bodies::Each(make) => factories.extend((0..node.workers).map(|_| make())),
        }
    }
    factories.extend(source);
    Ok(factories)
}

impl<I: Send + 'static> Builder<I, I> {
    pub(crate) fn new() -> Self {
        Builder {
            graph: Graph::default(),
            bodies: Vec::new(),
            joiners: Vec::new(),
            source: None,
            closer: None,
            #[cfg(processes)]
            isolated: Vec::new(),
            #[cfg(processes)]
            worker_arguments: Vec::new(),
            open_blocks: Vec::new(),
            problem: None,
            identity: Arc::default(),
            types: PhantomData,
        }
    }

    /// Samples come from this source, on a worker of its own, instead of `put`. A source that is not
    /// [live](Source::is_live) waits for room, so that nothing is lost, unless an [`overflow`](Builder::overflow) says
    /// otherwise.
    pub fn source<S>(self, source: S) -> Builder<Sourced, I>
    where
        S: Source<Item = I> + Send,
    {
        let mut builder: Builder<Sourced, I> = self.retyped();
        if !builder.graph.stages.is_empty() {
            builder.problem.get_or_insert(GraphError::SourceAfterStage);
        }
        builder.graph.source = Some(SourceNode { is_live: source.is_live() });
        builder.closer = source.closer();
        builder.source = Some(Box::new(move || Box::new(SourceBody(source))));
        builder
    }
}

impl<I, T> Builder<I, T> {
    /// Adds a stage that takes the oldest waiting sample.
    pub fn stage<S, M, O>(self, stage: S) -> Builder<I, O>
    where
        S: IntoStage<M, Onward<O>, Input = T>,
        T: Flows,
    {
        self.add(stage.into_maker(), Intake::Single, one)
    }

    /// Adds a stage that takes the newest waiting sample; older ones are counted as superseded.
    pub fn stage_latest<S, M, O>(self, stage: S) -> Builder<I, O>
    where
        S: IntoStage<M, Onward<O>, Input = T>,
        T: Flows,
    {
        self.add(stage.into_maker(), Intake::Latest, one)
    }

    /// Adds a stage that takes a list of `buffer_size` samples as soon as its buffer is full.
    pub fn stage_all<S, M, O>(self, stage: S) -> Builder<I, O>
    where
        S: IntoStage<M, Onward<O>, Input = Vec<T>>,
        T: Flows,
    {
        self.add(stage.into_maker(), Intake::All, list)
    }

    /// Adds a stage that takes a list of 1 to `max_size` samples: whatever is there once the first has waited
    /// `max_wait`. The stage's `buffer_size` must be `max_size` at least.
    pub fn stage_batch<S, M, O>(self, max_size: usize, max_wait: Duration, stage: S) -> Builder<I, O>
    where
        S: IntoStage<M, Onward<O>, Input = Vec<T>>,
        T: Flows,
    {
        self.add(stage.into_maker(), Intake::Batch { max_size, max_wait }, list)
    }

    /// Adds a stage that takes a list of the last samples with every sample, once there are enough: a [`Window`].
    ///
    /// ```
    /// use deeppipeline::{Pipeline, Window};
    ///
    /// let pipeline = Pipeline::builder()
    ///     .stage_window(Window::new(3), |last: Vec<f64>| last.iter().sum::<f64>() / 3.0)
    ///     .end_stage(|mean: f64| println!("{mean}"))
    ///     .start()?;
    /// for x in 1..=5 {
    ///     pipeline.put(f64::from(x))?;
    /// }
    /// assert_eq!(pipeline.setstop()?.stages[0].counts.in_flight, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stage_window<S, M, O>(self, window: Window, stage: S) -> Builder<I, O>
    where
        S: IntoStage<M, Onward<O>, Input = Vec<T>>,
        T: Flows + Clone,
    {
        self.stage_window_by(window, |_: &T| (), stage)
    }

    /// Works like [`stage_window`](Builder::stage_window), with a window for each key: a list has the last samples of
    /// one key.
    pub fn stage_window_by<S, M, O, K>(
        mut self,
        window: Window,
        key: impl Fn(&T) -> K + Clone + Send + Sync + 'static,
        stage: S,
    ) -> Builder<I, O>
    where
        S: IntoStage<M, Onward<O>, Input = Vec<T>>,
        T: Flows + Clone,
        K: Hash + Eq + Clone + 'static,
    {
        self.check_keys(window);
        let Window { size, stride, .. } = window;
        let unpack = move || OfKey::new(window, key.clone());
        self.add_with(stage.into_maker(), Intake::Window { size, stride }, unpack)
    }

    /// Adds a stage that keeps a window for each of many keys in one sample, as for the people in a picture: `keys`
    /// gives keys with an item for each. The stage runs once for every sample, and gets it with the [`Windows`] that
    /// are due.
    ///
    /// ```
    /// use deeppipeline::{Pipeline, Window, Windows};
    ///
    /// // Where each person is in a picture.
    /// type People = Vec<(u32, f64)>;
    ///
    /// let pipeline = Pipeline::builder()
    ///     .stage_windows(Window::new(2).idle(30), |people: &People| people.clone(), |seen: Windows<People, u32, f64>| {
    ///         seen.iter().map(|(person, last)| (*person, last[1] - last[0])).collect::<Vec<_>>()
    ///     })
    ///     .end_stage(|moved: Vec<(u32, f64)>| println!("{moved:?}"))
    ///     .start()?;
    /// pipeline.put(vec![(1, 0.5), (2, 7.0)])?;
    /// pipeline.put(vec![(2, 7.5)])?;
    /// assert_eq!(pipeline.setstop()?.stages[1].counts.used, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stage_windows<S, M, O, K, P, L>(
        mut self,
        window: Window,
        keys: impl Fn(&T) -> L + Clone + Send + Sync + 'static,
        stage: S,
    ) -> Builder<I, O>
    where
        S: IntoStage<M, Onward<O>, Input = Windows<T, K, P>>,
        T: Flows,
        K: Hash + Eq + Clone + 'static,
        P: Clone + 'static,
        L: IntoIterator<Item = (K, P)> + 'static,
    {
        self.check_keys(window);
        let Window { size, stride, .. } = window;
        let unpack = move || OfKeys::new(window, keys.clone());
        self.add_with(stage.into_maker(), Intake::Window { size, stride }, unpack)
    }

    fn check_keys(&mut self, window: Window) {
        if window.max_keys == 0 {
            self.problem.get_or_insert(GraphError::MaxKeysZero);
        }
        if window.idle == Some(0) {
            self.problem.get_or_insert(GraphError::IdleZero);
        }
    }

    /// Adds the last stage; what it gives back is ignored.
    pub fn end_stage<S, M>(self, stage: S) -> Builder<I, Ended>
    where
        S: IntoStage<M, Ended, Input = T>,
        T: Flows,
    {
        self.add(stage.into_maker(), Intake::Single, one)
    }

    fn add<S, U, O>(self, maker: Maker<S>, intake: Intake, unpack: U) -> Builder<I, O>
    where
        S: Stage,
        U: FnMut(Input<Value>) -> Option<Box<S::Input>> + Copy + Send + Sync + 'static,
    {
        self.add_with(maker, intake, move || unpack)
    }

    fn add_with<S, U, O>(
        mut self,
        maker: Maker<S>,
        intake: Intake,
        unpack: impl Fn() -> U + Send + Sync + 'static,
    ) -> Builder<I, O>
    where
        S: Stage,
        U: Unpack<S::Input>,
    {
        let Maker { making, name, again } = maker;
        let keep = again.as_ref().map(|again| again.keep);
        let is_made = matches!(making, Making::Made(_));
        let bodies = match making {
            Making::Given(stage) => {
                let body = move || -> Box<dyn Body<Value>> {
                    Box::new(StageBody::new(move || Ok(stage()), unpack()).keeping(keep))
                };
                Bodies::One(Box::new(body))
            }
            Making::Made(make) => {
                let unpack = Arc::new(unpack);
                let body = move || -> BodyFactory<Value> {
                    let (make, unpack) = (Arc::clone(&make), Arc::clone(&unpack));
                    Box::new(move || Box::new(StageBody::new(move || make(), unpack()).keeping(keep)))
                };
                Bodies::Each(Box::new(body))
            }
        };
        let on_error = again.map_or(OnError::Stop, |again| again.on_error);
        self.push(Node { intake, on_error, is_made, ..Node::new(name) }, bodies);
        self.retyped()
    }
}

impl<I, T> Builder<I, T> {
    fn push(&mut self, node: Node, bodies: Bodies) {
        self.graph.stages.push(node);
        self.bodies.push(bodies);
        #[cfg(processes)]
        self.isolated.push(None);
    }

    /// Ends the block that was begun last, all of whose branches are there.
    fn end_block(mut self) -> Self {
        self.open_blocks.pop();
        self
    }

    /// Sets the number of samples that each buffer holds: one number for all, or a list with one per stage, the end
    /// stage included.
    pub fn buffer_size(mut self, size: impl Into<BufferSize>) -> Self {
        self.graph.buffer_size = size.into();
        self
    }

    /// Limits the bytes that the samples in one buffer have together, where it lies in shared memory: in front of and
    /// behind an isolated stage. A single sample that is larger is refused, and so is the number where no stage is
    /// isolated.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.graph.buffer_bytes = Some(bytes);
        self
    }

    /// Sets what happens when a buffer is full, for every stage that does not say otherwise. By default the producer
    /// waits where samples come from a source that is not [live](Source::is_live), and in a
    /// [`stream`](Builder::stream); with `put` and behind a live source the oldest sample is dropped.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.graph.overflow = Some(overflow);
        self
    }

    /// Limits the age that a sample may have when a stage takes it, for every stage that does not say otherwise; an
    /// older one is dropped instead.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.graph.max_age = Some(max_age);
        self
    }

    /// Says more about the stage added just before.
    pub fn options(mut self, options: Options) -> Self {
        if self.graph.stages.last().is_some() && self.graph.is_relay(self.graph.stages.len() - 1) {
            self.problem.get_or_insert(GraphError::OptionsOfBlock);
            return self;
        }
        let Some(node) = self.graph.stages.last_mut() else {
            self.problem.get_or_insert(GraphError::OptionsBeforeStage);
            return self;
        };
        node.is_made &= options.name.is_none();
        node.name = options.name.unwrap_or_else(|| std::mem::take(&mut node.name));
        node.overflow = options.overflow.or(node.overflow);
        match options.on_error {
            // Nothing would be kept for another try.
            Some(OnError::Retry { .. }) if node.on_error.retries() == 0 && node.executor == Executor::Thread => {
                self.problem.get_or_insert(GraphError::RetryWithoutCopy { stage: node.name.clone() });
            }
            Some(on_error) => node.on_error = on_error,
            None => {}
        }
        node.on_crash = options.on_crash.or(node.on_crash);
        node.max_restarts = options.max_restarts.or(node.max_restarts);
        node.time_limit = options.time_limit.or(node.time_limit);
        node.workers = options.workers.unwrap_or(node.workers);
        node.ordered = options.ordered.unwrap_or(node.ordered);
        node.max_age = options.max_age.or(node.max_age);
        node.stack_size = options.stack_size.or(node.stack_size);
        self
    }

    /// Starts every worker, and returns when every `setup` has succeeded.
    ///
    /// # Errors
    /// The fault that makes the description invalid, or what went wrong in a `setup`; then nothing is left running.
    pub fn start(self) -> Result<Pipeline<I>, StartError>
    where
        T: Last,
    {
        let pipeline = self.start_without_waiting()?;
        pipeline.wait_up(None)?;
        Ok(pipeline)
    }

    /// Works like [`start`](Builder::start), but gives up after a time.
    ///
    /// # Errors
    /// As `start`, and [`StartError::Timeout`]; then the pipeline is aborted.
    pub fn start_timeout(self, timeout: Duration) -> Result<Pipeline<I>, StartError>
    where
        T: Last,
    {
        let pipeline = self.start_without_waiting()?;
        pipeline.wait_up(Some(timeout))?;
        Ok(pipeline)
    }

    /// Starts every worker and returns at once; what goes wrong in a `setup` comes from the next `put`, `join` or
    /// `setstop`. No stage runs before every `setup` has succeeded.
    ///
    /// # Errors
    /// The fault that makes the description invalid, or a thread that the system refuses.
    pub fn start_without_waiting(mut self) -> Result<Pipeline<I>, StartError>
    where
        T: Last,
    {
        self.take_problem()?;
        Pipeline::spawn(self)
    }

    /// Makes the same pipeline on a virtual clock.
    ///
    /// # Errors
    /// The fault that makes the description invalid.
    pub fn simulate(mut self) -> Result<Simulation<I>, GraphError>
    where
        T: Last,
    {
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
            joiners: self.joiners,
            source: self.source,
            closer: self.closer,
            #[cfg(processes)]
            isolated: self.isolated,
            #[cfg(processes)]
            worker_arguments: self.worker_arguments,
            open_blocks: self.open_blocks,
            problem: self.problem,
            identity: self.identity,
            types: PhantomData,
        }
    }
}

impl<T> Builder<Sourced, T> {
    /// Starts, and gives out what the last stage gives, in order: an iterator. Nothing is dropped unless an
    /// [`overflow`](Builder::overflow) says so; a caller that does not ask for the next value makes the source wait.
    ///
    /// ```
    /// use deeppipeline::Pipeline;
    ///
    /// let squares = Pipeline::builder().source(1..=5).stage(|x: u32| x * x).stream()?;
    /// let squares: Result<Vec<u32>, _> = squares.collect();
    /// assert_eq!(squares?, [1, 4, 9, 16, 25]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As `start`. What fails later is the last item of the iterator.
    pub fn stream(mut self) -> Result<Stream<T>, StartError>
    where
        T: Flows,
    {
        self.graph.overflow.get_or_insert(Overflow::Block);
        if let BufferSize::List(sizes) = &mut self.graph.buffer_size {
            sizes.push(DEFAULT_BUFFER_SIZE);
        }
        let (sender, values) = std::sync::mpsc::sync_channel(0);
        // Once no caller asks any more, the stream has been dropped and has ended the pipeline.
        let hand_over = move |x: T| drop(sender.send(x));
        let options = Options::new().name(STREAM).overflow(Overflow::Block);
        Ok(Stream::new(self.end_stage(hand_over).options(options).start()?, values))
    }
}

impl<T> Builder<Sourced, T> {
    /// Starts, waits for the source to end and for everything to flow out, and returns the report.
    ///
    /// # Errors
    /// As `start` and `join`.
    pub fn run(self) -> Result<Report, RunError>
    where
        T: Last,
    {
        Ok(self.start()?.join()?)
    }
}
