//! The types that the builder accepts as a stage: a stage, a closure, and what makes or repeats one.

use crate::error::BoxError;
use crate::gives::{Ended, Flows, Gives, Onward};
use crate::graph::OnError;
use crate::stage::{Give, Stage, short_type_name};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A value that the builder accepts as a stage that gives `To`, [`Onward<O>`](Onward) or [`Ended`]: a [`Stage`], a
/// closure of one argument that returns what [`Gives`] says, or what [`made_by`] or [`retry`] returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stage for what comes before it",
    label = "must be a `Stage` that is `Send`, or a closure of one argument",
    note = "a stage's `Input` is what the stage before it gives (a `Vec` of it for a stage that takes lists); a stage that must not move between threads is given with `made_by`",
    note = "at the end a closure returns nothing, or a `Result`, `Option` or `Give` of nothing: end its last line with `;`"
)]
pub trait IntoStage<Marker, To> {
    /// The value that the stage gets.
    type Input: Send + 'static;
    /// The stage it becomes.
    type Stage: Stage<Input = Self::Input>;

    /// Returns the maker from which the stages of its workers come.
    fn into_maker(self) -> Maker<Self::Stage>;
}

/// A value that is one stage: a [`Stage`], or a closure.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stage for what comes before it",
    label = "must be a `Stage`, or a closure of one argument"
)]
pub trait AsStage<Marker, To> {
    /// The value that the stage gets.
    type Input: Send + 'static;
    /// The stage it is.
    type Stage: Stage<Input = Self::Input>;

    /// The stage.
    fn into_stage(self) -> Self::Stage;

    /// The name of such stages before there is one.
    fn type_name() -> String {
        short_type_name::<Self::Stage>()
    }
}

/// The origin of the stages of one or several workers.
pub struct Maker<S: Stage> {
    pub(crate) making: Making<S>,
    pub(crate) name: String,
    pub(crate) again: Option<Again<S::Input>>,
}

impl<S: Stage> fmt::Debug for Maker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maker").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The order to run a stage again on a sample on which it fails, with the way its retry copy is made.
pub(crate) struct Again<T> {
    pub(crate) on_error: OnError,
    pub(crate) keep: Keep<T>,
}

/// Makes a copy for another try.
pub(crate) type Keep<T> = fn(&T) -> T;

pub(crate) enum Making<S> {
    /// There is one, given as it is.
    Given(Box<dyn FnOnce() -> S + Send>),
    /// Each worker makes its own.
    Made(Arc<dyn Fn() -> Result<S, BoxError> + Send + Sync>),
}

/// Marks what is a [`Stage`] already.
#[derive(Debug)]
pub struct IsStage;

/// Marks closures and functions.
#[derive(Debug)]
pub struct IsClosure<F, M>(PhantomData<(F, M)>);

/// Marks what is given as it is.
#[derive(Debug)]
pub struct IsGiven<M>(PhantomData<M>);

/// Marks what [`made_by`] returns.
#[derive(Debug)]
pub struct IsMade<F, M>(PhantomData<(F, M)>);

/// Marks what [`retry`] returns.
#[derive(Debug)]
pub struct IsRetry<M>(PhantomData<M>);

impl<S: Stage> AsStage<IsStage, Onward<S::Output>> for S {
    type Input = S::Input;
    type Stage = S;

    fn into_stage(self) -> S {
        self
    }
}

impl<S: Stage> AsStage<IsStage, Ended> for S {
    type Input = S::Input;
    type Stage = S;

    fn into_stage(self) -> S {
        self
    }
}

impl<F, I, R, M, To> AsStage<IsClosure<fn(I) -> R, M>, To> for F
where
    F: FnMut(I) -> R + 'static,
    I: Flows,
    R: Gives<To, M> + 'static,
    M: 'static,
    To: 'static,
{
    type Input = I;
    type Stage = ClosureStage<F, I, R, M, To>;

    fn into_stage(self) -> Self::Stage {
        ClosureStage { closure: self, input: PhantomData, gives: PhantomData }
    }

    fn type_name() -> String {
        closure_name::<F>()
    }
}

impl<S, M, To> IntoStage<IsGiven<M>, To> for S
where
    S: AsStage<M, To>,
    S::Stage: Send,
{
    type Input = S::Input;
    type Stage = S::Stage;

    fn into_maker(self) -> Maker<S::Stage> {
        let stage = self.into_stage();
        let name = stage.name();
        Maker { making: Making::Given(Box::new(move || stage)), name, again: None }
    }
}

/// Describes a stage that each worker makes for itself: for one that must not move between threads, or that has several
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

/// The result of [`made_by`].
pub struct MadeBy<F>(F);

impl<F> fmt::Debug for MadeBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeBy").finish_non_exhaustive()
    }
}

impl<F, S, M, To> IntoStage<IsMade<fn() -> S, M>, To> for MadeBy<F>
where
    F: Fn() -> Result<S, BoxError> + Send + Sync + 'static,
    S: AsStage<M, To>,
{
    type Input = S::Input;
    type Stage = S::Stage;

    fn into_maker(self) -> Maker<S::Stage> {
        let make = self.0;
        let make = move || Ok(make()?.into_stage());
        Maker { making: Making::Made(Arc::new(make)), name: S::type_name(), again: None }
    }
}

/// Describes a stage that is run again on a sample on which it fails, up to a number of times; if it fails every time,
/// the pipeline stops. What the stage gets must be `Clone`.
///
/// ```
/// use deeppipeline::{Pipeline, retry};
///
/// let mut calls = 0;
/// let flaky = move |x: u32| {
///     calls += 1;
///     if calls % 3 == 0 { Ok(x) } else { Err("not now") }
/// };
///
/// let pipeline = Pipeline::builder().stage(retry(2, flaky)).end_stage(|x: u32| println!("{x}")).start()?;
/// pipeline.put(1)?;
/// pipeline.put(2)?;
/// assert_eq!(pipeline.setstop()?.stages[0].counts.used, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn retry<S>(times: u32, stage: S) -> Retry<S> {
    Retry { stage, on_error: OnError::Retry { times, skip: false } }
}

/// The result of [`retry`].
pub struct Retry<S> {
    stage: S,
    on_error: OnError,
}

impl<S> Retry<S> {
    /// Counts a sample on which it fails every time as failed, and lets the stage go on.
    #[must_use]
    pub fn then_skip(self) -> Self {
        let on_error = OnError::Retry { times: self.on_error.retries(), skip: true };
        Retry { on_error, ..self }
    }
}

impl<S> fmt::Debug for Retry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("on_error", &self.on_error).finish_non_exhaustive()
    }
}

impl<S, M, To> IntoStage<IsRetry<M>, To> for Retry<S>
where
    S: IntoStage<M, To>,
    S::Input: Clone,
{
    type Input = S::Input;
    type Stage = S::Stage;

    fn into_maker(self) -> Maker<S::Stage> {
        let again = Again { on_error: self.on_error, keep: <S::Input as Clone>::clone };
        Maker { again: Some(again), ..self.stage.into_maker() }
    }
}

/// The stage that a closure becomes; [`Gives`] says what comes of what it returns.
pub struct ClosureStage<F, I, R, M, To> {
    closure: F,
    input: PhantomData<fn(I) -> R>,
    gives: PhantomData<fn() -> (M, To)>,
}

impl<F, I, R, M, To> fmt::Debug for ClosureStage<F, I, R, M, To> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClosureStage").field("name", &closure_name::<F>()).finish_non_exhaustive()
    }
}

impl<F, I, R, M, To> Stage for ClosureStage<F, I, R, M, To>
where
    F: FnMut(I) -> R + 'static,
    I: Flows,
    R: Gives<To, M> + 'static,
    M: 'static,
    To: 'static,
{
    type Input = I;
    type Output = R::Value;

    fn stage_run(&mut self, x: I) -> Result<Give<R::Value>, BoxError> {
        (self.closure)(x).into_give()
    }

    fn name(&self) -> String {
        closure_name::<F>()
    }
}

/// A closure's own type name is "{{closure}}"; a function's says more.
fn closure_name<F>() -> String {
    match short_type_name::<F>() {
        name if name.starts_with('{') => "closure".to_owned(),
        name => name,
    }
}
