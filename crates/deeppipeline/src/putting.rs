//! Putting samples from a task: its thread does not wait for room, the task does.

use crate::answer::{Answer, Promise};
use crate::clock::Moment;
use crate::error::PutError;
use crate::gives::Flows;
use crate::pipeline::{Pipeline, Put};
use crate::supervisor::{Place, Supervisor};
use crate::typed::{Value, unbox};
#[cfg(feature = "futures")]
use futures_sink::Sink;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A sample on its way into the first buffer.
struct Entering<'a> {
    supervisor: &'a Supervisor<Value>,
    entrance: Option<&'a str>,
    birth: Moment,
    promise: Option<Arc<Promise>>,
    /// The sample, until it has entered or was handed back.
    value: Option<Value>,
    place: Place,
    has_entered: bool,
}

impl<'a> Entering<'a> {
    fn new(
        supervisor: &'a Supervisor<Value>,
        value: Value,
        entrance: Option<&'a str>,
        promise: Option<Arc<Promise>>,
    ) -> Self {
        let (birth, place) = (Moment::now(), Place::default());
        Entering { supervisor, entrance, birth, promise, value: Some(value), place, has_entered: false }
    }

    /// Tries to put it in; the number of the sample, unless it was dropped on arrival.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<u64>, PutError<Value>>> {
        let Some(value) = self.value.take() else { panic!("a put is polled again after it was ready") };
        let (supervisor, place, waker) = (self.supervisor, &mut self.place, context.waker());
        let put = match &self.promise {
            None => supervisor.put_or_stand(value, self.entrance, self.birth, place, waker),
            Some(promise) => {
                let receiver = Arc::clone(promise) as _;
                supervisor.submit_or_stand(value, self.entrance, self.birth, &receiver, place, waker)
            }
        };
        match put {
            Ok(put) => {
                self.has_entered = true;
                Poll::Ready(Ok(put.number))
            }
            Err(PutError::Timeout(value)) => {
                self.value = Some(value);
                Poll::Pending
            }
            Err(refused) => Poll::Ready(Err(refused)),
        }
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        self.supervisor.leave(&mut self.place, self.has_entered);
    }
}

/// A sample that is being put by a task; made by [`Pipeline::put_async`].
///
/// One that is dropped before it was ready has not put its sample in.
#[must_use = "nothing is put before it is awaited"]
pub struct PutAsync<'a, I> {
    entering: Entering<'a>,
    types: PhantomData<fn(I)>,
}

/// A sample that is being submitted by a task; made by [`Pipeline::submit_async`].
///
/// One that is dropped before it was ready has not submitted its sample.
#[must_use = "nothing is submitted before it is awaited"]
pub struct SubmitAsync<'a, I, T> {
    entering: Entering<'a>,
    types: PhantomData<fn(I) -> T>,
}

impl<I: Send + 'static, T> Pipeline<I, T> {
    /// Works like [`put`](Pipeline::put) for a task of any executor: where it waits for room, the task does, and its thread
    /// goes on. Tasks that wait are told of room in the order in which they came; one that asks without having been told, as
    /// one that has just come, may be before them.
    ///
    /// ```
    /// use deeppipeline::{Overflow, Pipeline};
    /// # use std::{pin::pin, sync::Arc, task::{Context, Poll, Wake, Waker}, thread::{Thread, current, park}};
    /// # struct Unpark(Thread);
    /// # impl Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark(); } }
    /// # fn block_on<F: Future>(future: F) -> F::Output {
    /// #     let (mut future, waker) = (pin!(future), Waker::from(Arc::new(Unpark(current()))));
    /// #     loop {
    /// #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
    /// #             Poll::Ready(output) => return output,
    /// #             Poll::Pending => park(),
    /// #         }
    /// #     }
    /// # }
    ///
    /// let pipeline = Pipeline::builder().overflow(Overflow::Block).end_stage(|x: u32| println!("{x}")).start()?;
    /// block_on(async {
    ///     for x in 1..=10 {
    ///         pipeline.put_async(x).await?;
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// pipeline.setstop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_async(&self, x: I) -> PutAsync<'_, I> {
        PutAsync { entering: Entering::new(self.supervisor(), Box::new(x), None, None), types: PhantomData }
    }

    /// Works like [`put_async`](Pipeline::put_async), by the entrance of that name.
    pub fn put_into_async<'a>(&'a self, entrance: &'a str, x: I) -> PutAsync<'a, I> {
        PutAsync { entering: Entering::new(self.supervisor(), Box::new(x), Some(entrance), None), types: PhantomData }
    }

    /// Returns a sink for samples, as [`put_async`](Pipeline::put_async) puts them. Closing it closes the entrance, as
    /// [`setstop`](Pipeline::setstop) does, and does not wait for what is inside to flow out.
    #[cfg(feature = "futures")]
    pub fn sink(&self) -> PutSink<'_, I> {
        PutSink { supervisor: self.supervisor(), entering: None, types: PhantomData }
    }
}

impl<I: Send + 'static, T: Flows> Pipeline<I, T> {
    /// Works like [`submit`](Pipeline::submit) for a task of any executor, as [`put_async`](Pipeline::put_async) does.
    pub fn submit_async(&self, x: I) -> SubmitAsync<'_, I, T> {
        self.submitting(x, None)
    }

    /// Works like [`submit_async`](Pipeline::submit_async), by the entrance of that name.
    pub fn submit_into_async<'a>(&'a self, entrance: &'a str, x: I) -> SubmitAsync<'a, I, T> {
        self.submitting(x, Some(entrance))
    }

    fn submitting<'a>(&'a self, x: I, entrance: Option<&'a str>) -> SubmitAsync<'a, I, T> {
        let entering = Entering::new(self.supervisor(), Box::new(x), entrance, Some(Arc::default()));
        SubmitAsync { entering, types: PhantomData }
    }
}

impl<I: 'static> Future for PutAsync<'_, I> {
    type Output = Result<Put, PutError<I>>;

    /// # Panics
    /// Panics when it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let put = ready!(self.entering.poll(context));
        Poll::Ready(put.map(Put::of_number).map_err(|error| error.map(unbox)))
    }
}

impl<I: 'static, T: 'static> Future for SubmitAsync<'_, I, T> {
    type Output = Result<Answer<T>, PutError<I>>;

    /// # Panics
    /// Panics when it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let put = ready!(self.entering.poll(context));
        let promise = self.entering.promise.take().unwrap_or_default();
        Poll::Ready(put.map(|number| Answer::new(promise, number)).map_err(|error| error.map(unbox)))
    }
}

impl<I> fmt::Debug for PutAsync<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutAsync").finish_non_exhaustive()
    }
}

impl<I, T> fmt::Debug for SubmitAsync<'_, I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitAsync").finish_non_exhaustive()
    }
}

/// A sink that puts samples into a pipeline; made by [`Pipeline::sink`].
///
/// It has at most one sample that is not in the first buffer yet, which is lost where it is dropped without a flush.
#[cfg(feature = "futures")]
pub struct PutSink<'a, I> {
    supervisor: &'a Supervisor<Value>,
    entering: Option<Entering<'a>>,
    types: PhantomData<fn(I)>,
}

#[cfg(feature = "futures")]
impl<I: Send + 'static> Sink<I> for PutSink<'_, I> {
    type Error = PutError<I>;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_flush(context)
    }

    fn start_send(mut self: Pin<&mut Self>, x: I) -> Result<(), Self::Error> {
        self.entering = Some(Entering::new(self.supervisor, Box::new(x), None, None));
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let Some(entering) = &mut self.entering else { return Poll::Ready(Ok(())) };
        let put = ready!(entering.poll(context));
        self.entering = None;
        Poll::Ready(put.map(drop).map_err(|error| error.map(unbox)))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.as_mut().poll_flush(context))?;
        self.supervisor.close();
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "futures")]
impl<I> fmt::Debug for PutSink<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutSink").finish_non_exhaustive()
    }
}
