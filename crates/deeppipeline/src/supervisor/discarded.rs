//! The values that a stop discards: they are the user's, and their `Drop` may wait, which the caller that stops a
//! pipeline must not.

use super::Supervisor;
use super::fates::ON_FATE;
use crate::aside;
use crate::buffer::Wait;
use crate::clock::Clock;
use crate::job::{enter_job, leave_job};
use crate::unwind::release;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::channel;

/// The one that releases what was discarded, where the caller that discards it does not.
pub(super) enum Releaser {
    /// A thread of its own for each time that something is discarded.
    Thread,
    /// A binding, which calls the user's code that runs then by this name.
    Binding(&'static str),
}

impl Releaser {
    fn user_code(&self) -> &'static str {
        match self {
            Releaser::Thread => "Drop",
            Releaser::Binding(name) => name,
        }
    }
}

/// Values that were discarded in front of a stage. Their pipeline waits until this is dropped, which releases what is left
/// of them.
pub struct Discarded<V> {
    stage: String,
    values: Vec<V>,
    unreleased: Arc<Unreleased>,
}

impl<V> fmt::Debug for Discarded<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discarded").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl<V> Discarded<V> {
    /// Hands out the values, for a caller that releases them.
    pub fn take(&mut self) -> Vec<V> {
        std::mem::take(&mut self.values)
    }
}

impl<V> Drop for Discarded<V> {
    fn drop(&mut self) {
        self.take().into_iter().for_each(release);
        self.unreleased.is_released(&self.stage);
    }
}

/// Discarded values that are being released.
#[derive(Default)]
pub(super) struct Unreleased {
    /// The stages in front of which they waited, once for each time that something was discarded there.
    stages: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Unreleased {
    fn is_released(&self, stage: &str) {
        let mut stages = self.stages.lock();
        if let Some(place) = stages.iter().position(|other| other == stage) {
            stages.remove(place);
        }
        drop(stages);
        self.changed.notify_all();
    }

    /// Waits until all is released; false when the caller would not wait any longer.
    pub(super) fn wait(&self, wait: Wait) -> bool {
        let mut stages = self.stages.lock();
        while !stages.is_empty() {
            let has_waited = match wait {
                Wait::No => false,
                Wait::Forever => {
                    self.changed.wait(&mut stages);
                    true
                }
                Wait::Until(deadline) => !self.changed.wait_until(&mut stages, deadline).timed_out(),
            };
            if !has_waited {
                return stages.is_empty();
            }
        }
        true
    }
}

/// Discarded values on their way to a binding that releases them.
pub(super) struct ForBinding<V> {
    state: Mutex<State<V>>,
    changed: Condvar,
}

struct State<V> {
    waiting: VecDeque<Discarded<V>>,
    over: bool,
}

impl<V> Default for ForBinding<V> {
    fn default() -> Self {
        ForBinding { state: Mutex::new(State { waiting: VecDeque::new(), over: false }), changed: Condvar::new() }
    }
}

impl<V> ForBinding<V> {
    /// Puts them there to be released; they come back once no binding asks for them any longer.
    fn put(&self, discarded: Vec<Discarded<V>>) -> Vec<Discarded<V>> {
        let mut state = self.state.lock();
        if state.over {
            return discarded;
        }
        state.waiting.extend(discarded);
        drop(state);
        self.changed.notify_one();
        Vec::new()
    }

    fn next(&self) -> Option<Discarded<V>> {
        let mut state = self.state.lock();
        loop {
            match state.waiting.pop_front() {
                None if !state.over => self.changed.wait(&mut state),
                next => return next,
            }
        }
    }

    /// Ends the discarding: nothing more will be discarded.
    pub(super) fn end(&self) {
        self.state.lock().over = true;
        self.changed.notify_all();
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// Makes discarded values from now on be released on a thread of their own, for which a stop waits as it does for a
    /// worker.
    pub(crate) fn release_aside(&self) {
        let _ = self.releaser.set(Releaser::Thread);
    }

    /// Makes discarded values from now on wait for [`next_discarded`](Supervisor::next_discarded), and a stop waits for
    /// them as it does for a worker. Reports call the user's code that runs when one is freed by this name.
    pub fn keep_discarded(&self, user_code: &'static str) {
        let _ = self.releaser.set(Releaser::Binding(user_code));
    }

    /// Waits for values that a stop has discarded; `None` once everything has ended. As long as the calling thread
    /// asks, it counts as one of the pipeline's workers: code that runs when a value is released must not wait for the
    /// pipeline, which waits for it.
    pub fn next_discarded(&self) -> Option<Discarded<V>> {
        enter_job(self.id, None);
        let next = self.for_binding.next();
        if next.is_none() {
            leave_job();
        }
        next
    }

    /// Returns what is still being released or told, in words.
    pub(super) fn being_released(&self) -> Vec<String> {
        let mut stages = self.unreleased.stages.lock().clone();
        stages.dedup();
        let code = self.releaser.get().map_or("Drop", Releaser::user_code);
        let discarded = stages.into_iter().map(|stage| format!("{code} of what was discarded in front of {stage}"));
        discarded.chain(self.fates.are_wanted().then(|| ON_FATE.to_owned())).collect()
    }

    /// Releases what was discarded in front of stages.
    pub(super) fn release_discarded(&self, mut discarded: Vec<(String, Vec<V>)>) {
        discarded.retain(|(_, values)| !values.is_empty());
        if discarded.is_empty() {
            return;
        }
        let releaser = self.releaser.get().filter(|_| !matches!(self.clock, Clock::Virtual(_)));
        let Some(releaser) = releaser else {
            discarded.into_iter().flat_map(|(_, values)| values).for_each(release);
            return;
        };
        self.unreleased.stages.lock().extend(discarded.iter().map(|(stage, _)| stage.clone()));
        let discarded = discarded.into_iter().map(|(stage, values)| {
            let unreleased = Arc::clone(&self.unreleased);
            Discarded { stage, values, unreleased }
        });
        let discarded: Vec<_> = discarded.collect();
        match releaser {
            Releaser::Binding(_) => drop(self.for_binding.put(discarded)),
            Releaser::Thread => self.release_on_a_thread(discarded),
        }
    }

    fn release_on_a_thread(&self, discarded: Vec<Discarded<V>>) {
        // A thread that is refused drops what it was to run, so the values come to it only once it is there.
        let (hand_over, handed_over) = channel::<Vec<Discarded<V>>>();
        let pipeline = self.id;
        let thread = std::thread::Builder::new().name("discarded".to_owned()).spawn(move || {
            // Code that runs when a value is released must not wait for the pipeline, which waits for it.
            enter_job(pipeline, None);
            handed_over.into_iter().for_each(drop);
            leave_job();
        });
        match thread {
            // It fails only where the thread is gone.
            Ok(_) => drop(hand_over.send(discarded)),
            Err(error) => {
                aside::log(move || tracing::error!("no thread to free what was discarded: {error}"));
                drop(discarded);
            }
        }
    }
}
