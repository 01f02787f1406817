//! The changes of a slot in a buffer that several processes share: the policies over the words that all of them see,
//! one change after the other, each made wholly or, where its process dies, not at all.
//!
//! The table is in the README beside this folder. Nothing here waits, and nothing here touches what is in a slot.

use super::claims::Claims;
use super::layout::{Layout, Waited};
use super::lock::LockGuard;
use super::owner::Owner;
use super::state::{Scratch, State, read_end, read_visit, write_empty};
use super::words::{Held, SharedWords};
use crate::buffer::damage::{Damage, damaged, unless_damaged};
use crate::buffer::histogram::{Counted, Durations, TIMES, WINDOWS, is_recent, period};
use crate::buffer::policy::{self, Change, Flight, Refusal, SampleEnd, Settlement, Turn, Wake, Wakes};
use crate::buffer::visit::{Visit, together};
use crate::buffer::{Arrival, Gate, Limits, Origin};
use crate::cuts::{Cut, Cuts};
use crate::ledger::{BufferCounts, Fate, Spread, StageCounts};
use crate::policies::OnCrash;
use crate::sample::{ForkTicket, SampleId, SampleInfo};
use crate::source_id::SourceId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub(in crate::buffer) use policy::Published;
use policy::{LaneKey, LaneOptions};
pub(crate) use policy::{Receipt, Verdict};

/// One slot, claimed by the owner of this value: there is never a second one for the same slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(super) index: usize,
    pub(super) length: usize,
}

impl Slot {
    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }
}

/// Samples that may be written at the same time; another one waits for a moment.
const WRITERS: usize = 2;
/// Slots that views may hold beyond what one take takes.
const SPARE: usize = 4;

impl Limits {
    /// Returns the number of waiting samples at or below which a producer that waits for room is woken. Waking for
    /// every place that comes free would cost a large buffer two switches of process a sample; a small one has no time
    /// to lose.
    pub(super) fn refill_at(self) -> u64 {
        let free = match self.rings_late() {
            // A list that is tried again leaves others inside, and they may wait for more before they are a list.
            false if self.intake.takes_lists() => 0,
            false => 1,
            true => self.capacity / 2,
        };
        (self.capacity - free) as u64
    }

    /// Returns true if there may be room for a while before a producer that waits for it is woken.
    pub(super) fn rings_late(self) -> bool {
        self.capacity >= 8 && !self.intake.takes_lists()
    }

    /// Samples that one take may take.
    pub(super) fn at_once(self) -> usize {
        self.intake.most(self.capacity)
    }

    /// Slots that views may hold after their samples have got their fate.
    pub(super) fn holdable(self) -> usize {
        self.at_once().saturating_add(SPARE)
    }

    /// Returns enough slots that no producer ever waits for one while there is room.
    pub(crate) fn slots(self) -> usize {
        let reordering = if self.producers.reorders() { self.producers.ahead() } else { 0 };
        let writers = WRITERS.max(self.producers.workers);
        let of_consumer = self.at_once().saturating_add(self.holdable());
        self.capacity
            .saturating_mul(self.lanes.max(1))
            .saturating_add(writers + reordering)
            .saturating_add(self.consumers.workers.saturating_mul(of_consumer))
    }

    /// Returns the layout of a buffer whose slots can be numbered at all.
    pub(crate) fn layout(self) -> Layout {
        let places = Owner::places(self.producers.workers.max(self.consumers.workers));
        Layout::new(self, self.slots(), places)
    }
}

/// The label of a sample that arrives: what is to be known about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label {
    pub(crate) id: SampleId,
    /// Nanoseconds of the monotonic clock.
    pub(crate) birth: u64,
    pub(crate) fork: ForkTicket,
    pub(crate) source: SourceId,
    /// The lane that it comes in by, where there are several entrances.
    pub(crate) lane: LaneKey,
    /// The take of which it is the result.
    pub(crate) receipt: Option<Receipt>,
    /// The same where several workers' results have to be put in order.
    pub(crate) turn: Option<u64>,
    /// The time when it arrived, in nanoseconds, if the buffer asks for that.
    pub(crate) came: u64,
    /// The time when its producer began to wait, where it had to, and when it looked last.
    pub(crate) waited: Option<(u64, u64)>,
}

impl Label {
    fn of(self, arrival: Arrival, length: usize) -> policy::Label {
        let Label { id, birth, fork, source, lane, turn, came, waited, .. } = self;
        policy::Label { id, birth, fork, source, lane, turn, arrival, came, waited, length: length as u64 }
    }
}

/// The outcome of asking for a slot to write a sample into.
#[derive(Debug)]
pub(crate) enum Reserved {
    Slot(Slot),
    /// No room now; the futex for room shows this.
    Full(u32),
    Shut,
    /// The others of several workers have gone on without it.
    Late,
    /// The sample has its fate already: dropped on arrival, discarded or flushed.
    Gone {
        accepted: bool,
    },
}

/// A sample that was taken.
#[derive(Debug)]
pub(crate) struct TakenSlot {
    pub(crate) slot: Slot,
    pub(crate) id: SampleId,
    pub(crate) birth: u64,
    pub(crate) fork: ForkTicket,
    pub(crate) source: SourceId,
    /// The number of samples that had entered with it.
    pub(crate) entered: u64,
    /// Parts that a worker that died had given of it, to be left out now.
    pub(crate) given: u64,
    /// The number of times that the stage had failed on it.
    pub(crate) failures: u64,
}

/// The outcome of asking for something to work on.
#[derive(Debug)]
pub(crate) enum Taken {
    Ready {
        slots: Vec<TakenSlot>,
        ticket: u64,
        /// The number of the last sample before the last flush.
        cut: u64,
        /// True if all of it had entered before a flush.
        is_cut_off: bool,
        /// True if what is taken must be copied out, because views hold too many slots.
        copy: bool,
    },
    /// Empty now; the futex for arrivals shows this. What is there is due at that time, in nanoseconds.
    Empty(u32, Option<u64>),
    /// The next take, of that number, would be too far ahead.
    Ahead(u64),
    /// The buffer is drained. What `finish` gives has its turn, too.
    Drained {
        ticket: u64,
    },
    Discarded,
}

/// The outcome of looking for a slot that keeps memory which it does not need.
#[derive(Debug)]
pub(crate) enum Trim {
    /// It is out of use now; it was at that height among the free ones.
    Slot(Slot, u64),
    /// There is none so far; the next to be looked at is at that height.
    GoOn(u64),
    Done,
}

/// Slots that are looked at in one change.
const LOOK_AT_ONCE: usize = 256;
/// A number larger than any that is counted one by one.
const MOST_COUNTED: u64 = 1 << 48;

/// The slots over some memory.
#[derive(Debug)]
pub(crate) struct SlotTable<W> {
    words: W,
    limits: Limits,
    layout: Layout,
    me: Owner,
    /// The slots that this process has claimed.
    claims: Claims,
    /// The value that the gate must show, where this process alone lowers it.
    gate: Option<AtomicU64>,
    /// The counters when they last added up.
    last_counts: Mutex<(BufferCounts, StageCounts)>,
    damage: OnceLock<Damage>,
    /// The scratch space of the thread that has the lock in this process.
    scratch: Mutex<Scratch>,
    /// Tells, outside of the lock, that this process has written down ends of samples.
    bell: OnceLock<Bell>,
    /// The number of ends of samples that this process has read.
    ends_read: Mutex<u64>,
}

/// Tells that there is something to be read.
pub(crate) struct Bell(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

type Changing<'a, 'b, W> = Change<'a, State<'b, W>>;

impl<W: SharedWords> SlotTable<W> {
    /// Makes a buffer in fresh memory, all zero.
    pub(crate) fn create(words: W, limits: Limits) -> Self {
        let mut table = SlotTable::open(words, limits, Owner::PIPELINE);
        table.gate = Some(AtomicU64::new(Gate::Open as u64));
        write_empty(&table.words, table.layout);
        table
    }

    /// Opens a buffer that another process has created.
    pub(crate) fn open(words: W, limits: Limits, me: Owner) -> Self {
        let (layout, claims) = (limits.layout(), Claims::new(limits.slots()));
        let (last_counts, damage, scratch) = (Mutex::default(), OnceLock::new(), Mutex::default());
        let (bell, ends_read) = (OnceLock::new(), Mutex::new(0));
        SlotTable { words, limits, layout, me, claims, gate: None, last_counts, damage, scratch, bell, ends_read }
    }

    /// Lets the bell ring, outside of the lock, when this process has written down ends of samples.
    pub(crate) fn set_bell(&self, ring: Box<dyn Fn() + Send + Sync>) {
        // It is said once, when the buffer is opened.
        let _ = self.bell.set(Bell(ring));
    }

    /// Reads the ends of samples that were written down since it was called last, and returns how many
    /// others have been written over meanwhile.
    pub(crate) fn read_ends(&self) -> (Vec<SampleEnd>, u64) {
        // Held, so that ends are read once and handed out in order.
        let mut read = self.ends_read.lock();
        let (ends, until, missed) = self.ends_from(*read);
        *read = until;
        (ends, missed)
    }

    /// Returns the ends that are still to be read.
    pub(crate) fn unread_ends(&self) -> Vec<SampleEnd> {
        self.ends_from(*self.ends_read.lock()).0
    }

    /// Returns the ends from that one on, the number of the next to come, and how many were written over.
    fn ends_from(&self, from: u64) -> (Vec<SampleEnd>, u64, u64) {
        self.at_once((Vec::new(), from, 0), |change, _| {
            let until = change.ends();
            let first = from.max(until.saturating_sub(self.layout.ends()));
            let ends = (first..until).map(|number| read_end(&self.words, self.layout.end(number))).collect();
            (ends, until, first - from)
        })
    }

    pub(crate) fn words(&self) -> &W {
        &self.words
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    fn place(&self) -> usize {
        self.me.place()
    }

    /// Makes all of a change or, if this process dies, nothing. To a user of a damaged buffer, `given_up` is what it
    /// says: the same as one whose gate has come down to the end.
    fn at_once<T>(&self, given_up: T, change: impl FnOnce(&mut Changing<'_, '_, W>, &LockGuard<'_, W>) -> T) -> T {
        self.within(LockGuard::enter(&self.words, self.layout, self.me), given_up, change)
    }

    /// The same after the death of a process, which may have been about to wake a waiter.
    fn at_once_after<T>(&self, dead: Owner, given_up: T, change: impl FnOnce(&mut Changing<'_, '_, W>) -> T) -> T {
        let guard = LockGuard::enter_after(&self.words, self.layout, self.me, dead);
        self.within(guard, given_up, |changing, guard| {
            guard.somebody_waits();
            changing.wake_consumers(Wake::All);
            changing.wake_producers(Wake::All);
            change(changing)
        })
    }

    fn within<'a, T>(
        &'a self,
        guard: Result<LockGuard<'a, W>, Damage>,
        given_up: T,
        change: impl FnOnce(&mut Changing<'_, '_, W>, &LockGuard<'a, W>) -> T,
    ) -> T {
        let done = guard.and_then(|mut guard| {
            let mut scratch = self.scratch.lock();
            let (result, not_empty, not_full) = unless_damaged(|| {
                let mut state = State::read(&self.words, self.layout, &self.limits, &mut scratch);
                let mut wakes = Wakes::default();
                let result = change(&mut Change::new(&mut state, &self.limits, &mut wakes), &guard);
                (result, wakes.consumers != Wake::Nobody, wakes.producers != Wake::Nobody)
            })?;
            guard.make(scratch.changes(self.layout))?;
            scratch.write_visits(&self.words, self.layout);
            guard.leave(not_empty, not_full)?;
            Ok((result, scratch.has_ends()))
        });
        let done = done.map(|(result, has_ends)| {
            if has_ends && let Some(Bell(ring)) = self.bell.get() {
                ring();
            }
            result
        });
        done.unwrap_or_else(|damage| {
            // The first to be found is told.
            let _ = self.damage.set(damage);
            LockGuard::close_for_good(&self.words, damage);
            given_up
        })
    }

    /// Returns why the buffer is of no use any more, if it is not: another process may have found it so.
    pub(crate) fn damage(&self) -> Option<Damage> {
        self.damage.get().copied().or_else(|| LockGuard::damage(&self.words))
    }

    /// Looks whether the counters add up, if the lock is free.
    pub(crate) fn look_for_damage(&self) -> Option<Damage> {
        if let Some(guard) = LockGuard::try_enter(&self.words, self.layout, self.me) {
            self.within(guard, (), |change, _| {
                self.counted(change);
            });
        }
        self.damage()
    }

    /// Returns the process that has the lock, and how far it has come.
    pub(crate) fn held(&self) -> Option<Held> {
        LockGuard::look(&self.words, self.layout)
    }

    /// Looks at the process that has the lock. It may be one that has ended, or none, though no thread of this process
    /// waits for it: what a worker waits for, it does not judge itself.
    pub(crate) fn look_at_holder(&self) {
        if let Some(guard) = LockGuard::judge(&self.words, self.layout, self.me).transpose() {
            self.within(guard, (), |_, _| {});
        }
    }

    /// The counters, which must add up, and the gate, which no other process may lower.
    fn counted(&self, change: &mut Changing<'_, '_, W>) -> (BufferCounts, StageCounts) {
        change.expect_sound();
        let gate = change.gate() as u64;
        if self.gate.as_ref().is_some_and(|known| known.load(Ordering::Relaxed) != gate) {
            damaged(Damage::Gate);
        }
        let counts = change.counts();
        if !add_up(&counts.0, &counts.1) {
            damaged(Damage::Sum);
        }
        self.last_counts.lock().clone_from(&counts);
        counts
    }

    /// Returns what becomes of an arrival where nothing comes inside any more.
    fn gone(arrival: Arrival) -> Reserved {
        match arrival {
            Arrival::Outside => Reserved::Shut,
            Arrival::Stage | Arrival::PartOfWhole | Arrival::PartOfPart | Arrival::Source => {
                Reserved::Gone { accepted: true }
            }
        }
    }

    /// Asks for a slot of that many bytes. Where there is no room, what that means for an arriving sample is decided
    /// here, before it is written; its receipt is kept if that is its end.
    pub(crate) fn reserve_for(&self, length: usize, id: SampleId, arrival: Arrival, origin: Origin) -> Reserved {
        let Origin { lane, turn, receipt, source, .. } = origin;
        let fork = ForkTicket::default();
        let label = Label { id, birth: 0, fork, source, lane, receipt, turn, came: 0, waited: None };
        let label = label.of(arrival, length);
        self.at_once(Self::gone(arrival), |change, guard| match change.reserve(self.place(), &label, receipt) {
            Ok(index) => {
                self.claims.claim(index);
                Reserved::Slot(Slot { index, length })
            }
            Err(refusal) => Self::refused(refusal, guard),
        })
    }

    /// Returns what a refusal means for who asked for a slot.
    fn refused(refusal: Refusal, guard: &LockGuard<'_, W>) -> Reserved {
        match refusal {
            Refusal::Full => Reserved::Full(guard.will_wait_for(Waited::NotFull)),
            Refusal::Shut => Reserved::Shut,
            Refusal::Late => Reserved::Late,
            Refusal::Dropped => Reserved::Gone { accepted: false },
            Refusal::Discarded | Refusal::Flushed => Reserved::Gone { accepted: true },
        }
    }

    /// Opens a lane for an entrance; `None` where there are as many as there may be.
    pub(crate) fn open_lane(&self, options: LaneOptions) -> Option<LaneKey> {
        self.at_once(None, |change, _| change.open_lane(options))
    }

    /// Opens a lane again that was not taken away yet, behind what is still inside.
    pub(crate) fn reopen_lane(&self, lane: LaneKey, options: LaneOptions) {
        self.at_once((), |change, _| change.reopen_lane(lane, options));
    }

    /// Closes a lane: nothing more is put into it, what is inside flows out.
    pub(crate) fn close_lane(&self, lane: LaneKey) {
        self.at_once((), |change, _| change.close_lane(lane));
    }

    /// Takes a closed lane away once nothing is inside, and returns its counters.
    pub(crate) fn free_lane(&self, lane: LaneKey) -> Option<BufferCounts> {
        self.at_once(None, |change, _| change.free_lane(lane))
    }

    /// Returns the counters of a lane, unless it was taken away.
    pub(crate) fn lane_counts(&self, lane: LaneKey) -> Option<BufferCounts> {
        self.at_once(None, |change, _| change.lane_counts(lane))
    }

    /// Reserves a slot and hands it in, in one change. `write` copies what is in it under the lock, so it is for few
    /// bytes that are ready; where it cannot, the slot is only reserved.
    pub(crate) fn put(
        &self,
        length: usize,
        label: Label,
        arrival: Arrival,
        write: impl FnOnce(Slot) -> Result<Slot, Slot>,
    ) -> Result<Published, Reserved> {
        let (receipt, label) = (label.receipt, label.of(arrival, length));
        self.at_once(Err(Self::gone(arrival)), |change, guard| {
            let index =
                change.reserve(self.place(), &label, receipt).map_err(|refusal| Self::refused(refusal, guard))?;
            self.claims.claim(index);
            let slot = write(Slot { index, length }).map_err(Reserved::Slot)?;
            self.claims.let_go(slot.index);
            Ok(change.publish(self.place(), slot.index, &label, receipt))
        })
    }

    /// The same for what is no result of a take.
    #[cfg(test)]
    pub(crate) fn reserve(&self, length: usize, id: SampleId, arrival: Arrival) -> Reserved {
        self.reserve_for(length, id, arrival, Origin::default())
    }

    /// Gives back a slot that was not written.
    pub(crate) fn cancel(&self, slot: Slot) {
        self.claims.let_go(slot.index);
        self.at_once((), |change, _| change.cancel(self.place(), slot.index));
    }

    /// Hands in a written sample.
    pub(crate) fn publish(&self, slot: Slot, label: Label, arrival: Arrival) -> Published {
        self.claims.let_go(slot.index);
        let given_up = if arrival == Arrival::Outside { Published::Shut } else { Published::Discarded };
        let (receipt, label) = (label.receipt, label.of(arrival, slot.length));
        self.at_once(given_up, |change, _| change.publish(self.place(), slot.index, &label, receipt))
    }

    /// Ends the turn of that take by one of several workers: nothing more comes of it.
    pub(crate) fn end_turn(&self, ticket: u64, now: u64) {
        self.at_once((), |change, _| change.end_turn(ticket, now));
    }

    /// Returns the latest take at which the workers in front may be.
    pub(crate) fn turns_up_to(&self) -> u64 {
        match self.limits.producers.reorders() {
            true => self.at_once(u64::MAX, |change, _| change.turns_up_to()),
            false => u64::MAX,
        }
    }

    /// Checks that the workers in front may be at that take; if not, returns what the futex for room shows.
    pub(crate) fn is_near(&self, ticket: u64) -> Result<(), u32> {
        self.at_once(Ok(()), |change, guard| match ticket <= change.turns_up_to() {
            true => Ok(()),
            false => Err(guard.will_wait_for(Waited::NotFull)),
        })
    }

    /// Notes that the stage has failed on that take for good: what was taken later does not go on.
    pub(crate) fn fail_turn(&self, ticket: u64) {
        self.at_once((), |change, _| change.fail_turn(ticket));
    }

    /// Does the same unless nothing more was to come of it anyway.
    pub(crate) fn fail_turn_unless_ended(&self, ticket: u64) {
        self.at_once((), |change, _| {
            if !change.has_ended(ticket) {
                change.fail_turn(ticket);
            }
        });
    }

    /// Returns true if the stage has failed on a take for good.
    pub(crate) fn has_failed_turn(&self) -> bool {
        self.at_once(false, |change, _| change.has_failed_turn())
    }

    /// Returns true if one of several workers has that take in flight.
    pub(crate) fn is_in_flight(&self, ticket: u64) -> bool {
        self.at_once(false, |change, _| change.is_in_flight(ticket))
    }

    /// Takes what the intake says, at that time in nanoseconds.
    #[cfg(test)]
    pub(crate) fn take(&self, now: u64) -> Taken {
        self.take_up_to(u64::MAX, now)
    }

    /// The same, not beyond that ticket.
    pub(crate) fn take_up_to(&self, up_to: u64, now: u64) -> Taken {
        self.at_once(Taken::Discarded, |change, guard| self.take_in(change, guard, up_to, now))
    }

    /// The same once what was in flight is settled.
    pub(crate) fn settle_and_take(
        &self,
        slots: &[(usize, bool)],
        settlement: Settlement,
        up_to: u64,
        now: u64,
    ) -> Taken {
        self.let_go(slots);
        self.at_once(Taken::Discarded, |change, guard| {
            change.settle(self.place(), Flight::Slots(slots), settlement);
            self.take_in(change, guard, up_to, now)
        })
    }

    /// Takes a turn without a sample, not beyond that ticket; and what shows whether it is worth another look.
    pub(crate) fn take_turn(&self, up_to: u64, now: u64) -> (Turn, u32) {
        self.at_once((Turn::Discarded, 0), |change, guard| {
            let turn = change.take_turn(self.place(), up_to, now);
            (turn, if turn == Turn::NotYet { guard.will_wait_for(Waited::NotEmpty) } else { 0 })
        })
    }

    fn take_in(&self, change: &mut Changing<'_, '_, W>, guard: &LockGuard<'_, W>, up_to: u64, now: u64) -> Taken {
        loop {
            return match change.take(self.place(), up_to, now) {
                policy::Taken::Ready { ticket, first, samples } => self.taken(change, ticket, first, samples),
                // What has waited for the places of those that were too old may be there now.
                policy::Taken::Expired => continue,
                policy::Taken::Empty { due } => Taken::Empty(guard.will_wait_for(Waited::NotEmpty), due),
                policy::Taken::Ahead(next) => Taken::Ahead(next),
                policy::Taken::Drained { ticket } => Taken::Drained { ticket },
                policy::Taken::Discarded => Taken::Discarded,
            };
        }
    }

    /// Makes the outcome of a take that was just made.
    fn taken(&self, change: &mut Changing<'_, '_, W>, ticket: u64, first: usize, samples: u64) -> Taken {
        let mut slots = Vec::with_capacity(samples as usize);
        let mut next = Some(first);
        while let Some(index) = next {
            let taken = change.taken(index);
            let length = match usize::try_from(taken.length) {
                Ok(length) if taken.length <= self.limits.bytes => length,
                _ => damaged(Damage::Length),
            };
            // So that counting on stays far from the end.
            if taken.given >= MOST_COUNTED || taken.failures >= MOST_COUNTED {
                damaged(Damage::Count);
            }
            self.claims.claim(index);
            let slot = Slot { index, length };
            let policy::InFlight { id, birth, fork, source, entered, given, failures, .. } = taken;
            slots.push(TakenSlot { slot, id, birth, fork, source, entered, given, failures });
            next = change.after(index);
        }
        let holdable = self.limits.consumers.workers * self.limits.holdable();
        let copy = change.viewed().saturating_add(samples) > holdable as u64;
        let (cut, is_cut_off) = (change.last_cut(), change.is_all_old(first));
        Taken::Ready { slots, ticket, cut, is_cut_off, copy }
    }

    /// This worker is done with what `finish` has given.
    pub(crate) fn end_finish(&self) {
        self.at_once((), |change, _| change.end_finish(self.place()));
    }

    /// Notes that the stage has failed so often on each that it has in flight, and is to be run again.
    pub(crate) fn note_failures(&self, failures: impl Iterator<Item = (usize, u64)>) {
        self.at_once((), |change, _| failures.for_each(|(slot, failures)| change.note_failures(slot, failures)));
    }

    /// Leaves what was in flight with the stage, for a later list.
    pub(crate) fn keep(&self, slots: &[(usize, bool)]) {
        self.let_go(slots);
        self.at_once((), |change, _| change.keep_for_window(self.place(), Flight::Slots(slots)));
    }

    /// Counts that many samples that the stage kept as being in no list: skipped, or flushed with their source.
    pub(crate) fn end_windowed(&self, samples: u64, fate: Fate) {
        self.at_once((), |change, _| change.end_windowed(self.place(), samples, fate));
    }

    /// Settles what was in flight, and as many samples that were kept before as the settlement says. Slots that are
    /// still looked at stay in use until `release`.
    pub(crate) fn settle(&self, slots: &[(usize, bool)], settlement: Settlement) {
        self.let_go(slots);
        self.at_once((), |change, _| {
            change.settle(self.place(), Flight::Slots(slots), settlement);
        });
    }

    /// Settles one of the samples in flight, and goes on with the others.
    pub(crate) fn settle_one(&self, slot: (usize, bool), settlement: Settlement) {
        self.let_go(&[slot]);
        self.at_once((), |change, _| change.settle(self.place(), Flight::OneOf(slot), settlement));
    }

    /// Releases a slot at which nothing looks any longer.
    pub(crate) fn release(&self, slot: usize) {
        self.claims.let_go(slot);
        self.at_once((), |change, _| change.release(self.place(), slot));
    }

    /// Gives up the claim of this process to slots at which nothing looks.
    fn let_go(&self, slots: &[(usize, bool)]) {
        slots.iter().filter(|(_, viewed)| !viewed).for_each(|(slot, _)| self.claims.let_go(*slot));
    }

    /// Sets when the user's code began with what is in flight; `None` while it does not run.
    pub(crate) fn set_running_since(&self, nanoseconds: Option<u64>) {
        self.words.set(self.layout.running_since(self.me), nanoseconds.unwrap_or(0));
    }

    /// The same of another process.
    pub(crate) fn running_since(&self, owner: Owner) -> Option<u64> {
        Some(self.words.get(self.layout.running_since(owner))).filter(|since| *since > 0)
    }

    /// Lowers the gate; below `Closed`, what is inside is discarded.
    pub(crate) fn lower_gate(&self, gate: Gate) {
        self.at_once((), |change, _| {
            change.lower_gate(gate);
            if let Some(known) = &self.gate {
                known.store(change.gate() as u64, Ordering::Relaxed);
            }
        });
    }

    /// Keeps everything from being taken until `let_take`; returns the number of the last sample that has entered.
    pub(crate) fn hold(&self) -> u64 {
        self.at_once(0, |change, _| change.hold())
    }

    /// Lets samples be taken again.
    pub(crate) fn let_take(&self) {
        self.at_once((), |change, _| change.let_take());
    }

    /// Keeps everything from being taken, or lets samples be taken again.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.at_once((), |change, _| change.set_paused(paused));
    }

    /// Gives up what had entered before a flush, at that time.
    pub(crate) fn cut(&self, cut: Cut, now: u64) {
        self.at_once((), |change, _| change.cut(cut, now));
    }

    /// Returns true if a sample had entered before a flush of all, or of its source.
    pub(crate) fn is_cut_off(&self, sample: &SampleInfo) -> bool {
        // What is newer than any flush, which is nearly everything, is known without the lock.
        sample.id.number <= self.last_cut()
            && self.at_once(false, |change, _| change.is_old(sample.id.number, sample.source))
    }

    /// Returns the flushes that it knows.
    pub(crate) fn cuts(&self) -> Cuts {
        self.at_once(Cuts::default(), |change, _| change.cuts())
    }

    /// Returns true if nothing from before the last flush of a source is in flight.
    pub(crate) fn has_landed(&self, source: SourceId) -> bool {
        self.at_once(true, |change, _| change.has_landed(source))
    }

    /// Forgets the last flush of a source.
    pub(crate) fn forget_cut(&self, source: SourceId) {
        self.at_once((), |change, _| change.forget_cut(source));
    }

    /// Checks that nothing is in flight that entered before the last flush; if something is, returns what the futex for
    /// room shows.
    pub(crate) fn is_flushed(&self) -> Result<(), u32> {
        self.at_once(Ok(()), |change, guard| match change.is_flushed() {
            true => Ok(()),
            false => Err(guard.will_wait_for(Waited::NotFull)),
        })
    }

    /// Returns the number of the last sample before the last flush, without the lock.
    pub(crate) fn last_cut(&self) -> u64 {
        self.words.get(self.layout.last_cut())
    }

    pub(crate) fn gate(&self) -> Gate {
        self.at_once(Gate::Discarding, |change, _| change.gate())
    }

    /// The counters of one moment, the stage's included.
    pub(crate) fn counts(&self) -> (BufferCounts, StageCounts) {
        let counts = self.at_once(None, |change, _| Some(self.counted(change)));
        counts.unwrap_or_else(|| self.last_counts())
    }

    /// The counters when they last added up.
    pub(crate) fn last_counts(&self) -> (BufferCounts, StageCounts) {
        self.last_counts.lock().clone()
    }

    /// Makes all that sleep look again.
    pub(crate) fn wake(&self) {
        self.at_once((), |change, _| {
            change.wake_consumers(Wake::All);
            change.wake_producers(Wake::All);
        });
    }

    /// The samples that are inside, in flight, or out of order: of a list in flight that gives one result the newest, as
    /// that will go on as that one's. Takes the lock for some slots at a time, so that no other waits long for it. A sample is in
    /// one slot as long as it is at this buffer, so none that is there all the time is missed.
    pub(crate) fn forks(&self, all_of_lists: bool) -> Vec<ForkTicket> {
        if self.limits.ends > 0 {
            self.at_once((), |change, _| change.is_looked_at());
        }
        let (mut forks, mut lists) = (Vec::new(), HashMap::new());
        self.look_over(|change, among| {
            for slot in among {
                match change.fork_in(slot) {
                    Some(policy::Forked { of_list: Some((ticket, age)), fork }) if !all_of_lists => {
                        let newest = lists.entry(ticket).or_insert((age, fork));
                        if age > newest.0 {
                            *newest = (age, fork);
                        }
                    }
                    Some(policy::Forked { fork, .. }) => forks.push(fork),
                    None => {}
                }
            }
        });
        forks.extend(lists.into_values().map(|(_, fork)| fork));
        forks
    }

    /// Returns how the durations of the whole run are spread, and those of the last ten seconds at that time.
    pub(crate) fn spread(&self, durations: Durations, now: u64) -> (Spread, Spread) {
        // Each word alone is right at some moment, and that is all a histogram needs.
        let add = |counted: &mut Counted, counts: usize| {
            let longest = self.words.get(self.layout.longest(counts));
            counted.add((0..TIMES).map(|step| self.words.get(counts + step)), longest);
        };
        let (mut all, mut recent) = (Counted::new(), Counted::new());
        add(&mut all, self.layout.counts_before(durations));
        for window in (0..WINDOWS as u64).map(|window| self.layout.counts_in(durations, window)) {
            let used_last = self.words.get(self.layout.used_last(window));
            if used_last == 0 {
                continue;
            }
            add(&mut all, window);
            if is_recent(used_last, period(now)) {
                add(&mut recent, window);
            }
        }
        (all.spread(), recent.spread())
    }

    pub(crate) fn note_waited(&self, since: u64, until: u64) {
        self.at_once((), |change, _| change.note_waited(since, until));
    }

    pub(crate) fn measured(&self) -> policy::Measured {
        self.at_once(policy::Measured::default(), |change, _| change.measured())
    }

    /// Cleans up after the death of the producer: what it was writing is gone. Returns the last take of which a result
    /// arrived.
    pub(crate) fn producer_died(&self, dead: Owner) -> Option<Receipt> {
        self.at_once_after(dead, (), |change| change.expect_sound());
        let slots = self.slots_of(dead);
        self.at_once(None, |change, _| change.producer_died(dead.place(), &slots))
    }

    /// Cleans up after the death of a consumer: what it looked at is free, and what it had in flight gets its fate.
    /// Says which take it was, where others may wait for it.
    pub(crate) fn consumer_died(
        &self,
        dead: Owner,
        on_crash: OnCrash,
        received: Option<Receipt>,
    ) -> (Verdict, Option<u64>) {
        self.words.set(self.layout.running_since(dead), 0);
        self.at_once_after(dead, (), |change| change.expect_sound());
        let slots = self.slots_of(dead);
        self.at_once((Verdict::Nothing, None), |change, _| {
            // What it kept others from may be free again.
            change.wake_consumers(Wake::All);
            change.wake_producers(Wake::All);
            change.consumer_died(dead.place(), &slots, on_crash, received)
        })
    }

    /// The samples that a dead consumer has in flight.
    pub(crate) fn in_flight_of(&self, dead: Owner) -> Vec<(SampleId, Slot)> {
        self.at_once_after(dead, (), |change| change.expect_sound());
        let slots = self.slots_of(dead);
        self.at_once(Vec::new(), |change, _| change.in_flight_among(&slots))
            .into_iter()
            .map(|(id, index, length)| (id, Slot { index, length }))
            .collect()
    }

    /// The slots that the dead had.
    fn slots_of(&self, dead: Owner) -> Vec<usize> {
        let mut slots = Vec::new();
        self.look_over(|change, among| slots.extend(change.slots_of(dead.place(), among)));
        slots
    }

    /// Looks at every slot, at some under the lock so that no other waits long for it.
    fn look_over(&self, mut look: impl FnMut(&mut Changing<'_, '_, W>, Range<usize>)) {
        let (mut from, mut used) = (0, 1);
        while from < used {
            used = self.at_once(0, |change, _| {
                let used = change.slots_used();
                look(change, from..used.min(from + LOOK_AT_ONCE));
                used
            });
            from += LOOK_AT_ONCE;
        }
    }

    /// Returns the last visits that ended, and those of what is there now. Takes the lock for some at a time.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        // What is there first: what ends meanwhile is among those that have ended then, and is left out here.
        let mut present = Vec::new();
        self.look_over(|change, among| present.extend(change.present_visits(among)));
        let kept = || self.words.get(self.layout.visits_kept());
        // The oldest may be one over which a process was writing when it died.
        let oldest = || (kept() + 1).saturating_sub(self.layout.visits());
        let (mut next, until) = (oldest().min(kept()), kept());
        let mut visits: Vec<Visit> = Vec::new();
        while next < until {
            let read = self.at_once(Vec::new(), |_, _| {
                // Others may have been written in their places meanwhile.
                next = next.max(oldest());
                let numbers = next..until.min(next.saturating_add(LOOK_AT_ONCE as u64));
                next = numbers.end.max(numbers.start + 1);
                numbers.filter_map(|number| self.layout.visit(number)).map(|at| read_visit(&self.words, at)).collect()
            });
            visits.extend(read);
        }
        together(visits, present)
    }

    /// Returns the number of samples that have come inside.
    pub(crate) fn sequence(&self) -> u64 {
        self.at_once(0, |change, _| change.entered())
    }

    /// Takes a free slot out of use, if the lock is free, too, that keeps memory which it does not need: it was last
    /// used when that many samples had come or before, or its last sample was much smaller than one before. It looks
    /// from that slot on; `trimmed` gives the slot back.
    pub(crate) fn next_to_trim(&self, idle_since: u64, from: u64) -> Trim {
        let Some(guard) = LockGuard::try_enter(&self.words, self.layout, self.me) else { return Trim::Done };
        self.within(guard, Trim::Done, |change, _| match change.next_to_trim(idle_since, from as usize) {
            policy::Trim::Slot { slot: index, touched } => {
                self.claims.claim(index);
                Trim::Slot(Slot { index, length: touched as usize }, index as u64)
            }
            policy::Trim::GoOn { next } => Trim::GoOn(next as u64),
            policy::Trim::Done => Trim::Done,
        })
    }

    /// Notes that the memory of a slot has gone back to the system.
    pub(crate) fn trimmed(&self, slot: Slot) {
        self.claims.let_go(slot.index);
        self.at_once((), |change, _| change.trimmed(slot.index));
    }
}

fn add_up(buffer: &BufferCounts, stage: &StageCounts) -> bool {
    let StageCounts { used, absorbed, skipped, failed, lost, in_flight, .. } = *stage;
    let sum = |counts: &[u64]| counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
    let BufferCounts {
        dropped_oldest, dropped_newest, superseded, expired, taken, discarded, flushed, waiting, ..
    } = *buffer;
    sum(&[dropped_oldest, dropped_newest, superseded, expired, taken, discarded, flushed, waiting])
        == Some(buffer.entered)
        && sum(&[used, absorbed, skipped, failed, lost, stage.flushed, in_flight]) == Some(taken)
}
