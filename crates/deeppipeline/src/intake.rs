//! The ways in which a stage takes from its buffer: the values of [`Described::intake`](crate::builder::Described).

#[cfg(processes)]
use crate::error::BoxError;
use crate::error::GraphError;
use crate::gives::Flows;
#[cfg(processes)]
use crate::isolated::{IsolatedStage, WorkerTakes};
use crate::sample::{ForkTicket, Sample, SampleInfo};
use crate::typed::{ListOf, OneOf, Unpack};
use std::fmt;
use std::time::Duration;

pub use crate::window::{ByKey, ByKeys, DEFAULT_MAX_KEYS, Window, Windows};

/// Takes the oldest waiting sample: what a stage does by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Single;

/// Takes the newest waiting sample; the older ones are counted as superseded.
///
/// ```
/// use deeppipeline::{Latest, Pipeline, stage};
///
/// let pipeline = Pipeline::builder()
///     .stage(|x: u32| x)
///     .end_stage(stage(|x: u32| println!("{x}")).intake(Latest))
///     .start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latest;

/// Takes a list of `buffer_size` samples as soon as the buffer is full; each sample is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct All;

/// Takes a list of 1 to `max_size` samples: whatever is there once the first has waited [`max_wait`](Batch::max_wait).
///
/// The stage's `buffer_size` must be `max_size` at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    max_size: usize,
    max_wait: Duration,
}

impl Batch {
    /// Makes batches of what has come while the stage was busy, `max_size` samples at most.
    pub fn new(max_size: usize) -> Self {
        Batch { max_size, max_wait: Duration::ZERO }
    }

    /// Sets the time that the first sample of a batch waits for others: none by default. A complete batch does not
    /// wait.
    #[must_use]
    pub fn max_wait(self, max_wait: Duration) -> Self {
        Batch { max_wait, ..self }
    }
}

/// An intake that takes `T` samples and hands a stage a `G`: `T` itself, or a list.
#[diagnostic::on_unimplemented(
    message = "a stage that gets `{G}` does not fit behind what gives `{T}`",
    label = "its intake is `{Self}`",
    note = "`Single` (the default) and `Latest` hand over one sample, `All`, `Batch` and `Window` a `Vec` (`Window` needs samples that are `Clone`), `Window::by_keys` a `Windows`"
)]
pub trait Takes<T, G>: Send + Sync + 'static {
    /// The conversion of what was taken into what the stage gets.
    type Unpack: Unpack<G>;

    /// Returns the same in the words of the engine.
    fn intake(&self) -> Intake;

    /// Returns what is wrong with it, if anything.
    fn problem(&self) -> Option<GraphError> {
        None
    }

    /// Returns what the process of an isolated stage is told, which is made from these settings; nothing on a thread.
    #[cfg(processes)]
    #[doc(hidden)]
    fn isolated(&self, _settings: &[u8]) -> Result<Option<IsolatedStage>, BoxError> {
        Ok(None)
    }

    /// Returns the conversion for one worker.
    fn unpacker(&self) -> Self::Unpack;
}

impl<T: Flows> Takes<T, T> for Single {
    type Unpack = OneOf<T>;

    fn intake(&self) -> Intake {
        Intake::Single
    }

    fn unpacker(&self) -> OneOf<T> {
        OneOf::new()
    }
}

impl<T: Flows> Takes<T, T> for Latest {
    type Unpack = OneOf<T>;

    fn intake(&self) -> Intake {
        Intake::Latest
    }

    fn unpacker(&self) -> OneOf<T> {
        OneOf::new()
    }
}

impl<T: Flows> Takes<T, Vec<T>> for All {
    type Unpack = ListOf<T>;

    fn intake(&self) -> Intake {
        Intake::All
    }

    fn unpacker(&self) -> ListOf<T> {
        ListOf::new()
    }
}

impl<T: Flows> Takes<T, Vec<T>> for Batch {
    type Unpack = ListOf<T>;

    fn intake(&self) -> Intake {
        Intake::Batch { max_size: self.max_size, max_wait: self.max_wait }
    }

    fn unpacker(&self) -> ListOf<T> {
        ListOf::new()
    }
}

/// An intake of the isolated stage `S` that takes `T` samples and hands it a `G`; see [`Takes`].
///
/// A [`Window`] hands over a `Vec`, or [`Windows`] where the stage is
/// [`IsolatedWindows`](crate::processes::IsolatedWindows).
#[diagnostic::on_unimplemented(
    message = "an isolated stage that gets `{G}` does not fit behind what gives `{T}`",
    label = "its intake is `{Self}`",
    note = "`Single` (the default) and `Latest` hand over one sample, `All`, `Batch` and `Window` a `Vec` (`Window` needs samples that are `Clone`), or `Window` a `Windows` where the stage is `IsolatedWindows`"
)]
#[cfg(processes)]
pub trait TakesIsolated<S, T, G>: Send + Sync + 'static {
    /// The conversion of what was taken into what the stage gets.
    type Unpack: Unpack<G>;

    /// Returns the same in the words of the engine.
    fn intake(&self) -> Intake;

    /// Returns what is wrong with it, if anything.
    fn problem(&self) -> Option<GraphError>;

    /// Returns what the worker is told of it.
    fn of_worker(&self) -> WorkerTakes;

    /// Returns the conversion for one worker.
    fn unpacker(&self) -> Self::Unpack;
}

/// Says what the process of a stage is told of an intake that hands over the same as on a thread.
#[cfg(processes)]
macro_rules! takes_as_on_a_thread {
    ($($intake:ident $given:ty: $told:expr;)*) => {
        $(impl<S, T> $crate::intake::TakesIsolated<S, T, $given> for $intake
        where
            $intake: Takes<T, $given>,
        {
            type Unpack = <$intake as Takes<T, $given>>::Unpack;

            fn intake(&self) -> Intake {
                Takes::intake(self)
            }

            fn problem(&self) -> Option<GraphError> {
                Takes::problem(self)
            }

            fn of_worker(&self) -> WorkerTakes {
                let told: fn(&Self) -> WorkerTakes = $told;
                told(self)
            }

            fn unpacker(&self) -> Self::Unpack {
                Takes::unpacker(self)
            }
        })*
    };
}
#[cfg(processes)]
pub(crate) use takes_as_on_a_thread;

#[cfg(processes)]
takes_as_on_a_thread! {
    Single T: |_| WorkerTakes::One;
    Latest T: |_| WorkerTakes::One;
    All Vec<T>: |_| WorkerTakes::Lists;
    Batch Vec<T>: |_| WorkerTakes::Lists;
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

/// The result of one take, which one `stage_run` gets.
#[doc(hidden)]
#[derive(Debug)]
pub enum Input<V> {
    /// A single sample, for the intakes that take one at a time.
    One(Sample<V>),
    /// A list, for the intakes all and batch: oldest first, never empty.
    List(Vec<Sample<V>>),
}

impl<V> Input<V> {
    /// Returns the number of samples in it.
    pub fn count(&self) -> u64 {
        match self {
            Input::One(_) => 1,
            Input::List(list) => list.len() as u64,
        }
    }

    /// The samples in it, oldest first.
    pub(crate) fn samples(&self) -> &[Sample<V>] {
        match self {
            Input::One(sample) => std::slice::from_ref(sample),
            Input::List(list) => list,
        }
    }

    /// The newest sample in it, under whose number the result goes on.
    pub(crate) fn newest(&self) -> Option<SampleInfo> {
        self.samples().last().map(|s| SampleInfo { id: s.id, birth: s.birth })
    }

    /// Returns the ticket that the newest has at the innermost join around it.
    pub(crate) fn newest_fork(&self) -> ForkTicket {
        self.samples().last().map_or_else(ForkTicket::default, |sample| sample.fork)
    }
}
