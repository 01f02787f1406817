//! One running ffmpeg, which never outlives its owner.

use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::{Log, Said, signals};
use crate::address::Address;

/// A running ffmpeg with its log; dropping it ends the process and collects it.
pub(crate) struct Process {
    running: Arc<Mutex<Running>>,
    log: Log,
    reader: Option<JoinHandle<()>>,
    stopped: Arc<AtomicBool>,
}

struct Running {
    child: Child,
    /// Ends ffmpeg when it is dropped.
    lifeline: Option<ChildStdin>,
}

impl Process {
    /// Starts the command; also gives what it will say about its input, which is at `address`, and about each picture.
    pub(crate) fn start(command: &mut Command, address: Option<&Address>) -> std::io::Result<(Self, Receiver<Said>)> {
        let mut child = signals::spawn(command.stderr(Stdio::piped()))?;
        let stderr = child.stderr.take();
        let (sender, receiver) = channel();
        let running = Arc::new(Mutex::new(Running { child, lifeline: None }));
        let mut process = Self { running, log: Log::new(address.cloned()), reader: None, stopped: Arc::default() };
        if let Some(stderr) = stderr {
            let log = process.log.clone();
            let thread = std::thread::Builder::new().name("ffmpeg log".into());
            process.reader = Some(thread.spawn(move || log.read_all(stderr, &sender))?);
        }
        Ok((process, receiver))
    }

    /// Takes the child's standard input for its lifeline; see [`Ffmpeg::command_with_lifeline`](super::Ffmpeg).
    pub(crate) fn hold_lifeline(&self) {
        let mut running = lock(&self.running);
        running.lifeline = running.child.stdin.take();
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Takes a pipe out of the process.
    pub(crate) fn take<T>(&self, pipe: impl FnOnce(&mut Child) -> Option<T>) -> std::io::Result<T> {
        pipe(&mut lock(&self.running).child).ok_or_else(|| std::io::Error::other("no pipe"))
    }

    /// Waits for the process to end by itself, and for the last line of its log. `None` is the status of a process that
    /// was collected elsewhere, as happens where a program ignores `SIGCHLD`.
    pub(crate) fn wait(&mut self) -> Option<ExitStatus> {
        // Without the lock, so that a stopper can still end it.
        if let Some(reader) = self.reader.take() {
            // The reader has nothing to say but its end.
            let _ = reader.join();
        }
        let mut running = lock(&self.running);
        running.lifeline = None;
        running.child.wait().ok()
    }

    /// Returns true if it has done its work, by its status or, where that is lost, by its messages.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.wait().map_or_else(|| self.log.summed_up(), |status| status.success())
    }

    /// Ends the process.
    pub(crate) fn end(&self) {
        lock(&self.running).end();
    }

    /// Returns a function that ends the process from another thread.
    pub(crate) fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let (running, stopped) = (Arc::clone(&self.running), Arc::clone(&self.stopped));
        move || {
            stopped.store(true, Ordering::Release);
            lock(&running).end();
        }
    }

    /// Returns true if a stopper was called.
    pub(crate) fn was_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        self.wait();
    }
}

impl Running {
    /// Ends the process and, where `ffmpeg` is a script around the real one, its children; nothing if it has ended.
    fn end(&mut self) {
        let guarded = self.lifeline.take().is_some();
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        #[cfg(unix)]
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            use rustix::process::{Signal, kill_process_group};
            // What guards ffmpeg ends it, and collects it: nobody else may be there to do so. It must not stand still.
            let _ = kill_process_group(group, if guarded { Signal::CONT } else { Signal::KILL });
        }
        if !guarded {
            let _ = self.child.kill();
        }
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
