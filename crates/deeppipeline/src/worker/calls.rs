//! The words between a worker and its driver: what it asks for, and what came of it.

use crate::sample::Input;
use crate::stage::Give;
use crate::unwind::BoxError;
use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

/// The outcome for a value that was handed on.
#[derive(Debug)]
pub struct Given<V> {
    /// The value that was dropped for it, or the value itself where it went nowhere or was copied: to be released by
    /// the caller.
    pub to_free: Option<V>,
    /// True if the call's next value is wanted. Not once what comes of it is discarded: a caller that makes many stops
    /// there.
    pub wants_more: bool,
}

/// The reason why a value was not handed on.
#[derive(Debug)]
pub enum GiveError<V> {
    /// The buffer is full under `block`, and the caller would not wait any longer.
    Full(V),
    /// It cannot cross to the process of the next stage, or cannot be copied for the branches of a block, and is gone
    /// then.
    Refused(Option<V>, BoxError),
}

/// The job of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Asks the source at that index of those that the pipeline has.
    Source(usize),
    /// Runs the stage at that index of the description.
    Stage(usize),
    /// Gives what it takes, in front of a block or behind a branch, where the stage there cannot do it.
    Relay,
}

impl Role {
    /// The index of its stage in the description, if it has one.
    pub fn stage(self) -> Option<usize> {
        match self {
            Role::Stage(index) => Some(index),
            Role::Source(_) | Role::Relay => None,
        }
    }
}

/// The identity of a worker in its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkerId {
    /// Feeds the first buffer: the source at that index of those that the pipeline has.
    Source(usize),
    /// Runs a stage, or is a relay.
    Stage {
        /// The index of the node, from 0: all stages and relays, in reading order.
        index: usize,
        /// The index among the stage's workers, from 0.
        worker: usize,
    },
}

/// A call: what a worker is asked to do next.
#[derive(Debug)]
pub enum Call<V> {
    /// The call of `setup`.
    Setup,
    /// The call of `stage_run` with this.
    StageRun(Input<V>),
    /// Another call of `stage_run` with what it got last, of which this is a copy where one can be made.
    RunAgain(Option<Input<V>>),
    /// A call of `stage_run` with one sample of the batch that it got last, the one at that index: a list of one, of
    /// which this is a copy where one can be made.
    RunAlone(usize, Option<Input<V>>),
    /// The call that opens the source, where it may be opened again.
    SourceOpen,
    /// The call that asks the source for its next sample.
    SourceNext,
    /// The call of `update` with these values, between two samples.
    Update(Values),
    /// The making of the stage that is to replace the present one, from these values, and the call of its `setup`. The
    /// present one goes on meanwhile.
    Prepare(Values),
    /// The exchange of the present stage, after its `finish`, for the one that was prepared, and then the call of the
    /// old one's `teardown`, which does not undo it.
    Exchange,
    /// The call of `teardown` of the stage that was prepared, if one was: the present one stays.
    Discard,
    /// The call of `finish`.
    Finish,
    /// The call of `teardown`; before it that of a stage that was prepared, and is in nobody's place yet.
    Teardown,
}

/// The values that a stage is told while it runs: what they are, the binding knows.
#[derive(Clone)]
pub enum Values {
    /// Values of this process.
    Here(Arc<dyn Any + Send + Sync>),
    /// Values that cross to the process of a stage.
    Bytes(Arc<[u8]>),
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

/// One update of a stage, by its number among those of that stage.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) number: u64,
    pub(crate) told: Told<Values>,
}

/// The word that a worker is told between two samples.
#[derive(Debug, Clone)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Told<T> {
    /// The stage takes these values.
    Update(T),
    /// Another stage, made from these, is set up beside the present one.
    Prepare(T),
    /// The other stage takes the place of the present one: every worker has set one up.
    Exchange,
    /// The present stage stays, and the other one is torn down.
    Discard,
}

#[cfg(processes)]
impl<T> Told<T> {
    /// Returns the same with what these values become.
    pub(crate) fn map<U>(self, values: impl FnOnce(T) -> U) -> Told<U> {
        match self {
            Told::Update(x) => Told::Update(values(x)),
            Told::Prepare(x) => Told::Prepare(values(x)),
            Told::Exchange => Told::Exchange,
            Told::Discard => Told::Discard,
        }
    }
}

/// The outcome of a call.
#[derive(Debug)]
pub enum Outcome<G, E = Infallible> {
    /// The call returned this. After `setup` and `teardown` it is ignored.
    Gave(G),
    /// The call returned a result for each sample of a batch.
    Each(E),
    /// The source has no more samples.
    Exhausted,
    /// The stage keeps the sample: a later list will use it.
    Windowed,
    /// The call failed.
    Failed(BoxError),
}

/// The outcome of a call, with what it gave.
pub type Done<V> = Outcome<Give<V>, Vec<Result<Give<V>, BoxError>>>;

/// The outcome of a call, or of one result for a sample of a batch, once everything it gave has been handed over with
/// [`Worker::give`](crate::engine::Worker::give): true if that was something.
pub type Ending = Outcome<bool>;

/// The fates of samples that a stage has kept for a later list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Windowed {
    /// The number of them that are in the list that the present call got.
    pub used: u64,
    /// The number of them that will be in no list.
    pub skipped: u64,
    /// The number of them that were flushed with their source, and will be in no list either.
    pub flushed: u64,
}

/// The remainder that a call that ended leaves to be told, beyond what the pipeline's callers will be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEvent {
    /// No remainder: it did not fail, or its failure is the reason why the pipeline now stops.
    Nothing,
    /// The stage failed on a sample and skips it.
    SkippedFailure,
    /// The stage failed on a sample and is run on it again.
    RetriedFailure,
    /// Another failure stopped the pipeline before, and is the one that callers are told of.
    LaterFailure,
    /// The stage took longer on a sample than its time limit.
    OverTimeout,
    /// A stage that was replaced, or did not come to replace another, failed at its end.
    FailedAtExchange,
}

/// The share of its sample that a value is: all of it, or a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The one result of its sample.
    Whole,
    /// One of many.
    OfMany,
}
