//! A camera that goes away and comes back, as one recording.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deeppipeline::builder::Restart;
use deeppipeline::{BoxError, Source};

use super::Capture;
use crate::frame::Frame;

/// A [`Capture`] that was opened again: the numbers and the times of its pictures go on from those before.
pub struct Reopened {
    capture: Capture,
    /// What is added to the numbers and the times that the capture itself gives.
    from: (u64, Duration),
    /// The number of the next picture, for the one that is opened after this.
    next: Arc<AtomicU64>,
}

impl Capture {
    /// Makes it a source that is opened again, with the same options, after an error or an end: a camera that goes away
    /// and comes back. It is one recording: the numbers of pictures go on, and times are those of the clock since now.
    ///
    /// ```no_run
    /// use deeppipeline::Pipeline;
    /// use deeppipeline_vision::Capture;
    /// use std::time::Duration;
    ///
    /// let camera = Capture::open("rtsp://north/stream")?;
    /// let pipeline = Pipeline::builder()
    ///     .source(camera.restarting().wait(Duration::from_secs(1)))
    ///     .stall_timeout(Duration::from_secs(10))
    ///     .end_stage(|frame| println!("{frame:?}"))
    ///     .start()?;
    /// # pipeline.setstop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restarting(self) -> Restart<impl FnMut() -> Result<Reopened, BoxError> + Send, Reopened> {
        let (is_live, options, began) = (self.is_live(), self.options.clone(), Instant::now());
        let (mut first, next) = (Some(self), Arc::new(AtomicU64::new(0)));
        let restart = Restart::new(move || {
            let (capture, since) = match first.take() {
                Some(first) => (first, Duration::ZERO),
                None => (options.clone().open()?, began.elapsed()),
            };
            let from = (next.load(Ordering::Relaxed), since);
            Ok(Reopened { capture, from, next: Arc::clone(&next) })
        });
        if is_live { restart.live() } else { restart }
    }
}

impl Source for Reopened {
    type Item = Frame;

    fn source_next(&mut self) -> Result<Option<Frame>, BoxError> {
        let Some(mut frame) = self.capture.source_next()? else { return Ok(None) };
        frame.index += self.from.0;
        frame.time += self.from.1;
        // Read by the same thread, when it opens the next.
        self.next.store(frame.index + 1, Ordering::Relaxed);
        Ok(Some(frame))
    }

    fn closer(&self) -> Option<Box<dyn Fn() + Send + Sync>> {
        self.capture.closer()
    }
}
