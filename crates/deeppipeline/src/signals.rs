//! Signals in a process with workers: which of them the program decides about, and which it ignores anyway.

#[cfg(processes)]
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use std::ffi::c_int;

/// The signals that a terminal or a service manager sends to every process of a program, and that end a process by
/// default. The pipeline's process decides what they mean: it may drain, and then its workers still have work to do.
#[cfg(processes)]
pub const LEFT_TO_THE_PROGRAM: [c_int; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM];

/// Makes those signals do nothing from now on in this process, a worker, which ends by its lifeline.
///
/// They are handled, and not ignored: a program that a stage starts would inherit that a signal is ignored, and could
/// not be stopped with it any more. For the same reason a signal that this process has inherited as ignored stays
/// ignored.
///
/// # Errors
/// The error of the operating system.
#[cfg(processes)]
pub fn leave_to_the_program() -> std::io::Result<()> {
    let mut left = LEFT_TO_THE_PROGRAM.into_iter().filter(|signal| !is_ignored(*signal));
    left.try_for_each(|signal| signal_hook::flag::register(signal, std::sync::Arc::default()).map(drop))
}

/// Returns true if the program was started with the signal ignored, as by `nohup`. Outside of Linux that is not known.
pub(crate) fn is_ignored(signal: c_int) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
