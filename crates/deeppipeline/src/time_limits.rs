//! The time limits of calls on threads: a call that takes longer than its stage's time limit is told of while it hangs.
//!
//! A process that takes too long is killed: see `executor/process/worker_process.rs`.

use crate::aside;
use crate::notices::{Notice, Notices};
use crate::sample::SampleId;
use crate::stage_name::StageName;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Watches for calls that take longer than their stage's time limit, on one thread that is there once there was a call.
/// It wakes when a call could be overdue, and never while there is none.
pub(crate) struct Timekeeper {
    /// The name and the time limit of each worker's stage.
    stages: Vec<(Arc<StageName>, Duration)>,
    notices: Arc<Notices>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// One per worker.
    calls: Vec<Option<Running>>,
    is_watched: bool,
    /// The time when the thread will look again by itself.
    looks_at: Option<Instant>,
    over: bool,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    sample: SampleId,
    due: Instant,
    told: bool,
}

/// The timer of one worker's calls.
pub(crate) struct CallTimer {
    keeper: Arc<Timekeeper>,
    /// The place of the worker among all.
    worker: usize,
    limit: Duration,
}

impl CallTimer {
    /// Notes that the worker runs its stage on a sample, for that long already.
    pub(crate) fn begin(&self, sample: SampleId, busy: Duration) {
        // A time limit beyond what the clock can tell is none.
        match Instant::now().checked_add(self.limit.saturating_sub(busy)) {
            Some(due) => self.keeper.begin(self.worker, sample, due),
            None => self.end(),
        }
    }

    /// Notes that the worker does not run its stage, any longer or for the time being.
    pub(crate) fn end(&self) {
        self.keeper.state.lock().calls[self.worker] = None;
    }
}

impl Timekeeper {
    pub(crate) fn new(stages: Vec<(Arc<StageName>, Duration)>, notices: Arc<Notices>) -> Arc<Self> {
        let state = State { calls: vec![None; stages.len()], is_watched: false, looks_at: None, over: false };
        Arc::new(Timekeeper { stages, notices, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Returns the timer of the worker at that place, whose stage has that time limit.
    pub(crate) fn timer(self: &Arc<Self>, worker: usize) -> CallTimer {
        CallTimer { keeper: Arc::clone(self), worker, limit: self.stages[worker].1 }
    }

    /// Notes that a worker is in a call that is overdue then.
    fn begin(self: &Arc<Self>, worker: usize, sample: SampleId, due: Instant) {
        let mut state = self.state.lock();
        state.calls[worker] = Some(Running { sample, due, told: false });
        let starts = !std::mem::replace(&mut state.is_watched, true);
        let wake = state.looks_at.is_none_or(|looks| due < looks);
        drop(state);
        if starts {
            let keeper = Arc::clone(self);
            let thread = std::thread::Builder::new().name("time limits".to_owned());
            if let Err(error) = thread.spawn(move || keeper.watch()) {
                aside::log(move || tracing::warn!("no thread to watch over time limits: {error}"));
            }
        } else if wake {
            self.changed.notify_one();
        }
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.state.lock().over = true;
        self.changed.notify_all();
    }

    fn watch(&self) {
        let mut state = self.state.lock();
        while !state.over {
            let now = Instant::now();
            if let Some((worker, sample)) = overdue(&mut state, now) {
                MutexGuard::unlocked(&mut state, || self.tell(worker, sample));
                continue;
            }
            state.looks_at = state.calls.iter().flatten().filter(|call| !call.told).map(|call| call.due).min();
            match state.looks_at {
                Some(due) => {
                    self.changed.wait_until(&mut state, due);
                }
                None => self.changed.wait(&mut state),
            }
        }
    }

    fn tell(&self, worker: usize, sample: SampleId) {
        let (name, limit) = &self.stages[worker];
        self.notices.tell(Notice::Hangs { stage: name.get().to_owned(), worker, sample, time_limit: *limit });
    }
}

fn overdue(state: &mut State, now: Instant) -> Option<(usize, SampleId)> {
    let mut calls = state.calls.iter_mut().enumerate();
    let (worker, call) = calls.find_map(|(worker, call)| {
        let call = call.as_mut().filter(|call| !call.told && call.due <= now)?;
        Some((worker, call))
    })?;
    call.told = true;
    Some((worker, call.sample))
}
