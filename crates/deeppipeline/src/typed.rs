//! How stages of different types become workers that are all alike, and closures become stages.

use crate::error::BoxError;
use crate::executor::Body;
use crate::intake::Input;
use crate::stage::{Give, Source, Stage, short_type_name};
use crate::worker::{Call, Done};
use std::any::Any;
use std::marker::PhantomData;

/// What flows inside a pipeline whose types were checked when it was built.
pub(crate) type Value = Box<dyn Any + Send>;

/// Whatever the builder accepts as a stage: a [`Stage`], or a closure from a sample to what goes on.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stage for what comes before it",
    label = "must be a `Stage`, or a closure of one argument",
    note = "a stage's `Input` is what the stage before it gives (a `Vec` of it behind `stage_all`)"
)]
pub trait IntoStage<Marker> {
    /// What the stage gets.
    type Input: Send + 'static;
    /// What goes on.
    type Output: Send + 'static;
    /// The stage it becomes.
    type Stage: Stage<Input = Self::Input, Output = Self::Output>;

    /// Makes a stage of it.
    fn into_stage(self) -> Self::Stage;
}

/// Marks what is a [`Stage`] already.
pub struct IsStage;

/// Marks closures and functions.
pub struct IsClosure<F>(PhantomData<F>);

impl<S: Stage> IntoStage<IsStage> for S {
    type Input = S::Input;
    type Output = S::Output;
    type Stage = S;

    fn into_stage(self) -> S {
        self
    }
}

impl<F, I, O> IntoStage<IsClosure<fn(I) -> O>> for F
where
    F: FnMut(I) -> O + 'static,
    I: Send + 'static,
    O: Send + 'static,
{
    type Input = I;
    type Output = O;
    type Stage = ClosureStage<F, I, O>;

    fn into_stage(self) -> Self::Stage {
        ClosureStage { closure: self, types: PhantomData }
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

/// A stage on its worker.
pub(crate) struct StageBody<S: Stage, U> {
    make: Option<Box<dyn FnOnce() -> Result<S, BoxError>>>,
    stage: Option<S>,
    unpack: U,
}

impl<S: Stage, U> StageBody<S, U> {
    pub(crate) fn new(make: impl FnOnce() -> Result<S, BoxError> + 'static, unpack: U) -> Self {
        StageBody { make: Some(Box::new(make)), stage: None, unpack }
    }
}

impl<S, U> Body<Value> for StageBody<S, U>
where
    S: Stage,
    U: FnMut(Input<Value>) -> Option<S::Input>,
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
            Call::StageRun(input) => match (self.unpack)(input) {
                Some(x) => stage.stage_run(x),
                None => Err("the sample is not of the type that the chain was built for".into()),
            },
            Call::SourceNext => Err("a stage was asked for the source's next sample".into()),
        };
        match result {
            Ok(give) => Done::Gave(box_values(give)),
            Err(cause) => Done::Failed(cause),
        }
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
            Call::Setup | Call::StageRun(_) | Call::Finish | Call::Teardown => Done::Gave(Give::Skip),
        }
    }
}
