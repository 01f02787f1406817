//! Threads over one buffer, in every order that loom can think of within some preemptions. A lost wake-up is a deadlock
//! here, and a slot in two hands a data race; loom finds both.

use super::super::owner::Owner;
use super::super::table::{Label, Published, Receipt, Reserved, Slot, SlotTable, Taken, Verdict};
use super::super::words::{Futex, SharedWords};
use super::came_of;
use super::limits;
use super::memory::{Died, Loomed, Seen, unless_dead};
use super::model::Model;
use crate::buffer::{Arrival, Gate, LaneKey, LaneOptions, Limits, Wait};
use crate::cuts::Cut;
use crate::ledger::Fate;
use crate::policies::{Intake, OnCrash, Overflow};
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;
use ::loom::model::Builder;
use ::loom::thread::{JoinHandle, spawn};
use parking_lot::Mutex;
use std::sync::Arc;

const PRODUCER: Owner = Owner(1);
const CONSUMER: Owner = Owner(2);

/// A process's view of the buffer.
struct Process(SlotTable<Seen>);

impl Process {
    fn new(memory: &Arc<Loomed>, limits: Limits, owner: Owner) -> Self {
        Process(SlotTable::open(Seen::new(memory), limits, owner))
    }

    fn memory(&self) -> &Loomed {
        &self.0.words().memory
    }

    /// Brings a sample and waits for room; false when the buffer is shut.
    fn brings(&self, number: u64, arrival: Arrival) -> bool {
        let id = SampleId { number, part: 0 };
        let slot = loop {
            match self.0.reserve(1, id, arrival) {
                Reserved::Slot(slot) => break slot,
                Reserved::Full(shows) => self.0.words().sleep(Futex::NotFull, shows, Wait::Forever),
                Reserved::Gone { .. } => return true,
                Reserved::Shut | Reserved::Late => return false,
            }
        };
        self.memory().write_slot(slot.index(), number);
        let receipt = Some(Receipt { ticket: number, sample: 0, parts: None });
        self.0.publish(
            slot,
            Label {
                id,
                birth: 1,
                receipt,
                turn: None,
                came: 0,
                waited: None,
                fork: ForkTicket::default(),
                source: SourceId::default(),
                lane: LaneKey::default(),
            },
            arrival,
        ) != Published::Shut
    }

    /// Does the same in one change.
    fn puts(&self, number: u64, arrival: Arrival) -> bool {
        self.puts_by(number, arrival, SourceId::default(), LaneKey::default())
    }

    /// The same by an entrance of its own.
    fn puts_by(&self, number: u64, arrival: Arrival, source: SourceId, lane: LaneKey) -> bool {
        let (id, receipt) = (SampleId { number, part: 0 }, Some(Receipt { ticket: number, sample: 0, parts: None }));
        let label = Label {
            id,
            birth: 1,
            receipt,
            turn: None,
            came: 0,
            waited: None,
            fork: ForkTicket::default(),
            source,
            lane,
        };
        loop {
            let write = |slot: Slot| {
                self.memory().write_slot(slot.index(), number);
                Ok(slot)
            };
            match self.0.put(1, label, arrival, write) {
                Ok(published) => return published != Published::Shut,
                Err(Reserved::Full(shows)) => self.0.words().sleep(Futex::NotFull, shows, Wait::Forever),
                Err(Reserved::Gone { .. }) => return true,
                Err(Reserved::Slot(_) | Reserved::Shut | Reserved::Late) => return false,
            }
        }
    }

    /// Takes what there is to take, waiting for it; nothing at the end.
    fn takes(&self) -> Vec<u64> {
        loop {
            match self.0.take(0) {
                Taken::Ready { slots, .. } => {
                    let values = slots.iter().map(|taken| self.memory().read_slot(taken.slot.index())).collect();
                    let settled: Vec<_> = slots.iter().map(|taken| (taken.slot.index(), false)).collect();
                    self.0.settle(&settled, came_of(Fate::Used, 0, 0));
                    return values;
                }
                Taken::Empty(shows, _) => self.0.words().sleep(Futex::NotEmpty, shows, Wait::Forever),
                Taken::Drained { .. } | Taken::Discarded | Taken::Ahead(_) => return Vec::new(),
            }
        }
    }

    /// Takes until the end.
    fn takes_all(&self) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            match self.takes() {
                values if values.is_empty() => return all,
                values => all.extend(values),
            }
        }
    }
}

/// The buffer, as the thread that has created it sees it.
struct Buffer {
    memory: Arc<Loomed>,
    limits: Limits,
    pipeline: Process,
}

impl Buffer {
    fn new(capacity: usize, overflow: Overflow, intake: Intake) -> Self {
        Buffer::with(limits(capacity, 100, overflow, intake))
    }

    fn with(limits: Limits) -> Self {
        let memory = Loomed::new(limits);
        let pipeline = Process(SlotTable::create(Seen::new(&memory), limits));
        Buffer { memory, limits, pipeline }
    }

    fn spawn<T: 'static>(&self, owner: Owner, does: impl FnOnce(&Process) -> T + 'static) -> JoinHandle<T> {
        let (memory, limits) = (Arc::clone(&self.memory), self.limits);
        spawn(move || does(&Process::new(&memory, limits, owner)))
    }

    /// The counts hang together, and nothing leaks.
    fn ends(&self) -> Model {
        Model::read(&self.pipeline.0, 0)
    }
}

/// `LOOM_MAX_PREEMPTIONS=n cargo test -p deeppipeline --features processes --lib loom` looks deeper.
fn check(preemptions: usize, threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 5_000;
    builder.check(threads);
}

#[test]
fn block_loses_nothing_and_nobody_sleeps_forever() {
    check(3, || {
        let buffer = Buffer::new(1, Overflow::Block, Intake::Single);
        let producer = buffer
            .spawn(PRODUCER, |producer| (1..=3).for_each(|number| assert!(producer.brings(number, Arrival::Stage))));
        let taken: Vec<_> = (0..3).flat_map(|_| buffer.pipeline.takes()).collect();
        producer.join().expect("it lives");
        assert_eq!(taken, [1, 2, 3]);
        assert_eq!(buffer.ends().stage.used, 3);
    });
}

#[test]
fn what_is_put_at_once_is_torn_by_nobody_and_nobody_sleeps_forever() {
    check(3, || {
        let buffer = Buffer::new(1, Overflow::Block, Intake::Single);
        let producer = buffer
            .spawn(PRODUCER, |producer| (1..=3).for_each(|number| assert!(producer.puts(number, Arrival::Stage))));
        let taken: Vec<_> = (0..3).flat_map(|_| buffer.pipeline.takes()).collect();
        producer.join().expect("it lives");
        assert_eq!(taken, [1, 2, 3]);
        assert_eq!(buffer.ends().stage.used, 3);
    });
}

#[test]
fn drop_oldest_tears_nothing_and_counts_what_it_drops() {
    check(3, || {
        let buffer = Buffer::new(1, Overflow::DropOldest, Intake::Single);
        let consumer = buffer.spawn(CONSUMER, Process::takes_all);
        assert!((1..=3).all(|number| buffer.pipeline.brings(number, Arrival::Source)));
        buffer.pipeline.0.lower_gate(Gate::Closed);
        buffer.pipeline.0.wake();
        let taken = consumer.join().expect("it lives");
        assert!(taken.is_sorted_by(|one, next| one < next), "{taken:?}");
        assert_eq!(taken.last(), Some(&3), "the newest is never dropped");
        assert_eq!(buffer.ends().buffer.dropped_oldest, 3 - taken.len() as u64);
    });
}

#[test]
fn latest_is_woken_and_passes_over_what_is_older() {
    check(3, || {
        let buffer = Buffer::new(2, Overflow::DropOldest, Intake::Latest);
        let consumer = buffer.spawn(CONSUMER, Process::takes_all);
        assert!((1..=2).all(|number| buffer.pipeline.brings(number, Arrival::Source)));
        buffer.pipeline.0.lower_gate(Gate::Closed);
        buffer.pipeline.0.wake();
        let taken = consumer.join().expect("it lives");
        assert!(matches!(taken[..], [1, 2] | [2]), "{taken:?}");
        assert_eq!(buffer.ends().buffer.superseded, 2 - taken.len() as u64);
    });
}

#[test]
fn two_callers_of_put_and_one_who_takes_lists_all_get_on() {
    check(3, || {
        let buffer = Buffer::new(2, Overflow::Block, Intake::All);
        let putters = [1, 2]
            .map(|number| buffer.spawn(Owner::PIPELINE, move |pipeline| pipeline.brings(number, Arrival::Outside)));
        let mut taken = buffer.pipeline.takes();
        taken.sort_unstable();
        assert_eq!(taken, [1, 2], "a list of two is handed over when both are inside");
        putters.into_iter().for_each(|putter| assert!(putter.join().expect("it lives")));
        assert_eq!(buffer.ends().stage.absorbed, 1);
    });
}

#[test]
fn whoever_waits_for_room_when_the_entrance_closes_gets_the_sample_back() {
    check(5, || {
        let buffer = Buffer::new(1, Overflow::Block, Intake::Single);
        let putter = buffer.spawn(Owner::PIPELINE, |pipeline| {
            (1..=2).filter(|number| pipeline.brings(*number, Arrival::Outside)).count()
        });
        buffer.pipeline.0.lower_gate(Gate::Closed);
        buffer.pipeline.0.wake();
        let inside = putter.join().expect("it lives");
        assert_eq!(buffer.pipeline.takes_all().len(), inside);
        assert_eq!(buffer.ends().buffer.entered, inside as u64);
    });
}

/// A buffer with room for one sample by each of two entrances, and these.
fn with_two_lanes() -> (Buffer, [LaneKey; 2]) {
    let buffer = Buffer::with(Limits { lanes: 2, ..limits(1, 100, Overflow::Block, Intake::Single) });
    let options = LaneOptions { overflow: Overflow::Block, max_age: None };
    let lanes = [(); 2].map(|()| buffer.pipeline.0.open_lane(options).expect("there may be two"));
    (buffer, lanes)
}

#[test]
fn whoever_waits_for_room_in_one_lane_is_not_passed_over_for_one_in_another() {
    check(2, || {
        let (buffer, lanes) = with_two_lanes();
        let putters = [(lanes[0], vec![1, 2]), (lanes[1], vec![11])].map(|(lane, numbers)| {
            buffer.spawn(Owner::PIPELINE, move |pipeline| {
                numbers.into_iter().for_each(|number| {
                    assert!(pipeline.puts_by(number, Arrival::Outside, SourceId::default(), lane));
                });
            })
        });
        let mut taken: Vec<_> = (0..3).flat_map(|_| buffer.pipeline.takes()).collect();
        putters.into_iter().for_each(|putter| putter.join().expect("it lives"));
        assert!(taken.iter().filter(|number| **number < 10).is_sorted(), "{taken:?}");
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 11]);
        let counts = lanes.map(|lane| buffer.pipeline.0.lane_counts(lane).expect("it is open").taken);
        assert_eq!(counts, [2, 1]);
    });
}

#[test]
fn a_flush_of_one_source_wakes_whoever_waits_for_its_room_and_takes_nothing_of_another() {
    check(2, || {
        let (buffer, [north, south]) = with_two_lanes();
        let [of_north, of_south] = [SourceId::from_word(2), SourceId::from_word(4)];
        assert!(buffer.pipeline.puts_by(11, Arrival::Outside, of_south, south));
        let putter = buffer.spawn(Owner::PIPELINE, move |pipeline| {
            (1..=2).for_each(|number| assert!(pipeline.puts_by(number, Arrival::Outside, of_north, north)));
        });
        let number = buffer.pipeline.0.hold();
        buffer.pipeline.0.cut(Cut { number, source: Some(of_north) }, 0);
        buffer.pipeline.0.wake();
        buffer.pipeline.0.let_take();
        let flushed = buffer.pipeline.0.counts().0.flushed;
        let taken: Vec<_> = (0..3 - flushed).flat_map(|_| buffer.pipeline.takes()).collect();
        putter.join().expect("it lives");
        assert!(taken.contains(&11), "{taken:?}");
        assert_eq!(taken.len() as u64, 3 - flushed);
        assert_eq!(buffer.pipeline.0.lane_counts(north).expect("it is open").flushed, flushed);
    });
}

/// The steps of a process at which a death could make a difference to others.
fn steps_that_matter(does: impl Fn(&Process) + Send + Sync + 'static, before: fn(&Buffer)) -> Vec<u64> {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&steps);
    check(0, move || {
        let buffer = Buffer::new(1, Overflow::Block, Intake::Single);
        before(&buffer);
        let process = Process::new(&buffer.memory, buffer.limits, PRODUCER);
        does(&process);
        *told.lock() = process.0.words().life.steps_at_futexes();
    });
    let steps = steps.lock();
    steps.clone()
}

/// Lives for so many steps.
fn mortal<T>(process: &Process, steps: u64, does: impl FnOnce(&Process) -> T) -> Result<T, Died> {
    process.0.words().life.ends_after(steps);
    unless_dead(|| does(process))
}

fn take_one(process: &Process) {
    assert_eq!(process.takes().len(), 1);
}

#[test]
fn a_consumer_that_dies_leaves_a_buffer_that_goes_on() {
    let one_inside = |buffer: &Buffer| assert!(buffer.pipeline.brings(1, Arrival::Source));
    for step in steps_that_matter(take_one, one_inside) {
        check(3, move || {
            let buffer = Buffer::new(1, Overflow::Block, Intake::Single);
            one_inside(&buffer);
            let consumer = buffer.spawn(CONSUMER, move |consumer| mortal(consumer, step, take_one).is_err());
            let producer = buffer.spawn(PRODUCER, |producer| assert!(producer.brings(2, Arrival::Stage)));
            let died = consumer.join().expect("a death is caught");
            let verdict =
                if died { buffer.pipeline.0.consumer_died(CONSUMER, OnCrash::Retry, None).0 } else { Verdict::Nothing };
            assert!(matches!(verdict, Verdict::Retried(_) | Verdict::Nothing));
            let used = buffer.pipeline.0.counts().1.used;
            let taken: Vec<_> = (used..2).flat_map(|_| buffer.pipeline.takes()).collect();
            producer.join().expect("it lives");
            assert_eq!(taken, if used == 0 { vec![1, 2] } else { vec![2] });
            assert_eq!(buffer.ends().stage.used, 2);
        });
    }
}

fn bring_one(process: &Process) {
    assert!(process.brings(1, Arrival::Stage));
}

#[test]
fn a_producer_that_dies_leaves_a_buffer_that_goes_on() {
    for step in steps_that_matter(bring_one, |_| {}) {
        check(3, move || {
            let buffer = Buffer::new(1, Overflow::Block, Intake::Single);
            let producer = buffer.spawn(PRODUCER, move |producer| mortal(producer, step, bring_one).is_err());
            let consumer = buffer.spawn(CONSUMER, Process::takes_all);
            let died = producer.join().expect("a death is caught");
            let receipt = if died {
                buffer.pipeline.0.producer_died(PRODUCER)
            } else {
                Some(Receipt { ticket: 1, sample: 0, parts: None })
            };
            let successor = Process::new(&buffer.memory, buffer.limits, PRODUCER);
            assert!(successor.brings(2, Arrival::Stage));
            buffer.pipeline.0.lower_gate(Gate::Closed);
            buffer.pipeline.0.wake();
            let taken = consumer.join().expect("it lives");
            assert_eq!(taken, if receipt.is_some() { vec![1, 2] } else { vec![2] });
            assert_eq!(buffer.ends().buffer.entered, taken.len() as u64);
        });
    }
}

#[test]
fn two_who_die_at_once_are_buried_by_two() {
    let one_inside = |buffer: &Buffer| assert!(buffer.pipeline.brings(1, Arrival::Source));
    let bring_two = |producer: &Process| assert!(producer.brings(2, Arrival::Stage));
    for consumer_dies in steps_that_matter(take_one, one_inside) {
        for producer_dies in steps_that_matter(bring_one, |_| {}) {
            check(1, move || {
                let buffer = Buffer::new(2, Overflow::Block, Intake::Single);
                one_inside(&buffer);
                let consumer =
                    buffer.spawn(CONSUMER, move |consumer| mortal(consumer, consumer_dies, take_one).is_err());
                let producer =
                    buffer.spawn(PRODUCER, move |producer| mortal(producer, producer_dies, bring_two).is_err());
                let other_watcher = buffer.spawn(Owner::PIPELINE, move |pipeline| {
                    if producer.join().expect("a death is caught") {
                        pipeline.0.producer_died(PRODUCER);
                    }
                });
                if consumer.join().expect("a death is caught") {
                    buffer.pipeline.0.consumer_died(CONSUMER, OnCrash::Retry, None);
                }
                other_watcher.join().expect("it lives");
                buffer.pipeline.0.lower_gate(Gate::Closed);
                buffer.pipeline.0.wake();
                buffer.pipeline.takes_all();
                let ends = buffer.ends();
                assert_eq!(ends.stage.used, ends.buffer.entered);
            });
        }
    }
}
