//! What follows when a stage fails on a sample, as a user says it.

#[cfg(feature = "dead-letters")]
use crate::dead_letters::{Letter, LetterType};
use crate::policies::ErrorPolicy;
use crate::typed::Value;
use std::fmt;

/// The policy of the pipeline when a stage fails on a sample; [`retry`] is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnError {
    /// The pipeline stops: what is past the stage flows out, the rest is discarded.
    #[default]
    Stop,
    /// The sample is counted as failed and the stage goes on.
    Skip,
}

/// Runs a stage again on a sample on which it fails, `times` times at most; if it fails every time, the pipeline stops.
/// What the stage gets must be `Clone`, unless it is isolated. Parts of a `Many` that went on before it failed are left
/// out.
///
/// ```
/// use deeppipeline::{Pipeline, retry, stage};
///
/// let mut calls = 0;
/// let flaky = move |x: u32| {
///     calls += 1;
///     if calls % 3 == 0 { Ok(x) } else { Err("not now") }
/// };
///
/// let pipeline = Pipeline::builder()
///     .stage(stage(flaky).on_error(retry(2)))
///     .end_stage(|x: u32| println!("{x}"))
///     .start()?;
/// pipeline.put(1)?;
/// pipeline.put(2)?;
/// assert_eq!(pipeline.setstop()?.stages[0].counts.used, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn retry(times: u32) -> Retry {
    Retry { times, skip: false }
}

/// The policy to run a stage again; see [`retry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    times: u32,
    skip: bool,
}

impl Retry {
    /// Counts a sample on which the stage fails every time as failed, and lets the stage go on.
    #[must_use]
    pub fn then_skip(self) -> Self {
        Retry { skip: true, ..self }
    }
}

impl From<OnError> for ErrorPolicy {
    fn from(on_error: OnError) -> Self {
        match on_error {
            OnError::Stop => ErrorPolicy::Stop,
            OnError::Skip => ErrorPolicy::Skip,
        }
    }
}

impl From<Retry> for ErrorPolicy {
    fn from(Retry { times, skip }: Retry) -> Self {
        ErrorPolicy::Retry { times, skip }
    }
}

/// Makes the retry copy.
pub(crate) type Copy<T> = fn(&T) -> T;

/// Makes the list of the one sample at that index.
pub(crate) type Alone<T> = fn(&T, usize) -> T;

/// An [`OnError`], or what [`retry`] returns, for a stage on a thread that gets a `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what may follow when a stage that gets `{T}` fails",
    note = "`on_error` takes an `OnError`, or `retry(times)` where what the stage gets is `Clone`",
    note = "a stage that takes a `Batch` is run on each sample alone after an error: any `on_error` wants samples that are `Clone`"
)]
pub trait Copies<T>: Into<ErrorPolicy> {
    /// The way the retry copy is made, where one is needed.
    const COPY: Option<fn(&T) -> T>;
    /// The way a list of one sample is made, where a stage that takes batches is run on each alone.
    const ALONE: Option<fn(&T, usize) -> T> = None;
    /// The way in which what the stage fails on is kept, where it is to be.
    const KEEPS: Option<Keeping<T>> = None;
}

/// The way in which what a stage fails on is kept: it gets the original, and may do with that what it likes.
pub struct Keeping<T> {
    /// Makes the copy.
    pub(crate) copy: Copy<T>,
    /// Returns the number of samples in it.
    pub(crate) samples: fn(&T) -> usize,
    /// Returns the value of the sample at that index.
    pub(crate) value: fn(&T, usize) -> Value,
    /// The type of those values.
    #[cfg(feature = "dead-letters")]
    pub(crate) letter: LetterType,
}

impl<T> Clone for Keeping<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> std::marker::Copy for Keeping<T> {}

impl<T> fmt::Debug for Keeping<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeping").finish_non_exhaustive()
    }
}

/// The words of a stage about its errors, of which the policy may be said at any time.
pub trait SaysOnError {
    /// The same with that policy.
    type With<F>;

    /// Says the policy.
    fn with<F>(self, on_error: F) -> Self::With<F>;
}

macro_rules! policy_only {
    ($($said:ty),*) => {
        $(impl SaysOnError for $said {
            type With<F> = F;

            fn with<F>(self, on_error: F) -> F {
                on_error
            }
        })*
    };
}

policy_only!(NotSaid, OnError, Retry);

/// The policy of a stage that [keeps](crate::builder::Described::keep_failed) what it fails on.
#[cfg(feature = "dead-letters")]
#[derive(Debug)]
pub struct Kept<E>(pub(crate) E);

#[cfg(feature = "dead-letters")]
impl<E> SaysOnError for Kept<E> {
    type With<F> = Kept<F>;

    fn with<F>(self, on_error: F) -> Kept<F> {
        Kept(on_error)
    }
}

#[cfg(feature = "dead-letters")]
impl<E: Into<ErrorPolicy>> From<Kept<E>> for ErrorPolicy {
    fn from(Kept(on_error): Kept<E>) -> Self {
        on_error.into()
    }
}

#[cfg(feature = "dead-letters")]
impl<T: Clone + Letter, E: Copies<T>> Copies<T> for Kept<E> {
    const COPY: Option<Copy<T>> = E::COPY;
    const KEEPS: Option<Keeping<T>> = Some(Keeping {
        copy: T::clone,
        samples: |_| 1,
        value: |x, _| Box::new(x.clone()),
        letter: LetterType::of::<T>(),
    });
}

#[cfg(feature = "dead-letters")]
impl<T: Clone + Letter, E> Copies<Vec<T>> for ForEach<Kept<E>>
where
    ForEach<E>: Copies<Vec<T>>,
    E: Into<ErrorPolicy>,
{
    const COPY: Option<Copy<Vec<T>>> = <ForEach<E> as Copies<Vec<T>>>::COPY;
    const ALONE: Option<Alone<Vec<T>>> = <ForEach<E> as Copies<Vec<T>>>::ALONE;
    const KEEPS: Option<Keeping<Vec<T>>> = Some(Keeping {
        copy: Vec::clone,
        samples: Vec::len,
        value: |list, index| Box::new(list[index].clone()),
        letter: LetterType::of::<T>(),
    });
}

/// The policy of a stage about whose errors nothing was said: as [`OnError::Stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSaid;

impl From<NotSaid> for ErrorPolicy {
    fn from(_: NotSaid) -> Self {
        ErrorPolicy::Stop
    }
}

impl<T> Copies<T> for NotSaid {
    const COPY: Option<Copy<T>> = None;
}

/// The policy of a stage that gives a result for each sample of a batch, on which it may have to run alone.
#[derive(Debug)]
pub struct ForEach<E>(pub(crate) E);

impl<E: Into<ErrorPolicy>> From<ForEach<E>> for ErrorPolicy {
    fn from(ForEach(on_error): ForEach<E>) -> Self {
        on_error.into()
    }
}

impl<T> Copies<Vec<T>> for ForEach<NotSaid> {
    const COPY: Option<Copy<Vec<T>>> = None;
}

impl<T: Clone> Copies<Vec<T>> for ForEach<OnError> {
    const COPY: Option<Copy<Vec<T>>> = Some(Vec::clone);
    const ALONE: Option<Alone<Vec<T>>> = Some(|list, index| vec![list[index].clone()]);
}

impl<T: Clone> Copies<Vec<T>> for ForEach<Retry> {
    const COPY: Option<Copy<Vec<T>>> = Some(Vec::clone);
    const ALONE: Option<Alone<Vec<T>>> = Some(|list, index| vec![list[index].clone()]);
}

impl<T> Copies<T> for OnError {
    const COPY: Option<Copy<T>> = None;
}

impl<T: Clone> Copies<T> for Retry {
    const COPY: Option<Copy<T>> = Some(T::clone);
}
