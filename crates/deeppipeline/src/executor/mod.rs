//! The executors: where workers live and whose clock they read.

#[cfg(processes)]
pub(crate) mod process;
pub(crate) mod simulated;
pub(crate) mod thread;

use crate::aside;
use crate::error::{BoxError, StagePanic};
use crate::worker::{Call, Done, Windowed, Worker};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The user's side of one worker: whatever the engine asks for, it calls.
pub trait Body<V> {
    /// Makes one call, and says what came of it.
    fn call(&mut self, call: Call<V>) -> Done<V>;

    /// Returns what the last call has made of samples that the stage had kept for a later list.
    fn kept(&mut self) -> Windowed {
        Windowed::default()
    }

    /// The name that the stage gives itself, once it has been made.
    fn name(&self) -> Option<String> {
        None
    }
}

/// Builds a body on the worker it will run on, so that a stage need not be able to move between threads.
pub type BodyFactory<V> = Box<dyn FnOnce() -> Box<dyn Body<V>> + Send>;

/// Makes every call that the worker asks for, and frees its stage. Only then the worker has ended: that is the user's
/// code, too, and a caller that waits for the worker waits no longer for it than for any other call.
pub(crate) fn work_and_free<V>(worker: &mut Worker<V>, body: Box<dyn Body<V>>) {
    worker.frees_its_stage();
    work(worker, body);
    worker.has_freed_its_stage();
}

/// Makes every call that the worker asks for, and frees its stage.
pub(crate) fn work<V>(worker: &mut Worker<V>, mut body: Box<dyn Body<V>>) {
    while let Some(call) = worker.next() {
        let done = make_call(worker, &mut *body, call);
        worker.account(body.kept());
        worker.done(done);
    }
    free(body);
}

/// Makes one call; a panic in the user's code is an error like any other.
pub(crate) fn make_call<V>(worker: &Worker<V>, body: &mut dyn Body<V>, call: Call<V>) -> Done<V> {
    let makes_stage = matches!(call, Call::Setup);
    let called = catch_panic(|| {
        let done = body.call(call);
        if makes_stage
            && matches!(done, Done::Gave(_))
            && let Some(name) = body.name()
        {
            worker.tell_name(name);
        }
        Ok(done)
    });
    match called {
        Ok(done) => done,
        Err(cause) => Done::Failed(cause),
    }
}

/// Frees a user's value. A `Drop` that panics is logged and goes no further: it says nothing about a sample, and
/// must not keep a worker from ending.
pub(crate) fn free<T>(value: T) {
    if let Err(panic) = catch_panic(|| {
        drop(value);
        Ok(())
    }) {
        let panic = panic.to_string();
        aside::log(move || tracing::error!("freeing a value: {panic}"));
    }
}

/// Runs the user's code; a panic becomes a [`StagePanic`].
pub(crate) fn catch_panic<T>(user_code: impl FnOnce() -> Result<T, BoxError>) -> Result<T, BoxError> {
    // After a panic the stage is only torn down or, under `on_error` skip, called again: what it sees of itself is
    // its own affair, as with any error half-way through.
    catch_unwind(AssertUnwindSafe(user_code)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Err(Box::new(StagePanic(text.unwrap_or_else(|| "a value that is not text".to_owned()))))
    })
}
