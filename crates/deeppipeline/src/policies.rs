//! The policies of a stage: where it runs, and what follows when it fails on a sample or its process dies.

/// The place where a stage runs: a thread or a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Executor {
    /// A thread of the pipeline's own process.
    #[default]
    Thread,
    /// A process of its own.
    Process,
}

/// The policy for the sample in flight when a worker process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum OnCrash {
    /// It is counted as lost, and the restarted worker goes on with the next.
    #[default]
    Skip,
    /// The restarted worker tries it again; if it dies of it too, the sample is lost.
    Retry,
    /// It is lost, and the pipeline stops.
    Stop,
}

/// The policy of the pipeline when a stage fails on a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ErrorPolicy {
    /// The pipeline stops: what is past the stage flows out, the rest is discarded.
    #[default]
    Stop,
    /// The sample is counted as failed and the stage goes on.
    Skip,
    /// The stage is run on the sample again, `times` times at most. Parts of a `Many` that went on before it failed are
    /// left out.
    Retry {
        /// The number of times that it is run again.
        times: u32,
        /// True if a sample that fails every time is counted as failed, and the stage goes on; otherwise the pipeline
        /// stops.
        skip: bool,
    },
}

impl ErrorPolicy {
    /// Returns true if the pipeline stops when a stage has failed on a sample for the last time.
    pub(crate) fn stops(self) -> bool {
        matches!(self, ErrorPolicy::Stop | ErrorPolicy::Retry { skip: false, .. })
    }

    /// Returns the number of times that a stage is run again on a sample on which it fails.
    pub(crate) fn retries(self) -> u32 {
        match self {
            ErrorPolicy::Retry { times, .. } => times,
            ErrorPolicy::Stop | ErrorPolicy::Skip => 0,
        }
    }
}
