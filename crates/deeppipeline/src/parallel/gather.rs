//! The table in which the parts of a sample meet again: those that its split gave, each with a ticket of its own.
//!
//! The sample itself waits in the buffer of the node that gathers, in order, from before its first part sets out. So
//! nothing has to be put in order here: that node takes the oldest, and waits until each of its parts has a result or has
//! ended. Whoever ends a part notes it here, and never waits.

use crate::buffer::Wait;
use crate::error::NoAnswer;
use crate::join::JoinCounts;
use crate::sample::{ForkTicket, SampleId};
use crate::unwind::release;
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, HashSet};

/// The results of the parts of one sample, in their order, or how each has ended without one.
pub(crate) type PartResults<V> = Vec<Result<V, NoAnswer>>;

/// The table of one block.
pub(crate) struct Gather<V> {
    state: Mutex<State<V>>,
    /// Wakes the node that gathers.
    changed: Condvar,
}

struct State<V> {
    /// By the ticket of the whole; its parts have those that follow.
    wholes: BTreeMap<u64, Whole<V>>,
    /// The counters of parts.
    counts: JoinCounts,
    /// The number of results that have come.
    arrived: u64,
    /// The first whole that does not go on, and neither does any behind it: a stage has failed for good on a part.
    failed: Option<u64>,
}

/// A sample whose parts are on their way.
struct Whole<V> {
    id: SampleId,
    /// Its ticket in the block around this one.
    outer: ForkTicket,
    parts: Vec<Option<Result<V, NoAnswer>>>,
    /// The number of parts that have neither a result nor an end.
    left: usize,
    /// True while not every part has set out.
    is_entering: bool,
    /// True if some part cannot set out, so that its split has failed on it.
    is_given_up: bool,
}

/// The state of a whole, as the node that gathers finds it.
pub(crate) enum Gathered<V> {
    /// Some part is still on its way.
    NotYet,
    /// Each part has a result or an end; the whole has that ticket in the block around this one.
    Complete(ForkTicket, PartResults<V>),
    /// It does not go on, since its split has failed on a part.
    GivenUp,
    /// Neither it nor any behind it goes on.
    Failed,
}

/// The meaning of an end for a block.
pub(crate) enum Ended {
    /// None: the ticket is not of this block.
    Elsewhere,
    /// A part has ended, of this whole, with its ticket in the block around this one.
    Part(ForkTicket, SampleId),
    /// A whole has ended: it, and its ticket in the block around this one.
    Whole(ForkTicket, SampleId),
}

impl<V> State<V> {
    /// The whole that a ticket is of, its own ticket, and which part, from 1; 0 is the whole itself.
    fn find(&mut self, ticket: ForkTicket) -> Option<(u64, usize, &mut Whole<V>)> {
        let (first, whole) = self.wholes.range_mut(..=ticket.0).next_back()?;
        let part = (ticket.0 - first) as usize;
        (part <= whole.parts.len()).then_some((*first, part, whole))
    }

    /// Takes a whole out; what came of its parts and goes nowhere is counted, and is for the caller to release.
    fn remove(&mut self, first: u64) -> Option<Whole<V>> {
        let whole = self.wholes.remove(&first)?;
        // Those that are missing were counted when they ended.
        let gone = whole.parts.iter().filter(|part| !matches!(part, Some(Err(_)))).count();
        self.counts.unjoined += gone as u64;
        Some(whole)
    }

    fn fail_from(&mut self, first: u64) {
        self.failed = Some(self.failed.map_or(first, |failed| failed.min(first)));
    }
}

impl<V> Gather<V> {
    pub(crate) fn new() -> Self {
        let state = State { wholes: BTreeMap::new(), counts: JoinCounts::default(), arrived: 0, failed: None };
        Gather { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Enters a sample of that many parts, with its ticket in the block around this one, and returns its ticket here:
    /// the parts have those that follow.
    pub(crate) fn enter(&self, parts: usize, id: SampleId, outer: ForkTicket) -> ForkTicket {
        let ticket = ForkTicket::next_of(1 + parts as u64);
        let mut state = self.state.lock();
        state.counts.entered += parts as u64;
        let results = (0..parts).map(|_| None).collect();
        let whole = Whole { id, outer, parts: results, left: parts, is_entering: true, is_given_up: false };
        state.wholes.insert(ticket.0, whole);
        ticket
    }

    /// Notes that every part has set out.
    pub(crate) fn has_entered(&self, ticket: ForkTicket) {
        let mut state = self.state.lock();
        if let Some(whole) = state.wholes.get_mut(&ticket.0) {
            whole.is_entering = false;
            self.changed.notify_all();
        }
    }

    /// Gives up a whole of which a part cannot set out.
    pub(crate) fn give_up(&self, ticket: ForkTicket) {
        let mut state = self.state.lock();
        if let Some(whole) = state.wholes.get_mut(&ticket.0) {
            whole.is_given_up = true;
            self.changed.notify_all();
        }
    }

    /// Takes the result of a part; hands it back where nobody waits for it any more.
    pub(crate) fn arrive(&self, ticket: ForkTicket, result: V) -> Option<V> {
        let mut state = self.state.lock();
        state.arrived += 1;
        let Some((_, part @ 1.., whole)) = state.find(ticket) else { return Some(result) };
        if whole.parts[part - 1].is_some() {
            return Some(result);
        }
        whole.parts[part - 1] = Some(Ok(result));
        whole.left -= 1;
        if whole.left == 0 {
            self.changed.notify_all();
        }
        None
    }

    /// Notes that a part has ended without a result, or a whole before its parts were together; `stops` if neither the
    /// whole nor any behind it may go on.
    pub(crate) fn end(&self, ticket: ForkTicket, stops: bool, fate: impl FnOnce() -> NoAnswer) -> Ended {
        let mut state = self.state.lock();
        let Some((first, part, whole)) = state.find(ticket) else { return Ended::Elsewhere };
        let (outer, id) = (whole.outer, whole.id);
        if part == 0 {
            let removed = state.remove(first);
            drop(state);
            release(removed);
            return Ended::Whole(outer, id);
        }

        if whole.parts[part - 1].is_none() {
            whole.parts[part - 1] = Some(Err(fate()));
            whole.left -= 1;
            state.counts.unjoined += 1;
        }
        if stops {
            state.fail_from(first);
        }
        self.changed.notify_all();
        Ended::Part(outer, id)
    }

    /// Looks whether a whole is complete, as long as the caller would wait. It stays in the table until it has gone on.
    pub(crate) fn gather(&self, ticket: ForkTicket, wait: Wait) -> Gathered<V> {
        let mut state = self.state.lock();
        let mut patient = true;
        loop {
            if state.failed.is_some_and(|failed| ticket.0 >= failed) {
                return Gathered::Failed;
            }
            let Some(whole) = state.wholes.get_mut(&ticket.0).filter(|whole| !whole.is_given_up) else {
                return Gathered::GivenUp;
            };
            if whole.left == 0 && !whole.is_entering {
                let outer = whole.outer;
                let results: PartResults<V> = std::mem::take(&mut whole.parts).into_iter().flatten().collect();
                state.counts.joined += results.iter().filter(|result| result.is_ok()).count() as u64;
                return Gathered::Complete(outer, results);
            }
            if !patient {
                return Gathered::NotYet;
            }
            patient = match wait {
                Wait::No => false,
                Wait::Forever => {
                    self.changed.wait(&mut state);
                    true
                }
                Wait::Until(deadline) => !self.changed.wait_until(&mut state, deadline).timed_out(),
            };
        }
    }

    /// Lets no whole go on any more.
    pub(crate) fn stop(&self) {
        self.state.lock().fail_from(0);
        self.changed.notify_all();
    }

    /// Forgets a whole that has gone on, or does not, and returns its ticket in the block around this one.
    pub(crate) fn leave(&self, ticket: ForkTicket) -> Option<ForkTicket> {
        let removed = self.state.lock().remove(ticket.0)?;
        let outer = removed.outer;
        release(removed);
        Some(outer)
    }

    /// Returns the parts that have set out and have neither a result nor an end.
    pub(crate) fn expected(&self) -> Vec<ForkTicket> {
        let state = self.state.lock();
        let wholes = state.wholes.iter().filter(|(_, whole)| !whole.is_entering);
        let expected = wholes.flat_map(|(first, whole)| {
            let left = whole.parts.iter().zip(first + 1..).filter(|(part, _)| part.is_none());
            left.map(|(_, ticket)| ForkTicket(ticket))
        });
        expected.collect()
    }

    /// Adds the samples of the block around this one that are in it.
    pub(crate) fn find_outer(&self, found: &mut HashSet<ForkTicket>) {
        found.extend(self.state.lock().wholes.values().map(|whole| whole.outer));
    }

    /// Returns the number of results that have come.
    pub(crate) fn arrived(&self) -> u64 {
        self.state.lock().arrived
    }

    /// Returns the counters of parts: of those that have come to their whole, or ended.
    pub(crate) fn counts(&self) -> JoinCounts {
        let counts = self.state.lock().counts.clone();
        JoinCounts { waiting: counts.entered - counts.joined - counts.unjoined, ..counts }
    }
}
