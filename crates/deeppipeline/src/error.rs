//! Errors: one small type per operation. An error that concerns a sample of the caller's hands it back.

#[cfg(feature = "dead-letters")]
mod dead_letter;
mod no_answer;
mod readable;
mod scale;

use crate::report::Report;
use crate::sample::SampleId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::buffer::{MemoryDamaged, SampleTooLarge};
pub use crate::graph::GraphError;
pub use crate::policies::UnknownPolicy;
pub use crate::unwind::{BoxError, StagePanic};
#[cfg(feature = "dead-letters")]
pub use dead_letter::DeadLetterError;
pub use no_answer::{Discarded, DroppedBy, NoAnswer, SkippedBy, StageFailure};
pub use scale::ScaleError;

/// The operation of a stage during which it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Doing {
    /// `setup`
    Setup,
    /// `stage_run`
    StageRun,
    /// `finish`
    Finish,
    /// `teardown`
    Teardown,
    /// Asking the source for its next sample.
    SourceNext,
    /// Opening the source, where it may be opened again.
    SourceOpen,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::Setup => "setup",
            Doing::StageRun => "stage_run",
            Doing::Finish => "finish",
            Doing::Teardown => "teardown",
            Doing::SourceNext => "source_next",
            Doing::SourceOpen => "source_open",
        })
    }
}

/// A stage or the source failed, and the pipeline stopped because of it.
///
/// Cloning is cheap; every clone speaks of the same failure.
#[derive(Clone)]
pub struct StageError {
    failure: Arc<Failure>,
    report: Arc<Report>,
}

/// The failure itself, before anyone has asked for the report that goes with it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) stage: String,
    pub(crate) doing: Doing,
    pub(crate) sample: Option<SampleId>,
    pub(crate) cause: BoxError,
}

impl StageError {
    pub(crate) fn new(failure: Arc<Failure>, report: Report) -> Self {
        StageError { failure, report: Arc::new(report) }
    }

    /// The same failure, told with a later report.
    pub(crate) fn with_report(self, report: Report) -> Self {
        StageError::new(self.failure, report)
    }

    /// Returns the name of the stage that failed; `"source"` for the source.
    pub fn stage(&self) -> &str {
        &self.failure.stage
    }

    /// Returns what the stage was doing.
    pub fn doing(&self) -> Doing {
        self.failure.doing
    }

    /// Returns the sample it was working on, if any; for a list, its newest.
    pub fn sample(&self) -> Option<SampleId> {
        self.failure.sample
    }

    /// Returns the error that the stage's own code returned, or a [`StagePanic`].
    pub fn cause(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.failure.cause
    }

    /// Returns what happened to every sample up to the moment this error was handed out.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { stage, doing, sample, cause } = self;
        write!(f, "stage {stage:?} failed in {doing}")?;
        if let Some(sample) = sample {
            write!(f, " on sample {sample}")?;
        }
        write!(f, ": {cause}")
    }
}

/// The text of this error includes what its [`cause`](StageError::cause) says, so the source is what caused that.
impl std::error::Error for StageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.cause.source()
    }
}

/// An error that a stage in another process returned: its text, and what the binding there adds.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RemoteError {
    pub(crate) text: String,
    pub(crate) detail: Vec<u8>,
}

impl RemoteError {
    /// Returns what the binding in that process added, for the one in this process to read: in Python, the pickled
    /// exception.
    pub fn detail(&self) -> &[u8] {
        &self.detail
    }
}

/// The way a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It has ended, and its exit status is lost: SIGCHLD is ignored, or another part of the program collects its
    /// children.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Exit::Code(code) => write!(f, "ended with exit code {code}"),
            Exit::Signal(signal) => {
                write!(f, "was killed by {}", signal_name(signal))?;
                // The kill that the kernel sends when memory runs out looks like any other.
                if signal == 9 { f.write_str(" (a kill, or the system ran out of memory)") } else { Ok(()) }
            }
            Exit::Unknown => f.write_str(
                "ended (nobody can tell how: SIGCHLD is ignored, or the program collects children that are not its own)",
            ),
        }
    }
}

/// The signals that end processes which did not expect it.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        _ => return format!("signal {signal}"),
    };
    format!("{name} (signal {signal})")
}

/// A worker process died, and is not started again.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkerDied {
    /// The way it ended.
    pub exit: Exit,
    /// The time limit of `stage_run` for which it was killed, if it was.
    pub time_limit: Option<Duration>,
    /// The number of times that it had been restarted within [`RESTART_WINDOW`](crate::processes::RESTART_WINDOW).
    pub restarts: usize,
    /// True if it died before it was ready for the first time.
    pub while_starting: bool,
    /// True if it was killed because it stood still, stopped by a signal or a debugger, in the middle of a transaction
    /// at a buffer, where no other process could go on.
    pub stood_still: bool,
    /// The last lines that it wrote to stderr, oldest first.
    pub stderr: Vec<String>,
}

impl fmt::Display for WorkerDied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.time_limit {
            Some(limit) => write!(f, "its worker was killed for taking longer than {limit:?} on one sample")?,
            None if self.stood_still => f.write_str(
                "its worker was stopped (SIGSTOP, a debugger, a frozen control group) in the middle of a step at a buffer, \
                 and was killed because nobody could go on",
            )?,
            None => write!(f, "its worker {}", self.exit)?,
        }
        if self.while_starting {
            f.write_str(" before it was ready")?;
        }
        if self.restarts > 0 {
            write!(f, "; it had been restarted {} times within {:?}", self.restarts, crate::processes::RESTART_WINDOW)?;
        }
        if !self.stderr.is_empty() {
            write!(f, "; the last it wrote to stderr:\n  {}", self.stderr.join("\n  "))?;
        }
        Ok(())
    }
}

impl std::error::Error for WorkerDied {}

/// The error for what a stage in a branch of a parallel block gave beside the one result of its sample.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotJoined(pub(crate) &'static str);

/// The error of a stage that gave another number of results than it got samples.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it gave {results} results for a batch of {samples}, but must give one for each sample; a batch that folds gives one \
     for all"
)]
pub struct WrongNumberOfResults {
    pub(crate) results: usize,
    pub(crate) samples: usize,
}

/// A source gave nothing for longer than its `stall_timeout`, and did not return from the user's code though it was closed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("it has given nothing for {after:?}, and does not return though it was closed: it is left behind")]
pub struct Stalled {
    /// The time that it may give nothing.
    pub after: Duration,
}

/// The pipeline did not come up.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The description is invalid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A stage's `setup` failed.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A `setup` took too long; the pipeline was aborted.
    #[error("{stages:?} still in setup after {timeout:?}; the pipeline was aborted")]
    Timeout {
        /// The stages whose `setup` had not returned.
        stages: Vec<String>,
        /// The time that `start` waited.
        timeout: Duration,
    },
    /// The operating system refused memory to share with worker processes.
    #[error(
        "cannot map {bytes} bytes of addresses for the buffer of stage {stage:?} ({cause}): lower buffer_size or buffer_bytes, or raise the limit of addresses (ulimit -v)"
    )]
    Memory {
        /// The stage behind that buffer.
        stage: String,
        /// Bytes of addresses that it takes before there is a sample in it; only what is used is ever backed by memory.
        bytes: u128,
        /// The reason.
        cause: std::io::Error,
    },
    /// This process was started as a worker, and has gone on as if it were the program itself.
    #[error(
        "this process is a worker: begin main with deeppipeline::worker().stage::<...>().run(), before anything else"
    )]
    StartedInsideWorker,
    /// The operating system refused a process.
    #[error("cannot start a process for stage {stage:?}: {cause}")]
    Process {
        /// The stage that stayed without a worker.
        stage: String,
        /// The reason.
        cause: std::io::Error,
    },
    /// The operating system refused a thread.
    #[error("cannot start a thread for stage {stage:?}: {cause}")]
    Thread {
        /// The stage that stayed without a worker.
        stage: String,
        /// The reason.
        cause: std::io::Error,
    },
}

/// An end stage still works on what had entered before a flush.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{stages:?} still at work after {timeout:?} on what had entered before the flush; nothing else of it is left")]
#[non_exhaustive]
pub struct FlushTimeout {
    /// The end stages that still work on it.
    pub stages: Vec<String>,
    /// The time that the flush waited.
    pub timeout: Duration,
}

/// A pipeline was told something about a stage that it does not have.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("no stage is named {got:?}; there are {known:?}")]
#[non_exhaustive]
pub struct UnknownStage {
    /// The name that was given.
    pub got: String,
    /// The names of its stages.
    pub known: Vec<String>,
}

/// An update of a stage was not applied by all of its workers.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// There is no stage of that name.
    #[error(transparent)]
    UnknownStage(#[from] UnknownStage),
    /// The pipeline stops, or has stopped.
    #[error("stage {stage:?} was not changed: the pipeline does not run any longer")]
    NotRunning {
        /// The stage.
        stage: String,
    },
    /// The caller is one of the pipeline's own stages, which would wait for itself.
    #[error("change of stage {stage:?} from one of the pipeline's own stages: say it from outside")]
    OwnStage {
        /// The stage.
        stage: String,
    },
    /// Values of one process cannot be read in another.
    #[error("stage {stage:?} is {}", if *in_process { "in a process: use update_settings or replace_settings" } else { "on a thread: use update or replace" })]
    Elsewhere {
        /// The stage.
        stage: String,
        /// True if it is in a process.
        in_process: bool,
    },
    /// The settings cannot cross to the process of the stage.
    #[error("the settings for stage {stage:?} cannot be sent: {cause}")]
    Settings {
        /// The stage.
        stage: String,
        /// The reason.
        cause: BoxError,
    },
    /// A worker's stage refused the update, and goes on as it is.
    #[error("worker {worker} of stage {stage:?} failed in update: {cause}")]
    Failed {
        /// The stage.
        stage: String,
        /// The index of the worker.
        worker: usize,
        /// The stage's own error.
        cause: BoxError,
    },
    /// A worker could not set the new stage up, or its process has died meanwhile: all workers go on with the old one.
    #[error("worker {worker} of stage {stage:?} failed in setup of its replacement: {cause}")]
    NotReplaced {
        /// The stage.
        stage: String,
        /// The index of the worker.
        worker: usize,
        /// The new stage's own error.
        cause: BoxError,
    },
    /// Another replacement of the stage is under way, or one that was given up, of which a worker has not heard yet.
    #[error(
        "stage {stage:?} is being replaced already, or a worker has not heard yet that the last replacement was given up"
    )]
    BeingReplaced {
        /// The stage.
        stage: String,
    },
    /// Workers join or leave the stage.
    #[error("stage {stage:?} is being scaled: replace it afterwards")]
    BeingScaled {
        /// The stage.
        stage: String,
    },
    /// Some workers were still at work on a sample, or in the new stage's `setup`.
    #[error(
        "replacement of stage {stage:?} timed out after {timeout:?}: workers {workers:?} {}",
        if *exchanges { "are still at work, and change over before their next sample" }
        else { "have not set the new one up, and the old one goes on, after a setup that has begun" }
    )]
    ReplaceTimeout {
        /// The stage.
        stage: String,
        /// The indexes of these workers.
        workers: Vec<usize>,
        /// The time that the caller waited.
        timeout: Duration,
        /// True if every worker has set the new stage up, so that it takes its place; otherwise the old one goes on.
        exchanges: bool,
    },
    /// Some workers were still at work on a sample; they apply the update before their next one.
    #[error("update of stage {stage:?} timed out after {timeout:?}: workers {workers:?} are still at work")]
    Timeout {
        /// The stage.
        stage: String,
        /// The indexes of these workers.
        workers: Vec<usize>,
        /// The time that the caller waited.
        timeout: Duration,
    },
}

/// `run` failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The pipeline did not come up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A stage or the source failed.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// The pipeline did not take the sample; it is handed back.
#[non_exhaustive]
pub enum PutError<T> {
    /// The first buffer stayed full until the time-out.
    Timeout(T),
    /// `setstop`, `join` or `abort` came before.
    Closed(T),
    /// A stage failed; the pipeline has stopped.
    Stage(T, StageError),
    /// A stage must not put into its own pipeline.
    OwnStage(T),
    /// The first stage runs in a process, and the sample cannot be sent there.
    Refused(T, BoxError),
    /// The pipeline has no entrance of that name, or several, of which none was named.
    Entrance(T, Box<EntranceError>),
}

/// A reason why an entrance or a source cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntranceError {
    /// A `put` must say where, once there are several entrances.
    #[error("the entrances of the pipeline have names, and the put says none: it wants one of {known:?}")]
    NotNamed {
        /// The names of those into which samples may be put.
        known: Vec<String>,
    },
    /// There is no entrance of that name to put into.
    #[error("no entrance to put into is named {got:?}; there are {known:?}")]
    UnknownEntrance {
        /// The name that was asked for.
        got: String,
        /// The names of those that there are.
        known: Vec<String>,
    },
    /// There is no source of that name.
    #[error("no source is named {got:?}; there are {known:?}")]
    UnknownSource {
        /// The name that was asked for.
        got: String,
        /// The names of those that there are.
        known: Vec<String>,
    },
    /// There is no source or entrance of that name.
    #[error("no source or entrance is named {got:?}; there are {known:?}")]
    Unknown {
        /// The name that was asked for.
        got: String,
        /// The names of those that there are.
        known: Vec<String>,
    },
    /// The one entrance of the pipeline has no name.
    #[error(
        "no source or entrance is named {got:?}: the pipeline has one, without a name; a flush without a source is for all"
    )]
    Unnamed {
        /// The name that was asked for.
        got: String,
    },
    /// There is a limit to the sources that were flushed and of which something is still in work.
    #[error("samples of {most} flushed sources are still in work: flush all, or again once stages have ended them")]
    TooManyFlushed {
        /// The number that there may be.
        most: usize,
    },
    /// End stages still work on what the source had given.
    #[error(transparent)]
    NotFlushed(#[from] FlushTimeout),
    /// Names tell entrances apart.
    #[error("an entrance is named {name:?} already: give the source a name of its own, or remove the other first")]
    Twice {
        /// The name.
        name: String,
    },
    /// There is a limit to the entrances at one time.
    #[error("the pipeline has {most} entrances, and cannot have more at the same time: remove a source first")]
    TooMany {
        /// The number that there may be.
        most: usize,
    },
    /// Only what has a name can be added or removed.
    #[error(
        "the pipeline has one entrance, without a name: begin with named sources or entrances to add others while it runs"
    )]
    OnlyOne,
    /// The description of the entrance is invalid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// What stops takes nothing more.
    #[error(
        "source {name:?} is added after setstop, or after all sources have ended: the pipeline takes no more samples"
    )]
    Closed {
        /// The name of the source.
        name: String,
    },
}

impl<T> PutError<T> {
    /// Returns the sample that was not taken.
    pub fn into_sample(self) -> T {
        match self {
            PutError::Timeout(x) | PutError::Closed(x) | PutError::OwnStage(x) => x,
            PutError::Stage(x, _) | PutError::Refused(x, _) | PutError::Entrance(x, _) => x,
        }
    }

    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> PutError<U> {
        match self {
            PutError::Timeout(x) => PutError::Timeout(f(x)),
            PutError::Closed(x) => PutError::Closed(f(x)),
            PutError::Stage(x, error) => PutError::Stage(f(x), error),
            PutError::OwnStage(x) => PutError::OwnStage(f(x)),
            PutError::Refused(x, cause) => PutError::Refused(f(x), cause),
            PutError::Entrance(x, cause) => PutError::Entrance(f(x), cause),
        }
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutError::Timeout(_) => "put timed out: the buffer of the first stage stayed full",
            PutError::Closed(_) => "put after setstop: the pipeline takes no more samples",
            PutError::Stage(_, error) => return error.fmt(f),
            PutError::OwnStage(_) => {
                "put from one of the pipeline's own stages: give the value back from stage_run instead (Many for several)"
            }
            PutError::Refused(_, cause) => return cause.fmt(f),
            PutError::Entrance(_, cause) => return cause.fmt(f),
        })
    }
}

impl<T> std::error::Error for PutError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PutError::Stage(_, error) => error.source(),
            PutError::Refused(_, cause) => cause.source(),
            PutError::Timeout(_) | PutError::Closed(_) | PutError::OwnStage(_) | PutError::Entrance(..) => None,
        }
    }
}
