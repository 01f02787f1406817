//! Parallel blocks while they run: how a sample comes to the branches, when results are given up, and how what is
//! joined goes on.

mod gather;
mod parts;

use crate::activity::{Activity, Shown};
use crate::buffer::{Arrival, Origin, Push, ToFree, Wait};
use crate::error::{Doing, Failure, NoAnswer};
use crate::graph::{BlockResults, PlacedBlock, Producer};
use crate::inlet::Inlet;
use crate::join::{Join, JoinCounts, Joiner};
use crate::sample::{ForkTicket, Sample, SampleId};
use crate::source_id::SourceId;
use crate::unwind::{BoxError, catch_panic, release};
use crate::worker::{Control, GiveError, Given, WorkerId};
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, OnceLock};

pub(crate) use gather::Gathered;
use gather::{Ended, Gather};
pub use parts::{Gatherer, Splitter};

/// Makes a value for each of so many branches of one.
pub type Forker<V> = Box<dyn Fn(V, usize) -> Vec<V> + Send + Sync>;

/// Chooses the branch, by its index, that a value goes to, and returns it as that branch gets it.
pub type Router<V> = Box<dyn Fn(V) -> Result<(usize, V), BoxError> + Send + Sync>;

/// The code of a block.
pub struct ForkJoin<V> {
    /// Makes what each branch gets.
    pub fork: Forker<V>,
    /// Chooses a branch, where each sample goes to one.
    pub route: Option<Router<V>>,
    /// Makes one value of the branches' results, where they are joined.
    pub join: Joiner<V>,
    /// Makes two of a result of each branch behind the first, where those of the first go on with the newest of the
    /// others: one to go on, one to keep.
    pub copy: Vec<Forker<V>>,
    /// Takes a sample and its parts asunder and puts it together with their results, where parts go through the block.
    pub parts: Option<(Splitter<V>, Gatherer<V>)>,
}

impl<V> fmt::Debug for ForkJoin<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkJoin").finish_non_exhaustive()
    }
}

/// A sample that some branches of a block have, and some do not have yet.
pub(crate) struct Forked<V> {
    /// Its ticket in the branches, or in the first.
    ticket: ForkTicket,
    /// The branch that gets the next copy.
    pub(crate) branch: usize,
    /// The copies behind that one.
    rest: VecDeque<V>,
    /// True if some branch gives up all that it gets.
    discarded: bool,
}

/// The meaning of the end of a sample in a branch.
pub(crate) struct End<'a> {
    /// True if nothing that entered later may go on.
    pub(crate) fails: bool,
    /// True if it was given up by a stop.
    pub(crate) is_discarded: bool,
    /// Makes the fate of a part.
    pub(crate) fate: &'a dyn Fn() -> NoAnswer,
}

/// All blocks of one pipeline, which its workers and the supervisor share. A block inside another comes after it.
pub(crate) struct Blocks<V> {
    blocks: Vec<PlacedBlock>,
    /// One per block.
    joins: Vec<Join<V>>,
    /// One per block: of use where parts go through it.
    gathers: Vec<Gather<V>>,
    /// One per block.
    code: OnceLock<Vec<ForkJoin<V>>>,
    /// The inlets of all nodes.
    inlets: Vec<Arc<Inlet<V>>>,
}

impl<V> Blocks<V> {
    pub(crate) fn new(blocks: Vec<PlacedBlock>, inlets: Vec<Arc<Inlet<V>>>) -> Self {
        let joins = blocks.iter().map(|block| Join::new(block.branches.len())).collect();
        let gathers = blocks.iter().map(|_| Gather::new()).collect();
        Blocks { blocks, joins, gathers, code: OnceLock::new(), inlets }
    }

    /// Sets how each block makes a value for each branch, and one of the branches' results; called before anything is
    /// put.
    pub(crate) fn set_code(&self, code: Vec<ForkJoin<V>>) {
        // A caller that says it twice has the same blocks both times.
        let _ = self.code.set(code);
    }

    /// The table where the branches of a block meet.
    pub(crate) fn join(&self, block: usize) -> &Join<V> {
        &self.joins[block]
    }

    /// Hands a sample to every branch, one after the other, and enters it into the table first, where results are
    /// joined. Where a branch has no room for its copy and the caller would not wait, that copy comes back; the next
    /// call is with it, and with what is kept in `forked`.
    ///
    /// Each buffer numbers what arrives. All get the same from the one worker in front, and so copies the same number.
    pub(crate) fn hand_out(
        &self,
        block: usize,
        forked: &mut Option<Forked<V>>,
        sample: Sample<V>,
        arrival: Arrival,
        wait: Wait,
        shown: &Shown,
    ) -> Result<Given<V>, GiveError<V>> {
        if self.blocks[block].routed {
            return self.hand_to_one(block, forked, sample, arrival, wait, shown);
        }
        if self.blocks[block].gathers() {
            return self.hand_out_parts(block, forked, sample, arrival, wait, shown);
        }
        let Sample { id, birth, fork: outer, source, mut value } = sample;
        let (join, results) = (&self.joins[block], self.blocks[block].results);
        let mut state = match forked.take() {
            Some(state) => state,
            None => {
                let (first, rest) = self.copies(block, value)?;
                value = first;
                let ticket = if results == BlockResults::Joined { join.enter(birth, source, outer) } else { outer };
                Forked { ticket, rest, branch: 0, discarded: false }
            }
        };

        let mut refused = None;
        for (first, _) in self.blocks[block].branches.iter().skip(state.branch) {
            let inlet = &self.inlets[*first];
            // A block around this one waits for what the first branch gives, not for what is beside it.
            let is_beside = results == BlockResults::JoinedWithLatest && state.branch > 0;
            let fork = if is_beside { ForkTicket::default() } else { state.ticket };
            shown.set(Activity::WaitsForRoom(inlet.index));
            match inlet.buffer.push(Sample { id, birth, fork, source, value }, arrival, Origin::default(), wait) {
                Push::Full(value) => {
                    *forked = Some(state);
                    return Err(GiveError::Full(value));
                }
                Push::Refused(value, cause) => {
                    refused = Some(GiveError::Refused(Some(value), cause));
                    break;
                }
                Push::Done { accepted, to_free, .. } => inlet.has_got(accepted, to_free),
                // A branch that has given up what it has leaves the others their copies.
                Push::Discarded(value) | Push::Shut(value) | Push::Late(value) => {
                    state.discarded = true;
                    release(value);
                }
            }
            let Some(next) = state.rest.pop_front() else { break };
            (value, state.branch) = (next, state.branch + 1);
        }

        if results == BlockResults::Joined {
            join.has_entered(state.ticket);
            // Where the branches end all they get, nothing ever arrives.
            self.tidy_if_crowded(block);
        }
        refused.map_or(Ok(Given { to_free: None, wants_more: !state.discarded }), Err)
    }

    /// Hands a sample to the branch that the block's code chooses. Where results are to come out in order, not more
    /// samples go into the branches than may wait for their turn.
    fn hand_to_one(
        &self,
        block: usize,
        forked: &mut Option<Forked<V>>,
        sample: Sample<V>,
        arrival: Arrival,
        wait: Wait,
        shown: &Shown,
    ) -> Result<Given<V>, GiveError<V>> {
        let Sample { id, birth, fork: outer, source, mut value } = sample;
        let join = &self.joins[block];
        let shows = |inlet: &Inlet<V>| {
            shown.set(Activity::WaitsForRoom(inlet.index));
        };
        let state = match forked.take() {
            Some(state) => state,
            None => {
                let ordered = self.behind(block).filter(|_| self.blocks[block].restores_order());
                if let Some(next) = ordered {
                    shows(next);
                    if !next.buffer.wait_for_turns_up_to(join.next_turn(), wait) {
                        return Err(GiveError::Full(value));
                    }
                }
                let (branch, routed) = self.route(block, value)?;
                value = routed;
                let ticket = ordered.map_or(outer, |_| join.enter(birth, source, outer));
                Forked { ticket, rest: VecDeque::new(), branch, discarded: false }
            }
        };

        let inlet = &self.inlets[self.blocks[block].branches[state.branch].0];
        shows(inlet);
        let copy = Sample { id, birth, fork: state.ticket, source, value };
        let given = match inlet.buffer.push(copy, arrival, Origin::default(), wait) {
            Push::Full(value) => {
                *forked = Some(state);
                return Err(GiveError::Full(value));
            }
            Push::Refused(value, cause) => {
                self.end_turn(block, state.ticket, false);
                return Err(GiveError::Refused(Some(value), cause));
            }
            Push::Done { accepted, to_free, .. } => {
                inlet.has_got(accepted, to_free);
                Given { to_free: None, wants_more: true }
            }
            Push::Discarded(value) | Push::Shut(value) | Push::Late(value) => {
                Given { to_free: Some(value), wants_more: false }
            }
        };
        join.has_entered(state.ticket);
        Ok(given)
    }

    /// Chooses the branch that a value goes to: the user's code.
    fn route(&self, block: usize, value: V) -> Result<(usize, V), GiveError<V>> {
        let Some(router) = self.code.get().and_then(|code| code.get(block)?.route.as_ref()) else {
            return Err(GiveError::Refused(Some(value), "nothing was given that chooses a branch of its block".into()));
        };
        let branches = self.blocks[block].branches.len();
        match catch_panic(|| router(value)) {
            Ok((branch, value)) if branch >= branches => {
                let cause = format!("branch {branch} was chosen, but there are {branches}");
                Err(GiveError::Refused(Some(value), cause.into()))
            }
            Ok(routed) => Ok(routed),
            Err(cause) => Err(GiveError::Refused(None, cause)),
        }
    }

    /// Takes the result of the one branch that its sample was in: it goes on in its turn.
    fn arrive_in_turn(&self, block: usize, branch: usize, sample: Sample<V>, wait: Wait) -> Push<V> {
        let (join, ticket) = (&self.joins[block], sample.fork);
        let (Some(next), Some((turn, outer))) = (self.behind(block), join.turn_of(ticket)) else {
            join.leave(ticket, Some(branch));
            return Push::Late(sample.value);
        };
        let origin = Origin { turn: Some(turn), ..Origin::default() };
        let pushed = next.buffer.push(Sample { fork: outer, ..sample }, Arrival::Stage, origin, wait);
        if !matches!(pushed, Push::Full(_)) {
            join.leave(ticket, Some(branch));
            next.buffer.end_turn(turn).release();
        }
        pushed
    }

    /// Ends the turn of a sample that has ended in the one branch that it was in; `fails` if nothing that entered later
    /// may go on, either. Returns its ticket in the block around.
    fn end_turn(&self, block: usize, ticket: ForkTicket, fails: bool) -> Option<ForkTicket> {
        let (turn, outer) = self.joins[block].leave(ticket, None)?;
        if let Some(next) = self.behind(block) {
            match fails {
                true => next.buffer.fail_turn(turn).release(),
                false => next.buffer.end_turn(turn).release(),
            }
        }
        Some(outer)
    }

    /// Makes what each branch gets, the first and the others: the user's code.
    fn copies(&self, block: usize, value: V) -> Result<(V, VecDeque<V>), GiveError<V>> {
        let Some(code) = self.code.get().and_then(|code| code.get(block)) else {
            let cause = "nothing was given that makes copies for the branches of its parallel block";
            return Err(GiveError::Refused(Some(value), cause.into()));
        };
        let branches = self.blocks[block].branches.len();
        let copies = catch_panic(|| {
            let mut copies = VecDeque::from((code.fork)(value, branches));
            let first = copies.pop_front().ok_or("no copy was made for the branches of its parallel block")?;
            Ok((first, copies))
        });
        copies.map_err(|cause| GiveError::Refused(None, cause))
    }

    /// Returns the number of results of a branch that have arrived.
    pub(crate) fn arrived(&self, block: usize, branch: usize) -> u64 {
        match self.blocks[block].gathers() {
            true => self.gathers[block].arrived(),
            false => self.joins[block].arrived(branch),
        }
    }

    /// Returns the counters of a block of this moment, where its branches have ended these.
    pub(crate) fn counts(&self, block: usize, ended: &HashSet<ForkTicket>) -> JoinCounts {
        match self.blocks[block].gathers() {
            true => self.gathers[block].counts(),
            false => self.joins[block].counts(ended),
        }
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
        if self.blocks[block].restores_order() {
            return self.arrive_in_turn(block, branch, sample, wait);
        }
        if self.blocks[block].gathers() {
            let to_free = self.gathers[block].arrive(sample.fork, sample.value).map_or(ToFree::Nothing, ToFree::One);
            return Push::Done { accepted: true, number: 0, to_free };
        }
        let join = &self.joins[block];
        let (is_complete, to_free) = match (self.blocks[block].results, branch) {
            (BlockResults::JoinedWithLatest, 0) => join.arrive_first(sample),
            (BlockResults::JoinedWithLatest, _) => (false, join.renew(branch, sample)),
            (BlockResults::Joined | BlockResults::Gathered | BlockResults::End, _) => join.arrive(branch, sample),
        };
        self.tidy_if_crowded(block);
        // Who completes a sample hands it on, and waits for room: no other thread that passes by does it instead.
        if is_complete {
            self.let_out(block, wait, control);
        }
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
        for (block, (join, ended)) in self.joins.iter().zip(ended).enumerate() {
            match self.blocks[block].restores_order() {
                true => {
                    for ticket in ended {
                        self.end_turn(block, ticket, false);
                    }
                }
                false => join.give_up(&ended).into_iter().for_each(release),
            }
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
        let found = self.found_in(block, ended);
        expected.retain(|ticket| !found.contains(ticket));
        expected
    }

    /// Returns what is in the branches of a block.
    fn found_in(&self, block: usize, ended: &[HashSet<ForkTicket>]) -> HashSet<ForkTicket> {
        // From the front on: a sample is in the next buffer before it leaves a worker.
        let mut found = HashSet::new();
        for index in self.blocks[block].nodes() {
            self.inlets[index].buffer.find(&mut found);
            let is_its_last =
                |inner: &PlacedBlock| inner.results != BlockResults::End && inner.nodes().end == index + 1;
            if let Some(inner) = self.blocks.iter().position(is_its_last).filter(|inner| *inner != block) {
                self.joins[inner].find_outer(&ended[inner], &mut found);
                self.gathers[inner].find_outer(&mut found);
            }
        }
        found
    }

    /// Notes that a branch has ended a sample, of whatever block the ticket is, and returns the ticket of the submission,
    /// with the sample that has ended there; none where it goes on without a part. `end` tells what that means.
    pub(crate) fn doom(
        &self,
        mut ticket: ForkTicket,
        mut id: SampleId,
        end: &End<'_>,
    ) -> Option<(ForkTicket, SampleId)> {
        // A block inside another comes after it.
        for (block, placed) in self.blocks.iter().enumerate().rev() {
            if placed.gathers() {
                match self.gathers[block].end(ticket, end.fails || end.is_discarded, end.fate) {
                    Ended::Elsewhere => {}
                    Ended::Part(..) if !end.fails => return None,
                    Ended::Part(outer, whole) | Ended::Whole(outer, whole) => (ticket, id) = (outer, whole),
                }
                continue;
            }
            let left = if placed.restores_order() { self.end_turn(block, ticket, end.fails) } else { None };
            ticket = left.or_else(|| self.joins[block].doom(ticket)).unwrap_or(ticket);
        }
        Some((ticket, id))
    }

    /// Returns those of these, which were submitted, that are nowhere in the pipeline.
    pub(crate) fn nowhere(&self, expected: Vec<ForkTicket>) -> Vec<ForkTicket> {
        let ended = self.ended_in_branches(0);
        // From the front on: a sample is in the next buffer before it leaves a worker.
        let mut found = HashSet::new();
        for (index, inlet) in self.inlets.iter().enumerate() {
            // What has ended here, and is still to be told of, will have that end.
            inlet.buffer.find_with_untold(&mut found);
            for (inner, block) in self.blocks.iter().enumerate() {
                if block.results != BlockResults::End && block.nodes().end == index + 1 {
                    self.joins[inner].find_outer(&ended[inner], &mut found);
                    self.gathers[inner].find_outer(&mut found);
                }
            }
        }
        expected.into_iter().filter(|ticket| !found.contains(ticket)).collect()
    }

    /// The inlet of the first stage of a block's first branch.
    pub(crate) fn first_of(&self, block: usize) -> Option<&Inlet<V>> {
        self.blocks[block].branches.first().map(|(first, _)| &*self.inlets[*first])
    }

    /// The inlet of the stage that gets what a block has joined.
    pub(crate) fn behind(&self, block: usize) -> Option<&Inlet<V>> {
        self.blocks[block].behind.map(|next| &*self.inlets[next])
    }

    /// Hands what a block has joined to the next buffer; false when there was no room, and the caller would not wait.
    fn let_out(&self, block: usize, wait: Wait, control: &dyn Control) -> bool {
        let Some(next) = self.behind(block) else { return true };
        // Before it was given, nothing was handed out.
        let Some(ForkJoin { join: joiner, copy, .. }) = self.code.get().and_then(|code| code.get(block)) else {
            return true;
        };
        let join = &self.joins[block];
        while let Some(ready) = join.next_ready() {
            let id = ready.id();
            let joined = match catch_panic(|| Ok(ready.join(joiner, |source| newest_beside(join, copy, source)))) {
                Ok(joined) => joined,
                Err(cause) => {
                    join.has_gone_on();
                    self.fail_behind(block, next, id, cause, control);
                    continue;
                }
            };

            let (id, birth, fork, source) = (joined.id, joined.birth, joined.fork, joined.source);
            match next.buffer.push(joined, Arrival::Stage, Origin::default(), wait) {
                Push::Full(value) => {
                    join.put_back(Sample { id, birth, fork, source, value });
                    return false;
                }
                Push::Done { accepted, to_free, .. } => {
                    next.has_got(accepted, to_free);
                    join.has_gone_on();
                    // It may have ended already, and one part of several is looked for.
                    if id.part > 0 && !fork.is_none() {
                        control.has_gone_on(fork);
                    }
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
        let worker_id = match self.blocks[block].fork {
            Producer::Node(index) => WorkerId::Stage { index, worker: 0 },
            Producer::Entrance | Producer::Fork(_) | Producer::Join(_) => WorkerId::Source(0),
        };
        control.fail(worker_id, Arc::new(Failure { stage, doing: Doing::StageRun, sample: Some(sample), cause }));
    }
}

/// Returns a copy of the newest result of each branch behind the first that is of that source. The one that is kept is
/// out of the table while it is copied, by the user's code; no other thread asks for it, since one at a time hands on
/// what is joined.
fn newest_beside<V>(join: &Join<V>, copy: &[Forker<V>], source: SourceId) -> Vec<Option<V>> {
    let branches = copy.iter().zip(1..);
    let newest = branches.map(|(copy, branch)| {
        let (newest, cut) = join.take_newest(branch, source)?;
        let mut copies = copy(newest, 2).into_iter();
        let goes_on = copies.next();
        release(copies.next().and_then(|kept| join.put_back_newest(branch, source, kept, cut)));
        goes_on
    });
    newest.collect()
}
