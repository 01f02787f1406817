//! Stages and blocks as the builder collects them, whose types were checked when they were added.

use super::Bodies;
use crate::error::GraphError;
use crate::graph::{Block, Node};
#[cfg(processes)]
use crate::isolated::IsolatedStage;
use crate::join::Joiner;
use crate::parallel::ForkJoin;
use crate::typed::{Value, clones};
use std::fmt;

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
    pub(crate) fork_joins: Vec<ForkJoin<Value>>,
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
        self.problem = self.problem.take().or(parts.problem);
    }

    /// Makes a block: each branch gets a clone of each sample, a `T`, and their results are joined, where a joiner says
    /// how.
    pub(crate) fn block<T: Clone + Send + 'static>(branches: Vec<Parts>, joiner: Option<Joiner<Value>>) -> Self {
        let block = Block { name: PARALLEL.to_owned(), branches: Vec::new(), joined: joiner.is_some() };
        let join = joiner.unwrap_or_else(|| Box::new(|mut values| values.remove(0)));
        let fork_join = ForkJoin { fork: Box::new(clones::<T>), join };
        let mut parts = Parts { blocks: vec![block], fork_joins: vec![fork_join], ..Parts::default() };
        for branch in branches {
            let first = parts.stages.len();
            parts.append(branch);
            parts.blocks[0].branches.push(first..parts.stages.len());
        }
        parts
    }
}
