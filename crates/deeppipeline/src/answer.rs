//! The answer to one sample, for the program that has submitted it.

use crate::answers::{Got, Receives};
use crate::error::NoAnswer;
use crate::typed::{Value, unbox};
use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The answer to a sample that was [submitted](crate::Pipeline::submit): what the last stage gave for it, or its fate.
///
/// It is a [`Future`] for any executor, and can be waited for without one. Every answer comes, whatever becomes of the
/// sample, of a worker or of the pipeline. A caller that drops it takes nothing back: the sample goes its way.
///
/// ```
/// use deeppipeline::Pipeline;
///
/// let pipeline: Pipeline<u32, u32> = Pipeline::builder().stage(|x: u32| x.checked_mul(2)).start_answering()?;
/// let answers = [pipeline.submit(21)?, pipeline.submit(u32::MAX)?];
/// let [found, skipped] = answers.map(|answer| answer.wait());
/// assert_eq!(found?, 42);
/// assert!(skipped.unwrap_err().to_string().contains("skipped it"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the answer is what comes of the sample"]
pub struct Answer<R> {
    promise: Arc<Promise>,
    number: Option<u64>,
    convert: fn(Got<Value>) -> Result<R, NoAnswer>,
}

/// The place where an answer lies until it is taken.
#[derive(Default)]
pub(crate) struct Promise {
    state: Mutex<State>,
    has_come: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    ToCome,
    /// A task waits for it.
    Awaited(Waker),
    Here(Result<Got<Value>, NoAnswer>),
    Taken,
}

impl Receives<Value> for Promise {
    fn receive(&self, answer: Result<Got<Value>, NoAnswer>) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Here(answer));
        self.has_come.notify_all();
        if let State::Awaited(waker) = before {
            waker.wake();
        }
    }
}

impl Promise {
    fn take(state: &mut State) -> Option<Result<Got<Value>, NoAnswer>> {
        match std::mem::replace(state, State::Taken) {
            State::Here(answer) => Some(answer),
            before => {
                *state = before;
                None
            }
        }
    }

    /// Takes the answer, waiting until then if need be.
    fn wait(&self, deadline: Option<Instant>) -> Option<Result<Got<Value>, NoAnswer>> {
        let mut state = self.state.lock();
        loop {
            if let Some(answer) = Self::take(&mut state) {
                return Some(answer);
            }
            match deadline {
                None => self.has_come.wait(&mut state),
                Some(deadline) => {
                    if self.has_come.wait_until(&mut state, deadline).timed_out() {
                        return Self::take(&mut state);
                    }
                }
            }
        }
    }
}

impl<T: 'static> Answer<T> {
    pub(crate) fn new(promise: Arc<Promise>, number: Option<u64>) -> Self {
        Answer { promise, number, convert: one::<T> }
    }

    /// Returns the answer for a sample that may become several, as by [`Give::Many`](crate::Give::Many): all that came
    /// through, in order. Where none did, the fate of the last is the answer.
    pub fn all(self) -> Answer<Vec<T>> {
        Answer { promise: self.promise, number: self.number, convert: all::<T> }
    }
}

fn one<T: 'static>(got: Got<Value>) -> Result<T, NoAnswer> {
    match got {
        Got::One(value) => Ok(unbox(value)),
        Got::Many(mut values) if values.len() == 1 => Ok(unbox(values.remove(0))),
        Got::Many(values) => Err(NoAnswer::Several { values: values.len() }),
    }
}

fn all<T: 'static>(got: Got<Value>) -> Result<Vec<T>, NoAnswer> {
    match got {
        Got::One(value) => Ok(vec![unbox(value)]),
        Got::Many(values) => Ok(values.into_iter().map(unbox).collect()),
    }
}

impl<R> Answer<R> {
    /// Returns the number of the sample, by which reports and errors name it; none where it was dropped on arrival, and in
    /// a simulation.
    pub fn number(&self) -> Option<u64> {
        self.number
    }

    /// Waits for the answer. From a stage of the same pipeline it may wait for ever.
    ///
    /// # Errors
    /// The fate of a sample for which the last stage gave nothing.
    pub fn wait(self) -> Result<R, NoAnswer> {
        match self.promise.wait(None) {
            Some(answer) => answer.and_then(self.convert),
            None => unreachable!("a wait without an end has an answer"),
        }
    }

    /// Waits for the answer, no longer than that. Hands itself back where it has not come.
    ///
    /// # Errors
    /// Itself, to be asked again.
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<R, NoAnswer>, Self> {
        match self.promise.wait(Instant::now().checked_add(timeout)) {
            Some(answer) => Ok(answer.and_then(self.convert)),
            None => Err(self),
        }
    }
}

impl<R> Future for Answer<R> {
    type Output = Result<R, NoAnswer>;

    /// # Panics
    /// Panics when it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.promise.state.lock();
        if let Some(answer) = Promise::take(&mut state) {
            return Poll::Ready(answer.and_then(self.convert));
        }
        assert!(!matches!(*state, State::Taken), "an answer is polled again after it was ready");
        *state = State::Awaited(context.waker().clone());
        Poll::Pending
    }
}

impl<R> fmt::Debug for Answer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("number", &self.number).finish_non_exhaustive()
    }
}
