//! The buffers: what happens between two stages, and when a buffer is full. The state machine is in the README beside
//! this file.

mod announced;
#[cfg_attr(not(processes), expect(dead_code, reason = "nobody else writes what lies between threads"))]
mod damage;
mod error;
mod histogram;
mod limits;
mod local;
mod parts;
mod policy;
#[cfg(processes)]
pub(crate) mod shared;
mod to_free;
mod untold;
mod visit;

#[cfg(processes)]
pub(crate) use error::NoAddresses;
pub use error::{MemoryDamaged, SampleTooLarge};
pub(crate) use histogram::WINDOW;
pub(crate) use limits::{Limits, Workers};
pub(crate) use policy::{How, LaneKey, LaneOptions, SampleEnd, Settlement};
pub(crate) use to_free::ToFree;
pub(crate) use visit::Visit;

use crate::clock::{Clock, Moment};
use crate::cuts::{Cut, Cuts};
use crate::ledger::{BufferCounts, Fate, Reading};
use crate::line::Spot;
use crate::policies::Intake;
use crate::sample::{ForkTicket, Input, Sample, SampleInfo};
use crate::source_id::SourceId;
use crate::unwind::BoxError;
use std::collections::HashSet;
use std::sync::Weak;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The time that a caller is ready to wait.
#[derive(Debug, Clone, Copy)]
pub enum Wait {
    /// No wait at all.
    No,
    /// A wait for as long as it takes.
    Forever,
    /// A wait until then.
    Until(Instant),
}

impl Wait {
    /// The same, but no longer than until that moment, if there is one.
    #[inline]
    pub(crate) fn no_later_than(self, moment: Option<Instant>) -> Wait {
        match (self, moment) {
            (Wait::Forever, Some(moment)) => Wait::Until(moment),
            (Wait::Until(deadline), Some(moment)) => Wait::Until(deadline.min(moment)),
            (wait, _) => wait,
        }
    }

    /// Returns true if a caller would not wait any longer at that time.
    #[inline]
    pub(crate) fn is_over(self, now: Instant) -> bool {
        match self {
            Wait::No => true,
            Wait::Forever => false,
            Wait::Until(deadline) => now >= deadline,
        }
    }
}

/// The gate of a buffer: whether it still lets samples in and out. It only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gate {
    /// Samples come and go.
    Open,
    /// The buffer is closed: nothing more comes, what is inside flows out.
    Closed,
    /// The buffer is discarding: what is inside was discarded, and so is all that still comes.
    Discarding,
}

/// The producer of a sample, and the identity that it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A stage: the sample keeps its identity, unless a part made here may have it. One that comes too late is counted
    /// as discarded, as with the next two.
    Stage,
    /// A stage that made it of a whole sample: it is the part that its worker has counted, unless another may have
    /// that.
    PartOfWhole,
    /// A stage that made it of a part, or of no sample: it gets a part that no other has.
    PartOfPart,
    /// The source: the sample gets the next number, and one that comes too late is counted as discarded.
    Source,
    /// A caller of `put`: the sample gets the next number, and one that comes too late is handed back.
    Outside,
}

/// The outcome of an attempt to put a sample into a buffer.
pub(crate) enum Push<V> {
    /// It is inside (or was counted as dropped); the number is that of a sample from outside that is. To be freed
    /// is what was dropped for it, and for results that waited for it; where processes share the buffer, the value.
    Done { accepted: bool, number: u64, to_free: ToFree<V> },
    /// The sample was counted as discarded, as all that comes here is, or as flushed.
    Discarded(V),
    /// The others of several workers have gone on without this result.
    Late(V),
    /// The buffer is full under `block`, and the caller would not wait any longer.
    Full(V),
    /// The entrance is closed to everyone who is not a stage.
    Shut(V),
    /// The value cannot cross to another process.
    #[cfg_attr(not(processes), expect(dead_code, reason = "without processes, every value crosses"))]
    Refused(V, BoxError),
}

/// The outcome of an attempt to take from a buffer.
pub(crate) enum Take<V> {
    /// Something to work on, and what was superseded by it or too old.
    Ready { input: Input<V>, to_free: ToFree<V>, taken: Taken },
    /// The samples that were inside were too old.
    Expired(ToFree<V>),
    /// The stage is to be told an update first.
    Update,
    /// Samples were taken, `samples` of them, that the stage cannot be given.
    #[cfg_attr(not(processes), expect(dead_code, reason = "without processes every value is read as it is"))]
    Unreadable { newest: SampleInfo, samples: u64, taken: Taken, cause: BoxError },
    /// The buffer is empty, and the caller would not wait any longer.
    Empty,
    /// The next take, of that number, would be too far ahead.
    Ahead(u64),
    /// The buffer is empty and nothing more will come. What `finish` gives has its turn, too.
    Drained { ticket: u64 },
    /// The pipeline gave up what was inside.
    Discarded,
}

/// The facts about a take.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Counted by the buffer, from 1.
    pub(crate) ticket: u64,
    pub(crate) at: Moment,
    /// The number of the last sample before the last flush, or 0.
    pub(crate) cut: u64,
    /// True if all of it had entered before a flush.
    pub(crate) is_cut_off: bool,
    /// The ticket of its newest sample.
    pub(crate) fork: ForkTicket,
    /// Its slots, where the samples came from another process.
    pub(crate) lease: Option<Lease>,
    /// The number of its parts that a worker that died had given.
    pub(crate) given: u64,
    /// The number of times that the stage had failed on it before its worker died.
    pub(crate) failures: u32,
    /// Its samples, oldest first, where each has a result of its own.
    pub(crate) members: Option<Box<[Member]>>,
}

/// One of several samples of a take, each with a result of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) info: SampleInfo,
    pub(crate) fork: ForkTicket,
    /// The number of samples that had entered its buffer with it, where that is between processes.
    pub(crate) entered: u64,
    /// The number of its parts that a worker that died had given.
    pub(crate) given: u64,
    /// The number of times that the stage had failed on it before its worker died.
    pub(crate) failures: u32,
}

/// A take that a worker had in flight, and what came of it.
pub(crate) struct Unsettled {
    pub(crate) ticket: u64,
    /// Its slots, where the samples came from another process.
    #[cfg_attr(not(processes), expect(dead_code, reason = "without processes, there are none"))]
    pub(crate) lease: Option<Lease>,
    pub(crate) settlement: Settlement,
}

/// The slots that a worker has in flight, where its samples came from another process.
#[cfg(processes)]
pub(crate) use shared::Lease;

/// A stand-in: without processes, there are none.
#[cfg(not(processes))]
#[derive(Debug)]
pub(crate) enum Lease {}

#[cfg(not(processes))]
impl Lease {
    pub(crate) fn receipt(&self, _ticket: u64, _sample: u64, _parts: Option<u64>) -> Receipt {
        match *self {}
    }

    pub(crate) fn note_failures(&self, _failures: impl Iterator<Item = u32>) {
        match *self {}
    }

    pub(crate) fn bytes(&self, _at_most: usize) -> std::iter::Empty<(crate::sample::SampleId, Vec<u8>)> {
        match *self {}
    }

    pub(crate) fn set_running_since(&self, _nanoseconds: Option<u64>) {
        match *self {}
    }

    pub(crate) fn keep_for_window(self) {
        match self {}
    }
}

/// The take that a result belongs to, for a buffer behind a worker process.
#[cfg(processes)]
pub(crate) use shared::Receipt;

/// A stand-in: without processes, no caller asks.
#[cfg(not(processes))]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Receipt {}

/// The origin of a result.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Origin {
    /// The lane that it comes in by, where the buffer has several.
    pub(crate) lane: LaneKey,
    /// The take, where several workers' results have to be put in order.
    pub(crate) turn: Option<u64>,
    /// The time when it was given, in nanoseconds, or 0 for that when it is pushed.
    pub(crate) came: u64,
    /// The source that it came from, where its slot is asked for before it is written.
    #[cfg_attr(not(processes), expect(dead_code, reason = "between threads a slot is filled at once"))]
    pub(crate) source: SourceId,
    /// The same for a worker that may die.
    #[cfg_attr(not(processes), expect(dead_code, reason = "threads do not die"))]
    pub(crate) receipt: Option<Receipt>,
}

impl Origin {
    /// Returns the time when a sample came. A batch is waited for from the time when it is pushed.
    #[inline(always)]
    fn came(&self, intake: Intake, now: impl FnOnce() -> Moment) -> u64 {
        if self.came > 0 && !intake.waits_for_more() { self.came } else { now().0 }
    }
}

/// The end of a sample, with its value where that is still there.
#[derive(Debug)]
pub(crate) struct Ended<V> {
    pub(crate) end: SampleEnd,
    pub(crate) value: Option<V>,
}

impl<V> From<SampleEnd> for Ended<V> {
    fn from(end: SampleEnd) -> Self {
        Ended { end, value: None }
    }
}

/// The listener for the ends of samples. It is told outside of every lock.
pub(crate) trait HearsEnds<V>: Send + Sync {
    /// Hears of samples that have ended at the buffer in front of that node, or in the node, and returns those of which
    /// something may be elsewhere: they are to be looked for once these ends count as told.
    fn hear_ends(&self, node: usize, ends: Vec<Ended<V>>) -> Vec<ForkTicket>;

    /// Looks for what was submitted, and completes the answers to what is nowhere.
    fn look_for(&self, suspects: &[ForkTicket]);

    /// Hears that the ends of some are written down in the buffer in front of that node, which processes share.
    #[cfg(processes)]
    fn look_for_ends(&self, node: usize);
}

/// The buffer in front of a stage: between threads, or between processes.
pub(crate) enum Buffer<V> {
    /// Values as they are.
    Local(Box<local::Buffer<V>>),
    /// Bytes in slots that processes share.
    #[cfg(processes)]
    Shared(shared::Buffer<V>),
}

impl<V> Buffer<V> {
    pub(crate) fn in_memory(limits: Limits, to_remember: usize, clock: Clock) -> Self {
        Buffer::Local(Box::new(local::Buffer::new(limits, to_remember, clock)))
    }

    /// Opens a lane for an entrance; `None` where there are as many as there may be.
    pub(crate) fn open_lane(&self, options: LaneOptions) -> Option<LaneKey> {
        match self {
            Buffer::Local(buffer) => buffer.open_lane(options),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.open_lane(options),
        }
    }

    /// Opens a lane again that was not taken away yet, behind what is still inside.
    pub(crate) fn reopen_lane(&self, lane: LaneKey, options: LaneOptions) {
        match self {
            Buffer::Local(buffer) => buffer.reopen_lane(lane, options),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.reopen_lane(lane, options),
        }
    }

    /// Closes a lane: nothing more is put into it, what is inside flows out.
    pub(crate) fn close_lane(&self, lane: LaneKey) {
        match self {
            Buffer::Local(buffer) => buffer.close_lane(lane),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.close_lane(lane),
        }
        self.wake();
    }

    /// Takes a closed lane away once nothing is inside, and returns its counters.
    pub(crate) fn free_lane(&self, lane: LaneKey) -> Option<BufferCounts> {
        match self {
            Buffer::Local(buffer) => buffer.free_lane(lane),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.free_lane(lane),
        }
    }

    /// Returns the counters of a lane, unless it was taken away.
    pub(crate) fn lane_counts(&self, lane: LaneKey) -> Option<BufferCounts> {
        match self {
            Buffer::Local(buffer) => buffer.lane_counts(lane),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.lane_counts(lane),
        }
    }

    /// Puts in a sample, waiting for room where the policy is `block`, and for its turn where it is the result of one
    /// of several workers. The caller frees what is handed back.
    pub(crate) fn push(&self, sample: Sample<V>, arrival: Arrival, origin: Origin, wait: Wait) -> Push<V> {
        match self {
            Buffer::Local(buffer) => buffer.push(sample, arrival, origin, wait),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.push(sample, arrival, origin, wait),
        }
    }

    /// Lets a task stand in line for room; it is woken once there may be some, and looks once more before.
    pub(crate) fn stand(&self, spot: &mut Spot, waker: &Waker) {
        match self {
            Buffer::Local(buffer) => buffer.stand(spot, waker),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.stand(spot, waker),
        }
    }

    /// Lets a task leave the line for room: it `has_entered`, or does not want to any longer.
    pub(crate) fn leave(&self, spot: &mut Spot, has_entered: bool) {
        match self {
            Buffer::Local(buffer) => buffer.leave(spot, has_entered),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.leave(spot),
        }
    }

    /// Ends the turn of that take by one of several workers: nothing more comes of it. The caller frees what is handed
    /// back.
    pub(crate) fn end_turn(&self, ticket: u64) -> ToFree<V> {
        match self {
            Buffer::Local(buffer) => buffer.end_turn(ticket),
            #[cfg(processes)]
            Buffer::Shared(buffer) => {
                buffer.end_turn(ticket);
                ToFree::Nothing
            }
        }
    }

    /// Returns the latest take at which the workers in front may be, so that no more results than allowed wait here for
    /// their turn.
    pub(crate) fn turns_up_to(&self) -> u64 {
        match self {
            Buffer::Local(buffer) => buffer.turns_up_to(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.turns_up_to(),
        }
    }

    /// Waits until the workers in front may be at that take; false when the caller would not wait any longer.
    pub(crate) fn wait_for_turns_up_to(&self, ticket: u64, wait: Wait) -> bool {
        match self {
            Buffer::Local(buffer) => buffer.wait_for_turns_up_to(ticket, wait),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.wait_for_turns_up_to(ticket, wait),
        }
    }

    /// Notes that the stage has failed on that take by one of several workers: what they took later does not go on. The
    /// caller frees what is handed back.
    pub(crate) fn fail_turn(&self, ticket: u64) -> ToFree<V> {
        match self {
            Buffer::Local(buffer) => buffer.fail_turn(ticket),
            #[cfg(processes)]
            Buffer::Shared(buffer) => {
                buffer.fail_turn(ticket);
                ToFree::Nothing
            }
        }
    }

    /// Takes what the intake says, for one of the stage's workers, waiting for it if need be; not beyond that ticket.
    /// What the worker had in flight before is settled first, under the same lock.
    pub(crate) fn take(&self, worker: usize, unsettled: &mut Option<Unsettled>, up_to: u64, wait: Wait) -> Take<V> {
        match self {
            Buffer::Local(buffer) => buffer.take(worker, unsettled, up_to, wait),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.take(worker, unsettled.take(), up_to, wait),
        }
    }

    /// Takes a turn without a sample, for what a stage gives beside, waiting for it if need be; not beyond that ticket.
    /// [`end_finish`](Buffer::end_finish) ends it.
    pub(crate) fn take_turn(&self, worker: usize, up_to: u64, wait: Wait) -> Take<V> {
        match self {
            Buffer::Local(buffer) => buffer.take_turn(worker, up_to, wait),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.take_turn(up_to, wait),
        }
    }

    /// Settles what a worker had in flight.
    pub(crate) fn settle(&self, worker: usize, unsettled: Unsettled) {
        match self {
            Buffer::Local(buffer) => buffer.settle(worker, unsettled),
            #[cfg(processes)]
            Buffer::Shared(_) => shared::settle(unsettled),
        }
    }

    /// Settles the oldest of the samples that a worker has in flight; the others stay there.
    pub(crate) fn settle_first(&self, worker: usize, ticket: u64, lease: Option<&mut Lease>, settlement: Settlement) {
        match (self, lease) {
            (Buffer::Local(buffer), _) => buffer.settle_first(worker, ticket, settlement),
            #[cfg(processes)]
            (Buffer::Shared(_), lease) => lease.into_iter().for_each(|lease| lease.settle_first(settlement)),
        }
    }

    /// Keeps what a worker has in flight for a later window of the stage.
    pub(crate) fn keep_for_window(&self, worker: usize, ticket: u64) {
        match self {
            Buffer::Local(buffer) => buffer.keep_for_window(worker, ticket),
            #[cfg(processes)]
            Buffer::Shared(_) => {}
        }
    }

    /// Counts samples that were kept for a window and are in none: skipped, or flushed with their source.
    pub(crate) fn end_windowed(&self, worker: usize, samples: u64, fate: Fate) {
        match self {
            Buffer::Local(buffer) => buffer.end_windowed(worker, samples, fate),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.end_windowed(samples, fate),
        }
    }

    /// Ends the turn of what `finish` gave.
    pub(crate) fn end_finish(&self, worker: usize) {
        match self {
            Buffer::Local(buffer) => buffer.end_finish(worker),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.end_finish(),
        }
    }

    /// Returns what happened in the buffer, and in the stage behind it, up to that time.
    pub(crate) fn read(&self, at: Moment) -> (BufferCounts, Reading) {
        match self {
            Buffer::Local(buffer) => buffer.read(at),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.read(at),
        }
    }

    /// Returns the time when the oldest sample in flight on several threads has kept others waiting for too long.
    pub(crate) fn overdue_at(&self) -> Option<Instant> {
        match self {
            Buffer::Local(buffer) => buffer.overdue_at(),
            // A process that takes too long is killed.
            #[cfg(processes)]
            Buffer::Shared(_) => None,
        }
    }

    /// Gives up the oldest sample in flight if it is overdue, and if nothing can be taken before it has ended or
    /// `anyway`.
    pub(crate) fn give_up_overdue(&self, anyway: bool) -> Option<Overdue> {
        match self {
            Buffer::Local(buffer) => buffer.give_up_overdue(anyway),
            #[cfg(processes)]
            Buffer::Shared(_) => None,
        }
    }

    /// Returns the time when a list that waits for more samples is due.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        match self {
            Buffer::Local(buffer) => buffer.due_at(),
            #[cfg(processes)]
            Buffer::Shared(_) => None,
        }
    }

    /// Closes the buffer: nothing more comes in; what is inside flows out. The caller frees what is handed back:
    /// results whose turn will never come.
    pub(crate) fn close(&self) -> Vec<V> {
        let given_up = self.lower_gate(Gate::Closed);
        self.wake();
        given_up
    }

    /// Gives up what is inside and whatever still comes; the caller frees what is handed back, and calls `wake`: only
    /// when all that is to be given up is, so that no thread that is woken takes what another buffer still has.
    pub(crate) fn discard(&self) -> Vec<V> {
        self.lower_gate(Gate::Discarding)
    }

    /// Keeps everything from being taken until `let_take`; returns the number of the last sample that has entered.
    pub(crate) fn hold(&self) -> u64 {
        match self {
            Buffer::Local(buffer) => buffer.hold(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.hold(),
        }
    }

    /// Lets samples be taken again.
    pub(crate) fn let_take(&self) {
        match self {
            Buffer::Local(buffer) => buffer.let_take(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.let_take(),
        }
    }

    /// Keeps everything from being taken, or lets samples be taken again; what arrives is let in as ever.
    pub(crate) fn set_paused(&self, paused: bool) {
        match self {
            Buffer::Local(buffer) => buffer.set_paused(paused),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.set_paused(paused),
        }
    }

    /// Gives up what is inside from before a flush, and what still comes. The caller frees what is handed back.
    pub(crate) fn cut(&self, cut: Cut) -> Vec<V> {
        match self {
            Buffer::Local(buffer) => buffer.cut(cut).into_vec(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => {
                buffer.cut(cut);
                Vec::new()
            }
        }
    }

    /// Returns the flushes that it knows.
    pub(crate) fn cuts(&self) -> Cuts {
        match self {
            Buffer::Local(buffer) => buffer.cuts(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.cuts(),
        }
    }

    /// Returns true if nothing from before the last flush of a source is in flight.
    pub(crate) fn has_landed(&self, source: SourceId) -> bool {
        match self {
            Buffer::Local(buffer) => buffer.has_landed(source),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.has_landed(source),
        }
    }

    /// Forgets the last flush of a source, of which nothing is left.
    pub(crate) fn forget_cut(&self, source: SourceId) {
        match self {
            Buffer::Local(buffer) => buffer.forget_cut(source),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.forget_cut(source),
        }
    }

    /// Waits until nothing is in flight that entered the pipeline before the last flush; false when the caller would not
    /// wait any longer.
    pub(crate) fn wait_flushed(&self, wait: Wait) -> bool {
        match self {
            Buffer::Local(buffer) => buffer.wait_flushed(wait),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.wait_flushed(wait),
        }
    }

    /// Lets the next take of a worker in this process be none, since its stage is to be told an update first;
    /// the caller calls `wake`.
    pub(crate) fn announce_update(&self, worker: usize) {
        match self {
            Buffer::Local(buffer) => buffer.announced().announce(worker),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.announced().announce(worker),
        }
    }

    /// Wakes all that wait, so that they look again.
    pub(crate) fn wake(&self) {
        match self {
            Buffer::Local(buffer) => buffer.wake(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.wake(),
        }
    }

    fn lower_gate(&self, gate: Gate) -> Vec<V> {
        match self {
            Buffer::Local(buffer) => buffer.lower_gate(gate).into_vec(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => {
                buffer.lower_gate(gate);
                Vec::new()
            }
        }
    }

    /// Lets the ends of samples be heard of there, as of the buffer in front of that node.
    pub(crate) fn tell_ends_to(&self, node: usize, listener: Weak<dyn HearsEnds<V>>)
    where
        V: 'static,
    {
        match self {
            Buffer::Local(buffer) => buffer.tell_ends_to(node, listener),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.tell_ends_by(Box::new(move || {
                if let Some(listener) = listener.upgrade() {
                    listener.look_for_ends(node);
                }
            })),
        }
    }

    /// Returns the last visits that ended, and those of what is there now, with the index of the worker that took it.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        match self {
            Buffer::Local(buffer) => buffer.visits(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.visits(),
        }
    }

    /// Counts the time for which a producer had to ask again and again for room.
    pub(crate) fn note_waited(&self, since: Moment, until: Moment) {
        match self {
            Buffer::Local(buffer) => buffer.note_waited(since, until),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.note_waited(since, until),
        }
    }

    /// Returns the time that producers waited in the whole run, and in the last ten seconds at that time.
    pub(crate) fn waited(&self, at: Moment) -> (Duration, Duration) {
        match self {
            Buffer::Local(buffer) => buffer.waited(at),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.waited(at),
        }
    }

    pub(crate) fn counts(&self) -> BufferCounts {
        match self {
            Buffer::Local(buffer) => buffer.counts(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.counts(),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        match self {
            Buffer::Local(buffer) => buffer.limits(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.limits(),
        }
    }

    /// Adds the samples that are inside, in flight from it, or out of order.
    ///
    /// Of a list in flight that gives one result it is the newest alone, whose result it will be.
    pub(crate) fn find(&self, found: &mut HashSet<ForkTicket>) {
        match self {
            Buffer::Local(buffer) => buffer.find(found),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.find(found),
        }
    }

    /// Works like `find`, with each of such a list, since somebody waits for each; and adds those whose ends are still to be
    /// told.
    pub(crate) fn find_with_untold(&self, found: &mut HashSet<ForkTicket>) {
        match self {
            Buffer::Local(buffer) => buffer.find_with_untold(found),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.find_with_untold(found),
        }
    }

    /// Returns true if what is inside was discarded.
    pub(crate) fn is_discarding(&self) -> bool {
        match self {
            Buffer::Local(buffer) => buffer.is_discarding(),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.is_discarding(),
        }
    }

    /// Returns what a worker has in flight once more, as it was taken, where the buffer still has it: so many samples at
    /// most.
    pub(crate) fn read_again(
        &self,
        #[cfg_attr(not(processes), expect(unused_variables))] lease: Option<&Lease>,
        #[cfg_attr(not(processes), expect(unused_variables))] at_most: usize,
    ) -> Result<Option<Input<V>>, BoxError> {
        match self {
            Buffer::Local(_) => Ok(None),
            #[cfg(processes)]
            Buffer::Shared(buffer) => lease.map(|lease| buffer.read_again(lease, at_most)).transpose(),
        }
    }

    /// Makes a value of the bytes that it has between processes.
    pub(crate) fn read_bytes(
        &self,
        #[cfg_attr(not(processes), expect(unused_variables))] bytes: Vec<u8>,
    ) -> Result<V, BoxError> {
        match self {
            Buffer::Local(_) => Err("between threads there are no bytes".into()),
            #[cfg(processes)]
            Buffer::Shared(buffer) => buffer.read_bytes(bytes),
        }
    }

    /// The buffer, if processes share it.
    #[cfg(processes)]
    pub(crate) fn shared(&self) -> Option<&shared::Buffer<V>> {
        match self {
            Buffer::Local(_) => None,
            Buffer::Shared(buffer) => Some(buffer),
        }
    }
}

/// A take that others do not wait for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overdue {
    pub(crate) ticket: u64,
    /// The time that it was in flight.
    pub(crate) after: Duration,
}
