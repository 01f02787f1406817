//! The end of a child process, and how it is learnt: the one place that collects workers.
//!
//! The exit status may be lost: the system collects children itself where SIGCHLD is ignored, and a program may collect
//! every child there is, as one that is process 1 does. That a process has ended is known from its pidfd all the same,
//! and what it had done from what it said before.

use crate::error::Exit;
use crate::supervisor::KILLED_WITHIN;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, waitid};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Collects a process that has ended, and returns how it did.
pub(super) fn collect(process: BorrowedFd<'_>) -> Exit {
    loop {
        match waitid(WaitId::PidFd(process), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return exit_of(&status),
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return Exit::Unknown,
        }
    }
}

fn exit_of(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

/// Kills and collects a child for which there is no pidfd.
pub(super) fn end(child: Pid) {
    let _ = kill_process(child, Signal::KILL);
    let until = Instant::now() + KILLED_WITHIN;
    while let Ok(None) | Err(Errno::INTR) = waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(1));
    }
}
