//! One running ffmpeg, which never outlives its owner.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::{FrameInfo, Log};

/// A running ffmpeg with its log; dropping it ends the process and collects it.
pub(crate) struct Process {
    child: Arc<Mutex<Child>>,
    log: Log,
    reader: Option<JoinHandle<()>>,
    stopped: Arc<AtomicBool>,
}

impl Process {
    /// Starts the command; also gives what `showinfo` will say about each picture.
    pub(crate) fn start(command: &mut Command) -> std::io::Result<(Self, Receiver<FrameInfo>)> {
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take();
        let (sender, receiver) = channel();
        let mut process =
            Self { child: Arc::new(Mutex::new(child)), log: Log::default(), reader: None, stopped: Arc::default() };
        if let Some(stderr) = stderr {
            let log = process.log.clone();
            let thread = std::thread::Builder::new().name("ffmpeg log".into());
            process.reader = Some(thread.spawn(move || log.read_all(stderr, &sender))?);
        }
        Ok((process, receiver))
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The process itself, to take its pipes.
    pub(crate) fn child(&self) -> MutexGuard<'_, Child> {
        lock(&self.child)
    }

    /// Waits for the process to end by itself, and for the last line of its log.
    pub(crate) fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child().wait();
        if let Some(reader) = self.reader.take() {
            // The reader has nothing to say but its end.
            let _ = reader.join();
        }
        status
    }

    /// Something that ends the process from another thread.
    pub(crate) fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let (child, stopped) = (Arc::clone(&self.child), Arc::clone(&self.stopped));
        move || {
            stopped.store(true, Ordering::Release);
            kill(&mut lock(&child));
        }
    }

    /// Whether a stopper was called.
    pub(crate) fn was_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill(&mut self.child());
        // Collecting it can only fail if someone else did.
        let _ = self.wait();
    }
}

/// Ends the process and, where `ffmpeg` is a script around the real one, its children; nothing if it has ended.
fn kill(child: &mut Child) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
