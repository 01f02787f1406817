//! The function that hears of every sample that does not come through.

use super::Builder;
use crate::fates::FateEvent;

impl<I, T> Builder<I, T> {
    /// Calls this with every sample that does not come through: dropped, skipped, failed, lost, discarded or flushed, once
    /// for each that the report counts so. It is called on a thread of its own, so it may take its time; of the events that
    /// come while 1024 wait it learns nothing, and the report counts them as [missed](crate::Report::fates_missed). The end
    /// of the pipeline waits until it has had all of them. In a simulation it is called as they happen.
    ///
    /// ```
    /// use deeppipeline::report::{Fate, FateEvent};
    /// use deeppipeline::{OnError, Pipeline, stage};
    /// use std::sync::mpsc::channel;
    ///
    /// let (failed, all_failed) = channel();
    /// let pipeline = Pipeline::builder()
    ///     .on_fate(move |event: FateEvent| {
    ///         if event.fate == Fate::Failed {
    ///             let _ = failed.send(event.sample.number);
    ///         }
    ///     })
    ///     .end_stage(stage(|text: &str| text.parse::<i32>().map(drop)).name("parse").on_error(OnError::Skip))
    ///     .start()?;
    /// pipeline.put("1")?;
    /// pipeline.put("one")?;
    /// pipeline.setstop()?;
    /// assert_eq!(all_failed.into_iter().collect::<Vec<_>>(), [2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_fate(mut self, on_fate: impl FnMut(FateEvent) + Send + 'static) -> Self {
        self.on_fate = Some(Box::new(on_fate));
        self.graph.fates = true;
        self
    }
}
