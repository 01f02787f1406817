//! What becomes of samples while nobody dies: the table does what the model does, and what a buffer in memory does.

use super::super::table::{Label, Published, Reserved, SlotTable, Taken};
use super::came_of;
use super::memory::Plain;
use super::world::{Act, World};
use super::{INTAKES, Random, Told, limits, policies};
use crate::buffer::{Arrival, Gate, Limits, Push, Take, Unsettled, Wait, local};
use crate::buffer::{LaneKey, Origin};
use crate::clock::{Clock, Moment};
use crate::ledger::Fate;
use crate::policies::{Intake, OnCrash, Overflow};
use crate::sample::{ForkTicket, Input, Sample, SampleId};
use crate::source_id::SourceId;

const SEEDS: u64 = 20;
const STEPS: usize = 300;
const ARRIVALS: [Arrival; 3] = [Arrival::Stage, Arrival::Source, Arrival::Outside];
const FATES: [Fate; 4] = [Fate::Used, Fate::Skipped, Fate::Failed, Fate::Lost];

impl World {
    /// Something that somebody may do now.
    pub(super) fn random_act(&self, random: &mut Random) -> Act {
        let writers = if self.arrival == Arrival::Outside { 4 } else { 1 };
        match random.below(40) {
            0..14 if self.is_writing() < writers => {
                let largest = if random.one_in(3) { 100 } else { 33 };
                let length = random.below(largest + 1);
                if self.is_writing() == 0 && random.one_in(2) { Act::Put(length) } else { Act::Reserve(length) }
            }
            0..25 => Act::Publish,
            25 => Act::Cancel,
            26..36 if self.has_in_flight() && random.one_in(3) => {
                Act::SettleFirst(random.one_in(2), random.choice(&FATES))
            }
            26..36 if self.has_in_flight() => {
                let viewed = if random.one_in(2) { random.below(self.at_once() as u64 + 1) } else { 0 };
                Act::Settle(viewed as usize, random.choice(&FATES))
            }
            26..36 => Act::Take,
            36..38 => Act::Release,
            38 => Act::Trim(random.below(100)),
            _ if random.one_in(8) => Act::Cut(random.below(3)),
            _ if random.one_in(40) => Act::Gate(random.choice(&[Gate::Closed, Gate::Discarding])),
            _ => Act::Take,
        }
    }
}

pub(super) fn random_limits(random: &mut Random, overflow: Overflow, intake: Intake) -> Limits {
    limits(random.choice(&[1, 2, 3, 4, 9]), random.choice(&[100, 1 << 40]), overflow, intake)
}

#[test]
fn every_sample_has_the_fate_that_the_policy_gives_it() {
    for (overflow, intake) in policies() {
        for arrival in ARRIVALS {
            for seed in 0..SEEDS {
                let told = Told((seed, overflow, intake, arrival));
                let mut random = Random(seed);
                let mut world = World::new(random_limits(&mut random, overflow, intake), arrival, OnCrash::Skip);
                for _ in 0..STEPS {
                    let act = world.random_act(&mut random);
                    world.acts(&[act]);
                }
                world.goes_on();
                drop(told);
            }
        }
    }
}

/// Both buffers, fed and emptied in the same way.
struct Both {
    shared: SlotTable<Plain>,
    local: local::Buffer<()>,
    arrival: Arrival,
    brought: u64,
}

impl Both {
    fn push(&mut self) {
        self.brought += 1;
        let id = SampleId { number: 1 + self.brought / 3, part: self.brought % 3 };
        let pushed = match self.local.push(
            Sample { id, birth: Moment::now(), fork: ForkTicket::default(), source: SourceId::default(), value: () },
            self.arrival,
            Origin::default(),
            Wait::No,
        ) {
            Push::Done { accepted, .. } => format!("accepted: {accepted}"),
            Push::Discarded(()) => "accepted: true".to_owned(),
            Push::Full(()) => "full".to_owned(),
            Push::Shut(()) => "shut".to_owned(),
            Push::Refused(..) => "refused".to_owned(),
            Push::Late(()) => "late".to_owned(),
        };
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
        // One by and by, one at once.
        let put = match self.brought.is_multiple_of(2) {
            true => self.shared.put(1, label, self.arrival, Ok),
            false => match self.shared.reserve(1, id, self.arrival) {
                Reserved::Slot(slot) => Ok(self.shared.publish(slot, label, self.arrival)),
                reserved => Err(reserved),
            },
        };
        let shared = match put {
            Ok(Published::Inside(_) | Published::Discarded) => "accepted: true".to_owned(),
            Ok(Published::Shut) | Err(Reserved::Shut) => "shut".to_owned(),
            Err(Reserved::Slot(_)) => panic!("it was written"),
            Err(Reserved::Full(_)) => "full".to_owned(),
            Err(Reserved::Late) => "late".to_owned(),
            Err(Reserved::Gone { accepted }) => format!("accepted: {accepted}"),
        };
        assert_eq!(shared, pushed);
    }

    fn take(&mut self) {
        let ids = |samples: Vec<Sample<()>>| samples.iter().map(|sample| sample.id).collect();
        let taken = match self.local.take(0, &mut None, u64::MAX, Wait::No) {
            Take::Ready { input, taken, .. } => {
                let settlement = came_of(Fate::Used, 0, 0);
                if taken.members.as_ref().is_some_and(|members| members.len() > 1) {
                    self.local.settle_first(0, taken.ticket, came_of(Fate::Skipped, 0, 0));
                }
                self.local.settle(0, Unsettled { ticket: taken.ticket, lease: None, settlement });
                Ok(match input {
                    Input::One(sample) => ids(vec![sample]),
                    Input::List(list) => ids(list),
                })
            }
            Take::Empty => Err("empty"),
            Take::Drained { .. } => Err("drained"),
            Take::Discarded => Err("discarded"),
            Take::Expired(_) => Err("expired"),
            Take::Ahead(_) => Err("ahead"),
            Take::Update => Err("update"),
            Take::Unreadable { .. } => Err("unreadable"),
        };
        let shared = match self.shared.take(0) {
            Taken::Ready { slots, .. } => {
                let settled: Vec<_> = slots.iter().map(|taken| (taken.slot.index(), false)).collect();
                let keeps_identity = self.shared.limits().intake.keeps_identity();
                let (first, others) = settled.split_at(usize::from(keeps_identity && settled.len() > 1));
                first.iter().for_each(|slot| self.shared.settle_one(*slot, came_of(Fate::Skipped, 0, 0)));
                self.shared.settle(others, came_of(Fate::Used, 0, 0));
                Ok(slots.iter().map(|taken| taken.id).collect::<Vec<_>>())
            }
            Taken::Empty(..) => Err("empty"),
            Taken::Drained { .. } => Err("drained"),
            Taken::Discarded => Err("discarded"),
            Taken::Ahead(_) => Err("ahead"),
        };
        assert_eq!(shared, taken);
    }

    fn lower_gate(&mut self, gate: Gate) {
        self.local.lower_gate(gate);
        self.shared.lower_gate(gate);
    }

    fn step(&mut self, random: &mut Random) {
        let is_shut = self.shared.gate() != Gate::Open && self.arrival != Arrival::Outside;
        match random.below(60) {
            0 if random.one_in(3) => self.lower_gate(random.choice(&[Gate::Closed, Gate::Discarding])),
            // Whoever closes a buffer has brought its last.
            ..35 if !is_shut || self.shared.gate() == Gate::Discarding => self.push(),
            _ => self.take(),
        }
        assert_eq!(self.shared.counts(), self.local.all_counts());
    }
}

#[test]
fn a_buffer_between_processes_does_what_one_between_threads_does() {
    for (overflow, intake) in policies() {
        for arrival in ARRIVALS.into_iter().chain([Arrival::PartOfWhole, Arrival::PartOfPart]) {
            for seed in 0..SEEDS {
                let told = Told((seed, overflow, intake, arrival));
                let mut random = Random(seed);
                let capacity = 1 + random.below(5) as usize;
                let limits = limits(capacity, 1 << 40, overflow, intake);
                let mut both = Both {
                    shared: SlotTable::create(Plain::new(limits), limits),
                    local: local::Buffer::new(limits, 16, Clock::Monotonic),
                    arrival,
                    brought: 0,
                };
                (0..STEPS).for_each(|_| both.step(&mut random));
                drop(told);
            }
        }
    }
}

fn world(capacity: usize, bytes: u64, overflow: Overflow, intake: Intake) -> World {
    World::new(limits(capacity, bytes, overflow, intake), Arrival::Outside, OnCrash::Retry)
}

/// What is written down of a change must hold the longest there are: otherwise the buffer is damaged, and this panics.
#[test]
fn a_large_buffer_can_pass_over_all_that_waits_at_once() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let mut world = world(200, 400, overflow, Intake::Latest);
        (0..200).for_each(|_| world.acts(&[Act::Reserve(1), Act::Publish]));
        world.acts(&[Act::Take]);
        assert_eq!(world.model.buffer.superseded, 199);
    }
    for intake in INTAKES {
        let mut world = world(200, 400, Overflow::DropOldest, intake);
        (0..200).for_each(|_| world.acts(&[Act::Reserve(2), Act::Publish]));
        world.acts(&[Act::Reserve(400), Act::Publish]);
        assert_eq!(world.model.buffer.dropped_oldest, 200);
        (0..199).for_each(|_| world.acts(&[Act::Reserve(0), Act::Publish]));
        world.acts(&[Act::Gate(Gate::Discarding)]);
    }
}

#[test]
fn samples_that_are_still_being_written_do_not_make_a_list_short() {
    let mut world = world(2, 1 << 40, Overflow::Block, Intake::All);
    world.acts(&[Act::Reserve(1), Act::Reserve(1), Act::Reserve(1), Act::Publish, Act::Take]);
    assert!(!world.has_in_flight(), "a list of two is due, and one sample is inside");
    world.acts(&[Act::Publish, Act::Take]);
    assert_eq!(world.model.in_flight.len(), 2);
}

#[test]
fn a_sample_that_does_not_fit_makes_a_list_short() {
    for overflow in [Overflow::Block, Overflow::DropNewest] {
        let mut world = world(4, 100, overflow, Intake::All);
        world.acts(&[Act::Reserve(60), Act::Publish, Act::Reserve(30), Act::Publish, Act::Take]);
        assert!(!world.has_in_flight());
        world.acts(&[Act::Reserve(50), Act::Take]);
        assert_eq!(world.model.in_flight.len(), 2);
    }
}
