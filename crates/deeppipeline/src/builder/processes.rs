//! Stages in processes of their own; on Linux, with the feature `processes`.

use super::{Bodies, Builder, Described, MakesMany, Parts};
use crate::error::GraphError;
use crate::gives::{Behind, Ended, Gives, Onward};
use crate::graph::Node;
use crate::intake::{Batch, GivesOne, Takes, TakesIsolated};
use crate::into_stage::{IsIsolated, IsIsolatedBatch, Part};
use crate::isolated::{Isolated, IsolatedStage, body};
use crate::policies::{ErrorPolicy, Executor, Intake, OnCrash};
use crate::retry::NotSaid;
use crate::stage::short_type_name;
use crate::transfer::Transfer;
use crate::typed::{EachResult, OneResult, Returns};
use crate::unwind::BoxError;
use crate::wire::to_readable_bytes;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

impl<I, T> Builder<I, T> {
    /// Sets what the command line of worker processes has behind the program's name; nothing otherwise. Of use where
    /// `main` is not one's own, as in tests. It says how this program's workers are started, and changes nothing where
    /// there are none.
    pub fn worker_arguments<A: Into<std::ffi::OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.worker_arguments = arguments.into_iter().map(Into::into).collect();
        self
    }
}

/// Describes a stage in a process of its own, where it is made from these settings; its options are said in any order.
/// See [`Isolated`].
pub fn isolated<S: Isolated>(settings: S::Settings) -> Described<InProcess<S>> {
    let described = Described::new(InProcess { settings });
    Described { node: Node { executor: Executor::Process, ..described.node }, ..described }
}

/// A stage that each worker makes in a process of its own.
pub struct InProcess<S: Isolated> {
    settings: S::Settings,
}

impl<S: Isolated> fmt::Debug for InProcess<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("stage", &S::NAME).finish_non_exhaustive()
    }
}

impl<S: Isolated> MakesMany for InProcess<S> {}

impl<S: Isolated, N, E> Described<InProcess<S>, N, E> {
    /// Sets what happens to the sample in flight when the stage's process dies.
    pub fn on_crash(mut self, on_crash: OnCrash) -> Self {
        self.node.on_crash = Some(on_crash);
        self
    }

    /// Limits how often the stage's process is restarted within
    /// [`RESTART_WINDOW`](crate::processes::RESTART_WINDOW); after one death more the pipeline stops.
    pub fn max_restarts(mut self, max_restarts: u32) -> Self {
        self.node.max_restarts = Some(max_restarts);
        self
    }
}

impl<S, N, E, To> Part<IsIsolated, To> for Described<InProcess<S>, N, E>
where
    S: Isolated<Output: Transfer>,
    N: GivesOne,
    E: Into<ErrorPolicy>,
    To: Behind<S::Output>,
{
    type Input = S::Input;
    type Intake = Crossing<S, N, S::Output>;
    type OnError = NotSaid;

    fn into_parts_behind<T>(self) -> Parts
    where
        Crossing<S, N, S::Output>: Takes<T, S::Input>,
    {
        self.into_isolated_parts::<T, S::Output, OneResult>()
    }
}

impl<S, E, R, N, V> Part<IsIsolatedBatch<R, N>, Onward<V>> for Described<InProcess<S>, Batch, E>
where
    S: Isolated<Output = Vec<R>>,
    R: Gives<Onward<V>, N, Value = V> + Send + 'static,
    V: Transfer,
    N: 'static,
    E: Into<ErrorPolicy>,
{
    type Input = S::Input;
    type Intake = Crossing<S, Batch, V>;
    type OnError = NotSaid;

    fn into_parts_behind<T>(self) -> Parts
    where
        Crossing<S, Batch, V>: Takes<T, S::Input>,
    {
        self.into_isolated_parts::<T, V, EachResult<Onward<V>, N>>()
    }
}

impl<S, E, R, N> Part<IsIsolatedBatch<R, N>, Ended> for Described<InProcess<S>, Batch, E>
where
    S: Isolated<Output = Vec<R>>,
    R: Gives<Onward<()>, N, Value = ()> + Send + 'static,
    N: 'static,
    E: Into<ErrorPolicy>,
{
    type Input = S::Input;
    type Intake = Crossing<S, Batch, ()>;
    type OnError = NotSaid;

    fn into_parts_behind<T>(self) -> Parts
    where
        Crossing<S, Batch, ()>: Takes<T, S::Input>,
    {
        self.into_isolated_parts::<T, (), EachResult<Onward<()>, N>>()
    }
}

impl<S: Isolated, N, E: Into<ErrorPolicy>> Described<InProcess<S>, N, E> {
    /// Returns what it adds to a pipeline behind a stage that gives a `T`: it gives a `V` to the next, where `R` says what
    /// comes of what it returns.
    fn into_isolated_parts<T, V, R>(self) -> Parts
    where
        Crossing<S, N, V>: Takes<T, S::Input>,
        R: Returns<S::Output>,
    {
        let Described { origin, intake, on_error, name, node } = self;
        let intake = Crossing { intake, stage: PhantomData };
        let (is_made, problem) = (name.is_none(), intake.problem());
        let name = name.unwrap_or_else(short_type_name::<S>);
        let isolated = || -> Result<_, BoxError> {
            let settings = to_readable_bytes(&origin.settings)?;
            Ok((intake.isolated(&settings)?, settings))
        };
        let (stage, settings) = match isolated() {
            Ok(isolated) => isolated,
            Err(cause) => {
                let problem = GraphError::Settings { stage: name, cause: cause.to_string() };
                return Parts { problem: Some(problem), ..Parts::default() };
            }
        };

        let node = Node { name, is_made, intake: intake.intake(), on_error: on_error.into(), ..node };
        // On a virtual clock it runs here.
        let intake = Arc::new(intake);
        let bodies = Bodies::Each(Box::new(move || {
            let intake = Arc::clone(&intake);
            body::<S, _, R>(settings.clone(), move || intake.unpacker())
        }));
        Parts {
            #[cfg(feature = "dead-letters")]
            letters: stage.iter().flat_map(|stage| stage.letters).collect(),
            isolated: vec![stage],
            ..Parts::one(node, problem, bodies)
        }
    }
}

/// The intake of the isolated stage `S`, to which samples cross from another process, and which gives a `V` to the next.
pub struct Crossing<S, N, V> {
    intake: N,
    stage: PhantomData<fn() -> (S, V)>,
}

impl<S, N, V> fmt::Debug for Crossing<S, N, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crossing").finish_non_exhaustive()
    }
}

impl<S, N, T, G, V> Takes<T, G> for Crossing<S, N, V>
where
    S: Isolated<Input = G>,
    N: TakesIsolated<S, T, G>,
    T: Transfer,
    V: Transfer,
{
    type Unpack = N::Unpack;

    fn intake(&self) -> Intake {
        self.intake.intake()
    }

    fn problem(&self) -> Option<GraphError> {
        self.intake.problem()
    }

    fn isolated(&self, settings: &[u8]) -> Result<Option<IsolatedStage>, BoxError> {
        Ok(Some(IsolatedStage::new::<S, T, V>(settings, self.intake.of_worker())?))
    }

    fn unpacker(&self) -> N::Unpack {
        self.intake.unpacker()
    }
}
