//! A thread for every worker, named after its stage.

#[cfg(processes)]
use super::work;
use super::{Body, BodyFactory, work_and_free};
use crate::graph::DEFAULT_STACK_SIZE;
use crate::worker::{Done, Worker};
use std::io;
use std::sync::mpsc::channel;
use std::thread::{Builder, JoinHandle};

/// Starts the worker's thread. Where the system refuses, the worker has failed in `setup`, and with it the whole start.
///
/// # Errors
/// The error of the operating system.
pub fn spawn<V: Send + 'static>(worker: Worker<V>, factory: BodyFactory<V>) -> io::Result<JoinHandle<()>> {
    spawn_to(work_and_free, worker, factory)
}

/// The same in a worker process, which may end while its stage is still being freed: the bootstrap sees to that.
#[cfg(processes)]
pub(crate) fn spawn_in_process<V: Send + 'static>(
    worker: Worker<V>,
    factory: BodyFactory<V>,
) -> io::Result<JoinHandle<()>> {
    spawn_to(work, worker, factory)
}

fn spawn_to<V: Send + 'static>(
    work: fn(&mut Worker<V>, Box<dyn Body<V>>),
    mut worker: Worker<V>,
    factory: BodyFactory<V>,
) -> io::Result<JoinHandle<()>> {
    let thread = Builder::new().name(worker.name().replace('\0', ""));
    // Where the variable is set, the standard library heeds it.
    let default = std::env::var_os("RUST_MIN_STACK").is_none().then_some(DEFAULT_STACK_SIZE);
    let thread = match worker.options().stack_size.or(default) {
        Some(bytes) => thread.stack_size(bytes),
        None => thread,
    };
    // A thread that is refused drops what it was to run, so the worker comes to it only once it is there.
    let (hand_over, handed_over) = channel::<(Worker<V>, BodyFactory<V>)>();
    let started = thread.spawn(move || {
        if let Ok((mut worker, factory)) = handed_over.recv() {
            work(&mut worker, factory());
        }
    });
    match started {
        // It fails only where the thread is gone.
        Ok(_) => drop(hand_over.send((worker, factory))),
        Err(ref cause) => {
            worker.next();
            worker.done(Done::Failed(format!("its thread cannot be started: {cause}").into()));
        }
    }
    started
}
