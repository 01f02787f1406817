//! Several entrances in shared memory: whatever a worker dies over, each lane's counts add up, together they are those of
//! the buffer, and each lane's samples come in order.

use super::super::table::{Label, Published, SlotTable, Taken};
use super::memory::{Died, Life, Mortal, Plain, unless_dead};
use super::world::CONSUMER;
use super::{INTAKES, Random, Told, came_of, limits};
use crate::buffer::{Arrival, Gate, LaneKey, LaneOptions, Limits};
use crate::ledger::{BufferCounts, Fate};
use crate::policies::{Intake, OnCrash, Overflow};
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;
use std::rc::Rc;

const LANES: usize = 3;

fn with_lanes(overflow: Overflow, intake: Intake) -> Limits {
    Limits { lanes: LANES, ..limits(2, 1000, overflow, intake) }
}

struct World {
    memory: Plain,
    limits: Limits,
    pipeline: SlotTable<Plain>,
    consumer: SlotTable<Mortal<Plain>>,
    lanes: Vec<LaneKey>,
    in_flight: Vec<(usize, u64)>,
    /// The last sample of each lane that was taken for good, by its birth: samples are born in order.
    last: Vec<u64>,
    brought: u64,
}

fn consumer(memory: &Plain, limits: Limits) -> SlotTable<Mortal<Plain>> {
    SlotTable::open(Mortal { words: memory.clone(), life: Rc::new(Life::default()) }, limits, CONSUMER)
}

impl World {
    fn new(limits: Limits) -> Self {
        let memory = Plain::new(limits);
        let pipeline = SlotTable::create(memory.clone(), limits);
        let options = LaneOptions { overflow: limits.overflow, max_age: None };
        let lanes = (0..LANES).map(|_| pipeline.open_lane(options).unwrap()).collect();
        assert_eq!(pipeline.open_lane(options), None, "there is no fourth");
        let consumer = consumer(&memory, limits);
        let (in_flight, last) = (Vec::new(), vec![0; LANES]);
        World { memory, limits, pipeline, consumer, lanes, in_flight, last, brought: 0 }
    }

    fn put(&mut self, lane: usize) {
        self.brought += 1;
        let label = Label {
            id: SampleId { number: 0, part: 0 },
            // The lane is told by what is left of the birth, so that it is known of what was taken.
            birth: self.brought * LANES as u64 + lane as u64,
            receipt: None,
            turn: None,
            came: 0,
            waited: None,
            fork: ForkTicket::default(),
            source: SourceId::default(),
            lane: self.lanes[lane],
        };
        let put = self.pipeline.put(20, label, Arrival::Outside, Ok);
        assert!(matches!(put, Ok(Published::Inside(_)) | Err(_)), "{put:?}");
        self.check();
    }

    /// Takes or settles, and returns true if the worker died over it; then it has a successor.
    fn work(&mut self) -> bool {
        let (in_flight, used) = (std::mem::take(&mut self.in_flight), self.used());
        let slots: Vec<_> = in_flight.iter().map(|(slot, _)| (*slot, false)).collect();
        let done = unless_dead(|| match slots.is_empty() {
            true => Some(self.consumer.take(u64::MAX / 2)),
            false => {
                self.consumer.settle(&slots, came_of(Fate::Used, 0, 1));
                None
            }
        });
        let has_died = done.is_err();
        match done {
            Ok(Some(Taken::Ready { slots, .. })) => {
                self.in_flight = slots.iter().map(|taken| (taken.slot.index(), taken.birth)).collect();
            }
            Ok(Some(_)) => {}
            Ok(None) => in_flight.iter().for_each(|(_, birth)| self.is_used(*birth)),
            Err(Died) => {
                self.pipeline.consumer_died(CONSUMER, OnCrash::Retry, None);
                self.consumer = consumer(&self.memory, self.limits);
                // What it was about to settle is settled, or waits in front to be tried again, or is lost.
                if !in_flight.is_empty() && self.used() == used + in_flight.len() as u64 {
                    in_flight.iter().for_each(|(_, birth)| self.is_used(*birth));
                }
            }
        }
        self.check();
        has_died
    }

    fn used(&self) -> u64 {
        self.pipeline.counts().1.used
    }

    fn is_used(&mut self, birth: u64) {
        let lane = (birth % LANES as u64) as usize;
        assert!(birth > self.last[lane], "{:?}: a sample of lane {lane} comes after a later one", self.limits.intake);
        self.last[lane] = birth;
    }

    fn check(&self) {
        let (buffer, _) = self.pipeline.counts();
        let mut sum = BufferCounts::default();
        for lane in &self.lanes {
            let counts = self.pipeline.lane_counts(*lane).unwrap();
            assert!(counts.balances(), "{counts:?}");
            sum.add(&counts);
        }
        sum.last_dropped.clone_from(&buffer.last_dropped);
        assert_eq!(sum, buffer);
        assert_eq!(self.pipeline.look_for_damage(), None);
    }

    /// Lets everything flow out.
    fn drain(&mut self) {
        self.consumer.words().life.goes_on();
        self.pipeline.lower_gate(Gate::Closed);
        for _ in 0..100 {
            self.work();
        }
        for lane in &self.lanes {
            assert_eq!(self.pipeline.lane_counts(*lane).unwrap().waiting, 0);
            self.pipeline.close_lane(*lane);
            assert!(self.pipeline.free_lane(*lane).is_some());
            assert_eq!(self.pipeline.lane_counts(*lane), None);
        }
    }
}

#[test]
fn a_death_at_any_step_leaves_the_counts_of_every_lane() {
    for overflow in Overflow::ALL {
        for intake in INTAKES.into_iter().filter(|intake| !matches!(intake, Intake::Window { .. })) {
            for works_before in 0..3 {
                for step in 0.. {
                    let told = Told((overflow, intake, works_before, step));
                    let mut world = World::new(with_lanes(overflow, intake));
                    for lane in [0, 1, 0, 2, 0, 1] {
                        world.put(lane);
                    }
                    (0..works_before).for_each(|_| assert!(!world.work()));
                    world.consumer.words().life.ends_after(step);
                    let has_died = world.work();
                    world.drain();
                    drop(told);
                    if !has_died {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn lanes_are_served_in_turn() {
    let mut world = World::new(with_lanes(Overflow::Block, Intake::Single));
    for lane in [0, 0, 1, 2, 2] {
        world.put(lane);
    }
    let mut order = Vec::new();
    while order.len() < 5 {
        world.work();
        order.extend(world.in_flight.iter().map(|(_, birth)| birth % LANES as u64));
        world.work();
    }
    assert_eq!(order, [0, 1, 2, 0, 2]);
    world.drain();
}

#[test]
fn random_lives_of_several_lanes_add_up() {
    for seed in 0..200 {
        let told = Told(seed);
        let mut random = Random(seed);
        let intakes: Vec<_> = INTAKES.into_iter().filter(|intake| !matches!(intake, Intake::Window { .. })).collect();
        let limits = with_lanes(random.choice(&Overflow::ALL), random.choice(&intakes));
        let mut world = World::new(limits);
        for _ in 0..100 {
            match random.below(3) {
                0 => world.put(random.below(LANES as u64) as usize),
                1 => drop(world.work()),
                _ => {
                    world.consumer.words().life.ends_after(random.below(150));
                    world.work();
                    world.consumer.words().life.goes_on();
                }
            }
        }
        world.drain();
        drop(told);
    }
}
