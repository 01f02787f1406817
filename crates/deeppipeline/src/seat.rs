//! The seat of a stage on its worker: the stage that the pipeline was built with, or another that has taken its place.

use crate::stage::{Give, Stage};
use crate::unwind::BoxError;
use crate::worker::Values;
use std::any::{Any, type_name};

/// What a worker runs as its stage.
pub(crate) enum Seat<S: Stage> {
    /// A stage of the type that the pipeline was built with.
    Own(S),
    /// One of another type, which takes and gives the same.
    Other(Box<dyn Other<S::Input, S::Output>>),
}

/// A stage of a type that only its place has forgotten.
pub(crate) trait Other<I, O> {
    fn setup(&mut self) -> Result<(), BoxError>;
    fn stage_run(&mut self, x: I) -> Result<Give<O>, BoxError>;
    fn finish(&mut self) -> Result<Give<O>, BoxError>;
    fn teardown(&mut self) -> Result<(), BoxError>;
    fn update(&mut self, values: &Values) -> Result<(), BoxError>;
}

impl<S: Stage> Other<S::Input, S::Output> for S {
    fn setup(&mut self) -> Result<(), BoxError> {
        Stage::setup(self)
    }

    fn stage_run(&mut self, x: S::Input) -> Result<Give<S::Output>, BoxError> {
        Stage::stage_run(self, x)
    }

    fn finish(&mut self) -> Result<Give<S::Output>, BoxError> {
        Stage::finish(self)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        Stage::teardown(self)
    }

    fn update(&mut self, values: &Values) -> Result<(), BoxError> {
        update(self, values, None)
    }
}

/// The way in which a stage in a process is made, and updated, from what has crossed to it.
pub(crate) struct FromBytes<S> {
    pub(crate) make: fn(&[u8]) -> Result<S, BoxError>,
    pub(crate) update: fn(&mut S, &[u8]) -> Result<(), BoxError>,
}

impl<S> Clone for FromBytes<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for FromBytes<S> {}

impl<S: Stage> Seat<S> {
    /// Makes the stage that is to take the place of one of type `S`.
    pub(crate) fn made_of(values: &Values, from_bytes: Option<FromBytes<S>>) -> Result<Self, BoxError> {
        let new = match values {
            Values::Here(new) => new.downcast_ref::<New>().ok_or("it is no stage")?,
            Values::Bytes(bytes) => {
                let from_bytes = from_bytes.ok_or("the stage is not made from settings")?;
                return (from_bytes.make)(bytes).map(Seat::Own);
            }
        };
        match new.make.downcast_ref::<Make<S::Input, S::Output>>() {
            Some(make) => make().map(Seat::Other),
            None => Err(format!("{} is not for the place of {}", new.what, what::<S>()).into()),
        }
    }

    pub(crate) fn setup(&mut self) -> Result<(), BoxError> {
        match self {
            Seat::Own(stage) => Stage::setup(stage),
            Seat::Other(stage) => stage.setup(),
        }
    }

    pub(crate) fn stage_run(&mut self, x: S::Input) -> Result<Give<S::Output>, BoxError> {
        match self {
            Seat::Own(stage) => Stage::stage_run(stage, x),
            Seat::Other(stage) => stage.stage_run(x),
        }
    }

    pub(crate) fn finish(&mut self) -> Result<Give<S::Output>, BoxError> {
        match self {
            Seat::Own(stage) => Stage::finish(stage),
            Seat::Other(stage) => stage.finish(),
        }
    }

    pub(crate) fn teardown(&mut self) -> Result<(), BoxError> {
        match self {
            Seat::Own(stage) => Stage::teardown(stage),
            Seat::Other(stage) => stage.teardown(),
        }
    }

    pub(crate) fn update(&mut self, values: &Values, from_bytes: Option<FromBytes<S>>) -> Result<(), BoxError> {
        match self {
            Seat::Own(stage) => update(stage, values, from_bytes),
            Seat::Other(stage) => stage.update(values),
        }
    }
}

/// A change of a stage of that type, as its user says it.
pub(crate) struct Change<S>(pub(crate) Box<Changing<S>>);

/// What is done to a stage between two samples.
type Changing<S> = dyn Fn(&mut S) -> Result<(), BoxError> + Send + Sync;

/// Makes a change of a stage, if it is one of that type.
fn update<S: 'static>(stage: &mut S, values: &Values, from_bytes: Option<FromBytes<S>>) -> Result<(), BoxError> {
    let change = match values {
        Values::Here(change) => change.downcast_ref::<Change<S>>(),
        Values::Bytes(bytes) => return (from_bytes.ok_or("the stage takes no settings")?.update)(stage, bytes),
    };
    let change =
        change.ok_or_else(|| format!("the stage is of type {}, which the update is not for", type_name::<S>()))?;
    (change.0)(stage)
}

/// A stage to come, for each worker of the one whose place it takes.
pub(crate) struct New {
    /// A description of it, for an error.
    what: String,
    /// A `Make` for what it takes and gives.
    make: Box<dyn Any + Send + Sync>,
}

type Make<I, O> = Box<dyn Fn() -> Result<Box<dyn Other<I, O>>, BoxError> + Send + Sync>;

impl New {
    pub(crate) fn made_by<S: Stage>(make: impl Fn() -> Result<S, BoxError> + Send + Sync + 'static) -> Self {
        let make: Make<S::Input, S::Output> = Box::new(move || Ok(Box::new(make()?)));
        New { what: what::<S>(), make: Box::new(make) }
    }
}

/// Describes a stage by its type, and what it takes and gives.
fn what<S: Stage>() -> String {
    let [stage, input, output] = [type_name::<S>(), type_name::<S::Input>(), type_name::<S::Output>()];
    format!("{stage}, which takes {input} and gives {output},")
}
