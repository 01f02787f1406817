//! Where the branches of a parallel block meet again: one table, keyed by sample.
//!
//! Nothing tells the table that a branch has dropped, skipped, failed on or lost a sample. Whoever wants to know looks
//! for it: what is in no buffer and in no hand of the branches any more will not arrive, and its entry is given up. So a
//! branch can end samples as it likes, in any process, and the table never holds more than the branches do, and a few
//! that nobody has looked for yet.

use crate::sample::{Sample, SampleId};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

/// Makes one value of those of all branches, in their order.
pub type Joiner<V> = Box<dyn Fn(Vec<V>) -> V + Send + Sync>;

/// The counters of one join. At any quiet moment `entered = joined + unjoined + waiting`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct JoinCounts {
    /// Samples that were given to all branches.
    pub entered: u64,
    /// Samples of which every branch had a result: the next stage got these.
    pub joined: u64,
    /// Samples that some branch has ended without a result, or whose results were given up.
    pub unjoined: u64,
    /// Samples that are still inside.
    pub waiting: u64,
}

impl JoinCounts {
    /// Whether every sample that entered has exactly one fate.
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
    entries: HashMap<SampleId, Entry<V>>,
    /// Joined, in the order in which their last result came.
    ready: VecDeque<Sample<V>>,
    /// The branch that brought the last result of what is ready: it waits for room, and so there is no second one.
    completed_by: usize,
    /// What somebody is handing to the next buffer.
    on_its_way: Option<SampleId>,
    counts: JoinCounts,
    branches_ended: usize,
    /// With so many entries it is time to look which of them nobody works on.
    crowd: usize,
}

struct Entry<V> {
    birth: Instant,
    values: Vec<Option<V>>,
    /// Not every branch has it yet.
    is_entering: bool,
}

/// Fewer entries than that are not worth a look.
const SMALL_CROWD: usize = 16;

impl<V> Join<V> {
    pub(crate) fn new(branches: usize) -> Self {
        let state = State {
            entries: HashMap::new(),
            ready: VecDeque::new(),
            completed_by: 0,
            on_its_way: None,
            counts: JoinCounts::default(),
            branches_ended: 0,
            crowd: SMALL_CROWD,
        };
        Join { branches, state: Mutex::new(state) }
    }

    /// A sample is about to be given to the branches; may be said again.
    pub(crate) fn enter(&self, id: SampleId, birth: Instant) {
        let mut state = self.state.lock();
        let branches = self.branches;
        if let std::collections::hash_map::Entry::Vacant(place) = state.entries.entry(id) {
            place.insert(Entry { birth, values: (0..branches).map(|_| None).collect(), is_entering: true });
            state.counts.entered += 1;
        }
    }

    /// Every branch has it.
    pub(crate) fn has_entered(&self, id: SampleId) {
        if let Some(entry) = self.state.lock().entries.get_mut(&id) {
            entry.is_entering = false;
        }
    }

    /// The result of one branch. Handed back where nothing is to be joined any more.
    pub(crate) fn arrive(&self, branch: usize, id: SampleId, value: V, join: &Joiner<V>) -> Option<V> {
        let mut state = self.state.lock();
        let Some(entry) = state.entries.get_mut(&id) else { return Some(value) };
        let before = entry.values[branch].replace(value);
        if entry.values.iter().all(Option::is_some)
            && let Some(entry) = state.entries.remove(&id)
        {
            let value = join(entry.values.into_iter().flatten().collect());
            state.completed_by = branch;
            state.ready.push_back(Sample { id, birth: entry.birth, value });
        }
        before
    }

    /// What is to be handed to the next buffer now; `None` while somebody else does that.
    pub(crate) fn next_ready(&self) -> Option<Sample<V>> {
        let mut state = self.state.lock();
        if state.on_its_way.is_some() {
            return None;
        }
        let ready = state.ready.pop_front()?;
        state.on_its_way = Some(ready.id);
        Some(ready)
    }

    /// The next buffer has it.
    pub(crate) fn has_gone_on(&self) {
        let mut state = self.state.lock();
        state.on_its_way = None;
        state.counts.joined += 1;
    }

    /// The next buffer had no room.
    pub(crate) fn put_back(&self, ready: Sample<V>) {
        let mut state = self.state.lock();
        state.on_its_way = None;
        state.ready.push_front(ready);
    }

    /// Whether something is ready that this branch has completed.
    pub(crate) fn was_completed_by(&self, branch: usize) -> bool {
        let state = self.state.lock();
        !state.ready.is_empty() && state.completed_by == branch
    }

    /// A branch gives no more.
    pub(crate) fn branch_has_ended(&self) {
        self.state.lock().branches_ended += 1;
    }

    /// Whether every branch has ended, and everything has gone on.
    pub(crate) fn is_done(&self) -> bool {
        let state = self.state.lock();
        state.branches_ended == self.branches && state.ready.is_empty() && state.on_its_way.is_none()
    }

    /// Whether it is time for a look.
    pub(crate) fn is_crowded(&self) -> bool {
        let state = self.state.lock();
        state.entries.len() > state.crowd
    }

    /// Samples that the branches must have, unless they have ended them.
    pub(crate) fn expected(&self) -> Vec<SampleId> {
        let state = self.state.lock();
        state.entries.iter().filter(|(_, entry)| !entry.is_entering).map(|(id, _)| *id).collect()
    }

    /// Gives up those of the expected that were not found in the branches; the caller frees what is handed back.
    pub(crate) fn give_up(&self, expected: Vec<SampleId>, found: &HashSet<SampleId>) -> Vec<V> {
        let mut state = self.state.lock();
        let mut given_up = Vec::new();
        for id in expected.into_iter().filter(|id| !found.contains(id)) {
            if let Some(entry) = state.entries.remove(&id) {
                state.counts.unjoined += 1;
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
        let values = entries.into_values().flat_map(|entry| entry.values).flatten();
        values.chain(ready.into_iter().map(|sample| sample.value)).collect()
    }

    /// Adds the samples that are in it.
    pub(crate) fn find(&self, found: &mut HashSet<SampleId>) {
        let state = self.state.lock();
        found.extend(state.entries.keys().copied());
        found.extend(state.ready.iter().map(|sample| sample.id));
        found.extend(state.on_its_way);
    }

    pub(crate) fn counts(&self) -> JoinCounts {
        let state = self.state.lock();
        let waiting = state.entries.len() + state.ready.len() + usize::from(state.on_its_way.is_some());
        JoinCounts { waiting: waiting as u64, ..state.counts.clone() }
    }
}
