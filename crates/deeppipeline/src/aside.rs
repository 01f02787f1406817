//! The log and output of the engine, on a thread of its own: the reader of stderr may have stopped, a subscriber may
//! wait for what it likes, and supervision must not wait for either.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};
use tracing::Dispatch;

/// The number of waiting bytes at which workers wait for room, unless nothing is taken at all.
#[cfg(processes)]
const ROOM: usize = 256 << 10;
/// The number of waiting bytes at which what comes is left out, and counted.
const MOST: usize = 4 << 20;
/// The time that the end of a pipeline, or a worker, waits for what is being said, as long as nothing gets said.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time that it waits at most altogether.
const LONGEST: Duration = Duration::from_secs(5);

static ASIDE: Aside = Aside::new();

/// Logs aside. What a log macro is to say must be its own: it says it later.
pub(crate) fn log(say: impl FnOnce() + Send + 'static) {
    // The common program has no subscriber.
    if tracing::dispatcher::has_been_set() {
        let subscriber = tracing::dispatcher::get_default(Dispatch::clone);
        ASIDE.push(256, Box::new(move || tracing::dispatcher::with_default(&subscriber, say)));
    }
}

/// Does something aside that concerns that many bytes.
#[cfg(processes)]
pub(crate) fn say(bytes: usize, say: impl FnOnce() + Send + 'static) {
    ASIDE.push(bytes, Box::new(say));
}

/// Returns true if there is room for more of what could also come later.
#[cfg(processes)]
pub(crate) fn has_room() -> bool {
    let state = ASIDE.state.lock();
    state.bytes < ROOM || state.last_said.is_some_and(|last| last.elapsed() > PATIENCE)
}

/// Returns what an error of the user's says, for a log: its own code runs, if the log will be read.
pub(crate) fn shown(error: &dyn std::fmt::Display) -> String {
    if !tracing::dispatcher::has_been_set() {
        return String::new();
    }
    text_of(error)
}

/// Returns the text of an error of the user's, which may panic.
pub(crate) fn text_of(error: &dyn std::fmt::Display) -> String {
    let shown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| error.to_string()));
    shown.unwrap_or_else(|_| "an error that panics when it is to be shown".to_owned())
}

/// Waits for what is being said, but not for a reader that has stopped.
pub(crate) fn flush() {
    ASIDE.flush(PATIENCE, LONGEST);
}

type Say = Box<dyn FnOnce() + Send>;

/// A bounded queue, and the thread that empties it.
struct Aside {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<(usize, Say)>,
    /// The number of bytes that are waiting or being said.
    bytes: usize,
    /// The amount that was left out since that was last said.
    left_out: u64,
    /// The number that were taken in, and the number of them that have been said.
    taken: u64,
    said: u64,
    /// The time when something was said last, or came where nothing was waiting.
    last_said: Option<Instant>,
    has_thread: bool,
}

impl Aside {
    const fn new() -> Self {
        let waiting = VecDeque::new();
        let state = State { waiting, bytes: 0, left_out: 0, taken: 0, said: 0, last_said: None, has_thread: false };
        Aside { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn push(&'static self, bytes: usize, say: Say) {
        let mut state = self.state.lock();
        if !state.has_thread {
            let speaker = std::thread::Builder::new().name("aside".to_owned());
            state.has_thread = speaker.spawn(|| self.speak()).is_ok();
        }
        if !state.has_thread || state.bytes + bytes > MOST {
            state.left_out += 1;
            // What it holds is freed without the lock.
            drop(state);
            return;
        }
        if state.said == state.taken {
            state.last_said = Some(Instant::now());
        }
        state.bytes += bytes;
        state.taken += 1;
        state.waiting.push_back((bytes, say));
        self.changed.notify_all();
    }

    fn speak(&self) {
        loop {
            let (bytes, say, left_out) = {
                let mut state = self.state.lock();
                loop {
                    if let Some((bytes, say)) = state.waiting.pop_front() {
                        break (bytes, say, std::mem::take(&mut state.left_out));
                    }
                    self.changed.wait(&mut state);
                }
            };

            // A subscriber that panics has no caller that could make use of it, and must not end what others say.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                say();
                if left_out > 0 {
                    let note = "lines or log records were left out, since nobody took them in time";
                    let _ = writeln!(io::stderr(), "deeppipeline: {left_out} {note}");
                }
            }));

            let mut state = self.state.lock();
            state.bytes -= bytes;
            state.said += 1;
            state.last_said = Some(Instant::now());
            self.changed.notify_all();
        }
    }

    /// Waits until all that has been taken in so far is said, or until nothing has been said for a while.
    fn flush(&self, patience: Duration, longest: Duration) {
        let mut state = self.state.lock();
        let (wanted, end) = (state.taken, Instant::now() + longest);
        while state.said < wanted {
            let (before, until) = (state.said, Instant::now() + patience);
            while state.said == before {
                if self.changed.wait_until(&mut state, until.min(end)).timed_out() && state.said == before {
                    return;
                }
            }
        }
    }
}
