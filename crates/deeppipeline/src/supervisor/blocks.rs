//! Where the branches of parallel blocks meet: when results are given up, and how what is joined goes on.

use super::Supervisor;
use crate::buffer::{Arrival, Origin, Push, Wait};
use crate::error::{Doing, Failure};
use crate::executor::free;
use crate::graph::{Block, after};
use crate::home::Home;
use crate::join::Joiner;
use crate::sample::Sample;
use crate::worker::Seat;
use std::collections::HashSet;
use std::ops::Range;

impl<V: Send + 'static> Supervisor<V> {
    /// How each block makes one value of its branches' results; before anything is put.
    pub fn set_joiners(&self, joiners: Vec<Joiner<V>>) {
        // Whoever says it twice has the same blocks both times.
        let _ = self.joiners.set(joiners);
    }

    /// Gives up what waits in the table of a block for results that will not come.
    pub(super) fn tidy(&self, block: usize) {
        let expected = self.joins[block].expected();
        if expected.is_empty() {
            return;
        }
        // From the front on: a sample is in the next buffer before it leaves a hand.
        let mut found = HashSet::new();
        for index in self.nodes_of(block) {
            self.buffers[index].find(&mut found);
            let is_its_last =
                |inner: &Block| inner.joined && inner.branches.last().is_some_and(|(_, last)| *last == index);
            if let Some(inner) = self.graph.blocks.iter().position(is_its_last).filter(|inner| *inner != block) {
                self.joins[inner].find(&mut found);
            }
        }
        self.joins[block].give_up(expected, &found).into_iter().for_each(free);
    }

    fn nodes_of(&self, block: usize) -> Range<usize> {
        let branches = &self.graph.blocks[block].branches;
        let ends = branches.first().zip(branches.last());
        ends.map_or(0..0, |((first, _), (_, last))| *first..last + 1)
    }

    /// Hands what a block has joined to the next buffer; false when there was no room, and the caller would not wait.
    pub(super) fn let_out(&self, block: usize, wait: Wait) -> bool {
        let Some(next) = after(&self.graph.blocks[block]) else { return true };
        while let Some(ready) = self.joins[block].next_ready() {
            let (id, birth) = (ready.id, ready.birth);
            match self.buffers[next].push(ready, Arrival::Stage, Origin::default(), wait) {
                Push::Full(value) => {
                    self.joins[block].put_back(Sample { id, birth, value });
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
                    let stage = self.graph.stages[next].name.clone();
                    let seat = Seat::Stage { index: self.graph.blocks[block].fork, worker: 0 };
                    self.fail(seat, Failure { stage, doing: Doing::StageRun, sample: Some(id), cause });
                }
                Push::Shut(value) | Push::Late(value) => {
                    self.joins[block].has_gone_on();
                    free(value);
                }
            }
        }
        self.close_behind(block);
        true
    }

    /// Closes the buffer behind a block whose branches have ended, once everything is in it.
    pub(super) fn close_behind(&self, block: usize) {
        if let Some(next) = after(&self.graph.blocks[block]).filter(|_| self.joins[block].is_done()) {
            self.close_buffer(next);
        }
    }
}
