//! The values that may be given: by a closure, to the next stage, and by the last one.

use crate::stage::Give;
use crate::unwind::BoxError;
use std::marker::PhantomData;

/// A value that can go on from one stage to the next: any that is `Send`. An end stage gives [`Ended`], which is not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot go on to another stage",
    label = "must be `Send`, and cannot come from an end stage",
    note = "nothing follows an end stage; end stages stand in parallel with `end_parallel`"
)]
pub trait Flows: Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + 'static> Flows for T {}

/// A result that the last stage of a pipeline may give, where it has no consumer: a value that cannot hide an error.
///
/// After [`end_stage`](crate::builder::Builder::end_stage) and
/// [`end_parallel`](crate::builder::Builder::end_parallel) it is [`Ended`]; where the last stage was added in another
/// way, as by [`stage`](crate::builder::Builder::stage), it is `()` or a number. Implement it for a type of yours that may be thrown away.
#[diagnostic::on_unimplemented(
    message = "the pipeline has no end: nobody takes the `{Self}` that its last stage gives",
    label = "nobody takes `{Self}`",
    note = "give the last stage with `end_stage`, or end parallel branches with `end_parallel`; a closure ends its last line with `;`"
)]
pub trait Last {}

impl Last for Ended {}

macro_rules! last {
    ($($type:ty)*) => { $(impl Last for $type {})* };
}

last!(() bool char u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 Never);

/// The type of what never returns, which has no name of its own in stable Rust: a closure that only panics gives it.
type Never = <fn() -> ! as Returns>::Value;

trait Returns {
    type Value;
}

impl<T> Returns for fn() -> T {
    type Value = T;
}

/// Stands for what an end stage gives: nothing that another stage could take.
#[derive(Debug)]
pub struct Ended(
    // Not `Send`, so that it does not flow.
    PhantomData<*const ()>,
);

/// Stands for a stage that gives `O` to the next.
#[derive(Debug)]
pub struct Onward<O>(PhantomData<fn() -> O>);

/// What may follow a stage that gives `T`: a stage that gets it, or nothing.
pub trait Behind<T> {}

impl<T> Behind<T> for Onward<T> {}

impl<T> Behind<T> for Ended {}

/// A value that a closure may return where a stage gives `To`: [`Onward<O>`](Onward) or, at the end, [`Ended`].
///
/// A value goes on as it is. Of a `Result`, an `Option` or a [`Give`] what is in it goes on: an `Err` is an error of
/// the stage, as [`on_error`](crate::builder::Described::on_error) says, a `None` ends the sample like [`Give::Skip`].
///
/// ```
/// use deeppipeline::Pipeline;
///
/// let pipeline = Pipeline::builder()
///     .stage(|text: &str| text.parse::<u32>())
///     .stage(|x: u32| x.checked_sub(1))
///     .end_stage(|x: u32| if x < 10 { Ok(()) } else { Err("too much") })
///     .start()?;
/// pipeline.put("0")?;
/// pipeline.put("7")?;
/// let report = pipeline.setstop()?;
/// assert_eq!((report.stages[1].counts.skipped, report.stages[2].counts.used), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A next stage that takes a `Result` or an `Option` itself gets it as it is, with its `Err` or `None`:
///
/// ```
/// use deeppipeline::Pipeline;
///
/// let found = Pipeline::builder()
///     .source(0..3)
///     .stage(|x: u32| x.checked_sub(1))
///     .stage(|x: Option<u32>| x.is_some())
///     .stream()?;
/// assert_eq!(found.collect::<Result<Vec<_>, _>>()?, [false, true, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The compiler therefore has to know what the next stage takes. Where nothing says so, as in a
/// [`stream`](crate::builder::Builder::stream), the stage does, or gives a `Give`: `Give::One(option)` hands an option on.
#[diagnostic::on_unimplemented(
    message = "a closure that returns `{Self}` does not give what is wanted here: `{To}`",
    label = "returns `{Self}`",
    note = "the next stage takes what the closure returns, or what is in the `Result`, `Option` or `Give` that it returns; an `Err` must be something that `?` turns into a `BoxError`",
    note = "at the end a closure returns nothing, or a `Result`, `Option` or `Give` of nothing: end its last line with `;`"
)]
pub trait Gives<To, Marker> {
    /// The value that it comes to.
    type Value: Send + 'static;

    /// Returns what the stage gives.
    ///
    /// # Errors
    /// The value that was returned as one.
    fn into_give(self) -> Result<Give<Self::Value>, BoxError>;
}

/// Marks a closure that returns a value.
#[derive(Debug)]
pub struct IsValue;

/// Marks a closure that returns a `Result`.
#[derive(Debug)]
pub struct IsResult<M>(PhantomData<M>);

/// Marks a closure that returns an `Option`.
#[derive(Debug)]
pub struct IsOption<M>(PhantomData<M>);

/// Marks a closure that returns a [`Give`].
#[derive(Debug)]
pub struct IsGive;

impl<T: Flows> Gives<Onward<T>, IsValue> for T {
    type Value = T;

    fn into_give(self) -> Result<Give<T>, BoxError> {
        Ok(Give::One(self))
    }
}

impl<T: Flows> Gives<Onward<T>, IsGive> for Give<T> {
    type Value = T;

    fn into_give(self) -> Result<Give<T>, BoxError> {
        Ok(self)
    }
}

impl<T: Last + Flows> Gives<Ended, IsValue> for T {
    type Value = T;

    fn into_give(self) -> Result<Give<T>, BoxError> {
        Ok(Give::One(self))
    }
}

impl<T: Last + Flows> Gives<Ended, IsGive> for Give<T> {
    type Value = T;

    fn into_give(self) -> Result<Give<T>, BoxError> {
        Ok(self)
    }
}

impl<T, E, To, M> Gives<To, IsResult<M>> for Result<T, E>
where
    T: Gives<To, M>,
    E: Into<BoxError>,
{
    type Value = T::Value;

    fn into_give(self) -> Result<Give<T::Value>, BoxError> {
        self.map_err(Into::into)?.into_give()
    }
}

impl<T: Gives<To, M>, To, M> Gives<To, IsOption<M>> for Option<T> {
    type Value = T::Value;

    fn into_give(self) -> Result<Give<T::Value>, BoxError> {
        self.map_or(Ok(Give::Skip), T::into_give)
    }
}
