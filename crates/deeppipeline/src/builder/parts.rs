//! Stages and blocks as the builder collects them, whose types were checked when they were added.

use super::Bodies;
use crate::error::GraphError;
use crate::graph::{Block, Node};
#[cfg(processes)]
use crate::isolated::IsolatedStage;
use crate::join::Joiner;
use crate::policies::Overflow;
use crate::typed::{BringToJoin, Fork, OneOf, StageBody, Value};
use std::fmt;
use std::marker::PhantomData;

/// The name of a parallel block.
const PARALLEL: &str = "parallel";

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
    pub(crate) joiners: Vec<Joiner<Value>>,
    pub(crate) problem: Option<GraphError>,
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
        let mut parts = Parts { problem, ..Parts::default() };
        parts.push(node, bodies);
        parts
    }

    fn push(&mut self, node: Node, bodies: Bodies) {
        self.stages.push(node);
        self.bodies.push(bodies);
        #[cfg(processes)]
        self.isolated.push(None);
    }

    /// Adds what comes behind.
    pub(crate) fn append(&mut self, parts: Parts) {
        let before = self.stages.len();
        self.blocks.extend(parts.blocks.into_iter().map(|block| Block {
            fork: before + block.fork,
            branches: block.branches.into_iter().map(|(first, last)| (before + first, before + last)).collect(),
            ..block
        }));
        self.stages.extend(parts.stages);
        self.bodies.extend(parts.bodies);
        #[cfg(processes)]
        self.isolated.extend(parts.isolated);
        self.joiners.extend(parts.joiners);
        self.problem = self.problem.take().or(parts.problem);
    }

    /// Adds a block: a node hands each sample, a `T`, to every branch, and their results are joined, where a joiner says
    /// how.
    pub(crate) fn fork<T: Clone + Send + 'static>(&mut self, branches: Vec<Parts>, joiner: Option<Joiner<Value>>) {
        let hand_out = Fork::<T> { branches: branches.len(), types: PhantomData };
        let (fork, block) = (self.stages.len(), self.blocks.len());
        let relay = || Node { overflow: Some(Overflow::Block), ..Node::new(PARALLEL) };

        self.push(relay(), Bodies::of_relay(move || StageBody::new(move || Ok(hand_out), OneOf::new())));
        let joined = joiner.is_some();
        self.blocks.push(Block { fork, branches: Vec::new(), joined });
        self.joiners.push(joiner.unwrap_or_else(|| Box::new(|mut values| values.remove(0))));

        for branch in branches {
            let first = self.stages.len();
            self.append(branch);
            if self.stages.len() == first {
                self.problem.get_or_insert(GraphError::EmptyBranch);
            }
            if joined {
                self.push(relay(), Bodies::of_relay(|| BringToJoin));
            }
            self.blocks[block].branches.push((first, self.stages.len().saturating_sub(1)));
        }
    }
}
