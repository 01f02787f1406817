//! A thread for every worker, named after its stage.

use super::{BodyFactory, work};
use crate::worker::Worker;
use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts the worker's thread. Where the system refuses, the dropped worker makes the whole start fail.
///
/// # Errors
/// What the operating system says.
pub fn spawn<V: Send + 'static>(mut worker: Worker<V>, factory: BodyFactory<V>) -> io::Result<JoinHandle<()>> {
    let name = worker.name().replace('\0', "");
    Builder::new().name(name).spawn(move || {
        let mut body = factory();
        work(&mut worker, &mut *body);
    })
}
