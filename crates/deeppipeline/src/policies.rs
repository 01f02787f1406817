//! The policies of a stage: what happens when its buffer is full, where it runs, and what follows when it fails on a
//! sample or its process dies.

use std::fmt;
use std::str::FromStr;

/// Declares a policy with the names of its values, which are the same in Python, in configuration and in errors.
macro_rules! policy {
    ($(#[$about:meta])* $policy:ident, $option:literal { $($(#[$doc:meta])* $value:ident = $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
        #[non_exhaustive]
        pub enum $policy {
            $($(#[$doc])* $value,)*
        }

        impl $policy {
            /// All values, in the order of their documentation.
            pub const ALL: [$policy; [$($name),*].len()] = [$($policy::$value),*];

            /// Returns the value's name in Python and in configuration.
            pub fn name(self) -> &'static str {
                match self {
                    $($policy::$value => $name,)*
                }
            }
        }

        impl fmt::Display for $policy {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $policy {
            type Err = UnknownPolicy;

            fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
                let known = $policy::ALL.into_iter().find(|value| value.name() == name);
                known.ok_or_else(|| UnknownPolicy { option: $option, got: name.to_owned(), known: &[$($name),*] })
            }
        }
    };
}

policy! {
    /// The policy when a buffer is full.
    Overflow, "overflow" {
        /// The oldest waiting sample is dropped and counted: for live streams.
        DropOldest = "drop_oldest",
        /// The arriving sample is dropped and counted: what was promised first is kept.
        DropNewest = "drop_newest",
        /// The producer waits: for files and data sets, where nothing may be lost.
        Block = "block",
    }
}

policy! {
    /// The place where a stage runs: a thread or a process.
    #[derive(Default)]
    Executor, "executor" {
        /// A thread of the pipeline's own process.
        #[default]
        Thread = "thread",
        /// A process of its own.
        Process = "process",
    }
}

policy! {
    /// The policy for the sample in flight when a worker process dies.
    #[derive(Default)]
    OnCrash, "on_crash" {
        /// It is counted as lost, and the restarted worker goes on with the next.
        #[default]
        Skip = "skip",
        /// The restarted worker tries it again; if it dies of it too, the sample is lost.
        Retry = "retry",
        /// It is lost, and the pipeline stops.
        Stop = "stop",
    }
}

/// The name of a policy that does not exist.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} is {got:?}, but must be one of {}", quoted(known))]
pub struct UnknownPolicy {
    option: &'static str,
    got: String,
    known: &'static [&'static str],
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
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

impl Executor {
    /// Returns true if the stage is in another process than the pipeline.
    pub(crate) fn is_process(self) -> bool {
        matches!(self, Executor::Process)
    }
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
