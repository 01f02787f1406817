//! The worker's side: what stands for the supervisor in a worker process.

use super::link::{AllUp, Begin, LONGEST_SAID, Link, Read, Said};
use crate::buffer::shared::{self, Codec, Owner};
use crate::buffer::{Buffer, Wait};
use crate::clock::Clock;
use crate::error::{BoxError, Failure};
use crate::graph::{Flow, Node};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::phase::WorkerEvent;
use crate::worker::{Seat, Worker};
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Bytes for each of the two that a failure tells: its text, and what its front door adds.
const ROOM_FOR_ONE: usize = LONGEST_SAID / 4;

/// What a failure's front door wants to be told in the pipeline's process, beside its text.
pub type Detail = fn(&BoxError) -> Vec<u8>;

/// A worker process that knows who it is, and has not begun.
#[derive(Debug)]
pub struct Apprentice {
    link: Link,
    begin: Begin,
    memory: std::vec::IntoIter<OwnedFd>,
}

impl Apprentice {
    /// Hears from the pipeline's process, at the other end of this socket, who this process is.
    ///
    /// # Errors
    /// When nobody is there.
    pub fn listen(socket: OwnedFd) -> io::Result<Self> {
        let mut link = Link::new(socket);
        let (begin, memory) = link.receive_with()?;
        Ok(Apprentice { link, begin, memory: memory.into_iter() })
    }

    /// What the front door in the pipeline's process has left for the one here.
    pub fn front(&self) -> &[u8] {
        &self.begin.front
    }

    /// The name of the stage.
    pub fn name(&self) -> &str {
        &self.begin.node.name
    }

    /// The stage's worker, and what notes can be sent home with. From now on this process ends at once when the
    /// pipeline's process does.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn begin<V: Send + 'static>(
        mut self,
        input: Arc<dyn Codec<V>>,
        output: Arc<dyn Codec<V>>,
        detail: Detail,
    ) -> io::Result<(Worker<V>, Notes)> {
        let Begin { index, worker, node, joined, may_retry, restarted, pipeline, .. } = self.begin;
        let (limits, after) = (self.begin.input, self.begin.output);
        let me = Owner::of_worker(index, worker);
        let mut memory = || self.memory.next().ok_or_else(|| io::Error::other("no memory came for a buffer"));
        let input = shared::Buffer::open(memory()?, limits, me, input, may_retry)?;
        let output = match after {
            Some(limits) => Some(Buffer::Shared(shared::Buffer::open(memory()?, limits, me, output, false)?)),
            None => None,
        };
        let reorders = limits.takers.reorders();
        let all_up = Arc::<AllUpState>::default();
        listen(self.link.try_clone()?, pipeline, Arc::clone(&all_up))?;
        let voice = Arc::new(Mutex::new(self.link));
        let notes = Notes { voice: Arc::clone(&voice) };
        let remote = Remote {
            index,
            node,
            joined,
            reorders,
            restarted,
            clock: Clock::Monotonic,
            input: Buffer::Shared(input),
            output,
            all_up,
            voice,
            detail,
        };
        Ok((Worker::new(Arc::new(remote), Seat::Stage { index, worker }), notes))
    }
}

/// Sends words of the front door to the pipeline's process.
#[derive(Debug, Clone)]
pub struct Notes {
    voice: Arc<Mutex<Link>>,
}

impl Notes {
    /// Sends one, unless it is larger than anybody would say.
    pub fn send(&self, note: Vec<u8>) {
        if note.len() > ROOM_FOR_ONE {
            return;
        }
        say(&self.voice, &Said::Note(note));
    }
}

fn say(voice: &Mutex<Link>, message: &Said) {
    if voice.lock().send(message).is_err() {
        end_at_once();
    }
}

/// Nobody is left to work for. Nothing may run on the way out: not the interpreter, which may be anywhere.
fn end_at_once() {
    let _ = kill_process(getpid(), Signal::KILL);
}

/// Waits for what the pipeline's process says, and for its end. The socket alone would not tell: another process that it
/// forked may hold its end.
fn listen(mut link: Link, pipeline: u32, all_up: Arc<AllUpState>) -> io::Result<()> {
    let pid = i32::try_from(pipeline).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let alive = pidfd_open(pid, PidfdFlags::empty())?;
    let listener = std::thread::Builder::new().name("lifeline".to_owned());
    listener.spawn(move || {
        while let Ok(true) = hear(&mut link, &alive) {
            while let Ok(Some(AllUp(up))) = link.next_read() {
                *all_up.known.lock() = Some(up);
                all_up.changed.notify_all();
            }
        }
        end_at_once();
    })?;
    Ok(())
}

/// Waits until there is something to read; false when the pipeline's process has ended.
fn hear(link: &mut Link, alive: &OwnedFd) -> io::Result<bool> {
    let mut ready = [PollFd::new(&*link, PollFlags::IN), PollFd::new(alive, PollFlags::IN)];
    match poll(&mut ready, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(true),
        Err(error) => return Err(error.into()),
    }
    let (said, ended) = (!ready[0].revents().is_empty(), !ready[1].revents().is_empty());
    Ok(!ended && (!said || link.read_some()? != Read::End))
}

/// Whether everything is up, once that is known.
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
    /// Whether its results have to be put in order with those of others.
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

    fn name_of(&self, _: Seat) -> &str {
        &self.node.name
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

    fn ledger(&self, _: usize) -> Option<&Ledger> {
        None
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

    fn advance(&self, _: Seat, event: WorkerEvent) {
        say(&self.voice, &Said::Advance(event));
    }

    fn fail(&self, _: Seat, failure: Failure) -> bool {
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
