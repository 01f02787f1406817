//! The fates of samples that were submitted and have no answer.

use super::{BoxError, Doing, Failure};
use crate::sample::SampleId;
use std::fmt;
use std::sync::Arc;

/// The fate of a sample that was submitted and for which the last stage gave nothing: the same as in the report.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NoAnswer {
    /// It was dropped in front of a stage.
    Dropped {
        /// The stage.
        stage: String,
        /// The rule by which it was.
        why: DroppedBy,
    },
    /// A stage ended it without a result of its own.
    Skipped {
        /// The stage.
        stage: String,
        /// The way in which it did.
        why: SkippedBy,
    },
    /// A stage failed on it.
    Failed(StageFailure),
    /// A worker had it in flight when its process died, or kept others waiting with it for too long.
    Lost {
        /// The stage.
        stage: String,
    },
    /// It was given up because the pipeline stopped.
    Discarded(Discarded),
    /// A flush came before it had gone through.
    Flushed,
    /// It became several, and one answer was asked for: [`all`](crate::pipeline::Answer::all) has them.
    Several {
        /// The number of values that came of it.
        values: usize,
    },
}

/// The rule by which a sample was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DroppedBy {
    /// It was the oldest in a buffer that was full (`drop_oldest`).
    Oldest,
    /// It arrived when the buffer was full (`drop_newest`).
    Newest,
    /// The intake `latest` took a newer one.
    Superseded,
    /// It was older than `max_age` when it was to be taken.
    Expired,
}

impl DroppedBy {
    /// The same in one word, as the report's counter of it has.
    pub fn word(self) -> &'static str {
        match self {
            DroppedBy::Oldest => "oldest",
            DroppedBy::Newest => "newest",
            DroppedBy::Superseded => "superseded",
            DroppedBy::Expired => "expired",
        }
    }
}

/// The way in which a stage ended a sample without a result of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SkippedBy {
    /// It gave nothing.
    Stage,
    /// It used it in a list whose result went on under the newest sample's number.
    List,
    /// It keeps it for a later window, whose result goes on under another sample's number.
    Window,
}

impl SkippedBy {
    /// The same in one word.
    pub fn word(self) -> &'static str {
        match self {
            SkippedBy::Stage => "stage",
            SkippedBy::List => "list",
            SkippedBy::Window => "window",
        }
    }
}

/// The failure of a stage on a sample. Cloning is cheap.
#[derive(Clone)]
pub struct StageFailure(Arc<Failure>);

impl StageFailure {
    pub(crate) fn new(failure: Arc<Failure>) -> Self {
        StageFailure(failure)
    }

    /// The same where a worker process died before it could tell the error.
    pub(crate) fn of(failure: Option<Arc<Failure>>, stage: String) -> Self {
        StageFailure(failure.unwrap_or_else(|| {
            let cause: BoxError = "its worker died before it could tell the error".into();
            Arc::new(Failure { stage, doing: Doing::StageRun, sample: None, cause })
        }))
    }

    /// Returns the name of the stage that failed.
    pub fn stage(&self) -> &str {
        &self.0.stage
    }

    /// Returns what the stage was doing.
    pub fn doing(&self) -> Doing {
        self.0.doing
    }

    /// Returns the sample it was working on, if any; for a list, its newest.
    pub fn sample(&self) -> Option<SampleId> {
        self.0.sample
    }

    /// Returns the error that the stage's own code returned, or a [`StagePanic`](super::StagePanic).
    pub fn cause(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.0.cause
    }
}

impl fmt::Display for StageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A sample was given up because the pipeline stopped.
#[derive(Debug, Clone)]
pub struct Discarded {
    pub(crate) cause: Option<StageFailure>,
}

impl Discarded {
    /// Returns the failure that stopped the pipeline; none where it was stopped on request.
    pub fn cause(&self) -> Option<&StageFailure> {
        self.cause.as_ref()
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::Dropped { stage, why } => {
                write!(f, "the sample was dropped in front of stage {stage:?}: ")?;
                f.write_str(match why {
                    DroppedBy::Oldest => "it was the oldest when the buffer was full",
                    DroppedBy::Newest => "the buffer was full when it came",
                    DroppedBy::Superseded => "a newer one was taken",
                    DroppedBy::Expired => "it was older than max_age",
                })
            }
            NoAnswer::Skipped { stage, why } => {
                write!(f, "the sample has no result of its own: stage {stage:?} ")?;
                f.write_str(match why {
                    SkippedBy::Stage => "skipped it",
                    SkippedBy::List => "used it in a list, whose result went on under the newest sample's number",
                    SkippedBy::Window => "keeps it for a later window, whose result goes on under another's number",
                })
            }
            NoAnswer::Failed(failure) => failure.fmt(f),
            NoAnswer::Lost { stage } => write!(f, "the sample was lost in stage {stage:?}, whose worker died or hung"),
            NoAnswer::Discarded(Discarded { cause: None }) => {
                f.write_str("the sample was discarded, since the pipeline was aborted")
            }
            NoAnswer::Discarded(Discarded { cause: Some(cause) }) => {
                write!(f, "the sample was discarded, since the pipeline failed: {cause}")
            }
            NoAnswer::Flushed => f.write_str("the sample was flushed"),
            NoAnswer::Several { values } => {
                write!(f, "the sample became {values} values, and one was asked for: ask for all()")
            }
        }
    }
}

/// The text of a failure includes what its cause says, so the source is what caused that.
impl std::error::Error for NoAnswer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NoAnswer::Failed(failure) | NoAnswer::Discarded(Discarded { cause: Some(failure) }) => {
                failure.cause().source()
            }
            _ => None,
        }
    }
}
