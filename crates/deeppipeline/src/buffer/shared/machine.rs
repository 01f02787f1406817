//! What may become of a slot: the state machine of a shared buffer, one transaction a step.
//!
//! The table is in the README beside this folder. Nothing here waits, and nothing here touches what is in a slot.

use super::claims::Claims;
use super::damage::{Damage, damaged, unless_damaged};
use super::layout::{Field, Layout, PlaceField, SUM_OF_NOTHING, SlotField};
use super::session::{Owner, Session};
use super::step::{Forks, State, Step, WHOLE};
use super::words::{Held, Words};
use crate::buffer::histogram::{self, Durations, TIMES};
use crate::buffer::{Arrival, BufferCounts, Gate, Limits, Origin};
use crate::graph::OnCrash;
use crate::intake::Intake;
use crate::ledger::{Fate, StageCounts};
use crate::report::Spread;
use crate::sample::{ForkTicket, SampleId};
use parking_lot::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One slot, in the hands of whoever holds this: there is never a second one for the same slot.
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
    /// Whoever waits for room is woken when no more than so many wait inside. Waking for every place that comes free
    /// would cost a large buffer two switches of process a sample; a small one has no time to lose.
    pub(super) fn refill_at(self) -> u64 {
        let free = match self.intake {
            // A list that is tried again leaves others inside, and they may wait for more before they are a list.
            Intake::All | Intake::Batch { .. } => 0,
            _ if !self.rings_late() => 1,
            _ => self.capacity / 2,
        };
        (self.capacity - free) as u64
    }

    /// Whether there may be room for a while before whoever waits for it is woken.
    pub(super) fn rings_late(self) -> bool {
        self.capacity >= 8 && !self.intake.takes_lists()
    }

    /// Samples that one take may take.
    pub(super) fn at_once(self) -> usize {
        match self.intake {
            Intake::All => self.capacity,
            Intake::Batch { max_size, .. } => max_size,
            Intake::Single | Intake::Latest | Intake::Window { .. } => 1,
        }
    }

    /// Slots that views may hold after their samples have got their fate.
    pub(super) fn holdable(self) -> usize {
        self.at_once().saturating_add(SPARE)
    }

    /// Enough that nobody ever waits for a slot while there is room.
    pub(crate) fn slots(self) -> usize {
        let early = if self.givers.reorders() { self.givers.ahead() } else { 0 };
        let writers = WRITERS.max(self.givers.workers);
        let of_taker = self.at_once().saturating_add(self.holdable());
        self.capacity.saturating_add(writers + early).saturating_add(self.takers.workers.saturating_mul(of_taker))
    }

    /// Of a buffer whose slots can be numbered at all.
    pub(crate) fn layout(self) -> Layout {
        let places = Owner::places(self.givers.workers.max(self.takers.workers));
        let ahead = self.givers.ahead();
        Layout { slots: self.slots(), places, turns: 2 * ahead + 2, ahead }
    }
}

/// What is to be known about a sample that arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label {
    pub(crate) id: SampleId,
    /// Nanoseconds of the monotonic clock.
    pub(crate) birth: u64,
    pub(crate) fork: ForkTicket,
    /// Of which take it is the result.
    pub(crate) receipt: Option<Receipt>,
    /// The same where several workers' results have to be put in order.
    pub(crate) turn: Option<u64>,
    /// When it arrived, in nanoseconds, if the buffer asks for that.
    pub(crate) came: u64,
}

/// Which take a result belongs to, as the buffer after the stage keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) ticket: u64,
    /// Parts received so far; `None` for the one result.
    pub(crate) parts: Option<u64>,
}

/// Slots that are looked at in one step.
const LOOK_AT_ONCE: usize = 256;

/// Where the queue begins: samples that are put back in front go below.
const FIRST_PLACE: u64 = 1 << 32;

/// What came of asking for a slot to write a sample into.
#[derive(Debug)]
pub(crate) enum Reserved {
    Slot(Slot),
    /// No room now; the bell for room shows this.
    Full(u32),
    Shut,
    /// The others of several workers have gone on without it.
    Late,
    /// The sample has its fate already: dropped on arrival, or discarded.
    Gone {
        accepted: bool,
    },
}

/// What came of handing in a written sample.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Published {
    Inside,
    Discarded,
    Shut,
}

/// A sample that was taken.
#[derive(Debug)]
pub(crate) struct TakenSlot {
    pub(crate) slot: Slot,
    pub(crate) id: SampleId,
    pub(crate) birth: u64,
    pub(crate) fork: ForkTicket,
    /// Parts that a worker that died had given of it, to be left out now.
    pub(crate) given: u64,
    /// How often the stage had failed on it.
    pub(crate) failures: u64,
}

/// What came of asking for something to work on.
#[derive(Debug)]
pub(crate) enum Taken {
    Ready {
        slots: Vec<TakenSlot>,
        ticket: u64,
        /// Whether what is taken must be copied out, because views hold too many slots.
        copy: bool,
    },
    /// Nothing now; the bell for arrivals shows this. What is there is due at that time, in nanoseconds.
    Empty(u32, Option<u64>),
    /// The next take, of that number, would be too far ahead.
    Ahead(u64),
    /// What `finish` gives has its turn, too.
    Drained {
        ticket: u64,
    },
    Discarded,
}

/// What became of the sample that a dead worker had in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It had nothing in hand.
    Nothing,
    /// Its result had gone on.
    Used(SampleId),
    Lost(SampleId),
    /// It waits again, in front.
    Retried(SampleId),
}

/// What came of looking for a slot that keeps memory which it does not need.
#[derive(Debug)]
pub(crate) enum Trim {
    /// It is out of use now; it was at that height among the free ones.
    Slot(Slot, u64),
    /// There is none so far; the next to be looked at is at that height.
    GoOn(u64),
    Done,
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The slot machine over some memory.
#[derive(Debug)]
pub(crate) struct Machine<W> {
    words: W,
    limits: Limits,
    layout: Layout,
    me: Owner,
    /// The slots in the hands of this process.
    claims: Claims,
    /// What the gate must show, where this process alone lowers it.
    gate: Option<AtomicU64>,
    /// The counters when they last added up.
    last_counts: Mutex<(BufferCounts, StageCounts)>,
    damage: OnceLock<Damage>,
}

impl<W: Words> Machine<W> {
    /// A buffer in fresh memory, all zero.
    pub(crate) fn create(words: W, limits: Limits) -> Self {
        let mut machine = Machine::open(words, limits, Owner::HOME);
        machine.gate = Some(AtomicU64::new(Gate::Open as u64));
        let layout = machine.layout;
        let set = |at, value| machine.words.set(at, value);
        set(layout.field(Field::Front), FIRST_PLACE);
        set(layout.field(Field::Back), FIRST_PLACE);
        set(layout.field(Field::Ticket), 1);
        set(layout.field(Field::Turn), 1);
        set(layout.field(Field::Free), layout.slots as u64);
        let weighed = layout.weighed().map(|at| machine.words.get(at).wrapping_mul(layout.weight(at)));
        set(layout.sum(), weighed.fold(SUM_OF_NOTHING, u64::wrapping_add));
        // The first slot on top.
        (0..layout.slots).for_each(|slot| set(layout.free((layout.slots - 1 - slot) as u64), slot as u64));
        machine
    }

    /// A buffer that another process has created.
    pub(crate) fn open(words: W, limits: Limits, me: Owner) -> Self {
        let (layout, claims) = (limits.layout(), Claims::new(limits.slots()));
        let (last_counts, damage) = (Mutex::default(), OnceLock::new());
        Machine { words, limits, layout, me, claims, gate: None, last_counts, damage }
    }

    pub(crate) fn words(&self) -> &W {
        &self.words
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Does all of it or, if this process dies, nothing. To whoever uses a damaged buffer, `given_up` is what it says: the
    /// same as one whose gate has come down to the end.
    fn at_once<T>(&self, given_up: T, change: impl FnOnce(&mut Step<'_, W>) -> T) -> T {
        self.within(Session::enter(&self.words, self.layout, self.me), given_up, change)
    }

    /// The same after the death of a process.
    fn at_once_after<T>(&self, dead: Owner, given_up: T, change: impl FnOnce(&mut Step<'_, W>) -> T) -> T {
        self.within(Session::enter_after(&self.words, self.layout, self.me, dead), given_up, change)
    }

    fn within<'a, T>(
        &'a self,
        session: Result<Session<'a, W>, Damage>,
        given_up: T,
        change: impl FnOnce(&mut Step<'a, W>) -> T,
    ) -> T {
        let done = session.and_then(|session| {
            let mut step = Step::new(session, self.limits, self.me);
            let result = unless_damaged(|| {
                let result = change(&mut step);
                step.seal();
                result
            })?;
            step.session.leave()?;
            Ok(result)
        });
        done.unwrap_or_else(|damage| {
            // The first to be found is told.
            let _ = self.damage.set(damage);
            Session::close_for_good(&self.words, damage);
            given_up
        })
    }

    /// Why the buffer is of no use any more, if it is not: another process may have found it so.
    pub(crate) fn damage(&self) -> Option<Damage> {
        self.damage.get().copied().or_else(|| Session::damage(&self.words))
    }

    /// Looks whether the counters add up, if the lock is free.
    pub(crate) fn look_for_damage(&self) -> Option<Damage> {
        if let Some(session) = Session::try_enter(&self.words, self.layout, self.me) {
            self.within(session, (), |step| {
                self.counted(step);
            });
        }
        self.damage()
    }

    /// Looks at whoever has the lock. It may be one that has ended, or nobody, though no thread of this process waits for
    /// it: what a worker waits for, it does not judge itself.
    pub(crate) fn look_at_holder(&self) {
        if let Some(session) = Session::judge(&self.words, self.layout, self.me).transpose() {
            self.within(session, (), |_| {});
        }
    }

    /// Who has the lock, and how far it has come.
    pub(crate) fn held(&self) -> Option<Held> {
        Session::look(&self.words, self.layout)
    }

    /// The counters, and the gate, which nobody else may lower.
    fn counted(&self, step: &Step<'_, W>) -> (BufferCounts, StageCounts) {
        step.expect_sound();
        let gate = step.gate() as u64;
        if self.gate.as_ref().is_some_and(|known| known.load(Ordering::Relaxed) != gate) {
            damaged(Damage::Gate);
        }
        let counts = step.counts();
        self.last_counts.lock().clone_from(&counts);
        counts
    }

    /// What becomes of an arrival where nothing comes inside any more.
    fn gone(arrival: Arrival) -> Reserved {
        match arrival {
            Arrival::Outside => Reserved::Shut,
            Arrival::Stage | Arrival::PartOfWhole | Arrival::PartOfPart | Arrival::Source => {
                Reserved::Gone { accepted: true }
            }
        }
    }

    /// Asks for a slot of so many bytes. Where there is no room, what that means for an arriving sample is decided here,
    /// before it is written; its receipt is kept if that is its end.
    pub(crate) fn reserve_for(&self, length: usize, id: SampleId, arrival: Arrival, origin: Origin) -> Reserved {
        self.at_once(Self::gone(arrival), |step| {
            let reserved = step.reserve(length, id, arrival, origin.turn);
            match &reserved {
                Reserved::Gone { .. } => step.keep_receipt(origin.receipt),
                Reserved::Slot(slot) => self.claims.claim(slot.index),
                Reserved::Full(_) | Reserved::Shut | Reserved::Late => {}
            }
            reserved
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
        self.at_once((), |step| {
            step.stop_writing(&slot);
            step.free(slot.index);
            step.session.ring_emptied();
        });
    }

    /// Hands in a written sample.
    pub(crate) fn publish(&self, slot: Slot, label: Label, arrival: Arrival) -> Published {
        self.claims.let_go(slot.index);
        let given_up = if arrival == Arrival::Outside { Published::Shut } else { Published::Discarded };
        self.at_once(given_up, |step| step.publish(&slot, label, arrival))
    }

    /// Nothing more comes of that take by one of several workers.
    pub(crate) fn end_turn(&self, ticket: u64, now: u64) {
        self.at_once((), |step| step.end_turn(ticket, now));
    }

    /// Which takes the workers in front may be at.
    pub(crate) fn turns_up_to(&self) -> u64 {
        self.at_once(u64::MAX, |step| step.up_to())
    }

    /// Whether the workers in front may be at that take; if not, what the bell for room shows.
    pub(crate) fn is_near(&self, ticket: u64) -> Result<(), u32> {
        self.at_once(Ok(()), |step| step.is_near(ticket))
    }

    /// The stage has failed on that take for good: what was taken later does not go on.
    pub(crate) fn fail_turn(&self, ticket: u64) {
        self.at_once((), |step| step.fail_turn(ticket));
    }

    /// The same unless nothing more was to come of it anyway.
    pub(crate) fn fail_turn_unless_ended(&self, ticket: u64) {
        self.at_once((), |step| {
            if !step.has_ended(ticket) {
                step.fail_turn(ticket);
            }
        });
    }

    /// Whether the stage has failed on a take for good.
    pub(crate) fn has_failed_turn(&self) -> bool {
        self.at_once(0, |step| step.session.get(Field::FailedTurn)) > 0
    }

    /// Whether one of several workers has that take in hand.
    pub(crate) fn is_in_hand(&self, ticket: u64) -> bool {
        self.at_once(false, |step| step.hands().any(|hand| hand == ticket))
    }

    /// Takes what the intake says, at that time in nanoseconds.
    #[cfg(test)]
    pub(crate) fn take(&self, now: u64) -> Taken {
        self.take_up_to(u64::MAX, now)
    }

    /// The same, not beyond that ticket.
    pub(crate) fn take_up_to(&self, up_to: u64, now: u64) -> Taken {
        self.at_once(Taken::Discarded, |step| {
            let taken = step.take(up_to, now);
            if let Taken::Ready { slots, .. } = &taken {
                slots.iter().for_each(|taken| self.claims.claim(taken.slot.index));
            }
            taken
        })
    }

    /// This worker is done with what `finish` has given.
    pub(crate) fn put_down(&self) {
        self.at_once((), |step| step.put_down());
    }

    /// The stage has failed so often on what it has in hand, and is to be run again.
    pub(crate) fn note_failures(&self, slots: impl Iterator<Item = usize>, failures: u64) {
        self.at_once((), |step| slots.for_each(|slot| step.set_slot(slot, SlotField::Failures, failures)));
    }

    /// What was in hand stays with the stage, for a later list.
    pub(crate) fn keep(&self, slots: &[(usize, bool)]) {
        self.let_go(slots);
        self.at_once((), |step| {
            step.leave_slots(slots);
            let kept = step.session.get_of(self.me, PlaceField::Kept);
            step.session.set_of(self.me, PlaceField::Kept, kept.saturating_add(slots.len() as u64));
            step.put_down();
        });
    }

    /// So many samples that the stage kept are in no list.
    pub(crate) fn skip_kept(&self, samples: u64) {
        self.at_once((), |step| {
            step.use_kept(samples);
            step.settle(samples, Fate::Skipped);
        });
    }

    /// What was in hand has got its fate, and so have so many samples that were kept before. Slots that are still looked
    /// at stay held until `release`.
    pub(crate) fn settle(&self, slots: &[(usize, bool)], fate: Fate, kept: u64, took: Duration, age: Duration) {
        self.let_go(slots);
        self.at_once((), |step| {
            step.leave_slots(slots);
            step.use_kept(kept);
            step.settle((slots.len() as u64).saturating_add(kept), fate);
            let busy = step.session.get(Field::Busy);
            step.session.set(Field::Busy, busy.wrapping_add(nanoseconds(took)));
            step.record(Durations::Busy, nanoseconds(took));
            if self.limits.is_last {
                step.record(Durations::AgesAfter, nanoseconds(age));
            }
            step.put_down();
        });
    }

    /// Nobody looks at a held slot any longer.
    pub(crate) fn release(&self, slot: usize) {
        self.claims.let_go(slot);
        self.at_once((), |step| step.release(slot));
    }

    /// Slots that nobody looks at are in the hands of this process no longer.
    fn let_go(&self, slots: &[(usize, bool)]) {
        slots.iter().filter(|(_, viewed)| !viewed).for_each(|(slot, _)| self.claims.let_go(*slot));
    }

    /// When the user's code began with what is in hand; `None` while it does not run.
    pub(crate) fn set_running_since(&self, nanoseconds: Option<u64>) {
        self.words.set(self.layout.place(self.me, PlaceField::RunningSince), nanoseconds.unwrap_or(0));
    }

    /// The same of another process.
    pub(crate) fn running_since(&self, owner: Owner) -> Option<u64> {
        Some(self.words.get(self.layout.place(owner, PlaceField::RunningSince))).filter(|since| *since > 0)
    }

    /// Lowers the gate; below `Closed`, what is inside is discarded.
    pub(crate) fn lower_gate(&self, gate: Gate) {
        self.at_once((), |step| {
            step.lower_gate(gate);
            if let Some(known) = &self.gate {
                known.store(step.gate() as u64, Ordering::Relaxed);
            }
        });
    }

    pub(crate) fn gate(&self) -> Gate {
        self.at_once(Gate::Discarding, |step| step.gate())
    }

    /// The counters of one moment, the stage's included.
    pub(crate) fn counts(&self) -> (BufferCounts, StageCounts) {
        let counts = self.at_once(None, |step| Some(self.counted(step)));
        counts.unwrap_or_else(|| self.last_counts())
    }

    /// The counters when they last added up.
    pub(crate) fn last_counts(&self) -> (BufferCounts, StageCounts) {
        self.last_counts.lock().clone()
    }

    /// Whoever sleeps looks again.
    pub(crate) fn wake(&self) {
        self.at_once((), |step| {
            step.session.ring_filled();
            step.session.ring_emptied();
        });
    }

    /// The samples that are inside, in hand, or early.
    pub(crate) fn forks(&self) -> Vec<ForkTicket> {
        let mut found = Forks::default();
        self.look_over(|step, slot| step.find_fork(slot, &mut found));
        found.into_all()
    }

    /// Looks at every slot, at some under the lock so that nobody waits for it. A sample is in one slot as long as it is at
    /// this buffer, so none that is there all the time is missed.
    fn look_over(&self, mut look: impl FnMut(&Step<'_, W>, usize)) {
        for first in (0..self.layout.slots).step_by(LOOK_AT_ONCE) {
            self.at_once((), |step| {
                for slot in first..(first + LOOK_AT_ONCE).min(self.layout.slots) {
                    step.expect_sealed(slot);
                    look(step, slot);
                }
            });
        }
    }

    /// The slots in the hands of the dead, in one of these states; nobody else changes that.
    fn slots_of(&self, dead: Owner, states: [State; 2]) -> Vec<usize> {
        let mut slots = Vec::new();
        self.look_over(|step, slot| {
            if states.iter().any(|state| step.is(slot, dead, *state)) {
                slots.push(slot);
            }
        });
        slots
    }

    /// Returns how durations are spread.
    pub(crate) fn spread(&self, durations: Durations) -> Spread {
        // Each word alone is right at some moment, and that is all a histogram needs.
        let counts: Vec<u64> = (0..TIMES).map(|step| self.words.get(self.layout.time(durations, step))).collect();
        histogram::spread(&counts, self.words.get(self.layout.longest(durations)))
    }

    /// How long all calls of `stage_run` took together.
    pub(crate) fn busy(&self) -> Duration {
        Duration::from_nanos(self.words.get(self.layout.field(Field::Busy)))
    }

    /// After the death of whoever brings samples: what it was writing is gone. The last take of which a result arrived.
    pub(crate) fn giver_died(&self, dead: Owner) -> Option<Receipt> {
        self.at_once_after(dead, (), |step| step.expect_sound());
        let writing = self.slots_of(dead, [State::Writing, State::WritingEarly]);
        let (ticket, parts) = self.at_once((0, 0), |step| {
            for slot in writing {
                let writing = step.in_hands(slot);
                step.stop_writing_of(&writing);
                step.free(slot);
            }
            step.session.ring_everything();
            let get = |field| step.session.get_of(dead, field);
            (get(PlaceField::ReceiptTicket), get(PlaceField::ReceiptParts))
        });
        (ticket > 0).then_some(Receipt { ticket, parts: (parts != WHOLE).then_some(parts) })
    }

    /// After the death of whoever takes samples: what it held is free, and what it had in hand gets its fate.
    /// Says which take it was, where others may wait for it.
    pub(crate) fn taker_died(
        &self,
        dead: Owner,
        on_crash: OnCrash,
        received: Option<Receipt>,
    ) -> (Verdict, Option<u64>) {
        self.words.set(self.layout.place(dead, PlaceField::RunningSince), 0);
        self.at_once_after(dead, (), |step| step.expect_sound());
        let slots = self.slots_of(dead, [State::InHand, State::Held]);
        self.at_once((Verdict::Nothing, None), |step| {
            step.session.ring_everything();
            step.taker_died(dead, on_crash, received, slots)
        })
    }

    /// How many samples have come inside.
    pub(crate) fn sequence(&self) -> u64 {
        self.words.get(self.layout.field(Field::Sequence))
    }

    /// Takes a free slot out of use, if the lock is free, too, that keeps memory which it does not need: it was last used
    /// for that sequence number or one before, or its last sample was much smaller than one before. It looks from that
    /// height among the free ones on; `trimmed` gives the slot back.
    pub(crate) fn next_to_trim(&self, idle_since: u64, from: u64) -> Trim {
        let Some(session) = Session::try_enter(&self.words, self.layout, self.me) else { return Trim::Done };
        self.within(session, Trim::Done, |step| {
            let trim = step.next_to_trim(idle_since, from);
            if let Trim::Slot(slot, _) = &trim {
                self.claims.claim(slot.index);
            }
            trim
        })
    }

    /// The memory of a slot has gone back to the system.
    pub(crate) fn trimmed(&self, slot: Slot) {
        self.claims.let_go(slot.index);
        self.at_once((), |step| {
            step.set_slot(slot.index, SlotField::Touched, 0);
            step.free_last(slot.index);
        });
    }
}
