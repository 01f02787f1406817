//! Parallel blocks while they run: how a sample comes to the branches, when results are given up, and how what is
//! joined goes on.

use crate::buffer::{Arrival, Origin, Push, ToFree, Wait};
use crate::clock::Moment;
use crate::error::{Doing, Failure};
use crate::graph::{Block, after};
use crate::inlet::Inlet;
use crate::join::{Join, Joiner};
use crate::sample::{ForkTicket, Sample, SampleId};
use crate::unwind::{BoxError, catch_panic, release};
use crate::worker::{Control, WorkerId};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// All blocks of one pipeline, which its workers and the supervisor share. A block inside another comes after it.
pub(crate) struct Blocks<V> {
    blocks: Vec<Block>,
    /// One per block.
    joins: Vec<Join<V>>,
    joiners: OnceLock<Vec<Joiner<V>>>,
    /// The inlets of all nodes.
    inlets: Vec<Arc<Inlet<V>>>,
}

impl<V> Blocks<V> {
    pub(crate) fn new(blocks: Vec<Block>, inlets: Vec<Arc<Inlet<V>>>) -> Self {
        let joins = blocks.iter().map(|block| Join::new(block.branches.len())).collect();
        Blocks { blocks, joins, joiners: OnceLock::new(), inlets }
    }

    /// Sets how each block makes one value of its branches' results; called before anything is put.
    pub(crate) fn set_joiners(&self, joiners: Vec<Joiner<V>>) {
        // A caller that says it twice has the same blocks both times.
        let _ = self.joiners.set(joiners);
    }

    /// The table where the branches of a block meet.
    pub(crate) fn join(&self, block: usize) -> &Join<V> {
        &self.joins[block]
    }

    /// The inlet of a branch; none behind the last branch.
    pub(crate) fn branch(&self, block: usize, branch: usize) -> Option<&Inlet<V>> {
        let (first, _) = self.blocks[block].branches.get(branch)?;
        Some(&self.inlets[*first])
    }

    /// Hands a copy of a sample to one branch; one branch comes after the other. The first copy enters the sample into the table, where results are
    /// joined, and all have its `ticket` there.
    pub(crate) fn hand_to_branch(
        &self,
        block: usize,
        branch: usize,
        ticket: &mut Option<ForkTicket>,
        sample: Sample<V>,
        wait: Wait,
    ) -> Push<V> {
        let Some(inlet) = self.branch(block, branch) else { return Push::Shut(sample.value) };
        let (join, joined) = (&self.joins[block], self.blocks[block].joined);
        let fork = match joined {
            true => *ticket.get_or_insert_with(|| join.enter(sample.id, sample.birth, sample.fork)),
            false => sample.fork,
        };
        let pushed = inlet.buffer.push(Sample { fork, ..sample }, Arrival::Stage, Origin::default(), wait);
        if let (Push::Done { .. } | Push::Discarded(_), true) = (&pushed, joined)
            && branch + 1 == self.blocks[block].branches.len()
        {
            join.has_entered(fork);
            // Where the branches end all they get, nothing ever arrives.
            self.tidy_if_crowded(block);
        }
        pushed
    }

    /// Takes the result of a branch, and hands on what is complete with it.
    pub(crate) fn arrive(
        &self,
        block: usize,
        branch: usize,
        sample: Sample<V>,
        wait: Wait,
        control: &dyn Control,
    ) -> Push<V> {
        let Sample { fork, value, .. } = sample;
        if self.joiners.get().is_none_or(|joiners| block >= joiners.len()) {
            return Push::Refused(value, "nothing was given that joins the branches of its parallel block".into());
        }
        let to_free = self.joins[block].arrive(branch, fork, value);
        self.tidy_if_crowded(block);
        self.let_out(block, wait, control);
        Push::Done { accepted: true, number: 0, to_free: to_free.map_or(ToFree::Nothing, ToFree::One) }
    }

    /// Returns true if the last result of a branch has completed a sample for which there is no room behind the block.
    pub(crate) fn is_held_up(&self, block: usize, branch: usize, control: &dyn Control) -> bool {
        self.joins[block].was_completed_by(branch) && !self.let_out(block, Wait::No, control)
    }

    fn tidy_if_crowded(&self, block: usize) {
        if self.joins[block].is_crowded() {
            self.tidy(block);
        }
    }

    /// Gives up what waits in the table of a block, and of those inside it, for results that will not come.
    pub(crate) fn tidy(&self, block: usize) {
        let ended = self.ended_in_branches(block);
        for (join, ended) in self.joins.iter().zip(ended) {
            join.give_up(&ended).into_iter().for_each(release);
        }
    }

    /// Returns what waits for results that will not come, in the table of each block from that one on. Changes nothing.
    pub(crate) fn ended_in_branches(&self, from: usize) -> Vec<HashSet<ForkTicket>> {
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
        // From the front on: a sample is in the next buffer before it leaves a worker.
        let mut found = HashSet::new();
        for index in self.nodes_of(block) {
            self.inlets[index].buffer.find(&mut found);
            let is_its_last =
                |inner: &Block| inner.joined && inner.branches.last().is_some_and(|(_, last)| *last == index);
            if let Some(inner) = self.blocks.iter().position(is_its_last).filter(|inner| *inner != block) {
                self.joins[inner].find_outer(&ended[inner], &mut found);
            }
        }
        expected.retain(|ticket| !found.contains(ticket));
        expected
    }

    fn nodes_of(&self, block: usize) -> Range<usize> {
        let branches = &self.blocks[block].branches;
        let ends = branches.first().zip(branches.last());
        ends.map_or(0..0, |((first, _), (_, last))| *first..last + 1)
    }

    /// The inlet of the stage that gets what a block has joined.
    pub(crate) fn behind(&self, block: usize) -> Option<&Inlet<V>> {
        after(&self.blocks[block]).map(|next| &*self.inlets[next])
    }

    /// Hands what a block has joined to the next buffer; false when there was no room, and the caller would not wait.
    fn let_out(&self, block: usize, wait: Wait, control: &dyn Control) -> bool {
        let Some(next) = self.behind(block) else { return true };
        // Before it was given, nothing has arrived.
        let Some(joiner) = self.joiners.get().and_then(|joiners| joiners.get(block)) else { return true };
        let join = &self.joins[block];
        while let Some(ready) = join.next_ready() {
            let id = ready.id();
            let joined = match catch_panic(|| Ok(ready.join(joiner))) {
                Ok(joined) => joined,
                Err(cause) => {
                    join.has_gone_on();
                    self.fail_behind(block, next, id, cause, control);
                    continue;
                }
            };
            let (id, birth, fork) = (joined.id, joined.birth, joined.fork);
            match next.buffer.push(joined, Arrival::Stage, Origin::default(), wait) {
                Push::Full(value) => {
                    join.put_back(Sample { id, birth, fork, value });
                    return false;
                }
                Push::Done { accepted, to_free, .. } => {
                    if !accepted || !to_free.is_empty() {
                        next.note_drop(Moment::now());
                    }
                    to_free.release();
                    join.has_gone_on();
                }
                Push::Refused(value, cause) => {
                    join.has_gone_on();
                    release(value);
                    self.fail_behind(block, next, id, cause, control);
                }
                Push::Discarded(value) | Push::Shut(value) | Push::Late(value) => {
                    join.has_gone_on();
                    release(value);
                }
            }
        }
        true
    }

    /// Fails the pipeline, because what a block has joined cannot be given to the stage behind it.
    fn fail_behind(&self, block: usize, next: &Inlet<V>, sample: SampleId, cause: BoxError, control: &dyn Control) {
        let stage = next.name.get().to_owned();
        let worker_id = WorkerId::Stage { index: self.blocks[block].fork, worker: 0 };
        control.fail(worker_id, Failure { stage, doing: Doing::StageRun, sample: Some(sample), cause });
    }
}
