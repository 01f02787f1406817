//! The fates of samples that did not come through, as events: each is told once, on a thread of its own.
//!
//! [`on_fate`](crate::builder::Builder::on_fate) is how a program hears of them.

use crate::buffer::{How, Wait};
use crate::error::StageFailure;
use crate::sample::SampleId;
use parking_lot::{Condvar, Mutex};
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

/// The fate of a sample that did not come through. Its word is the counter of the report that has counted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Fate {
    /// It was the oldest in a buffer that was full (`drop_oldest`).
    DroppedOldest,
    /// It arrived when the buffer was full (`drop_newest`).
    DroppedNewest,
    /// The intake `latest` took a newer one.
    Superseded,
    /// It was older than `max_age` when it was to be taken.
    Expired,
    /// It was given up because the pipeline stopped.
    Discarded,
    /// It had entered the pipeline before a flush.
    Flushed,
    /// A list used it whose result went on under its newest sample's number.
    Absorbed,
    /// A window keeps it for a later list, whose result goes on under another sample's number. The report counts it once
    /// that is known: as absorbed, skipped, failed, lost or flushed.
    Windowed,
    /// The stage ended it with SKIP.
    Skipped,
    /// The stage failed on it.
    Failed,
    /// A worker process had it in flight when it died, or it kept others waiting for too long.
    Lost,
}

impl Fate {
    /// Returns its word, as the report's counter has it.
    pub fn word(self) -> &'static str {
        match self {
            Fate::DroppedOldest => "dropped_oldest",
            Fate::DroppedNewest => "dropped_newest",
            Fate::Superseded => "superseded",
            Fate::Expired => "expired",
            Fate::Discarded => "discarded",
            Fate::Flushed => "flushed",
            Fate::Absorbed => "absorbed",
            Fate::Windowed => "windowed",
            Fate::Skipped => "skipped",
            Fate::Failed => "failed",
            Fate::Lost => "lost",
        }
    }

    /// The fate of a sample that ended like that; none for one that was used.
    pub(crate) fn of(how: How) -> Option<Self> {
        Some(match how {
            How::DroppedOldest => Fate::DroppedOldest,
            How::DroppedNewest => Fate::DroppedNewest,
            How::Superseded => Fate::Superseded,
            How::Expired => Fate::Expired,
            How::Discarded => Fate::Discarded,
            How::Flushed => Fate::Flushed,
            How::Absorbed => Fate::Absorbed,
            How::Windowed => Fate::Windowed,
            How::Skipped => Fate::Skipped,
            How::Failed => Fate::Failed,
            How::Lost => Fate::Lost,
            How::Used => return None,
        })
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One sample that did not come through.
#[derive(Debug)]
#[non_exhaustive]
pub struct FateEvent<V = Box<dyn Any + Send>> {
    /// The identity of the sample.
    pub sample: SampleId,
    /// The name of the source or entrance that it came from, if that has one.
    pub source: Option<&'static str>,
    /// The stage in front of which, or in which, it ended. A buffer between a branch and its join, as there is where the
    /// branch ends in several workers, is named `join of branch 1`: the report counts what ends there as unjoined.
    pub stage: String,
    /// The way in which it ended.
    pub fate: Fate,
    /// The error of the stage that failed on it.
    pub error: Option<StageFailure>,
    /// The value, where it is still there: that of a sample which waited between threads.
    pub value: Option<V>,
}

impl FateEvent {
    /// Takes the value out, where it is still there and of that type.
    pub fn take_value<T: 'static>(&mut self) -> Option<T> {
        let value = self.value.take_if(|value| value.is::<T>())?;
        value.downcast().ok().map(|value| *value)
    }
}

/// The events that may wait for the program; those that come when so many wait are missed.
const WAITING: usize = 1024;

/// The events on their way to the program.
pub(crate) struct Fates<V> {
    state: Mutex<State<V>>,
    changed: Condvar,
}

struct State<V> {
    /// True if the program asks for them, or is about to.
    are_wanted: bool,
    /// True if it asks only for what failed or was lost.
    only_failures: bool,
    waiting: VecDeque<FateEvent<V>>,
    missed: u64,
    /// True once no more will come.
    over: bool,
}

impl<V> Default for Fates<V> {
    fn default() -> Self {
        let state = State { are_wanted: false, only_failures: false, waiting: VecDeque::new(), missed: 0, over: false };
        Fates { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<V> Fates<V> {
    /// Lets the end of the pipeline wait until the program has had all events: until `next` has given `None`.
    pub(crate) fn want(&self, only_failures: bool) {
        let mut state = self.state.lock();
        (state.are_wanted, state.only_failures) = (true, only_failures);
    }

    /// Lets only those of failures be told, if so.
    pub(crate) fn hear_only_failures(&self, only_failures: bool) {
        self.state.lock().only_failures = only_failures;
    }

    /// Tells one; hands it back, to be released by the caller, where too many wait or the program does not ask for it.
    pub(crate) fn tell(&self, event: FateEvent<V>) -> Option<FateEvent<V>> {
        let mut state = self.state.lock();
        if state.only_failures && !matches!(event.fate, Fate::Failed | Fate::Lost) {
            return Some(event);
        }
        if state.over || state.waiting.len() >= WAITING {
            state.missed += 1;
            return Some(event);
        }
        state.waiting.push_back(event);
        drop(state);
        self.changed.notify_all();
        None
    }

    /// Counts events that nobody could tell.
    #[cfg(processes)]
    pub(crate) fn miss(&self, events: u64) {
        self.state.lock().missed += events;
    }

    /// Returns the number of events that the program has missed.
    pub(crate) fn missed(&self) -> u64 {
        self.state.lock().missed
    }

    /// Ends the events: no more will come.
    pub(crate) fn end(&self) {
        self.state.lock().over = true;
        self.changed.notify_all();
    }

    /// Waits for the next event; `None` after the last.
    pub(crate) fn next(&self) -> Option<FateEvent<V>> {
        let mut state = self.state.lock();
        loop {
            match state.waiting.pop_front() {
                None if !state.over => self.changed.wait(&mut state),
                None => {
                    state.are_wanted = false;
                    drop(state);
                    self.changed.notify_all();
                    return None;
                }
                next => return next,
            }
        }
    }

    /// Returns the next event, if one waits.
    pub(crate) fn try_next(&self) -> Option<FateEvent<V>> {
        self.state.lock().waiting.pop_front()
    }

    /// Returns true if the program has not had all of them.
    pub(crate) fn are_wanted(&self) -> bool {
        self.state.lock().are_wanted
    }

    /// Waits until the program has had all of them; false when the caller would not wait any longer.
    pub(crate) fn wait(&self, wait: Wait) -> bool {
        let mut state = self.state.lock();
        while state.are_wanted {
            match wait {
                Wait::Forever => self.changed.wait(&mut state),
                Wait::Until(deadline) if Instant::now() < deadline => {
                    self.changed.wait_until(&mut state, deadline);
                }
                Wait::No | Wait::Until(_) => return false,
            }
        }
        true
    }
}
