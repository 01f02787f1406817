//! A source that is opened by a function, and opened again after an error or an end.

use crate::stage::Source;
use crate::supervisor::Closer;
use crate::unwind::BoxError;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The time that passes before a source is opened again, unless [`wait`](Restart::wait) says otherwise.
const WAIT: Duration = Duration::from_millis(500);
/// The most that this time grows to, unless [`at_most`](Restart::at_most) says otherwise.
const AT_MOST: Duration = Duration::from_secs(30);

/// When a source is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// The time before it is opened again. It is doubled each time that it then gives no sample.
    pub wait: Duration,
    /// The most that this time grows to.
    pub at_most: Duration,
    /// The number of times in a row that it is opened again without giving a sample, before it has failed for good;
    /// `None` has no end.
    pub times: Option<u32>,
}

/// A source that a function opens, and that is opened again after an error or an end, as cameras are.
///
/// The function runs on the source's own worker once everything is up. When it fails, or what it has opened fails or ends,
/// it is called again after a wait, which is doubled each time in a row that no sample came. The pipeline runs meanwhile,
/// and the report and the log tell what the source does. It ends by `setstop`, by `remove_source`, and when it has failed
/// [so often in a row](Restart::times).
///
/// ```
/// use deeppipeline::Pipeline;
/// use deeppipeline::builder::Restart;
/// use std::time::Duration;
///
/// let mut opened = 0;
/// let camera = Restart::new(move || {
///     opened += 1;
///     if opened <= 2 { Ok([opened, opened].into_iter()) } else { Err("no such address".into()) }
/// });
/// let mut frames = Pipeline::builder()
///     .source(camera.wait(Duration::from_millis(1)).times(2))
///     .stage(|frame: u32| frame)
///     .stream()?;
/// let seen: Vec<u32> = frames.by_ref().take(4).collect::<Result<_, _>>()?;
/// assert_eq!(seen, [1, 1, 2, 2]);
/// assert!(frames.next().unwrap().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Restart<F, S> {
    open: F,
    source: Option<S>,
    /// The closer of what is open.
    closer: Arc<Mutex<Option<Arc<Closer>>>>,
    policy: RestartPolicy,
    is_live: bool,
}

impl<F, S> fmt::Debug for Restart<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restart").field("policy", &self.policy).field("is_live", &self.is_live).finish_non_exhaustive()
    }
}

impl<F, S> Restart<F, S>
where
    F: FnMut() -> Result<S, BoxError> + 'static,
    S: Source,
{
    /// Begins to describe a source that this function opens.
    pub fn new(open: F) -> Self {
        let policy = RestartPolicy { wait: WAIT, at_most: AT_MOST, times: None };
        Restart { open, source: None, closer: Arc::default(), policy, is_live: false }
    }

    /// Sets the time before it is opened again: 0.5 s by default. It is doubled each time in a row that no sample came.
    pub fn wait(self, wait: Duration) -> Self {
        Restart { policy: RestartPolicy { wait, ..self.policy }, ..self }
    }

    /// Sets the most that this time grows to: 30 s by default.
    pub fn at_most(self, at_most: Duration) -> Self {
        Restart { policy: RestartPolicy { at_most, ..self.policy }, ..self }
    }

    /// Sets the number of times in a row that it is opened again without giving a sample, before it has failed for good.
    /// By default it is opened again for ever.
    pub fn times(self, times: u32) -> Self {
        Restart { policy: RestartPolicy { times: Some(times), ..self.policy }, ..self }
    }

    /// Says that its samples come at their own pace, as those of a camera do: the oldest are dropped where a buffer is
    /// full, unless an `overflow` says otherwise.
    pub fn live(self) -> Self {
        Restart { is_live: true, ..self }
    }

    /// Closes what is open.
    fn leave(&mut self) {
        self.closer.lock().take();
        self.source = None;
    }
}

impl<F, S> Source for Restart<F, S>
where
    F: FnMut() -> Result<S, BoxError> + 'static,
    S: Source,
{
    type Item = S::Item;

    fn restart(&self) -> Option<RestartPolicy> {
        Some(self.policy)
    }

    fn source_open(&mut self) -> Result<(), BoxError> {
        // What has panicked is still open.
        self.leave();
        let mut source = (self.open)()?;
        source.source_open()?;
        *self.closer.lock() = source.closer().map(Arc::new);
        self.source = Some(source);
        Ok(())
    }

    fn source_next(&mut self) -> Result<Option<S::Item>, BoxError> {
        let Some(source) = &mut self.source else { return Ok(None) };
        let next = source.source_next();
        // A device is to be free while nobody reads from it.
        if !matches!(next, Ok(Some(_))) {
            self.leave();
        }
        next
    }

    fn is_live(&self) -> bool {
        self.is_live
    }

    fn closer(&self) -> Option<Closer> {
        let closer = Arc::clone(&self.closer);
        Some(Box::new(move || {
            // It is the user's, and may wait: not under the lock.
            let present = closer.lock().clone();
            if let Some(close) = present {
                close();
            }
        }))
    }
}
