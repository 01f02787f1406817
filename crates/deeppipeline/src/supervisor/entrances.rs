//! The entrances of a pipeline: where samples are put, and the sources, which come and go while it runs.

use super::restarts::{Openings, SourceStep};
use super::stalls::Stall;
use super::{Closer, SOURCE, State, Supervisor, call};
use crate::activity::{Shown, SourceWaits};
use crate::buffer::{LaneKey, LaneOptions, Wait};
use crate::error::{EntranceError, Failure};
use crate::graph::{EntranceNode, MAX_ENTRANCES, Node, SourceNode};
use crate::ledger::BufferCounts;
use crate::phase::{Event, WorkerEvent, WorkerPhase};
use crate::report::{SourceReport, SourceState};
use crate::restart::RestartPolicy;
use crate::source_id::SourceId;
use crate::stage_name::StageName;
use crate::unwind::release;
use crate::worker::{Entry, Role, Worker, WorkerContext, WorkerId};
use std::sync::Arc;
use std::time::Duration;

/// A source that has a worker.
pub(super) struct RunningSource {
    /// The place of its entrance among all.
    pub(super) entrance: usize,
    pub(super) phase: WorkerPhase,
    pub(super) activity: Arc<Shown>,
    pub(super) closer: Option<Arc<Closer>>,
    /// False once it is to give nothing more, though the others go on.
    pub(super) is_wanted: bool,
    pub(super) restart: Option<RestartPolicy>,
    pub(super) step: SourceStep,
    /// The time that it may give nothing.
    pub(super) stall_timeout: Option<Duration>,
    pub(super) stall: Option<Stall>,
    /// True if it has ended for all others, and has not returned from the user's code.
    pub(super) is_left: bool,
}

/// One entrance.
pub(super) struct Entrance {
    /// The default for the one that has no name.
    id: SourceId,
    /// The source's worker, by its place among those that have one; none for an entrance to put into, and for a source
    /// that has ended.
    source: Option<usize>,
    has_source: bool,
    lane: LaneKey,
    /// The counters of its lanes that were taken away.
    past: BufferCounts,
    pub(super) waits: Arc<SourceWaits>,
    /// The failure that ended the source for good.
    failure: Option<Arc<Failure>>,
    /// True if one did.
    has_failed: bool,
    /// The text of the last error of the source.
    pub(super) last_error: Option<String>,
    pub(super) openings: Openings,
    is_removed: bool,
}

impl Entrance {
    fn new(id: SourceId, lane: LaneKey, source: Option<usize>) -> Self {
        Entrance {
            id,
            source,
            has_source: source.is_some(),
            lane,
            past: BufferCounts::default(),
            waits: Arc::default(),
            failure: None,
            has_failed: false,
            last_error: None,
            openings: Openings::default(),
            is_removed: false,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.id.name().unwrap_or(SOURCE)
    }
}

impl RunningSource {
    fn of(entrance: usize, node: SourceNode, stall_timeout: Option<Duration>) -> Self {
        let restart = node.restart;
        RunningSource {
            entrance,
            phase: WorkerPhase::Starting,
            activity: Arc::new(Shown::new()),
            closer: None,
            is_wanted: true,
            restart,
            step: if restart.is_some() { SourceStep::Opening(None) } else { SourceStep::Streaming },
            stall_timeout,
            stall: None,
            is_left: false,
        }
    }
}

impl State {
    /// Returns true if every source is up, or has ended without being up.
    pub(super) fn sources_are_up(&self) -> bool {
        self.sources.iter().all(|source| {
            let ended_alone = self.entrances[source.entrance].id != SourceId::default();
            source.phase == WorkerPhase::Ready || (ended_alone && source.phase.gives_no_more())
        })
    }

    /// Returns true if no sample comes in any more: all sources have ended, and nothing may be put.
    pub(super) fn entrance_is_over(&self) -> bool {
        let takes_puts = self.entrances.iter().any(|entrance| !entrance.has_source);
        let may_be_put = takes_puts && self.phase.wants_samples();
        !may_be_put && self.sources.iter().all(|source| source.phase.gives_no_more())
    }

    /// Returns the closers of all sources.
    pub(super) fn closers(&self) -> Vec<Arc<Closer>> {
        self.sources.iter().filter_map(|source| source.closer.clone()).collect()
    }

    /// The entrance whose source has that worker.
    fn entrance_of(&self, source: usize) -> &Entrance {
        &self.entrances[self.sources[source].entrance]
    }

    /// Returns the title of the source that has that worker.
    pub(super) fn source_name(&self, source: usize) -> &'static str {
        self.entrance_of(source).name()
    }

    /// Notes that a source has failed for good. Returns true where that is no failure of the pipeline: it has others.
    pub(super) fn source_failed(&mut self, source: usize, failure: &Arc<Failure>, error: String) -> bool {
        // It was left behind, and its entrance may be another's by now.
        if self.sources[source].is_left {
            return true;
        }
        let entrance = &mut self.entrances[self.sources[source].entrance];
        if !std::mem::replace(&mut entrance.has_failed, true) {
            entrance.last_error = Some(error);
        }
        let goes_on = entrance.id != SourceId::default();
        if goes_on {
            entrance.failure.get_or_insert_with(|| Arc::clone(failure));
        }
        goes_on
    }

    /// Returns the failure of a source that is to be told to the callers that wait for the end.
    pub(super) fn failure_of_a_source(&self) -> Option<Arc<Failure>> {
        let of_user =
            self.entrances.iter().filter(|entrance| !entrance.is_removed && entrance.id != SourceId::default());
        of_user.filter_map(|entrance| entrance.failure.clone()).next()
    }

    /// Moves a source on, and returns its phase before and now.
    pub(super) fn move_source(&mut self, source: usize, event: WorkerEvent) -> (WorkerPhase, WorkerPhase) {
        let source = &mut self.sources[source];
        let before = source.phase;
        source.phase = before.after(event);
        // One that was left behind has returned.
        if before == WorkerPhase::Stopped && event == WorkerEvent::TornDown {
            source.is_left = false;
        }
        (before, source.phase)
    }

    /// Returns true if no source gives anything any more, and nothing else comes in then. From now on nothing does.
    pub(super) fn is_without_sources(&mut self) -> bool {
        let takes_puts = self.entrances.iter().any(|entrance| !entrance.has_source);
        let all_end = self.sources.iter().all(|source| source.phase.gives_no_more());
        if !all_end || (takes_puts && self.phase.wants_samples() && !self.closes_after_sources) {
            return false;
        }
        if self.entrances.iter().any(|entrance| entrance.id != SourceId::default()) {
            self.phase = self.phase.after(Event::Close);
        }
        true
    }

    /// Notes how far the end of a source has come. Returns the lane that closes with it, and its closer once it is not
    /// needed any more.
    pub(super) fn leave_source(
        &mut self,
        source: usize,
        ends: bool,
        now: WorkerPhase,
    ) -> (Option<LaneKey>, Option<Arc<Closer>>) {
        let entrance = &mut self.entrances[self.sources[source].entrance];
        if entrance.id == SourceId::default() {
            return (None, None);
        }
        if ends {
            entrance.source = None;
        }
        let closer = (now == WorkerPhase::Stopped).then(|| self.sources[source].closer.take()).flatten();
        (ends.then_some(entrance.lane), closer)
    }

    fn known_sources(&self) -> Vec<String> {
        let sources = self.entrances.iter().filter(|entrance| entrance.has_source && !entrance.is_removed);
        sources.map(|entrance| entrance.name().to_owned()).collect()
    }

    pub(super) fn entrances_to_put_into(&self) -> Vec<String> {
        let open = self.entrances.iter().filter(|entrance| !entrance.has_source);
        open.map(|entrance| entrance.name().to_owned()).collect()
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// Opens the entrances that are described, the one without a name among them.
    pub(super) fn open_entrances(&self) {
        let state = &mut *self.state.lock();
        if let Some(node) = self.layout.source {
            state.entrances.push(Entrance::new(SourceId::default(), LaneKey::default(), Some(0)));
            state.sources.push(RunningSource::of(0, node, self.layout.stall_timeout));
        }
        for node in &self.layout.entrances {
            let id = SourceId::of(&node.name);
            // The description has no more than there may be.
            let lane = self.inlets[0].buffer.open_lane(self.lane_options(node)).unwrap_or_default();
            let source = node.source.map(|_| state.sources.len());
            if let Some(of_source) = node.source {
                let stall_timeout = node.stall_timeout.or(self.layout.stall_timeout);
                state.sources.push(RunningSource::of(state.entrances.len(), of_source, stall_timeout));
            } else {
                self.put_entrances.write().insert(node.name.clone(), (id, lane));
            }
            state.entrances.push(Entrance::new(id, lane, source));
        }
    }

    fn lane_options(&self, node: &EntranceNode) -> LaneOptions {
        let max_age = node.max_age.or(self.layout.limits[0].max_age);
        LaneOptions { overflow: self.layout.overflow_of(node), max_age }
    }

    /// Returns the workers of the sources that are there from the beginning.
    pub(super) fn source_workers(self: &Arc<Self>) -> Vec<Worker<V>> {
        self.watch_stalls();
        let sources = self.state.lock().sources.len();
        (0..sources).map(|source| Worker::new(self.context_of_source(source))).collect()
    }

    /// Returns what the worker of a source is given to work with.
    fn context_of_source(self: &Arc<Self>, source: usize) -> WorkerContext<V> {
        let state = self.state.lock();
        let entrance = state.entrance_of(source);
        let worker_id = WorkerId::Source(source);
        WorkerContext {
            pipeline: self.id,
            worker_id,
            role: Role::Source(source),
            name: Arc::new(StageName::new(entrance.name())),
            options: Node::new(entrance.name()),
            info: Arc::new(self.info_of(0)),
            clock: self.clock.clone(),
            input: None,
            output: self.output_of(worker_id),
            gathers: None,
            entry: Entry { source: entrance.id, lane: entrance.lane },
            reorders: false,
            joined: false,
            answers: false,
            activity: Arc::clone(&state.sources[source].activity),
            timer: None,
            source_waits: Some(Arc::clone(&entrance.waits)),
            restart: state.sources[source].restart,
            control: Arc::clone(self) as _,
        }
    }

    /// Adds a source while the pipeline runs, and returns its worker, which is to be given a driver.
    ///
    /// # Errors
    /// A name that another source has, as many sources as there may be, or a pipeline that takes no more.
    pub fn add_source(
        self: &Arc<Self>,
        node: EntranceNode,
        closer: Option<Closer>,
    ) -> Result<Worker<V>, EntranceError> {
        self.check_new_source(&node)?;
        let source = {
            let state = &mut *self.state.lock();
            if !state.phase.wants_samples() {
                return Err(EntranceError::Closed { name: node.name });
            }
            let id = SourceId::of(&node.name);
            let known = state.entrances.iter().position(|entrance| entrance.id == id);
            let is_taken = |entrance: &Entrance| !entrance.has_source || (entrance.source.is_some());
            if known.is_some_and(|place| is_taken(&state.entrances[place])) {
                return Err(EntranceError::Twice { name: node.name });
            }
            self.free_lanes(state);

            // What an earlier source of that name gave is taken before what this one gives.
            let (buffer, options) = (&self.inlets[0].buffer, self.lane_options(&node));
            let before = known.map(|place| state.entrances[place].lane).filter(|lane| *lane != LaneKey::default());
            let lane = match before {
                Some(lane) => {
                    buffer.reopen_lane(lane, options);
                    lane
                }
                None => buffer.open_lane(options).ok_or(EntranceError::TooMany { most: MAX_ENTRANCES })?,
            };
            let free = state.sources.iter().position(|source| source.phase == WorkerPhase::Stopped && !source.is_left);
            let source = free.unwrap_or(state.sources.len());
            let entrance = known.unwrap_or(state.entrances.len());
            match known {
                Some(place) => {
                    let before = std::mem::replace(&mut state.entrances[place], Entrance::new(id, lane, Some(source)));
                    state.entrances[place].past = before.past;
                }
                None => state.entrances.push(Entrance::new(id, lane, Some(source))),
            }
            let stall_timeout = node.stall_timeout.or(self.layout.stall_timeout);
            let mut running = RunningSource::of(entrance, node.source.unwrap_or_default(), stall_timeout);
            running.closer = closer.map(Arc::new);
            match free {
                Some(_) => state.sources[source] = running,
                None => state.sources.push(running),
            }
            source
        };
        self.tell_all();
        self.watch_stalls();
        Ok(Worker::new(self.context_of_source(source)))
    }

    /// Checks what is said of a source that is to be added.
    pub(crate) fn check_new_source(&self, node: &EntranceNode) -> Result<(), EntranceError> {
        if !self.has_named_entrances() {
            return Err(EntranceError::OnlyOne);
        }
        Ok(node.check(self.layout.limits[0].intake)?)
    }

    /// Returns the names of the sources that have not been removed.
    pub(crate) fn known_sources(&self) -> Vec<String> {
        self.state.lock().known_sources()
    }

    /// Asks a source for nothing more, while the others go on; what it gave flows out in order. Does not wait.
    ///
    /// # Errors
    /// A name that no source has.
    pub fn remove_source(&self, name: &str) -> Result<(), EntranceError> {
        let closer = {
            let state = &mut *self.state.lock();
            let is_it = |entrance: &&mut Entrance| {
                entrance.has_source && !entrance.is_removed && entrance.id.name() == Some(name)
            };
            let Some(entrance) = state.entrances.iter_mut().find(is_it) else {
                return Err(EntranceError::UnknownSource { got: name.to_owned(), known: state.known_sources() });
            };
            entrance.is_removed = true;
            let source = entrance.source;
            source.and_then(|source| {
                state.sources[source].is_wanted = false;
                state.sources[source].closer.clone()
            })
        };
        closer.into_iter().for_each(call);
        self.tell_all();
        Ok(())
    }

    /// Returns the source or entrance of that name, if there is or was one.
    pub(crate) fn source_to_flush(&self, name: &str) -> Result<SourceId, EntranceError> {
        let state = self.state.lock();
        let named = || state.entrances.iter().filter(|entrance| entrance.id != SourceId::default());
        if named().next().is_none() {
            return Err(EntranceError::Unnamed { got: name.to_owned() });
        }
        let found = named().find(|entrance| entrance.name() == name);
        found.map(|entrance| entrance.id).ok_or_else(|| {
            let known = named().filter(|entrance| !entrance.is_removed);
            EntranceError::Unknown { got: name.to_owned(), known: known.map(|e| e.name().to_owned()).collect() }
        })
    }

    /// Waits until the worker of a source that was removed has ended; false when the caller would not wait any longer.
    pub fn wait_source_ended(&self, name: &str, wait: Wait) -> bool {
        let mut state = self.state.lock();
        loop {
            let mut removed = state.sources.iter().enumerate().filter(|(_, source)| !source.is_wanted);
            let runs =
                removed.any(|(place, source)| source.phase != WorkerPhase::Stopped && state.source_name(place) == name);
            if !runs {
                return true;
            }
            if !self.wait_for_change(&mut state, wait) {
                return false;
            }
        }
    }

    /// Takes away lanes whose source has ended, once nothing is inside.
    fn free_lanes(&self, state: &mut State) {
        for entrance in &mut state.entrances {
            let has_ended = entrance.has_source && entrance.source.is_none() && entrance.lane != LaneKey::default();
            if has_ended && let Some(counts) = self.inlets[0].buffer.free_lane(entrance.lane) {
                entrance.past.add(&counts);
                entrance.lane = LaneKey::default();
            }
        }
    }

    /// Closes the entrance once all sources have ended; at once where there are none.
    pub fn close_after_sources(&self) {
        let is_over = {
            let mut state = self.state.lock();
            state.closes_after_sources = true;
            let has_sources = state.entrances.iter().any(|entrance| entrance.has_source);
            let takes_puts = state.entrances.iter().any(|entrance| !entrance.has_source);
            !has_sources || (takes_puts && state.sources.iter().all(|source| source.phase.gives_no_more()))
        };
        if is_over {
            self.close();
        }
    }

    /// Returns true if samples come from a source.
    pub fn has_sources(&self) -> bool {
        self.state.lock().entrances.iter().any(|entrance| entrance.has_source)
    }

    /// Returns true if samples may only be put by the name of an entrance.
    pub(super) fn has_named_entrances(&self) -> bool {
        !self.layout.entrances.is_empty()
    }

    /// Closes the lanes into which samples are put.
    pub(super) fn close_entrances(&self) {
        let lanes: Vec<_> = self.put_entrances.read().values().map(|(_, lane)| *lane).collect();
        lanes.into_iter().for_each(|lane| self.inlets[0].buffer.close_lane(lane));
    }

    /// Returns true if a source is to be asked for one more sample.
    pub(super) fn source_is_wanted(&self, worker_id: WorkerId) -> bool {
        let state = self.state.lock();
        let is_wanted = match worker_id {
            WorkerId::Source(source) => state.sources[source].is_wanted,
            WorkerId::Stage { .. } => true,
        };
        is_wanted && state.phase.wants_samples()
    }

    /// Returns what worker processes are told of the sources that were added after so many: their numbers and names.
    #[cfg(processes)]
    pub(crate) fn sources_told_after(&self, told: usize) -> Vec<(u32, String)> {
        if !self.has_named_entrances() {
            return Vec::new();
        }
        let state = self.state.lock();
        state.entrances.iter().skip(told).filter_map(|entrance| entrance.id.told()).collect()
    }

    /// Returns the sources that have been asked to end and have not ended yet, by their places among those with a
    /// worker.
    pub fn sources_that_should_end(&self) -> Vec<usize> {
        let state = self.state.lock();
        let closes = !state.phase.wants_samples();
        let sources = state.sources.iter().enumerate();
        let late = sources.filter(|(_, source)| (closes || !source.is_wanted) && source.phase != WorkerPhase::Stopped);
        late.map(|(place, _)| place).collect()
    }

    /// Sets how a source is woken from another thread.
    pub fn set_closer(&self, source: usize, closer: Option<Closer>) {
        let closer = closer.map(Arc::new);
        let mut state = self.state.lock();
        let before = match state.sources.get_mut(source) {
            Some(source) => std::mem::replace(&mut source.closer, closer),
            None => closer,
        };
        drop(state);
        // What it has captured is the user's.
        release(before);
    }

    /// The rows of all entrances that have a name, and of the source without one.
    pub(super) fn source_rows(&self) -> Vec<SourceReport> {
        match self.counted_rows() {
            (rows, true) => rows,
            // A lane was taken away meanwhile: its counters are in its row by now.
            (_, false) => self.counted_rows().0,
        }
    }

    /// Does so, and returns true if every lane was still there when its counters were read.
    fn counted_rows(&self) -> (Vec<SourceReport>, bool) {
        let rows: Vec<_> = {
            let state = self.state.lock();
            let now = self.clock.now();
            let rows = state.entrances.iter().map(|entrance| {
                let (wait, longest_wait) = entrance.waits.read(now);
                let row = SourceReport {
                    name: entrance.name().to_owned(),
                    state: self.state_of(&state, entrance),
                    last_error: entrance.last_error.clone(),
                    restarts: entrance.openings.restarts(),
                    next_try: self.step_of(&state, entrance).and_then(|step| step.next_try(now)),
                    counts: entrance.past.clone(),
                    wait,
                    longest_wait,
                };
                (row, entrance.id, entrance.lane)
            });
            rows.collect()
        };
        // A buffer's lock may be one that a process has, which no caller waits for while it has the supervisor's.
        let buffer = &self.inlets[0].buffer;
        let mut are_whole = true;
        let counted = rows.into_iter().map(|(mut row, id, lane)| {
            let counts = match id == SourceId::default() {
                true => Some(buffer.counts()),
                false => buffer.lane_counts(lane),
            };
            are_whole &= counts.is_some() || lane == LaneKey::default();
            counts.iter().for_each(|counts| row.counts.add(counts));
            row.counts.last_dropped.clear();
            row
        });
        let counted = counted.collect();
        (counted, are_whole)
    }

    fn state_of(&self, state: &State, entrance: &Entrance) -> SourceState {
        match entrance.source.map(|source| state.sources[source].phase) {
            phase if entrance.has_failed && phase.is_none_or(WorkerPhase::gives_no_more) => SourceState::Failed,
            None if entrance.has_source || !state.phase.wants_samples() => SourceState::Ended,
            None => SourceState::Open,
            Some(WorkerPhase::Starting | WorkerPhase::Ready) => SourceState::Opening,
            Some(_) if entrance.source.is_some_and(|source| state.is_stalled(&state.sources[source])) => {
                SourceState::Stalled
            }
            Some(_) => self.step_of(state, entrance).map_or(SourceState::Ended, SourceStep::state),
        }
    }

    /// The step at which a source is that has not ended.
    fn step_of(&self, state: &State, entrance: &Entrance) -> Option<SourceStep> {
        let source = &state.sources[entrance.source?];
        (!source.phase.gives_no_more()).then_some(source.step)
    }
}
