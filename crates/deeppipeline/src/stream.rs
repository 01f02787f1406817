//! The last stage's values, for a caller that asks for them one by one instead of writing an end stage.

use crate::error::StageError;
use crate::hand_over::Taker;
use crate::pipeline::{Pipeline, Sourced};
use crate::report::Report;
use std::fmt;
use std::iter::FusedIterator;

/// The name of the stage that hands values over to a [`Stream`].
pub(crate) const STREAM: &str = "stream";

/// The results that come out of a pipeline, in order; made by [`Builder::stream`](crate::builder::Builder::stream).
///
/// The source runs ahead only as far as the buffers let it. Dropping the stream ends the pipeline: what is inside is
/// discarded, and every `teardown` runs.
#[must_use = "the pipeline ends when the stream is dropped"]
pub struct Stream<T> {
    pipeline: Pipeline<Sourced>,
    /// The values; none once everything has come out, or the stream was given up.
    values: Option<Taker<T>>,
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
        Stream { pipeline, values: Some(values) }
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
        if self.values.take().is_some() {
            self.pipeline.abort();
        }
    }
}
