//! The buffer between two processes: one lock, slots in shared memory, and no death that could tear it apart.

mod bytes;
mod claims;
mod codec;
mod holders;
mod layout;
mod lock;
mod map;
mod owner;
mod room;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use bytes::Lease;
pub use bytes::SharedBytes;
pub use codec::Codec;
pub(crate) use holders::is_stopped;
pub(crate) use map::addresses;
pub(crate) use owner::Owner;
pub(crate) use table::{Receipt, Verdict};

use super::{
    Arrival, Gate, LaneKey, LaneOptions, Limits, Member, Origin, Push, SampleEnd, Take, Taken, ToFree, Unsettled, Wait,
};
use crate::aside;
use crate::buffer::announced::Announced;
use crate::buffer::policy::Turn;
use crate::buffer::untold::Untold;
use crate::buffer::visit::Visit;
use crate::buffer::{MemoryDamaged, NoAddresses, SampleTooLarge};
use crate::clock::{Moment, from_nanoseconds};
use crate::cuts::{Cut, Cuts};
use crate::ledger::{BufferCounts, Fate, Reading};
use crate::line::Spot;
use crate::policies::OnCrash;
use crate::sample::{ForkTicket, Input, Sample, SampleId, SampleInfo};
use crate::source_id::SourceId;
use crate::unwind::{BoxError, catch_panic};
use map::Map;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};
use table::{Label, Published, Reserved, Slot, SlotTable, Taken as Took, Trim};
use words::{Futex, SharedWords};

/// The number of bytes up to which a sample is copied into its slot under the lock: to take the lock twice costs more.
const SMALL: usize = 2048;

/// A bounded queue of samples in shared memory, in front of one stage. It also counts what happens in that stage.
pub(crate) struct Buffer<V> {
    table: Arc<SlotTable<Map>>,
    codec: Arc<dyn Codec<V>>,
    /// True if what is taken may have to be handed out again, so that no consumer may write it.
    may_retry: bool,
    /// This process, asked once: the system call is not free.
    process: u32,
    /// The highest sequence number at the last look for memory to be given back.
    swept: AtomicU64,
    damage_told: AtomicBool,
    /// Ends that were read and are being told.
    untold: Mutex<Untold>,
    /// The tasks that wait for room, and the thread that waits for them.
    tasks: room::Tasks,
    announced: Announced,
}

impl<V> Buffer<V> {
    pub(crate) fn create(limits: Limits, codec: Arc<dyn Codec<V>>, may_retry: bool) -> io::Result<Self> {
        let table = SlotTable::create(Map::create(limits)?, limits);
        Ok(Buffer::over(table, codec, may_retry))
    }

    fn over(table: SlotTable<Map>, codec: Arc<dyn Codec<V>>, may_retry: bool) -> Self {
        let (table, process) = (Arc::new(table), std::process::id());
        Buffer {
            table,
            codec,
            may_retry,
            process,
            swept: AtomicU64::new(0),
            damage_told: AtomicBool::new(false),
            untold: Mutex::default(),
            tasks: room::Tasks::default(),
            announced: Announced::default(),
        }
    }

    /// The buffer that the pipeline's own process has created, as one of its workers sees it.
    pub(crate) fn open(
        file: OwnedFd,
        limits: Limits,
        me: Owner,
        codec: Arc<dyn Codec<V>>,
        may_retry: bool,
    ) -> io::Result<Self> {
        let table = SlotTable::open(Map::open(file, limits)?, limits, me);
        Ok(Buffer::over(table, codec, may_retry))
    }

    /// Returns the file that a worker process opens.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.table.words().file()
    }

    /// Prepares the buffer for a worker process that is about to share it.
    pub(crate) fn share_with(&self, owner: Owner, pid: u32, process: Arc<OwnedFd>) {
        self.table.words().share_with(owner, pid, process);
    }

    /// Lets the ends of samples that this process writes down be told.
    pub(crate) fn tell_ends_by(&self, ring: Box<dyn Fn() + Send + Sync>) {
        self.table.set_bell(ring);
    }

    /// Reads the ends of samples that were written down since it was called last, and returns how many
    /// others have been written over meanwhile. They count as untold until the caller says that it [has told] them.
    ///
    /// [has told]: Buffer::has_told
    pub(crate) fn read_ends(&self) -> (Vec<SampleEnd>, u64) {
        // Held while they are read, so that nobody finds them neither here nor there.
        let mut untold = self.untold.lock();
        let (ends, missed) = self.table.read_ends();
        untold.add(ends.iter().map(|end| end.fork));
        (ends, missed)
    }

    /// Notes that the ends of these samples were told.
    pub(crate) fn has_told(&self, told: &[ForkTicket]) {
        self.untold.lock().remove(told);
    }

    /// Looks at the process that has the lock, if one has: one that stands still is killed.
    pub(crate) fn look_at_holder(&self) {
        self.table.look_at_holder();
    }

    /// Returns true if that process has the lock now.
    pub(crate) fn is_held_by(&self, owner: Owner) -> bool {
        self.table.held().is_some_and(|held| held.holder == owner)
    }

    /// Returns true if that process was killed because it stood still while it had the lock.
    pub(crate) fn has_killed(&self, owner: Owner) -> bool {
        self.table.words().has_killed(owner)
    }

    /// Returns why the buffer is of no use any more, if another process has written into it what cannot be true.
    pub(crate) fn damage(&self) -> Option<MemoryDamaged> {
        self.table.damage().map(|damage| MemoryDamaged { why: damage.why() })
    }

    /// Returns true if no other caller has told of the damage yet.
    pub(crate) fn is_first_to_tell(&self) -> bool {
        !self.damage_told.swap(true, Ordering::Relaxed)
    }

    /// Returns the number of samples that waited at the last look.
    pub(crate) fn waiting_lately(&self) -> u64 {
        self.table.last_counts().0.waiting
    }

    /// The same after a look at its counters.
    pub(crate) fn look_for_damage(&self) -> Option<MemoryDamaged> {
        self.table.look_for_damage().map(|damage| MemoryDamaged { why: damage.why() })
    }

    pub(crate) fn limits(&self) -> Limits {
        self.table.limits()
    }

    /// Writes a sample into a slot, waiting for room where the policy is `block`. The caller frees what is handed back:
    /// the value itself, once it is written.
    pub(crate) fn push(&self, sample: Sample<V>, arrival: Arrival, origin: Origin, wait: Wait) -> Push<V> {
        let Sample { id, birth, fork, source, value } = sample;
        let size = match catch_panic(|| self.codec.size(&value)) {
            Ok(size) if size as u64 <= self.limits().bytes => size,
            Ok(size) => {
                return Push::Refused(value, Box::new(SampleTooLarge { size, buffer_bytes: self.limits().bytes }));
            }
            Err(cause) => return Push::Refused(value, cause),
        };

        let Origin { lane, receipt, turn, .. } = origin;
        let mut scratch = [0; SMALL];
        let small = self.serialise_small(&value, size, &mut scratch);

        // What is small is handed in whole under one lock. The rest has its slot reserved, and is written while others
        // go on.
        let mut waited: Option<(u64, u64)> = None;
        let slot = loop {
            let reserved = match small {
                Some(bytes) => {
                    // Where it had to wait, it came once there was room.
                    let came = waited.map_or_else(|| origin.came(self.limits().intake, Moment::now), |(_, now)| now);
                    let label = Label { id, birth: birth.0, fork, source, lane, receipt, turn, came, waited };
                    match self.table.put(size, label, arrival, |slot| self.copy_into(slot, bytes)) {
                        Ok(published) => return pushed(published, value),
                        Err(reserved) => reserved,
                    }
                }
                None => self.table.reserve_for(size, id, arrival, Origin { source, ..origin }),
            };
            match reserved {
                Reserved::Slot(slot) => break slot,
                Reserved::Gone { accepted: true } => return Push::Discarded(value),
                Reserved::Gone { accepted: false } => {
                    return Push::Done { accepted: false, number: 0, to_free: ToFree::One(value) };
                }
                Reserved::Late => return Push::Late(value),
                Reserved::Shut => return Push::Shut(value),
                Reserved::Full(_) if wait.is_over(Instant::now()) => return Push::Full(value),
                Reserved::Full(shows) => {
                    let since = waited.map_or_else(|| Moment::now().0, |(since, _)| since);
                    self.table.words().sleep(Futex::NotFull, shows, self.until_room(wait));
                    waited = Some((since, Moment::now().0));
                }
            }
        };

        let mut room = match self.table.words().room(slot) {
            Ok(room) => room,
            Err((slot, cause)) => {
                self.table.cancel(slot);
                return Push::Refused(value, Box::new(NoAddresses { size, cause }));
            }
        };
        let written = catch_panic(|| self.codec.write(&value, room.bytes_mut()));
        let slot = room.into_slot();
        if let Err(cause) = written {
            self.table.cancel(slot);
            return Push::Refused(value, cause);
        }

        let came = Moment::now().0;
        let label = Label { id, birth: birth.0, fork, source, lane, receipt, turn, came, waited };
        pushed(self.table.publish(slot, label, arrival), value)
    }

    /// Serialises a small value outside of the lock; `None` for one that is not small, or cannot be serialised, which
    /// its slot will tell.
    fn serialise_small<'a>(&self, value: &V, size: usize, scratch: &'a mut [u8; SMALL]) -> Option<&'a [u8]> {
        let bytes = scratch.get_mut(..size)?;
        catch_panic(|| self.codec.write(value, bytes)).ok()?;
        Some(bytes)
    }

    /// Copies what is serialised into a slot. Where there are no addresses for it, the slot is given back.
    fn copy_into(&self, slot: Slot, bytes: &[u8]) -> Result<Slot, Slot> {
        let mut room = self.table.words().room(slot).map_err(|(slot, _)| slot)?;
        room.bytes_mut().copy_from_slice(bytes);
        Ok(room.into_slot())
    }

    /// Returns how long to sleep before looking again. A large buffer wakes late; so a producer that it lets wait looks
    /// for itself.
    fn until_room(&self, wait: Wait) -> Wait {
        let soon = Instant::now() + LOOK_AGAIN;
        match wait {
            Wait::Until(deadline) => Wait::Until(deadline.min(soon)),
            Wait::Forever if self.limits().rings_late() => Wait::Until(soon),
            wait => wait,
        }
    }

    /// The time in nanoseconds, where the intake asks when samples line up.
    fn arrival_time(&self) -> u64 {
        if self.limits().intake.waits_for_more() { Moment::now().0 } else { 0 }
    }

    pub(crate) fn open_lane(&self, options: LaneOptions) -> Option<LaneKey> {
        self.table.open_lane(options)
    }

    pub(crate) fn reopen_lane(&self, lane: LaneKey, options: LaneOptions) {
        self.table.reopen_lane(lane, options);
    }

    pub(crate) fn close_lane(&self, lane: LaneKey) {
        self.table.close_lane(lane);
    }

    pub(crate) fn free_lane(&self, lane: LaneKey) -> Option<BufferCounts> {
        self.table.free_lane(lane)
    }

    pub(crate) fn lane_counts(&self, lane: LaneKey) -> Option<BufferCounts> {
        self.table.lane_counts(lane)
    }

    /// Lets a task stand in line for room; it is woken once there may be some.
    pub(crate) fn stand(&self, spot: &mut Spot, waker: &Waker) {
        self.tasks.stand(&self.table, spot, waker);
    }

    /// Lets a task leave the line for room.
    pub(crate) fn leave(&self, spot: &mut Spot) {
        self.tasks.leave(spot);
    }

    /// Ends the turn of that take by one of several workers: nothing more comes of it.
    pub(crate) fn end_turn(&self, ticket: u64) {
        self.table.end_turn(ticket, self.arrival_time());
    }

    /// Returns the latest take at which the workers in front may be.
    pub(crate) fn turns_up_to(&self) -> u64 {
        self.table.turns_up_to()
    }

    /// Waits until the workers in front may be at that take.
    pub(crate) fn wait_for_turns_up_to(&self, ticket: u64, wait: Wait) -> bool {
        loop {
            match self.table.is_near(ticket) {
                Ok(()) => return true,
                Err(_) if wait.is_over(Instant::now()) => return false,
                Err(shows) => self.table.words().sleep(Futex::NotFull, shows, wait),
            }
        }
    }

    /// Notes that the stage has failed on that take for good: what was taken later does not go on.
    pub(crate) fn fail_turn(&self, ticket: u64) {
        self.table.fail_turn(ticket);
    }

    /// Does the same unless nothing more was to come of it anyway.
    pub(crate) fn fail_turn_unless_ended(&self, ticket: u64) {
        self.table.fail_turn_unless_ended(ticket);
    }

    /// Returns true if the stage has failed on a take for good.
    pub(crate) fn has_failed_turn(&self) -> bool {
        self.table.has_failed_turn()
    }

    /// Returns true if one of several workers has that take in flight.
    pub(crate) fn is_in_flight(&self, ticket: u64) -> bool {
        self.table.is_in_flight(ticket)
    }

    /// This worker is done with what `finish` has given.
    pub(crate) fn end_finish(&self) {
        self.table.end_finish();
    }

    /// Counts that many samples that the stage kept as being in no list: skipped, or flushed with their source.
    pub(crate) fn end_windowed(&self, samples: u64, fate: Fate) {
        self.table.end_windowed(samples, fate);
    }

    /// Takes what the intake says, waiting for it if need be.
    pub(crate) fn take(&self, worker: usize, unsettled: Option<Unsettled>, up_to: u64, wait: Wait) -> Take<V> {
        let mut unsettled = unsettled.and_then(|unsettled| Some((unsettled.lease?, unsettled.settlement)));

        // Only the first look settles what the worker had in flight.
        let (slots, ticket, (cut, is_cut_off), copy, at) = loop {
            if self.announced.is_for(worker) {
                if let Some((lease, settlement)) = unsettled {
                    lease.settle(settlement);
                }
                return Take::Update;
            }
            let at = Moment::now();
            let taken = match unsettled.take() {
                Some((lease, settlement)) => {
                    lease.leave(|slots| self.table.settle_and_take(slots, settlement, up_to, at.0))
                }
                None => self.table.take_up_to(up_to, at.0),
            };
            match taken {
                Took::Ready { slots, ticket, cut, is_cut_off, copy } => {
                    break (slots, ticket, (cut, is_cut_off), copy, at);
                }
                Took::Drained { ticket } => return Take::Drained { ticket },
                Took::Discarded => return Take::Discarded,
                Took::Ahead(next) => return Take::Ahead(next),
                Took::Empty(..) if wait.is_over(Instant::now()) => return Take::Empty,
                // What was announced after the look above may have rung before this take looked at the bell.
                Took::Empty(..) if self.announced.is_for(worker) => return Take::Update,
                Took::Empty(shows, due) => {
                    let patience = wait.no_later_than(due.map(from_nanoseconds));
                    self.table.words().sleep(Futex::NotEmpty, shows, patience);
                }
            }
        };

        // A list is read to its end even if one of it is unreadable: all of them are in flight.
        let mut lease = Lease::new(&self.table, self.process);
        let mut samples = Vec::with_capacity(slots.len());
        let mut problem: Option<BoxError> = None;
        let mut members = self.limits().intake.keeps_identity().then(|| Vec::with_capacity(slots.len()));
        let (mut newest, mut fork, mut given, mut failures) = (None, ForkTicket::default(), 0, 0);
        for taken in slots {
            let (id, birth, source) = (taken.id, Moment(taken.birth), taken.source);
            let info = SampleInfo { id, birth, source };
            (newest, fork, given, failures) = (Some(info), taken.fork, taken.given, taken.failures as u32);
            if let Some(members) = &mut members {
                members.push(Member { info, fork, entered: taken.entered, given, failures });
            }
            let bytes = lease.look_at(taken.slot, info, copy, !self.may_retry);
            match bytes.and_then(|bytes| catch_panic(|| self.codec.read(bytes))) {
                Ok(value) => samples.push(Sample { id, birth, fork, source, value }),
                Err(cause) => problem = Some(cause),
            }
        }

        let count = lease.count();
        let members = members.map(Vec::into_boxed_slice);
        let taken = Taken { ticket, at, cut, is_cut_off, fork, lease: Some(lease), given, failures, members };
        match (problem, newest) {
            (Some(cause), Some(newest)) => Take::Unreadable { newest, samples: count, taken, cause },
            _ => match self.input_of(samples) {
                Some(input) => Take::Ready { input, to_free: ToFree::Nothing, taken },
                None => Take::Empty,
            },
        }
    }

    /// Takes a turn without a sample, waiting for it if need be.
    pub(crate) fn take_turn(&self, up_to: u64, wait: Wait) -> Take<V> {
        loop {
            match self.table.take_turn(up_to, Moment::now().0) {
                (Turn::Begun(ticket), _) => return Take::Drained { ticket },
                (Turn::Ahead(next), _) => return Take::Ahead(next),
                (Turn::Discarded, _) => return Take::Discarded,
                (Turn::NotYet, _) if wait.is_over(Instant::now()) => return Take::Empty,
                (Turn::NotYet, shows) => self.table.words().sleep(Futex::NotEmpty, shows, wait),
            }
        }
    }

    fn input_of(&self, mut samples: Vec<Sample<V>>) -> Option<Input<V>> {
        match self.limits().intake.takes_lists() {
            true => Some(Input::List(samples)),
            false => samples.pop().map(Input::One),
        }
    }

    /// Returns what a worker has in flight once more, so many samples at most, read from copies.
    pub(crate) fn read_again(&self, lease: &Lease, at_most: usize) -> Result<Input<V>, BoxError> {
        // The worker has its ticket.
        let fork = ForkTicket::default();
        let read = |(SampleInfo { id, birth, source }, bytes): (SampleInfo, Result<SharedBytes, BoxError>)| {
            let bytes = bytes?;
            Ok(Sample { id, birth, fork, source, value: catch_panic(|| self.codec.read(bytes))? })
        };
        let samples = lease.copies().take(at_most).map(read).collect::<Result<Vec<_>, BoxError>>()?;
        self.input_of(samples).ok_or_else(|| "there is nothing in flight".into())
    }

    /// Makes a value of its bytes.
    pub(crate) fn read_bytes(&self, bytes: Vec<u8>) -> Result<V, BoxError> {
        catch_panic(|| self.codec.read(bytes.into()))
    }

    /// Returns what a dead worker has in flight, as far as it can be read.
    pub(crate) fn in_flight_of(&self, dead: Owner) -> Vec<(SampleId, V)> {
        let slots = self.table.in_flight_of(dead);
        let read = slots.into_iter().filter_map(|(id, slot)| {
            let room = self.table.words().room(slot).ok()?;
            Some((id, self.read_bytes(room.bytes().to_vec()).ok()?))
        });
        read.collect()
    }

    /// Keeps everything from being taken until `let_take`; returns the number of the last sample that has entered.
    pub(crate) fn hold(&self) -> u64 {
        self.table.hold()
    }

    /// Lets samples be taken again.
    pub(crate) fn let_take(&self) {
        self.table.let_take();
    }

    /// Keeps everything from being taken, or lets samples be taken again.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.table.set_paused(paused);
    }

    /// Gives up what had entered before a flush.
    pub(crate) fn cut(&self, cut: Cut) {
        self.table.cut(cut, self.arrival_time());
    }

    /// Returns true if a sample had entered before a flush of all, or of its source.
    pub(crate) fn is_cut_off(&self, sample: &SampleInfo) -> bool {
        self.table.is_cut_off(sample)
    }

    /// Returns the flushes that it knows.
    pub(crate) fn cuts(&self) -> Cuts {
        self.table.cuts()
    }

    /// Returns true if nothing from before the last flush of a source is in flight.
    pub(crate) fn has_landed(&self, source: SourceId) -> bool {
        self.table.has_landed(source)
    }

    /// Forgets the last flush of a source.
    pub(crate) fn forget_cut(&self, source: SourceId) {
        self.table.forget_cut(source);
    }

    /// Waits until nothing is in flight that entered before the last flush; false when the caller would not wait any
    /// longer.
    pub(crate) fn wait_flushed(&self, wait: Wait) -> bool {
        loop {
            match self.table.is_flushed() {
                Ok(()) => return true,
                Err(_) if wait.is_over(Instant::now()) => return false,
                Err(shows) => self.table.words().sleep(Futex::NotFull, shows, wait),
            }
        }
    }

    /// The announcements to those of this process that take.
    pub(in crate::buffer) fn announced(&self) -> &Announced {
        &self.announced
    }

    /// Wakes all that wait, so that they look again.
    pub(crate) fn wake(&self) {
        self.table.wake();
    }

    pub(crate) fn lower_gate(&self, gate: Gate) {
        self.table.lower_gate(gate);
    }

    pub(crate) fn note_waited(&self, since: Moment, until: Moment) {
        self.table.note_waited(since.0, until.0);
    }

    pub(crate) fn waited(&self, at: Moment) -> (Duration, Duration) {
        self.table.measured().waited(at.0)
    }

    pub(crate) fn counts(&self) -> BufferCounts {
        self.table.counts().0
    }

    /// Returns what happened in the buffer, and in the stage behind it.
    pub(crate) fn read(&self, at: Moment) -> (BufferCounts, Reading) {
        let (buffer, counts) = self.table.counts();
        (buffer, self.table.measured().reading(at.0, counts, |of| self.table.spread(of, at.0)))
    }

    /// See [`Buffer::visits`](crate::buffer::Buffer::visits).
    pub(crate) fn visits(&self) -> Vec<Visit> {
        let mut visits = self.table.visits();
        // A slot that was not taken has the place of who wrote it.
        let worker = |visit: &Visit| if visit.taken > 0 { Owner::worker_at(visit.worker) } else { 0 };
        visits.iter_mut().for_each(|visit| visit.worker = worker(visit));
        visits
    }

    /// See [`Buffer::find`](crate::buffer::Buffer::find).
    pub(crate) fn find(&self, found: &mut HashSet<ForkTicket>) {
        found.extend(self.table.forks(false));
    }

    /// Works like `find`, and adds those whose ends are still to be read, or to be told.
    pub(crate) fn find_with_untold(&self, found: &mut HashSet<ForkTicket>) {
        // First what is in a slot: what leaves one after that is written down.
        found.extend(self.table.forks(true));
        let untold = self.untold.lock();
        found.extend(self.table.unread_ends().into_iter().map(|end| end.fork));
        found.extend(untold.iter());
    }

    /// Returns true if what is inside was discarded.
    pub(crate) fn is_discarding(&self) -> bool {
        self.table.gate() == Gate::Discarding
    }

    /// Returns when the user's code began with what a worker has in flight; `None` while it does not run.
    pub(crate) fn running_since(&self, worker: Owner) -> Option<Instant> {
        self.table.running_since(worker).map(from_nanoseconds)
    }

    /// Cleans up after the death of the producer, and returns the last take of which a result arrived.
    pub(crate) fn producer_died(&self, dead: Owner) -> Option<Receipt> {
        self.table.producer_died(dead)
    }

    /// Cleans up after the death of a consumer. Returns what becomes of the sample that it had in flight, and which
    /// take it was, where others may wait for it.
    pub(crate) fn consumer_died(
        &self,
        dead: Owner,
        on_crash: OnCrash,
        received: Option<Receipt>,
    ) -> (Verdict, Option<u64>) {
        self.table.consumer_died(dead, on_crash, received)
    }

    /// Gives memory back to the system that nothing has used since this was called before.
    pub(crate) fn sweep(&self) {
        // Only this process sweeps, on one thread.
        self.forget_since(self.swept.swap(self.table.sequence(), Ordering::Relaxed));
    }

    /// Gives back to the system all memory that nothing lies in.
    pub(crate) fn sweep_all(&self) {
        self.forget_since(u64::MAX);
    }

    fn forget_since(&self, idle_since: u64) {
        let mut from = 0;
        loop {
            match self.table.next_to_trim(idle_since, from) {
                Trim::Slot(slot, height) => {
                    if let Err(problem) = self.table.words().forget(&slot) {
                        aside::log(move || tracing::warn!("memory stays in use: {problem}"));
                    }
                    self.table.trimmed(slot);
                    from = height;
                }
                Trim::GoOn(height) => from = height,
                Trim::Done => break,
            }
        }
    }
}

/// Settles what a worker had in flight.
pub(crate) fn settle(unsettled: Unsettled) {
    if let Some(lease) = unsettled.lease {
        lease.settle(unsettled.settlement);
    }
}

/// The time for which a producer that waits for room may miss that there is some.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Returns what became of a value that was handed in.
fn pushed<V>(published: Published, value: V) -> Push<V> {
    match published {
        Published::Inside(number) => Push::Done { accepted: true, number, to_free: ToFree::One(value) },
        Published::Discarded => Push::Discarded(value),
        Published::Shut => Push::Shut(value),
    }
}
