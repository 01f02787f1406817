//! What comes out of a pipeline, for a task instead of a thread.

use crate::error::StageError;
use crate::hand_over::{Taker, hand_over};
use crate::pipeline::{Results, Stream};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The [`Results`] or the [`Stream`] of a pipeline as a `futures::Stream`, which never waits on its thread; made by
/// [`Results::in_task`] and [`Stream::in_task`].
///
/// Dropping that of a stream ends the pipeline, and does not wait for that.
#[must_use = "the pipeline waits until its results are asked for, or this is dropped"]
pub struct InTask<S> {
    values: S,
    /// The failure that ended a stream's pipeline, if one did, once all values have come out.
    end: Option<Taker<Option<StageError>>>,
}

impl<S: fmt::Debug> fmt::Debug for InTask<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InTask").field("values", &self.values).finish_non_exhaustive()
    }
}

impl<S> InTask<S> {
    pub(crate) fn new(values: S) -> Self {
        InTask { values, end: None }
    }

    /// Returns what it was made of, to ask for a report, say.
    pub fn get_ref(&self) -> &S {
        &self.values
    }
}

impl<T> futures_core::Stream for InTask<Results<T>> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.values.values().poll(context)
    }
}

impl<T> futures_core::Stream for InTask<Stream<T>> {
    type Item = Result<T, StageError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(values) = self.values.values() {
            if let Some(value) = ready!(values.poll(context)) {
                return Poll::Ready(Some(Ok(value)));
            }
            let pipeline = Arc::clone(self.values.end_values());
            let (giver, end) = hand_over();
            // Until every worker has ended: their own code may take a while, and no task is to wait for it. Where the system
            // has no thread, what is dropped with it says that this is the end.
            let thread = std::thread::Builder::new().name("end of a stream".to_owned());
            drop(thread.spawn(move || giver.give(pipeline.join().err())));
            self.end = Some(end);
        }
        let Some(end) = &self.end else { return Poll::Ready(None) };
        let failure = ready!(end.poll(context)).flatten();
        self.end = None;
        Poll::Ready(failure.map(Err))
    }
}
