//! The hand-over of the last stage's values to a caller that asks for them: one at a time, which the stage has in flight
//! until it was taken. Unlike a channel's, a value from before a flush is taken back.

use crate::job::cancelled;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
#[cfg(feature = "futures")]
use std::task::{Context, Poll, Waker};
use std::time::Instant;

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    value: Option<T>,
    /// True if no more values come.
    over: bool,
    /// True if no caller asks any more.
    unwanted: bool,
    /// The task that asks, where one does instead of a thread.
    #[cfg(feature = "futures")]
    waker: Option<Waker>,
}

/// The stage's side.
pub(crate) struct Giver<T>(Arc<Shared<T>>);

/// The outcome of asking for the next value.
pub(crate) enum Taken<T> {
    Value(T),
    /// No more values come.
    Over,
    TimedOut,
}

/// The caller's side.
pub(crate) struct Taker<T>(Arc<Shared<T>>);

pub(crate) fn hand_over<T>() -> (Giver<T>, Taker<T>) {
    let state = State {
        value: None,
        over: false,
        unwanted: false,
        #[cfg(feature = "futures")]
        waker: None,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    (Giver(Arc::clone(&shared)), Taker(shared))
}

impl<T> Giver<T> {
    /// Hands over a value, and waits until it was taken, or is not wanted any more.
    pub(crate) fn give(&self, value: T) {
        let Shared { state: shared, changed } = &*self.0;
        let mut state = shared.lock();
        state.value = Some(value);
        changed.notify_all();
        wake_task(&mut state);
        while state.value.is_some() && !state.unwanted && !cancelled() {
            changed.wait(&mut state);
        }
        let not_taken = state.value.take();
        // It is the user's, and freed outside of the lock.
        drop(state);
        drop(not_taken);
    }
}

/// Wakes the task that asks, outside of the lock: a waker is foreign code.
#[cfg_attr(not(feature = "futures"), expect(unused_variables, clippy::needless_pass_by_ref_mut))]
fn wake_task<T>(state: &mut MutexGuard<'_, State<T>>) {
    #[cfg(feature = "futures")]
    if let Some(waker) = state.waker.take() {
        MutexGuard::unlocked(state, || waker.wake());
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.over = true;
        self.0.changed.notify_all();
        wake_task(&mut state);
    }
}

impl<T> Taker<T> {
    /// Waits for the next value; `None` after the last.
    pub(crate) fn take(&self) -> Option<T> {
        match self.take_until(None) {
            Taken::Value(value) => Some(value),
            Taken::Over | Taken::TimedOut => None,
        }
    }

    /// Returns the next value, and none after the last; where it has not come, the task is woken once it has.
    #[cfg(feature = "futures")]
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let waker = context.waker().clone();
        let mut state = self.0.state.lock();
        if let Some(value) = state.value.take() {
            self.0.changed.notify_all();
            return Poll::Ready(Some(value));
        }
        if state.over {
            return Poll::Ready(None);
        }
        let before = state.waker.replace(waker);
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Waits for the next value, no longer than until then, if there is a time.
    pub(crate) fn take_until(&self, deadline: Option<Instant>) -> Taken<T> {
        let mut state = self.0.state.lock();
        loop {
            if let Some(value) = state.value.take() {
                self.0.changed.notify_all();
                return Taken::Value(value);
            }
            if state.over {
                return Taken::Over;
            }
            match deadline {
                None => self.0.changed.wait(&mut state),
                Some(deadline) if Instant::now() >= deadline => return Taken::TimedOut,
                Some(deadline) => {
                    self.0.changed.wait_until(&mut state, deadline);
                }
            }
        }
    }
}

impl<T: Send + 'static> Taker<T> {
    /// Returns what makes the stage look whether the value that it waits with was flushed.
    pub(crate) fn look(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::clone(&self.0);
        move || {
            // Taking the lock rules out a lost wake-up: the stage is not between looking and waiting.
            drop(shared.state.lock());
            shared.changed.notify_all();
        }
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        self.0.state.lock().unwanted = true;
        self.0.changed.notify_all();
    }
}
