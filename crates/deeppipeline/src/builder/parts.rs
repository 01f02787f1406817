//! Stages and blocks as the builder collects them, whose types were checked when they were added.

use super::Bodies;
#[cfg(feature = "dead-letters")]
use crate::dead_letters::LetterType;
use crate::error::GraphError;
use crate::graph::{Block, BlockResults, Node};
#[cfg(processes)]
use crate::isolated::IsolatedStage;
use crate::join::Joiner;
use crate::parallel::{ForkJoin, Forker, Gatherer, Router, Splitter};
use crate::typed::{Value, clones};
use std::fmt;

/// The name of a parallel block.
const PARALLEL: &str = "parallel";

/// The name of a block of which each sample goes to one branch.
const ROUTE: &str = "route";

/// The name of a block through which the parts of each sample go.
const FOR_EACH: &str = "for each";

/// What a stage, a chain or a block adds to a pipeline.
#[derive(Default)]
pub struct Parts {
    pub(crate) stages: Vec<Node>,
    pub(crate) bodies: Vec<Bodies>,
    /// One per stage: what its process is told, where it has one.
    #[cfg(processes)]
    pub(crate) isolated: Vec<Option<IsolatedStage>>,
    pub(crate) blocks: Vec<Block>,
    /// One per block.
    pub(crate) fork_joins: Vec<ForkJoin<Value>>,
    pub(crate) problem: Option<GraphError>,
    /// The types of samples that dead letters may have.
    #[cfg(feature = "dead-letters")]
    pub(crate) letters: Vec<LetterType>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { stages, blocks, problem, .. } = self;
        f.debug_struct("Parts")
            .field("stages", stages)
            .field("blocks", blocks)
            .field("problem", problem)
            .finish_non_exhaustive()
    }
}

impl Parts {
    pub(crate) fn one(node: Node, problem: Option<GraphError>, bodies: Bodies) -> Self {
        Parts {
            stages: vec![node],
            bodies: vec![bodies],
            #[cfg(processes)]
            isolated: vec![None],
            problem,
            ..Parts::default()
        }
    }

    /// Adds what comes behind.
    pub(crate) fn append(&mut self, parts: Parts) {
        let before = self.stages.len();
        self.blocks.extend(parts.blocks.into_iter().map(|mut block| {
            for branch in &mut block.branches {
                *branch = before + branch.start..before + branch.end;
            }
            block
        }));
        self.stages.extend(parts.stages);
        self.bodies.extend(parts.bodies);
        #[cfg(processes)]
        self.isolated.extend(parts.isolated);
        self.fork_joins.extend(parts.fork_joins);
        #[cfg(feature = "dead-letters")]
        self.letters.extend(parts.letters);
        self.problem = self.problem.take().or(parts.problem);
    }

    /// Makes a block of which each branch ends in an end stage: each gets a clone of each sample, a `T`.
    pub(crate) fn ends<T: Clone + Send + 'static>(branches: Vec<Parts>) -> Self {
        let nothing_is_joined = |_| -> Value { Box::new(()) };
        Parts::block::<T>(branches, BlockResults::End, Box::new(nothing_is_joined), Vec::new())
    }

    /// Makes a block whose branches' results are joined.
    pub(crate) fn joined<T: Clone + Send + 'static>(branches: Vec<Parts>, join: Joiner<Value>) -> Self {
        Parts::block::<T>(branches, BlockResults::Joined, join, Vec::new())
    }

    /// Makes a block of which each result of the first branch goes on with the newest of the others, which are copied
    /// like that.
    pub(crate) fn joined_with_latest<T: Clone + Send + 'static>(
        branches: Vec<Parts>,
        join: Joiner<Value>,
        copy: Vec<Forker<Value>>,
    ) -> Self {
        Parts::block::<T>(branches, BlockResults::JoinedWithLatest, join, copy)
    }

    fn block<T: Clone + Send + 'static>(
        branches: Vec<Parts>,
        results: BlockResults,
        join: Joiner<Value>,
        copy: Vec<Forker<Value>>,
    ) -> Self {
        let block = Block { name: PARALLEL.to_owned(), branches: Vec::new(), results, routed: false };
        Parts::of_block(block, ForkJoin { fork: Box::new(clones::<T>), route: None, join, copy, parts: None }, branches)
    }

    /// Makes a block of which each sample goes to the branch that the router chooses; their results come out in order,
    /// or each branch ends in an end stage.
    pub(crate) fn routed(branches: Vec<Parts>, results: BlockResults, route: Router<Value>) -> Self {
        let block = Block { name: ROUTE.to_owned(), branches: Vec::new(), results, routed: true };
        let one = |value, _| vec![value];
        let join = |values: Vec<Option<Value>>| values.into_iter().flatten().next().unwrap_or_else(|| Box::new(()));
        let (fork, join, route) = (Box::new(one), Box::new(join), Some(route));
        Parts::of_block(block, ForkJoin { fork, route, join, copy: Vec::new(), parts: None }, branches)
    }

    /// Makes a block through which the parts of each sample go, behind the stage that splits it.
    pub(crate) fn for_each(split: Parts, stages: Parts, parts: (Splitter<Value>, Gatherer<Value>)) -> Self {
        let block =
            Block { name: FOR_EACH.to_owned(), branches: Vec::new(), results: BlockResults::Gathered, routed: false };
        let nothing: fn(Vec<Option<Value>>) -> Value = |_| Box::new(());
        let (fork, join) = (Box::new(|value, _| vec![value]), Box::new(nothing));
        let fork_join = ForkJoin { fork, route: None, join, copy: Vec::new(), parts: Some(parts) };
        let mut all = split;
        all.append(Parts::of_block(block, fork_join, vec![stages]));
        all
    }

    fn of_block(block: Block, fork_join: ForkJoin<Value>, branches: Vec<Parts>) -> Self {
        let mut parts = Parts { blocks: vec![block], fork_joins: vec![fork_join], ..Parts::default() };
        for branch in branches {
            let first = parts.stages.len();
            parts.append(branch);
            parts.blocks[0].branches.push(first..parts.stages.len());
        }
        parts
    }
}
