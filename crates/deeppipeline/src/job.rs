//! The job of a thread: for which worker it works, and on which sample.

use crate::clock::{Clock, Moment};
use crate::sample::SampleInfo;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

/// The facts that a stage may know about the worker that runs it.
#[derive(Clone)]
pub struct WorkerInfo {
    pub(crate) index: usize,
    pub(crate) restarted: bool,
    pub(crate) clock: Clock,
    /// Returns true if a sample had entered its pipeline before a flush.
    pub(crate) is_cut_off: Arc<dyn Fn(&SampleInfo) -> bool + Send + Sync>,
}

impl fmt::Debug for WorkerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorkerInfo { index, restarted, .. } = self;
        f.debug_struct("WorkerInfo").field("index", index).field("restarted", restarted).finish_non_exhaustive()
    }
}

impl WorkerInfo {
    /// Returns the index of the worker among those of its stage, from 0: the same after a restart. So each worker can have
    /// a GPU, a port or a file of its own.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns true if the worker is a process that was started again after a crash: an earlier one had been set up, and
    /// what it did outside of the pipeline is still there. A `setup` that opens a file asks, so as to append to it. Always
    /// false on a thread.
    ///
    /// ```no_run
    /// use deeppipeline::BoxError;
    /// use deeppipeline::pipeline::current_worker;
    /// use std::fs::{File, OpenOptions};
    ///
    /// fn setup() -> Result<File, BoxError> {
    ///     let restarted = current_worker().is_some_and(|worker| worker.restarted());
    ///     let mut options = OpenOptions::new();
    ///     options.write(true).create(true).append(restarted).truncate(!restarted);
    ///     Ok(options.open("rows.jsonl")?)
    /// }
    /// ```
    pub fn restarted(&self) -> bool {
        self.restarted
    }
}

/// The work of the calling thread, and the pipeline for which it is done.
#[derive(Clone, Copy)]
struct Job {
    pipeline: u64,
    sample: Option<SampleInfo>,
}

/// What a thread worked on, to be returned to later, or to be known where another thread works for it.
#[derive(Clone)]
pub struct Interrupted {
    job: Option<Job>,
    worker: Option<Arc<WorkerInfo>>,
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupted").field("sample", &self.sample()).finish_non_exhaustive()
    }
}

impl Interrupted {
    /// Returns what [`current_sample`] said.
    pub fn sample(&self) -> Option<SampleInfo> {
        self.job?.sample
    }

    /// Returns what [`current_worker`] said.
    pub fn worker(&self) -> Option<&WorkerInfo> {
        self.worker.as_deref()
    }

    /// Returns what [`cancelled`] would say now.
    pub fn cancelled(&self) -> bool {
        let worker = self.worker.as_ref();
        self.sample().is_some_and(|sample| worker.is_some_and(|worker| (worker.is_cut_off)(&sample)))
    }

    /// Lets the calling thread work for the same pipeline from now on, on no sample that the engine knows.
    pub fn adopt(self) {
        JOB.set(self.job.map(|job| Job { sample: None, ..job }));
        WORKER.set(self.worker);
    }
}

thread_local! {
    static JOB: Cell<Option<Job>> = const { Cell::new(None) };
    /// Apart, since it changes with no sample.
    static WORKER: RefCell<Option<Arc<WorkerInfo>>> = const { RefCell::new(None) };
}

/// Returns the sample that the calling stage works on; `None` outside of `stage_run`.
///
/// ```
/// use deeppipeline::{Pipeline, current_sample};
///
/// let pipeline = Pipeline::builder()
///     .end_stage(|x: i32| println!("{x} is sample {}", current_sample().unwrap().id))
///     .start()?;
/// pipeline.put(42)?;
/// pipeline.setstop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn current_sample() -> Option<SampleInfo> {
    JOB.get()?.sample
}

/// Returns the worker that runs the calling stage; `None` on a thread that is no worker.
///
/// ```
/// use deeppipeline::Pipeline;
/// use deeppipeline::pipeline::current_worker;
///
/// let name = |x: i32| format!("{x}, by worker {}", current_worker().unwrap().index());
/// let named = Pipeline::builder().source([1, 2].into_iter()).stage(name).stream()?;
/// assert_eq!(named.collect::<Result<Vec<_>, _>>()?, ["1, by worker 0", "2, by worker 0"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn current_worker() -> Option<WorkerInfo> {
    WORKER.with_borrow(|worker| worker.as_deref().cloned())
}

/// Returns true if the sample that the calling stage works on had entered the pipeline before a
/// [`flush`](crate::Pipeline::flush), of all or of its source: what comes of it goes nowhere, so a stage that takes long may stop. Always false
/// outside of `stage_run`.
///
/// ```
/// use deeppipeline::{Give, cancelled};
///
/// fn speak(words: Vec<&str>) -> Give<String> {
///     let mut said = String::new();
///     for word in words {
///         if cancelled() {
///             return Give::Skip;
///         }
///         said.push_str(word);
///     }
///     Give::One(said)
/// }
/// ```
pub fn cancelled() -> bool {
    let is_cut_off =
        |sample| WORKER.with_borrow(|worker| worker.as_ref().is_some_and(|known| (known.is_cut_off)(&sample)));
    current_sample().is_some_and(is_cut_off)
}

/// The time, on the clock of the worker that the calling thread works for.
pub(crate) fn now() -> Moment {
    WORKER.with_borrow(|worker| worker.as_ref().map_or_else(Moment::now, |worker| worker.clock.moment()))
}

/// Notes for which worker the calling thread works from now on.
pub(crate) fn enter_worker(worker: &Arc<WorkerInfo>) {
    WORKER.with_borrow_mut(|known| {
        if known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, worker)) {
            *known = Some(Arc::clone(worker));
        }
    });
}

/// Notes what the calling thread works on from now on.
#[inline]
pub(crate) fn enter_job(pipeline: u64, sample: Option<SampleInfo>) {
    // `LocalKey::set` moves the value twice more.
    JOB.with(|job| job.set(Some(Job { pipeline, sample })));
}

/// Returns what the calling thread works on, to be returned to later.
pub fn present_job() -> Interrupted {
    Interrupted { job: JOB.get(), worker: WORKER.with_borrow(Clone::clone) }
}

/// Lets the calling thread work again on what it did before.
pub(crate) fn return_to_job(interrupted: Interrupted) {
    JOB.set(interrupted.job);
    WORKER.set(interrupted.worker);
}

/// Notes that the calling thread works for no pipeline any more.
pub(crate) fn leave_job() {
    JOB.set(None);
    WORKER.set(None);
}

/// Returns true if the calling thread is one of this pipeline's workers.
#[inline]
pub(crate) fn works_for(pipeline: u64) -> bool {
    JOB.get().is_some_and(|job| job.pipeline == pipeline)
}
