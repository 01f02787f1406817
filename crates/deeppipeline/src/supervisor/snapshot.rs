//! The account that the supervisor gives: the report, and the failure that stopped the pipeline.

use super::Supervisor;
use crate::error::StageError;
use crate::graph::Flow;
use crate::ledger::{BufferCounts, Reading};
use crate::phase::Phase;
use crate::report::{JoinReport, Outcome, Recent, Report, SourceReport, Spread, StageReport};
use crate::worker::WorkerId;
use std::sync::Arc;
use std::time::Duration;

impl<V: Send + 'static> Supervisor<V> {
    /// Returns the failure that stopped the pipeline, with a report of this moment.
    pub fn failure(&self) -> Option<StageError> {
        let failure = Arc::clone(self.failure.get()?);
        Some(StageError::new(failure, self.report()))
    }

    /// Returns the report once no caller waits any longer. This and every later one names the workers that have not
    /// ended.
    pub fn final_report(&self) -> Report {
        self.state.lock().left_behind = true;
        self.inlets.iter().for_each(|inlet| inlet.tell_drops());
        self.report()
    }

    /// Returns the cause of that failure alone. Waits for nothing, for callers that must not: a garbage collector.
    pub fn failure_cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.failure.get().map(|failure| &*failure.cause)
    }

    /// Returns what happened to every sample up to now.
    pub fn report(&self) -> Report {
        let report = self.report_of_now();
        #[cfg(processes)]
        if report.outcome != Outcome::Failed {
            // Its own look at the counters may be the first to meet damage. All are asked, so that all is told.
            let damaged = (0..self.inlets.len()).filter(|index| self.is_damaged(*index));
            if damaged.count() > 0 {
                return self.report_of_now();
            }
        }
        report
    }

    fn report_of_now(&self) -> Report {
        let (outcome, elapsed) = {
            let state = self.state.lock();
            let outcome = match (state.phase, self.failure.get()) {
                // A report that tells of a failure or an abort counts what was discarded for it.
                (phase, _) if phase != Phase::Stopped && !state.has_discarded => Outcome::Running,
                (_, Some(_)) => Outcome::Failed,
                _ if state.aborted_at.is_some() => Outcome::Aborted,
                (Phase::Stopped, None) => Outcome::Finished,
                (_, None) => Outcome::Running,
            };
            let until = state.ended_at.unwrap_or_else(|| self.clock.now());
            (outcome, state.up_since.map_or(Duration::ZERO, |since| until.saturating_duration_since(since)))
        };
        let restarts = self.state.lock().restarts.clone();
        let restarts_of = |wanted: usize| {
            let workers = self.worker_ids.iter().zip(&restarts);
            workers
                .filter(|(worker_id, _)| matches!(worker_id, WorkerId::Stage { index, .. } if *index == wanted))
                .map(|(_, n)| n)
                .sum()
        };
        let ended = self.blocks.ended_in_branches(0);
        let mut age = <(Spread, Spread)>::default();
        let nodes: Vec<(StageReport, bool)> = (0..self.graph.stages.len())
            .map(|index| {
                let node = &self.graph.stages[index];
                let limits = self.inlets[index].buffer.limits();
                let (counts, reading) = self.read(index);
                // The last stage's stays.
                age = reading.ages_after;
                let stage = StageReport {
                    name: self.stage_name(index).to_owned(),
                    intake: node.intake,
                    overflow: limits.overflow,
                    buffer_size: limits.capacity,
                    buffer: counts,
                    counts: reading.counts,
                    workers: node.workers,
                    restarts: restarts_of(index),
                    age: reading.ages.0,
                    busy: reading.busy,
                    p50: reading.times.0.p50,
                    p99: reading.times.0.p99,
                    recent: Recent { age: reading.ages.1, run: reading.times.1 },
                };
                (stage, self.graph.brings_to_join(index))
            })
            .collect();
        let joins = self.graph.blocks.iter().zip(ended).enumerate().map(|(index, (block, ended))| JoinReport {
            name: self.graph.stages[block.fork].name.clone(),
            branches: block.branches.len(),
            counts: self.blocks.join(index).counts(&ended),
        });
        let mut report = Report::new(outcome, elapsed, nodes, joins.collect(), age);
        report.source = self.graph.source.map(|_| {
            let (wait, longest_wait) = self.source_waits.read(self.clock.now());
            SourceReport { wait, longest_wait }
        });
        if self.state.lock().left_behind {
            report.left_behind = self.not_ended();
        }
        report
    }

    /// Reads what happened in a buffer, and in the stage behind it.
    fn read(&self, index: usize) -> (BufferCounts, Reading) {
        let received = || match self.flows[index] {
            Flow::Next(next) => self.inlets[next].buffer.counts().entered,
            Flow::Fork(block) => {
                let branches = &self.graph.blocks[block].branches;
                branches.iter().map(|(first, _)| self.inlets[*first].buffer.counts().entered).sum()
            }
            Flow::Join { block, branch } => self.blocks.join(block).arrived(branch),
            Flow::End => 0,
        };
        let (counts, mut reading) = self.inlets[index].buffer.read();
        // What a worker gave before it died is known only to the buffer that received it.
        reading.counts.gave = received();
        (counts, reading)
    }
}
