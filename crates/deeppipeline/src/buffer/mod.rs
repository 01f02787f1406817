//! What happens between two stages, and when a buffer is full. The state machine is in the README beside this file.

mod memory;
#[cfg(processes)]
pub(crate) mod shared;

use crate::error::BoxError;
use crate::intake::{Input, Intake};
use crate::sample::{Sample, SampleId, SampleInfo};
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

/// What happens when a buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest waiting sample is dropped and counted: for live streams.
    #[default]
    DropOldest,
    /// The arriving sample is dropped and counted: what was promised first is kept.
    DropNewest,
    /// The producer waits: for files and data sets, where nothing may be lost.
    Block,
}

impl Overflow {
    /// All policies, in the order of their documentation.
    pub const ALL: [Overflow; 3] = [Overflow::DropOldest, Overflow::DropNewest, Overflow::Block];

    /// The policy's name in Python and in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Overflow::DropOldest => "drop_oldest",
            Overflow::DropNewest => "drop_newest",
            Overflow::Block => "block",
        }
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Overflow {
    type Err = UnknownOverflow;

    fn from_str(name: &str) -> Result<Self, UnknownOverflow> {
        Overflow::ALL.into_iter().find(|policy| policy.name() == name).ok_or_else(|| UnknownOverflow(name.to_owned()))
    }
}

/// The name of an overflow policy that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("overflow is {0:?}, but must be one of \"drop_oldest\", \"drop_newest\", \"block\"")]
pub struct UnknownOverflow(String);

/// How long a caller is ready to wait.
#[derive(Debug, Clone, Copy)]
pub enum Wait {
    /// Not at all.
    No,
    /// As long as it takes.
    Forever,
    /// Until then.
    Until(Instant),
}

/// Whether a buffer still lets samples in and out. It only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gate {
    /// Samples come and go.
    Open,
    /// Nothing more comes; what is inside flows out.
    Closed,
    /// What is inside was discarded, and so is whatever still comes.
    Discarding,
}

/// Who brings a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A stage: the sample keeps its identity, and one that comes too late is counted as discarded.
    Stage,
    /// The source: the sample gets the next number, and one that comes too late is counted as discarded.
    Source,
    /// A caller of `put`: the sample gets the next number, and one that comes too late is handed back.
    Outside,
}

/// What became of an attempt to put a sample into a buffer.
pub(crate) enum Push<V> {
    /// It is inside (or was counted as dropped or discarded); the value, if any, is what was dropped for it.
    Done { accepted: bool, dropped: Option<V> },
    /// The buffer is full under `block`, and the caller would not wait any longer.
    Full(V),
    /// The entrance is closed to everyone who is not a stage.
    Shut(V),
    /// The value cannot cross to another process.
    #[cfg_attr(not(processes), expect(dead_code, reason = "without processes every value fits"))]
    Refused(V, BoxError),
}

/// What became of an attempt to take from a buffer.
pub(crate) enum Take<V> {
    /// Something to work on, what was superseded by it, and where it came from another process, its slots and how many
    /// parts of it a worker that died had given.
    Ready { input: Input<V>, superseded: Vec<V>, hold: Option<Hold>, given: u64 },
    /// So many samples were taken that the stage cannot be given.
    #[cfg_attr(not(processes), expect(dead_code, reason = "without processes every value is read as it is"))]
    Unreadable { newest: SampleInfo, samples: u64, hold: Option<Hold>, cause: BoxError },
    /// Nothing yet, and the caller would not wait any longer.
    Empty,
    /// Nothing is inside and nothing more will come.
    Drained,
    /// The pipeline gave up what was inside.
    Discarded,
}

/// The slots that a worker has in hand, where its samples came from another process.
#[cfg(processes)]
pub(crate) use shared::Hold;

/// Without processes, there are none.
#[cfg(not(processes))]
#[derive(Debug)]
pub(crate) enum Hold {}

/// The take that a result belongs to, for a buffer behind a worker process.
#[cfg(processes)]
pub(crate) use shared::Receipt;

/// Without processes, nobody asks.
#[cfg(not(processes))]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Receipt {}

/// The buffer in front of a stage: between threads, or between processes.
pub(crate) enum Buffer<V> {
    /// Values as they are.
    Memory(memory::Buffer<V>),
    /// Bytes in slots that processes share.
    #[cfg(processes)]
    Shared(shared::Buffer<V>),
}

impl<V> Buffer<V> {
    pub(crate) fn in_memory(capacity: usize, overflow: Overflow, intake: Intake, drops_to_remember: usize) -> Self {
        Buffer::Memory(memory::Buffer::new(capacity, overflow, intake, drops_to_remember))
    }

    /// Puts in a sample, waiting for room where the policy is `block`. The caller frees what is handed back.
    pub(crate) fn push(
        &self,
        sample: Sample<V>,
        arrival: Arrival,
        #[cfg_attr(not(processes), expect(unused_variables))] receipt: Option<Receipt>,
        wait: Wait,
    ) -> Push<V> {
        match self {
            Buffer::Memory(buffer) => buffer.push(sample, arrival, wait),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.push(sample, arrival, receipt, wait),
        }
    }

    /// Takes what the intake says, waiting for it if need be.
    pub(crate) fn take(&self, wait: Wait) -> Take<V> {
        match self {
            Buffer::Memory(buffer) => buffer.take(wait),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.take(wait),
        }
    }

    /// Nothing more comes in; what is inside flows out.
    pub(crate) fn close(&self) {
        match self {
            Buffer::Memory(buffer) => buffer.close(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.lower_gate(Gate::Closed),
        }
    }

    /// Gives up what is inside and whatever still comes; the caller frees what is handed back.
    pub(crate) fn discard(&self) -> VecDeque<Sample<V>> {
        match self {
            Buffer::Memory(buffer) => buffer.discard(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => {
                buffer.lower_gate(Gate::Discarding);
                VecDeque::new()
            }
        }
    }

    pub(crate) fn counts(&self) -> BufferCounts {
        match self {
            Buffer::Memory(buffer) => buffer.counts(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.counts(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        match self {
            Buffer::Memory(buffer) => buffer.capacity(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.limits().capacity,
        }
    }

    pub(crate) fn overflow(&self) -> Overflow {
        match self {
            Buffer::Memory(buffer) => buffer.overflow(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.limits().overflow,
        }
    }

    /// The buffer, if processes share it.
    #[cfg(processes)]
    pub(crate) fn shared(&self) -> Option<&shared::Buffer<V>> {
        match self {
            Buffer::Memory(_) => None,
            Buffer::Shared(buffer) => Some(buffer),
        }
    }
}

/// The counters of one buffer. At any quiet moment
/// `entered = taken + oldest + newest + superseded + discarded + waiting`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BufferCounts {
    /// Samples that arrived.
    pub entered: u64,
    /// Samples that the stage took.
    pub taken: u64,
    /// Waiting samples dropped to make room (`drop_oldest`).
    pub dropped_oldest: u64,
    /// Arriving samples dropped for want of room (`drop_newest`).
    pub dropped_newest: u64,
    /// Samples passed over by the intake `latest`.
    pub superseded: u64,
    /// Samples given up because the pipeline stopped.
    pub discarded: u64,
    /// Samples inside now.
    pub waiting: u64,
    /// The last samples dropped or superseded, oldest first: 16 at most, all of them in a simulation.
    pub last_dropped: VecDeque<SampleId>,
}

impl BufferCounts {
    /// All samples dropped: oldest, newest and superseded.
    pub fn dropped(&self) -> u64 {
        self.dropped_oldest + self.dropped_newest + self.superseded
    }

    /// Whether every sample that entered has exactly one fate.
    pub fn balances(&self) -> bool {
        self.entered == self.taken + self.dropped() + self.discarded + self.waiting
    }
}
