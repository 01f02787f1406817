//! What a stop discards: it is the user's, and its `Drop` may wait, which whoever stops a pipeline must not.

use super::Supervisor;
use crate::aside;
use crate::buffer::Wait;
use crate::clock::Clock;
use crate::executor::free;
use crate::sample::{enter_job, leave_job};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::mpsc::channel;

/// Discarded values that are being freed.
#[derive(Default)]
pub(super) struct Discarded {
    /// In front of which stages they waited, once for each time that something was discarded there.
    stages: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Discarded {
    fn add(&self, stages: impl IntoIterator<Item = String>) {
        self.stages.lock().extend(stages);
    }

    fn is_freed(&self, stage: &str) {
        let mut stages = self.stages.lock();
        if let Some(place) = stages.iter().position(|other| other == stage) {
            stages.remove(place);
        }
        drop(stages);
        self.changed.notify_all();
    }

    /// Waits until all is freed; false when the caller would not wait any longer.
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

    /// What is still being freed, in words.
    pub(super) fn left(&self) -> Vec<String> {
        let mut stages = self.stages.lock().clone();
        stages.dedup();
        stages.into_iter().map(|stage| format!("Drop of what was discarded in front of {stage}")).collect()
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// From now on discarded values are freed on a thread of their own, for which a stop waits as it does for a worker.
    pub(crate) fn free_aside(&self) {
        let _ = self.frees_aside.set(());
    }

    /// Frees what was discarded in front of stages.
    pub(super) fn free_discarded<T: Send + 'static>(&self, mut discarded: Vec<(String, Vec<T>)>) {
        discarded.retain(|(_, values)| !values.is_empty());
        if discarded.is_empty() {
            return;
        }
        if self.frees_aside.get().is_none() || matches!(self.clock, Clock::Virtual(_)) {
            discarded.into_iter().flat_map(|(_, values)| values).for_each(free);
            return;
        }
        let left = Arc::clone(&self.discarded);
        left.add(discarded.iter().map(|(stage, _)| stage.clone()));
        // A thread that is refused drops what it was to run, so the values come to it only once it is there.
        let (hand_over, handed_over) = channel::<Vec<(String, Vec<T>)>>();
        let pipeline = self.id;
        let free_all = move |discarded: Vec<(String, Vec<T>)>| {
            for (stage, values) in discarded {
                values.into_iter().for_each(free);
                left.is_freed(&stage);
            }
        };
        let free_there = free_all.clone();
        let thread = std::thread::Builder::new().name("discarded".to_owned()).spawn(move || {
            // Whoever is freed must not wait for the pipeline, which waits for him.
            enter_job(pipeline, false, None);
            handed_over.into_iter().for_each(free_there);
            leave_job();
        });
        match thread {
            // It fails only where the thread is gone.
            Ok(_) => drop(hand_over.send(discarded)),
            Err(error) => {
                aside::log(move || tracing::error!("no thread to free what was discarded: {error}"));
                free_all(discarded);
            }
        }
    }
}
