//! A worker between two buffers that dies at any step of its hop: what it took, gave and left is told apart exactly.

use super::super::owner::Owner;
use super::super::table::{Label, Published, Receipt, Reserved, SlotTable, Taken, Verdict};
use super::came_of;
use super::memory::{Died, Life, Mortal, Plain, unless_dead};
use super::model::Model;
use super::{Told, limits};
use crate::buffer::LaneKey;
use crate::buffer::{Arrival, Gate, Limits, Origin};
use crate::ledger::Fate;
use crate::policies::{Intake, OnCrash, Overflow};
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;
use std::rc::Rc;

const WORKER: Owner = Owner(1);

/// What the stage gives for what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    One,
    Many(u64),
}

/// The two buffers of a stage in a process.
struct Hop {
    input: SlotTable<Plain>,
    output: SlotTable<Plain>,
    on_crash: OnCrash,
}

impl Hop {
    fn new(intake: Intake, on_crash: OnCrash) -> Self {
        Hop::into(limits(9, 100, Overflow::Block, Intake::Single), intake, on_crash)
    }

    fn into(behind: Limits, intake: Intake, on_crash: OnCrash) -> Self {
        let before = limits(2, 100, Overflow::Block, intake);
        let hop = Hop {
            input: SlotTable::create(Plain::new(before), before),
            output: SlotTable::create(Plain::new(behind), behind),
            on_crash,
        };
        hop.bring(2);
        hop
    }

    fn bring(&self, samples: u64) {
        for _ in 0..samples {
            let id = SampleId { number: 0, part: 0 };
            let Reserved::Slot(slot) = self.input.reserve(1, id, Arrival::Outside) else { panic!("there is room") };
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
        }
    }

    fn worker(&self) -> Worker {
        let life = Rc::new(Life::default());
        let open = |table: &SlotTable<Plain>| {
            let words = Mortal { words: table.words().clone(), life: Rc::clone(&life) };
            SlotTable::open(words, table.limits(), WORKER)
        };
        Worker { input: open(&self.input), output: open(&self.output), life }
    }

    /// As the supervisor does it.
    fn bury(&self) -> Verdict {
        let received = self.output.producer_died(WORKER);
        let verdict = self.input.consumer_died(WORKER, self.on_crash, received).0;
        for table in [&self.input, &self.output] {
            Model::read(table, 0);
            table.words().assert_quiet();
        }
        verdict
    }

    /// What has come out so far.
    fn gave(&self) -> Vec<SampleId> {
        Model::read(&self.output, 0).waiting.iter().map(|sample| sample.id).collect()
    }
}

struct Worker {
    input: SlotTable<Mortal<Plain>>,
    output: SlotTable<Mortal<Plain>>,
    life: Rc<Life>,
}

impl Worker {
    /// Takes, works and gives, as long as there is something to take.
    fn works(&self, gives: Gives) {
        while let Taken::Ready { slots, ticket, .. } = self.input.take(0) {
            let Some(newest) = slots.last() else { panic!("a take takes something") };
            match gives {
                Gives::One => self.gives(newest.id, Receipt { ticket, sample: 0, parts: None }),
                Gives::Many(count) => {
                    for part in newest.given + 1..=count {
                        let id = SampleId { number: newest.id.number, part };
                        self.gives(id, Receipt { ticket, sample: 0, parts: Some(part) });
                    }
                }
            }
            let settled: Vec<_> = slots.iter().map(|taken| (taken.slot.index(), false)).collect();
            self.input.settle(&settled, came_of(Fate::Used, 0, 1000));
        }
    }

    fn gives(&self, id: SampleId, receipt: Receipt) {
        let receipt = Some(receipt);
        let label = Label {
            id,
            birth: 1,
            receipt,
            turn: None,
            came: 0,
            waited: None,
            fork: ForkTicket::default(),
            source: SourceId::default(),
            lane: LaneKey::default(),
        };
        // One by and by, one at once.
        let reserved = if (id.number + id.part).is_multiple_of(2) {
            self.output.reserve_for(1, id, Arrival::Stage, Origin { receipt, ..Origin::default() })
        } else {
            match self.output.put(1, label, Arrival::Stage, Ok) {
                Ok(published) => return assert!(matches!(published, Published::Inside(_))),
                Err(reserved) => reserved,
            }
        };
        match reserved {
            Reserved::Slot(slot) => {
                assert!(matches!(self.output.publish(slot, label, Arrival::Stage), Published::Inside(_)));
            }
            Reserved::Gone { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// What the samples are to become if nobody dies.
fn all(intake: Intake, gives: Gives) -> Vec<SampleId> {
    let numbers = if intake == Intake::All { 2..=2 } else { 1..=2 };
    let parts = match gives {
        Gives::One => 0..=0,
        Gives::Many(count) => 1..=count,
    };
    numbers.flat_map(|number| parts.clone().map(move |part| SampleId { number, part })).collect()
}

const INTAKES: [Intake; 2] = [Intake::Single, Intake::All];
const GIVES: [Gives; 2] = [Gives::One, Gives::Many(3)];

/// Runs a worker that dies at each step in turn.
fn at_every_step(intake: Intake, gives: Gives, on_crash: OnCrash, then: impl Fn(&Hop, Verdict)) {
    at_every_step_of(|| Hop::new(intake, on_crash), gives, then);
}

fn at_every_step_of(make: impl Fn() -> Hop, gives: Gives, then: impl Fn(&Hop, Verdict)) {
    for step in 0.. {
        let hop = make();
        let told = Told((hop.input.limits(), hop.on_crash, gives, step));
        let worker = hop.worker();
        worker.life.ends_after(step);
        if unless_dead(|| worker.works(gives)) != Err(Died) {
            break;
        }
        let verdict = hop.bury();
        then(&hop, verdict);
        drop(told);
    }
}

#[test]
fn with_retry_everything_goes_on_exactly_once() {
    for (intake, gives) in INTAKES.into_iter().flat_map(|intake| GIVES.map(|gives| (intake, gives))) {
        at_every_step(intake, gives, OnCrash::Retry, |hop, _| {
            hop.worker().works(gives);
            assert_eq!(hop.gave(), all(intake, gives));
            let (_, stage) = hop.input.counts();
            assert_eq!((stage.used + stage.absorbed, stage.lost), (2, 0));
        });
    }
}

#[test]
fn a_result_that_is_dropped_on_arrival_has_gone_on_too() {
    for (intake, gives) in INTAKES.into_iter().flat_map(|intake| GIVES.map(|gives| (intake, gives))) {
        for gate in [Gate::Open, Gate::Discarding] {
            let make = || {
                let hop = Hop::into(limits(1, 100, Overflow::DropNewest, Intake::Single), intake, OnCrash::Retry);
                hop.output.lower_gate(gate);
                hop
            };
            at_every_step_of(make, gives, |hop, _| {
                hop.worker().works(gives);
                let (counts, _) = hop.output.counts();
                assert_eq!(counts.entered, all(intake, gives).len() as u64, "everything was given exactly once");
                assert_eq!(hop.input.counts().1.used + hop.input.counts().1.absorbed, 2);
            });
        }
    }
}

#[test]
fn with_skip_a_sample_is_lost_only_if_nothing_of_it_went_on() {
    for (intake, gives) in INTAKES.into_iter().flat_map(|intake| GIVES.map(|gives| (intake, gives))) {
        at_every_step(intake, gives, OnCrash::Skip, |hop, verdict| {
            let gave = hop.gave();
            let went_on = |id: SampleId| gave.iter().any(|given| given.number == id.number);
            match verdict {
                Verdict::Nothing => {}
                Verdict::Used(id) => assert!(went_on(id), "{gave:?}"),
                Verdict::Lost(id) => assert!(!went_on(id), "{gave:?}"),
                Verdict::Flushed(id) | Verdict::Retried(id) => panic!("{id} is not to be flushed or tried again"),
            }
            hop.worker().works(gives);
            let (_, stage) = hop.input.counts();
            assert_eq!(stage.used + stage.absorbed + stage.lost, 2);
            if gives == Gives::One {
                assert_eq!(stage.used, hop.gave().len() as u64, "what was used is what went on");
            }
        });
    }
}

#[test]
fn a_stop_lets_count_as_used_only_what_went_on_whole() {
    for gives in GIVES {
        at_every_step(Intake::Single, gives, OnCrash::Stop, |hop, verdict| {
            let gave = hop.gave();
            match (verdict, gives) {
                (Verdict::Nothing, _) => {}
                (Verdict::Used(id), Gives::One) => assert_eq!(gave.last(), Some(&id)),
                (Verdict::Lost(id), Gives::One) => assert_ne!(gave.last(), Some(&id)),
                (Verdict::Lost(_), Gives::Many(_)) => {}
                (verdict, _) => panic!("{verdict:?}"),
            }
        });
    }
}

#[test]
fn two_deaths_in_a_row_make_no_sample_go_on_twice() {
    for gives in GIVES {
        for second in (0..700).step_by(53) {
            at_every_step(Intake::Single, gives, OnCrash::Retry, |hop, _| {
                let told = Told(second);
                let worker = hop.worker();
                worker.life.ends_after(second);
                let lost = match unless_dead(|| worker.works(gives)) {
                    Ok(()) => 0,
                    Err(Died) => u64::from(matches!(hop.bury(), Verdict::Lost(_))),
                };
                hop.worker().works(gives);
                let gave = hop.gave();
                assert!(gave.is_sorted_by(|one, next| one < next), "{gave:?}");
                let (_, stage) = hop.input.counts();
                assert_eq!((stage.used + stage.lost, stage.lost), (2, lost));
                assert!(gave.len() as u64 >= all(Intake::Single, gives).len() as u64 / 2 * stage.used, "{gave:?}");
                drop(told);
            });
        }
    }
}
