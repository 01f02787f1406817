//! One worker process, from its start to its end: what it says, what it writes to stderr, and whether it lives.

use super::exit;
use super::link::{Begin, Heard, Link, Read, Said};
use super::stderr::{Stderr, Written};
use super::waker::Waker;
use crate::buffer::shared::Verdict;
use crate::error::{Exit, RemoteError};
use crate::supervisor::KILLED_WITHIN;
use crate::worker::{Update, Values};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::time::Timespec;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of portions in which what a worker says is read at once: one that never stops must not keep its death
/// from being seen.
const READS_AT_ONCE: usize = 64;

/// The outcome of watching over a process.
#[derive(Debug, PartialEq, Eq)]
pub enum Watched {
    /// It wrote this to stderr.
    Wrote(Written),
    /// A note for the binding.
    Note(Vec<u8>),
    /// Something about its worker that belongs into a log, as a warning.
    Told(String),
    /// A failure of which no caller will be told, since another stopped the pipeline before.
    LaterFailure(RemoteError),
    /// No outcome for now: what is to be read is to be said anew.
    Nothing,
    /// It has ended; [`WorkerProcess::ended`](super::WorkerProcess::ended) says what follows.
    Exited,
}

/// The parts of a process's output that are read for now. The rest is left where it is, until the process waits for
/// room.
#[derive(Debug, Clone, Copy)]
pub struct Reads {
    /// True if what it writes to stderr is read.
    pub stderr: bool,
    /// True if what it says is read: that it moves on, and notes for the binding.
    pub words: bool,
}

impl Reads {
    /// All of it.
    pub const ALL: Reads = Reads { stderr: true, words: true };

    pub(super) fn is_all(self) -> bool {
        self.stderr && self.words
    }
}

/// The ends that a new worker process is to have: its end of the socket, and where its stderr goes. Hand them to the
/// process, and drop them.
#[derive(Debug)]
pub struct ChildEnds {
    /// Becomes its [`Bootstrap`](super::Bootstrap).
    pub socket: OwnedFd,
    /// Becomes its stderr.
    pub stderr: OwnedFd,
}

/// The reason why a process was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Killed {
    /// A call took longer than this.
    TimeLimit(Duration),
    /// It did not end after its work was done.
    Overstayed,
    /// The pipeline has no use for it any longer.
    Unwanted,
}

pub(super) struct ChildProcess {
    link: Link,
    link_open: bool,
    stderr: OwnedFd,
    stderr_open: bool,
    written: Stderr,
    pub(super) reads: Reads,
    process: Option<Arc<OwnedFd>>,
    /// It had ended, and been collected, before it could be looked at.
    is_gone: bool,
    /// True if it has been told that everything is up, or will never be.
    pub(super) knows_all_up: bool,
    /// True if it has been told that it is to leave its stage.
    pub(super) knows_to_leave: bool,
    /// The number of sources whose names it has been told.
    pub(super) sources_told: usize,
    /// The number of the last update of its stage that it has been told.
    pub(super) updates_told: u64,
    /// The time when it said that its work is done.
    pub(super) torn_down: Option<Instant>,
    pub(super) killed: Option<Killed>,
    /// The fate of the samples that it had in flight, once it has ended.
    pub(super) verdict: Option<Verdict>,
    /// The news that the binding has not been told yet.
    pub(super) news: VecDeque<Watched>,
}

impl ChildProcess {
    /// Makes ready for a process that is about to be started.
    pub(super) fn open() -> io::Result<(Self, ChildEnds)> {
        let (link, socket) = Link::pair()?;
        let (ours, stderr) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let child = ChildProcess {
            link,
            link_open: true,
            stderr: ours,
            stderr_open: true,
            written: Stderr::default(),
            reads: Reads::ALL,
            process: None,
            is_gone: false,
            knows_all_up: false,
            knows_to_leave: false,
            sources_told: 0,
            updates_told: 0,
            torn_down: None,
            killed: None,
            verdict: None,
            news: VecDeque::new(),
        };
        Ok((child, ChildEnds { socket, stderr }))
    }

    /// Takes note of a process that has been started; returns none if it is gone already. Where this fails it is ended.
    pub(super) fn started(&mut self, pid: u32) -> io::Result<Option<Arc<OwnedFd>>> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => self.process = Some(Arc::new(process)),
            // The process that forked it has collected it, or another has.
            Err(Errno::SRCH) => self.is_gone = true,
            Err(error) => {
                exit::end(pid);
                return Err(error.into());
            }
        }
        Ok(self.process.clone())
    }

    /// Collects it, once it has ended.
    pub(super) fn exit(&self) -> Exit {
        self.process.as_ref().map_or(Exit::Unknown, |process| exit::collect(process.as_fd()))
    }

    /// Ends it, if there is one.
    pub(super) fn end(mut self, waker: &Waker) {
        let until = Instant::now() + KILLED_WITHIN;
        if self.process.is_none() || self.kill(Killed::Unwanted).is_err() {
            return;
        }
        while let Ok(false) = self.wait(waker, Some(until)) {
            if Instant::now() >= until {
                return;
            }
        }
        self.exit();
    }

    /// Tells the process who it is, and lets it begin.
    pub(super) fn begin(&mut self, begin: &Begin, memory: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.link.post_with(begin, memory)
    }

    /// Tells it that everything is up, or will never be.
    pub(super) fn tell_all_up(&mut self, up: bool) {
        self.knows_all_up = true;
        // A yes or no that cannot be framed is none.
        let _ = self.link.post(&Heard::AllUp(up));
    }

    /// Tells it that it is to leave its stage.
    pub(super) fn tell_to_leave(&mut self) {
        self.knows_to_leave = true;
        let _ = self.link.post(&Heard::Leave);
    }

    /// Tells it the number and the name of one more source.
    pub(super) fn tell_source(&mut self, (number, name): (u32, String)) {
        self.sources_told += 1;
        // A name is never too long to be framed.
        let _ = self.link.post(&Heard::Source(number, name));
    }

    /// Tells it one more update of its stage.
    pub(super) fn tell_update(&mut self, update: Update) {
        self.updates_told = update.number;
        let bytes = |values| if let Values::Bytes(bytes) = values { bytes.to_vec() } else { Vec::new() };
        // Its caller has seen to it that it can be framed.
        let _ = self.link.post(&Heard::Update(update.number, update.told.map(bytes)));
    }

    /// Kills it. Of several reasons the first one counts.
    pub(super) fn kill(&mut self, why: Killed) -> io::Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        match pidfd_send_signal(process, Signal::KILL) {
            // Another thread has waited for it already: it is gone.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        self.killed.get_or_insert(why);
        Ok(())
    }

    /// Waits until it says or writes something, ends, or the waker wakes; true when it has ended. Meanwhile it is told
    /// what it has room for.
    pub(super) fn wait(&mut self, waker: &Waker, deadline: Option<Instant>) -> io::Result<bool> {
        if self.is_gone {
            return Ok(true);
        }
        let Some(process) = &self.process else { return Err(io::Error::other("`started` comes first")) };
        let patience = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());

        let mut ready = vec![PollFd::new(process, PollFlags::IN), PollFd::new(waker, PollFlags::IN)];
        if self.link_open && (self.reads.words || self.link.has_posted()) {
            // What is still to be sent to it goes on, also while its own words are not to be read.
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, self.reads.words);
            wanted.set(PollFlags::OUT, self.link.has_posted());
            ready.push(PollFd::new(&self.link, wanted));
        }
        if self.stderr_open && self.reads.stderr {
            ready.push(PollFd::new(&self.stderr, PollFlags::IN));
        }

        match poll(&mut ready, patience.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        waker.calm();
        let ended = !ready[0].revents().is_empty();
        self.link.send_posted();
        Ok(ended)
    }

    /// Returns what it has said since.
    pub(super) fn read_link(&mut self) -> io::Result<Vec<Said>> {
        let mut said = Vec::new();
        for _ in 0..READS_AT_ONCE {
            if !self.link_open || !self.reads.words {
                break;
            }
            let read = self.link.read_some()?;
            self.link_open = read != Read::End;
            while let Some(message) = self.link.next_read()? {
                said.push(message);
            }
            if read != Read::Some {
                break;
            }
        }
        Ok(said)
    }

    /// The last lines that it wrote to stderr.
    pub(super) fn last_lines(self) -> VecDeque<String> {
        self.written.last_lines
    }

    /// Returns the time when a line that has no end yet is to be shown.
    pub(super) fn stderr_due(&self) -> Option<Instant> {
        self.written.due()
    }

    /// Reads in what it has written since; its end ends the last line, too.
    pub(super) fn read_stderr(&mut self, ended: bool) -> io::Result<()> {
        let mut room = [0; 4096];
        let now = Instant::now();
        for _ in 0..READS_AT_ONCE {
            if !self.stderr_open || !self.reads.stderr {
                break;
            }
            match rustix::io::read(&self.stderr, &mut room) {
                Ok(0) => self.stderr_open = false,
                Ok(count) => self.news.extend(self.written.read(&room[..count], now).into_iter().map(Watched::Wrote)),
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let unfinished = if ended { self.written.end() } else { self.written.show(now) };
        self.news.extend(unfinished.map(Watched::Wrote));
        Ok(())
    }
}
