//! One buffer, a process that gives, a process that takes, and the pipeline's own process that buries them.
//!
//! Whatever is done is done to the model as well, and both must agree. A process that dies has done what it was about
//! wholly or not at all.

use super::super::owner::Owner;
use super::super::table::{Label, Published, Receipt, Reserved, Slot, SlotTable, Taken, Trim, Verdict};
use super::super::words::{Futex, SharedWords};
use super::came_of;
use super::memory::{Died, Life, Mortal, Plain, unless_dead};
use super::model::{Answer, Model, Taking};
use crate::buffer::LaneKey;
use crate::buffer::{Arrival, Gate, Limits, Origin};
use crate::cuts::Cut;
use crate::ledger::Fate;
use crate::policies::OnCrash;
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;
use std::rc::Rc;

pub(super) const PRODUCER: Owner = Owner(1);
pub(super) const CONSUMER: Owner = Owner(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Producer,
    Consumer,
}

/// What may be done. What is not possible at the moment does nothing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// Asks for room for so many bytes.
    Reserve(u64),
    /// Hands in so many bytes at once.
    Put(u64),
    /// Hands in what was written first.
    Publish,
    /// Gives up what was written last.
    Cancel,
    Take,
    /// Ends what is in flight, of which so many samples are still looked at.
    Settle(usize, Fate),
    /// Ends the oldest in flight, which may still be looked at, and goes on with the others: of a batch.
    SettleFirst(bool, Fate),
    /// Looks no longer at the one held first.
    Release,
    Gate(Gate),
    /// Flushes what has come, and where a stage brings it, so many more.
    Cut(u64),
    /// Takes a slot out of use that keeps memory, and gives back the one before.
    Trim(u64),
}

impl Act {
    pub(super) fn of(self) -> Option<Who> {
        match self {
            Act::Reserve(_) | Act::Put(_) | Act::Publish | Act::Cancel => Some(Who::Producer),
            Act::Take | Act::Settle(..) | Act::SettleFirst(..) | Act::Release => Some(Who::Consumer),
            Act::Gate(_) | Act::Cut(_) | Act::Trim(_) => None,
        }
    }
}

/// Whether what a process was about when it died has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    Yes,
    No,
    /// It makes no difference.
    Either,
}

pub(super) struct World {
    memory: Plain,
    pub(super) pipeline: SlotTable<Plain>,
    producer: SlotTable<Mortal<Plain>>,
    consumer: SlotTable<Mortal<Plain>>,
    pub(super) arrival: Arrival,
    pub(super) on_crash: OnCrash,
    /// What the buffer after the consumer last received, when the consumer dies.
    pub(super) received: Option<Receipt>,
    pub(super) model: Model,
    writing: Vec<Slot>,
    in_flight: Vec<usize>,
    must_copy: bool,
    held: Vec<usize>,
    trimming: Option<Slot>,
    /// What the futexes showed to those who wait, and for how many bytes.
    waits_for_filled: Option<u32>,
    wait_for_room: Vec<(u32, u64)>,
    brought: u64,
}

fn process(memory: &Plain, limits: Limits, owner: Owner) -> SlotTable<Mortal<Plain>> {
    SlotTable::open(Mortal { words: memory.clone(), life: Rc::new(Life::default()) }, limits, owner)
}

impl World {
    /// What `put` and the source bring is brought by the pipeline's own process, which does not die.
    pub(super) fn new(limits: Limits, arrival: Arrival, on_crash: OnCrash) -> Self {
        let memory = Plain::new(limits);
        let pipeline = SlotTable::create(memory.clone(), limits);
        World {
            producer: process(&memory, limits, Self::producer_for(arrival)),
            consumer: process(&memory, limits, CONSUMER),
            memory,
            pipeline,
            arrival,
            on_crash,
            received: None,
            model: Model::new(limits),
            writing: Vec::new(),
            in_flight: Vec::new(),
            must_copy: false,
            held: Vec::new(),
            trimming: None,
            waits_for_filled: None,
            wait_for_room: Vec::new(),
            brought: 0,
        }
    }

    fn producer_for(arrival: Arrival) -> Owner {
        if arrival == Arrival::Stage { PRODUCER } else { Owner::PIPELINE }
    }

    fn limits(&self) -> Limits {
        self.model.limits
    }

    pub(super) fn life(&self, who: Who) -> &Life {
        match who {
            Who::Producer => &self.producer.words().life,
            Who::Consumer => &self.consumer.words().life,
        }
    }

    pub(super) fn can_die(&self, who: Who) -> bool {
        who == Who::Consumer || self.arrival == Arrival::Stage
    }

    /// Does it, if it is possible now.
    pub(super) fn act(&mut self, act: Act) -> Result<(), Happened> {
        match act {
            // Whoever closes a buffer has brought its last; only callers of `put` still come.
            Act::Reserve(_) | Act::Put(_) if self.arrival != Arrival::Outside && self.model.gate == Gate::Closed => {
                Ok(())
            }
            // One who writes by and by does nothing else meanwhile.
            Act::Put(_) if !self.writing.is_empty() => Ok(()),
            Act::Gate(Gate::Closed) if self.arrival != Arrival::Outside && !self.writing.is_empty() => Ok(()),
            Act::Reserve(length) => self.reserve(length),
            Act::Put(length) => self.put(length),
            Act::Publish if !self.writing.is_empty() => self.publish(),
            Act::Cancel if !self.writing.is_empty() => self.cancel(),
            Act::Take if self.in_flight.is_empty() => self.take(),
            Act::Settle(viewed, fate) if !self.in_flight.is_empty() => self.settle(viewed, fate),
            Act::SettleFirst(viewed, fate) if self.in_flight.len() > 1 && self.limits().intake.keeps_identity() => {
                self.settle_first(viewed, fate)
            }
            Act::Release if !self.held.is_empty() => self.release(),
            Act::Publish | Act::Cancel | Act::Take | Act::Settle(..) | Act::SettleFirst(..) | Act::Release => Ok(()),
            Act::Gate(gate) => {
                self.pipeline.lower_gate(gate);
                self.pipeline.wake();
                self.model.lower_gate(gate);
                self.check();
                Ok(())
            }
            Act::Cut(more) => {
                self.cut(more);
                Ok(())
            }
            Act::Trim(idle_since) => {
                self.trim(idle_since);
                Ok(())
            }
        }
    }

    /// Does all of it, by processes that live.
    pub(super) fn acts(&mut self, acts: &[Act]) {
        for act in acts {
            assert_eq!(self.act(*act), Ok(()));
        }
    }

    fn reserve(&mut self, length: u64) -> Result<(), Happened> {
        let (arrival, owner, trimming) = (self.arrival, Self::producer_for(self.arrival), self.trimming());
        let id = SampleId { number: self.brought + 1, part: 0 };
        let receipt = self.receipt(id.number);
        let (reserved, answer) = self.attempt(
            Who::Producer,
            |table| table.reserve_for(length as usize, id, arrival, Origin { receipt, ..Origin::default() }),
            |model| ask_for_room(model, length, id, arrival, owner, trimming, receipt),
        )?;
        let (is, slot) = match reserved {
            Reserved::Slot(slot) => (Answer::Slot, Some(slot)),
            Reserved::Shut => (Answer::Shut, None),
            Reserved::Late => panic!("one worker gives in order"),
            Reserved::Gone { accepted } => (Answer::Gone { accepted }, None),
            Reserved::Full(shows) => {
                self.wait_for_room.push((shows, length));
                (Answer::Full, None)
            }
        };
        assert_eq!(is, answer);
        self.brought += u64::from(matches!(is, Answer::Slot | Answer::Gone { .. }));
        self.writing.extend(slot);
        self.check();
        Ok(())
    }

    fn put(&mut self, length: u64) -> Result<(), Happened> {
        let (arrival, owner, trimming) = (self.arrival, Self::producer_for(self.arrival), self.trimming());
        let number = self.brought + 1;
        let id = SampleId { number, part: 0 };
        let receipt = self.receipt(number);
        let label = Label {
            id,
            birth: number,
            receipt,
            turn: None,
            came: 0,
            waited: None,
            fork: ForkTicket::default(),
            source: SourceId::default(),
            lane: LaneKey::default(),
        };
        let (put, answer) = self.attempt(
            Who::Producer,
            |table| table.put(length as usize, label, arrival, Ok),
            |model| match ask_for_room(model, length, id, arrival, owner, trimming, receipt) {
                Answer::Slot => model.publish(length, label, arrival, owner),
                answer => answer,
            },
        )?;
        let is = match put {
            Ok(Published::Inside(_)) => Answer::Inside,
            Ok(published) => panic!("the gate is looked at first: {published:?}"),
            Err(Reserved::Slot(_)) => panic!("it was written"),
            Err(Reserved::Shut) => Answer::Shut,
            Err(Reserved::Late) => panic!("one worker gives in order"),
            Err(Reserved::Gone { accepted }) => Answer::Gone { accepted },
            Err(Reserved::Full(shows)) => {
                self.wait_for_room.push((shows, length));
                Answer::Full
            }
        };
        assert_eq!(is, answer);
        self.brought += u64::from(matches!(is, Answer::Inside | Answer::Gone { .. }));
        self.check();
        Ok(())
    }

    /// The producer makes one of each that it takes, or many.
    fn receipt(&self, number: u64) -> Option<Receipt> {
        let parts = Some(number % 3).filter(|parts| *parts > 0);
        (self.arrival == Arrival::Stage).then_some(Receipt { ticket: number, sample: 0, parts })
    }

    fn publish(&mut self) -> Result<(), Happened> {
        let slot = self.writing.remove(0);
        let (length, arrival, owner) = (slot.length() as u64, self.arrival, Self::producer_for(self.arrival));
        let id = SampleId { number: self.brought, part: 0 };
        let receipt = (arrival == Arrival::Stage).then_some(Receipt {
            ticket: self.brought,
            sample: 0,
            parts: Some(self.brought % 3).filter(|parts| *parts > 0),
        });
        let label = Label {
            id,
            birth: self.brought,
            receipt,
            turn: None,
            came: 0,
            waited: None,
            fork: ForkTicket::default(),
            source: SourceId::default(),
            lane: LaneKey::default(),
        };
        let (published, answer) = self.attempt(
            Who::Producer,
            |table| table.publish(slot, label, arrival),
            |model| model.publish(length, label, arrival, owner),
        )?;
        let is = match published {
            Published::Inside(_) => Answer::Inside,
            Published::Discarded => Answer::Discarded,
            Published::Shut => Answer::Shut,
        };
        assert_eq!(is, answer);
        self.check();
        Ok(())
    }

    fn cancel(&mut self) -> Result<(), Happened> {
        let Some(slot) = self.writing.pop() else { return Ok(()) };
        let (length, owner) = (slot.length() as u64, Self::producer_for(self.arrival));
        self.attempt(Who::Producer, |table| table.cancel(slot), |model| model.cancel(length, owner))?;
        self.check();
        Ok(())
    }

    fn take(&mut self) -> Result<(), Happened> {
        let (taken, answer) = self.attempt(Who::Consumer, |table| table.take(0), Model::take)?;
        let is = match taken {
            Taken::Ready { slots, ticket, copy, .. } => {
                assert_eq!(ticket, self.model.ticket);
                self.must_copy = copy;
                self.in_flight = slots.iter().map(|taken| taken.slot.index()).collect();
                let ids = slots.iter().map(|taken| taken.id).collect();
                let given = slots.iter().map(|taken| taken.given).collect();
                assert!(
                    slots.iter().zip(&self.model.in_flight).all(|(is, model)| is.slot.length() as u64 == model.length)
                );
                Taking::Ready { ids, given, copy }
            }
            Taken::Empty(shows, _) => {
                self.waits_for_filled = Some(shows);
                Taking::Empty
            }
            Taken::Drained { .. } => Taking::Drained,
            Taken::Discarded => Taking::Discarded,
            Taken::Ahead(_) => panic!("one worker is never ahead"),
        };
        assert_eq!(is, answer);
        self.check();
        Ok(())
    }

    fn settle(&mut self, viewed: usize, fate: Fate) -> Result<(), Happened> {
        let viewed = if self.must_copy { 0 } else { viewed.min(self.in_flight.len()) };
        let in_flight = std::mem::take(&mut self.in_flight);
        let slots: Vec<_> = in_flight.into_iter().enumerate().map(|(index, slot)| (slot, index < viewed)).collect();
        self.attempt(
            Who::Consumer,
            |table| table.settle(&slots, came_of(fate, 0, 7000)),
            |model| model.settle(viewed, fate),
        )?;
        self.held.extend(slots.iter().filter(|(_, viewed)| *viewed).map(|(slot, _)| *slot));
        self.check();
        Ok(())
    }

    fn settle_first(&mut self, viewed: bool, fate: Fate) -> Result<(), Happened> {
        let slot = (self.in_flight.remove(0), viewed && !self.must_copy);
        let settlement = came_of(fate, 0, 7000);
        self.attempt(
            Who::Consumer,
            |table| table.settle_one(slot, settlement),
            |model| model.settle_first(slot.1, fate),
        )?;
        self.held.extend(slot.1.then_some(slot.0));
        self.check();
        Ok(())
    }

    fn release(&mut self) -> Result<(), Happened> {
        let slot = self.held.remove(0);
        self.attempt(Who::Consumer, |table| table.release(slot), Model::release)?;
        self.check();
        Ok(())
    }

    fn cut(&mut self, more: u64) {
        let number = match self.arrival {
            Arrival::Stage => self.brought + more,
            _ => self.model.buffer.entered,
        };
        self.pipeline.hold();
        self.pipeline.cut(Cut { number, source: None }, 0);
        // As who flushes does, once every buffer is cut.
        self.pipeline.wake();
        self.pipeline.let_take();
        self.model.cut(number);
        self.check();
    }

    fn trim(&mut self, idle_since: u64) {
        if let Some(slot) = self.trimming.take() {
            self.pipeline.trimmed(slot);
            self.check();
        }
        self.trimming = match self.pipeline.next_to_trim(idle_since, 0) {
            Trim::Slot(slot, _) => Some(slot),
            Trim::GoOn(_) | Trim::Done => None,
        };
        self.check();
    }

    fn trimming(&self) -> usize {
        usize::from(self.trimming.is_some())
    }

    /// Both do it, or the process dies over it.
    fn attempt<T, M>(
        &mut self,
        who: Who,
        does: impl FnOnce(&SlotTable<Mortal<Plain>>) -> T,
        modelled: impl FnOnce(&mut Model) -> M,
    ) -> Result<(T, M), Happened> {
        let table = match who {
            Who::Producer => &self.producer,
            Who::Consumer => &self.consumer,
        };
        let done = unless_dead(|| does(table));
        let mut after = self.model.clone();
        let modelled = modelled(&mut after);
        after.buffer.waiting = after.waiting.len() as u64;
        match done {
            Ok(done) => {
                self.model = after;
                Ok((done, modelled))
            }
            Err(Died) => Err(self.bury(who, after)),
        }
    }

    /// What the dead process was about happened wholly or not at all; it has a successor.
    fn bury(&mut self, who: Who, after: Model) -> Happened {
        let (on_crash, received) = (self.on_crash, self.received);
        let owner = if who == Who::Producer { PRODUCER } else { CONSUMER };
        let told = match who {
            Who::Producer => Told::Receipt(self.pipeline.producer_died(owner)),
            Who::Consumer => Told::Verdict(self.pipeline.consumer_died(owner, on_crash, received).0),
        };
        let outcomes = [self.model.clone(), after].map(|mut model| {
            let told = match who {
                Who::Producer => Told::Receipt(model.producer_died(owner)),
                Who::Consumer => Told::Verdict(model.consumer_died(on_crash, received)),
            };
            model.buffer.waiting = model.waiting.len() as u64;
            (model, told)
        });
        let is = (Model::read(&self.pipeline, self.trimming()), told);
        let happened = match (is == outcomes[0], is == outcomes[1]) {
            (true, true) => Happened::Either,
            (true, false) => Happened::No,
            (false, true) => Happened::Yes,
            (false, false) => panic!("neither all nor nothing: {is:#?} is none of {outcomes:#?}"),
        };
        self.model = is.0;
        match who {
            Who::Producer => {
                self.writing.clear();
                self.wait_for_room.clear();
                self.producer = process(&self.memory, self.limits(), PRODUCER);
            }
            Who::Consumer => {
                self.in_flight.clear();
                self.held.clear();
                self.waits_for_filled = None;
                self.consumer = process(&self.memory, self.limits(), CONSUMER);
            }
        }
        self.check();
        happened
    }

    /// At a quiet moment: the buffer is as the model says, and nobody sleeps who should not.
    fn check(&mut self) {
        assert_eq!(Model::read(&self.pipeline, self.trimming()), self.sealed(), "the buffer, and the model");
        self.memory.assert_quiet();
        self.assert_within_bounds();
        let model = self.sealed();
        if self.waits_for_filled.is_some_and(|shows| shows == self.memory.futex(Futex::NotEmpty)) {
            assert_eq!(model.clone().take(), Taking::Empty, "the consumer sleeps");
        } else {
            self.waits_for_filled = None;
        }
        let shows = self.memory.futex(Futex::NotFull);
        self.wait_for_room.retain(|(shown, _)| *shown == shows);
        for (_, length) in &self.wait_for_room {
            let (arrival, owner) = (self.arrival, Self::producer_for(self.arrival));
            let mut looks_again = model.clone();
            let in_vain =
                looks_again.reserve(*length, self.brought + 1, arrival, owner, self.trimming()) == Answer::Full;
            // A large buffer lets sleep until enough has been taken, which must be going to happen.
            let sleeps_on = model.waiting.len() > model.refill_at() && model.can_take();
            assert!((in_vain && looks_again == model) || sleeps_on, "whoever brings {length} bytes sleeps: {model:?}");
        }
    }

    fn sealed(&self) -> Model {
        let mut model = self.model.clone();
        model.buffer.waiting = model.waiting.len() as u64;
        model
    }

    /// Only what a dead worker had in flight may come on top.
    fn assert_within_bounds(&self) {
        let fresh: Vec<_> = self.model.waiting.iter().filter(|sample| !sample.is_retried()).collect();
        let (limits, bytes) = (self.limits(), fresh.iter().map(|sample| sample.length).sum::<u64>());
        assert!(fresh.len() <= limits.capacity, "{} samples in a buffer of {}", fresh.len(), limits.capacity);
        assert!(bytes <= limits.bytes, "{bytes} bytes in a buffer of {}", limits.bytes);
    }

    /// The successors of whoever died use the buffer until it has been full and empty.
    pub(super) fn goes_on(&mut self) {
        for who in [Who::Producer, Who::Consumer] {
            self.life(who).goes_on();
        }
        for _ in 0..2 {
            for _ in 0..=self.limits().capacity {
                self.acts(&[Act::Reserve(1), Act::Publish]);
            }
            self.acts(&[Act::Settle(1, Fate::Skipped), Act::Take, Act::Settle(1, Fate::Used), Act::Release]);
        }
        self.acts(&[Act::Publish, Act::Publish, Act::Gate(Gate::Closed)]);
        while self.model.can_take() {
            self.acts(&[Act::Take, Act::Settle(0, Fate::Used)]);
        }
        while !self.held.is_empty() {
            self.acts(&[Act::Release]);
        }
        let slots = self.limits().slots() - self.writing.len();
        assert_eq!(self.model.free(), slots, "every slot has come back");
        assert_eq!(self.model.waiting.len(), 0);
    }

    /// How many samples a list may have.
    pub(super) fn at_once(&self) -> usize {
        self.limits().intake.most(self.limits().capacity)
    }

    pub(super) fn is_writing(&self) -> usize {
        self.writing.len()
    }

    pub(super) fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }
}

/// What the model says to one who asks for room.
fn ask_for_room(
    model: &mut Model,
    length: u64,
    id: SampleId,
    arrival: Arrival,
    owner: Owner,
    trimming: usize,
    receipt: Option<Receipt>,
) -> Answer {
    let answer = model.reserve(length, id.number, arrival, owner, trimming);
    if answer == (Answer::Gone { accepted: false }) {
        model.drop_on_arrival(id, arrival);
    }
    if matches!(answer, Answer::Gone { .. }) {
        model.keep_receipt(receipt);
    }
    answer
}

/// What the supervisor learns from a buffer after a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Receipt(Option<Receipt>),
    Verdict(Verdict),
}
