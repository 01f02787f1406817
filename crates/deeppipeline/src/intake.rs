//! How a stage takes from its buffer.

use crate::sample::{Sample, SampleInfo};
use std::fmt;

/// How a stage takes from its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Intake {
    /// The oldest waiting sample.
    #[default]
    Single,
    /// The newest waiting sample; the older ones are counted as superseded.
    Latest,
    /// A list of `buffer_size` samples as soon as the buffer is full; each sample is used once.
    All,
}

impl fmt::Display for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Intake::Single => "single",
            Intake::Latest => "latest",
            Intake::All => "all",
        })
    }
}

/// What one take gave a worker: what one `stage_run` gets.
#[derive(Debug)]
pub enum Input<V> {
    /// For the intakes single and latest.
    One(Sample<V>),
    /// For the list intakes, oldest first, never empty.
    List(Vec<Sample<V>>),
}

impl<V> Input<V> {
    /// How many samples are in it.
    pub fn count(&self) -> u64 {
        match self {
            Input::One(_) => 1,
            Input::List(list) => list.len() as u64,
        }
    }

    /// The newest sample in it, under whose number the result goes on.
    pub(crate) fn newest(&self) -> Option<SampleInfo> {
        let sample = match self {
            Input::One(sample) => Some(sample),
            Input::List(list) => list.last(),
        };
        sample.map(|s| SampleInfo { id: s.id, birth: s.birth })
    }
}
