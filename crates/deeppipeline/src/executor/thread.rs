//! A thread for every worker, named after its stage.

use super::{BodyFactory, work};
use crate::graph::DEFAULT_STACK_SIZE;
use crate::worker::Worker;
use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts the worker's thread. Where the system refuses, the dropped worker makes the whole start fail.
///
/// # Errors
/// What the operating system says.
pub fn spawn<V: Send + 'static>(mut worker: Worker<V>, factory: BodyFactory<V>) -> io::Result<JoinHandle<()>> {
    let thread = Builder::new().name(worker.name().replace('\0', ""));
    // Where the variable is set, the standard library heeds it.
    let default = std::env::var_os("RUST_MIN_STACK").is_none().then_some(DEFAULT_STACK_SIZE);
    let thread = match worker.stack_size().or(default) {
        Some(bytes) => thread.stack_size(bytes),
        None => thread,
    };
    thread.spawn(move || {
        let mut body = factory();
        work(&mut worker, &mut *body);
    })
}
