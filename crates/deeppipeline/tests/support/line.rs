//! A line between a test and the processes that it starts: words both ways, over a Unix socket that leaves no file.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Only a test that hangs takes that long.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// Where lines end that come from other processes.
pub(crate) struct Desk {
    listener: UnixListener,
    address: String,
}

impl Desk {
    pub(crate) fn open() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let address = format!("deeppipeline-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&address).unwrap()).unwrap();
        Desk { listener, address }
    }

    /// What a process needs to know to call here.
    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// Waits for the next call.
    pub(crate) fn next(&self) -> io::Result<Line> {
        self.next_within(WATCHDOG)
    }

    /// The next call, if it comes in time.
    pub(crate) fn next_within(&self, patience: Duration) -> io::Result<Line> {
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        if poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&patience))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody has called"));
        }
        Line::new(self.listener.accept()?.0)
    }
}

/// One end of a line.
pub(crate) struct Line(BufReader<UnixStream>);

impl Line {
    fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(WATCHDOG))?;
        Ok(Line(BufReader::new(stream)))
    }

    /// Calls that address.
    pub(crate) fn to(address: &str) -> io::Result<Self> {
        Line::new(UnixStream::connect_addr(&SocketAddr::from_abstract_name(address)?)?)
    }

    pub(crate) fn say(&mut self, word: &impl Serialize) -> io::Result<()> {
        self.0.get_mut().write_all(&postcard::to_stdvec_cobs(word).map_err(io::Error::other)?)
    }

    /// Waits for a word; an error when nobody is at the other end any longer.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut word = Vec::new();
        self.0.read_until(0, &mut word)?;
        if word.last() != Some(&0) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        postcard::from_bytes_cobs(&mut word).map_err(io::Error::other)
    }
}
