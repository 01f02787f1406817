//! `Debug` of errors, which is what `main` prints of the one that it returns: what went wrong, in words.

use super::{
    FlushTimeout, GraphError, NotJoined, PutError, RemoteError, RunError, SampleTooLarge, StageError, StagePanic,
    Stalled, StartError, UnknownStage, UpdateError, WorkerDied, WrongNumberOfResults,
};
use crate::policies::UnknownPolicy;
use std::error::Error;
use std::fmt;

/// Writes what the error says, and the causes that it does not say itself.
fn write(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.try_for_each(|cause| write!(f, ": {cause}"))
}

macro_rules! readable {
    ($($error:ty)*) => {
        $(impl fmt::Debug for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(self, f)
            }
        })*
    };
}

readable!(
    FlushTimeout GraphError NotJoined RemoteError RunError SampleTooLarge StageError StagePanic StartError UnknownPolicy UnknownStage
    Stalled UpdateError WorkerDied WrongNumberOfResults
);

#[cfg(feature = "dead-letters")]
readable!(super::DeadLetterError);

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, f)
    }
}
