//! A typed chain under construction: what does not fit does not compile.

mod chain;
#[cfg(feature = "dead-letters")]
mod dead_letters;
mod described;
mod entrances;
mod fates;
mod for_each;
mod parts;
#[cfg(processes)]
mod processes;
mod route;

pub use chain::{Branches, BranchesWithLatest, Chain, chain};
pub use described::{Described, MadeBy, MakesMany, One, made_by, stage};
pub(crate) use entrances::source_node;
pub use entrances::{Entrance, entrance};
pub use parts::Parts;
#[cfg(processes)]
pub use processes::{Crossing, InProcess, isolated};
pub use route::{Routes, route_by};

#[cfg(feature = "dead-letters")]
pub use crate::dead_letters::{DeadLetters, Letter};
pub use crate::gives::{Ended, Flows, Gives, Last, Onward};
pub use crate::graph::{BufferSize, DEFAULT_BUFFER_SIZE, DEFAULT_STACK_SIZE, MAX_ENTRANCES, MAX_WORKERS};
pub use crate::into_stage::{IntoStage, Part};
pub use crate::restart::{Restart, RestartPolicy};
pub use crate::retry::{Copies, Retry};

use crate::error::{GraphError, RunError, StartError};
use crate::executor::simulated::Simulation;
use crate::executor::{BodyFactory, Relay};
use crate::graph::Graph;
use crate::hand_over::hand_over;
use crate::into_stage::Making;
#[cfg(processes)]
use crate::isolated::IsolatedStage;
use crate::job::current_sample;
use crate::parallel::ForkJoin;
use crate::pipeline::{Pipeline, Sourced};
use crate::policies::Overflow;
use crate::report::Report;
use crate::results::{RESULTS, Results};
use crate::sample::SampleInfo;
use crate::stage::{Source, Stage};
use crate::stream::{STREAM, Stream};
use crate::supervisor::{Closer, OnFate};
use crate::typed::{Copying, Returns, SourceBody, StageBody, Unpack, Value};
use crate::unwind::BoxError;
use crate::worker::Role;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A pipeline under construction: `I` is what `put` takes, `T` what the last stage so far gives.
///
/// The last stage added is the end stage; [`end_stage`](Builder::end_stage) says so in words.
///
/// ```
/// use deeppipeline::{OnError, Pipeline, stage};
///
/// let pipeline = Pipeline::builder()
///     .buffer_size(4)
///     .stage(stage(|x: u32| x + 1).name("increment").on_error(OnError::Skip))
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
    parts: Parts,
    /// What is said of the whole pipeline; its stages are in the parts.
    graph: Graph,
    sources: Vec<(BodyFactory<Value>, Option<Closer>)>,
    on_fate: Option<OnFate<Value>>,
    #[cfg(feature = "dead-letters")]
    dead_letters: Option<DeadLetters>,
    #[cfg(feature = "timeline")]
    dump_to: Option<std::path::PathBuf>,
    #[cfg(processes)]
    worker_arguments: Vec<std::ffi::OsString>,
    types: PhantomData<fn(I) -> T>,
}

impl<I, T> fmt::Debug for Builder<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("parts", &self.parts).field("graph", &self.graph).finish_non_exhaustive()
    }
}

/// Returns the code of a source's worker, and how the source is woken.
pub(crate) fn source_and_closer<S: Source + Send>(source: S) -> (BodyFactory<Value>, Option<Closer>) {
    let closer = source.closer();
    (Box::new(move || Box::new(SourceBody(source))), closer)
}

/// A pipeline as it was described, ready for an executor.
pub(crate) struct Plan {
    pub(crate) graph: Graph,
    bodies: Vec<Bodies>,
    /// One per source; none once its worker has it.
    sources: Vec<Option<BodyFactory<Value>>>,
    /// One per parallel block.
    pub(crate) fork_joins: Vec<ForkJoin<Value>>,
    /// One per source: how it is woken.
    pub(crate) closers: Vec<Option<Closer>>,
    /// The function that hears of every sample that does not come through.
    pub(crate) on_fate: Option<OnFate<Value>>,
    /// True if it is to hear only of those that failed or were lost.
    pub(crate) only_failures: bool,
    /// The folder for timelines.
    #[cfg(feature = "timeline")]
    pub(crate) dump_to: Option<std::path::PathBuf>,
    /// One per stage: what its process is told, where it has one.
    #[cfg(processes)]
    pub(crate) isolated: Vec<Option<IsolatedStage>>,
    #[cfg(processes)]
    pub(crate) worker_arguments: Vec<std::ffi::OsString>,
}

impl Plan {
    /// Makes what a worker runs.
    pub(crate) fn factory(&mut self, role: Role) -> BodyFactory<Value> {
        match role {
            Role::Stage(index) => self.bodies[index].factory(),
            Role::Relay => Box::new(|| Box::new(Relay)),
            Role::Source(source) => {
                self.sources[source].take().unwrap_or_else(|| unreachable!("a source has one worker"))
            }
        }
    }
}

impl Plan {
    /// Lets go of the code of stages that get no worker any more, as it is said of each.
    pub(crate) fn keep_stages(&mut self, gets_workers: &[bool]) {
        let bodies = self.bodies.iter_mut().zip(gets_workers);
        bodies.filter(|(_, kept)| !**kept).for_each(|(bodies, _)| *bodies = Bodies::One(None));
    }
}

/// The code that the workers of one stage run.
pub(crate) enum Bodies {
    /// There is one stage, so one worker, which takes it.
    One(Option<BodyFactory<Value>>),
    /// A stage is made for each worker.
    Each(Box<dyn Fn() -> BodyFactory<Value> + Send>),
}

impl Bodies {
    /// The code around a stage on threads.
    fn of_stage<S, U, R>(
        making: Making<S>,
        unpacker: impl Fn() -> U + Send + Sync + 'static,
        copying: Copying<S::Input>,
    ) -> Self
    where
        S: Stage,
        U: Unpack<S::Input>,
        R: Returns<S::Output>,
    {
        let body = move |make: Box<dyn FnOnce() -> Result<S, BoxError>>, unpack: U| {
            StageBody::<S, U, R>::new(make, unpack).copying(copying)
        };
        match making {
            Making::Given(stage) => {
                let make = move || Ok(stage());
                Bodies::One(Some(Box::new(move || Box::new(body(Box::new(make), unpacker())))))
            }
            Making::Made(make) => {
                let unpacker = Arc::new(unpacker);
                Bodies::Each(Box::new(move || {
                    let (make, unpacker) = (Arc::clone(&make), Arc::clone(&unpacker));
                    Box::new(move || Box::new(body(Box::new(move || make()), unpacker())))
                }))
            }
        }
    }

    /// The code of one more worker.
    fn factory(&mut self) -> BodyFactory<Value> {
        match self {
            Bodies::One(body) => body.take().unwrap_or_else(|| unreachable!("one stage has one worker")),
            Bodies::Each(make) => make(),
        }
    }
}

impl<I: Send + 'static> Builder<I, I> {
    pub(crate) fn new() -> Self {
        Builder {
            parts: Parts::default(),
            graph: Graph::default(),
            sources: Vec::new(),
            on_fate: None,
            #[cfg(feature = "dead-letters")]
            dead_letters: None,
            #[cfg(feature = "timeline")]
            dump_to: None,
            #[cfg(processes)]
            worker_arguments: Vec::new(),
            types: PhantomData,
        }
    }
}

impl<I: Send + 'static, T> Builder<I, T> {
    /// Samples come from this source, on a worker of its own, instead of `put`. A source that is not
    /// [live](Source::is_live) waits for room, so that nothing is lost, unless an [`overflow`](Builder::overflow) says
    /// otherwise.
    pub fn source<S>(self, source: S) -> Builder<Sourced, T>
    where
        S: Source<Item = I> + Send,
    {
        let mut builder: Builder<Sourced, T> = self.retyped();
        builder.graph.source = Some(source_node(&source));
        builder.sources = vec![source_and_closer(source)];
        builder
    }

    /// Adds an entrance of that name, by which samples are [put](Pipeline::put_into). Each entrance has room for as many
    /// samples as the first stage's buffer holds, and the first stage takes from those that have something in turn.
    pub fn entrance(mut self, entrance: impl Into<Entrance>) -> Self {
        self.graph.entrances.push(entrance.into().into_node(None));
        self
    }

    /// Adds a source of that name, on a worker of its own. Several may stand side by side, beside entrances to put into,
    /// and others may be [added](Pipeline::add_source) while the pipeline runs. The first stage takes from those that
    /// have something in turn, so that a fast one starves nobody. One that fails ends alone; `join` tells of it at the
    /// end.
    ///
    /// ```
    /// use deeppipeline::{Pipeline, current_sample};
    ///
    /// let pipeline = Pipeline::builder()
    ///     .source_at("odd", (1..10).step_by(2))
    ///     .source_at("even", (2..10).step_by(2))
    ///     .end_stage(|x: u32| println!("{x} of {:?}", current_sample().unwrap().source()))
    ///     .start()?;
    /// let report = pipeline.join()?;
    /// assert_eq!(report.source("odd").unwrap().counts.taken, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn source_at<S>(mut self, entrance: impl Into<Entrance>, source: S) -> Self
    where
        S: Source<Item = I> + Send,
    {
        self.graph.entrances.push(entrance.into().into_node(Some(source_node(&source))));
        self.sources.push(source_and_closer(source));
        self
    }
}

impl<I, T> Builder<I, T> {
    /// Adds a stage: a [`Stage`], a closure, one with options ([`stage`](crate::stage()), [`made_by`],
    /// `isolated`), or a [`chain`](crate::chain()) of several.
    pub fn stage<S, M, O>(self, stage: S) -> Builder<I, O>
    where
        S: IntoStage<T, M, Onward<O>>,
        T: Flows,
    {
        self.add(stage.into_parts())
    }

    /// Adds branches, a tuple of 2 to 6, that get the same samples at the same time; the stage after them gets their
    /// results as a tuple.
    ///
    /// A branch is a stage, or a [`chain`](crate::chain()) of stages, and blocks inside. A sample that one branch drops,
    /// skips, fails on or loses is counted as unjoined, and holds up nothing.
    ///
    /// ```
    /// use deeppipeline::{Pipeline, chain};
    ///
    /// let pipeline = Pipeline::builder()
    ///     .parallel((|x: u32| x + 1, chain().stage(|x: u32| x * 10).stage(|x: u32| x.to_string())))
    ///     .end_stage(|(sum, product): (u32, String)| println!("{sum} {product}"))
    ///     .start()?;
    /// pipeline.put(4)?;
    /// assert_eq!(pipeline.setstop()?.joins[0].counts.joined, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parallel<B, M, O>(self, branches: B) -> Builder<I, O>
    where
        B: Branches<T, M, Onward<O>>,
        T: Flows + Clone,
    {
        self.add(branches.into_block())
    }

    /// Adds branches, a tuple of 2 to 6, that get the same samples at the same time; each result of the first goes on at
    /// once, with the newest result of each of the others beside it: `None` before there is one. So a detector may be
    /// slow, and every frame is drawn all the same.
    ///
    /// A branch behind the first begins by dropping the oldest where it cannot keep up, unless its first stage says
    /// otherwise. What it gives is kept, and copied for each sample that goes on.
    ///
    /// ```
    /// use deeppipeline::{Pipeline, stage};
    ///
    /// let pipeline = Pipeline::builder()
    ///     .parallel_latest((|frame: u32| frame, stage(|frame: u32| vec![frame]).name("detect")))
    ///     .end_stage(|(frame, found): (u32, Option<Vec<u32>>)| println!("{frame} {found:?}"))
    ///     .start()?;
    /// pipeline.put(4)?;
    /// assert_eq!(pipeline.setstop()?.joins[0].counts.joined, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parallel_latest<B, M, O>(self, branches: B) -> Builder<I, O>
    where
        B: BranchesWithLatest<T, M, O>,
        T: Flows + Clone,
    {
        self.add(branches.into_block_with_latest())
    }

    /// Adds ways of which each sample goes one, as [`route_by`] says; their results come out in the order
    /// in which the samples came in. So a slow way holds up what comes behind it on a fast one, while the others go on
    /// working.
    ///
    /// A way gives one result for each sample, or none. A sample that ends on its way holds up nothing.
    pub fn route<K, O>(self, routes: Routes<T, K, Onward<O>>) -> Builder<I, O>
    where
        T: Flows,
        K: PartialEq + fmt::Debug + Send + Sync + 'static,
        O: Flows,
    {
        self.add(routes.into_joined())
    }

    /// Adds ways that each end in a last stage, of which each sample goes one.
    pub fn end_route<K>(self, routes: Routes<T, K, Ended>) -> Builder<I, Ended>
    where
        T: Flows,
        K: PartialEq + fmt::Debug + Send + Sync + 'static,
    {
        self.add(routes.into_ends())
    }

    /// Adds the last stage; what it gives back is ignored.
    pub fn end_stage<S, M>(self, stage: S) -> Builder<I, Ended>
    where
        S: IntoStage<T, M, Ended>,
        T: Flows,
    {
        self.add(stage.into_parts())
    }

    /// Adds last stages, or chains that end in one, which get the same samples at the same time: to show and to save.
    pub fn end_parallel<B, M>(self, branches: B) -> Builder<I, Ended>
    where
        B: Branches<T, M, Ended>,
        T: Flows + Clone,
    {
        self.add(branches.into_block())
    }

    fn add<O>(mut self, parts: Parts) -> Builder<I, O> {
        self.parts.append(parts);
        self.retyped()
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

    /// Limits the time that a source may give nothing, for every source that does not say otherwise. One that takes longer
    /// is stalled, as the report and the log say. Where it may be opened [again](Restart), it is closed, by its
    /// [closer](Source::closer), and opened again; if it does not return from that within [`GRACE`](crate::pipeline::GRACE),
    /// it has failed and is left behind: what it gives later is given to nobody.
    pub fn stall_timeout(mut self, stall_timeout: Duration) -> Self {
        self.graph.stall_timeout = Some(stall_timeout);
        self
    }

    /// Sets the number of samples of each stage, the last, of which the [timeline](crate::report::Timeline) knows when they
    /// came, were taken and ended: [`DEFAULT_RECORD`](crate::report::DEFAULT_RECORD) of them, unless this says otherwise.
    /// Each takes 64 bytes of memory, once there are as many; with 0 nothing is kept. At most
    /// [`MOST_RECORD`](crate::report::MOST_RECORD).
    pub fn record(mut self, samples: usize) -> Self {
        self.graph.record = Some(samples);
        self
    }

    /// Writes the [timeline](crate::report::Timeline) into a folder when something has gone wrong: a stage failed, a sample was
    /// lost or older than `max_age`, a worker died, the pipeline failed; and on Unix, with the feature `signals` or
    /// `processes`, when the program gets SIGUSR2. It is looked once a second, and at the end; there are ten seconds at
    /// least between two that were not asked for, but for the one at the end, and the folder keeps the newest ten.
    ///
    /// The files open in [Perfetto](https://ui.perfetto.dev), and
    /// [`Timeline::from_json`](crate::report::Timeline::from_json) reads them. What cannot be written is logged, and the
    /// pipeline goes on. A simulation writes none.
    #[cfg(feature = "timeline")]
    pub fn dump_to(mut self, folder: impl Into<std::path::PathBuf>) -> Self {
        self.dump_to = Some(folder.into());
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
    pub fn start_without_waiting(self) -> Result<Pipeline<I>, StartError>
    where
        T: Last,
    {
        Pipeline::spawn(self.plan()?)
    }

    /// Starts as [`start`](Builder::start) does a pipeline that answers: what the last stage gives for a sample that was
    /// [submitted](Pipeline::submit) is the [`Answer`](crate::pipeline::Answer) to it.
    ///
    /// ```
    /// use deeppipeline::Pipeline;
    ///
    /// let pipeline = Pipeline::builder().stage(|x: u32| x * x).start_answering()?;
    /// let answers = [pipeline.submit(3)?, pipeline.submit(4)?];
    /// let squares: Result<Vec<u32>, _> = answers.into_iter().map(|answer| answer.wait()).collect();
    /// assert_eq!(squares?, [9, 16]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As `start`.
    pub fn start_answering(mut self) -> Result<Pipeline<I, T>, StartError>
    where
        T: Flows,
    {
        self.graph.answers = true;
        let pipeline = Pipeline::spawn(self.plan()?)?;
        pipeline.wait_up(None)?;
        Ok(pipeline)
    }

    /// Makes the same pipeline on a virtual clock.
    ///
    /// # Errors
    /// The fault that makes the description invalid.
    pub fn simulate(self) -> Result<Simulation<I>, GraphError>
    where
        T: Last,
    {
        Simulation::new(self.plan()?)
    }

    /// Makes the same pipeline on a virtual clock, as one that [answers](Builder::start_answering).
    ///
    /// ```
    /// use deeppipeline::error::NoAnswer;
    /// use deeppipeline::{Pipeline, stage};
    /// use std::time::Duration;
    ///
    /// let mut simulation = Pipeline::builder()
    ///     .buffer_size(1)
    ///     .stage(stage(|x: u32| x * x).name("square"))
    ///     .simulate_answering()?;
    /// let answers = [1, 2, 3].map(|x| simulation.submit_at(Duration::from_millis(x), x as u32));
    /// simulation.takes("square", Duration::from_millis(10))?.run()?;
    /// let [first, dropped, last] = answers.map(|answer| answer.wait());
    /// assert_eq!((first?, last?), (1, 9));
    /// assert!(matches!(dropped, Err(NoAnswer::Dropped { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The fault that makes the description invalid.
    pub fn simulate_answering(self) -> Result<Simulation<I, T>, GraphError>
    where
        T: Flows,
    {
        let mut plan = self.plan()?;
        plan.graph.answers = true;
        Simulation::new(plan)
    }

    pub(crate) fn simulate_as(self, change: impl FnOnce(&mut Graph)) -> Result<Simulation<I, T>, GraphError>
    where
        T: Last,
    {
        let mut plan = self.plan()?;
        change(&mut plan.graph);
        Simulation::new(plan)
    }

    fn plan(self) -> Result<Plan, GraphError> {
        #[cfg(feature = "dead-letters")]
        let (this, only_failures) = self.with_dead_letters()?;
        #[cfg(not(feature = "dead-letters"))]
        let (this, only_failures) = (self, false);
        this.planned(only_failures)
    }

    fn planned(self, only_failures: bool) -> Result<Plan, GraphError> {
        let (sources, closers) = self.sources.into_iter().map(|(source, closer)| (Some(source), closer)).unzip();
        let Parts { stages, blocks, bodies, fork_joins, problem, .. } = self.parts;
        problem.map_or(Ok(()), Err)?;
        #[cfg(feature = "timeline")]
        if self.dump_to.as_ref().is_some_and(|folder| folder.as_os_str().is_empty()) {
            return Err(GraphError::NoDumpFolder);
        }
        Ok(Plan {
            graph: Graph { stages, blocks, ..self.graph },
            bodies,
            sources,
            fork_joins,
            closers,
            on_fate: self.on_fate,
            only_failures,
            #[cfg(feature = "timeline")]
            dump_to: self.dump_to,
            #[cfg(processes)]
            isolated: self.parts.isolated,
            #[cfg(processes)]
            worker_arguments: self.worker_arguments,
        })
    }

    fn retyped<J, U>(self) -> Builder<J, U> {
        Builder {
            parts: self.parts,
            graph: self.graph,
            sources: self.sources,
            on_fate: self.on_fate,
            #[cfg(feature = "dead-letters")]
            dead_letters: self.dead_letters,
            #[cfg(feature = "timeline")]
            dump_to: self.dump_to,
            #[cfg(processes)]
            worker_arguments: self.worker_arguments,
            types: PhantomData,
        }
    }
}

/// A pipeline and its results, or why it did not come up.
type WithResults<I, R> = Result<(Pipeline<I>, Results<R>), StartError>;

impl<I: Send + 'static, T: Flows> Builder<I, T> {
    /// Starts, and gives out what the last stage gives, in order, while samples are put: an iterator beside the pipeline.
    ///
    /// ```
    /// use deeppipeline::Pipeline;
    /// use std::time::Duration;
    ///
    /// let (pipeline, mut results) = Pipeline::builder().stage(|x: u32| x * x).results()?;
    /// pipeline.put(3)?;
    /// assert_eq!(results.next(), Some(9));
    /// assert!(results.next_timeout(Duration::from_millis(1)).is_err());
    /// drop(results);
    /// pipeline.setstop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As `start`.
    pub fn results(self) -> WithResults<I, T> {
        self.results_by(|x| x)
    }

    /// Works like [`results`](Builder::results), and says of each result which sample it comes from.
    ///
    /// # Errors
    /// As `start`.
    pub fn results_with_samples(self) -> WithResults<I, (SampleInfo, T)> {
        self.results_by(|x| (current_sample().unwrap_or_else(|| unreachable!("a stage runs on a sample")), x))
    }

    fn results_by<R: Send + 'static>(mut self, result: impl Fn(T) -> R + Send + 'static) -> WithResults<I, R> {
        if let BufferSize::List(sizes) = &mut self.graph.buffer_size {
            sizes.push(DEFAULT_BUFFER_SIZE);
        }
        let (giver, values) = hand_over();
        // Once the results are dropped, what still comes is ignored.
        let give = move |x: T| giver.give(result(x));
        let pipeline = self.end_stage(stage(give).name(RESULTS).overflow(Overflow::Block)).start()?;
        pipeline.when_flushed(values.look());
        Ok((pipeline, Results::new(values)))
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
        let (giver, values) = hand_over();
        // Once no caller asks any more, the stream has been dropped and has ended the pipeline.
        let hand_over = move |x: T| giver.give(x);
        let hand_over = stage(hand_over).name(STREAM).overflow(Overflow::Block);
        Ok(Stream::new(self.end_stage(hand_over).start()?, values))
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
