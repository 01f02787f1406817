//! Samples: a value with its identity and its time of birth.

use crate::clock::Moment;
use crate::job;
use crate::source_id::SourceId;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

impl ForkTicket {
    /// Makes one that no other has had: a ticket of one block, or of a submission, is never taken for another's.
    pub(crate) fn next() -> Self {
        Self::next_of(1)
    }

    /// Makes so many in a row, and returns the first.
    pub(crate) fn next_of(tickets: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        ForkTicket(NEXT.fetch_add(tickets, Ordering::Relaxed))
    }

    /// Returns true if it is that of a sample for which nobody waits.
    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }
}

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

    /// Returns the time since its birth, on the clock of the pipeline: in a simulation, the virtual one.
    pub fn age(&self) -> Duration {
        Duration::from_nanos(job::now().since(self.birth))
    }
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
