//! The account that the supervisor gives: the report, and the failure that stopped the pipeline.

use super::Supervisor;
use crate::activity::Activity;
#[cfg(processes)]
use crate::buffer::shared::Owner;
use crate::clock::Moment;
use crate::error::StageError;
use crate::graph::{Flow, PlacedBlock, Producer};
use crate::ledger::{BufferCounts, Reading, StageCounts};
use crate::phase::{Phase, WorkerPhase};
use crate::pipeline::LastSaid;
use crate::policies::{Intake, Overflow};
use crate::report::{Doing, JoinReport, Outcome, Recent, Report, Shares, Spread, StageReport, WorkerReport};
use crate::worker::Role;
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
        // What a worker that is left behind still has gets no answer any more.
        self.end_answers();
        self.inlets.iter().for_each(|inlet| inlet.tell_drops());
        self.report()
    }

    /// Returns what those who report on the pipeline keep of it.
    pub(crate) fn last_said(&self) -> LastSaid {
        Arc::clone(self.last_said.get_or_init(LastSaid::default))
    }

    /// Returns the same, if anybody reports on it.
    pub(crate) fn last_said_if_any(&self) -> Option<&LastSaid> {
        self.last_said.get()
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
        let (outcome, elapsed, at) = self.outcome_and_elapsed();
        let blocks = || self.layout.blocks.iter().enumerate();
        let ended = self.blocks.ended_in_branches(0);
        let mut age = <(Spread, Spread)>::default();
        let (mut rows, mut places) = (Vec::new(), Places::default());
        for (index, node) in self.layout.nodes.iter().enumerate() {
            // A block has a row in front of its branches, also where no relay hands samples to them.
            let begun = blocks()
                .filter(|(_, block)| block.nodes().start == index && !self.has_relay(block) && !block.gathers());
            for (block, _) in begun {
                places.add(Row::Block(block));
                rows.push((self.row_of_block(block), false));
            }
            let (row, ages_after) = self.row_of_node(index, elapsed, at);
            let brings_answers = self.layout.brings_answers(index);
            // The last stage's stays.
            age = if brings_answers { age } else { ages_after };
            // A sample that is split has its row where its parts come together.
            let is_on_the_way = match node.flow {
                Flow::Join { .. } => node.role == Role::Relay,
                Flow::Fork(block) => node.role == Role::Relay && self.gathers(block),
                Flow::End | Flow::Answers | Flow::Next(_) => false,
            };
            let is_hidden = is_on_the_way || brings_answers;
            if !is_hidden {
                places.add(Row::Node(index));
            }
            rows.push((row, is_hidden));
        }
        let shown = rows.iter_mut().filter(|(_, is_hidden)| !is_hidden);
        for ((row, _), of) in shown.zip(&places.0) {
            row.next = self.behind_row(*of, &places);
        }

        let joins = blocks().zip(ended).map(|((index, block), ended)| JoinReport {
            name: block.name.clone(),
            branches: block.branches.len(),
            counts: self.blocks.counts(index, &ended),
        });
        let mut report = Report::new(outcome, elapsed, rows, joins.collect(), age);
        report.sources = self.source_rows();
        report.fates_missed = self.fates.missed();
        if self.state.lock().left_behind {
            report.left_behind = self.not_ended();
        }
        report
    }

    /// The outcome, the time since everything was up, and the present: once the pipeline has ended, that is its end.
    pub(super) fn outcome_and_elapsed(&self) -> (Outcome, Duration, Moment) {
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
        let elapsed = state.up_since.map_or(Duration::ZERO, |since| until.saturating_duration_since(since));
        (outcome, elapsed, Moment::of(until))
    }

    /// The row of a node, and the ages of samples when it was done with them.
    fn row_of_node(&self, index: usize, elapsed: Duration, at: Moment) -> (StageReport, (Spread, Spread)) {
        let (buffer, reading) = self.read(index, at);
        let (options, limits) = (&self.layout.nodes[index].options, &self.layout.limits[index]);
        let (workers, doing) = self.workers_now(index, at);
        let ((blocked, blocked_lately), (ages, run)) = (self.blocked(index, at), (reading.ages.1, reading.times.1));
        // In the first seconds there are fewer than ten.
        let lately = reading.lately.min(elapsed);
        let rate = if lately.is_zero() { 0.0 } else { ages.count as f64 / lately.as_secs_f64() };
        let ended = run.mean.saturating_mul(u32::try_from(run.count).unwrap_or(u32::MAX));
        // What has not come to its end counts up to now.
        let up_to_now = |what: Doing| -> Duration {
            let of_that = doing.iter().filter(|worker| worker.doing == what);
            of_that.filter_map(|worker| worker.since).map(|since| since.min(lately)).sum()
        };
        let (busy, blocked_now) = (ended + up_to_now(Doing::Working), blocked_lately + up_to_now(Doing::Blocked));
        let shares = Shares::of(busy, blocked_now, workers, lately);
        let row = StageReport {
            name: self.stage_name(index).to_owned(),
            intake: options.intake,
            overflow: limits.overflow,
            buffer_size: limits.capacity,
            next: Vec::new(),
            buffer,
            counts: reading.counts,
            workers,
            doing,
            max_workers: options.workers,
            paused: self.is_paused(index),
            restarts: self.restarts_of(index),
            age: reading.ages.0,
            wait: reading.waits.0,
            busy: reading.busy,
            p50: reading.times.0.p50,
            p99: reading.times.0.p99,
            recent: Recent { age: ages, wait: reading.waits.1, run, rate, shares },
            blocked,
            age_of_information: reading.age_of_information,
        };
        (row, reading.ages_after)
    }

    /// The number of a node's workers, and what those do that have not ended.
    pub(super) fn workers_now(&self, index: usize, at: Moment) -> (usize, Vec<WorkerReport>) {
        let mut doing = Vec::new();
        let workers = {
            let state = self.state.lock();
            let present = self.present(&state, index);
            for worker in &present {
                let what = match state.workers[self.place_of(index, *worker)] {
                    WorkerPhase::Starting | WorkerPhase::Ready | WorkerPhase::Crashed | WorkerPhase::Restarting => {
                        Doing::Starting
                    }
                    WorkerPhase::Running => Doing::Waiting,
                    WorkerPhase::Draining | WorkerPhase::TearingDown => Doing::Ending,
                    WorkerPhase::Stopped | WorkerPhase::Resting => continue,
                };
                doing.push(WorkerReport { index: *worker, doing: what, since: None, sample: None });
            }
            present.len()
        };
        for worker in doing.iter_mut().filter(|worker| worker.doing == Doing::Waiting) {
            self.look_at(index, worker, at);
        }
        (workers, doing)
    }

    /// Looks at what a worker does that takes samples.
    fn look_at(&self, index: usize, worker: &mut WorkerReport, at: Moment) {
        #[cfg(processes)]
        if self.layout.is_in_process(index) {
            // Only its buffer says something about it.
            let owner = Owner::of_worker(index, worker.index);
            let since = self.inlets[index].buffer.shared().and_then(|buffer| buffer.running_since(owner));
            if let Some(since) = since {
                worker.doing = Doing::Working;
                worker.since = Some(Duration::from_nanos(at.since(Moment::of(since))));
            }
            return;
        }
        let shown = &self.activities[self.place_of(index, worker.index)];
        let since = shown.since();
        worker.since = since.map(|(since, _)| Duration::from_nanos(at.since(since)));
        worker.doing = match shown.get() {
            Activity::WaitsForSamples => return,
            Activity::Calls => Doing::Working,
            Activity::WaitsForRoom(_) => Doing::Blocked,
        };
        worker.sample = since.map(|(_, number)| number);
    }

    /// The places of the rows that get what a row gives.
    fn behind_row(&self, row: Row, places: &Places) -> Vec<usize> {
        match row {
            Row::Node(node) => self.rows_at(self.layout.nodes[node].flow, places),
            Row::Block(block) => self.branches(block).flat_map(|first| self.rows_of(first, places)).collect(),
        }
    }

    fn rows_at(&self, flow: Flow, places: &Places) -> Vec<usize> {
        match flow {
            Flow::Next(next) => self.rows_of(next, places),
            Flow::Fork(block) => match places.of(Row::Block(block)) {
                Some(place) => vec![place],
                None => self.branches(block).flat_map(|first| self.rows_of(first, places)).collect(),
            },
            Flow::Join { block, .. } => {
                self.behind(block).map(|behind| self.rows_of(behind, places)).unwrap_or_default()
            }
            Flow::End | Flow::Answers => Vec::new(),
        }
    }

    /// The place of a node, or of those behind it where it has no row.
    fn rows_of(&self, node: usize, places: &Places) -> Vec<usize> {
        match places.of(Row::Node(node)) {
            Some(place) => vec![place],
            None => self.rows_at(self.layout.nodes[node].flow, places),
        }
    }

    /// The number of times that workers of that node were started again.
    fn restarts_of(&self, wanted: usize) -> u64 {
        let state = self.state.lock();
        self.workers_of(wanted).map(|place| state.restarts[place]).sum()
    }

    /// Returns true if a relay hands samples to the branches of a block.
    fn has_relay(&self, block: &PlacedBlock) -> bool {
        matches!(block.fork, Producer::Node(fork) if self.layout.nodes[fork].role == Role::Relay)
    }

    /// The row of a block whose branches get samples straight from the stage in front of it: no buffer, no worker.
    fn row_of_block(&self, block: usize) -> StageReport {
        let mut entered = self.branches(block).map(|first| self.inlets[first].buffer.counts().entered);
        let handed_out = entered.next().unwrap_or_default();
        StageReport {
            name: self.layout.blocks[block].name.clone(),
            intake: Intake::Single,
            overflow: Overflow::Block,
            buffer_size: 0,
            next: Vec::new(),
            buffer: BufferCounts { entered: handed_out, taken: handed_out, ..BufferCounts::default() },
            counts: StageCounts { used: handed_out, gave: handed_out + entered.sum::<u64>(), ..StageCounts::default() },
            workers: 0,
            doing: Vec::new(),
            max_workers: 0,
            paused: false,
            restarts: 0,
            age: Spread::default(),
            wait: Spread::default(),
            busy: Duration::ZERO,
            p50: Duration::ZERO,
            p99: Duration::ZERO,
            recent: Recent::default(),
            blocked: Duration::ZERO,
            age_of_information: None,
        }
    }

    /// The time for which the workers of a node waited for room in front of what is behind them.
    fn blocked(&self, index: usize, at: Moment) -> (Duration, Duration) {
        let in_front_of = |node: usize| self.inlets[node].buffer.waited(at);
        match self.layout.nodes[index].flow {
            Flow::Next(next) => in_front_of(next),
            Flow::Fork(block) => self
                .branches(block)
                .map(in_front_of)
                .fold(<_>::default(), |(all, lately), waited| (waited.0 + all, waited.1 + lately)),
            Flow::Join { block, .. } => self.behind(block).map(in_front_of).unwrap_or_default(),
            Flow::End | Flow::Answers => <_>::default(),
        }
    }

    /// Reads what happened in a buffer, and in the stage behind it.
    fn read(&self, index: usize, at: Moment) -> (BufferCounts, Reading) {
        let entered = |node: usize| self.inlets[node].buffer.counts().entered;
        let node = &self.layout.nodes[index];
        let received = || match node.flow {
            // What is submitted has an answer; the ledger is the same as without.
            Flow::Next(next) if self.layout.brings_answers(next) => 0,
            Flow::Next(next) => entered(next),
            // What it gives is put together again, and so counts as one.
            Flow::Fork(block) if self.gathers(block) => self.behind(block).map_or(0, entered),
            // A relay gives every copy; a stage gives the sample, and the block's row says of the copies.
            Flow::Fork(block) if node.role == Role::Relay => self.branches(block).map(entered).sum(),
            Flow::Fork(block) => self.branches(block).next().map_or(0, entered),
            Flow::Join { block, branch } => self.blocks.arrived(block, branch),
            Flow::End | Flow::Answers => 0,
        };
        let (counts, mut reading) = self.inlets[index].buffer.read(at);
        // What a worker gave before it died is known only to the buffer that received it.
        reading.counts.gave = received();
        (counts, reading)
    }
}

/// What has a row in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Node(usize),
    Block(usize),
}

/// The rows of a report, in order.
#[derive(Debug, Default)]
struct Places(Vec<Row>);

impl Places {
    fn add(&mut self, row: Row) {
        self.0.push(row);
    }

    fn of(&self, row: Row) -> Option<usize> {
        self.0.iter().position(|known| *known == row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Wait;
    use crate::graph::{Graph, Node};

    #[test]
    fn an_abort_is_told_once_what_it_discards_is_counted() {
        let stages = vec![Node::new("end")];
        let (supervisor, _workers) = Supervisor::<u32>::new(Graph { stages, ..Graph::default() }).unwrap();
        supervisor.put(1, Wait::No).unwrap();
        // As on a thread that aborts and has not come to the buffers yet.
        supervisor.state.lock().aborted_at = Some(supervisor.clock.now());
        assert_eq!(supervisor.report().outcome, Outcome::Running);

        supervisor.abort();
        let report = supervisor.report();
        assert_eq!((report.outcome, report.stages[0].buffer.discarded), (Outcome::Aborted, 1));
    }
}
