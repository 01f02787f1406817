//! The traits that users implement, and what they may give back.

use crate::restart::RestartPolicy;
use crate::unwind::BoxError;
use std::fmt;

/// One step of a pipeline: it gets a sample, works on it, and gives something back.
///
/// Only [`stage_run`](Stage::stage_run) has to be written. Everything runs on the stage's own worker, so a model
/// that must stay on one thread is loaded in [`setup`](Stage::setup).
///
/// ```
/// use deeppipeline::{BoxError, Give, Stage};
///
/// struct Halve;
///
/// impl Stage for Halve {
///     type Input = u32;
///     type Output = u32;
///     fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
///         Ok(if x % 2 == 0 { Give::One(x / 2) } else { Give::Skip })
///     }
/// }
///
/// assert_eq!(Halve.stage_run(4)?, Give::One(2));
/// # Ok::<(), BoxError>(())
/// ```
pub trait Stage: 'static {
    /// The value that the stage gets; `Vec<T>` for a stage that takes lists.
    type Input: Send + 'static;
    /// The value that goes on to the next stage; the end stage's output is ignored.
    type Output: Send + 'static;

    /// Prepares the stage; called once on the worker before the first sample: open, load, connect.
    ///
    /// # Errors
    /// An error here makes the start of the pipeline fail.
    fn setup(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Works on one sample.
    ///
    /// # Errors
    /// What an error does to the pipeline is the stage's `on_error` option.
    fn stage_run(&mut self, x: Self::Input) -> Result<Give<Self::Output>, BoxError>;

    /// Gives out what the stage still holds; called once while draining, after the last sample.
    ///
    /// # Errors
    /// An error here stops the pipeline.
    fn finish(&mut self) -> Result<Give<Self::Output>, BoxError> {
        Ok(Give::Skip)
    }

    /// Cleans up; called once at the end, however the pipeline ends, if `setup` succeeded.
    ///
    /// # Errors
    /// An error here is reported by `setstop`, after everything else has been torn down.
    fn teardown(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Returns the name in reports, errors and of the worker's thread; by default the type's own name.
    ///
    /// [`name`](crate::builder::Described::name) comes before it. A stage that its worker makes, by
    /// [`made_by`](crate::made_by) or in a process, is asked once it has been set up: until everything is up, which is
    /// when [`start`](crate::builder::Builder::start) returns, it has its type's name, as its thread has for good.
    fn name(&self) -> String {
        short_type_name::<Self>()
    }
}

/// The result that a stage gives back for one sample.
pub enum Give<T> {
    /// One value goes on.
    One(T),
    /// The sample ends here.
    Skip,
    /// Many values go on, in order, each a part of the sample; they are asked for one at a time.
    Many(Box<dyn Iterator<Item = T> + Send>),
}

impl<T: fmt::Debug> fmt::Debug for Give<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Give::One(x) => f.debug_tuple("One").field(x).finish(),
            Give::Skip => f.write_str("Skip"),
            Give::Many(_) => f.write_str("Many(..)"),
        }
    }
}

/// Two `Many` are never equal: their values come only when they are asked for.
///
/// ```
/// use deeppipeline::Give;
/// assert_eq!(Give::One(2), Give::One(2));
/// assert_ne!(Give::One(2), Give::Skip);
/// assert_ne!(Give::many([2]), Give::many([2]));
/// ```
impl<T: PartialEq> PartialEq for Give<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Give::One(one), Give::One(other)) => one == other,
            (Give::Skip, Give::Skip) => true,
            _ => false,
        }
    }
}

/// A stage behind a pointer is a stage, so that one of several may be chosen while the program runs.
///
/// ```
/// use deeppipeline::{BoxError, Give, Pipeline, Stage};
///
/// struct Add(i32);
///
/// impl Stage for Add {
///     type Input = i32;
///     type Output = i32;
///     fn stage_run(&mut self, x: i32) -> Result<Give<i32>, BoxError> {
///         Ok(Give::One(x + self.0))
///     }
/// }
///
/// let chosen: Box<dyn Stage<Input = i32, Output = i32> + Send> = Box::new(Add(1));
/// let pipeline = Pipeline::builder().stage(chosen).end_stage(|x: i32| println!("{x}")).start()?;
/// pipeline.put(41)?;
/// assert_eq!(pipeline.setstop()?.stages[0].name, "Add");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<S: Stage + ?Sized> Stage for Box<S> {
    type Input = S::Input;
    type Output = S::Output;

    fn setup(&mut self) -> Result<(), BoxError> {
        (**self).setup()
    }

    fn stage_run(&mut self, x: S::Input) -> Result<Give<S::Output>, BoxError> {
        (**self).stage_run(x)
    }

    fn finish(&mut self) -> Result<Give<S::Output>, BoxError> {
        (**self).finish()
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        (**self).teardown()
    }

    fn name(&self) -> String {
        (**self).name()
    }
}

impl<T: Send + 'static> Give<T> {
    /// Makes many values, from anything that can be iterated.
    ///
    /// ```
    /// use deeppipeline::Give;
    /// let three = Give::many([1, 2, 3]);
    /// assert!(matches!(three, Give::Many(_)));
    /// ```
    pub fn many<I>(values: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
    {
        Give::Many(Box::new(values.into_iter()))
    }
}

/// A source of samples, in place of calls of `put`: it gets a worker of its own. Every `Iterator` is a source.
pub trait Source: 'static {
    /// The values that the source produces.
    type Item: Send + 'static;

    /// Waits for the next sample; `None` when there are no more.
    ///
    /// # Errors
    /// An error closes the entrance; what came before it still flows out.
    fn source_next(&mut self) -> Result<Option<Self::Item>, BoxError>;

    /// Opens the source; called on its worker before it is asked for a sample, and each time that it is opened again,
    /// only where [`restart`](Source::restart) says that it may be.
    ///
    /// # Errors
    /// An error is a try without a sample.
    fn source_open(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Returns when the source is opened again after an error or an end; `None` for one that ends then.
    /// [`Restart`](crate::builder::Restart) makes one that is opened again of any other.
    fn restart(&self) -> Option<RestartPolicy> {
        None
    }

    /// Returns true if samples come at their own pace, whether the pipeline keeps up or not: a camera, a network
    /// stream. Of a live source the oldest samples are dropped where a buffer is full; any other waits for room.
    /// [`overflow`](crate::builder::Builder::overflow) says otherwise.
    fn is_live(&self) -> bool {
        false
    }

    /// Returns a function that can be called from another thread to make a waiting `source_next` return soon.
    fn closer(&self) -> Option<Box<dyn Fn() + Send + Sync>> {
        None
    }
}

impl<I> Source for I
where
    I: Iterator + 'static,
    I::Item: Send + 'static,
{
    type Item = I::Item;

    fn source_next(&mut self) -> Result<Option<Self::Item>, BoxError> {
        Ok(self.next())
    }
}

/// `Detect` for `my_crate::vision::Detect<f32>`.
pub(crate) fn short_type_name<T: ?Sized>() -> String {
    let full = std::any::type_name::<T>();
    let bare = full.split('<').next().unwrap_or(full);
    bare.rsplit("::").next().unwrap_or(bare).to_owned()
}
