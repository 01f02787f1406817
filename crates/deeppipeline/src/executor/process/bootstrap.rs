//! The worker's side: what stands for the supervisor in a worker process.

use super::link::{AllUp, Begin, LONGEST_SAID, Link, Read, Said};
use crate::buffer::shared::{self, Codec, Owner};
use crate::buffer::{Buffer, Wait};
use crate::clock::Clock;
use crate::error::{BoxError, Failure};
use crate::graph::{Flow, Node};
use crate::home::Home;
use crate::phase::WorkerEvent;
use crate::worker::{Worker, WorkerId};
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Bytes for each of the two that a failure tells: its text, and what its binding adds.
const ROOM_FOR_ONE: usize = LONGEST_SAID / 4;

/// A function that returns what the binding in the pipeline's process gets of a failure, beside its text.
pub type Detail = fn(&BoxError) -> Vec<u8>;

/// A worker process's hold on the pipeline's process: from the moment it is held, this process ends at once when that
/// one does. It is to be held before anything of the program runs here.
#[derive(Debug)]
pub struct Lifeline {
    link: Link,
    begun: Receiver<(Begin, Vec<OwnedFd>)>,
    all_up: Arc<AllUpState>,
}

impl Lifeline {
    /// Takes hold of the pipeline's process, which is at the other end of this socket.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn hold(socket: OwnedFd, pipeline: u32) -> io::Result<Self> {
        let pid = i32::try_from(pipeline).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let alive = pidfd_open(pid, PidfdFlags::empty()).inspect_err(|error| {
            if *error == Errno::SRCH {
                end_at_once();
            }
        })?;
        let link = Link::new(socket);
        let (begins, begun) = channel();
        let all_up = Arc::<AllUpState>::default();
        let (other_end, tells) = (link.share(), Arc::clone(&all_up));
        std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
            // A thread that waits to begin waits on until the end of this process: it must not go its own way
            // meanwhile.
            let _ = listen(other_end, &alive, &begins, &tells);
            end_at_once();
        })?;
        Ok(Lifeline { link, begun, all_up })
    }

    /// Waits until the pipeline's process has said who this process is.
    ///
    /// # Errors
    /// An error if it says nothing any longer.
    pub fn listen(self) -> io::Result<Bootstrap> {
        let (begin, memory) = self.begun.recv().map_err(|_| io::ErrorKind::UnexpectedEof)?;
        Ok(Bootstrap { link: self.link, all_up: self.all_up, begin, memory: memory.into_iter() })
    }
}

/// A worker process that knows who it is, and has not begun.
#[derive(Debug)]
pub struct Bootstrap {
    link: Link,
    all_up: Arc<AllUpState>,
    begin: Begin,
    memory: std::vec::IntoIter<OwnedFd>,
}

impl Bootstrap {
    /// Returns what the binding in the pipeline's process has left for the one here.
    pub fn front(&self) -> &[u8] {
        &self.begin.front
    }

    /// The name of the stage.
    pub fn name(&self) -> &str {
        &self.begin.node.name
    }

    /// Returns the stage's worker, and what notes can be sent home with.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn begin<V: Send + 'static>(
        mut self,
        input: Arc<dyn Codec<V>>,
        output: Arc<dyn Codec<V>>,
        detail: Detail,
    ) -> io::Result<(Worker<V>, Notes)> {
        let Begin { index, worker, node, joined, may_retry, restarted, .. } = self.begin;
        let (limits, after) = (self.begin.input, self.begin.output);
        let me = Owner::of_worker(index, worker);
        let mut memory = || self.memory.next().ok_or_else(|| io::Error::other("no memory came for a buffer"));
        let input = shared::Buffer::open(memory()?, limits, me, input, may_retry)?;
        let output = match after {
            Some(limits) => Some(Buffer::Shared(shared::Buffer::open(memory()?, limits, me, output, false)?)),
            None => None,
        };
        let reorders = limits.consumers.reorders();
        let voice = Arc::new(Mutex::new(self.link));
        let notes = Notes { voice: Arc::clone(&voice), process: std::process::id() };
        let remote = Remote {
            index,
            node,
            joined,
            reorders,
            restarted,
            clock: Clock::Monotonic,
            input: Buffer::Shared(input),
            output,
            all_up: self.all_up,
            voice,
            detail,
        };
        Ok((Worker::new(Arc::new(remote), WorkerId::Stage { index, worker }), notes))
    }
}

/// Sends words of the binding to the pipeline's process.
#[derive(Debug, Clone)]
pub struct Notes {
    voice: Arc<Mutex<Link>>,
    /// A child that this process forks has a copy, which must not speak for it.
    process: u32,
}

impl Notes {
    /// Sends one, unless it is larger than any real one; false in a child of this process.
    pub fn send(&self, note: Vec<u8>) -> bool {
        let is_own = self.process == std::process::id();
        if is_own && note.len() <= ROOM_FOR_ONE {
            say(&self.voice, &Said::Note(note));
        }
        is_own
    }
}

fn say(voice: &Mutex<Link>, message: &Said) {
    if voice.lock().send(message).is_err() {
        end_at_once();
    }
}

/// Ends the process, since no pipeline is left to work for. Nothing may run on the way out: not the interpreter, which
/// may be anywhere.
fn end_at_once() {
    let _ = kill_process(getpid(), Signal::KILL);
}

/// Takes in what the pipeline's process says, until its end. The socket alone would not tell of that: another process
/// that it forked may hold its end.
fn listen(
    mut link: Link,
    alive: &OwnedFd,
    begins: &Sender<(Begin, Vec<OwnedFd>)>,
    all_up: &AllUpState,
) -> io::Result<()> {
    let mut memory = Vec::new();
    let begin = loop {
        if !hear(&mut link, &mut memory, alive)? {
            return Ok(());
        }
        if let Some(begin) = link.next_read()? {
            break begin;
        }
    };
    // No thread waits for it where this process is on its way out already.
    let _ = begins.send((begin, memory));
    loop {
        while let Some(AllUp(up)) = link.next_read()? {
            *all_up.known.lock() = Some(up);
            all_up.changed.notify_all();
        }
        if !hear(&mut link, &mut Vec::new(), alive)? {
            return Ok(());
        }
    }
}

/// Waits until there is something to read, and reads it; false when the pipeline's process has ended.
fn hear(link: &mut Link, memory: &mut Vec<OwnedFd>, alive: &OwnedFd) -> io::Result<bool> {
    let mut ready = [PollFd::new(&*link, PollFlags::IN), PollFd::new(alive, PollFlags::IN)];
    match poll(&mut ready, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(true),
        Err(error) => return Err(error.into()),
    }
    let (said, ended) = (!ready[0].revents().is_empty(), !ready[1].revents().is_empty());
    Ok(!ended && (!said || link.read_with(memory)? != Read::End))
}

/// The knowledge of whether everything is up, once there is any.
#[derive(Debug, Default)]
struct AllUpState {
    known: Mutex<Option<bool>>,
    changed: Condvar,
}

/// The pipeline as a worker process sees it: its own two buffers, and a voice.
struct Remote<V> {
    index: usize,
    node: Node,
    joined: bool,
    /// True if its results have to be put in order with those of others.
    reorders: bool,
    restarted: bool,
    clock: Clock,
    input: Buffer<V>,
    output: Option<Buffer<V>>,
    all_up: Arc<AllUpState>,
    voice: Arc<Mutex<Link>>,
    detail: Detail,
}

impl<V: Send> Home<V> for Remote<V> {
    fn id(&self) -> u64 {
        // Numbers are given from 1, to pipelines that this process has itself.
        0
    }

    fn restarted(&self) -> bool {
        self.restarted
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn name_of(&self, _: WorkerId) -> &str {
        &self.node.name
    }

    fn tell_name(&self, _: usize, mut name: String) {
        name.truncate(name.floor_char_boundary(ROOM_FOR_ONE));
        say(&self.voice, &Said::Name(name));
    }

    fn node(&self, _: usize) -> &Node {
        &self.node
    }

    fn flow(&self, index: usize) -> Flow {
        if self.output.is_some() { Flow::Next(index + 1) } else { Flow::End }
    }

    fn is_joined(&self, _: usize) -> bool {
        self.joined
    }

    fn reorders(&self, _: usize) -> bool {
        self.reorders
    }

    fn buffer(&self, index: usize) -> Option<&Buffer<V>> {
        if index == self.index { Some(&self.input) } else { self.output.as_ref() }
    }

    fn wait_for_all_up(&self, wait: Wait) -> Option<bool> {
        let mut known = self.all_up.known.lock();
        loop {
            match (*known, wait) {
                (Some(up), _) => return Some(up),
                (None, Wait::No) => return None,
                (None, Wait::Forever) => self.all_up.changed.wait(&mut known),
                (None, Wait::Until(deadline)) => {
                    if self.all_up.changed.wait_until(&mut known, deadline).timed_out() {
                        return *known;
                    }
                }
            }
        }
    }

    fn source_wanted(&self) -> bool {
        false
    }

    fn advance(&self, _: WorkerId, event: WorkerEvent) {
        say(&self.voice, &Said::Advance(event));
    }

    fn fail(&self, _: WorkerId, failure: Failure) -> bool {
        let Failure { doing, sample, cause, .. } = failure;
        // An error that carries a data set with it is told without.
        let detail = Some((self.detail)(&cause)).filter(|detail| detail.len() <= ROOM_FOR_ONE).unwrap_or_default();
        let mut text = cause.to_string();
        text.truncate(text.floor_char_boundary(ROOM_FOR_ONE));
        say(&self.voice, &Said::Failed { doing, sample, text, detail });
        // Whether it is the first is known, and told, in the pipeline's process.
        true
    }
}
