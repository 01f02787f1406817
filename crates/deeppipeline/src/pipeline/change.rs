//! What the handle changes of a pipeline while it runs.

use super::Pipeline;
use crate::error::UnknownStage;

impl<I, T> Pipeline<I, T> {
    /// Lets the first stage take nothing until it is [resumed](Pipeline::resume): the pipeline runs empty, and what comes
    /// in waits or is dropped as the policy of the first buffer says. A file loses nothing by that under `block`; of a live
    /// camera the newest is there afterwards. A sample in work is finished.
    ///
    /// A stop ends every pause: `setstop` lets everything inside flow out. Once the pipeline stops it does nothing.
    ///
    /// ```
    /// use deeppipeline::Pipeline;
    ///
    /// let pipeline = Pipeline::builder().end_stage(|frame: u32| println!("{frame}")).start()?;
    /// pipeline.pause();
    /// for frame in 1..=10 {
    ///     pipeline.put(frame)?;
    /// }
    /// assert!(pipeline.report().stages[0].paused);
    /// pipeline.resume(); // 9 and 10 go on: the buffer has room for two, and drops the oldest
    /// assert_eq!(pipeline.setstop()?.dropped(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) {
        // The entrance is always there.
        let _ = self.supervisor.pause(None);
    }

    /// Lets the first stage take samples again.
    pub fn resume(&self) {
        let _ = self.supervisor.resume(None);
    }

    /// Works like [`pause`](Pipeline::pause), for the stage of that name.
    ///
    /// # Errors
    /// An error if there is no stage of that name.
    pub fn pause_stage(&self, stage: &str) -> Result<(), UnknownStage> {
        self.supervisor.pause(Some(stage))
    }

    /// Lets the stage of that name take samples again.
    ///
    /// # Errors
    /// As `pause_stage`.
    pub fn resume_stage(&self, stage: &str) -> Result<(), UnknownStage> {
        self.supervisor.resume(Some(stage))
    }
}
