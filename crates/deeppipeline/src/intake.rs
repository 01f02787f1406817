//! The ways in which a stage takes from its buffer: the values of [`Described::intake`](crate::builder::Described).

use crate::error::GraphError;
use crate::gives::Flows;
#[cfg(processes)]
use crate::isolated::{IsolatedStage, WorkerTakes};
use crate::typed::{ListOf, OneOf, Unpack};
#[cfg(processes)]
use crate::unwind::BoxError;
use std::time::Duration;

pub use crate::policies::Intake;
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
/// The stage's `buffer_size` must be `max_size` at least. It gives back a list with a result for each sample, in order:
/// whatever a [closure](crate::builder::Gives) may return for one. Each goes on as its own sample's, an `Err` fails
/// that sample alone, and a `None` skips it; another number of results is an error of the stage. So a batch may stand in
/// a branch of a parallel block. When a call fails and the policy is not to stop, the stage is run on each sample alone,
/// in lists of one.
///
/// ```
/// use deeppipeline::{Batch, OnError, Pipeline, stage};
///
/// let root = |x: f64| if x < 0.0 { Err("negative") } else { Ok(x.sqrt()) };
/// let roots = move |list: Vec<f64>| list.into_iter().map(root).collect::<Vec<_>>();
/// let given = Pipeline::builder()
///     .source([4.0, -1.0, 9.0].into_iter())
///     .stage(stage(roots).intake(Batch::new(2)).on_error(OnError::Skip))
///     .stage(|root: f64| root)
///     .stream()?;
/// assert_eq!(given.collect::<Result<Vec<_>, _>>()?, [2.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

    /// Lets the stage give one result for all samples of a batch, which goes on as the newest's.
    #[must_use]
    pub fn fold(self) -> FoldedBatch {
        FoldedBatch(self)
    }
}

/// Takes batches for a stage that gives one result for each list, as the newest sample's: what
/// [`Batch::fold`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldedBatch(Batch);

/// An intake with which a stage gives one result for what it takes: all but [`Batch`].
pub trait GivesOne {}

impl GivesOne for Single {}
impl GivesOne for Latest {}
impl GivesOne for All {}
impl GivesOne for FoldedBatch {}
impl GivesOne for Window {}
impl<T, F> GivesOne for ByKey<T, F> {}
impl<T, F> GivesOne for ByKeys<T, F> {}

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
        Intake::Batch { max_size: self.max_size, max_wait: self.max_wait, fold: false }
    }

    fn unpacker(&self) -> ListOf<T> {
        ListOf::new()
    }
}

impl<T: Flows> Takes<T, Vec<T>> for FoldedBatch {
    type Unpack = ListOf<T>;

    fn intake(&self) -> Intake {
        let FoldedBatch(Batch { max_size, max_wait }) = *self;
        Intake::Batch { max_size, max_wait, fold: true }
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
    Batch Vec<T>: |_| WorkerTakes::Batches;
    FoldedBatch Vec<T>: |_| WorkerTakes::Lists;
}
