//! Signals that ask a program to stop do not stop its ffmpeg.

use std::io::Result;
use std::process::{Child, Command};

/// Starts a program that does not hear the signals that a terminal or a service manager sends to every process at once.
///
/// Their meaning is decided by the program that has started it, which may want to drain. To ignore them would not do,
/// as ffmpeg sets handlers of its own; that they are blocked is inherited, and stays.
#[cfg(unix)]
pub(super) fn spawn(command: &mut Command) -> Result<Child> {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal};
    const LEFT_TO_THE_PROGRAM: [Signal; 6] =
        [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTERM];
    let before = SigSet::from_iter(LEFT_TO_THE_PROGRAM).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let child = command.spawn();
    before.thread_set_mask()?;
    child
}

#[cfg(not(unix))]
pub(super) fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn()
}
