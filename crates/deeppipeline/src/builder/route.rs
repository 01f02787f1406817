//! Samples of which each goes through one of several chains.

use super::Parts;
use crate::gives::{Ended, Flows, Onward};
use crate::graph::{BlockResults, GraphError};
use crate::into_stage::IntoStage;
use crate::parallel::Router;
use crate::typed::Value;
use crate::unwind::BoxError;
use std::fmt;
use std::marker::PhantomData;

/// Begins to say which way each sample goes: by the key that a function gives for it.
///
/// ```
/// use deeppipeline::builder::route_by;
/// use deeppipeline::{Pipeline, stage};
///
/// let ways = route_by(|x: &u32| if x % 2 == 0 { "even" } else { "odd" })
///     .on("even", |x: u32| format!("{x} is even"))
///     .on("odd", stage(|x: u32| format!("{x} is odd")).name("odd"));
/// let pipeline = Pipeline::builder().route(ways).end_stage(|text: String| println!("{text}")).start()?;
/// pipeline.put(4)?;
/// pipeline.put(7)?;
/// assert_eq!(pipeline.setstop()?.joins[0].counts.joined, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn route_by<T, K, F, To>(key: F) -> Routes<T, K, To>
where
    F: Fn(&T) -> K + Send + Sync + 'static,
    T: Flows,
    K: PartialEq + fmt::Debug + Send + Sync + 'static,
{
    Routes { key: Box::new(key), keys: Vec::new(), branches: Vec::new(), otherwise: None, types: PhantomData }
}

/// Gives the key of a sample.
type KeyOf<T, K> = Box<dyn Fn(&T) -> K + Send + Sync>;

/// The ways that samples, `T`, may go: by keys, `K`. All give the same, as `To` says. Made by [`route_by`].
#[must_use = "ways do nothing until a builder gets them"]
pub struct Routes<T, K, To> {
    key: KeyOf<T, K>,
    /// The key of each branch but the last, where there is an otherwise.
    keys: Vec<K>,
    branches: Vec<Parts>,
    otherwise: Option<Parts>,
    types: PhantomData<fn() -> To>,
}

impl<T, K: fmt::Debug, To> fmt::Debug for Routes<T, K, To> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl<T, K, To> Routes<T, K, To>
where
    T: Flows,
    K: PartialEq + fmt::Debug + Send + Sync + 'static,
{
    /// Lets samples with that key go through a stage, or a [`chain`](crate::chain()) of several.
    pub fn on<S, M>(mut self, key: K, stage: S) -> Self
    where
        S: IntoStage<T, M, To>,
    {
        self.keys.push(key);
        self.branches.push(stage.into_parts());
        self
    }

    /// Lets samples with any other key go that way. Without it such a sample is an error: it stops the pipeline.
    pub fn otherwise<S, M>(mut self, stage: S) -> Self
    where
        S: IntoStage<T, M, To>,
    {
        self.otherwise = Some(stage.into_parts());
        self
    }

    fn into_block(self, results: BlockResults) -> Parts {
        let Routes { key, keys, mut branches, otherwise, .. } = self;
        let problem = problem_of(&keys, branches.is_empty() && otherwise.is_none());
        let rest = otherwise.is_some().then_some(branches.len());
        branches.extend(otherwise);

        let router = move |value: Value| -> Result<(usize, Value), BoxError> {
            let Some(sample) = value.downcast_ref::<T>() else {
                unreachable!("the chain was checked when it was built")
            };
            let key = key(sample);
            match keys.iter().position(|known| *known == key).or(rest) {
                Some(branch) => Ok((branch, value)),
                None => Err(format!("no way is for the key {key:?}: there are {keys:?}, and no otherwise").into()),
            }
        };
        let router: Router<Value> = Box::new(router);
        let mut parts = Parts::routed(branches, results, router);
        parts.problem = problem.or(parts.problem);
        parts
    }
}

fn problem_of<K: PartialEq + fmt::Debug>(keys: &[K], is_empty: bool) -> Option<GraphError> {
    let twice = keys.iter().enumerate().find(|(index, key)| keys[..*index].contains(key));
    match twice {
        Some((_, key)) => Some(GraphError::SameKeyTwice { key: format!("{key:?}") }),
        None => is_empty.then_some(GraphError::NoWays),
    }
}

impl<T, K, O> Routes<T, K, Onward<O>>
where
    T: Flows,
    K: PartialEq + fmt::Debug + Send + Sync + 'static,
    O: Flows,
{
    pub(super) fn into_joined(self) -> Parts {
        self.into_block(BlockResults::Joined)
    }
}

impl<T, K> Routes<T, K, Ended>
where
    T: Flows,
    K: PartialEq + fmt::Debug + Send + Sync + 'static,
{
    pub(super) fn into_ends(self) -> Parts {
        self.into_block(BlockResults::End)
    }
}
