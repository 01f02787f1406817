//! Parallel blocks that a pipeline cannot have.

use super::Graph;
use crate::error::GraphError;

/// A walk along a chain and into every branch, each node once.
struct Walk<'a> {
    graph: &'a Graph,
    blocks_seen: usize,
}

impl Graph {
    /// Refuses blocks whose nodes are not where a chain has them, and ends that are none.
    pub(super) fn check_blocks(&self) -> Result<(), GraphError> {
        let mut walk = Walk { graph: self, blocks_seen: 0 };
        walk.chain(0, self.stages.len(), true)?;
        if walk.blocks_seen < self.blocks.len() {
            return Err(misplaced("a fork is shared, or in no chain"));
        }
        Ok(())
    }
}

impl Walk<'_> {
    /// The nodes of one chain, which ends the pipeline unless a join takes what it gives.
    fn chain(&mut self, from: usize, to: usize, ends: bool) -> Result<(), GraphError> {
        let mut index = from;
        while index < to {
            let Some(block) = self.graph.blocks.iter().find(|block| block.fork == index) else {
                index += 1;
                continue;
            };
            self.blocks_seen += 1;
            index += 1;
            if block.branches.is_empty() {
                return Err(misplaced("it has no branch"));
            }
            for (first, last) in block.branches.iter().copied() {
                if first != index || last < first || last >= to {
                    return Err(misplaced("its branches do not follow its fork one after the other"));
                }
                // The last node of a branch that is joined is the engine's own.
                let behind_stages = if block.joined { last } else { last + 1 };
                if first == behind_stages {
                    return Err(GraphError::EmptyBranch);
                }
                self.chain(first, behind_stages, !block.joined)?;
                index = last + 1;
            }
            match block.joined {
                true if ends && index == to => return Err(GraphError::JoinAtTheEnd),
                false if !ends || index < to => return Err(GraphError::BehindTheEnd),
                _ => {}
            }
        }
        Ok(())
    }
}

fn misplaced(problem: &'static str) -> GraphError {
    GraphError::MisplacedBlock { problem }
}
