//! The notices that are given unasked: samples that are dropped, a stage that fails, a stage that hangs.

use crate::aside;
use crate::clock::{Clock, Moment, in_nanoseconds};
use crate::policies::Overflow;
use crate::sample::SampleId;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The shortest time between two notices about the drops of one buffer.
const DROPS_EVERY: Duration = Duration::from_secs(60);

/// The number of notices that wait for a binding that does not fetch them; older ones are forgotten.
const WAITING: usize = 256;

/// Something that a user should know when it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A number of samples more were dropped in front of a stage.
    Dropped {
        /// The stage's name.
        stage: String,
        /// The number of them since the last notice.
        samples: u64,
        /// True if they are the first.
        first: bool,
        /// The policy of the buffer when it is full.
        overflow: Overflow,
    },
    /// The pipeline has failed.
    Failed,
    /// A source has failed or ended, and is to be opened again.
    SourceLost {
        /// The source's name.
        source: String,
        /// The text of the error, if it failed.
        error: Option<String>,
        /// The number of times since the last notice of it.
        times: u64,
        /// The time until it is opened again.
        wait: Duration,
    },
    /// A source gives nothing for longer than it may.
    SourceStalled {
        /// The source's name.
        source: String,
        /// The time that it may give nothing.
        after: Duration,
        /// True if it is closed, to be opened again.
        closes: bool,
    },
    /// The binding is to close a source; no word of it is logged.
    CloseSource {
        /// The source, by its place among those that have a worker.
        source: usize,
    },
    /// A source of which that was told gives samples again.
    SourceBack {
        /// The source's name.
        source: String,
    },
    /// A stage on a thread takes longer on a sample than its time limit, and has not returned.
    Hangs {
        /// The stage's name.
        stage: String,
        /// The place of the worker among all of the pipeline.
        worker: usize,
        /// The sample that it works on.
        sample: SampleId,
        /// The stage's time limit.
        time_limit: Duration,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Dropped { stage, first: true, overflow, .. } => write!(
                f,
                "stage {stage:?} is slower than its samples come, and they are dropped (overflow is \"{overflow}\"): give \
                 overflow \"block\" where nothing may be lost; more workers or a larger buffer_size drop fewer"
            ),
            Notice::Dropped { stage, samples: 1, .. } => write!(f, "1 more sample was dropped in front of {stage:?}"),
            Notice::Dropped { stage, samples, .. } => {
                write!(f, "{samples} more samples were dropped in front of {stage:?}")
            }
            Notice::Failed => f.write_str("the pipeline has failed"),
            Notice::SourceLost { source, error, times, wait } => {
                match error {
                    Some(error) => write!(f, "source {source:?} failed: {error}; ")?,
                    None => write!(f, "source {source:?} ended; ")?,
                }
                if *times > 1 {
                    write!(f, "it was lost {times} times since the last word of it; ")?;
                }
                write!(f, "it is opened again in {wait:?}")
            }
            Notice::SourceStalled { source, after, closes } => {
                write!(f, "source {source:?} has given nothing for {after:?}")?;
                if *closes { f.write_str("; it is closed, to be opened again") } else { Ok(()) }
            }
            Notice::CloseSource { source } => write!(f, "source {source} is to be closed"),
            Notice::SourceBack { source } => write!(f, "source {source:?} gives samples again"),
            Notice::Hangs { stage, sample, time_limit, .. } => {
                write!(
                    f,
                    "stage {stage:?} hangs: sample {sample} has taken longer than its time_limit of {time_limit:?}"
                )
            }
        }
    }
}

/// The number of marks that are kept for the timeline; older ones are forgotten.
const MARKS: usize = 256;

/// Notices on their way to the log, and to a binding that has one of its own.
#[derive(Default)]
pub(crate) struct Notices {
    clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
    /// What happened to the pipeline, and when.
    marks: Mutex<VecDeque<(Moment, String)>>,
}

#[derive(Default)]
struct State {
    /// True if a binding fetches them.
    kept: bool,
    waiting: VecDeque<Notice>,
    over: bool,
}

impl Notices {
    pub(crate) fn new(clock: Clock) -> Self {
        Notices { clock, ..Notices::default() }
    }

    /// Keeps what happened to the pipeline for its timeline. It takes no other lock.
    pub(crate) fn mark(&self, text: String) {
        let mut marks = self.marks.lock();
        if marks.len() == MARKS {
            marks.pop_front();
        }
        marks.push_back((self.clock.moment(), text));
    }

    /// Returns what was kept so, oldest first.
    pub(crate) fn marks(&self) -> Vec<(Moment, String)> {
        self.marks.lock().iter().cloned().collect()
    }

    /// Keeps notices from now on, until `next` fetches them.
    pub(crate) fn keep(&self) {
        self.state.lock().kept = true;
    }

    /// Tells one; outside of every lock.
    pub(crate) fn tell(&self, notice: Notice) {
        let text = notice.to_string();
        // A timeline shows each sample that was dropped, and a failure is marked with its cause.
        if !matches!(notice, Notice::Dropped { .. } | Notice::Failed | Notice::CloseSource { .. }) {
            self.mark(text.clone());
        }
        match notice {
            // A failure is logged with its cause.
            Notice::Failed | Notice::CloseSource { .. } => {}
            Notice::SourceBack { .. } => aside::log(move || tracing::info!("{text}")),
            _ => aside::log(move || tracing::warn!("{text}")),
        }
        let mut state = self.state.lock();
        if !state.kept {
            return;
        }
        if state.waiting.len() == WAITING {
            state.waiting.pop_front();
        }
        state.waiting.push_back(notice);
        drop(state);
        self.changed.notify_one();
    }

    /// Ends the notices: no more will be given.
    pub(crate) fn end(&self) {
        self.state.lock().over = true;
        self.changed.notify_all();
    }

    /// Waits for the next; `None` after the last.
    pub(crate) fn next(&self) -> Option<Notice> {
        let mut state = self.state.lock();
        loop {
            match state.waiting.pop_front() {
                None if !state.over => self.changed.wait(&mut state),
                next => return next,
            }
        }
    }
}

/// A log of which drops of one buffer have been told.
#[derive(Default)]
pub(crate) struct DropLog {
    told: Mutex<u64>,
    /// The moment from which drops may be told again. Every dropped sample asks, so no lock is taken for it.
    due: AtomicU64,
}

impl DropLog {
    /// Returns true if drops may be told again.
    #[inline]
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        now.0 >= self.due.load(Ordering::Relaxed)
    }

    /// Returns how many of `dropped` drops are to be told now, and whether they are the first.
    pub(crate) fn untold(&self, dropped: u64, now: Moment) -> Option<(u64, bool)> {
        let mut told = self.told.lock();
        let samples = dropped.checked_sub(*told).filter(|samples| *samples > 0)?;
        let first = *told == 0;
        *told = dropped;
        self.due.store(now.0.saturating_add(in_nanoseconds(DROPS_EVERY)), Ordering::Relaxed);
        Some((samples, first))
    }
}

#[cfg(test)]
mod tests {
    use super::{DROPS_EVERY, DropLog};
    use crate::clock::{Moment, in_nanoseconds};

    #[test]
    fn the_first_drop_is_told_at_once_and_later_ones_are_summed_up() {
        let (log, start) = (DropLog::default(), Moment::now());
        let later = Moment(start.0 + in_nanoseconds(DROPS_EVERY));
        assert_eq!(log.untold(0, start), None);
        assert!(log.is_due(start));
        assert_eq!(log.untold(1, start), Some((1, true)));
        assert!(!log.is_due(start));
        assert!(log.is_due(later));
        assert_eq!(log.untold(8, later), Some((7, false)));
        assert_eq!(log.untold(8, later), None);
    }
}
