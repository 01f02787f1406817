//! Entrances that have names, as the builder and a running pipeline are told of them.

use crate::graph::{EntranceNode, SourceNode};
use crate::policies::Overflow;
use crate::stage::Source;
use std::time::Duration;

/// Begins to describe an entrance of that name, for a [`source_at`](super::Builder::source_at) it or for samples that
/// are put.
///
/// ```
/// use deeppipeline::{Overflow, Pipeline, current_sample, entrance};
///
/// let pipeline = Pipeline::builder()
///     .entrance(entrance("north").overflow(Overflow::Block))
///     .entrance("south")
///     .end_stage(|x: u32| println!("{x} of {:?}", current_sample().unwrap().source()))
///     .start()?;
/// pipeline.put_into("north", 1)?;
/// pipeline.put_into("south", 2)?;
/// assert_eq!(pipeline.setstop()?.source("north").unwrap().counts.taken, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn entrance(name: impl Into<String>) -> Entrance {
    Entrance { name: name.into(), overflow: None, max_age: None, stall_timeout: None }
}

/// An entrance that is described by its name and, where they differ from the first stage's, its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    pub(crate) name: String,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) stall_timeout: Option<Duration>,
}

impl Entrance {
    /// Sets what happens when as many of its samples wait as the first stage's buffer holds. By default a source that is
    /// not [live](crate::Source::is_live) waits, and otherwise the oldest is dropped.
    pub fn overflow(self, overflow: Overflow) -> Self {
        Entrance { overflow: Some(overflow), ..self }
    }

    /// Limits the age that its samples may have when the first stage takes them; an older one is dropped instead.
    pub fn max_age(self, max_age: Duration) -> Self {
        Entrance { max_age: Some(max_age), ..self }
    }

    /// Limits the time that its source may give nothing, as [`Builder::stall_timeout`](super::Builder::stall_timeout)
    /// does for all.
    pub fn stall_timeout(self, stall_timeout: Duration) -> Self {
        Entrance { stall_timeout: Some(stall_timeout), ..self }
    }

    pub(crate) fn into_node(self, source: Option<SourceNode>) -> EntranceNode {
        let Entrance { name, overflow, max_age, stall_timeout } = self;
        EntranceNode { name, source, overflow, max_age, stall_timeout }
    }
}

/// Returns what the description of a pipeline says of a source.
pub(crate) fn source_node(source: &impl Source) -> SourceNode {
    SourceNode { is_live: source.is_live(), restart: source.restart() }
}

impl From<&str> for Entrance {
    fn from(name: &str) -> Self {
        entrance(name)
    }
}

impl From<String> for Entrance {
    fn from(name: String) -> Self {
        entrance(name)
    }
}
