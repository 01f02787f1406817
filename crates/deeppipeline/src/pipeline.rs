//! The handle of a running pipeline.

mod change;
mod reporter;
mod workers;

use crate::answer::Promise;
use crate::aside;
use crate::buffer::Wait;
use crate::builder::{Builder, Ended, Entrance, Plan, source_and_closer, source_node};
use crate::clock::Moment;
use crate::error::{EntranceError, FlushTimeout, PutError, StageError, StartError};
use crate::executor::thread;
use crate::gives::Flows;
use crate::report::{Explanation, Report};
use crate::stage::Source;
use crate::supervisor::{ON_FATE, Startup, Supervisor, Waiting};
use crate::timeline::{Prediction, Setting, Timeline, WhatIfError};
use crate::typed::{Value, unbox};
use crate::worker::WorkerId;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
#[cfg(feature = "ctrlc")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use workers::Jobs;

pub use crate::answer::Answer;
pub use crate::job::{WorkerInfo, current_worker};
pub use crate::putting::{PutAsync, SubmitAsync};
pub use crate::results::{NoResultYet, Results};
#[cfg(signals)]
pub use crate::stop_signals::{StopSignal, StopSignals};
pub use crate::stream::Stream;
pub use crate::supervisor::GRACE;
#[cfg(feature = "futures")]
pub use crate::{in_task::InTask, putting::PutSink};
pub(crate) use reporter::LastSaid;
pub use reporter::Reporter;

/// Stands for the samples of a pipeline with a source: no such value exists, so no caller can `put` one.
#[derive(Debug)]
pub enum Sourced {}

/// The fate of a sample at the entrance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Put {
    /// It is in the first buffer, or was.
    Accepted {
        /// The number by which reports and errors name it.
        number: u64,
    },
    /// The first buffer was full, and the sample was dropped and counted (`drop_newest`).
    Dropped,
}

impl Put {
    pub(crate) fn of_number(number: Option<u64>) -> Self {
        number.map_or(Put::Dropped, |number| Put::Accepted { number })
    }

    /// Returns true if the sample was accepted.
    pub fn is_accepted(self) -> bool {
        matches!(self, Put::Accepted { .. })
    }
}

/// A running pipeline. `I` is what [`put`](Pipeline::put) takes, and `T` what an [`Answer`] has, where it gives any.
///
/// It may be shared between threads by reference. Dropping it without `setstop` or `join` aborts the pipeline and does
/// not wait.
pub struct Pipeline<I, T = Ended> {
    supervisor: Arc<Supervisor<Value>>,
    threads: Mutex<Vec<(WorkerId, JoinHandle<()>)>>,
    jobs: Mutex<Jobs>,
    types: PhantomData<fn(I) -> T>,
}

impl<I, T> fmt::Debug for Pipeline<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("supervisor", &self.supervisor).finish_non_exhaustive()
    }
}

impl<I: Send + 'static> Pipeline<I> {
    /// Begins to describe a pipeline.
    pub fn builder() -> Builder<I, I> {
        Builder::new()
    }
}

impl<I: Send + 'static, T> Pipeline<I, T> {
    /// Puts one sample into the first buffer, and says what became of it; under `block` it waits for room. Safe from
    /// many threads; samples are numbered in the order of their acceptance.
    ///
    /// # Errors
    /// See [`PutError`]; the sample is handed back in each of them.
    pub fn put(&self, x: I) -> Result<Put, PutError<I>> {
        self.put_boxed(Box::new(x), None, Wait::Forever)
    }

    /// Works like [`put`](Pipeline::put), by the entrance of that name, where the pipeline has
    /// [entrances](Builder::entrance).
    ///
    /// # Errors
    /// As `put`, and [`PutError::Entrance`].
    pub fn put_into(&self, entrance: &str, x: I) -> Result<Put, PutError<I>> {
        self.put_boxed(Box::new(x), Some(entrance), Wait::Forever)
    }

    /// Works like [`put_into`](Pipeline::put_into), but waits for room no longer than that.
    ///
    /// # Errors
    /// As `put_into`, and [`PutError::Timeout`].
    pub fn put_into_timeout(&self, entrance: &str, x: I, timeout: Duration) -> Result<Put, PutError<I>> {
        self.put_boxed(Box::new(x), Some(entrance), within(timeout))
    }

    /// Adds a source while the pipeline runs, which [began](Builder::source_at) with named sources or entrances. A name
    /// is free again once the source that had it has ended; its row in the report goes on.
    ///
    /// # Errors
    /// See [`EntranceError`].
    pub fn add_source<S>(&self, entrance: impl Into<Entrance>, source: S) -> Result<(), EntranceError>
    where
        S: Source<Item = I> + Send,
    {
        let node = entrance.into().into_node(Some(source_node(&source)));
        let (factory, closer) = source_and_closer(source);
        let worker = self.supervisor.add_source(node, closer)?;
        // A thread that the system refuses is a failure of that source, as which it is told.
        let worker_id = worker.worker_id();
        if let Ok(thread) = thread::spawn(worker, factory) {
            let mut threads = self.threads.lock();
            threads.retain(|(_, thread)| !thread.is_finished());
            threads.push((worker_id, thread));
        }
        Ok(())
    }

    /// Works like [`put`](Pipeline::put), but waits for room no longer than that.
    ///
    /// # Errors
    /// As `put`, and [`PutError::Timeout`].
    pub fn put_timeout(&self, x: I, timeout: Duration) -> Result<Put, PutError<I>> {
        self.put_boxed(Box::new(x), None, within(timeout))
    }

    fn put_boxed(&self, x: Value, entrance: Option<&str>, wait: Wait) -> Result<Put, PutError<I>> {
        match self.supervisor.put_at(x, entrance, wait) {
            Ok(put) => Ok(Put::of_number(put.number)),
            Err(error) => given_back(error),
        }
    }
}

impl<I: Send + 'static, T: Flows> Pipeline<I, T> {
    /// Puts one sample, as [`put`](Pipeline::put) does, and returns the answer to come: what the last stage gives for it.
    /// It waits also where so many answers are to come that the pipeline has no room for their samples.
    ///
    /// # Errors
    /// As `put`; a sample that was dropped on arrival is no error, but has its fate as its answer.
    pub fn submit(&self, x: I) -> Result<Answer<T>, PutError<I>> {
        self.submit_boxed(Box::new(x), None, Wait::Forever)
    }

    /// Works like [`submit`](Pipeline::submit), by the entrance of that name, where the pipeline has
    /// [entrances](Builder::entrance).
    ///
    /// # Errors
    /// As `submit`, and [`PutError::Entrance`].
    pub fn submit_into(&self, entrance: &str, x: I) -> Result<Answer<T>, PutError<I>> {
        self.submit_boxed(Box::new(x), Some(entrance), Wait::Forever)
    }

    /// Works like [`submit_into`](Pipeline::submit_into), but waits for room no longer than that.
    ///
    /// # Errors
    /// As `submit_into`, and [`PutError::Timeout`].
    pub fn submit_into_timeout(&self, entrance: &str, x: I, timeout: Duration) -> Result<Answer<T>, PutError<I>> {
        self.submit_boxed(Box::new(x), Some(entrance), within(timeout))
    }

    /// Works like [`submit`](Pipeline::submit), but waits for room no longer than that.
    ///
    /// # Errors
    /// As `submit`, and [`PutError::Timeout`].
    pub fn submit_timeout(&self, x: I, timeout: Duration) -> Result<Answer<T>, PutError<I>> {
        self.submit_boxed(Box::new(x), None, within(timeout))
    }

    fn submit_boxed(&self, x: Value, entrance: Option<&str>, wait: Wait) -> Result<Answer<T>, PutError<I>> {
        let promise = Arc::<Promise>::default();
        match self.supervisor.submit(x, entrance, Moment::now(), wait, Arc::clone(&promise) as _) {
            Ok(put) => Ok(Answer::new(promise, put.number)),
            Err(error) => given_back(error),
        }
    }
}

/// The error of a `put`, with the sample as it was given. A function of its own: as long as all goes well, no room for
/// a sample is taken on the stack.
fn given_back<I: 'static, P>(error: PutError<Value>) -> Result<P, PutError<I>> {
    Err(error.map(unbox))
}

impl<I, T> Pipeline<I, T> {
    pub(crate) fn supervisor(&self) -> &Arc<Supervisor<Value>> {
        &self.supervisor
    }

    pub(crate) fn spawn(mut plan: Plan) -> Result<Self, StartError> {
        let (on_fate, only_failures) = (plan.on_fate.take(), plan.only_failures);
        #[cfg(feature = "timeline")]
        let dump_to = plan.dump_to.take();
        let (supervisor, mut jobs, to_come) = Jobs::of(plan)?;
        supervisor.release_aside();
        let (threads, to_come) = (Mutex::default(), Mutex::new(to_come));
        let pipeline = Pipeline { supervisor, threads, jobs: to_come, types: PhantomData };
        if let Some(on_fate) = on_fate
            && let Err(cause) = pipeline.supervisor.tell_fates(on_fate, only_failures)
        {
            drop(jobs);
            pipeline.abort();
            return Err(StartError::Thread { stage: ON_FATE.to_owned(), cause });
        }
        #[cfg(feature = "timeline")]
        if let Some(folder) = dump_to
            && let Err(cause) = pipeline.supervisor.dump_to(folder)
        {
            drop(jobs);
            pipeline.abort();
            return Err(StartError::Thread { stage: "dump_to".to_owned(), cause });
        }
        // From the end stage backwards, the source last.
        jobs.sort_by_key(|job| std::cmp::Reverse(job.worker_id));
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            let stage = job.name.clone();
            if let Err(cause) = pipeline.begin(job) {
                // The workers that got no thread end here, so that `abort` waits only for those that did.
                drop(jobs);
                pipeline.abort();
                return Err(StartError::Thread { stage, cause });
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

    /// Works like [`setstop`](Pipeline::setstop), but what is still inside after that time is discarded, as by
    /// [`abort`](Pipeline::abort).
    ///
    /// # Errors
    /// As `setstop`.
    pub fn setstop_or_abort(&self, abort_after: Duration) -> Result<Report, StageError> {
        self.supervisor.close();
        self.drained(Some(abort_after))
    }

    /// Waits for the source to end and for everything to flow out, and returns the report. Without a source it does
    /// the same as [`setstop`](Pipeline::setstop).
    ///
    /// # Errors
    /// As `setstop`.
    pub fn join(&self) -> Result<Report, StageError> {
        self.supervisor.close_after_sources();
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
        let Ok(()) = self.supervisor.wait_aborted(|_| Ok::<_, Infallible>(()));
        self.final_report()
    }

    /// Drops all that has entered by now, and returns when nothing of it leaves the pipeline any more. What waits is counted
    /// as flushed, windows start empty, and a result that a stage still has in work is dropped as it is given;
    /// [`cancelled`](crate::cancelled) tells that stage. What enters afterwards is untouched.
    ///
    /// It waits as long as the end stages take for the sample that they work on; every 5 s the log names them. Called by one
    /// of the pipeline's own stages it only requests the flush. Once the pipeline has ended it does nothing.
    ///
    /// ```
    /// use deeppipeline::Pipeline;
    ///
    /// let pipeline = Pipeline::builder().end_stage(|sentence: &str| println!("{sentence}")).start()?;
    /// pipeline.put("An answer that nobody wants to hear any more.")?;
    /// pipeline.flush();
    /// pipeline.put("The next answer.")?;
    /// assert!(pipeline.setstop()?.balances());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self) {
        self.flushed(None);
    }

    /// Works like [`flush`](Pipeline::flush), but waits for the end stages no longer than that.
    ///
    /// # Errors
    /// An error if one still works on what had entered before.
    pub fn flush_timeout(&self, timeout: Duration) -> Result<(), FlushTimeout> {
        match self.flushed(Some(timeout)) {
            true => Ok(()),
            false => Err(FlushTimeout { stages: self.supervisor.not_flushed(), timeout }),
        }
    }

    /// Works like [`flush`](Pipeline::flush), but drops only what has entered by the source or entrance of that name:
    /// what others gave is untouched. A list that gives one result goes on if its newest sample does.
    ///
    /// ```
    /// use deeppipeline::Pipeline;
    ///
    /// let pipeline = Pipeline::builder()
    ///     .entrance("ann")
    ///     .entrance("bob")
    ///     .end_stage(|sentence: &str| println!("{sentence}"))
    ///     .start()?;
    /// pipeline.put_into("ann", "An answer that Ann does not want to hear any more.")?;
    /// pipeline.put_into("bob", "The answer that Bob waits for.")?;
    /// pipeline.flush_source("ann")?;
    /// assert_eq!(pipeline.setstop()?.source("bob").unwrap().counts.flushed, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`EntranceError::Unknown`] or [`Unnamed`](EntranceError::Unnamed) where none has that name.
    pub fn flush_source(&self, name: &str) -> Result<(), EntranceError> {
        self.supervisor.flush_source(name)?;
        self.wait_flushed(None);
        Ok(())
    }

    /// Works like [`flush_source`](Pipeline::flush_source), but waits for the end stages no longer than that.
    ///
    /// # Errors
    /// As `flush_source`, and [`EntranceError::NotFlushed`] if one still works on what had entered before.
    pub fn flush_source_timeout(&self, name: &str, timeout: Duration) -> Result<(), EntranceError> {
        self.supervisor.flush_source(name)?;
        match self.wait_flushed(Some(timeout)) {
            true => Ok(()),
            false => Err(FlushTimeout { stages: self.supervisor.not_flushed(), timeout }.into()),
        }
    }

    /// Calls this after each flush that cuts the buffers, before the end stages are waited for.
    pub(crate) fn when_flushed(&self, call: impl Fn() + Send + Sync + 'static) {
        self.supervisor.when_flushed(Box::new(call));
    }

    fn flushed(&self, timeout: Option<Duration>) -> bool {
        self.supervisor.flush();
        self.wait_flushed(timeout)
    }

    fn wait_flushed(&self, timeout: Option<Duration>) -> bool {
        if self.supervisor.called_by_own_worker() {
            return true;
        }
        let Ok(flushed) = self.supervisor.wait_flushed(timeout, |waiting| {
            if let Waiting::For(busy) = waiting {
                aside::log(move || tracing::info!("the flush waits for {busy}"));
            }
            Ok::<_, Infallible>(())
        });
        flushed
    }

    /// Asks a source for nothing more, and waits until its own code has returned; what it gave flows out in order, and
    /// the others go on. Called by one of the pipeline's own stages it does not wait.
    ///
    /// # Errors
    /// See [`EntranceError`].
    pub fn remove_source(&self, name: &str) -> Result<(), EntranceError> {
        self.supervisor.remove_source(name)?;
        if !self.supervisor.called_by_own_worker() {
            self.supervisor.wait_source_ended(name, Wait::Forever);
        }
        Ok(())
    }

    /// Returns what happened to every sample up to now.
    pub fn report(&self) -> Report {
        self.supervisor.report()
    }

    /// Returns when each of the last samples came to a stage, was taken there, and ended: the last
    /// [`record`](crate::builder::Builder::record) of each stage.
    pub fn timeline(&self) -> Timeline {
        self.supervisor.timeline()
    }

    /// Returns what the pipeline would do with other settings, as its last samples tell: see [`Timeline::what_if`].
    ///
    /// ```
    /// use deeppipeline::{Pipeline, stage};
    /// use std::time::Duration;
    ///
    /// let detect = stage(|x: u32| std::thread::sleep(Duration::from_millis(u64::from(x)))).name("detect");
    /// let pipeline = Pipeline::builder().end_stage(detect).start()?;
    /// (0..5).try_for_each(|x| pipeline.put(x).map(drop))?;
    /// pipeline.setstop()?;
    /// println!("{}", pipeline.what_if(&["detect.workers=2".parse()?])?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A setting that cannot be, and a stage of which nothing is known yet.
    pub fn what_if(&self, settings: &[Setting]) -> Result<Prediction, WhatIfError> {
        self.timeline().what_if(settings)
    }

    /// Returns which stage limits the pipeline, as [`Report::explain`] does, and what it would do with other settings of that
    /// stage, as its last samples tell: see [`Timeline::what_if`].
    pub fn explain(&self) -> Explanation {
        self.supervisor.explain()
    }

    /// Makes the first Ctrl-C from now on drain the pipeline, and a second one abort it. It takes over the process's
    /// handler for SIGINT, so it can be asked for only once. When the pipeline and what this returned are gone, Ctrl-C
    /// ends the program, with exit code 130.
    ///
    /// # Errors
    /// An error if another handler was set before, or the system refuses.
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
                // The pipeline is gone, and so is every caller that could ask: Ctrl-C ends the program again, as it did
                // before.
                None if again || Arc::strong_count(&pressed) == 1 => std::process::exit(INTERRUPTED),
                None => {}
            }
        })?;
        Ok(ctrl_c)
    }

    fn drained(&self, abort_after: Option<Duration>) -> Result<Report, StageError> {
        if self.supervisor.called_by_own_worker() {
            return Ok(self.report());
        }
        let Ok(()) = self.supervisor.drain(abort_after, |waiting| {
            match waiting {
                Waiting::On => {}
                Waiting::For(busy) => aside::log(move || tracing::info!("waiting for {busy}")),
                Waiting::NoLonger(busy) => {
                    aside::log(move || tracing::warn!("not drained in time, aborting; still busy: {busy}"));
                }
            }
            Ok::<_, Infallible>(())
        });
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
        aside::flush();
        self.supervisor.final_report()
    }

    /// Waits for threads that have nothing more to do but to free their stage, whose `Drop` may be what calls here.
    fn join_threads(&self) {
        let own = std::thread::current().id();
        let threads = std::mem::take(&mut *self.threads.lock());
        let left: Vec<_> = self.supervisor.sources_left_behind().into_iter().map(WorkerId::Source).collect();
        let threads =
            threads.into_iter().filter(|(worker_id, thread)| thread.thread().id() != own && !left.contains(worker_id));
        for (_, thread) in threads {
            // A worker's panic was caught where it happened; there is nothing more to learn here.
            let _ = thread.join();
        }
    }
}

impl<I, T> Drop for Pipeline<I, T> {
    fn drop(&mut self) {
        if !self.supervisor.wait_ended(Wait::No) {
            self.supervisor.abort();
        }
        self.supervisor.say_last();
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
    /// Returns true if it was pressed at least once.
    pub fn pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }
}

fn within(timeout: Duration) -> Wait {
    // A time-out beyond what the clock can tell is none.
    Instant::now().checked_add(timeout).map_or(Wait::Forever, Wait::Until)
}
