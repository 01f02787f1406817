//! A stage with its options: what a user says of a stage before the builder gets it.

use super::{Bodies, Parts};
use crate::error::GraphError;
use crate::gives::{Ended, Gives, Last, Onward};
use crate::graph::Node;
use crate::intake::{Batch, GivesOne, Single, Takes};
use crate::into_stage::{AsStage, EndsBatch, IsBatch, IsDescribed, IsGiven, IsMade, Makes, Making, Part};
use crate::policies::ErrorPolicy;
use crate::policies::Overflow;
use crate::retry::{Copies, ForEach, NotSaid, SaysOnError};
use crate::stage::Stage;
use crate::typed::{Copying, EachResult, OneResult, Returns};
use crate::unwind::BoxError;
use std::fmt;
use std::time::Duration;

/// Describes a stage, or a closure, whose options are then said in any order.
///
/// ```
/// use deeppipeline::{Batch, OnError, Pipeline, stage};
/// use std::time::Duration;
///
/// let halves = |list: Vec<f64>| list.iter().map(|x| x / 2.0).collect::<Vec<_>>();
/// let pipeline = Pipeline::builder()
///     .stage(stage(|x: f64| x.sqrt()).name("root").on_error(OnError::Skip))
///     .stage(stage(halves).name("halves").intake(Batch::new(8).max_wait(Duration::from_millis(5))).buffer_size(16))
///     .end_stage(|half: f64| println!("{half}"))
///     .start()?;
/// pipeline.put(4.0)?;
/// assert_eq!(pipeline.setstop()?.stages[1].name, "halves");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A stage that needs no option is given to the builder as it is.
pub fn stage<S>(stage: S) -> Described<One<S>> {
    Described::new(One(stage))
}

/// Describes a stage that each worker makes for itself: for one that must not move between threads, or that has several
/// [`workers`](Described::workers).
///
/// An error from `make` is an error of the stage's setup.
///
/// ```
/// use deeppipeline::{Pipeline, made_by};
///
/// let pipeline = Pipeline::builder()
///     .stage(made_by(|| Ok(|x: u64| (1..=x).product::<u64>())).name("factorial").workers(2))
///     .end_stage(|x: u64| println!("{x}"))
///     .start()?;
/// for x in 1..=20 {
///     pipeline.put(x)?;
/// }
/// assert_eq!(pipeline.setstop()?.stages[0].workers, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn made_by<F, S>(make: F) -> Described<MadeBy<F>>
where
    F: Fn() -> Result<S, BoxError> + Send + Sync + 'static,
{
    Described::new(MadeBy(make))
}

/// A stage with its options, from [`stage`](crate::stage()), [`made_by`] or `isolated`. Every option
/// has a default.
///
/// `O` is where the stages of its workers come from, `N` how it takes from its buffer, `E` what follows when it fails.
#[must_use = "a description does nothing until a builder gets it"]
pub struct Described<O, N = Single, E = NotSaid> {
    pub(crate) origin: O,
    pub(crate) intake: N,
    pub(crate) on_error: E,
    /// The name that the user chose.
    pub(crate) name: Option<String>,
    /// What is said in words that the engine knows; the rest of it is filled in for the builder.
    pub(crate) node: Node,
}

impl<O, N, E> fmt::Debug for Described<O, N, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Described").field("name", &self.name).field("node", &self.node).finish_non_exhaustive()
    }
}

impl<O> Described<O> {
    pub(crate) fn new(origin: O) -> Self {
        Described { origin, intake: Single, on_error: NotSaid, name: None, node: Node::new("") }
    }
}

impl<O, N, E> Described<O, N, E> {
    /// Sets the name in reports, errors and of the worker's thread.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the number of samples that the buffer in front of the stage holds, whatever
    /// [`buffer_size`](crate::builder::Builder::buffer_size) the pipeline has.
    pub fn buffer_size(mut self, size: usize) -> Self {
        self.node.buffer_size = Some(size);
        self
    }

    /// Limits the bytes that the samples in the buffer in front of the stage have together, where it lies in shared
    /// memory: the stage or the one before it is isolated. It is refused elsewhere.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.node.buffer_bytes = Some(bytes);
        self
    }

    /// Sets what happens when the buffer in front of the stage is full.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.node.overflow = Some(overflow);
        self
    }

    /// Sets how the stage takes from its buffer: [`Single`], by default, or [`Latest`](crate::Latest),
    /// [`All`](crate::All), [`Batch`](crate::Batch) or [`Window`](crate::Window). What the stage's `Input` has to be
    /// follows from it.
    pub fn intake<M>(self, intake: M) -> Described<O, M, E> {
        let Described { origin, on_error, name, node, .. } = self;
        Described { origin, intake, on_error, name, node }
    }

    /// Sets what happens when the stage fails on a sample: [`OnError::Stop`](crate::OnError::Stop), by default,
    /// [`OnError::Skip`](crate::OnError::Skip) or [`retry`](crate::retry()).
    pub fn on_error<F>(self, on_error: F) -> Described<O, N, E::With<F>>
    where
        E: SaysOnError,
    {
        let Described { origin, intake, on_error: said, name, node } = self;
        Described { origin, intake, on_error: said.with(on_error), name, node }
    }

    /// Limits the age that a sample may have when the stage takes it; an older one is dropped instead.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.node.max_age = Some(max_age);
        self
    }

    /// Limits the time that `stage_run` may take for one sample: a process is killed then and counts as crashed, on a
    /// thread it is only logged; but where it is one of several workers and keeps the results of the others waiting,
    /// they go on, and the sample is lost.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.node.time_limit = Some(limit);
        self
    }

    /// Bytes of stack for the thread of each worker: by default
    /// [`DEFAULT_STACK_SIZE`](crate::builder::DEFAULT_STACK_SIZE).
    ///
    /// A sample is passed to `stage_run` by value, and a build without optimisation copies it several times on the way.
    /// So a sample that is large in itself, as `[u8; 1 << 20]` is, wants a stack of many times its size; better, it
    /// keeps its data behind a pointer, as `Vec`, `Box` and `Arc` do. Deep recursion wants a larger stack, too.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.node.stack_size = Some(bytes);
        self
    }
}

impl<O: MakesMany, N, E> Described<O, N, E> {
    /// Sets the number of workers that the stage has, each with a stage of its own. Its samples leave it in the order
    /// in which they were taken, unless [`ordered`](Described::ordered) says otherwise.
    pub fn workers(mut self, workers: usize) -> Self {
        self.node.workers = workers;
        self
    }

    /// Sets the number of workers that the stage may be [scaled](crate::Pipeline::scale) to while the pipeline runs: as
    /// many as it has [`workers`](Described::workers), by default. What is made for several workers is made for so many,
    /// and those that are not there rest.
    pub fn max_workers(mut self, max_workers: usize) -> Self {
        self.node.max_workers = Some(max_workers);
        self
    }

    /// Sets whether what several workers give goes on in the order in which the samples were taken: true by default. At
    /// most 2 × workers results wait for one before them; then their workers wait. One worker keeps the order in any
    /// case.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.node.ordered = ordered;
        self
    }
}

/// One stage, given as it is: it has one worker.
pub struct One<S>(pub(crate) S);

/// A stage that each worker makes for itself.
pub struct MadeBy<F>(F);

impl<S> fmt::Debug for One<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("One").finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for MadeBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeBy").finish_non_exhaustive()
    }
}

/// An origin from which a stage for each of several workers comes: what [`made_by`] or `isolated`
/// describes.
#[diagnostic::on_unimplemented(
    message = "a single stage has one worker",
    label = "is one stage",
    note = "give it with `made_by(|| ..)`, which makes one for each worker, or with `isolated`"
)]
pub trait MakesMany {}

impl<F> MakesMany for MadeBy<F> {}

impl<S, M, To> Makes<IsGiven<M>, To> for One<S>
where
    S: AsStage<M, To>,
    S::Stage: Send,
{
    type Input = S::Input;
    type Stage = S::Stage;

    fn into_making(self) -> (Making<S::Stage>, String) {
        let stage = self.0.into_stage();
        let name = stage.name();
        (Making::Given(Box::new(move || stage)), name)
    }
}

impl<F, S, M, To> Makes<IsMade<fn() -> S, M>, To> for MadeBy<F>
where
    F: Fn() -> Result<S, BoxError> + Send + Sync + 'static,
    S: AsStage<M, To>,
{
    type Input = S::Input;
    type Stage = S::Stage;

    fn into_making(self) -> (Making<S::Stage>, String) {
        let make = self.0;
        (Making::Made(std::sync::Arc::new(move || Ok(make()?.into_stage()))), S::type_name())
    }
}

impl<S, M, To> Part<IsGiven<M>, To> for S
where
    S: AsStage<M, To>,
    S::Stage: Send,
{
    type Input = S::Input;
    type Intake = Single;
    type OnError = NotSaid;

    fn into_parts_behind<T>(self) -> Parts
    where
        Single: Takes<T, S::Input>,
    {
        Part::<IsDescribed<IsGiven<M>>, To>::into_parts_behind(stage(self))
    }
}

impl<O, N, E, M, To> Part<IsDescribed<M>, To> for Described<O, N, E>
where
    O: Makes<M, To>,
    N: GivesOne,
{
    type Input = O::Input;
    type Intake = N;
    type OnError = E;

    fn into_parts_behind<T>(self) -> Parts
    where
        N: Takes<T, O::Input>,
        E: Copies<O::Input>,
    {
        self.into_parts::<M, To, T, E, OneResult>(|on_error| on_error)
    }
}

impl<O, E, M, R, N, V> Part<IsBatch<M, R, N>, Onward<V>> for Described<O, Batch, E>
where
    O: Makes<M, Onward<Vec<R>>, Stage: Stage<Output = Vec<R>>>,
    R: Gives<Onward<V>, N, Value = V> + Send + 'static,
    V: 'static,
    N: 'static,
{
    type Input = O::Input;
    type Intake = Batch;
    type OnError = ForEach<E>;

    fn into_parts_behind<T>(self) -> Parts
    where
        Batch: Takes<T, O::Input>,
        ForEach<E>: Copies<O::Input>,
    {
        self.into_parts::<M, Onward<Vec<R>>, T, ForEach<E>, EachResult<Onward<V>, N>>(ForEach)
    }
}

impl<O, E, M, R, N> Part<IsBatch<M, R, N>, Ended> for Described<O, Batch, E>
where
    O: Makes<M, Onward<Vec<R>>, Stage: Stage<Output = Vec<R>>>,
    R: Gives<Ended, N> + Send + 'static,
    N: 'static,
{
    type Input = O::Input;
    type Intake = Batch;
    type OnError = ForEach<E>;

    fn into_parts_behind<T>(self) -> Parts
    where
        Batch: Takes<T, O::Input>,
        ForEach<E>: Copies<O::Input>,
    {
        self.into_parts::<M, Onward<Vec<R>>, T, ForEach<E>, EachResult<Ended, N>>(ForEach)
    }
}

impl<O, E, M> Part<EndsBatch<M>, Ended> for Described<O, Batch, E>
where
    O: Makes<M, Ended, Stage: Stage<Output: Last>>,
{
    type Input = O::Input;
    type Intake = Batch;
    type OnError = ForEach<E>;

    fn into_parts_behind<T>(self) -> Parts
    where
        Batch: Takes<T, O::Input>,
        ForEach<E>: Copies<O::Input>,
    {
        self.into_parts::<M, Ended, T, ForEach<E>, OneResult>(ForEach)
    }
}

impl<O, N, E> Described<O, N, E> {
    /// Returns what it adds to a pipeline behind a stage that gives a `T`, where `R` says what comes of what it returns.
    fn into_parts<M, To, T, F, R>(self, on_error: impl FnOnce(E) -> F) -> Parts
    where
        O: Makes<M, To>,
        N: Takes<T, O::Input>,
        F: Copies<O::Input>,
        R: Returns<<O::Stage as Stage>::Output>,
    {
        let Described { origin, intake, on_error: said, name, node } = self;
        let (making, own_name) = origin.into_making();
        let is_made = matches!(making, Making::Made(_)) && name.is_none();
        let on_error: ErrorPolicy = on_error(said).into();
        let node = Node { name: name.unwrap_or(own_name), is_made, intake: intake.intake(), on_error, ..node };

        let problem = intake.problem().or_else(|| {
            let is_whole_list = F::KEEPS.is_some() && node.intake.takes_lists() && !node.intake.keeps_identity();
            is_whole_list.then(|| GraphError::KeepsLists { stage: node.name.clone() })
        });

        // A stage that stops the pipeline when it fails is not run again.
        let copy = F::COPY.filter(|_| on_error != ErrorPolicy::Stop);
        let copying = Copying { all: copy, alone: F::ALONE, keeps: F::KEEPS };
        let bodies = Bodies::of_stage::<_, _, R>(making, move || intake.unpacker(), copying);
        Parts {
            #[cfg(feature = "dead-letters")]
            letters: F::KEEPS.iter().map(|keeps| keeps.letter).collect(),
            ..Parts::one(node, problem, bodies)
        }
    }
}
