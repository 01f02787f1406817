//! Damage that no step has met: a report finds it, or the last look at the buffers of a pipeline that ends.

use super::super::layout::Layout;
use super::super::words::SharedWords;
use super::came_of;
use super::given_back::Bytes;
use crate::buffer::policy::{Slot, Totals};
use crate::buffer::{Take, Taken, Wait};
use crate::error::{MemoryDamaged, PutError};
use crate::executor::process::Driver;
use crate::graph::{Graph, Node};
use crate::ledger::Fate;
use crate::phase::WorkerEvent::{Done, Drained, SetUp, TornDown};
use crate::policies::Executor;
use crate::report::Outcome;
use crate::supervisor::{Codecs, Supervisor};
use crate::worker::{Control, WorkerId};
use std::mem::offset_of;
use std::sync::Arc;

const WORKER: WorkerId = WorkerId::Stage { index: 0, worker: 0 };

/// A pipeline whose one worker is this test.
struct Played {
    supervisor: Arc<Supervisor<Vec<u8>>>,
    _drivers: Vec<Driver<Vec<u8>>>,
}

impl Played {
    fn new() -> Self {
        let node = Node { executor: Executor::Process, ..Node::new("stage") };
        let graph = Graph { stages: vec![node], buffer_bytes: Some(1000), ..Graph::default() };
        let codecs = Codecs { input: Arc::new(Bytes), output: Arc::new(Bytes) };
        let (supervisor, drivers) = Supervisor::with_processes(graph, vec![Some(codecs)]).unwrap();
        supervisor.advance(WORKER, SetUp);
        Played { supervisor, _drivers: drivers }
    }

    /// One sample comes, and is used.
    fn uses_one(&self) {
        self.supervisor.put(vec![1], Wait::No).unwrap();
        let buffer = self.supervisor.buffer(0);
        let Take::Ready { taken: Taken { lease: Some(lease), .. }, .. } = buffer.take(0, &mut None, u64::MAX, Wait::No)
        else {
            panic!("nothing to take")
        };
        lease.settle(came_of(Fate::Used, 0, 0));
    }

    fn writes_over(&self, word: fn(Layout) -> usize) {
        let table = &self.supervisor.buffer(0).shared().unwrap().table;
        let at = word(table.limits().layout());
        table.words().set(at, table.words().get(at) + 7);
    }

    fn ends(&self) {
        self.supervisor.close();
        [Drained, Done, TornDown].into_iter().for_each(|event| self.supervisor.advance(WORKER, event));
        assert!(self.supervisor.wait_ended(Wait::No));
    }

    fn is_told(&self) -> bool {
        self.supervisor.failure_cause().is_some_and(|cause| cause.is::<MemoryDamaged>())
    }
}

/// How many samples were lost.
fn lost(layout: Layout) -> usize {
    layout.totals() + offset_of!(Totals, stage.lost) / 8
}

/// When what is in the first slot was born.
fn birth(layout: Layout) -> usize {
    layout.slot(0) + offset_of!(Slot, birth) / 8
}

#[test]
fn damage_that_no_step_has_met_fails_a_pipeline_before_it_has_ended() {
    // The second lies in the slot that was used, which is free.
    for word in [lost as fn(Layout) -> usize, birth] {
        let played = Played::new();
        played.uses_one();
        played.writes_over(word);
        played.ends();
        assert!(played.is_told());
        assert_eq!(played.supervisor.report().outcome, Outcome::Failed);
    }
}

#[test]
fn a_report_of_a_pipeline_with_damage_in_a_slot_that_is_free_counts_everything() {
    let played = Played::new();
    assert_eq!(played.supervisor.report().outcome, Outcome::Running);
    played.uses_one();
    played.writes_over(birth);
    played.ends();
    let stage = &played.supervisor.report().stages[0];
    assert_eq!((stage.buffer.entered, stage.buffer.waiting, stage.counts.used), (1, 0, 1));
}

#[test]
fn a_report_that_finds_damage_says_that_the_pipeline_has_failed() {
    let played = Played::new();
    played.uses_one();
    played.writes_over(lost);
    assert_eq!(played.supervisor.report().outcome, Outcome::Failed);
    assert!(played.is_told());
    played.ends();
}

#[test]
fn damage_after_a_pipeline_has_ended_leaves_its_outcome() {
    let played = Played::new();
    played.uses_one();
    played.ends();
    played.writes_over(lost);
    let report = played.supervisor.report();
    assert!(matches!(played.supervisor.put(vec![2], Wait::No), Err(PutError::Closed(_))));
    assert_eq!(played.supervisor.report(), report);
    assert_eq!((report.outcome, report.stages[0].counts.used), (Outcome::Finished, 1));
    assert!(!played.is_told());
}
