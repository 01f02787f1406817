//! Several workers between two buffers, one of which dies at any step of its work: what they give leaves in the order
//! of what they took, every sample has one fate, and nobody waits for the dead.

use super::super::owner::Owner;
use super::super::table::{Label, Published, Receipt, Reserved, SlotTable, Taken, TakenSlot, Verdict};
use super::super::words::{Futex, SharedWords};
use super::came_of;
use super::memory::{Died, Life, Looked, Mortal, Plain, unless_dead};
use super::{Random, Told, limits};
use crate::buffer::LaneKey;
use crate::buffer::policy::Turn;
use crate::buffer::{Arrival, Gate, Limits, Origin, Workers};
use crate::ledger::Fate;
use crate::policies::{Intake, OnCrash, Overflow};
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// What is brought in all.
const SAMPLES: u64 = 6;
/// The one who dies.
const VICTIM: usize = 0;
/// Those whose lists are as long as the script says; what else a death may do with the others is in `death.rs`.
const INTAKES: [Intake; 3] = [Intake::Single, Intake::Latest, Intake::All];

/// What the stage gives for what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    Nothing,
    One,
    Many(u64),
}

const GIVES: [Gives; 3] = [Gives::Nothing, Gives::One, Gives::Many(3)];
const ON_CRASH: [OnCrash; 3] = [OnCrash::Skip, OnCrash::Retry, OnCrash::Stop];

impl Gives {
    /// The part numbers of what it gives.
    fn parts(self) -> Range<u64> {
        match self {
            Gives::Nothing => 0..0,
            Gives::One => 0..1,
            Gives::Many(count) => 1..count + 1,
        }
    }

    fn count(self) -> u64 {
        self.parts().count() as u64
    }
}

/// How far a worker comes with one sample, or list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Took,
    /// The first result, if there is one, has gone on.
    GaveFirst,
    /// Its turn is over, but what it had in flight has no fate yet.
    SampleEnd,
    Settled,
    /// Between two samples it had a turn, for what a stage that is replaced still holds.
    Retired,
}

/// Who comes how far, one after the other.
type Script = &'static [(usize, Until)];

/// The victim has its turn, or is ahead of it; the others have a later one, or an earlier one, in flight or behind
/// them.
const SCRIPTS: [Script; 10] = [
    &[(0, Until::Took), (1, Until::Took), (0, Until::Settled)],
    &[(0, Until::Took), (1, Until::Settled), (1, Until::GaveFirst), (0, Until::Settled)],
    &[(0, Until::Took), (1, Until::GaveFirst), (0, Until::Settled), (0, Until::Took)],
    &[(1, Until::Took), (0, Until::Settled), (0, Until::Took), (1, Until::Settled)],
    &[(1, Until::GaveFirst), (0, Until::Settled), (1, Until::SampleEnd), (0, Until::Settled)],
    &[(0, Until::GaveFirst), (1, Until::Settled), (1, Until::Settled), (0, Until::Settled)],
    &[(1, Until::Took), (0, Until::Took), (2, Until::Settled), (0, Until::Settled), (1, Until::Settled)],
    &[(1, Until::Took), (0, Until::Retired), (1, Until::Settled), (0, Until::Settled)],
    &[(0, Until::Settled), (0, Until::Retired), (1, Until::Retired), (0, Until::GaveFirst)],
    // The other has come as far ahead as it may.
    &[(0, Until::Took), (1, Until::Settled), (1, Until::Settled), (1, Until::Settled), (1, Until::Settled)],
];

/// What does not change in a run.
#[derive(Debug, Clone, Copy)]
struct Setting {
    intake: Intake,
    /// Of the buffer behind the stage, and how many samples are in it at most.
    overflow: Overflow,
    room: usize,
    on_crash: OnCrash,
    gives: Gives,
    script: Script,
    /// Whether the others go on for a while before the death is seen.
    buried_late: bool,
}

impl Setting {
    fn workers(&self) -> Workers {
        let workers = 1 + self.script.iter().map(|(worker, _)| *worker).max().unwrap_or_default();
        Workers { workers, ordered: true, time_limit: None }
    }

    /// The buffer in front of the stage.
    fn before(&self) -> Limits {
        let (capacity, overflow) = match self.intake {
            Intake::Single => (SAMPLES as usize, Overflow::Block),
            Intake::Latest => (2, Overflow::DropOldest),
            _ => (2, Overflow::Block),
        };
        Limits { consumers: self.workers(), is_last: false, ..limits(capacity, 100, overflow, self.intake) }
    }

    fn behind(&self) -> Limits {
        Limits { producers: self.workers(), ..limits(self.room, 100, self.overflow, Intake::Single) }
    }
}

/// What a worker is about.
enum Does {
    Nothing,
    Giving { slots: Vec<(usize, bool)>, newest: SampleId, ticket: u64, part: u64 },
    Ending { slots: Vec<(usize, bool)> },
    Settled,
    Finishing { ticket: u64 },
    PuttingDown,
    Retiring { ticket: u64 },
    Retired,
    Gone,
}

struct Worker {
    input: SlotTable<Mortal<Plain>>,
    output: SlotTable<Mortal<Plain>>,
    life: Rc<Life>,
    gives: Gives,
    does: Does,
    /// True if it takes a turn before its next sample.
    retires: bool,
}

impl Worker {
    /// One call of the table; false if it has to wait, or has ended.
    fn acts(&mut self) -> bool {
        match std::mem::replace(&mut self.does, Does::Gone) {
            Does::Nothing if self.retires => self.takes_turn(),
            Does::Nothing => self.takes(),
            Does::Giving { slots, newest, ticket, part } if self.gives.parts().contains(&part) => {
                let id = SampleId { number: newest.number, part };
                let parts = matches!(self.gives, Gives::Many(_)).then_some(part);
                let went_on = self.puts(id, ticket, Receipt { ticket, sample: 0, parts });
                let part = if went_on { part + 1 } else { part };
                self.does = Does::Giving { slots, newest, ticket, part };
                went_on
            }
            Does::Giving { slots, ticket, .. } => {
                self.output.end_turn(ticket, 0);
                self.does = Does::Ending { slots };
                true
            }
            Does::Ending { slots } => {
                let fate = if self.gives == Gives::Nothing { Fate::Skipped } else { Fate::Used };
                self.input.settle(&slots, came_of(fate, 0, 1000));
                self.does = Does::Settled;
                true
            }
            Does::Settled => {
                self.does = Does::Nothing;
                self.acts()
            }
            Does::Finishing { ticket } => {
                self.output.end_turn(ticket, 0);
                self.does = Does::PuttingDown;
                true
            }
            Does::PuttingDown => {
                self.input.end_finish();
                true
            }
            Does::Retiring { ticket } => {
                self.output.end_turn(ticket, 0);
                self.does = Does::Retired;
                true
            }
            Does::Retired => {
                self.input.end_finish();
                (self.does, self.retires) = (Does::Nothing, false);
                true
            }
            Does::Gone => false,
        }
    }

    fn takes_turn(&mut self) -> bool {
        let (turn, _) = self.input.take_turn(self.output.turns_up_to(), 0);
        self.does = match turn {
            Turn::Begun(ticket) => Does::Retiring { ticket },
            Turn::NotYet | Turn::Ahead(_) => Does::Nothing,
            Turn::Discarded => Does::Gone,
        };
        !matches!(self.does, Does::Nothing)
    }

    fn takes(&mut self) -> bool {
        let (does, moved) = match self.input.take_up_to(self.output.turns_up_to(), 0) {
            Taken::Ready { slots, ticket, .. } => {
                let Some(newest) = slots.last() else { panic!("a take takes something") };
                let (newest, given) = (newest.id, newest.given);
                let slots = slots.iter().map(|taken| (taken.slot.index(), false)).collect();
                // What went on before a death is left out.
                let part = self.gives.parts().start + given;
                (Does::Giving { slots, newest, ticket, part }, true)
            }
            Taken::Drained { ticket } => (Does::Finishing { ticket }, true),
            Taken::Discarded => (Does::Gone, true),
            Taken::Empty(..) | Taken::Ahead(_) => (Does::Nothing, false),
        };
        self.does = does;
        moved
    }

    /// Whether the result had its end, inside or not.
    fn puts(&self, id: SampleId, ticket: u64, receipt: Receipt) -> bool {
        let (turn, receipt) = (Some(ticket), Some(receipt));
        match self.output.reserve_for(1, id, Arrival::Stage, Origin { turn, receipt, ..Origin::default() }) {
            Reserved::Slot(slot) => {
                let label = Label {
                    id,
                    birth: 1,
                    receipt,
                    turn,
                    came: 0,
                    waited: None,
                    fork: ForkTicket::default(),
                    source: SourceId::default(),
                    lane: LaneKey::default(),
                };
                assert_ne!(self.output.publish(slot, label, Arrival::Stage), Published::Shut);
                true
            }
            Reserved::Gone { .. } => true,
            Reserved::Full(_) => false,
            other => panic!("{other:?}"),
        }
    }

    fn has_come(&self, until: Until) -> bool {
        match (until, &self.does) {
            (_, Does::Gone) => true,
            (Until::Took, Does::Giving { .. }) => true,
            (Until::GaveFirst, Does::Giving { part, .. }) => {
                *part > self.gives.parts().start || self.gives.count() == 0
            }
            (Until::SampleEnd, Does::Ending { .. }) => true,
            (Until::Settled, Does::Settled) => true,
            (Until::Retired, Does::Nothing) => !self.retires,
            _ => false,
        }
    }

    /// Goes on until it has come so far with what it has in flight or takes next, or has to wait.
    fn comes(&mut self, until: Until) {
        self.retires = until == Until::Retired;
        while self.acts() && !self.has_come(until) {}
    }
}

/// A stage with several workers, the buffers in front of it and behind it, and what has come out.
struct Stage {
    setting: Setting,
    input: SlotTable<Plain>,
    output: SlotTable<Plain>,
    workers: Vec<Worker>,
    brought: u64,
    received: Vec<SampleId>,
    /// What became of what each of the dead had in flight, and whether the turn of the last was over.
    verdicts: Vec<Verdict>,
    had_its_turn: bool,
}

impl Stage {
    fn new(setting: Setting) -> Self {
        let (before, behind) = (setting.before(), setting.behind());
        let input = SlotTable::create(Plain::new(before), before);
        let output = SlotTable::create(Plain::new(behind), behind);
        let (workers, received) = (Vec::new(), Vec::new());
        let mut stage =
            Stage { setting, input, output, workers, brought: 0, received, verdicts: Vec::new(), had_its_turn: false };
        stage.workers = (0..setting.workers().workers).map(|worker| stage.worker(worker)).collect();
        stage
    }

    fn worker(&self, worker: usize) -> Worker {
        let life = Rc::new(Life::default());
        let open = |table: &SlotTable<Plain>| {
            let words = Mortal { words: table.words().clone(), life: Rc::clone(&life) };
            SlotTable::open(words, table.limits(), Owner::of_worker(0, worker))
        };
        let (input, output) = (open(&self.input), open(&self.output));
        Worker { input, output, life, gives: self.setting.gives, does: Does::Nothing, retires: false }
    }

    /// Brings what there is room for.
    fn bring(&mut self) {
        while self.brought < SAMPLES && self.input.gate() == Gate::Open {
            let id = SampleId { number: 0, part: 0 };
            if self.input.counts().0.waiting >= self.input.limits().capacity as u64 {
                return;
            }
            let Reserved::Slot(slot) = self.input.reserve(1, id, Arrival::Outside) else { return };
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
            assert!(matches!(self.input.publish(slot, label, Arrival::Outside), Published::Inside(_)));
            self.brought += 1;
        }
    }

    /// The stage behind takes one, if there is one.
    fn receives(&mut self) -> bool {
        let Taken::Ready { slots, .. } = self.output.take(0) else { return false };
        self.received.extend(slots.iter().map(|taken| taken.id));
        let settled: Vec<_> = slots.iter().map(|taken| (taken.slot.index(), false)).collect();
        self.output.settle(&settled, came_of(Fate::Used, 0, 0));
        true
    }

    /// Does what the script says.
    fn plays(&mut self) {
        let mut late = Vec::new();
        for &(worker, until) in self.setting.script {
            self.bring();
            if late.contains(&worker) {
                continue;
            }
            let actor = &mut self.workers[worker];
            if unless_dead(|| actor.comes(until)) == Err(Died) {
                // Whoever needs the lock that the dead has waits until it is seen.
                if self.setting.buried_late && !self.has_lock() {
                    late.push(worker);
                } else {
                    self.buries(worker);
                }
            }
        }
        if let [dead] = late[..] {
            // The others come as far as they can.
            for other in (0..self.workers.len()).filter(|worker| *worker != dead) {
                while self.acts(other) {}
            }
        }
        late.into_iter().for_each(|worker| self.buries(worker));
    }

    fn has_lock(&self) -> bool {
        [&self.input, &self.output].iter().any(|table| table.words().futex(Futex::Lock) != 0)
    }

    /// One call of a worker, who may die over it.
    fn acts(&mut self, worker: usize) -> bool {
        let actor = &mut self.workers[worker];
        match unless_dead(|| actor.acts()) {
            Ok(moved) => moved,
            Err(Died) => {
                self.buries(worker);
                true
            }
        }
    }

    /// As the driver of the process does it after the end of the process; another one follows.
    fn buries(&mut self, worker: usize) {
        let (dead, on_crash) = (Owner::of_worker(0, worker), self.setting.on_crash);
        let received = self.output.producer_died(dead);
        let (verdict, take) = self.input.consumer_died(dead, on_crash, received);
        let ended = take.filter(|_| !matches!(verdict, Verdict::Retried(_)));
        self.verdicts.push(verdict);
        let turn = Looked::at(self.output.words(), self.output.limits().layout()).totals.turn;
        self.had_its_turn = ended.is_some_and(|ticket| ticket < turn);
        match (ended, on_crash) {
            (None, _) => {}
            (Some(ticket), OnCrash::Stop) => self.output.fail_turn(ticket),
            (Some(ticket), OnCrash::Skip | OnCrash::Retry) => self.output.end_turn(ticket, 0),
        }
        self.input.words().assert_quiet();
        self.output.words().assert_quiet();
        if on_crash == OnCrash::Stop {
            self.input.lower_gate(Gate::Discarding);
            self.input.wake();
            self.workers[worker].does = Does::Gone;
        } else {
            self.workers[worker] = self.worker(worker);
        }
    }

    /// Everything that is inside flows out.
    fn flows_out(&mut self) {
        loop {
            self.bring();
            if self.brought == SAMPLES {
                self.input.lower_gate(Gate::Closed);
            }
            let mut moved = false;
            for worker in 0..self.workers.len() {
                moved |= self.acts(worker);
            }
            if self.workers.iter().all(|worker| matches!(worker.does, Does::Gone)) {
                break;
            }
            moved = moved || self.receives();
            assert!(moved, "they wait for each other, or for the dead: {:?}", self.output.counts());
        }
        self.output.lower_gate(Gate::Closed);
        while self.receives() {}
        self.checks();
    }

    fn checks(&self) {
        for table in [&self.input, &self.output] {
            assert_clear(table);
        }
        let (before, stage) = self.input.counts();
        let (behind, _) = self.output.counts();
        assert!(self.received.is_sorted_by(|one, next| one < next), "{:?}", self.received);
        assert_eq!(self.received.len() as u64, behind.taken);
        let Setting { on_crash, gives, .. } = self.setting;
        let lost = self.verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Lost(_))).count() as u64;
        let judged = lost > 0 || self.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Used(_)));
        if !judged || gives != Gives::Many(3) {
            assert_eq!(behind.entered, stage.used * gives.count(), "{stage:?} {behind:?}");
        }
        assert_eq!(before.entered, self.brought);
        assert_eq!(stage.lost, lost * if self.setting.intake == Intake::All { 2 } else { 1 });
        if on_crash != OnCrash::Stop {
            assert_eq!((before.discarded, behind.discarded), (0, 0));
        }
        if on_crash == OnCrash::Retry {
            assert!(lost == 0 || self.verdicts.len() > 1, "one death is forgiven");
        }
        if self.setting.overflow == Overflow::Block && on_crash == OnCrash::Stop {
            self.checks_that_all_before_it_went_on();
        } else if self.setting.overflow == Overflow::Block {
            assert_eq!(behind.taken, behind.entered, "nothing that went on was dropped");
        }
    }

    /// What came out is what was taken before the one that the dead had in flight, and nothing behind it unless that
    /// had been done with.
    fn checks_that_all_before_it_went_on(&self) {
        let step = if self.setting.intake == Intake::All { 2 } else { 1 };
        let (Verdict::Lost(id) | Verdict::Used(id)) = *self.verdicts.last().unwrap_or(&Verdict::Nothing) else {
            return;
        };
        let nothing_behind_it = self.received.iter().all(|received| received.number <= id.number);
        assert!(nothing_behind_it || self.had_its_turn, "{:?} {id}", self.received);
        if self.setting.intake == Intake::Latest {
            return;
        }
        for number in (step..id.number).step_by(step as usize) {
            let parts = self.received.iter().filter(|received| received.number == number).map(|received| received.part);
            assert!(parts.eq(self.setting.gives.parts()), "sample {number} of {:?}", self.received);
        }
    }
}

/// Every slot has come back, every sample has one fate, and nothing is left of anyone.
fn assert_clear(table: &SlotTable<Plain>) {
    let (layout, words) = (table.limits().layout(), table.words());
    words.assert_quiet();
    let (buffer, stage) = table.counts();
    assert!(buffer.balances(), "{buffer:?}");
    assert_eq!(buffer.taken, stage.settled(), "{stage:?}");
    let looked = Looked::at(words, layout);
    looked.assert_no_slot_leaks(0);
    let Looked { head, totals, places, .. } = looked;
    assert_eq!(head.free_slots, head.fresh, "every slot is free: {buffer:?}");
    let left =
        [totals.out_of_order.len, totals.writing_out_of_order, head.writing, head.bytes, head.viewed, head.in_flight];
    assert_eq!(left, [0; 6], "{head:?}");
    for (place, owner) in places.iter().zip((0..).map(Owner)) {
        assert_eq!(words.get(layout.progress(owner)) as u32, 0, "nothing is left to be made for {owner:?}");
        assert_eq!((place.ticket, place.windowed), (0, 0), "{owner:?}");
    }
}

/// The victim dies at each of these steps in turn, or at all that it makes.
fn at_steps(setting: Setting, steps: Option<Vec<u64>>) {
    let last = steps.as_ref().map_or(u64::MAX, |steps| steps.len() as u64);
    for index in 0..last {
        let step = steps.as_ref().map_or(index, |steps| steps[index as usize]);
        let told = Told((setting, step));
        let mut stage = Stage::new(setting);
        stage.workers[VICTIM].life.ends_after(step);
        stage.plays();
        stage.flows_out();
        drop(told);
        if stage.verdicts.is_empty() {
            break;
        }
    }
}

fn at_every_step(setting: Setting) {
    at_steps(setting, None);
}

/// The victim dies where it makes a difference to the others.
fn at_steps_that_others_see(setting: Setting) {
    let mut stage = Stage::new(setting);
    stage.plays();
    stage.flows_out();
    let steps = stage.workers[VICTIM].life.steps_at_futexes();
    at_steps(setting, Some(steps));
}

/// All there are for a buffer behind the stage like this, and these intakes.
fn settings(overflow: Overflow, room: usize, intakes: &[Intake]) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (intake, on_crash) in intakes.iter().flat_map(|intake| ON_CRASH.map(|on_crash| (*intake, on_crash))) {
        for (gives, script) in GIVES.into_iter().flat_map(|gives| SCRIPTS.map(|script| (gives, script))) {
            for buried_late in [false, true] {
                settings.push(Setting { intake, overflow, room, on_crash, gives, script, buried_late });
            }
        }
    }
    settings
}

#[test]
fn a_death_at_any_step_keeps_the_order_and_leaves_nobody_waiting() {
    let settings = settings(Overflow::Block, 9, &[Intake::Single]);
    some(settings).filter(|setting| !setting.buried_late).for_each(at_every_step);
}

#[test]
fn a_death_that_is_seen_late_keeps_the_order_and_leaves_nobody_waiting() {
    let settings = settings(Overflow::Block, 9, &[Intake::Single]);
    settings.into_iter().filter(|setting| setting.buried_late).for_each(at_steps_that_others_see);
}

#[test]
fn two_deaths_keep_the_order_and_leave_nobody_waiting() {
    let mut random = Random(1);
    for setting in settings(Overflow::Block, 2, &INTAKES) {
        // A stop after a stop is no other than one alone.
        for _ in 0..if setting.on_crash == OnCrash::Stop { 0 } else { 10 } {
            let ends = [random.below(600), random.below(600)];
            let told = Told((setting, ends));
            let mut stage = Stage::new(setting);
            for (worker, end) in stage.workers.iter().zip(ends) {
                worker.life.ends_after(end);
            }
            stage.plays();
            stage.flows_out();
            drop(told);
        }
    }
}

/// Some of all settings, so that each value of each comes beside each of each other.
fn some(settings: Vec<Setting>) -> impl Iterator<Item = Setting> {
    settings.into_iter().step_by(5)
}

#[test]
fn so_it_is_with_every_intake() {
    some(settings(Overflow::Block, 9, &[Intake::Latest, Intake::All])).for_each(at_steps_that_others_see);
}

#[test]
fn so_it_is_while_results_wait_for_room() {
    some(settings(Overflow::Block, 1, &[Intake::Single, Intake::All])).for_each(at_steps_that_others_see);
}

#[test]
fn so_it_is_where_results_are_dropped() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        some(settings(overflow, 1, &INTAKES)).for_each(at_steps_that_others_see);
    }
}

/// A buffer, and what a test does to it in the name of others.
struct Alone {
    table: SlotTable<Plain>,
    brought: u64,
}

impl Alone {
    fn new(limits: Limits) -> Self {
        Alone { table: SlotTable::create(Plain::new(limits), limits), brought: 0 }
    }

    fn as_worker(&self, index: usize, worker: usize) -> SlotTable<Plain> {
        let owner = Owner::of_worker(index, worker);
        SlotTable::open(self.table.words().clone(), self.table.limits(), owner)
    }

    /// One of the workers before it gives the one result of that take, born at that time.
    fn gives(&self, worker: usize, ticket: u64, length: usize, birth: u64) {
        let producer = self.as_worker(0, worker);
        let (id, turn) = (SampleId { number: ticket, part: 0 }, Some(ticket));
        let reserved = producer.reserve_for(length, id, Arrival::Stage, Origin { turn, ..Origin::default() });
        let Reserved::Slot(slot) = reserved else { panic!("{ticket}: {reserved:?}") };
        let label = Label {
            id,
            birth,
            receipt: None,
            turn,
            came: birth,
            waited: None,
            fork: ForkTicket::default(),
            source: SourceId::default(),
            lane: LaneKey::default(),
        };
        assert!(matches!(producer.publish(slot, label, Arrival::Stage), Published::Inside(_)));
        producer.end_turn(ticket, birth);
    }

    fn bring(&mut self, length: usize) {
        let id = SampleId { number: 0, part: 0 };
        let Reserved::Slot(slot) = self.table.reserve(length, id, Arrival::Outside) else { panic!("there is room") };
        let label = Label {
            id,
            birth: 1,
            receipt: None,
            turn: None,
            came: 1,
            waited: None,
            fork: ForkTicket::default(),
            source: SourceId::default(),
            lane: LaneKey::default(),
        };
        assert!(matches!(self.table.publish(slot, label, Arrival::Outside), Published::Inside(_)));
        self.brought += 1;
    }

    /// What a worker behind it takes at that time: which take it is, and the samples.
    fn takes(&self, worker: usize, now: u64) -> Option<(u64, Vec<TakenSlot>)> {
        match self.as_worker(1, worker).take(now) {
            Taken::Ready { slots, ticket, .. } => Some((ticket, slots)),
            _ => None,
        }
    }

    fn dies(&self, worker: usize, on_crash: OnCrash) -> (Verdict, Option<u64>) {
        self.table.consumer_died(Owner::of_worker(1, worker), on_crash, None)
    }
}

fn numbers(taken: &Option<(u64, Vec<TakenSlot>)>) -> Vec<u64> {
    taken.iter().flat_map(|(_, slots)| slots).map(|taken| taken.id.number).collect()
}

fn settled(slots: &[TakenSlot]) -> Vec<(usize, bool)> {
    slots.iter().map(|taken| (taken.slot.index(), false)).collect()
}

fn several(workers: usize) -> Workers {
    Workers { workers, ordered: true, time_limit: None }
}

#[test]
fn a_list_of_results_that_came_early_is_tried_again_in_their_order() {
    let buffer = Alone::new(Limits { producers: several(2), ..limits(3, 100, Overflow::Block, Intake::All) });
    for (worker, ticket) in [(1, 3), (1, 2), (0, 1)] {
        buffer.gives(worker, ticket, 1, 1);
    }
    assert_eq!(numbers(&buffer.takes(0, 1)), [1, 2, 3]);
    let (verdict, _) = buffer.dies(0, OnCrash::Retry);
    assert_eq!(verdict, Verdict::Retried(SampleId { number: 3, part: 0 }), "the newest stands for the list");
    assert_eq!(numbers(&buffer.takes(0, 1)), [1, 2, 3]);
}

#[test]
fn an_early_result_that_does_not_fit_makes_a_list_short() {
    let buffer = Alone::new(Limits { producers: several(2), ..limits(3, 100, Overflow::Block, Intake::All) });
    buffer.gives(1, 2, 60, 1);
    buffer.gives(0, 1, 60, 1);
    assert_eq!(numbers(&buffer.takes(0, 1)), [1], "2 waits for its bytes, so that no more can come");
    assert_eq!(buffer.table.counts().0.waiting, 1);
}

#[test]
fn samples_that_are_too_old_make_room_for_early_results() {
    for intake in [Intake::Single, Intake::Latest] {
        let max_age = Some(Duration::from_nanos(10));
        let buffer = Alone::new(Limits { producers: several(3), max_age, ..limits(1, 100, Overflow::Block, intake) });
        buffer.gives(2, 3, 1, 50);
        buffer.gives(1, 2, 1, 1);
        buffer.gives(0, 1, 1, 1);
        assert_eq!(buffer.table.counts().0.reordering, 2);
        assert_eq!(numbers(&buffer.takes(0, 50)), [3], "1 and 2 are too old, and nobody will come after 3");
        assert_eq!((buffer.table.counts().0.reordering, buffer.table.counts().0.expired), (0, 2));
    }
}

#[test]
fn a_batch_is_not_due_while_too_many_results_would_wait() {
    let intake = Intake::Batch { max_size: 2, max_wait: Duration::from_nanos(10), fold: true };
    let mut buffer = Alone::new(Limits { consumers: several(2), ..limits(8, 100, Overflow::Block, intake) });
    buffer.bring(1);
    assert!(buffer.takes(0, 100).is_some());
    for _ in 0..several(2).ahead() {
        buffer.bring(1);
        let (_, slots) = buffer.takes(1, 100).expect("it is due");
        buffer.as_worker(1, 1).settle(&settled(&slots), came_of(Fate::Used, 0, 0));
    }
    buffer.bring(1);
    let taken = buffer.as_worker(1, 1).take(100);
    assert!(matches!(taken, Taken::Empty(_, None)), "it would look again and again: {taken:?}");
}

#[test]
fn what_is_to_be_tried_again_stays_however_many_are_dropped_behind_it() {
    let (workers, waiting) = (100, 400);
    let limits = Limits { consumers: several(workers), ..limits(waiting, 1000, Overflow::DropOldest, Intake::Single) };
    let mut buffer = Alone::new(limits);
    (0..workers).for_each(|_| buffer.bring(1));
    let taken = (0..workers).map(|worker| numbers(&buffer.takes(worker, 1))[0]);
    assert!(taken.eq(1..=workers as u64));
    for worker in (0..workers).rev() {
        let (verdict, take) = buffer.dies(worker, OnCrash::Retry);
        assert!(matches!(verdict, Verdict::Retried(id) if Some(id.number) == take), "{verdict:?} {take:?}");
    }
    (workers..waiting).for_each(|_| buffer.bring(1));
    buffer.bring(1000);
    let (counts, _) = buffer.table.counts();
    assert_eq!((counts.dropped_oldest, counts.waiting), ((waiting - workers) as u64, workers as u64 + 1));
    for ticket in 1..=workers as u64 {
        let taken = buffer.takes(0, 1);
        assert_eq!((numbers(&taken), taken.as_ref().map(|taken| taken.0)), (vec![ticket], Some(ticket)));
        let slots = settled(&taken.expect("it is there").1);
        buffer.as_worker(1, 0).settle(&slots, came_of(Fate::Used, 0, 0));
    }
    let (_, slots) = buffer.takes(0, 1).expect("the large one");
    buffer.as_worker(1, 0).settle(&settled(&slots), came_of(Fate::Used, 0, 0));
    assert_clear(&buffer.table);
}

#[test]
fn how_often_a_stage_has_failed_is_known_to_the_next_worker() {
    let mut buffer = Alone::new(Limits { consumers: several(2), ..limits(2, 100, Overflow::Block, Intake::Single) });
    buffer.bring(1);
    buffer.bring(1);
    let (ticket, slots) = buffer.takes(0, 1).expect("one is inside");
    buffer.as_worker(1, 0).note_failures(slots.iter().map(|taken| (taken.slot.index(), 2)));
    assert_eq!(buffer.dies(0, OnCrash::Retry).0, Verdict::Retried(SampleId { number: 1, part: 0 }));
    let (again, slots) = buffer.takes(1, 1).expect("it is tried again");
    assert_eq!((again, slots[0].failures), (ticket, 2));
    let (_, slots) = buffer.takes(0, 1).expect("another is inside");
    assert_eq!(slots[0].failures, 0, "that was not its fault");
}

/// What a worker does with the slots it has in flight.
type Ends = fn(&SlotTable<Mortal<Plain>>, &[(usize, bool)]);

#[test]
fn what_a_stage_had_kept_is_lost_with_it_exactly_once() {
    for on_crash in ON_CRASH {
        // The third take is in flight when it dies: about to keep it too, to use all in a list, or to leave two out.
        let ends: [Ends; 3] = [
            |worker, slots| worker.keep(slots),
            |worker, slots| worker.settle(slots, came_of(Fate::Used, 2, 0)),
            |worker, _| worker.end_windowed(2, Fate::Skipped),
        ];
        for (end, (kept, used, skipped)) in ends.into_iter().zip([(3, 0, 0), (0, 3, 0), (0, 0, 2)]) {
            for step in 0.. {
                let told = Told((on_crash, kept, used, skipped, step));
                let mut buffer = Alone::new(limits(4, 100, Overflow::Block, Intake::Window { size: 3, stride: 1 }));
                (0..4).for_each(|_| buffer.bring(1));
                let life = Rc::new(Life::default());
                let words = Mortal { words: buffer.table.words().clone(), life: Rc::clone(&life) };
                let worker = SlotTable::open(words, buffer.table.limits(), Owner::of_worker(1, 0));
                let take = || match worker.take(1) {
                    Taken::Ready { slots, .. } => settled(&slots),
                    other => panic!("{other:?}"),
                };
                (0..2).for_each(|_| worker.keep(&take()));
                let slots = take();
                life.ends_after(step);
                let lives = unless_dead(|| end(&worker, &slots)).is_ok();
                let (verdict, _) = buffer.dies(0, on_crash);
                assert_eq!(buffer.dies(0, on_crash).0, Verdict::Nothing, "a second look finds nothing");
                let (counts, stage) = buffer.table.counts();
                let retried = u64::from(matches!(verdict, Verdict::Retried(_)));
                assert_eq!((counts.taken, counts.waiting, stage.in_flight), (3 - retried, 1 + retried, 0));
                let has_happened = (stage.lost, stage.used + stage.absorbed, stage.skipped);
                let lost = 3 - retried;
                let before = (lost, 0, 0);
                let after = (lost - used.min(lost) - skipped, used, skipped);
                let after = if kept > 0 { (3, 0, 0) } else { after };
                assert!(has_happened == before || has_happened == after, "{has_happened:?}");
                assert!(!lives || has_happened == after, "{has_happened:?}");
                let (_, slots) = buffer.takes(0, 1).expect("its successor begins with nothing kept");
                buffer.as_worker(1, 0).keep(&settled(&slots));
                buffer.as_worker(1, 0).end_windowed(1, Fate::Skipped);
                buffer.table.lower_gate(Gate::Discarding);
                assert_clear(&buffer.table);
                drop(told);
                if lives {
                    break;
                }
            }
        }
    }
}
