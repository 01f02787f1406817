//! The meeting point of the branches of parallel blocks: when results are discarded, and how what is joined goes on.

use super::Supervisor;
use crate::buffer::{Arrival, Origin, Push, Wait};
use crate::error::{BoxError, Doing, Failure};
use crate::executor::{catch_panic, free};
use crate::graph::{Block, after};
use crate::home::Home;
use crate::join::Joiner;
use crate::sample::{ForkTicket, Sample, SampleId};
use crate::worker::WorkerId;
use std::collections::HashSet;
use std::ops::Range;

impl<V: Send + 'static> Supervisor<V> {
    /// Sets how each block makes one value of its branches' results; called before anything is put.
    pub fn set_joiners(&self, joiners: Vec<Joiner<V>>) {
        // A caller that says it twice has the same blocks both times.
        let _ = self.joiners.set(joiners);
    }

    /// Gives up what waits in the table of a block, and of those inside it, for results that will not come.
    pub(super) fn tidy(&self, block: usize) {
        let ended = self.ended_in_branches(block);
        for (join, ended) in self.joins.iter().zip(ended) {
            join.give_up(&ended).into_iter().for_each(free);
        }
    }

    /// Returns what waits for results that will not come, in the table of each block from that one on. Changes nothing.
    pub(super) fn ended_in_branches(&self, from: usize) -> Vec<HashSet<ForkTicket>> {
        let mut ended = vec![HashSet::new(); self.joins.len()];
        // A block inside another comes after it: what has ended there has ended in the one around it as well.
        for block in (from..self.joins.len()).rev() {
            ended[block] = self.ended_in(block, &ended);
        }
        ended
    }

    fn ended_in(&self, block: usize, ended: &[HashSet<ForkTicket>]) -> HashSet<ForkTicket> {
        let mut expected = self.joins[block].expected();
        if expected.is_empty() {
            return expected;
        }
        // From the front on: a sample is in the next buffer before it leaves a hand.
        let mut found = HashSet::new();
        for index in self.nodes_of(block) {
            self.buffers[index].find(&mut found);
            let is_its_last =
                |inner: &Block| inner.joined && inner.branches.last().is_some_and(|(_, last)| *last == index);
            if let Some(inner) = self.graph.blocks.iter().position(is_its_last).filter(|inner| *inner != block) {
                self.joins[inner].find_outer(&ended[inner], &mut found);
            }
        }
        expected.retain(|ticket| !found.contains(ticket));
        expected
    }

    fn nodes_of(&self, block: usize) -> Range<usize> {
        let branches = &self.graph.blocks[block].branches;
        let ends = branches.first().zip(branches.last());
        ends.map_or(0..0, |((first, _), (_, last))| *first..last + 1)
    }

    /// Hands what a block has joined to the next buffer; false when there was no room, and the caller would not wait.
    pub(super) fn let_out(&self, block: usize, wait: Wait) -> bool {
        let Some(next) = after(&self.graph.blocks[block]) else { return true };
        // Before it was given, nothing has arrived.
        let Some(joiner) = self.joiners.get().and_then(|joiners| joiners.get(block)) else { return true };
        while let Some(ready) = self.joins[block].next_ready() {
            let id = ready.id();
            let joined = match catch_panic(|| Ok(ready.join(joiner))) {
                Ok(joined) => joined,
                Err(cause) => {
                    self.joins[block].has_gone_on();
                    self.fail_behind(block, next, id, cause);
                    continue;
                }
            };
            let (id, birth, fork) = (joined.id, joined.birth, joined.fork);
            match self.buffers[next].push(joined, Arrival::Stage, Origin::default(), wait) {
                Push::Full(value) => {
                    self.joins[block].put_back(Sample { id, birth, fork, value });
                    return false;
                }
                Push::Done { accepted, dropped, more } => {
                    if !accepted || dropped.is_some() || !more.is_empty() {
                        self.note_drop(next);
                    }
                    free(dropped);
                    more.into_iter().for_each(free);
                    self.joins[block].has_gone_on();
                }
                Push::Refused(value, cause) => {
                    self.joins[block].has_gone_on();
                    free(value);
                    self.fail_behind(block, next, id, cause);
                }
                Push::Discarded(value) | Push::Shut(value) | Push::Late(value) => {
                    self.joins[block].has_gone_on();
                    free(value);
                }
            }
        }
        self.close_behind(block);
        true
    }

    /// Fails the pipeline, because what a block has joined cannot be given to the stage behind it.
    fn fail_behind(&self, block: usize, next: usize, sample: SampleId, cause: BoxError) {
        let stage = self.stage_name(next).to_owned();
        let worker_id = WorkerId::Stage { index: self.graph.blocks[block].fork, worker: 0 };
        self.fail(worker_id, Failure { stage, doing: Doing::StageRun, sample: Some(sample), cause });
    }

    /// Closes the buffer behind a block whose branches have ended, once everything is in it.
    pub(super) fn close_behind(&self, block: usize) {
        if let Some(next) = after(&self.graph.blocks[block]).filter(|_| self.joins[block].is_done()) {
            self.close_buffer(next);
        }
    }
}
