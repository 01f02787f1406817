//! The pipeline's side of a stage in a process: it watches the process. What its end means is in `restart.rs`.

use super::child::{ChildEnds, ChildProcess, Killed, Reads, Watched};
use super::link::{Begin, Said};
use super::restart::Deaths;
use super::waker::Waker;
use crate::buffer::shared::{self, Owner, is_stopped};
use crate::buffer::{HearsEnds, Wait};
use crate::error::{Doing, Failure, RemoteError};
use crate::phase::{WorkerEvent, WorkerPhase};
use crate::sample::SampleId;
use crate::source_id::SourceId;
use crate::supervisor::GRACE;
use crate::supervisor::Supervisor;
use crate::worker::{Control, WorkerContext, WorkerId};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time that a worker has to end once its work is done: what a stage has left running may keep it.
const ENDS_WITHIN: Duration = Duration::from_secs(4);
/// The interval at which memory that nothing uses is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// The interval at which the buffers beside the worker are looked at, and whether it is stopped.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A worker that is seen stopped so often in a row is told of: a debugger stops it for a moment when it attaches.
const TELL_STOPPED_AFTER: u32 = 2;
/// The time after which a caller that does not read everything is asked again.
const ASKED_AGAIN: Duration = Duration::from_millis(20);

/// A stage that runs in a process, as the pipeline's process sees it. Dropping it counts as a failure of its stage.
pub struct WorkerProcess<V: Send + 'static> {
    pub(super) supervisor: Arc<Supervisor<V>>,
    /// What its worker is given to work with, as far as it can be told to another process.
    pub(super) context: WorkerContext<V>,
    pub(super) waker: Waker,
    /// The message that the binding gives every new process.
    init_payload: Vec<u8>,
    pub(super) may_restart: bool,
    pub(super) present: Option<ChildProcess>,
    pub(super) was_ready: bool,
    pub(super) deaths: Deaths,
    /// The take that waits for another try, since its worker died with it in flight.
    pub(super) tried_again: Option<u64>,
    /// The update that its stage is being told.
    pub(super) updating: Option<u64>,
    swept: Instant,
    looked: Instant,
    /// The process that is watched, and how often in a row it was seen stopped.
    pid: u32,
    seen_stopped: u32,
    /// A child that this process forks has the driver too, but no business with its worker.
    process: u32,
    is_over: bool,
}

impl<V: Send + 'static> fmt::Debug for WorkerProcess<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerProcess").field("worker_id", &self.worker_id()).finish_non_exhaustive()
    }
}

impl<V: Send + 'static> WorkerProcess<V> {
    pub(crate) fn new(supervisor: Arc<Supervisor<V>>, context: WorkerContext<V>, waker: Waker) -> Self {
        WorkerProcess {
            supervisor,
            context,
            waker,
            init_payload: Vec::new(),
            may_restart: true,
            present: None,
            was_ready: false,
            deaths: Deaths::default(),
            tried_again: None,
            updating: None,
            swept: Instant::now(),
            looked: Instant::now(),
            pid: 0,
            seen_stopped: 0,
            process: std::process::id(),
            is_over: false,
        }
    }

    /// Returns which of the pipeline's workers it is for.
    pub fn worker_id(&self) -> WorkerId {
        self.context.worker_id
    }

    /// Returns the index in the description of the stage of which it is a worker, from 0.
    pub fn stage(&self) -> usize {
        self.context.role.stage().unwrap_or_default()
    }

    fn index(&self) -> usize {
        self.context.index()
    }

    pub(super) fn owner(&self) -> Owner {
        Owner::of_worker(self.index(), self.context.worker())
    }

    /// The name of the stage.
    pub fn name(&self) -> &str {
        self.context.name.get()
    }

    /// Sets what the binding leaves for the one in the worker process.
    pub fn set_init_payload(&mut self, init_payload: Vec<u8>) {
        self.init_payload = init_payload;
    }

    /// Its first process is its last.
    pub fn never_restart(&mut self) {
        self.may_restart = false;
    }

    /// Makes ready for a new process.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn open(&mut self) -> io::Result<ChildEnds> {
        let (present, ends) = ChildProcess::open()?;
        self.present = Some(present);
        Ok(ends)
    }

    /// Takes charge of a process that has been started, and tells it who it is.
    ///
    /// # Errors
    /// The error of the operating system; a process that is gone already is found by `watch`. The process has ended
    /// then, or [`cannot_start`](WorkerProcess::cannot_start) ends it.
    pub fn started(&mut self, pid: u32) -> io::Result<()> {
        (self.pid, self.seen_stopped) = (pid, 0);
        let replaced = self.supervisor.replaced(self.index());
        let begin = self.begin(replaced.as_ref().map(|(_, bytes)| bytes.to_vec()))?;
        let Some(mut present) = self.present.take() else { return Err(io::Error::other("`open` comes first")) };
        present.updates_told = replaced.map_or(0, |(number, _)| number);
        let memory: Vec<_> = std::iter::once(self.input()?).chain(self.output()).map(shared::Buffer::file).collect();
        if let Some(process) = present.started(pid)? {
            for buffer in std::iter::once(self.input()?).chain(self.output()) {
                buffer.share_with(self.owner(), pid, Arc::clone(&process));
            }
        }
        let begun = present.begin(&begin, &memory);
        self.present = Some(present);
        begun
    }

    fn begin(&self, replaced: Option<Vec<u8>>) -> io::Result<Begin> {
        let node = self.context.options.clone();
        Ok(Begin {
            index: self.index(),
            worker: self.context.worker(),
            joined: self.context.joined,
            answers: self.context.answers,
            may_retry: node.may_see_again(),
            input: self.input()?.limits(),
            output: self.output().map(shared::Buffer::limits),
            restarted: self.was_ready,
            parity: SourceId::parity_in_workers(),
            init_payload: self.init_payload.clone(),
            replaced,
            node,
        })
    }

    pub(super) fn input(&self) -> io::Result<&shared::Buffer<V>> {
        let buffer = self.context.input().and_then(|buffer| buffer.shared());
        buffer.ok_or_else(|| io::Error::other("the buffer in front of a stage in a process is not shared"))
    }

    pub(super) fn output(&self) -> Option<&shared::Buffer<V>> {
        self.context.output()?.shared()
    }

    /// Watches over the process until there is something to be done about it. Time-outs and stops hold whatever is
    /// read.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn watch(&mut self, reads: Reads) -> io::Result<Watched> {
        loop {
            let Some(present) = &mut self.present else { return Ok(Watched::Exited) };
            if let Some(news) = present.news.pop_front() {
                return Ok(news);
            }
            self.tell_sources();
            self.tell_updates();
            self.tell_to_leave();
            self.tell_all_up();
            let mut deadline = self.see_to_deadlines()?;
            if self.present.as_ref().is_some_and(|present| !present.news.is_empty()) {
                continue;
            }
            if !reads.is_all() {
                deadline = deadline.min(Instant::now() + ASKED_AGAIN);
            }
            if self.listen(deadline, reads)? {
                return Ok(Watched::Exited);
            }
            if !reads.is_all() && self.present.as_ref().is_none_or(|present| present.news.is_empty()) {
                return Ok(Watched::Nothing);
            }
        }
    }

    /// Tells the process the names of sources that it does not know yet.
    fn tell_sources(&mut self) {
        if let Some(present) = &mut self.present {
            let untold = self.supervisor.sources_told_after(present.sources_told);
            untold.into_iter().for_each(|source| present.tell_source(source));
        }
    }

    /// Tells the process the updates of its stage that it does not know yet: one that was started again, all since the
    /// start.
    fn tell_updates(&mut self) {
        let worker_id = self.worker_id();
        if let Some(present) = &mut self.present {
            let untold = self.supervisor.updates_after(worker_id, present.updates_told);
            untold.into_iter().for_each(|update| present.tell_update(update));
        }
    }

    /// Lets a worker that is to leave its stage know, once.
    fn tell_to_leave(&mut self) {
        let worker_id = self.worker_id();
        if let Some(present) = self.present.as_mut().filter(|present| !present.knows_to_leave)
            && self.supervisor.is_to_leave(worker_id)
        {
            present.tell_to_leave();
        }
    }

    /// Lets the worker begin once every other is up too, or tells it that this will not be.
    fn tell_all_up(&mut self) {
        let is_set_up = matches!(self.supervisor.phase_of(self.worker_id()), WorkerPhase::Ready | WorkerPhase::Running);
        if let Some(present) = self.present.as_mut().filter(|present| is_set_up && !present.knows_all_up)
            && let Some(up) = self.supervisor.wait_for_all_up(Wait::No)
        {
            present.tell_all_up(up);
        }
    }

    /// Looks at what no word from the worker tells: whether it stands still, alone or with the lock of a buffer, and
    /// whether a buffer is damaged.
    fn look(&mut self) -> io::Result<()> {
        for buffer in std::iter::once(self.input()?).chain(self.output()) {
            buffer.look_at_holder();
            buffer.look_for_damage();
        }
        if self.is_damaged() {
            return self.kill(Killed::Unwanted);
        }
        let Some(stopped) = is_stopped(self.pid) else { return Ok(()) };
        if !stopped && self.seen_stopped >= TELL_STOPPED_AFTER {
            self.report(Watched::Told(format!("its worker (process {}) goes on", self.pid)));
        }
        self.seen_stopped = if stopped { self.seen_stopped.saturating_add(1) } else { 0 };
        if self.seen_stopped == TELL_STOPPED_AFTER {
            let (pid, holds_up) = (self.pid, self.holds_up()?);
            let how = "is stopped, by SIGSTOP, a debugger or its control group";
            self.report(Watched::Told(format!("its worker (process {pid}) {how}: {holds_up}")));
        }
        Ok(())
    }

    /// Lets the caller that watches hear of it.
    fn report(&mut self, news: Watched) {
        if let Some(present) = &mut self.present {
            present.news.push_back(news);
        }
    }

    /// Returns what a worker that is stopped keeps from going on.
    fn holds_up(&self) -> io::Result<String> {
        let input = self.input()?;
        if std::iter::once(input).chain(self.output()).any(|buffer| buffer.is_held_by(self.owner())) {
            return Ok(
                "it is in the middle of a step at a buffer, where nobody can go on, and is killed if it does not \
                       go on in a few seconds"
                    .to_owned(),
            );
        }
        let waiting = input.waiting_lately();
        let at_work = input.running_since(self.owner()).is_some();
        let in_flight = if at_work { "it has a sample in stage_run" } else { "it has nothing in stage_run" };
        Ok(format!("{in_flight}, and {waiting} wait in front of the stage; it is waited for until SIGCONT"))
    }

    /// Returns true if one of the buffers beside the worker is damaged; then the pipeline has failed.
    pub(super) fn is_damaged(&self) -> bool {
        let behind = self.context.next().map(|next| next.index);
        // Both are looked at, so that both are told.
        let damaged =
            [Some(self.index()), behind].map(|index| index.is_some_and(|index| self.supervisor.is_damaged(index)));
        damaged.contains(&true)
    }

    /// Returns true if the worker was killed because it stood still in the middle of a transaction at a buffer.
    pub(super) fn stood_still(&self) -> bool {
        self.input().into_iter().chain(self.output()).any(|buffer| buffer.has_killed(self.owner()))
    }

    /// Does what is due, and says when to look again.
    fn see_to_deadlines(&mut self) -> io::Result<Instant> {
        let now = Instant::now();
        if now >= self.looked + LOOK_EVERY || self.is_damaged() {
            self.looked = now;
            self.look()?;
        }
        // A sweep that is due comes with the next look.
        let mut next = self.looked + LOOK_EVERY;

        for (last_moment, why) in self.last_moments(now)?.into_iter().flatten() {
            if now >= last_moment {
                self.kill(why)?;
            } else {
                next = next.min(last_moment);
            }
        }

        if self.context.worker() == 0 && now >= self.swept + SWEEP_EVERY {
            self.swept = now;
            self.sweep()?;
        }
        Ok(next)
    }

    /// Returns the moments at which the process is to be killed, and why: after an abort, when it stays although its
    /// work is done, and when it takes too long for a sample.
    fn last_moments(&self, now: Instant) -> io::Result<[Option<(Instant, Killed)>; 3]> {
        let aborted_at = self.supervisor.aborted_at();
        let torn_down = self.present.as_ref().and_then(|present| present.torn_down);
        // What begins after this moment is not over its time before then.
        let began = self.input()?.running_since(self.owner()).unwrap_or(now);
        Ok([
            aborted_at.map(|at| (at + GRACE, Killed::Unwanted)),
            torn_down.map(|at| (at + ENDS_WITHIN, Killed::Overstayed)),
            self.context.options.time_limit.map(|limit| (began + limit, Killed::TimeLimit(limit))),
        ])
    }

    /// Gives back memory that nothing uses in front of the stage, and behind it where nobody else does.
    fn sweep(&self) -> io::Result<()> {
        self.input()?.sweep();
        self.context.input.iter().for_each(|inlet| inlet.look_for_drops());
        // What is in front of another process, its own watcher sees to.
        if let (Some(output), Some(next)) = (self.output(), self.context.next())
            && !self.supervisor.is_in_process(next.index)
        {
            output.sweep();
            next.look_for_drops();
        }
        Ok(())
    }

    fn kill(&mut self, why: Killed) -> io::Result<()> {
        self.present.as_mut().map_or(Ok(()), |present| present.kill(why))
    }

    /// Waits for news, and takes them in; true when the process has ended and all its news are known.
    fn listen(&mut self, deadline: Instant, reads: Reads) -> io::Result<bool> {
        let Some(present) = &mut self.present else { return Ok(true) };
        present.reads = reads;
        let deadline = present.stderr_due().map_or(deadline, |due| due.min(deadline));
        let ended = present.wait(&self.waker, Some(deadline))?;
        let is_news = ended && present.verdict.is_none();
        // At once: it may hold the lock of a buffer, and a process that waits for that may hold what `ended` needs.
        let verdict = is_news.then(|| self.settle_in_flight());
        let Some(present) = &mut self.present else { return Ok(true) };
        present.verdict = present.verdict.or(verdict);
        present.reads = if ended { Reads::ALL } else { reads };
        present.read_stderr(ended)?;
        present.read_link()?.into_iter().for_each(|said| self.hear(said));
        Ok(ended && self.present.as_ref().is_none_or(|present| present.news.is_empty()))
    }

    fn hear(&mut self, said: Said) {
        match said {
            Said::Name(name) => self.supervisor.tell_name(self.worker_id(), name),
            Said::Advance(event) => self.hear_advance(event),
            Said::Failed { doing, sample, text, detail } => {
                let cause = RemoteError { text, detail };
                let stage = self.name().to_owned();
                let failure = Arc::new(Failure { stage, doing, sample, cause: Box::new(cause.clone()) });
                if !self.supervisor.fail(self.worker_id(), failure) {
                    self.report(Watched::LaterFailure(cause));
                }
            }
            Said::FailedOn { failed, sample, text, detail } => {
                let cause = Box::new(RemoteError { text, detail });
                let (stage, doing) = (self.name().to_owned(), Doing::StageRun);
                let failure = Arc::new(Failure { stage, doing, sample, cause });
                self.supervisor.tell_failure(self.worker_id(), failed, failure);
            }
            Said::Bytes { sample, bytes } => {
                // What cannot be read any more is told without.
                if let (Some(inlet), Ok(input)) = (&self.context.input, self.input())
                    && let Ok(value) = input.read_bytes(bytes)
                {
                    inlet.keep_value(sample, value);
                }
            }
            Said::Ends { in_front: true } => self.supervisor.look_for_ends(self.index()),
            Said::Ends { in_front: false } => {
                if let Some(next) = self.context.next() {
                    self.supervisor.look_for_ends(next.index);
                }
            }
            Said::Updating(number) => self.updating = Some(number),
            Said::Updated(number, failure) => {
                self.updating = None;
                let outcome = failure.map_or(Ok(()), |(text, detail)| Err(Box::new(RemoteError { text, detail }) as _));
                self.supervisor.has_updated(self.worker_id(), number, outcome);
            }
            Said::Note(note) => self.report(Watched::Note(note)),
        }
    }

    fn hear_advance(&mut self, event: WorkerEvent) {
        self.was_ready |= event == WorkerEvent::SetUp;
        match &mut self.present {
            // Only when the process has ended: what it had borrowed must come back first.
            Some(present) if event == WorkerEvent::TornDown => present.torn_down = Some(Instant::now()),
            _ => self.supervisor.advance(self.worker_id(), event),
        }
    }

    /// Waits until there is something to read from the process that forks for the caller; false when there is no need
    /// for it any longer, and the stage has ended.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn wait_for(&mut self, forker: BorrowedFd<'_>) -> io::Result<bool> {
        loop {
            if self.supervisor.aborted_at().is_some() || self.is_given_up() {
                self.end_process();
                self.over();
                return Ok(false);
            }
            let mut ready = [PollFd::new(&self.waker, PollFlags::IN), PollFd::new(&forker, PollFlags::IN)];
            self.doze(&mut ready, None)?;
            if !ready[1].revents().is_empty() {
                return Ok(true);
            }
        }
    }

    pub(super) fn doze(&self, ready: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(ready, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => self.waker.calm(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Stops the pipeline, since another process could not be started, or the one there is not be watched: it is ended.
    /// A start that fails like this waits for no `setup`.
    pub fn cannot_start(&mut self, cause: io::Error) {
        self.end_process();
        self.settle_in_flight();
        if self.was_ready {
            self.fail(Doing::StageRun, None, Box::new(cause));
        } else {
            let starts = !self.supervisor.has_come_up();
            self.fail(Doing::Setup, None, Box::new(cause));
            if starts {
                self.supervisor.abort();
            }
        }
    }

    fn end_process(&mut self) {
        if let Some(present) = self.present.take() {
            present.end(&self.waker);
        }
    }

    pub(super) fn over(&mut self) {
        self.is_over = true;
        self.let_go_of_turn();
        self.supervisor.advance(self.worker_id(), WorkerEvent::TornDown);
    }

    pub(super) fn fail(&mut self, doing: Doing, sample: Option<SampleId>, cause: crate::error::BoxError) {
        let stage = self.name().to_owned();
        self.supervisor.fail(self.worker_id(), Arc::new(Failure { stage, doing, sample, cause }));
        self.over();
    }
}

impl<V: Send + 'static> Drop for WorkerProcess<V> {
    fn drop(&mut self) {
        if self.is_over || self.process != std::process::id() {
            return;
        }
        // Its driver has gone. The process goes first, so that what it has in flight can be counted.
        self.end_process();
        self.settle_in_flight();
        let doing = if self.was_ready { Doing::StageRun } else { Doing::Setup };
        self.fail(doing, None, "nobody watches over its worker any longer".into());
    }
}
