//! Stray writes into the words of a buffer: whatever they hit, every call comes back, and nothing is handed out twice or
//! lies outside.

use super::super::layout::{HEAD, Layout, PLACE, SLOT, TOTALS};
use super::super::owner::Owner;
use super::super::state::write_sealed;
use super::super::table::{Label, Published, Receipt, Reserved, Slot, SlotTable, Taken, Verdict};
use super::super::words::{Futex, SharedWords};
use super::came_of;
use super::memory::{Looked, Plain};
use super::{Random, Told, limits, policies};
use crate::buffer::LaneKey;
use crate::buffer::damage::Damage;
use crate::buffer::policy::{Head, SlotState};
use crate::buffer::{Arrival, Gate, Limits, Origin, Workers};
use crate::ledger::Fate;
use crate::policies::{Intake, OnCrash, Overflow};
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;
use std::mem::offset_of;

/// Runs for each policy, and calls in each of them.
const SEEDS: u64 = 300;
const CALLS: usize = 60;
const WORKERS: usize = 2;

/// A process at a buffer, and what it has in its hands there.
struct Process {
    table: SlotTable<Plain>,
    writing: Vec<Slot>,
    in_flight: Vec<usize>,
    held: Vec<usize>,
    ticket: u64,
}

impl Process {
    fn new(table: SlotTable<Plain>) -> Self {
        Process { table, writing: Vec::new(), in_flight: Vec::new(), held: Vec::new(), ticket: 1 }
    }

    /// What the table hands out is a slot of this buffer, and nothing that the process has already.
    fn checks(&self, slot: &Slot) {
        let limits = self.table.limits();
        assert!(slot.index() < limits.slots() && slot.length() as u64 <= limits.bytes, "{slot:?}");
        let mut has = self.writing.iter().map(Slot::index).chain(self.in_flight.iter().chain(&self.held).copied());
        assert!(!has.any(|other| other == slot.index()), "{slot:?} twice");
    }

    fn brings(&mut self, random: &mut Random, arrival: Arrival) {
        let id = SampleId { number: random.below(9), part: 0 };
        let turn = (arrival == Arrival::Stage).then(|| 1 + random.below(6));
        let receipt = turn.map(|ticket| Receipt { ticket, sample: 0, parts: None });
        match self.table.reserve_for(
            random.below(60) as usize,
            id,
            arrival,
            Origin { turn, receipt, ..Origin::default() },
        ) {
            Reserved::Slot(slot) => {
                self.checks(&slot);
                self.writing.push(slot);
            }
            Reserved::Full(_) | Reserved::Shut | Reserved::Late | Reserved::Gone { .. } => {}
        }
        if random.one_in(3) {
            return;
        }
        let Some(slot) = self.writing.pop() else { return };
        match random.one_in(5) {
            true => self.table.cancel(slot),
            false => {
                self.table.publish(
                    slot,
                    Label {
                        id,
                        birth: 1,
                        receipt,
                        turn,
                        came: 1,
                        waited: None,
                        fork: ForkTicket::default(),
                        source: SourceId::default(),
                        lane: LaneKey::default(),
                    },
                    arrival,
                );
            }
        }
        if let Some(ticket) = turn {
            self.table.end_turn(ticket, 1);
        }
    }

    fn takes(&mut self, random: &mut Random) {
        let in_flight = std::mem::take(&mut self.in_flight);
        if !in_flight.is_empty() {
            let viewed = random.one_in(3);
            let slots: Vec<_> = in_flight.iter().map(|slot| (*slot, viewed)).collect();
            self.table.settle(&slots, came_of(Fate::Used, 0, random.below(1 << 40)));
            self.held.extend(in_flight.into_iter().filter(|_| viewed));
        }
        if let Taken::Ready { slots, ticket, .. } = self.table.take_up_to(u64::MAX, random.below(1 << 40)) {
            self.ticket = ticket;
            for taken in &slots {
                self.checks(&taken.slot);
                self.in_flight.push(taken.slot.index());
            }
        }
        if random.one_in(2)
            && let Some(slot) = self.held.pop()
        {
            self.table.release(slot);
        }
    }
}

/// A value that a word may be overwritten with: near what it was, small, or anything.
fn stray(random: &mut Random, was: u64) -> u64 {
    match random.below(6) {
        0 => was.wrapping_add(1),
        1 => was.wrapping_sub(1),
        2 => random.below(30),
        3 => u64::MAX,
        4 => 0,
        _ => random.below(u64::MAX),
    }
}

/// A buffer between a stage with several workers and another, in whose words something is written in the middle of a run.
fn run(limits: Limits, seed: u64) {
    let random = &mut Random(seed);
    let memory = Plain::new(limits);
    let pipeline = SlotTable::create(memory.clone(), limits);
    let open = |owner| Process::new(SlotTable::open(memory.clone(), limits, owner));
    let arrival = random.choice(&[Arrival::Stage, Arrival::Source, Arrival::Outside]);
    let mut bringers: Vec<Process> = (0..WORKERS).map(|worker| open(Owner::of_worker(0, worker))).collect();
    let mut consumers: Vec<Process> = (0..WORKERS).map(|worker| open(Owner::of_worker(1, worker))).collect();
    let words = limits.layout().words() as u64;
    for call in 0..CALLS {
        if call >= CALLS / 3 && random.one_in(10) {
            // The words that matter lie in front of the histograms and behind them.
            let hot = [0..160, limits.layout().slot(0) as u64..words, limits.layout().slot(0) as u64..words];
            let range = hot[random.below(3) as usize].clone();
            let at = (range.start + random.below(range.end - range.start)) as usize;
            memory.set(at, stray(random, memory.get(at)));
        }
        let worker = random.below(WORKERS as u64) as usize;
        match random.below(24) {
            0 => drop(pipeline.forks(false)),
            1 => drop(pipeline.counts()),
            2 => drop(pipeline.next_to_trim(random.below(9), random.below(9))),
            3 => drop(pipeline.look_for_damage()),
            4 => pipeline.end_windowed(random.below(2), Fate::Skipped),
            5 if random.one_in(9) => pipeline.lower_gate(random.choice(&[Gate::Closed, Gate::Discarding])),
            6 if random.one_in(4) => {
                pipeline.producer_died(Owner::of_worker(0, worker));
                bringers[worker] = open(Owner::of_worker(0, worker));
            }
            7 if random.one_in(4) => {
                let received = Some(Receipt { ticket: consumers[worker].ticket, sample: 0, parts: Some(1) });
                let on_crash = random.choice(&[OnCrash::Skip, OnCrash::Retry]);
                pipeline.consumer_died(Owner::of_worker(1, worker), on_crash, received);
                consumers[worker] = open(Owner::of_worker(1, worker));
            }
            8..16 => bringers[worker].brings(random, arrival),
            _ => consumers[worker].takes(random),
        }
    }
    pipeline.lower_gate(Gate::Discarding);
    let damage = pipeline.look_for_damage();
    let balances = pipeline.counts().0.balances();
    assert!(balances, "the counters that are told are those that added up, at the latest");
    assert_eq!(memory.futex(Futex::Lock) == 0, damage.is_none(), "nobody has the lock but damage: {damage:?}");
}

#[test]
fn a_stray_write_hangs_nobody_and_hands_out_nothing_wrong() {
    let workers = Workers { workers: WORKERS, ordered: true, time_limit: None };
    for (overflow, intake) in policies() {
        for seed in 0..SEEDS {
            let told = Told((seed, overflow, intake));
            let capacity = 1 + (seed % 4) as usize;
            run(Limits { producers: workers, consumers: workers, ..limits(capacity, 100, overflow, intake) }, seed);
            drop(told);
        }
    }
}

fn buffer() -> (SlotTable<Plain>, Plain, Limits) {
    let limits = limits(2, 100, Overflow::Block, Intake::Single);
    let memory = Plain::new(limits);
    (SlotTable::create(memory.clone(), limits), memory, limits)
}

#[test]
fn a_damaged_buffer_is_as_one_that_was_given_up_and_says_why_in_every_process() {
    let (pipeline, memory, limits) = buffer();
    let worker = SlotTable::open(memory.clone(), limits, Owner(1));
    let at = limits.layout().head() + offset_of!(Head, waiting) / 8;
    memory.set(at, 7);
    let id = SampleId { number: 1, part: 0 };
    assert!(matches!(worker.take(0), Taken::Discarded));
    assert!(matches!(pipeline.reserve(1, id, Arrival::Outside), Reserved::Shut));
    assert!(matches!(pipeline.reserve(1, id, Arrival::Source), Reserved::Gone { accepted: true }));
    assert_eq!(pipeline.gate(), Gate::Discarding);
    assert_eq!(pipeline.consumer_died(Owner(1), OnCrash::Retry, None), (Verdict::Nothing, None));
    assert_eq!((pipeline.damage(), worker.damage()), (Some(Damage::Word), Some(Damage::Word)));
}

#[test]
fn a_counter_that_was_written_over_is_found_when_the_counts_are_read() {
    let layout = buffer().2.layout();
    for at in (layout.head()..=layout.head() + HEAD).chain(layout.totals()..=layout.totals() + TOTALS) {
        let (pipeline, memory, _) = buffer();
        let before = pipeline.counts();
        memory.set(at, memory.get(at) + 1);
        assert_eq!(pipeline.counts(), before, "{at}: the last that added up");
        assert_eq!(pipeline.damage(), Some(Damage::Word), "{at}");
    }
}

/// A buffer of two workers in front of it and behind it, and a sample in it in some state.
struct InState {
    pipeline: SlotTable<Plain>,
    producer: SlotTable<Plain>,
    consumer: SlotTable<Plain>,
    memory: Plain,
    layout: Layout,
    slot: usize,
}

impl InState {
    fn new(state: SlotState) -> Self {
        let workers = Workers { workers: WORKERS, ordered: true, time_limit: None };
        let limits =
            Limits { producers: workers, consumers: workers, ..limits(2, 100, Overflow::Block, Intake::Single) };
        let memory = Plain::new(limits);
        let pipeline = SlotTable::create(memory.clone(), limits);
        let producer = SlotTable::open(memory.clone(), limits, Owner::of_worker(0, 0));
        let consumer = SlotTable::open(memory.clone(), limits, Owner::of_worker(1, 0));
        let id = SampleId { number: 1, part: 0 };
        let turn = Some(if matches!(state, SlotState::WritingOutOfOrder | SlotState::OutOfOrder) { 2 } else { 1 });
        let reserved = producer.reserve_for(7, id, Arrival::Stage, Origin { turn, ..Origin::default() });
        let Reserved::Slot(slot) = reserved else { panic!("there is room: {reserved:?}") };
        let index = slot.index();
        let label = Label {
            id,
            birth: 1,
            receipt: None,
            turn,
            came: 1,
            waited: None,
            fork: ForkTicket(5),
            source: SourceId::default(),
            lane: LaneKey::default(),
        };
        match state {
            SlotState::Free => producer.cancel(slot),
            SlotState::Writing | SlotState::WritingOutOfOrder => {}
            _ => {
                producer.publish(slot, label, Arrival::Stage);
            }
        }
        if matches!(state, SlotState::InFlight | SlotState::Viewed) {
            assert!(matches!(consumer.take(1), Taken::Ready { .. }));
        }
        if state == SlotState::Viewed {
            consumer.settle(&[(index, true)], came_of(Fate::Used, 0, 0));
        }
        let found = InState { pipeline, producer, consumer, memory, layout: limits.layout(), slot: index };
        assert!(Looked::at(&found.memory, found.layout).slots[index].is_in(state), "{state:?}");
        found
    }

    /// Does what comes next with a slot in that state.
    fn goes_on(&self, state: SlotState) {
        let id = SampleId { number: 1, part: 0 };
        match state {
            SlotState::Free => drop(self.producer.reserve(1, id, Arrival::Source)),
            SlotState::OutOfOrder => self.producer.end_turn(1, 1),
            SlotState::Waiting => drop(self.consumer.take(1)),
            SlotState::Writing | SlotState::WritingOutOfOrder => {
                self.pipeline.producer_died(Owner::of_worker(0, 0));
            }
            _ => {
                self.pipeline.consumer_died(Owner::of_worker(1, 0), OnCrash::Retry, None);
            }
        }
    }
}

const STATES: [SlotState; 7] = [
    SlotState::Free,
    SlotState::Writing,
    SlotState::WritingOutOfOrder,
    SlotState::OutOfOrder,
    SlotState::Waiting,
    SlotState::InFlight,
    SlotState::Viewed,
];

#[test]
fn a_word_of_a_slot_that_was_written_over_is_found_before_anything_follows_from_it() {
    for state in STATES {
        let first = InState::new(state);
        first.goes_on(state);
        assert_eq!(first.pipeline.look_for_damage(), None, "{state:?}");
        let at = first.layout.slot(first.slot);
        for at in at..=at + SLOT {
            for bit in [0, 8, 24, 40, 63] {
                let buffer = InState::new(state);
                buffer.memory.set(at, buffer.memory.get(at) ^ 1 << bit);
                buffer.goes_on(state);
                assert!(buffer.pipeline.damage().is_some(), "{state:?}: word {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_word_of_a_place_that_was_written_over_is_found_before_anything_follows_from_it() {
    for word in 0..=PLACE {
        let buffer = InState::new(SlotState::InFlight);
        let at = buffer.layout.place(Owner::of_worker(1, 0).place()) + word;
        buffer.memory.set(at, buffer.memory.get(at) ^ 2);
        assert_eq!(
            buffer.pipeline.consumer_died(Owner::of_worker(1, 0), OnCrash::Retry, None),
            (Verdict::Nothing, None)
        );
        assert_eq!(buffer.pipeline.damage(), Some(Damage::Word), "word {word}");
    }
}

#[test]
fn a_drop_or_an_end_that_was_written_over_is_found_when_the_counts_are_read() {
    let (_, _, limits) = buffer();
    for word in 0..=limits.layout().in_rings() {
        let (pipeline, memory, limits) = buffer();
        let at = limits.layout().rings() + word;
        memory.set(at, memory.get(at) ^ 1);
        pipeline.counts();
        assert_eq!(pipeline.damage(), Some(Damage::Word), "word {word}");
    }
}

#[test]
fn a_gate_that_nobody_lowered_is_found() {
    let (pipeline, memory, limits) = buffer();
    memory.set(limits.layout().head() + offset_of!(Head, gate) / 8, Gate::Discarding as u64);
    assert_eq!(pipeline.look_for_damage(), Some(Damage::Word));
}

#[test]
fn a_lock_in_the_hands_of_nobody_is_damage_and_no_wait() {
    let (pipeline, memory, _) = buffer();
    assert!(memory.change_futex(Futex::Lock, 0, 0x7fff_1234));
    pipeline.wake();
    assert_eq!(pipeline.damage(), Some(Damage::Lock));
}

#[test]
fn what_is_made_for_the_dead_stays_inside_of_the_buffer() {
    for (count, at) in [(u64::from(u32::MAX), 0), (1, 1 << 40), (1, u64::MAX)] {
        let (pipeline, memory, limits) = buffer();
        let progress = limits.layout().progress(Owner(1));
        memory.set(progress, count);
        memory.set(limits.layout().log(Owner(1), 0), at);
        assert!(memory.change_futex(Futex::Lock, 0, 2), "the lock is in the hands of owner 1 now");
        pipeline.producer_died(Owner(1));
        assert_eq!(pipeline.damage(), Some(Damage::Step));
    }
}

#[test]
fn a_slot_is_never_in_the_hands_of_two_whatever_the_words_say() {
    let (pipeline, memory, limits) = buffer();
    let id = SampleId { number: 1, part: 0 };
    let label = Label {
        id,
        birth: 1,
        receipt: None,
        turn: None,
        came: 0,
        waited: None,
        fork: ForkTicket::default(),
        source: SourceId::default(),
        lane: LaneKey::default(),
    };
    for _ in 0..2 {
        let Reserved::Slot(slot) = pipeline.reserve(1, id, Arrival::Outside) else { panic!("there is room") };
        assert!(matches!(pipeline.publish(slot, label, Arrival::Outside), Published::Inside(_)));
    }
    let Taken::Ready { slots, .. } = pipeline.take(0) else { panic!("two are inside") };
    // The queue names the slot in flight, which says that it waits.
    let (layout, taken) = (limits.layout(), slots[0].slot.index());
    let mut looked = Looked::at(&memory, layout);
    looked.head.waiting.first = taken as u64 + 1;
    looked.slots[taken].state = SlotState::Waiting as u64;
    write_sealed::<_, HEAD>(&memory, layout.head(), bytemuck::cast(looked.head));
    write_sealed::<_, SLOT>(&memory, layout.slot(taken), bytemuck::cast(looked.slots[taken]));
    assert!(matches!(pipeline.take(0), Taken::Discarded));
    assert_eq!(pipeline.damage(), Some(Damage::Twice));
}
