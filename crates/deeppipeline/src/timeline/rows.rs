//! The rows of a drawn timeline: for each stage those of its buffer, in which no two samples overlap, and one for each of its
//! workers.

use super::{Timeline, Visit};
use std::time::Duration;

/// The rows that a buffer has at most; in the last some may overlap.
const MOST_LANES: usize = 64;

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// Of the buffer in front of a stage.
    Buffer { stage: usize, lane: usize },
    /// Of a worker.
    Worker { stage: usize, worker: usize },
}

/// A time that a sample has in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bar<'a> {
    pub(super) row: Row,
    pub(super) visit: &'a Visit,
    pub(super) begin: Duration,
    pub(super) end: Duration,
}

/// Every bar, and the number of rows that the buffer in front of each stage needs.
pub(super) struct Bars<'a> {
    pub(super) bars: Vec<Bar<'a>>,
    pub(super) lanes: Vec<usize>,
    /// The number of rows of its workers: there may have been more than there are.
    pub(super) workers: Vec<usize>,
}

impl Timeline {
    /// Lays out every visit in the rows.
    pub(super) fn bars(&self) -> Bars<'_> {
        let mut bars = Vec::new();
        // The time until which each row of a buffer is taken.
        let mut taken_until: Vec<Vec<Duration>> = vec![Vec::new(); self.stages.len()];
        for visit in &self.visits {
            let ended = visit.ended.unwrap_or(self.until);
            let (begin, end) = (visit.came, visit.taken.unwrap_or(ended).max(visit.came));
            let lanes = &mut taken_until[visit.stage];
            // In a long queue many would be looked at, and nobody could tell them apart.
            let lane = lanes.iter().position(|until| *until <= begin).unwrap_or(lanes.len()).min(MOST_LANES - 1);
            lanes.resize(lanes.len().max(lane + 1), Duration::ZERO);
            lanes[lane] = lanes[lane].max(end);
            bars.push(Bar { row: Row::Buffer { stage: visit.stage, lane }, visit, begin, end });
            if let (Some(taken), Some(worker)) = (visit.taken, visit.worker) {
                let row = Row::Worker { stage: visit.stage, worker };
                bars.push(Bar { row, visit, begin: taken, end: ended.max(taken) });
            }
        }
        let mut workers: Vec<usize> = self.stages.iter().map(|stage| stage.workers.max(1)).collect();
        for visit in &self.visits {
            workers[visit.stage] = workers[visit.stage].max(visit.worker.map_or(0, |worker| worker + 1));
        }
        Bars { bars, lanes: taken_until.iter().map(Vec::len).collect(), workers }
    }
}
