//! The last stage's values, for a caller that asks for them one by one instead of writing an end stage.

use crate::error::StageError;
use crate::hand_over::Taker;
#[cfg(feature = "futures")]
use crate::in_task::InTask;
use crate::pipeline::{Pipeline, Sourced};
use crate::report::Report;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;

/// The name of the stage that hands values over to a [`Stream`].
pub(crate) const STREAM: &str = "stream";

/// The results that come out of a pipeline, in order; made by [`Builder::stream`](crate::builder::Builder::stream).
///
/// The source runs ahead only as far as the buffers let it. Dropping the stream ends the pipeline: what is inside is
/// discarded, and every `teardown` runs.
#[must_use = "the pipeline ends when the stream is dropped"]
pub struct Stream<T> {
    pipeline: Arc<Pipeline<Sourced>>,
    /// The values; none once everything has come out, or the stream was given up.
    values: Option<Taker<T>>,
    /// True if it is a task's, whose thread is not to wait.
    is_in_task: bool,
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}

impl<T> Stream<T> {
    pub(crate) fn new(pipeline: Pipeline<Sourced>, values: Taker<T>) -> Self
    where
        T: Send + 'static,
    {
        pipeline.when_flushed(values.look());
        Stream { pipeline: Arc::new(pipeline), values: Some(values), is_in_task: false }
    }

    /// Drops all that has entered by now, as [`Pipeline::flush`] does: nothing of it comes out of here any more.
    ///
    /// ```
    /// use deeppipeline::Pipeline;
    ///
    /// let mut numbers = Pipeline::builder().source(1..).stage(|x: u32| x).stream()?;
    /// let first = numbers.next().ok_or("there is a first")??;
    /// numbers.flush();
    /// let next = numbers.next().ok_or("there is another")??;
    /// assert!(next > first);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self) {
        self.pipeline.flush();
    }

    /// Makes a `futures::Stream` of it, for a task.
    ///
    /// ```
    /// use deeppipeline::Pipeline;
    /// use futures::executor::block_on;
    /// use futures::{StreamExt, TryStreamExt};
    ///
    /// let squares = Pipeline::builder().source(1..=3).stage(|x: u32| x * x).stream()?.in_task();
    /// let squares: Vec<u32> = block_on(squares.map_ok(|square| square + 1).try_collect())?;
    /// assert_eq!(squares, [2, 5, 10]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "futures")]
    pub fn in_task(mut self) -> InTask<Self> {
        self.is_in_task = true;
        InTask::new(self)
    }

    #[cfg(feature = "futures")]
    pub(crate) fn values(&self) -> Option<&Taker<T>> {
        self.values.as_ref()
    }

    /// Notes that all values have come out, and returns the pipeline, which may not have ended.
    #[cfg(feature = "futures")]
    pub(crate) fn end_values(&mut self) -> &Arc<Pipeline<Sourced>> {
        self.values = None;
        &self.pipeline
    }

    /// Returns what happened to every sample up to now.
    pub fn report(&self) -> Report {
        self.pipeline.report()
    }
}

impl<T> Iterator for Stream<T> {
    type Item = Result<T, StageError>;

    /// Waits for the next value. After the last one that came out, an error says why no more will.
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(value) = self.values.as_ref()?.take() {
            return Some(Ok(value));
        }
        self.values = None;
        self.pipeline.join().err().map(Err)
    }
}

impl<T> FusedIterator for Stream<T> {}

impl<T> Drop for Stream<T> {
    fn drop(&mut self) {
        // First, since the stage may be waiting for its value to be taken.
        if self.values.take().is_some() && !self.is_in_task {
            self.pipeline.abort();
        }
    }
}
