//! Pipes that ffmpeg gets beside its standard input and outputs.

use std::io::{Result, Write};

use super::Process;

/// The pipe through which a started ffmpeg learns what to do with the pictures. Where a child cannot be given more than
/// the three standard pipes, it is its standard input.
pub(crate) struct FilterPipe {
    #[cfg(unix)]
    ends: (std::os::fd::OwnedFd, std::io::PipeWriter),
}

impl FilterPipe {
    /// Its name as an argument of ffmpeg's.
    pub(crate) fn argument(&self) -> String {
        #[cfg(unix)]
        return pipe_name(&self.ends.0);
        #[cfg(not(unix))]
        return "pipe:0".into();
    }

    #[cfg(unix)]
    pub(crate) fn new() -> Result<Self> {
        let (out, into) = std::io::pipe()?;
        Ok(Self { ends: (inheritable(out)?, into) })
    }

    #[cfg(not(unix))]
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {})
    }

    /// This program's end of it, when ffmpeg has the other.
    #[cfg(unix)]
    pub(crate) fn writer(self, _process: &Process) -> Result<impl Write + use<>> {
        Ok(self.ends.1)
    }

    #[cfg(not(unix))]
    pub(crate) fn writer(self, process: &Process) -> Result<impl Write + use<>> {
        process.take(|child| child.stdin.take())
    }
}

/// This program's standard input, for a child.
#[cfg(unix)]
pub(crate) struct StandardInput(std::os::fd::OwnedFd);

#[cfg(unix)]
impl StandardInput {
    pub(crate) fn new() -> Result<Self> {
        inheritable(std::io::stdin()).map(Self)
    }

    /// Its name as an input of ffmpeg's: a file is opened by its name, so that ffmpeg can go back and forth in it.
    pub(crate) fn argument(&self) -> String {
        use std::os::fd::AsRawFd;
        let path = format!("/dev/fd/{}", self.0.as_raw_fd());
        let is_file = std::fs::metadata(&path).is_ok_and(|data| data.is_file());
        if is_file { format!("file:{path}") } else { pipe_name(&self.0) }
    }
}

#[cfg(unix)]
fn pipe_name(descriptor: &std::os::fd::OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    format!("pipe:{}", descriptor.as_raw_fd())
}

/// A copy that the children started while it exists get under the same number.
#[cfg(unix)]
fn inheritable(descriptor: impl std::os::fd::AsFd) -> Result<std::os::fd::OwnedFd> {
    use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
    const AFTER_STANDARD: i32 = 3;
    let copy = fcntl_dupfd_cloexec(descriptor, AFTER_STANDARD)?;
    fcntl_setfd(&copy, FdFlags::empty())?;
    Ok(copy)
}
