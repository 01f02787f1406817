//! How much is looked at under the lock: no more in a large buffer than in a small one.

use super::super::owner::Owner;
use super::super::table::{Label, Reserved, SlotTable, Taken, Trim};
use super::super::words::{Futex, SharedWords};
use super::limits;
use super::memory::Plain;
use crate::buffer::LaneKey;
use crate::buffer::{Arrival, Limits, Origin, Wait, Workers};
use crate::policies::{Intake, OnCrash, Overflow};
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;
use std::cell::Cell;

/// Words that count how often they are read.
struct Counted {
    words: Plain,
    reads: Cell<u64>,
    /// Where that stood when the lock was taken, and the most from there to where it was let go.
    entered: Cell<u64>,
    most: Cell<u64>,
}

impl Counted {
    fn new(words: Plain) -> Self {
        Counted { words, reads: Cell::new(0), entered: Cell::new(0), most: Cell::new(0) }
    }
}

impl SharedWords for Counted {
    fn get(&self, at: usize) -> u64 {
        self.reads.set(self.reads.get() + 1);
        self.words.get(at)
    }

    fn set(&self, at: usize, value: u64) {
        self.words.set(at, value);
    }

    fn futex(&self, futex: Futex) -> u32 {
        self.words.futex(futex)
    }

    fn change_futex(&self, futex: Futex, from: u32, to: u32) -> bool {
        self.words.change_futex(futex, from, to)
    }

    fn sleep(&self, futex: Futex, shows: u32, wait: Wait) {
        self.words.sleep(futex, shows, wait);
    }

    fn wake_all(&self, futex: Futex) {
        self.words.wake_all(futex);
    }

    fn has_lock(&self, has: bool) {
        match has {
            true => self.entered.set(self.reads.get()),
            false => self.most.set(self.most.get().max(self.reads.get() - self.entered.get())),
        }
    }
}

fn id(number: u64) -> SampleId {
    SampleId { number, part: 0 }
}

fn workers() -> Workers {
    Workers { workers: 4, ordered: true, time_limit: None }
}

/// Reads of all that happens while results come in the wrong order.
fn reads_of_early_results(capacity: usize) -> u64 {
    let limits = Limits { producers: workers(), ..limits(capacity, 1 << 20, Overflow::Block, Intake::Single) };
    let words = Plain::new(limits);
    let pipeline = SlotTable::create(words.clone(), limits);
    let producer = SlotTable::open(Counted::new(words), limits, Owner(1));
    for ticket in [3, 2, 1] {
        let origin = Origin { turn: Some(ticket), ..Origin::default() };
        let Reserved::Slot(slot) = producer.reserve_for(1, id(ticket), Arrival::Stage, origin) else {
            panic!("there is room")
        };
        let label = Label {
            id: id(ticket),
            birth: 1,
            receipt: None,
            turn: Some(ticket),
            came: 0,
            waited: None,
            fork: ForkTicket::default(),
            source: SourceId::default(),
            lane: LaneKey::default(),
        };
        producer.publish(slot, label, Arrival::Stage);
        producer.end_turn(ticket, 0);
    }
    assert_eq!(pipeline.counts().0.waiting, 3);
    producer.words().reads.get()
}

#[test]
fn early_results_cost_the_same_however_large_the_buffer_is() {
    assert_eq!(reads_of_early_results(10), reads_of_early_results(10_000));
}

#[test]
fn what_concerns_every_slot_keeps_the_lock_for_some_slots_at_a_time() {
    let limits = limits(10_000, 1 << 20, Overflow::Block, Intake::Single);
    let pipeline = SlotTable::create(Counted::new(Plain::new(limits)), limits);
    for number in 1..10 {
        let Reserved::Slot(slot) = pipeline.reserve(1, id(number), Arrival::Source) else { panic!("there is room") };
        let label = Label {
            id: id(number),
            birth: 1,
            receipt: None,
            turn: None,
            came: 0,
            waited: None,
            fork: ForkTicket::default(),
            source: SourceId::default(),
            lane: LaneKey::default(),
        };
        pipeline.publish(slot, label, Arrival::Source);
    }
    pipeline.words().most.set(0);
    assert_eq!(pipeline.forks(false).len(), 9);
    pipeline.producer_died(Owner(1));
    pipeline.consumer_died(Owner(2), OnCrash::Retry, None);
    assert!(pipeline.damage().is_none());
    let most = pipeline.words().most.get();
    assert!(most < 10_000, "{most} words were read in one step");
}

#[test]
fn looking_for_memory_to_give_back_keeps_the_lock_for_some_slots_at_a_time() {
    let limits = limits(10_000, 1 << 20, Overflow::Block, Intake::Single);
    let pipeline = SlotTable::create(Counted::new(Plain::new(limits)), limits);
    let slots: Vec<_> = (0..9_000)
        .map(|number| {
            let Reserved::Slot(slot) = pipeline.reserve(1, id(number), Arrival::Source) else {
                panic!("there is room")
            };
            slot
        })
        .collect();
    slots.into_iter().for_each(|slot| pipeline.cancel(slot));
    let Taken::Empty(..) = pipeline.take(0) else { panic!("nothing is inside") };
    let (mut from, mut trimmed, mut steps, mut most) = (0, 0, 0, 0);
    loop {
        let before = pipeline.words().reads.get();
        let trim = pipeline.next_to_trim(u64::MAX, from);
        most = most.max(pipeline.words().reads.get() - before);
        steps += 1;
        match trim {
            Trim::Slot(slot, height) => {
                pipeline.trimmed(slot);
                (from, trimmed) = (height, trimmed + 1);
            }
            Trim::GoOn(height) => from = height,
            Trim::Done => break,
        }
    }
    assert_eq!(trimmed, 9_000);
    assert!(most < 3_000, "{most} words were read in one step");
    assert!(steps < 2 * limits.slots(), "{steps} steps");
}
