//! The policies of a stage: what happens when its buffer is full, how it takes from it, where it runs, and what follows
//! when it fails on a sample or its process dies.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

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

/// The ways in which a stage takes from its buffer, in the words of errors and of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Intake {
    /// The oldest waiting sample.
    #[default]
    Single,
    /// The newest waiting sample; the older ones are counted as superseded.
    Latest,
    /// A list of `buffer_size` samples as soon as the buffer is full; each sample is used once.
    All,
    /// A list of the last `size` samples, moving by `stride`. The worker keeps them; the buffer gives one at a time.
    Window {
        /// The number of samples in a list.
        size: usize,
        /// The number of samples that one list is behind the next.
        stride: usize,
    },
    /// A list of 1 to `max_size` samples: whatever is there once the first has waited `max_wait`.
    Batch {
        /// The number of samples in a list at most.
        max_size: usize,
        /// The time that the first of them waits for others.
        #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
        max_wait: Duration,
        /// True if the stage gives one result for a list, under its newest sample; otherwise one for each sample.
        fold: bool,
    },
}

impl Intake {
    /// Returns the intake of that name, if it is one about which nothing more is to be said.
    #[doc(hidden)]
    pub fn plain(name: &str) -> Option<Self> {
        [Intake::Single, Intake::Latest, Intake::All].into_iter().find(|intake| intake.to_string() == name)
    }

    /// Returns true if it passes over older samples, so that no overflow policy but `drop_oldest` goes with it.
    pub(crate) fn supersedes(self) -> bool {
        matches!(self, Intake::Latest)
    }

    /// Returns true if one take may take several samples.
    #[inline]
    pub(crate) fn takes_lists(self) -> bool {
        matches!(self, Intake::All | Intake::Batch { .. })
    }

    /// Returns true if each sample of a list has a result and a fate of its own.
    #[inline]
    pub(crate) fn keeps_identity(self) -> bool {
        matches!(self, Intake::Batch { fold: false, .. })
    }

    /// Returns the number of samples that one take takes at most from a buffer of that size.
    #[cfg(processes)]
    pub(crate) fn most(self, buffer_size: usize) -> usize {
        match self {
            Intake::Single | Intake::Latest | Intake::Window { .. } => 1,
            Intake::All => buffer_size,
            Intake::Batch { max_size, .. } => max_size,
        }
    }

    /// Returns true if a sample in front may have to wait, for a time, for others behind it.
    #[inline]
    pub(crate) fn waits_for_more(self) -> bool {
        matches!(self, Intake::Batch { .. })
    }
}

impl fmt::Display for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Intake::Single => "single",
            Intake::Latest => "latest",
            Intake::All => "all",
            Intake::Window { .. } => "window",
            Intake::Batch { .. } => "batch",
        })
    }
}
