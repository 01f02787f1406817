//! Chains that are no pipelines yet, and the branches of a parallel block.

use super::for_each::for_each;
use super::{Parts, Routes};
use crate::error::NoAnswer;
use crate::gives::{Ended, Flows, Last, Onward};
use crate::intake::Single;
use crate::into_stage::{IntoStage, IsChain, Part};
use crate::join::Joiner;
use crate::retry::NotSaid;
use crate::typed::{Value, clones, unbox};
use std::fmt;
use std::marker::PhantomData;

/// Begins a chain of stages: a branch of a [parallel](super::Builder::parallel) block, or a part of a pipeline that is
/// used in several.
///
/// ```
/// use deeppipeline::{Pipeline, chain};
///
/// let count = || chain().stage(|text: String| text.len()).stage(|letters: usize| letters as u64);
/// let pipeline = Pipeline::builder()
///     .stage(|x: u64| x.to_string())
///     .stage(count())
///     .end_stage(|digits: u64| println!("{digits}"))
///     .start()?;
/// pipeline.put(1234)?;
/// pipeline.setstop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn chain<A>() -> Chain<A, A> {
    Chain { parts: Parts::default(), types: PhantomData }
}

/// A chain of stages: `A` is what the first takes, `T` what the last so far gives.
#[derive(Debug)]
#[must_use = "a chain does nothing until a builder gets it"]
pub struct Chain<A, T> {
    parts: Parts,
    types: PhantomData<fn(A) -> T>,
}

impl<A, T> Chain<A, T> {
    /// Adds a stage; see [`Builder::stage`](super::Builder::stage).
    pub fn stage<S, M, O>(self, stage: S) -> Chain<A, O>
    where
        S: IntoStage<T, M, Onward<O>>,
        T: Flows,
    {
        self.add(stage.into_parts())
    }

    /// Adds branches that are joined again; see [`Builder::parallel`](super::Builder::parallel).
    pub fn parallel<B, M, O>(self, branches: B) -> Chain<A, O>
    where
        B: Branches<T, M, Onward<O>>,
        T: Flows + Clone,
    {
        self.add(branches.into_block())
    }

    /// Adds branches of which each result of the first goes on with the newest of the others; see
    /// [`Builder::parallel_latest`](super::Builder::parallel_latest).
    pub fn parallel_latest<B, M, O>(self, branches: B) -> Chain<A, O>
    where
        B: BranchesWithLatest<T, M, O>,
        T: Flows + Clone,
    {
        self.add(branches.into_block_with_latest())
    }

    /// Adds ways of which each sample goes one; see [`Builder::route`](super::Builder::route).
    pub fn route<K, O>(self, routes: Routes<T, K, Onward<O>>) -> Chain<A, O>
    where
        T: Flows,
        K: PartialEq + fmt::Debug + Send + Sync + 'static,
        O: Flows,
    {
        self.add(routes.into_joined())
    }

    /// Adds ways that each end in a last stage, of which each sample goes one.
    pub fn end_route<K>(self, routes: Routes<T, K, Ended>) -> Chain<A, Ended>
    where
        T: Flows,
        K: PartialEq + fmt::Debug + Send + Sync + 'static,
    {
        self.add(routes.into_ends())
    }

    /// Adds a stage that splits each sample, and the stages through which its parts go; see
    /// [`Builder::for_each`](super::Builder::for_each).
    pub fn for_each<S, B, M, N, K, P, R>(self, split: S, stages: B) -> Chain<A, (K, Vec<Result<R, NoAnswer>>)>
    where
        S: IntoStage<T, M, Onward<(K, Vec<P>)>>,
        B: IntoStage<P, N, Onward<R>>,
        T: Flows,
        K: Flows,
        P: Flows,
        R: Flows,
    {
        self.add(for_each::<_, _, _, _, T, K, P, R>(split, stages))
    }

    /// Adds the last stage; what it gives back is ignored.
    pub fn end_stage<S, M>(self, stage: S) -> Chain<A, Ended>
    where
        S: IntoStage<T, M, Ended>,
        T: Flows,
    {
        self.add(stage.into_parts())
    }

    /// Adds branches that each end in a last stage.
    pub fn end_parallel<B, M>(self, branches: B) -> Chain<A, Ended>
    where
        B: Branches<T, M, Ended>,
        T: Flows + Clone,
    {
        self.add(branches.into_block())
    }

    fn add<O>(mut self, parts: Parts) -> Chain<A, O> {
        self.parts.append(parts);
        Chain { parts: self.parts, types: PhantomData }
    }
}

impl<A, T: Flows> Part<IsChain, Onward<T>> for Chain<A, T> {
    type Input = A;
    type Intake = Single;
    type OnError = NotSaid;

    fn into_parts_behind<B>(self) -> Parts {
        self.parts
    }
}

impl<A, T: Last> Part<IsChain, Ended> for Chain<A, T> {
    type Input = A;
    type Intake = Single;
    type OnError = NotSaid;

    fn into_parts_behind<B>(self) -> Parts {
        self.parts
    }
}

/// The branches of a parallel block behind a `T`, a tuple of 2 to 6: each is a stage or a [`chain`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` are no branches for what comes before them, `{T}`",
    label = "must be a tuple of 2 to 6 stages or chains",
    note = "each branch takes what comes before the block: a stage or a closure, or `chain().stage(..).stage(..)`"
)]
pub trait Branches<T, Marker, To> {
    /// Returns what they add to a pipeline.
    fn into_block(self) -> Parts;
}

/// The branches of a block behind a `T`, a tuple of 2 to 6, of which each result of the first goes on with the newest of
/// the others: an `O`, which is a tuple of the first's output and an `Option` of each other's.
#[diagnostic::on_unimplemented(
    message = "`{Self}` are no branches for what comes before them, `{T}`, that are joined with the latest",
    label = "must be a tuple of 2 to 6 stages or chains",
    note = "what a branch behind the first gives is kept and copied, and so must be `Clone`"
)]
pub trait BranchesWithLatest<T, Marker, O> {
    /// Returns what they add to a pipeline.
    fn into_block_with_latest(self) -> Parts;
}

/// Returns the next result as what it is; none where its branch has none yet.
fn next_of<T: 'static>(values: &mut impl Iterator<Item = Option<Value>>) -> Option<T> {
    values.next().flatten().map(unbox)
}

/// Returns the next result of a branch that has one.
fn each_has_one<T: 'static>(values: &mut impl Iterator<Item = Option<Value>>) -> T {
    next_of(values).unwrap_or_else(|| unreachable!("a join has a value of this branch"))
}

macro_rules! branches {
    ($first:ident $first_marker:ident $first_output:ident 0, $($branch:ident $marker:ident $output:ident $place:tt),*) => {
        branches!(joined $first $first_marker $first_output 0, $($branch $marker $output $place),*);

        impl<T, $first, $first_marker, $first_output, $($branch, $marker, $output),*>
            BranchesWithLatest<T, ($first_marker, $($marker,)*), ($first_output, $(Option<$output>,)*)>
            for ($first, $($branch,)*)
        where
            T: Flows + Clone,
            $first: IntoStage<T, $first_marker, Onward<$first_output>>,
            $first_output: Flows,
            $($branch: IntoStage<T, $marker, Onward<$output>>, $output: Flows + Clone),*
        {
            fn into_block_with_latest(self) -> Parts {
                let joiner: Joiner<Value> = Box::new(|values| {
                    let mut values = values.into_iter();
                    let first: $first_output = each_has_one(&mut values);
                    Box::new((first, $(next_of::<$output>(&mut values),)*))
                });
                let branches = vec![self.0.into_parts(), $(self.$place.into_parts()),*];
                Parts::joined_with_latest::<T>(branches, joiner, vec![$(Box::new(clones::<$output>)),*])
            }
        }
    };
    (joined $($branch:ident $marker:ident $output:ident $place:tt),*) => {
        impl<T, $($branch, $marker, $output),*> Branches<T, ($($marker,)*), Onward<($($output,)*)>> for ($($branch,)*)
        where
            T: Flows + Clone,
            $($branch: IntoStage<T, $marker, Onward<$output>>, $output: Flows),*
        {
            fn into_block(self) -> Parts {
                let joiner: Joiner<Value> = Box::new(|values| {
                    let mut values = values.into_iter();
                    Box::new(($(each_has_one::<$output>(&mut values),)*))
                });
                Parts::joined::<T>(vec![$(self.$place.into_parts()),*], joiner)
            }
        }

        impl<T, $($branch, $marker),*> Branches<T, ($($marker,)*), Ended> for ($($branch,)*)
        where
            T: Flows + Clone,
            $($branch: IntoStage<T, $marker, Ended>),*
        {
            fn into_block(self) -> Parts {
                Parts::ends::<T>(vec![$(self.$place.into_parts()),*])
            }
        }
    };
}

branches!(A MA OA 0, B MB OB 1);
branches!(A MA OA 0, B MB OB 1, C MC OC 2);
branches!(A MA OA 0, B MB OB 1, C MC OC 2, D MD OD 3);
branches!(A MA OA 0, B MB OB 1, C MC OC 2, D MD OD 3, E ME OE 4);
branches!(A MA OA 0, B MB OB 1, C MC OC 2, D MD OD 3, E ME OE 4, F MF OF 5);
