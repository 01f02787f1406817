//! The ways in which a stage takes from its buffer.

use crate::sample::{ForkTicket, Sample, SampleInfo};
use std::fmt;
use std::time::Duration;

/// The ways in which a stage takes from its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Intake {
    /// The oldest waiting sample.
    #[default]
    Single,
    /// The newest waiting sample; the older ones are counted as superseded.
    Latest,
    /// A list of `buffer_size` samples as soon as the buffer is full; each sample is used once.
    All,
    /// A list of the last `size` samples, moving by `stride`. The worker keeps them; the buffer gives one at a time.
    Window {
        /// The number of samples in a list.
        size: usize,
        /// The number of samples that one list is behind the next.
        stride: usize,
    },
    /// A list of 1 to `max_size` samples: whatever is there once the first has waited `max_wait`.
    Batch {
        /// The number of samples in a list at most.
        max_size: usize,
        /// The time that the first of them waits for others.
        max_wait: Duration,
    },
}

impl Intake {
    /// Returns true if one take may take several samples.
    pub(crate) fn takes_lists(self) -> bool {
        matches!(self, Intake::All | Intake::Batch { .. })
    }

    /// Returns true if a sample in front may have to wait, for a time, for others behind it.
    pub(crate) fn waits_for_more(self) -> bool {
        matches!(self, Intake::Batch { .. })
    }
}

impl fmt::Display for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Intake::Single => "single",
            Intake::Latest => "latest",
            Intake::All => "all",
            Intake::Window { .. } => "window",
            Intake::Batch { .. } => "batch",
        })
    }
}

/// The result of one take, which one `stage_run` gets.
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
        self.samples().last().map(|s| SampleInfo { id: s.id, birth: s.birth })
    }

    /// Returns the ticket that the newest has at the innermost join around it.
    pub(crate) fn newest_fork(&self) -> ForkTicket {
        self.samples().last().map_or_else(ForkTicket::default, |sample| sample.fork)
    }
}
