//! The handle of a running pipeline.

use crate::buffer::Wait;
use crate::builder::Builder;
use crate::error::{PutError, StageError, StartError};
use crate::executor::{BodyFactory, thread};
use crate::report::Report;
use crate::supervisor::{Startup, Supervisor};
use crate::typed::{Value, unbox};
use crate::worker::Worker;
use parking_lot::Mutex;
use std::marker::PhantomData;
use std::sync::Arc;
#[cfg(feature = "ctrlc")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a `setstop` without a time-out says what it waits for.
const WAITING_NOTE_EVERY: Duration = Duration::from_secs(5);

/// How long workers get, after a time-out or an abort, to end and to run their `teardown`.
pub const GRACE: Duration = Duration::from_millis(500);

/// Stands for the samples of a pipeline with a source: no such value exists, so nobody can `put` one.
pub enum Sourced {}

/// A running pipeline. `I` is what [`put`](Pipeline::put) takes.
///
/// It may be shared between threads by reference. Dropping it without `setstop` or `join` aborts the pipeline and does
/// not wait.
pub struct Pipeline<I> {
    supervisor: Arc<Supervisor<Value>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    types: PhantomData<fn(I)>,
}

impl<I: Send + 'static> Pipeline<I> {
    /// Begins to describe a pipeline.
    pub fn builder() -> Builder<I, I> {
        Builder::new()
    }

    /// Puts one sample into the first buffer. True when it was accepted, false when it was dropped on arrival
    /// (`drop_newest`); under `block` it waits for room. Safe from many threads; samples are numbered in the order of
    /// their acceptance.
    ///
    /// # Errors
    /// See [`PutError`]; the sample is handed back in each of them.
    pub fn put(&self, x: I) -> Result<bool, PutError<I>> {
        self.put_waiting(x, Wait::Forever)
    }

    /// Like [`put`](Pipeline::put), but waits for room no longer than that.
    ///
    /// # Errors
    /// As `put`, and [`PutError::Timeout`].
    pub fn put_timeout(&self, x: I, timeout: Duration) -> Result<bool, PutError<I>> {
        self.put_waiting(x, within(timeout))
    }

    fn put_waiting(&self, x: I, wait: Wait) -> Result<bool, PutError<I>> {
        match self.supervisor.put(Box::new(x), wait) {
            Ok(put) => Ok(put.accepted),
            Err(error) => Err(error.map(unbox)),
        }
    }
}

impl<I> Pipeline<I> {
    pub(crate) fn spawn<T>(builder: Builder<I, T>) -> Result<Self, StartError> {
        let Builder { graph, bodies, source, closer, .. } = builder;
        let (supervisor, workers) = Supervisor::new(graph)?;
        supervisor.set_closer(closer);
        let pipeline = Pipeline { supervisor, threads: Mutex::default(), types: PhantomData };
        let factories = bodies.into_iter().chain(source);
        let mut seats: Vec<(Worker<Value>, BodyFactory<Value>)> = workers.into_iter().zip(factories).collect();
        // From the end stage backwards, the source last.
        seats.sort_by_key(|(worker, _)| std::cmp::Reverse(worker.seat()));
        let mut seats = seats.into_iter();
        while let Some((worker, factory)) = seats.next() {
            let stage = worker.name().to_owned();
            match thread::spawn(worker, factory) {
                Ok(thread) => pipeline.threads.lock().push(thread),
                Err(cause) => {
                    // The workers that got no thread end here, so that `abort` waits only for those that did.
                    drop(seats);
                    pipeline.abort();
                    return Err(StartError::Thread { stage, cause });
                }
            }
        }
        Ok(pipeline)
    }

    pub(crate) fn wait_up(&self, timeout: Option<Duration>) -> Result<(), StartError> {
        match self.supervisor.wait_up(timeout.map_or(Wait::Forever, within)) {
            Startup::Up => Ok(()),
            Startup::Failed => {
                self.join_threads();
                self.outcome().map(drop).map_err(StartError::Stage)
            }
            Startup::TimedOut => {
                let stages = self.supervisor.not_up();
                self.abort();
                Err(StartError::Timeout { stages, timeout: timeout.unwrap_or_default() })
            }
        }
    }

    /// Closes the entrance, lets everything inside flow out in order, and returns the report. It may be called again.
    ///
    /// It waits as long as the stages' own code takes; every 5 s the log names the stages waited for. Called by one of
    /// the pipeline's own stages it only requests the stop.
    ///
    /// # Errors
    /// The failure that stopped the pipeline, if one did.
    pub fn setstop(&self) -> Result<Report, StageError> {
        self.supervisor.close();
        self.drained(None)
    }

    /// Like [`setstop`](Pipeline::setstop), but what is still inside after that time is discarded, as by
    /// [`abort`](Pipeline::abort).
    ///
    /// # Errors
    /// As `setstop`.
    pub fn setstop_timeout(&self, timeout: Duration) -> Result<Report, StageError> {
        self.supervisor.close();
        self.drained(Some(timeout))
    }

    /// Waits for the source to end and for everything to flow out, and returns the report. Without a source it does
    /// the same as [`setstop`](Pipeline::setstop).
    ///
    /// # Errors
    /// As `setstop`.
    pub fn join(&self) -> Result<Report, StageError> {
        if !self.supervisor.has_source() {
            self.supervisor.close();
        }
        self.drained(None)
    }

    /// Discards what is inside, gives the workers [`GRACE`] to end and to run their `teardown`, and returns the report.
    /// A worker still in the user's code then is named in the report and left behind. Called by one of the pipeline's
    /// own stages it only requests the abort.
    pub fn abort(&self) -> Report {
        self.supervisor.abort();
        if self.supervisor.called_by_own_worker() {
            return self.report();
        }
        self.supervisor.wait_ended(within(GRACE));
        self.final_report()
    }

    /// What happened to every sample up to now.
    pub fn report(&self) -> Report {
        self.supervisor.report()
    }

    /// From now on the first Ctrl-C lets the pipeline drain, and a second one aborts it. It takes over the process's
    /// handler for SIGINT, so it can be asked for only once. When the pipeline and what this returned are gone, Ctrl-C
    /// ends the program, with exit code 130.
    ///
    /// # Errors
    /// When another handler was set before, or the system refuses.
    #[cfg(feature = "ctrlc")]
    pub fn on_ctrl_c(&self) -> Result<CtrlC, ctrlc::Error> {
        let supervisor = Arc::downgrade(&self.supervisor);
        let ctrl_c = CtrlC::default();
        let pressed = Arc::clone(&ctrl_c.pressed);
        ctrlc::try_set_handler(move || {
            let again = pressed.swap(true, Ordering::Relaxed);
            match supervisor.upgrade() {
                Some(supervisor) if again => supervisor.abort(),
                Some(supervisor) => supervisor.close(),
                // The pipeline is gone, and so is whoever could ask: Ctrl-C ends the program again, as it did before.
                None if again || Arc::strong_count(&pressed) == 1 => std::process::exit(INTERRUPTED),
                None => {}
            }
        })?;
        Ok(ctrl_c)
    }

    fn drained(&self, timeout: Option<Duration>) -> Result<Report, StageError> {
        if self.supervisor.called_by_own_worker() {
            return Ok(self.report());
        }
        match timeout {
            None => {
                while !self.supervisor.wait_ended(within(WAITING_NOTE_EVERY)) {
                    tracing::info!("waiting for {}", self.supervisor.not_ended().join(", "));
                }
            }
            Some(timeout) => {
                if !self.supervisor.wait_ended(within(timeout)) {
                    tracing::warn!("not drained after {timeout:?}, aborting");
                    self.abort();
                }
            }
        }
        self.outcome()
    }

    fn outcome(&self) -> Result<Report, StageError> {
        let report = self.final_report();
        match self.supervisor.failure() {
            Some(failure) => Err(failure.with_report(report)),
            None => Ok(report),
        }
    }

    fn final_report(&self) -> Report {
        if self.supervisor.wait_ended(Wait::No) {
            self.join_threads();
        }
        Report { left_behind: self.supervisor.not_ended(), ..self.report() }
    }

    /// Waits for threads that have nothing more to do but to free their stage, whose `Drop` may be what calls here.
    fn join_threads(&self) {
        let own = std::thread::current().id();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != own) {
            // A worker's panic was caught where it happened; there is nothing more to learn here.
            let _ = thread.join();
        }
    }
}

impl<I> Drop for Pipeline<I> {
    fn drop(&mut self) {
        if !self.supervisor.wait_ended(Wait::No) {
            self.supervisor.abort();
        }
    }
}

/// The exit code of a program that Ctrl-C ended, as shells give it.
#[cfg(feature = "ctrlc")]
const INTERRUPTED: i32 = 130;

/// Tells whether Ctrl-C was pressed.
#[cfg(feature = "ctrlc")]
#[derive(Debug, Clone, Default)]
pub struct CtrlC {
    /// A flag and nothing else is published, so no order is needed.
    pressed: Arc<AtomicBool>,
}

#[cfg(feature = "ctrlc")]
impl CtrlC {
    /// Whether it was pressed at least once.
    pub fn pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }
}

fn within(timeout: Duration) -> Wait {
    // A time-out beyond what the clock can tell is none.
    Instant::now().checked_add(timeout).map_or(Wait::Forever, Wait::Until)
}
