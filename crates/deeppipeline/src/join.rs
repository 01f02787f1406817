//! The join table, where the branches of a parallel block meet again: one table, keyed by the ticket that the fork gave
//! to the copies.
//!
//! Nothing tells the table that a branch has dropped, skipped, failed on or lost a sample. A caller that wants to know
//! looks for it: what is in no buffer of the branches and in flight in none of them any more will not arrive, and its
//! entry is given up. So a branch can end samples as it likes, in any process, and the table never holds more than the
//! branches do, and a few that no caller has looked for yet.
//!
//! Where each result of the first branch goes on at once, with the newest of the others beside it, nothing waits for
//! another: the table only keeps the newest results of each source, and lines up those of the first branch for the stage
//! behind.
//!
//! Results are put together outside of the lock, by the one thread that hands them on.

use crate::clock::Moment;
use crate::cuts::{Cut, Cuts};
use crate::graph::MAX_ENTRANCES;
use crate::sample::{ForkTicket, Sample, SampleId};
use crate::source_id::SourceId;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};

/// Makes one value of those of all branches, in their order: each has one, unless the first goes on with the newest of
/// the others.
pub type Joiner<V> = Box<dyn Fn(Vec<Option<V>>) -> V + Send + Sync>;

/// The counters of one join. At any quiet moment `entered = joined + unjoined + waiting`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct JoinCounts {
    /// Samples that were given to all branches; where the first branch goes on with the newest of the others, its
    /// results.
    pub entered: u64,
    /// Samples of which every branch, or the first, had a result: the next stage got these.
    pub joined: u64,
    /// Samples that some branch has ended without a result, or whose results were given up.
    pub unjoined: u64,
    /// Samples that are still inside.
    pub waiting: u64,
    /// Results of the other branches, where those of the first go on with the newest of them.
    pub renewed: u64,
}

impl JoinCounts {
    /// Returns true if every sample that entered has exactly one fate.
    pub fn balances(&self) -> bool {
        self.entered == self.joined + self.unjoined + self.waiting
    }
}

/// The table of one block.
pub(crate) struct Join<V> {
    branches: usize,
    state: Mutex<State<V>>,
}

struct State<V> {
    entries: HashMap<ForkTicket, Entry<V>>,
    /// Complete, in the order in which their last result came.
    ready: VecDeque<Ready<V>>,
    /// The branch that brought the last result of what is ready: it waits for room, and so there is no second one.
    completed_by: usize,
    /// The sample that is on its way to the next buffer: the ticket that it has there, if a block around this one gave
    /// it one.
    on_its_way: Option<ForkTicket>,
    counts: JoinCounts,
    cuts: Cuts,
    /// The newest results of each branch, one of each source, where the first goes on with those of the others. The one
    /// that came last is the last; one is not there while it is copied.
    newest: Vec<Vec<(SourceId, V)>>,
    /// The number of results of each branch.
    arrived: Vec<u64>,
    branches_ended: usize,
    /// The last that were given up, by their ticket, with the one in the block around this one.
    gone: VecDeque<(ForkTicket, ForkTicket)>,
    /// The number of entries at which it is time to look for those that no worker works on any more.
    crowd: usize,
}

struct Entry<V> {
    /// The number of samples that had entered with it.
    turn: u64,
    birth: Moment,
    source: SourceId,
    /// Its ticket in the block around this one.
    outer: ForkTicket,
    values: Vec<Option<V>>,
    /// True while not every branch has it yet.
    is_entering: bool,
    /// True if some branch has ended it: nothing will go on of it.
    is_doomed: bool,
}

/// The number of samples with an answer to come that are remembered after they were given up: their end may be told
/// later.
const GONE_TO_REMEMBER: usize = 4096;

/// A sample of which every branch has a result.
pub(crate) struct Ready<V> {
    id: SampleId,
    birth: Moment,
    source: SourceId,
    outer: ForkTicket,
    results: Results<V>,
}

enum Results<V> {
    /// One of each branch.
    Apart(Vec<Option<V>>),
    /// One of the first branch, that goes on with the newest of the others.
    First(V),
    /// A joined value for which there was no room yet.
    Joined(V),
}

impl<V> Ready<V> {
    pub(crate) fn id(&self) -> SampleId {
        self.id
    }

    /// Makes the sample that goes on; `beside` gives the newest results of the other branches that are of that source.
    pub(crate) fn join(self, joiner: &Joiner<V>, beside: impl FnOnce(SourceId) -> Vec<Option<V>>) -> Sample<V> {
        let value = match self.results {
            Results::Apart(values) => joiner(values),
            Results::First(first) => {
                let mut values = vec![Some(first)];
                values.extend(beside(self.source));
                joiner(values)
            }
            Results::Joined(value) => value,
        };
        Sample { id: self.id, birth: self.birth, fork: self.outer, source: self.source, value }
    }

    fn into_values(self) -> Vec<V> {
        match self.results {
            Results::Apart(values) => values.into_iter().flatten().collect(),
            Results::First(value) | Results::Joined(value) => vec![value],
        }
    }
}

/// The number of entries below which a look is not worth its cost.
const SMALL_CROWD: usize = 16;

impl<V> State<V> {
    fn take_newest_of(&mut self, source: SourceId) -> Vec<V> {
        let of_branches = self.newest.iter_mut();
        let of_source = of_branches.flat_map(|of_branch| of_branch.extract_if(.., |(of, _)| *of == source));
        of_source.map(|(_, value)| value).collect()
    }

    fn take_all_newest(&mut self) -> Vec<V> {
        self.newest.iter_mut().flat_map(|of_branch| of_branch.drain(..)).map(|(_, value)| value).collect()
    }

    /// Remembers a sample that is given up, if somebody waits for an answer.
    fn remember(&mut self, ticket: ForkTicket, outer: ForkTicket) {
        if !outer.is_none() {
            if self.gone.len() == GONE_TO_REMEMBER {
                self.gone.pop_front();
            }
            self.gone.push_back((ticket, outer));
        }
    }
}

impl<V> Join<V> {
    pub(crate) fn new(branches: usize) -> Self {
        let state = State {
            entries: HashMap::new(),
            ready: VecDeque::new(),
            completed_by: 0,
            on_its_way: None,
            counts: JoinCounts::default(),
            cuts: Cuts::default(),
            newest: (0..branches).map(|_| Vec::new()).collect(),
            arrived: vec![0; branches],
            branches_ended: 0,
            gone: VecDeque::new(),
            crowd: SMALL_CROWD,
        };
        Join { branches, state: Mutex::new(state) }
    }

    /// Enters a sample, with its ticket in the block around this one, that is about to be given to the branches, and
    /// returns the ticket by which its results are known.
    pub(crate) fn enter(&self, birth: Moment, source: SourceId, outer: ForkTicket) -> ForkTicket {
        let ticket = ForkTicket::next();
        let values = (0..self.branches).map(|_| None).collect();
        let mut state = self.state.lock();
        state.counts.entered += 1;
        let turn = state.counts.entered;
        state.entries.insert(ticket, Entry { turn, birth, source, outer, values, is_entering: true, is_doomed: false });
        ticket
    }

    /// Returns the turn of the next sample that enters, where each goes through one branch.
    pub(crate) fn next_turn(&self) -> u64 {
        self.state.lock().counts.entered + 1
    }

    /// Returns the turn of a sample, where each goes through one branch, and its ticket in the block around this one.
    pub(crate) fn turn_of(&self, ticket: ForkTicket) -> Option<(u64, ForkTicket)> {
        self.state.lock().entries.get(&ticket).map(|entry| (entry.turn, entry.outer))
    }

    /// Notes that a sample has left the one branch that it was in, as a result that goes on or `unjoined`, and returns
    /// its turn and its ticket in the block around this one.
    pub(crate) fn leave(&self, ticket: ForkTicket, result_of: Option<usize>) -> Option<(u64, ForkTicket)> {
        let mut state = self.state.lock();
        if let Some(branch) = result_of {
            state.arrived[branch] += 1;
        }
        let Entry { turn, outer, .. } = state.entries.remove(&ticket)?;
        match result_of {
            Some(_) => state.counts.joined += 1,
            None => {
                state.counts.unjoined += 1;
                state.remember(ticket, outer);
            }
        }
        Some((turn, outer))
    }

    /// Notes that every branch has the sample.
    pub(crate) fn has_entered(&self, ticket: ForkTicket) {
        if let Some(entry) = self.state.lock().entries.get_mut(&ticket) {
            entry.is_entering = false;
        }
    }

    /// Takes the result of one branch, and returns true if a sample is complete with it. Hands the result back where
    /// nothing is to be joined any more, or it is from before a flush.
    pub(crate) fn arrive(&self, branch: usize, result: Sample<V>) -> (bool, Option<V>) {
        let mut state = self.state.lock();
        state.arrived[branch] += 1;
        // The buffer behind the block would not let it in.
        if state.cuts.are_before(result.id.number, result.source) {
            return (false, Some(result.value));
        }
        let Sample { id, fork: ticket, value, .. } = result;
        let Some(entry) = state.entries.get_mut(&ticket) else { return (false, Some(value)) };
        let before = entry.values[branch].replace(value);
        let is_complete = entry.values.iter().all(Option::is_some);
        if is_complete && let Some(Entry { birth, source, outer, values, .. }) = state.entries.remove(&ticket) {
            state.completed_by = branch;
            let results = Results::Apart(values);
            state.ready.push_back(Ready { id, birth, source, outer, results });
        }
        (is_complete, before)
    }

    /// Takes a result of the first branch, which goes on with the newest of the others, and returns true; hands back one
    /// from before a flush.
    pub(crate) fn arrive_first(&self, result: Sample<V>) -> (bool, Option<V>) {
        let mut state = self.state.lock();
        state.arrived[0] += 1;
        if state.cuts.are_before(result.id.number, result.source) {
            return (false, Some(result.value));
        }
        let Sample { id, birth, fork: outer, source, value } = result;
        state.counts.entered += 1;
        state.completed_by = 0;
        state.ready.push_back(Ready { id, birth, source, outer, results: Results::First(value) });
        (true, None)
    }

    /// Takes the newest result of one of the other branches, and hands back the one of the same source before it, or one
    /// from before a flush itself.
    pub(crate) fn renew(&self, branch: usize, result: Sample<V>) -> Option<V> {
        let mut state = self.state.lock();
        state.arrived[branch] += 1;
        if state.cuts.are_before(result.id.number, result.source) {
            return Some(result.value);
        }
        state.counts.renewed += 1;
        let newest = &mut state.newest[branch];
        let before = match newest.iter().position(|(source, _)| *source == result.source) {
            Some(place) => Some(newest.remove(place)),
            // Some source is gone for good: the one that gave nothing for the longest time.
            None if newest.len() == MAX_ENTRANCES => Some(newest.remove(0)),
            None => None,
        };
        newest.push((result.source, result.value));
        before.map(|(_, value)| value)
    }

    /// Takes out the newest result of a branch and a source, to be copied outside of the lock; with it comes the last
    /// flush that it has seen.
    pub(crate) fn take_newest(&self, branch: usize, source: SourceId) -> Option<(V, u64)> {
        let mut state = self.state.lock();
        let place = state.newest[branch].iter().position(|(of, _)| *of == source)?;
        let (_, newest) = state.newest[branch].remove(place);
        Some((newest, state.cuts.last_of(source)))
    }

    /// Puts back what was taken out to be copied; hands it back where a newer one, or a flush, has come meanwhile.
    pub(crate) fn put_back_newest(&self, branch: usize, source: SourceId, value: V, cut: u64) -> Option<V> {
        let mut state = self.state.lock();
        if state.cuts.last_of(source) > cut || state.newest[branch].iter().any(|(of, _)| *of == source) {
            return Some(value);
        }
        state.newest[branch].push((source, value));
        None
    }

    /// Gives up results of samples from before a flush, which still arrive, and the newest ones; the caller frees them.
    pub(crate) fn cut(&self, cut: Cut) -> Vec<V> {
        let mut state = self.state.lock();
        state.cuts.add(cut);
        match cut.source {
            None => state.take_all_newest(),
            Some(source) => state.take_newest_of(source),
        }
    }

    /// Returns true if nothing from before the last flush of a source is on its way to the next buffer.
    pub(crate) fn has_landed(&self, source: SourceId) -> bool {
        let state = self.state.lock();
        let is_old = |ready: &Ready<V>| ready.source == source && state.cuts.are_before(ready.id.number, source);
        state.on_its_way.is_none() && !state.ready.iter().any(is_old)
    }

    /// Forgets the last flush of a source, of which nothing is left.
    pub(crate) fn forget_cut(&self, source: SourceId) {
        self.state.lock().cuts.forget(source);
    }

    /// Gives up the newest results, since nothing goes on with them any more; the caller frees them.
    pub(crate) fn forget_newest(&self) -> Vec<V> {
        self.state.lock().take_all_newest()
    }

    /// Returns the number of results of a branch that have arrived.
    pub(crate) fn arrived(&self, branch: usize) -> u64 {
        self.state.lock().arrived[branch]
    }

    /// Returns what is to be put into the next buffer now; `None` while another thread does that.
    pub(crate) fn next_ready(&self) -> Option<Ready<V>> {
        let mut state = self.state.lock();
        if state.on_its_way.is_some() {
            return None;
        }
        let ready = state.ready.pop_front()?;
        state.on_its_way = Some(ready.outer);
        Some(ready)
    }

    /// Notes that the next buffer has what was ready.
    pub(crate) fn has_gone_on(&self) {
        let mut state = self.state.lock();
        state.on_its_way = None;
        state.counts.joined += 1;
    }

    /// Puts back what is joined, since the next buffer had no room.
    pub(crate) fn put_back(&self, joined: Sample<V>) {
        let Sample { id, birth, source, fork: outer, value } = joined;
        let mut state = self.state.lock();
        state.on_its_way = None;
        state.ready.push_front(Ready { id, birth, source, outer, results: Results::Joined(value) });
    }

    /// Returns true if something is ready that this branch has completed.
    pub(crate) fn was_completed_by(&self, branch: usize) -> bool {
        let state = self.state.lock();
        !state.ready.is_empty() && state.completed_by == branch
    }

    /// Notes that a branch gives no more.
    pub(crate) fn branch_has_ended(&self) {
        self.state.lock().branches_ended += 1;
    }

    /// Returns true if every branch has ended, and everything has gone on.
    pub(crate) fn is_done(&self) -> bool {
        let state = self.state.lock();
        state.branches_ended == self.branches && state.ready.is_empty() && state.on_its_way.is_none()
    }

    /// Returns true if it is time for a look.
    pub(crate) fn is_crowded(&self) -> bool {
        let state = self.state.lock();
        state.entries.len() > state.crowd
    }

    /// Samples that the branches must have, unless they have ended them.
    pub(crate) fn expected(&self) -> HashSet<ForkTicket> {
        let state = self.state.lock();
        // Where every branch has ended, none gets anything more.
        let have_ended = state.branches_ended == self.branches;
        let entered = state.entries.iter().filter(|(_, entry)| !entry.is_entering || have_ended);
        entered.map(|(ticket, _)| *ticket).collect()
    }

    /// Gives up what the branches have ended; the caller frees what is handed back.
    pub(crate) fn give_up(&self, ended: &HashSet<ForkTicket>) -> Vec<V> {
        let mut state = self.state.lock();
        let mut given_up = Vec::new();
        for ticket in ended {
            if let Some(entry) = state.entries.remove(ticket) {
                state.counts.unjoined += 1;
                state.remember(*ticket, entry.outer);
                given_up.extend(entry.values.into_iter().flatten());
            }
        }
        state.crowd = SMALL_CROWD + 2 * state.entries.len();
        given_up
    }

    /// Gives up everything; the caller frees what is handed back.
    pub(crate) fn discard(&self) -> Vec<V> {
        let mut state = self.state.lock();
        let (entries, ready) = (std::mem::take(&mut state.entries), std::mem::take(&mut state.ready));
        state.counts.unjoined += (entries.len() + ready.len()) as u64;
        let newest = state.take_all_newest();
        let values = entries.into_values().flat_map(|entry| entry.values).flatten();
        values.chain(ready.into_iter().flat_map(Ready::into_values)).chain(newest).collect()
    }

    /// Notes that a branch has ended a sample, and returns its ticket in the block around this one; none for a ticket
    /// that is not of this block.
    pub(crate) fn doom(&self, ticket: ForkTicket) -> Option<ForkTicket> {
        let mut state = self.state.lock();
        if let Some(entry) = state.entries.get_mut(&ticket) {
            entry.is_doomed = true;
            return Some(entry.outer);
        }
        state.gone.iter().find(|(gone, _)| *gone == ticket).map(|(_, outer)| *outer)
    }

    /// Adds the samples of the block around this one that are in it, without those that its branches have ended.
    pub(crate) fn find_outer(&self, ended: &HashSet<ForkTicket>, found: &mut HashSet<ForkTicket>) {
        let state = self.state.lock();
        let is_inside = |(ticket, entry): &(&ForkTicket, &Entry<V>)| !ended.contains(ticket) && !entry.is_doomed;
        let entries = state.entries.iter().filter(is_inside);
        found.extend(entries.map(|(_, entry)| entry.outer));
        found.extend(state.ready.iter().map(|ready| ready.outer));
        found.extend(state.on_its_way);
    }

    /// The counts of this moment, where the branches have ended these, whether they were given up yet or not.
    pub(crate) fn counts(&self, ended: &HashSet<ForkTicket>) -> JoinCounts {
        let state = self.state.lock();
        let lost = ended.iter().filter(|ticket| state.entries.contains_key(ticket)).count() as u64;
        let inside = state.entries.len() + state.ready.len() + usize::from(state.on_its_way.is_some());
        JoinCounts { waiting: inside as u64 - lost, unjoined: state.counts.unjoined + lost, ..state.counts.clone() }
    }
}
