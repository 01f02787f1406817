//! Reports from anywhere, also of a pipeline whose handle is elsewhere.

use super::Pipeline;
use crate::report::{Report, Timeline};
use crate::supervisor::Supervisor;
use parking_lot::Mutex;
use std::fmt;
use std::sync::{Arc, Weak};

/// What a reporter says: what happened to every sample, and the text of the failure that stopped the pipeline.
type Said = (Report, Option<String>);

/// The last that was said of a pipeline.
pub(crate) type LastSaid = Arc<Mutex<Option<Said>>>;

/// A handle that reports on a pipeline from any thread, and keeps nothing of it alive: what a monitor holds.
#[derive(Clone)]
pub struct Reporter {
    pipeline: Weak<dyn Reports>,
    last: LastSaid,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("is_there", &self.is_there()).finish_non_exhaustive()
    }
}

impl Reporter {
    /// Makes the reporter of a pipeline that this supervises.
    #[doc(hidden)]
    pub fn of<V: Send + 'static>(supervisor: &Arc<Supervisor<V>>) -> Self {
        let pipeline: Weak<Supervisor<V>> = Arc::downgrade(supervisor);
        Reporter { pipeline, last: supervisor.last_said() }
    }

    /// Returns true as long as the pipeline is there.
    pub fn is_there(&self) -> bool {
        self.pipeline.strong_count() > 0
    }

    /// Returns what happened to every sample up to now, or up to the moment when the handle of the pipeline was dropped, and
    /// the text of the failure that stopped it, if one did. `None` only where it went without a word.
    pub fn report(&self) -> Option<(Report, Option<String>)> {
        match self.pipeline.upgrade() {
            Some(pipeline) => Some(pipeline.say()),
            None => self.last.lock().clone(),
        }
    }

    /// Returns when each of the last samples came to a stage, was taken there, and ended; `None` once the pipeline is gone.
    pub fn timeline(&self) -> Option<Timeline> {
        self.pipeline.upgrade().map(|pipeline| pipeline.last_visits())
    }
}

/// What can be reported on, whatever flows through it.
trait Reports: Send + Sync {
    fn say(&self) -> Said;
    fn last_visits(&self) -> Timeline;
}

impl<V: Send + 'static> Reports for Supervisor<V> {
    fn say(&self) -> Said {
        (self.report(), self.failure().map(|failure| failure.to_string()))
    }

    fn last_visits(&self) -> Timeline {
        self.timeline()
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// Leaves a last word to the reporters, if there are any, before the handle of the pipeline is gone.
    #[doc(hidden)]
    pub fn say_last(&self) {
        if let Some(last) = self.last_said_if_any() {
            let said = self.say();
            *last.lock() = Some(said);
        }
    }
}

impl<I, T> Pipeline<I, T> {
    /// Returns a handle that reports on the pipeline from any thread, also when this one is gone.
    pub fn reporter(&self) -> Reporter {
        Reporter::of(&self.supervisor)
    }
}
