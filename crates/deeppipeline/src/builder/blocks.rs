//! Branches in parallel: each a chain of its own, which joins the others again or ends the pipeline.

use super::{Bodies, Builder};
use crate::buffer::Overflow;
use crate::error::GraphError;
use crate::gives::{Ended, Flows, Last};
use crate::graph::{Block, Node};
use crate::typed::{BringToJoin, Fork, StageBody, Value, one, unbox};
use std::marker::PhantomData;
use std::sync::Arc;

/// The name of a parallel block.
const PARALLEL: &str = "parallel";

impl<I, T> Builder<I, T> {
    /// Adds two branches that get the same samples at the same time; the stage after them gets their results as a pair.
    ///
    /// A branch is a chain of its own: stages, and blocks inside. A sample that one branch drops, skips, fails on or
    /// loses is counted as unjoined, and holds up nothing.
    ///
    /// ```
    /// use deeppipeline::Pipeline;
    ///
    /// let pipeline = Pipeline::builder()
    ///     .parallel(|branch| branch.stage(|x: u32| x + 1), |branch| branch.stage(|x: u32| x * 10))
    ///     .end_stage(|(sum, product): (u32, u32)| println!("{sum} {product}"))
    ///     .start()?;
    /// pipeline.put(4)?;
    /// assert_eq!(pipeline.setstop()?.joins[0].counts.joined, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parallel<A, B>(
        self,
        first: impl FnOnce(Builder<I, T>) -> Builder<I, A>,
        second: impl FnOnce(Builder<I, T>) -> Builder<I, B>,
    ) -> Builder<I, (A, B)>
    where
        T: Flows + Clone,
        A: Flows,
        B: Flows,
    {
        let builder = self.fork(2, true).branch(first).retyped::<I, T>().branch(second);
        builder.joined(|[a, b]: [Value; 2]| Box::new((unbox::<A>(a), unbox::<B>(b))))
    }

    /// Works like [`parallel`](Builder::parallel), with three branches.
    pub fn parallel3<A, B, C>(
        self,
        first: impl FnOnce(Builder<I, T>) -> Builder<I, A>,
        second: impl FnOnce(Builder<I, T>) -> Builder<I, B>,
        third: impl FnOnce(Builder<I, T>) -> Builder<I, C>,
    ) -> Builder<I, (A, B, C)>
    where
        T: Flows + Clone,
        A: Flows,
        B: Flows,
        C: Flows,
    {
        let builder = self.fork(3, true).branch(first).retyped::<I, T>().branch(second).retyped::<I, T>().branch(third);
        builder.joined(|[a, b, c]: [Value; 3]| Box::new((unbox::<A>(a), unbox::<B>(b), unbox::<C>(c))))
    }

    /// Adds two last stages, or chains that end in one, which get the same samples at the same time: to show and to
    /// save.
    pub fn end_parallel<A, B>(
        self,
        first: impl FnOnce(Builder<I, T>) -> Builder<I, A>,
        second: impl FnOnce(Builder<I, T>) -> Builder<I, B>,
    ) -> Builder<I, Ended>
    where
        T: Flows + Clone,
        A: Last,
        B: Last,
    {
        self.fork(2, false).branch(first).retyped::<I, T>().branch(second).end_block().retyped()
    }

    /// Begins a block: a node hands each sample to every branch.
    fn fork(mut self, branches: usize, joined: bool) -> Self
    where
        T: Flows + Clone,
    {
        let fork = self.graph.stages.len();
        self.open_blocks.push(self.graph.blocks.len());
        self.graph.blocks.push(Block { fork, branches: Vec::new(), joined });
        self.joiners.push(Box::new(|mut values| values.remove(0)));
        let unpack = || one::<T>;
        let hand_out = move || Ok(Fork::<T> { branches, types: PhantomData });
        let node = Node { overflow: Some(Overflow::Block), ..Node::new(PARALLEL) };
        self.push(node, Bodies::One(Box::new(move || Box::new(StageBody::new(hand_out, unpack())))));
        self
    }

    /// Adds one more branch to the block that was begun last.
    fn branch<U>(self, branch: impl FnOnce(Builder<I, T>) -> Builder<I, U>) -> Builder<I, U> {
        let (first, identity) = (self.graph.stages.len(), Arc::clone(&self.identity));
        let mut builder = branch(self);
        let block = builder.open_blocks.last().copied();
        let Some(block) = block.filter(|_| Arc::ptr_eq(&identity, &builder.identity)) else {
            builder.problem.get_or_insert(GraphError::AnotherBuilder);
            return builder;
        };
        if builder.graph.stages.len() == first {
            builder.problem.get_or_insert(GraphError::EmptyBranch);
        }
        if builder.graph.blocks[block].joined {
            let node = Node { overflow: Some(Overflow::Block), ..Node::new(PARALLEL) };
            builder.push(node, Bodies::One(Box::new(|| Box::new(BringToJoin))));
        }
        let last = builder.graph.stages.len() - 1;
        builder.graph.blocks[block].branches.push((first, last));
        builder
    }

    /// Ends the block that was begun last, all of whose branches are there, and sets how their results are joined.
    fn joined<U, const N: usize>(mut self, join: fn([Value; N]) -> Box<U>) -> Builder<I, U>
    where
        U: Send + 'static,
    {
        if let Some(block) = self.open_blocks.last().copied() {
            // There is one value of each branch.
            self.joiners[block] = Box::new(move |values| match <[Value; N]>::try_from(values) {
                Ok(values) => join(values),
                Err(_) => unreachable!("a join has a value of each branch"),
            });
        }
        self.end_block().retyped()
    }
}
