//! The buffer between two threads: one lock, two condition variables, and no value freed under the lock.

use super::limits::Limits;
use super::order::{Hands, Order, Overdue};
use super::parts::Parts;
use super::{Arrival, BufferCounts, Gate, Overflow, Push, Take, Taken, Wait};
use crate::clock::Clock;
use crate::intake::{Input, Intake};
use crate::sample::{ForkTicket, Sample, SampleId};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{HashSet, VecDeque};
use std::time::Instant;

/// A bounded queue of samples in front of one stage.
pub(crate) struct Buffer<V> {
    limits: Limits,
    drops_to_remember: usize,
    clock: Clock,
    state: Mutex<State<V>>,
    filled: Condvar,
    emptied: Condvar,
}

struct State<V> {
    waiting: VecDeque<Waiting<V>>,
    gate: Gate,
    counts: BufferCounts,
    /// What the workers behind have in hand, and what those before have given too early.
    hands: Hands,
    order: Option<Order<V>>,
    parts: Parts,
    takers: usize,
    givers: usize,
}

struct Waiting<V> {
    sample: Sample<V>,
    /// When it came, where the first may have to wait for others.
    came: Option<Instant>,
}

impl<V> Buffer<V> {
    pub(crate) fn new(limits: Limits, drops_to_remember: usize, clock: Clock) -> Self {
        Buffer {
            limits,
            drops_to_remember,
            clock,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                gate: Gate::Open,
                counts: BufferCounts::default(),
                hands: Hands::of(limits.takers, limits.is_looked_for),
                order: Order::behind(limits.givers),
                parts: Parts::default(),
                takers: 0,
                givers: 0,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    /// Puts in a sample, waiting for room where the policy is `block`, and where it has a turn and too many others came
    /// early, for that. The caller frees what is handed back.
    pub(crate) fn push(&self, sample: Sample<V>, arrival: Arrival, turn: Option<u64>, wait: Wait) -> Push<V> {
        let mut state = self.state.lock();
        loop {
            let gate = state.gate;
            if let (Some(ticket), Some(order)) = (turn, &mut state.order) {
                if order.has_passed(ticket) {
                    return Push::Late(sample.value);
                }
                if order.is_behind_a_failure(ticket) {
                    return discarded(state, sample.value);
                }
                if gate != Gate::Discarding && !order.is_turn_of(ticket) && order.has_room() {
                    order.keep(ticket, sample, arrival);
                    return Push::Done { accepted: true, dropped: None, more: self.go_on(state) };
                }
            }
            if !self.must_wait(&state, turn) {
                break;
            }
            state.givers += 1;
            let patient = wait_on(&self.emptied, &mut state, wait);
            state.givers -= 1;
            if !patient && self.must_wait(&state, turn) {
                return Push::Full(sample.value);
            }
        }
        if arrival == Arrival::Outside && state.gate != Gate::Open {
            return Push::Shut(sample.value);
        }
        if state.gate == Gate::Discarding {
            return discarded(state, sample.value);
        }
        let (accepted, dropped) = self.enter(&mut state, sample, arrival);
        let wake = state.takers > 0 && self.is_worth_a_look(&state);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Push::Done { accepted, dropped, more: Vec::new() }
    }

    /// A sample arrives; whether it is inside now, and what was dropped for it.
    fn enter(&self, state: &mut State<V>, mut sample: Sample<V>, arrival: Arrival) -> (bool, Option<V>) {
        state.counts.entered += 1;
        sample.id = match arrival {
            Arrival::Source | Arrival::Outside => SampleId { number: state.counts.entered, part: 0 },
            Arrival::Stage | Arrival::PartOfWhole | Arrival::PartOfPart => state.parts.enter(sample.id, arrival),
        };
        let mut dropped = None;
        if state.waiting.len() >= self.limits.capacity {
            if self.limits.overflow == Overflow::DropNewest {
                state.counts.dropped_newest += 1;
                self.remember_drop(state, sample.id);
                return (false, Some(sample.value));
            }
            if let Some(Waiting { sample: oldest, .. }) = state.waiting.pop_front() {
                state.counts.dropped_oldest += 1;
                self.remember_drop(state, oldest.id);
                dropped = Some(oldest.value);
            }
        }
        let came = self.waits_for_more().then(|| self.clock.now());
        state.waiting.push_back(Waiting { sample, came });
        (true, dropped)
    }

    /// Lets in all results whose turn has come, as far as there is room, and wakes whom it may concern.
    fn go_on(&self, mut state: MutexGuard<'_, State<V>>) -> Vec<V> {
        let mut dropped = Vec::new();
        loop {
            // A closed gate lets nobody wait for room, but these can.
            let room = self.limits.overflow != Overflow::Block || state.waiting.len() < self.limits.capacity;
            let Some((sample, arrival)) = state.order.as_mut().and_then(|order| order.next(room)) else { break };
            dropped.extend(self.enter(&mut state, sample, arrival).1);
        }
        let (takers, givers) = (state.takers > 0, state.givers > 0);
        drop(state);
        if takers {
            self.filled.notify_all();
        }
        if givers {
            self.emptied.notify_all();
        }
        dropped
    }

    /// Nothing more comes of that take.
    pub(crate) fn end_turn(&self, ticket: u64) -> Vec<V> {
        let mut state = self.state.lock();
        if let Some(order) = &mut state.order {
            order.end(ticket);
        }
        self.go_on(state)
    }

    /// Which takes the workers in front may be at.
    pub(crate) fn turns_up_to(&self) -> u64 {
        let state = self.state.lock();
        match &state.order {
            Some(order) if state.gate != Gate::Discarding => order.up_to(),
            _ => u64::MAX,
        }
    }

    /// Waits until the workers in front may be at that take.
    pub(crate) fn wait_for_turns_up_to(&self, ticket: u64, wait: Wait) -> bool {
        let mut state = self.state.lock();
        let may_go_on = |state: &State<V>| {
            state.gate == Gate::Discarding || state.order.as_ref().is_none_or(|order| ticket <= order.up_to())
        };
        while !may_go_on(&state) {
            state.givers += 1;
            let patient = wait_on(&self.emptied, &mut state, wait);
            state.givers -= 1;
            if !patient && !may_go_on(&state) {
                return false;
            }
        }
        true
    }

    /// The stage has failed on that take: what was taken later does not go on.
    pub(crate) fn fail_turn(&self, ticket: u64) -> VecDeque<Sample<V>> {
        let mut state = self.state.lock();
        let given_up = state.order.as_mut().map(|order| order.fail(ticket)).unwrap_or_default();
        state.counts.entered += given_up.len() as u64;
        state.counts.discarded += given_up.len() as u64;
        drop(state);
        self.emptied.notify_all();
        given_up
    }

    /// Takes what the intake says, waiting for it if need be.
    pub(crate) fn take(&self, worker: usize, up_to: u64, wait: Wait) -> Take<V> {
        let mut state = self.state.lock();
        loop {
            if state.hands.may_take() {
                let next = state.hands.next_ticket();
                if next > up_to && state.gate != Gate::Discarding {
                    return Take::Ahead(next);
                }
                if self.can_take(&state) {
                    break;
                }
                match state.gate {
                    Gate::Open => {}
                    Gate::Closed => {
                        let ticket = state.hands.take(worker, ForkTicket::default(), 0, self.clock.now());
                        return Take::Drained { ticket };
                    }
                    Gate::Discarding => return Take::Discarded,
                }
            } else if state.gate == Gate::Discarding {
                return Take::Discarded;
            }
            state.takers += 1;
            let patience = wait.no_later_than(self.due(&state));
            let patient = wait_on(&self.filled, &mut state, patience);
            state.takers -= 1;
            let ready = state.gate == Gate::Discarding
                || state.hands.may_take() && (state.gate == Gate::Closed || self.can_take(&state));
            if !patient && !ready && wait.is_over(self.clock.now()) {
                return Take::Empty;
            }
        }
        let at = self.clock.now();
        let mut dropped = Vec::new();
        self.expire(&mut state, at, &mut dropped);
        let input = match self.limits.intake {
            _ if !self.can_take(&state) => None,
            Intake::Single | Intake::Window { .. } => state.waiting.pop_front().map(|front| Input::One(front.sample)),
            Intake::Latest => {
                let newest = state.waiting.pop_back();
                while let Some(Waiting { sample: old, .. }) = state.waiting.pop_front() {
                    state.counts.superseded += 1;
                    self.remember_drop(&mut state, old.id);
                    dropped.push(old.value);
                }
                newest.map(|newest| Input::One(newest.sample))
            }
            Intake::All | Intake::Batch { .. } => {
                let count = match self.limits.intake {
                    Intake::Batch { max_size, .. } => max_size.min(state.waiting.len()),
                    _ => state.waiting.len(),
                };
                Some(Input::List(state.waiting.drain(..count).map(|waiting| waiting.sample).collect()))
            }
        };
        let Some(input) = input else {
            self.go_on(state);
            return Take::Expired(dropped);
        };
        state.counts.taken += input.count();
        let fork = input.newest_fork();
        let ticket = state.hands.take(worker, fork, input.count(), at);
        if state.order.is_some() {
            dropped.extend(self.go_on(state));
        } else {
            let givers = state.givers > 0;
            let takers = state.takers > 0 && self.can_take(&state);
            drop(state);
            if givers && dropped.is_empty() && input.count() == 1 {
                self.emptied.notify_one();
            } else if givers {
                self.emptied.notify_all();
            }
            if takers {
                self.filled.notify_one();
            }
        }
        Take::Ready { input, dropped, taken: Taken { ticket, at, fork, hold: None, given: 0, failures: 0 } }
    }

    /// Drops those that are too old of what is about to leave.
    fn expire(&self, state: &mut State<V>, now: Instant, dropped: &mut Vec<V>) {
        let Some(max_age) = self.limits.max_age else { return };
        let one_at_a_time = matches!(self.limits.intake, Intake::Single | Intake::Window { .. });
        let mut fresh = VecDeque::new();
        while let Some(waiting) = state.waiting.pop_front() {
            if now.saturating_duration_since(waiting.sample.birth) > max_age {
                state.counts.expired += 1;
                self.remember_drop(state, waiting.sample.id);
                dropped.push(waiting.sample.value);
            } else if one_at_a_time {
                state.waiting.push_front(waiting);
                return;
            } else {
                fresh.push_back(waiting);
            }
        }
        state.waiting = fresh;
    }

    /// A worker is done with what it had in hand; false when it was given up before.
    pub(crate) fn put_down(&self, worker: usize) -> bool {
        if self.limits.takers.workers == 1 && !self.limits.is_looked_for {
            return true;
        }
        let mut state = self.state.lock();
        let held = state.hands.put_down(worker);
        let wake = state.takers > 0;
        drop(state);
        if wake {
            self.filled.notify_all();
        }
        held
    }

    pub(crate) fn overdue_at(&self) -> Option<Instant> {
        self.limits.takers.timeout?;
        self.state.lock().hands.overdue_at()
    }

    /// Gives up the oldest sample in hand if it is overdue, and if nothing can be taken before it has ended or `anyway`.
    pub(crate) fn give_up_overdue(&self, anyway: bool) -> Option<Overdue> {
        self.limits.takers.timeout?;
        let mut state = self.state.lock();
        if state.hands.may_take() && !anyway {
            return None;
        }
        let overdue = state.hands.give_up_overdue(self.clock.now())?;
        drop(state);
        self.filled.notify_all();
        Some(overdue)
    }

    /// When a list that waits for more samples is due.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.due(&self.state.lock())
    }

    fn due(&self, state: &State<V>) -> Option<Instant> {
        match self.limits.intake {
            Intake::Batch { timeout, .. } => state.waiting.front()?.came?.checked_add(timeout),
            _ => None,
        }
    }

    /// Whether a sample in front may have to wait for others behind it.
    fn waits_for_more(&self) -> bool {
        matches!(self.limits.intake, Intake::Batch { .. })
    }

    fn is_full_under_block(&self, state: &State<V>) -> bool {
        self.limits.overflow == Overflow::Block
            && state.gate == Gate::Open
            && state.waiting.len() >= self.limits.capacity
    }

    fn must_wait(&self, state: &State<V>, turn: Option<u64>) -> bool {
        match (turn, &state.order) {
            (Some(ticket), Some(order)) if state.gate != Gate::Discarding && !order.is_turn_of(ticket) => {
                !order.has_room() && !order.has_passed(ticket) && !order.is_behind_a_failure(ticket)
            }
            _ => self.is_full_under_block(state),
        }
    }

    fn can_take(&self, state: &State<V>) -> bool {
        let waiting = state.waiting.len();
        match self.limits.intake {
            Intake::All if state.gate == Gate::Open => waiting >= self.limits.capacity,
            Intake::Batch { max_size, .. } if state.gate == Gate::Open => {
                waiting >= max_size || self.due(state).is_some_and(|due| self.clock.now() >= due)
            }
            Intake::Single | Intake::Latest | Intake::Window { .. } | Intake::All | Intake::Batch { .. } => waiting > 0,
        }
    }

    /// Whether a worker that waits should be woken: to take, or to wait no longer than until the first sample is due.
    fn is_worth_a_look(&self, state: &State<V>) -> bool {
        self.can_take(state) || (self.waits_for_more() && state.waiting.len() == 1)
    }

    /// Lowers the gate; `wake` follows.
    pub(crate) fn lower_gate(&self, gate: Gate) -> VecDeque<Sample<V>> {
        let mut state = self.state.lock();
        state.gate = state.gate.max(gate);
        let state = &mut *state;
        let (mut given_up, early): (VecDeque<_>, _) = match (state.gate, &mut state.order) {
            (Gate::Discarding, order) => {
                let early = order.as_mut().map(Order::give_up);
                (std::mem::take(&mut state.waiting).into_iter().map(|waiting| waiting.sample).collect(), early)
            }
            (Gate::Open | Gate::Closed, order) => (VecDeque::new(), order.as_mut().map(Order::close)),
        };
        let early = early.unwrap_or_default();
        state.counts.entered += early.len() as u64;
        state.counts.discarded += (given_up.len() + early.len()) as u64;
        given_up.extend(early);
        given_up
    }

    /// Whoever waits looks again.
    pub(crate) fn wake(&self) {
        // Nobody is between his look and his sleep.
        drop(self.state.lock());
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    pub(crate) fn counts(&self) -> BufferCounts {
        let state = self.state.lock();
        let early = state.order.as_ref().map_or(0, Order::results);
        BufferCounts { early, waiting: state.waiting.len() as u64, ..state.counts.clone() }
    }

    /// Adds the samples that are inside, in the hands of its takers, or early.
    pub(crate) fn find(&self, found: &mut HashSet<ForkTicket>) {
        let state = self.state.lock();
        found.extend(state.waiting.iter().map(|waiting| waiting.sample.fork));
        found.extend(state.hands.forks());
        found.extend(state.order.iter().flat_map(Order::forks));
    }

    /// Whether what is inside was given up.
    pub(crate) fn is_discarding(&self) -> bool {
        self.state.lock().gate == Gate::Discarding
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    fn remember_drop(&self, state: &mut State<V>, id: SampleId) {
        if state.counts.last_dropped.len() >= self.drops_to_remember {
            state.counts.last_dropped.pop_front();
        }
        state.counts.last_dropped.push_back(id);
    }
}

/// A sample arrives that nobody will take.
fn discarded<V>(mut state: MutexGuard<'_, State<V>>, value: V) -> Push<V> {
    state.counts.entered += 1;
    state.counts.discarded += 1;
    Push::Discarded(value)
}

/// Waits for a notification; false when the caller's patience is over.
fn wait_on<T>(condition: &Condvar, guard: &mut MutexGuard<'_, T>, wait: Wait) -> bool {
    match wait {
        Wait::No => false,
        Wait::Forever => {
            condition.wait(guard);
            true
        }
        Wait::Until(deadline) => !condition.wait_until(guard, deadline).timed_out(),
    }
}
