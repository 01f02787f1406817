//! How stages of different types become workers that are all alike, and closures become stages.

use crate::error::BoxError;
use crate::executor::Body;
use crate::graph::OnError;
use crate::intake::Input;
use crate::stage::{Give, Source, Stage, short_type_name};
use crate::window::{Keeper, Put, Window, Windows, account};
use crate::worker::{Call, Done, Kept};
use std::any::Any;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

/// What flows inside a pipeline whose types were checked when it was built.
pub(crate) type Value = Box<dyn Any + Send>;

/// Whatever the builder accepts as a stage: a [`Stage`], a closure from a sample to what goes on, or what
/// [`made_by`] returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stage for what comes before it",
    label = "must be a `Stage` that is `Send`, or a closure of one argument",
    note = "a stage's `Input` is what the stage before it gives (a `Vec` of it for a stage that takes lists); a stage that must not move between threads is given with `made_by`"
)]
pub trait IntoStage<Marker> {
    /// What the stage gets.
    type Input: Send + 'static;
    /// What goes on.
    type Output: Send + 'static;
    /// The stage it becomes.
    type Stage: Stage<Input = Self::Input, Output = Self::Output>;

    /// Where the stages of its workers come from.
    fn into_maker(self) -> Maker<Self::Stage>;
}

/// Where the stages of one or several workers come from.
pub struct Maker<S: Stage> {
    pub(crate) making: Making<S>,
    pub(crate) again: Option<Again<S::Input>>,
}

/// That a stage is to be run again on a sample on which it fails, and how what it gets is kept for that.
pub(crate) struct Again<T> {
    pub(crate) on_error: OnError,
    pub(crate) keep: Keep<T>,
}

/// Makes a copy for another try.
pub(crate) type Keep<T> = fn(&T) -> T;

pub(crate) enum Making<S> {
    /// There is one, given as it is.
    Given(Box<dyn FnOnce() -> S + Send>, String),
    /// Each worker makes its own.
    Made(Arc<dyn Fn() -> Result<S, BoxError> + Send + Sync>),
}

fn given<S: Stage + Send>(stage: S) -> Maker<S> {
    let name = stage.name();
    Maker { making: Making::Given(Box::new(move || stage), name), again: None }
}

/// Marks what is a [`Stage`] already.
pub struct IsStage;

/// Marks closures and functions.
pub struct IsClosure<F>(PhantomData<F>);

/// Marks what [`made_by`] returns.
pub struct IsMade<F, M>(PhantomData<(F, M)>);

impl<S: Stage + Send> IntoStage<IsStage> for S {
    type Input = S::Input;
    type Output = S::Output;
    type Stage = S;

    fn into_maker(self) -> Maker<S> {
        given(self)
    }
}

impl<F, I, O> IntoStage<IsClosure<fn(I) -> O>> for F
where
    F: FnMut(I) -> O + Send + 'static,
    I: Send + 'static,
    O: Send + 'static,
{
    type Input = I;
    type Output = O;
    type Stage = ClosureStage<F, I, O>;

    fn into_maker(self) -> Maker<Self::Stage> {
        given(ClosureStage { closure: self, types: PhantomData })
    }
}

/// A stage that each worker makes for itself: for one that must not move between threads, or that has several
/// [`workers`](crate::Options::workers).
///
/// An error from `make` is an error of the stage's setup.
///
/// ```
/// use deeppipeline::{Options, Pipeline, made_by};
///
/// let pipeline = Pipeline::builder()
///     .stage(made_by(|| Ok(|x: u64| (1..=x).product::<u64>())))
///     .options(Options::new().name("factorial").workers(2))
///     .end_stage(|x: u64| println!("{x}"))
///     .start()?;
/// for x in 1..=20 {
///     pipeline.put(x)?;
/// }
/// assert_eq!(pipeline.setstop()?.stages[0].workers, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn made_by<F, S>(make: F) -> MadeBy<F>
where
    F: Fn() -> Result<S, BoxError> + Send + Sync + 'static,
{
    MadeBy(make)
}

/// What [`made_by`] returns.
pub struct MadeBy<F>(F);

impl<F, S> IntoStage<IsMade<fn() -> S, IsStage>> for MadeBy<F>
where
    F: Fn() -> Result<S, BoxError> + Send + Sync + 'static,
    S: Stage,
{
    type Input = S::Input;
    type Output = S::Output;
    type Stage = S;

    fn into_maker(self) -> Maker<S> {
        Maker { making: Making::Made(Arc::new(self.0)), again: None }
    }
}

impl<F, G, I, O> IntoStage<IsMade<fn() -> G, IsClosure<fn(I) -> O>>> for MadeBy<F>
where
    F: Fn() -> Result<G, BoxError> + Send + Sync + 'static,
    G: FnMut(I) -> O + 'static,
    I: Send + 'static,
    O: Send + 'static,
{
    type Input = I;
    type Output = O;
    type Stage = ClosureStage<G, I, O>;

    fn into_maker(self) -> Maker<Self::Stage> {
        let make = self.0;
        let make = move || Ok(ClosureStage { closure: make()?, types: PhantomData });
        Maker { making: Making::Made(Arc::new(make)), again: None }
    }
}

/// A stage that is run again on a sample on which it fails, so many times at most; if it fails every time, the pipeline
/// stops. What the stage gets must be `Clone`.
///
/// ```
/// use deeppipeline::{BoxError, Give, Pipeline, Stage, retry};
///
/// struct Flaky(u32);
///
/// impl Stage for Flaky {
///     type Input = u32;
///     type Output = u32;
///     fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
///         self.0 += 1;
///         if self.0 % 3 == 0 { Ok(Give::One(x)) } else { Err("not now".into()) }
///     }
/// }
///
/// let pipeline = Pipeline::builder().stage(retry(2, Flaky(0))).end_stage(|x: u32| println!("{x}")).start()?;
/// pipeline.put(1)?;
/// pipeline.put(2)?;
/// assert_eq!(pipeline.setstop()?.stages[0].counts.used, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn retry<S>(times: u32, stage: S) -> Retry<S> {
    Retry { stage, on_error: OnError::Retry { times, skip: false } }
}

/// What [`retry`] returns.
pub struct Retry<S> {
    stage: S,
    on_error: OnError,
}

impl<S> Retry<S> {
    /// If it fails every time, the sample is counted as failed, and the stage goes on.
    #[must_use]
    pub fn then_skip(self) -> Self {
        let on_error = OnError::Retry { times: self.on_error.retries(), skip: true };
        Retry { on_error, ..self }
    }
}

/// Marks what [`retry`] returns.
pub struct IsRetry<M>(PhantomData<M>);

impl<S, M> IntoStage<IsRetry<M>> for Retry<S>
where
    S: IntoStage<M>,
    S::Input: Clone,
{
    type Input = S::Input;
    type Output = S::Output;
    type Stage = S::Stage;

    fn into_maker(self) -> Maker<S::Stage> {
        let again = Again { on_error: self.on_error, keep: <S::Input as Clone>::clone };
        Maker { again: Some(again), ..self.stage.into_maker() }
    }
}

/// The stage that a closure becomes: what it returns goes on.
pub struct ClosureStage<F, I, O> {
    closure: F,
    types: PhantomData<fn(I) -> O>,
}

impl<F, I, O> Stage for ClosureStage<F, I, O>
where
    F: FnMut(I) -> O + 'static,
    I: Send + 'static,
    O: Send + 'static,
{
    type Input = I;
    type Output = O;

    fn stage_run(&mut self, x: I) -> Result<Give<O>, BoxError> {
        Ok(Give::One((self.closure)(x)))
    }

    fn name(&self) -> String {
        // A closure's own type name is "{{closure}}"; a function's says more.
        match short_type_name::<F>() {
            name if name.starts_with('{') => "closure".to_owned(),
            name => name,
        }
    }
}

/// How what was taken becomes what the stage gets.
pub(crate) trait Unpack<T>: 'static {
    /// What the stage gets, if it is its turn, and what becomes of samples that it kept before.
    fn unpack(&mut self, input: Input<Value>) -> (Unpacked<T>, Kept);

    /// The same once more for what the stage has failed on.
    fn again(&mut self, input: Input<Value>) -> (Unpacked<T>, Kept) {
        self.unpack(input)
    }
}

pub(crate) enum Unpacked<T> {
    /// `stage_run` gets this.
    Run(T),
    /// A later list will have the sample.
    Keep,
    /// No list will.
    Skip,
    /// It is not of the type that the chain was built for.
    Wrong,
}

/// One sample or one list as it was taken.
impl<T, F: FnMut(Input<Value>) -> Option<T> + 'static> Unpack<T> for F {
    fn unpack(&mut self, input: Input<Value>) -> (Unpacked<T>, Kept) {
        (self(input).map_or(Unpacked::Wrong, Unpacked::Run), Kept::default())
    }
}

/// The last samples of each key.
pub(crate) struct OfKey<F, K, T> {
    key: F,
    keeper: Keeper<K, T>,
    /// Whether the last sample is in its window: not if `key` panicked.
    is_put: bool,
}

impl<F, K: Hash + Eq + Clone, T> OfKey<F, K, T> {
    pub(crate) fn new(window: Window, key: F) -> Self {
        OfKey { key, keeper: Keeper::new(window), is_put: false }
    }
}

impl<F, K, T> Unpack<Vec<T>> for OfKey<F, K, T>
where
    F: Fn(&T) -> K + 'static,
    K: Hash + Eq + Clone + 'static,
    T: Clone + 'static,
{
    fn unpack(&mut self, input: Input<Value>) -> (Unpacked<Vec<T>>, Kept) {
        let Some(sample) = one::<T>(input) else { return (Unpacked::Wrong, Kept::default()) };
        self.is_put = false;
        let key = (self.key)(&sample);
        self.is_put = true;
        let silent = self.keeper.begin();
        let (put, forgotten) = self.keeper.put(key.clone(), sample);
        let unpacked = match put {
            Put::Due { .. } => Unpacked::Run(self.keeper.list(&key).cloned().collect()),
            Put::Kept => Unpacked::Keep,
            Put::Skipped => Unpacked::Skip,
        };
        (unpacked, account(put, silent + forgotten))
    }

    fn again(&mut self, input: Input<Value>) -> (Unpacked<Vec<T>>, Kept) {
        if !self.is_put {
            return self.unpack(input);
        }
        let Some(sample) = one::<T>(input) else { return (Unpacked::Wrong, Kept::default()) };
        let key = (self.key)(&sample);
        (Unpacked::Run(self.keeper.list(&key).cloned().collect()), Kept::default())
    }
}

/// The last items of each of the keys in one sample.
pub(crate) struct OfKeys<F, K, T> {
    keys: F,
    keeper: Keeper<K, T>,
    /// Whether the items of the last sample are in their windows: not if `keys` panicked.
    is_put: bool,
}

impl<F, K: Hash + Eq + Clone, T> OfKeys<F, K, T> {
    pub(crate) fn new(window: Window, keys: F) -> Self {
        OfKeys { keys, keeper: Keeper::new(window), is_put: false }
    }
}

impl<F, S, I, K, T> Unpack<Windows<S, K, T>> for OfKeys<F, K, T>
where
    F: Fn(&S) -> I + 'static,
    S: 'static,
    I: IntoIterator<Item = (K, T)>,
    K: Hash + Eq + Clone + 'static,
    T: Clone + 'static,
{
    fn unpack(&mut self, input: Input<Value>) -> (Unpacked<Windows<S, K, T>>, Kept) {
        let Some(sample) = one::<S>(input) else { return (Unpacked::Wrong, Kept::default()) };
        self.is_put = false;
        let items = (self.keys)(&sample);
        self.is_put = true;
        // Items are no samples: each sample is used by the call that it came with.
        (Unpacked::Run(self.keeper.windows(sample, items)), Kept::default())
    }

    fn again(&mut self, input: Input<Value>) -> (Unpacked<Windows<S, K, T>>, Kept) {
        if !self.is_put {
            return self.unpack(input);
        }
        let Some(sample) = one::<S>(input) else { return (Unpacked::Wrong, Kept::default()) };
        let items = (self.keys)(&sample);
        (Unpacked::Run(self.keeper.windows_again(sample, items)), Kept::default())
    }
}

/// A stage on its worker.
pub(crate) struct StageBody<S: Stage, U> {
    make: Option<Box<dyn FnOnce() -> Result<S, BoxError>>>,
    stage: Option<S>,
    unpack: U,
    kept: Kept,
    /// How what the stage gets is kept for another try, and what it got last.
    keep: Option<Keep<S::Input>>,
    last: Option<S::Input>,
}

impl<S: Stage, U> StageBody<S, U> {
    pub(crate) fn new(make: impl FnOnce() -> Result<S, BoxError> + 'static, unpack: U) -> Self {
        StageBody { make: Some(Box::new(make)), stage: None, unpack, kept: Kept::default(), keep: None, last: None }
    }

    /// Can be run again on what it got.
    pub(crate) fn keeping(self, keep: Option<Keep<S::Input>>) -> Self {
        StageBody { keep, ..self }
    }
}

impl<S, U> Body<Value> for StageBody<S, U>
where
    S: Stage,
    U: Unpack<S::Input>,
{
    fn call(&mut self, call: Call<Value>) -> Done<Value> {
        if let Some(make) = self.make.take() {
            match make() {
                Ok(stage) => self.stage = Some(stage),
                Err(cause) => return Done::Failed(cause),
            }
        }
        let Some(stage) = &mut self.stage else { return Done::Failed("the stage was never made".into()) };
        let result = match call {
            Call::Setup => stage.setup().map(|()| Give::Skip),
            Call::Teardown => stage.teardown().map(|()| Give::Skip),
            Call::Finish => stage.finish(),
            Call::RunAgain(_) if let (Some(keep), Some(x)) = (self.keep, &self.last) => stage.stage_run(keep(x)),
            Call::StageRun(_) | Call::RunAgain(_) => {
                let (unpacked, kept) = match call {
                    Call::StageRun(input) => self.unpack.unpack(input),
                    Call::RunAgain(Some(input)) => self.unpack.again(input),
                    _ => return Done::Failed("what it got was not kept for another try".into()),
                };
                self.kept = kept;
                match unpacked {
                    Unpacked::Run(x) => {
                        self.last = self.keep.map(|keep| keep(&x));
                        stage.stage_run(x)
                    }
                    Unpacked::Keep => return Done::Kept,
                    Unpacked::Skip => Ok(Give::Skip),
                    Unpacked::Wrong => Err("the sample is not of the type that the chain was built for".into()),
                }
            }
            Call::SourceNext => Err("a stage was asked for the source's next sample".into()),
        };
        match result {
            Ok(give) => Done::Gave(box_values(give)),
            Err(cause) => Done::Failed(cause),
        }
    }

    fn kept(&mut self) -> Kept {
        std::mem::take(&mut self.kept)
    }
}

/// What was boxed a moment ago, back as it was.
pub(crate) fn unbox<T: 'static>(value: Value) -> T {
    match value.downcast() {
        Ok(x) => *x,
        Err(_) => unreachable!("the engine hands back the value it was given"),
    }
}

/// The one sample of the intakes single and latest.
pub(crate) fn one<T: 'static>(input: Input<Value>) -> Option<T> {
    match input {
        Input::One(sample) => sample.value.downcast().ok().map(|x| *x),
        Input::List(_) => None,
    }
}

/// The list of the list intakes.
pub(crate) fn list<T: 'static>(input: Input<Value>) -> Option<Vec<T>> {
    match input {
        Input::One(_) => None,
        Input::List(samples) => samples.into_iter().map(|sample| sample.value.downcast().ok().map(|x| *x)).collect(),
    }
}

fn box_values<T: Send + 'static>(give: Give<T>) -> Give<Value> {
    match give {
        Give::One(x) => Give::One(Box::new(x)),
        Give::Skip => Give::Skip,
        Give::Many(values) => Give::Many(Box::new(values.map(|x| Box::new(x) as Value))),
    }
}

/// A source on its worker.
pub(crate) struct SourceBody<S: Source>(pub(crate) S);

impl<S: Source> Body<Value> for SourceBody<S> {
    fn call(&mut self, call: Call<Value>) -> Done<Value> {
        match call {
            Call::SourceNext => match self.0.source_next() {
                Ok(Some(x)) => Done::Gave(Give::One(Box::new(x))),
                Ok(None) => Done::Exhausted,
                Err(cause) => Done::Failed(cause),
            },
            Call::Setup | Call::StageRun(_) | Call::RunAgain(_) | Call::Finish | Call::Teardown => {
                Done::Gave(Give::Skip)
            }
        }
    }
}

/// Hands each sample to every branch of a block.
pub(crate) struct Fork<T> {
    pub(crate) branches: usize,
    pub(crate) types: PhantomData<fn(T)>,
}

impl<T: Clone + Send + 'static> Stage for Fork<T> {
    type Input = T;
    type Output = T;

    fn stage_run(&mut self, x: T) -> Result<Give<T>, BoxError> {
        Ok(Give::many(vec![x; self.branches]))
    }
}

/// Brings the results of a branch to its join, as they are.
pub(crate) struct BringToJoin;

impl Body<Value> for BringToJoin {
    fn call(&mut self, call: Call<Value>) -> Done<Value> {
        Done::Gave(match call {
            Call::StageRun(Input::One(sample)) => Give::One(sample.value),
            _ => Give::Skip,
        })
    }
}
