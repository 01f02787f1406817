//! The types that the builder accepts as a stage: a stage, a closure, and what describes one.

use crate::builder::Parts;
use crate::gives::{Behind, Flows, Gives};
use crate::intake::Takes;
use crate::retry::Copies;
use crate::stage::{Give, Stage, short_type_name};
use crate::unwind::BoxError;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A value that the builder accepts as a stage behind a `T` that gives `To`, [`Onward<O>`](crate::builder::Onward) or
/// [`Ended`](crate::builder::Ended): a [`Part`] whose intake takes a `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stage",
    label = "must be a `Stage` that is `Send`, or a closure of one argument",
    note = "a stage that must not move between threads is given with `made_by`; what an isolated stage gives must be `Transfer`",
    note = "at the end a closure returns nothing, or a `Result`, `Option` or `Give` of nothing: end its last line with `;`",
    note = "with the intake `Batch` it returns a `Vec` with a result for each sample, with `Batch::new(..).fold()` one for all"
)]
pub trait IntoStage<T, Marker, To> {
    /// Returns what it adds to a pipeline.
    fn into_parts(self) -> Parts;
}

impl<P, T, M, To> IntoStage<T, M, To> for P
where
    P: Part<M, To>,
    P::Intake: Takes<T, P::Input>,
    P::OnError: Copies<P::Input>,
{
    fn into_parts(self) -> Parts {
        Part::into_parts_behind(self)
    }
}

/// A value that a pipeline is built of: a [`Stage`], a closure of one argument that returns what [`Gives`] says, what
/// [`stage`](crate::stage()), [`made_by`](crate::made_by) or `isolated` describes, or a [`chain`](crate::chain()) of
/// such.
pub trait Part<Marker, To>: Sized {
    /// The value that the first stage in it gets.
    type Input;
    /// The way that stage takes from its buffer.
    type Intake;
    /// The policy when that stage fails on a sample.
    type OnError;

    /// Returns what it adds to a pipeline behind a stage that gives a `T`.
    fn into_parts_behind<T>(self) -> Parts
    where
        Self::Intake: Takes<T, Self::Input>,
        Self::OnError: Copies<Self::Input>;
}

/// The origin of the stages of one or several workers on threads.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not make stages for what comes before it",
    label = "must make a `Stage` that is `Send`, or a closure of one argument"
)]
pub trait Makes<Marker, To> {
    /// The value that the stage gets.
    type Input: Send + 'static;
    /// The stage it makes.
    type Stage: Stage<Input = Self::Input>;

    /// Returns how the stages are made, and the name of such stages before there is one.
    fn into_making(self) -> (Making<Self::Stage>, String);
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

/// The way the stages of a stage's workers are made.
pub enum Making<S> {
    /// There is one, given as it is.
    Given(Box<dyn FnOnce() -> S + Send>),
    /// Each worker makes its own.
    Made(Arc<dyn Fn() -> Result<S, BoxError> + Send + Sync>),
}

impl<S> fmt::Debug for Making<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Making::Given(_) => "Given",
            Making::Made(_) => "Made",
        })
    }
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

/// Marks what each worker makes.
#[derive(Debug)]
pub struct IsMade<F, M>(PhantomData<(F, M)>);

/// Marks what has options.
#[derive(Debug)]
pub struct IsDescribed<M>(PhantomData<M>);

/// Marks what gives a result for each sample of a batch: how it is made, and what its results are.
#[derive(Debug)]
pub struct IsBatch<M, R, N>(PhantomData<(M, R, N)>);

/// Marks what ends batches, and gives nothing.
#[derive(Debug)]
pub struct EndsBatch<M>(PhantomData<M>);

/// Marks a chain.
#[derive(Debug)]
pub struct IsChain;

/// Marks what runs in a process.
#[cfg(processes)]
#[derive(Debug)]
pub struct IsIsolated;

/// Marks what gives a result for each sample of a batch, and runs in a process.
#[cfg(processes)]
#[derive(Debug)]
pub struct IsIsolatedBatch<R, N>(PhantomData<(R, N)>);

impl<S: Stage, To: Behind<S::Output>> AsStage<IsStage, To> for S {
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
