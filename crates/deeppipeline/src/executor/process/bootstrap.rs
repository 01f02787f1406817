//! The worker's side: what stands for the supervisor in a worker process.

use super::link::{Begin, Heard, LONGEST_SAID, Link, Read, Said};
use crate::activity::Shown;
use crate::buffer::shared::{self, Codec, Owner};
use crate::buffer::{Buffer, Wait};
use crate::clock::Clock;
use crate::error::Failure;
use crate::inlet::Inlet;
use crate::job::WorkerInfo;
use crate::phase::WorkerEvent;
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;
use crate::stage_name::StageName;
use crate::unwind::BoxError;
use crate::worker::{
    Control, Entry, FailedOn, Output, Role, SourceEvent, Told, Update, Values, Worker, WorkerContext, WorkerId,
};
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Bytes for each of the two that a failure tells: its text, and what its binding adds.
const ROOM_FOR_ONE: usize = LONGEST_SAID / 4;

/// Bytes of a sample on which the stage has failed, beside which there is room for its number.
const ROOM_FOR_A_SAMPLE: usize = LONGEST_SAID - (1 << 10);

/// The id that no pipeline has: those that this process has itself are numbered from 1.
const NO_PIPELINE: u64 = 0;

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
    pub fn init_payload(&self) -> &[u8] {
        &self.begin.init_payload
    }

    /// Returns what the stage was replaced with since the start, of which it is made instead.
    pub fn replaced(&self) -> Option<&[u8]> {
        self.begin.replaced.as_deref()
    }

    /// The name of the stage.
    pub fn name(&self) -> &str {
        &self.begin.node.name
    }

    /// Returns the stage's worker, and what notes can be sent to the pipeline with.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn begin<V: Send + 'static>(
        mut self,
        input: Arc<dyn Codec<V>>,
        output: Arc<dyn Codec<V>>,
        detail: Detail,
    ) -> io::Result<(Worker<V>, Notes)> {
        let Begin { index, worker, node: options, joined, answers, may_retry, restarted, .. } = self.begin;
        let (limits, after) = (self.begin.input, self.begin.output);
        let me = Owner::of_worker(index, worker);
        let mut memory = || self.memory.next().ok_or_else(|| io::Error::other("no memory came for a buffer"));
        let inlet = |index, name: &Arc<StageName>, buffer| {
            // What is dropped in memory that processes share, the pipeline's process tells.
            Arc::new(Inlet::new(
                index,
                Arc::clone(name),
                Buffer::Shared(buffer),
                None,
                Arc::default(),
                Clock::Monotonic,
            ))
        };

        let name = Arc::new(StageName::new(&options.name));
        let input = inlet(index, &name, shared::Buffer::open(memory()?, limits, me, input, may_retry)?);
        let output = match after {
            Some(limits) => {
                Output::Next(inlet(index + 1, &name, shared::Buffer::open(memory()?, limits, me, output, false)?))
            }
            None => Output::End,
        };

        let cut_in = Arc::clone(&input);
        let is_cut_off =
            Arc::new(move |sample: &_| cut_in.buffer.shared().is_some_and(|buffer| buffer.is_cut_off(sample)));
        let info = WorkerInfo { index: worker, restarted, clock: Clock::Monotonic, is_cut_off };
        let voice = Arc::new(Mutex::new(self.link));
        let behind = if let Output::Next(next) = &output { Some((next, false)) } else { None };
        for (inlet, in_front) in std::iter::once((&input, true)).chain(behind) {
            if let Some(buffer) = inlet.buffer.shared() {
                let voice = Arc::clone(&voice);
                buffer.tell_ends_by(Box::new(move || say(&voice, &Said::Ends { in_front })));
            }
        }
        // What has come before there was a worker is announced now.
        let announced = Arc::clone(&input);
        let _ = self.all_up.announcer.set(Box::new(move || announce(&announced, worker)));
        self.all_up.announce();
        let notes = Notes { voice: Arc::clone(&voice), process: std::process::id() };
        let context = WorkerContext {
            pipeline: NO_PIPELINE,
            worker_id: WorkerId::Stage { index, worker },
            role: Role::Stage(index),
            name,
            options,
            info: Arc::new(info),
            clock: Clock::Monotonic,
            input: Some(input),
            output,
            gathers: None,
            entry: Entry::default(),
            reorders: limits.consumers.reorders(),
            joined,
            answers,
            activity: Arc::new(Shown::new()),
            timer: None,
            source_waits: None,
            restart: None,
            control: Arc::new(Remote { all_up: self.all_up, voice, detail }),
        };
        Ok((Worker::new(context), notes))
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
        if let Some(begin) = link.next_read::<Begin>()? {
            SourceId::number_with(begin.parity);
            break begin;
        }
    };

    // No thread waits for it where this process is on its way out already.
    let _ = begins.send((begin, memory));
    loop {
        while let Some(heard) = link.next_read()? {
            match heard {
                Heard::AllUp(up) => {
                    *all_up.known.lock() = Some(up);
                    all_up.changed.notify_all();
                }
                Heard::Update(number, told) => {
                    let told = told.map(|bytes| Values::Bytes(bytes.into()));
                    all_up.updates.lock().push_back(Update { number, told });
                    all_up.announce();
                }
                Heard::Leave => {
                    all_up.leaves.store(true, Ordering::Release);
                    all_up.announce();
                }
                Heard::Source(number, name) => SourceId::learn(number, name),
            }
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

/// Announces an update to the worker. It is woken aside: a pipeline's process that dies with the lock of the buffer never
/// gives it back, and the caller is the thread that ends this process then.
fn announce<V: Send + 'static>(inlet: &Arc<Inlet<V>>, worker: usize) {
    inlet.buffer.announce_update(worker);
    let inlet = Arc::clone(inlet);
    let woken = std::thread::Builder::new().name("update".to_owned()).spawn(move || inlet.buffer.wake());
    if let Err(error) = woken {
        tracing::warn!("the update comes with the next sample: no thread to wake its worker: {error}");
    }
}

/// The knowledge of whether everything is up, once there is any, the updates of the stage that have come, and whether the
/// worker is to leave it.
#[derive(Default)]
struct AllUpState {
    known: Mutex<Option<bool>>,
    changed: Condvar,
    updates: Mutex<VecDeque<Update>>,
    /// True if the worker is to take nothing more.
    leaves: AtomicBool,
    /// Announces an update to the worker, once there is one.
    announcer: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl AllUpState {
    fn announce(&self) {
        if let Some(announce) = self.announcer.get() {
            announce();
        }
    }
}

impl fmt::Debug for AllUpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllUpState").field("known", &self.known).finish_non_exhaustive()
    }
}

/// The supervisor as a worker process sees it, over the link.
struct Remote {
    all_up: Arc<AllUpState>,
    voice: Arc<Mutex<Link>>,
    detail: Detail,
}

impl Control for Remote {
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

    /// Sources are in the pipeline's process.
    fn wants_samples(&self, _: WorkerId) -> bool {
        false
    }

    fn tell_source(&self, _: WorkerId, _: SourceEvent) {}

    fn wait_to_open(&self, _: WorkerId, _: Instant, _: Wait) -> Option<bool> {
        Some(false)
    }

    fn tell_name(&self, _: WorkerId, mut name: String) {
        name.truncate(name.floor_char_boundary(ROOM_FOR_ONE));
        say(&self.voice, &Said::Name(name));
    }

    fn next_update(&self, _: WorkerId) -> Option<Update> {
        let update = self.all_up.updates.lock().pop_front()?;
        if matches!(update.told, Told::Update(_)) {
            say(&self.voice, &Said::Updating(update.number));
        }
        Some(update)
    }

    fn has_updated(&self, _: WorkerId, number: u64, outcome: Result<(), BoxError>) {
        say(&self.voice, &Said::Updated(number, outcome.err().map(|cause| self.in_words(&cause))));
    }

    fn leaves_stage(&self, _: WorkerId) -> bool {
        self.all_up.leaves.load(Ordering::Acquire)
    }

    fn advance(&self, _: WorkerId, event: WorkerEvent) {
        say(&self.voice, &Said::Advance(event));
    }

    fn fail(&self, _: WorkerId, failure: Arc<Failure>) -> bool {
        let (text, detail) = self.in_words(&failure.cause);
        say(&self.voice, &Said::Failed { doing: failure.doing, sample: failure.sample, text, detail });
        // Whether it is the first is known, and told, in the pipeline's process.
        true
    }

    fn tell_failure(&self, _: WorkerId, failed: FailedOn, failure: Arc<Failure>) {
        let (text, detail) = self.in_words(&failure.cause);
        say(&self.voice, &Said::FailedOn { failed, sample: failure.sample, text, detail });
    }

    fn tell_bytes(&self, sample: SampleId, bytes: Vec<u8>) -> Option<Vec<u8>> {
        // What is too large is told without.
        if bytes.len() <= ROOM_FOR_A_SAMPLE {
            say(&self.voice, &Said::Bytes { sample, bytes });
        }
        None
    }

    /// Blocks are in the pipeline's process.
    fn has_gone_on(&self, _: ForkTicket) {}
}

impl Remote {
    /// The text of an error, and what the binding adds.
    fn in_words(&self, cause: &BoxError) -> (String, Vec<u8>) {
        // An error that carries a data set with it is told without.
        let detail = Some((self.detail)(cause)).filter(|detail| detail.len() <= ROOM_FOR_ONE).unwrap_or_default();
        let mut text = cause.to_string();
        text.truncate(text.floor_char_boundary(ROOM_FOR_ONE));
        (text, detail)
    }
}
