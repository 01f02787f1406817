//! The link between a worker process and the pipeline's process: what they say to each other, over a socket that is
//! also the lifeline of both.

use crate::buffer::Limits;
use crate::error::Doing;
use crate::graph::Node;
use crate::phase::WorkerEvent;
use crate::sample::SampleId;
use crate::worker::{FailedOn, Told};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The first that a worker process hears: who it is. The memory of its buffers comes with it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) index: usize,
    pub(crate) worker: usize,
    pub(crate) node: Node,
    /// The buffer in front of it.
    pub(crate) input: Limits,
    /// The buffer behind it; none for the end stage.
    pub(crate) output: Option<Limits>,
    /// True if what it gives is joined with what others give.
    pub(crate) joined: bool,
    /// True if only what it gives for a sample that was submitted is wanted.
    pub(crate) answers: bool,
    /// True if samples may have to be handed out again.
    pub(crate) may_retry: bool,
    /// True if an earlier process of this worker had been set up.
    pub(crate) restarted: bool,
    /// The parity of the numbers that it gives to names of its own.
    pub(crate) parity: u32,
    /// The addition of the binding.
    pub(crate) init_payload: Vec<u8>,
    /// What the stage was replaced with since.
    pub(crate) replaced: Option<Vec<u8>>,
}

/// A message that a worker process gets later.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Heard {
    /// Everything is up, or (false) will never be.
    AllUp(bool),
    /// The stage is told an update, of that number.
    Update(u64, Told<Vec<u8>>),
    /// It is to take nothing more and to end, while others of its stage go on.
    Leave,
    /// A source of the pipeline has that number, by which its samples tell it, and that name.
    Source(u32, String),
}

/// A message of a worker process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// The stage that it has made gives itself this name.
    Name(String),
    /// It moves on.
    Advance(WorkerEvent),
    /// It failed for good.
    Failed { doing: Doing, sample: Option<SampleId>, text: String, detail: Vec<u8> },
    /// A failure on the samples of this take, for which somebody waits; it is counted next.
    FailedOn { failed: FailedOn, sample: Option<SampleId>, text: String, detail: Vec<u8> },
    /// The bytes of a sample on which it has failed, for who is told of its fate.
    Bytes { sample: SampleId, bytes: Vec<u8> },
    /// Ends of samples are written down in a buffer beside it: the one in front, or the one behind.
    Ends { in_front: bool },
    /// The stage is being told the update of that number: should the process die, that is what it died of.
    Updating(u64),
    /// The stage was told the update of that number; where it failed, the error's text, and what the binding adds.
    Updated(u64, Option<(String, Vec<u8>)>),
    /// A message for the binding, in its own words.
    Note(Vec<u8>),
}

/// The longest that a worker process says, in bytes. What claims to be longer is no message: no worker says that much
/// about a sample.
pub(super) const LONGEST_SAID: usize = 64 << 20;

/// Descriptors that come with `Begin`: the memory of two buffers.
const DESCRIPTORS: usize = 2;

/// The outcome of reading without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Some,
    Nothing,
    /// The other end is closed.
    End,
}

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Link {
    stream: Arc<UnixStream>,
    unread: Vec<u8>,
    /// The longest message that may come.
    longest: usize,
    /// The bytes for which the other end has had no room yet.
    posted: VecDeque<u8>,
}

impl Link {
    /// Both ends: for the pipeline's process, and for its worker.
    pub(super) fn pair() -> io::Result<(Link, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Link { longest: LONGEST_SAID, ..Link::new(ours) }, theirs))
    }

    /// The worker's end: what it hears comes from the pipeline's process, and a stage may be large.
    pub(super) fn new(socket: OwnedFd) -> Self {
        let (stream, longest) = (Arc::new(UnixStream::from(socket)), u32::MAX as usize);
        Link { stream, unread: Vec::new(), longest, posted: VecDeque::new() }
    }

    /// The same end again, for another thread: one reads, and one sends.
    pub(super) fn share(&self) -> Self {
        Link { stream: Arc::clone(&self.stream), unread: Vec::new(), longest: self.longest, posted: VecDeque::new() }
    }

    /// Sends a message, and waits until the other end has room for it.
    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        (&*self.stream).write_all(&framed(message)?)
    }

    /// Puts a message behind what is to be sent, and does not wait.
    pub(super) fn post(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.posted.extend(framed(message)?);
        self.send_posted();
        Ok(())
    }

    /// Returns true if there is something left to be sent.
    pub(super) fn has_posted(&self) -> bool {
        !self.posted.is_empty()
    }

    /// Sends what the other end has room for.
    pub(super) fn send_posted(&mut self) {
        while self.has_posted() {
            let (next, _) = self.posted.as_slices();
            match rustix::net::send(&self.stream, next, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => drop(self.posted.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The other end is closed, as the watcher will find.
                Err(_) => self.posted.clear(),
            }
        }
        self.posted = VecDeque::new();
    }

    /// Posts the first message, and descriptors with it.
    pub(super) fn post_with(&mut self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = framed(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        // The descriptors go with the first bytes, for which an empty socket always has room.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(&self.stream, &[IoSlice::new(&bytes)], &mut ancillary, flags) {
            Ok(sent) => self.posted = VecDeque::from(bytes.split_off(sent)),
            // It is gone already, as the watcher will find.
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
        self.send_posted();
        Ok(())
    }

    /// Reads what has come, and the descriptors that came with it, without waiting.
    pub(super) fn read_with(&mut self, descriptors: &mut Vec<OwnedFd>) -> io::Result<Read> {
        let mut room = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let got = recvmsg(&self.stream, &mut [IoSliceMut::new(&mut room)], &mut ancillary, flags);
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        self.take_in(&room, got.map(|got| got.bytes))
    }

    /// Reads what has come, without waiting.
    pub(super) fn read_some(&mut self) -> io::Result<Read> {
        let mut room = [0; 4096];
        let got = rustix::net::recv(&self.stream, &mut room, RecvFlags::DONTWAIT);
        self.take_in(&room, got.map(|(_, count)| count))
    }

    fn take_in(&mut self, room: &[u8], got: rustix::io::Result<usize>) -> io::Result<Read> {
        match got {
            Ok(0) => Ok(Read::End),
            Ok(count) => {
                self.unread.extend_from_slice(&room[..count]);
                Ok(Read::Some)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Read::Nothing),
            // A peer that died with unread words from us in its socket.
            Err(Errno::CONNRESET) => Ok(Read::End),
            Err(error) => Err(error.into()),
        }
    }

    /// The next message that has been read as a whole.
    pub(super) fn next_read<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((length, rest)) = self.unread.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.longest {
            let longest = self.longest;
            return Err(not_said(format!(
                "that a message of {length} bytes follows, but none is longer than {longest}"
            )));
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let message =
            postcard::from_bytes(message).map_err(|_| not_said("something that no worker says".to_owned()))?;
        self.unread.drain(..4 + length);
        Ok(Some(message))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The error for what cannot have been said by the worker's own end.
fn not_said(what: String) -> io::Error {
    let why = "something in the worker writes into a descriptor that is not its own";
    io::Error::new(io::ErrorKind::InvalidData, format!("its worker's socket says {what}: {why}"))
}

/// The message behind its length in four bytes.
fn framed(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_claims_to_be_longer_than_any_is_refused_before_it_has_come() {
        let (mut ours, theirs) = Link::pair().unwrap();
        let mut theirs = UnixStream::from(theirs);
        theirs.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(ours.read_some().unwrap(), Read::Some);
        let refused = ours.next_read::<Said>().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(refused.to_string().contains("4294967295 bytes"), "{refused}");
    }

    #[test]
    fn a_message_that_cannot_be_read_is_said_to_be_none_of_the_workers() {
        let (mut ours, theirs) = Link::pair().unwrap();
        let mut theirs = UnixStream::from(theirs);
        theirs.write_all(&[5, 0, 0, 0, 255, 255, 255, 255, 255]).unwrap();
        assert_eq!(ours.read_some().unwrap(), Read::Some);
        let refused = ours.next_read::<Said>().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "its worker's socket says something that no worker says: something in the worker writes into a descriptor that \
             is not its own"
        );
    }
}
