//! The buffer between two threads: one lock, two condition variables, and no value freed under the lock.

use super::{Arrival, BufferCounts, Gate, Overflow, Push, Take, Wait};
use crate::intake::{Input, Intake};
use crate::sample::{Sample, SampleId};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;

/// A bounded queue of samples in front of one stage.
pub(crate) struct Buffer<V> {
    capacity: usize,
    overflow: Overflow,
    intake: Intake,
    drops_to_remember: usize,
    state: Mutex<State<V>>,
    filled: Condvar,
    emptied: Condvar,
}

struct State<V> {
    waiting: VecDeque<Sample<V>>,
    gate: Gate,
    counts: BufferCounts,
    takers: usize,
    givers: usize,
}

impl<V> Buffer<V> {
    pub(crate) fn new(capacity: usize, overflow: Overflow, intake: Intake, drops_to_remember: usize) -> Self {
        Buffer {
            capacity,
            overflow,
            intake,
            drops_to_remember,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                gate: Gate::Open,
                counts: BufferCounts::default(),
                takers: 0,
                givers: 0,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    /// Puts in a sample, waiting for room where the policy is `block`. The caller frees what is handed back.
    pub(crate) fn push(&self, mut sample: Sample<V>, arrival: Arrival, wait: Wait) -> Push<V> {
        let mut state = self.state.lock();
        while self.must_wait(&state) {
            state.givers += 1;
            let patient = wait_on(&self.emptied, &mut state, wait);
            state.givers -= 1;
            if !patient && self.must_wait(&state) {
                return Push::Full(sample.value);
            }
        }
        if arrival == Arrival::Outside && state.gate != Gate::Open {
            return Push::Shut(sample.value);
        }
        state.counts.entered += 1;
        if arrival != Arrival::Stage {
            sample.id = SampleId { number: state.counts.entered, part: 0 };
        }
        if state.gate == Gate::Discarding {
            state.counts.discarded += 1;
            return Push::Done { accepted: true, dropped: Some(sample.value) };
        }
        let mut dropped = None;
        if state.waiting.len() >= self.capacity {
            if self.overflow == Overflow::DropNewest {
                state.counts.dropped_newest += 1;
                self.remember_drop(&mut state, sample.id);
                return Push::Done { accepted: false, dropped: Some(sample.value) };
            }
            if let Some(oldest) = state.waiting.pop_front() {
                state.counts.dropped_oldest += 1;
                self.remember_drop(&mut state, oldest.id);
                dropped = Some(oldest.value);
            }
        }
        state.waiting.push_back(sample);
        let wake = state.takers > 0 && self.can_take(&state);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Push::Done { accepted: true, dropped }
    }

    /// Takes what the intake says, waiting for it if need be.
    pub(crate) fn take(&self, wait: Wait) -> Take<V> {
        let mut state = self.state.lock();
        while !self.can_take(&state) {
            match state.gate {
                Gate::Open => {}
                Gate::Closed => return Take::Drained,
                Gate::Discarding => return Take::Discarded,
            }
            state.takers += 1;
            let patient = wait_on(&self.filled, &mut state, wait);
            state.takers -= 1;
            if !patient && !self.can_take(&state) && state.gate == Gate::Open {
                return Take::Empty;
            }
        }
        let mut superseded = Vec::new();
        let input = match self.intake {
            Intake::Single => state.waiting.pop_front().map(Input::One),
            Intake::Latest => {
                let newest = state.waiting.pop_back();
                while let Some(old) = state.waiting.pop_front() {
                    state.counts.superseded += 1;
                    self.remember_drop(&mut state, old.id);
                    superseded.push(old.value);
                }
                newest.map(Input::One)
            }
            Intake::All => Some(Input::List(std::mem::take(&mut state.waiting).into())),
        };
        let Some(input) = input else { return Take::Empty };
        state.counts.taken += input.count();
        let wake = state.givers > 0;
        drop(state);
        if wake && self.intake == Intake::Single {
            self.emptied.notify_one();
        } else if wake {
            self.emptied.notify_all();
        }
        Take::Ready { input, superseded, hold: None, given: 0 }
    }

    fn must_wait(&self, state: &State<V>) -> bool {
        self.overflow == Overflow::Block && state.gate == Gate::Open && state.waiting.len() >= self.capacity
    }

    fn can_take(&self, state: &State<V>) -> bool {
        match self.intake {
            Intake::Single | Intake::Latest => !state.waiting.is_empty(),
            Intake::All if state.gate == Gate::Open => state.waiting.len() >= self.capacity,
            Intake::All => !state.waiting.is_empty(),
        }
    }

    /// Nothing more comes in; what is inside flows out.
    pub(crate) fn close(&self) {
        self.lower_gate(Gate::Closed);
    }

    /// Gives up what is inside and whatever still comes; the caller frees what is handed back.
    pub(crate) fn discard(&self) -> VecDeque<Sample<V>> {
        self.lower_gate(Gate::Discarding)
    }

    fn lower_gate(&self, gate: Gate) -> VecDeque<Sample<V>> {
        let mut state = self.state.lock();
        state.gate = state.gate.max(gate);
        let given_up = match state.gate {
            Gate::Discarding => std::mem::take(&mut state.waiting),
            Gate::Open | Gate::Closed => VecDeque::new(),
        };
        state.counts.discarded += given_up.len() as u64;
        drop(state);
        self.filled.notify_all();
        self.emptied.notify_all();
        given_up
    }

    pub(crate) fn counts(&self) -> BufferCounts {
        let state = self.state.lock();
        BufferCounts { waiting: state.waiting.len() as u64, ..state.counts.clone() }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn overflow(&self) -> Overflow {
        self.overflow
    }

    fn remember_drop(&self, state: &mut State<V>, id: SampleId) {
        if state.counts.last_dropped.len() >= self.drops_to_remember {
            state.counts.last_dropped.pop_front();
        }
        state.counts.last_dropped.push_back(id);
    }
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
