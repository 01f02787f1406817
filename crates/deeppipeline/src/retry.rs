//! What follows when a stage fails on a sample, as a user says it.

use crate::policies::ErrorPolicy;

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

/// An [`OnError`], or what [`retry`] returns, for a stage on a thread that gets a `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what may follow when a stage that gets `{T}` fails",
    note = "`on_error` takes an `OnError`, or `retry(times)` where what the stage gets is `Clone`"
)]
pub trait Copies<T>: Into<ErrorPolicy> {
    /// The way the retry copy is made, where one is needed.
    const COPY: Option<fn(&T) -> T>;
}

impl<T> Copies<T> for OnError {
    const COPY: Option<Copy<T>> = None;
}

impl<T: Clone> Copies<T> for Retry {
    const COPY: Option<Copy<T>> = Some(T::clone);
}
