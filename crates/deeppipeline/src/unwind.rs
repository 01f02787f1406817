//! Errors and panics of the user's code: what is called, and what is released, may panic, and the engine goes on.

use crate::aside;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Any error a user's stage or source may return.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A Rust stage panicked; the pipeline treats it as an error of the stage.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub struct StagePanic(pub(crate) String);

/// Releases a user's value, outside of every lock. A `Drop` that panics is logged and goes no further: it says nothing
/// about a sample, and must not keep a worker from ending.
pub(crate) fn release<T>(value: T) {
    if let Err(panic) = catch_panic(|| {
        drop(value);
        Ok(())
    }) {
        let panic = panic.to_string();
        aside::log(move || tracing::error!("freeing a value: {panic}"));
    }
}

/// Runs the user's code; a panic becomes a [`StagePanic`].
#[inline(always)]
pub(crate) fn catch_panic<T>(user_code: impl FnOnce() -> Result<T, BoxError>) -> Result<T, BoxError> {
    // After a panic the stage is only torn down or, under `on_error` skip, called again: what it sees of itself is
    // its own affair, as with any error half-way through.
    catch_unwind(AssertUnwindSafe(user_code)).unwrap_or_else(|payload| Err(panic_of(&*payload)))
}

#[cold]
fn panic_of(payload: &(dyn Any + Send)) -> BoxError {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Box::new(StagePanic(text.unwrap_or_else(|| "a value that is not text".to_owned())))
}
