//! What the handle changes of a pipeline while it runs.

use super::Pipeline;
use crate::aside;
use crate::error::{UnknownStage, UpdateError};
#[cfg(processes)]
use crate::isolated::Isolated;
use crate::seat::{Change, New};
use crate::stage::Stage;
use crate::supervisor::Waiting;
use crate::unwind::BoxError;
#[cfg(processes)]
use crate::wire::to_readable_bytes;
use crate::worker::Values;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

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

    /// Changes a stage on threads while it runs: on every worker, between two samples. Returns when all have made the
    /// change; one that is at work on a sample makes it afterwards.
    ///
    /// ```
    /// use deeppipeline::{BoxError, Give, Pipeline, Stage};
    ///
    /// struct Detect {
    ///     threshold: u32,
    /// }
    ///
    /// impl Stage for Detect {
    ///     type Input = u32;
    ///     type Output = bool;
    ///     fn stage_run(&mut self, score: u32) -> Result<Give<bool>, BoxError> {
    ///         Ok(Give::One(score >= self.threshold))
    ///     }
    /// }
    ///
    /// let detect = deeppipeline::stage(Detect { threshold: 5 }).name("detect");
    /// let pipeline = Pipeline::builder().stage(detect).end_stage(|found: bool| println!("{found}")).start()?;
    /// pipeline.put(4)?;
    /// pipeline.update("detect", |detect: &mut Detect| {
    ///     detect.threshold = 3;
    ///     Ok(())
    /// })?;
    /// pipeline.put(4)?;
    /// # pipeline.setstop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`UpdateError`]. A change that fails on a worker is told; the stage goes on.
    pub fn update<S: 'static>(
        &self,
        stage: &str,
        change: impl Fn(&mut S) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Result<(), UpdateError> {
        self.updated(stage, None, Values::Here(Arc::new(Change::<S>(Box::new(change)))), None)
    }

    /// Works like [`update`](Pipeline::update), but waits for the workers no longer than that.
    ///
    /// # Errors
    /// As `update`, and [`UpdateError::Timeout`].
    pub fn update_timeout<S: 'static>(
        &self,
        stage: &str,
        change: impl Fn(&mut S) -> Result<(), BoxError> + Send + Sync + 'static,
        timeout: Duration,
    ) -> Result<(), UpdateError> {
        self.updated(stage, None, Values::Here(Arc::new(Change::<S>(Box::new(change)))), Some(timeout))
    }

    /// Gives new settings to an isolated stage while it runs: every worker hands them to
    /// [`Isolated::update`] between two samples. A process that is started again after a crash gets the last ones, too.
    ///
    /// # Errors
    /// As `update`, and [`UpdateError::Settings`] where the settings cannot be sent.
    #[cfg(processes)]
    pub fn update_settings<S: Isolated>(&self, stage: &str, settings: &S::Settings) -> Result<(), UpdateError> {
        let sent = to_readable_bytes(settings);
        let bytes = sent.map_err(|cause| UpdateError::Settings { stage: stage.to_owned(), cause: Box::new(cause) })?;
        self.updated(stage, Some(""), Values::Bytes(bytes.into()), None)
    }

    /// Puts another stage in the place of one on threads while it runs, and loses no sample: on every worker the new one
    /// is made and set up between two samples, and once all have done so, it takes the place before the worker's next
    /// sample. What the old one's `finish` gives goes on first, then it is torn down. If the new one cannot be made or set
    /// up on some worker, the old one goes on everywhere, and the samples never see the new one.
    ///
    /// The new one may be of another type that takes and gives the same. The options of the place stay, and so does what
    /// its intake keeps for later lists.
    ///
    /// ```
    /// use deeppipeline::{BoxError, Give, Pipeline, Stage};
    ///
    /// struct Detect {
    ///     threshold: u32,
    /// }
    ///
    /// impl Stage for Detect {
    ///     type Input = u32;
    ///     type Output = bool;
    ///     fn stage_run(&mut self, score: u32) -> Result<Give<bool>, BoxError> {
    ///         Ok(Give::One(score >= self.threshold))
    ///     }
    /// }
    ///
    /// let detect = deeppipeline::stage(Detect { threshold: 5 }).name("detect");
    /// let pipeline = Pipeline::builder().stage(detect).end_stage(|found: bool| println!("{found}")).start()?;
    /// pipeline.put(4)?;
    /// pipeline.replace("detect", || Ok(Detect { threshold: 3 }))?;
    /// pipeline.put(4)?;
    /// # pipeline.setstop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`UpdateError`].
    pub fn replace<S: Stage>(
        &self,
        stage: &str,
        make: impl Fn() -> Result<S, BoxError> + Send + Sync + 'static,
    ) -> Result<(), UpdateError> {
        self.replaced(stage, Values::Here(Arc::new(New::made_by(make))), None)
    }

    /// Works like [`replace`](Pipeline::replace), but waits for the workers no longer than that. What they have not set up
    /// by then is given up; what all have set up takes its place afterwards.
    ///
    /// # Errors
    /// As `replace`, and [`UpdateError::ReplaceTimeout`].
    pub fn replace_timeout<S: Stage>(
        &self,
        stage: &str,
        make: impl Fn() -> Result<S, BoxError> + Send + Sync + 'static,
        timeout: Duration,
    ) -> Result<(), UpdateError> {
        self.replaced(stage, Values::Here(Arc::new(New::made_by(make))), Some(timeout))
    }

    /// Works like [`replace`](Pipeline::replace) for an isolated stage: every worker makes the new one from these settings.
    /// A process that is started again later makes it, too. A process that dies while the new one is set up is started
    /// again with the old one, which counts as no crash.
    ///
    /// # Errors
    /// As `replace`, and [`UpdateError::Settings`] where the settings cannot be sent.
    #[cfg(processes)]
    pub fn replace_settings<S: Isolated>(&self, stage: &str, settings: &S::Settings) -> Result<(), UpdateError> {
        let sent = to_readable_bytes(settings);
        let bytes = sent.map_err(|cause| UpdateError::Settings { stage: stage.to_owned(), cause: Box::new(cause) })?;
        self.replaced(stage, Values::Bytes(bytes.into()), None)
    }

    fn replaced(&self, stage: &str, values: Values, timeout: Option<Duration>) -> Result<(), UpdateError> {
        let replacement = self.supervisor.replace(stage, values)?;
        let Ok(outcome) = self.supervisor.wait_replaced(&replacement, timeout, |waiting| {
            if let Waiting::For(busy) = waiting {
                aside::log(move || tracing::info!("the replacement waits for {busy}"));
            }
            Ok::<_, Infallible>(())
        });
        outcome
    }

    fn updated(
        &self,
        stage: &str,
        key: Option<&str>,
        values: Values,
        timeout: Option<Duration>,
    ) -> Result<(), UpdateError> {
        let updated = self.supervisor.update(stage, key, values)?;
        let Ok(outcome) = self.supervisor.wait_updated(&updated, timeout, |waiting| {
            if let Waiting::For(busy) = waiting {
                aside::log(move || tracing::info!("the update waits for {busy}"));
            }
            Ok::<_, Infallible>(())
        });
        outcome
    }
}
