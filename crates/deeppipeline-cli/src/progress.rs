//! The live line: frames, frames a second, people, drops.

use crate::console::note;
use deeppipeline::Report;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The time between two changes of the line on a terminal; elsewhere it is printed anew, more rarely.
const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(2);

/// Counts on any thread, shows on the calling one.
pub(crate) struct Progress {
    bar: ProgressBar,
    counter: Counter,
    on_terminal: bool,
}

/// The counts of what has been seen so far. They are only shown, so no order between the numbers is needed.
#[derive(Clone, Default)]
pub(crate) struct Counter {
    frames: Arc<AtomicU64>,
    people: Arc<AtomicU64>,
}

impl Counter {
    /// One more frame went through, with that many people in it.
    pub(crate) fn count(&self, people: usize) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.people.store(people as u64, Ordering::Relaxed);
    }
}

impl Progress {
    /// A progress display for that many frames, or for an unknown number of them.
    pub(crate) fn new(frames: Option<u64>) -> Self {
        let bar = match frames {
            Some(frames) => ProgressBar::new(frames),
            None => ProgressBar::no_length(),
        };
        let style = ProgressStyle::with_template(if frames.is_some() {
            "{bar:24} {pos}/{len} frames, {msg}"
        } else {
            "{spinner} {pos} frames, {msg}"
        });
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress { bar, counter: Counter::default(), on_terminal: std::io::stderr().is_terminal() }
    }

    /// The counter that the stages count with.
    pub(crate) fn counter(&self) -> Counter {
        self.counter.clone()
    }

    /// Shows the line while `work` runs on a thread of its own.
    pub(crate) fn while_running<T: Send>(&self, work: impl FnOnce() -> T + Send, report: impl Fn() -> Report) -> T {
        let started = Instant::now();
        std::thread::scope(|scope| {
            let (done, wait_for) = mpsc::channel::<()>();
            let worker = scope.spawn(move || {
                // Dropped at the end, however the work ends.
                let _done = done;
                work()
            });
            while wait_for.recv_timeout(self.every()) == Err(mpsc::RecvTimeoutError::Timeout) {
                self.show(started.elapsed(), report().dropped());
            }
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The time between two changes of the line.
    pub(crate) fn every(&self) -> Duration {
        if self.on_terminal { ON_TERMINAL } else { ELSEWHERE }
    }

    /// Shows where things stand.
    pub(crate) fn show(&self, elapsed: Duration, dropped: u64) {
        let frames = self.counter.frames.load(Ordering::Relaxed);
        let people = self.counter.people.load(Ordering::Relaxed);
        let rate = frames as f64 / elapsed.as_secs_f64().max(0.001);
        let message = format!("{rate:.1} frames/s, {people} people, {dropped} dropped");
        self.bar.set_position(frames);
        self.bar.set_message(message.clone());
        if !self.on_terminal {
            note(format_args!("{frames} frames, {message}"));
        }
    }

    /// Takes the line away, and says how many frames there were.
    pub(crate) fn finish(&self) -> u64 {
        self.bar.finish_and_clear();
        self.counter.frames.load(Ordering::Relaxed)
    }
}
