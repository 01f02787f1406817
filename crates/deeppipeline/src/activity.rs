//! The activity of each worker on a thread at the moment, and the one that is told when it takes too long.

use crate::aside;
use crate::sample::SampleId;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The present activity of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It waits for samples, or for the other workers to come up.
    WaitsForSamples,
    /// It is in the user's code.
    Calls,
    /// It waits for room in front of the stage at that index.
    WaitsForRoom(usize),
}

/// An activity that others may look at.
pub(crate) struct Shown(AtomicUsize);

impl Shown {
    pub(crate) fn new() -> Self {
        Shown(AtomicUsize::new(1))
    }

    /// Sets the activity. Only a message is made of it, so no order is needed.
    pub(crate) fn set(&self, activity: Activity) {
        let number = match activity {
            Activity::WaitsForSamples => 0,
            Activity::Calls => 1,
            Activity::WaitsForRoom(index) => index + 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Activity {
        match self.0.load(Ordering::Relaxed) {
            0 => Activity::WaitsForSamples,
            1 => Activity::Calls,
            room => Activity::WaitsForRoom(room - 2),
        }
    }
}

/// The times for which the source is asked for a sample before it gives one.
#[derive(Default)]
pub(crate) struct SourceWaits(Mutex<Waits>);

#[derive(Default)]
struct Waits {
    since: Option<Instant>,
    longest: Duration,
}

impl SourceWaits {
    /// Notes that the source is asked for a sample.
    pub(crate) fn begin(&self, now: Instant) {
        self.0.lock().since.get_or_insert(now);
    }

    /// Notes that it is asked for none any longer.
    pub(crate) fn end(&self, now: Instant) {
        let mut waits = self.0.lock();
        if let Some(since) = waits.since.take() {
            waits.longest = waits.longest.max(now.saturating_duration_since(since));
        }
    }

    /// The present wait, and the longest.
    pub(crate) fn read(&self, now: Instant) -> (Option<Duration>, Duration) {
        let waits = self.0.lock();
        let present = waits.since.map(|since| now.saturating_duration_since(since));
        (present, waits.longest.max(present.unwrap_or_default()))
    }
}

/// Watches for calls that take longer than their stage's time limit, on one thread that is there once there was a call.
/// It wakes when a call could be overdue, and never while there is none.
pub(crate) struct Timekeeper {
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

impl Timekeeper {
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        let state = State { calls: vec![None; workers], is_watched: false, looks_at: None, over: false };
        Arc::new(Timekeeper { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Notes that a worker is in a call that is overdue then. `tell` gets the worker and the sample of each that is.
    pub(crate) fn begin<F>(self: &Arc<Self>, worker: usize, sample: SampleId, due: Instant, tell: impl FnOnce() -> F)
    where
        F: Fn(usize, SampleId) + Send + 'static,
    {
        let mut state = self.state.lock();
        state.calls[worker] = Some(Running { sample, due, told: false });
        let starts = !std::mem::replace(&mut state.is_watched, true);
        let wake = state.looks_at.is_none_or(|looks| due < looks);
        drop(state);
        if starts {
            let (keeper, tell) = (Arc::clone(self), tell());
            let thread = std::thread::Builder::new().name("time limits".to_owned());
            if let Err(error) = thread.spawn(move || keeper.watch(tell)) {
                aside::log(move || tracing::warn!("no thread to watch over time limits: {error}"));
            }
        } else if wake {
            self.changed.notify_one();
        }
    }

    /// Notes that a worker is in no call.
    pub(crate) fn end(&self, worker: usize) {
        self.state.lock().calls[worker] = None;
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.state.lock().over = true;
        self.changed.notify_all();
    }

    fn watch(&self, tell: impl Fn(usize, SampleId)) {
        let mut state = self.state.lock();
        while !state.over {
            let now = Instant::now();
            if let Some((worker, sample)) = overdue(&mut state, now) {
                MutexGuard::unlocked(&mut state, || tell(worker, sample));
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
