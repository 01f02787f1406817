//! Tasks that wait for room in a buffer that processes share: a futex wakes threads only, so one thread sleeps for all of
//! them. It is there while tasks wait, and a moment longer.

use super::LOOK_AGAIN;
use super::map::Map;
use super::table::SlotTable;
use super::words::{Futex, SharedWords};
use crate::buffer::Wait;
use crate::line::{Line, Spot};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::Instant;

/// The tasks that wait for room in one buffer.
#[derive(Default)]
pub(super) struct Tasks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    line: Line,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What the futex for room showed when a task last found none, until the thread sleeps on it.
    shows: Option<u32>,
    /// True while the thread is there.
    is_watched: bool,
}

impl Tasks {
    pub(super) fn stand(&self, table: &Arc<SlotTable<Map>>, spot: &mut Spot, waker: &Waker) {
        self.0.line.stand(spot, waker);
        // Before the task looks once more: if there is room later than that, the futex shows something else.
        let shows = table.words().futex(Futex::NotFull);
        let mut state = self.0.state.lock();
        state.shows.get_or_insert(shows);
        self.0.changed.notify_one();
        if !state.is_watched {
            let (shared, table) = (Arc::clone(&self.0), Arc::clone(table));
            let thread = thread::Builder::new().name("room".to_owned());
            // Where the system has no thread to give, the next task that stands here asks again.
            state.is_watched = thread.spawn(move || shared.watch(&table)).is_ok();
        }
    }

    /// Wakes another in any case: a ring of the futex wakes one, and there may be room for more.
    pub(super) fn leave(&self, spot: &mut Spot) {
        if spot.is_taken() {
            self.0.line.leave(spot);
            self.0.line.wake_first();
        }
    }
}

impl Shared {
    fn watch(&self, table: &SlotTable<Map>) {
        let mut state = self.state.lock();
        loop {
            match state.shows.take() {
                Some(shows) => {
                    drop(state);
                    table.words().sleep(Futex::NotFull, shows, Wait::Until(Instant::now() + LOOK_AGAIN));
                    self.line.wake_first();
                    state = self.state.lock();
                }
                // The one that was woken looks, and will be here again or wake the next, unless its program has stopped.
                None if self.changed.wait_for(&mut state, LOOK_AGAIN).timed_out() && state.shows.is_none() => {
                    drop(state);
                    let woke = self.line.wake_first();
                    state = self.state.lock();
                    if !woke && state.shows.is_none() {
                        state.is_watched = false;
                        return;
                    }
                }
                None => {}
            }
        }
    }
}
