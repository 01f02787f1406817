//! Samples: a value with its identity and its time of birth.

use crate::clock::Moment;
use crate::source_id::SourceId;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The identity of a sample: the number of its `put`, from 1, and its part when a stage made many of one.
///
/// ```
/// use deeppipeline::report::SampleId;
/// assert_eq!(SampleId { number: 7, part: 0 }.to_string(), "7");
/// assert_eq!(SampleId { number: 7, part: 2 }.to_string(), "7.2");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SampleId {
    /// The number of its `put`, from 1.
    pub number: u64,
    /// The number of the part, from 1, for what came out of a `Many` or of `finish`; 0 for a sample that was never
    /// split. No two samples in front of a stage have the same, whichever worker split them.
    pub part: u64,
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            0 => write!(f, "{}", self.number),
            part => write!(f, "{}.{part}", self.number),
        }
    }
}

/// The ticket by which a fork's copies of one sample are matched at the join, whatever their stages make of the rest.
/// The default is that of a sample in no branch that is joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct ForkTicket(pub(crate) u64);

/// A value on its way through the pipeline.
#[derive(Debug, Clone)]
pub struct Sample<V> {
    /// The identity of the sample.
    pub id: SampleId,
    /// The call of `put`, or when the source handed it over.
    pub birth: Moment,
    /// The ticket that it has at the innermost join around it.
    pub(crate) fork: ForkTicket,
    /// The source or entrance that it came from.
    pub(crate) source: SourceId,
    /// The value that the stage gets.
    pub value: V,
}

impl<V> Sample<V> {
    pub(crate) fn info(&self) -> SampleInfo {
        SampleInfo { id: self.id, birth: self.birth, source: self.source }
    }
}

/// The facts that a stage may know about the sample it works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleInfo {
    /// The identity of the sample; for a list, of its newest.
    pub id: SampleId,
    pub(crate) birth: Moment,
    pub(crate) source: SourceId,
}

impl SampleInfo {
    /// Returns the time of the call of `put`, or when the source handed it over, on the monotonic clock.
    pub fn birth(&self) -> Instant {
        self.birth.instant()
    }

    /// Returns the name of the source or entrance that it came from; `None` where the pipeline has one without a name.
    pub fn source(&self) -> Option<&str> {
        self.source.name()
    }

    /// Returns true if it had entered the pipeline before a flush: no later than the sample of that number. What `finish`
    /// gives where there was no sample has no number.
    pub(crate) fn has_entered_before(&self, cut: u64) -> bool {
        self.id.number > 0 && self.id.number <= cut
    }
}

/// The work of the calling thread, and the pipeline for which it is done.
#[derive(Clone, Copy)]
struct Job {
    pipeline: u64,
    restarted: bool,
    sample: Option<SampleInfo>,
}

/// Returns the number of the last sample that had entered a worker's pipeline before the last flush, or 0.
pub(crate) type LastCut = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a thread worked on, to be returned to later.
pub(crate) struct Interrupted {
    job: Option<Job>,
    last_cut: Option<LastCut>,
}

thread_local! {
    static JOB: Cell<Option<Job>> = const { Cell::new(None) };
    static LAST_CUT: RefCell<Option<LastCut>> = const { RefCell::new(None) };
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

/// Returns true if the calling stage is in a process that was started again after a crash: an earlier one had been set
/// up, and what it did outside of the pipeline is still there. A `setup` that opens a file asks, so as to append to it.
/// Always false on a thread.
///
/// ```no_run
/// use deeppipeline::BoxError;
/// use deeppipeline::processes::restarted;
/// use std::fs::{File, OpenOptions};
///
/// fn setup() -> Result<File, BoxError> {
///     let mut options = OpenOptions::new();
///     options.write(true).create(true).append(restarted()).truncate(!restarted());
///     Ok(options.open("rows.jsonl")?)
/// }
/// ```
pub fn restarted() -> bool {
    JOB.get().is_some_and(|job| job.restarted)
}

/// Returns true if the sample that the calling stage works on had entered the pipeline before a
/// [`flush`](crate::Pipeline::flush): what comes of it goes nowhere, so a stage that takes long may stop. Always false
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
    let last_cut = LAST_CUT.with_borrow(|last_cut| last_cut.as_ref().map_or(0, |last_cut| last_cut()));
    current_sample().is_some_and(|sample| sample.has_entered_before(last_cut))
}

/// Notes for which worker the calling thread works from now on, by what is known of its pipeline's last flush.
pub(crate) fn enter_worker(last_cut: &LastCut) {
    LAST_CUT.with_borrow_mut(|known| {
        if known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, last_cut)) {
            *known = Some(Arc::clone(last_cut));
        }
    });
}

/// Notes what the calling thread works on from now on.
#[inline]
pub(crate) fn enter_job(pipeline: u64, restarted: bool, sample: Option<SampleInfo>) {
    // `LocalKey::set` moves the value twice more.
    JOB.with(|job| job.set(Some(Job { pipeline, restarted, sample })));
}

/// Returns what the calling thread works on, to be returned to later.
pub(crate) fn present_job() -> Interrupted {
    Interrupted { job: JOB.get(), last_cut: LAST_CUT.with_borrow(Clone::clone) }
}

/// Lets the calling thread work again on what it did before.
pub(crate) fn return_to_job(interrupted: Interrupted) {
    JOB.set(interrupted.job);
    LAST_CUT.set(interrupted.last_cut);
}

/// Notes that the calling thread works for no pipeline any more.
pub(crate) fn leave_job() {
    JOB.set(None);
    LAST_CUT.set(None);
}

/// Returns true if the calling thread is one of this pipeline's workers.
#[inline]
pub(crate) fn works_for(pipeline: u64) -> bool {
    JOB.get().is_some_and(|job| job.pipeline == pipeline)
}

/// The result of one take, which one `stage_run` gets.
#[doc(hidden)]
#[derive(Debug)]
pub enum Input<V> {
    /// A single sample, for the intakes that take one at a time.
    One(Sample<V>),
    /// A list, for the intakes all and batch: oldest first, never empty.
    List(Vec<Sample<V>>),
}

impl<V> Input<V> {
    /// Returns the number of samples in it.
    pub fn count(&self) -> u64 {
        match self {
            Input::One(_) => 1,
            Input::List(list) => list.len() as u64,
        }
    }

    /// The samples in it, oldest first.
    pub(crate) fn samples(&self) -> &[Sample<V>] {
        match self {
            Input::One(sample) => std::slice::from_ref(sample),
            Input::List(list) => list,
        }
    }

    /// The newest sample in it, under whose number the result goes on.
    pub(crate) fn newest(&self) -> Option<SampleInfo> {
        self.samples().last().map(Sample::info)
    }

    /// Returns the ticket that the newest has at the innermost join around it.
    pub(crate) fn newest_fork(&self) -> ForkTicket {
        self.samples().last().map_or_else(ForkTicket::default, |sample| sample.fork)
    }
}
