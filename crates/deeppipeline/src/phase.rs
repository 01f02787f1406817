//! The phases, and which may follow which: one table for the pipeline, and one for a worker, on a thread or in a
//! process.

/// The phase of the whole pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A worker is not up yet; nothing runs.
    Starting,
    /// Everything is up.
    Running,
    /// The entrance is closed; what is inside flows out.
    Draining,
    /// A failure or an abort; some or all of what is inside was discarded.
    Halting,
    /// Every worker has ended.
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    AllUp,
    Close,
    Halt,
    AllEnded,
}

impl Phase {
    pub(crate) fn after(self, event: Event) -> Phase {
        match (self, event) {
            (Phase::Starting, Event::AllUp) => Phase::Running,
            (Phase::Starting | Phase::Running, Event::Close) => Phase::Draining,
            (Phase::Starting | Phase::Running | Phase::Draining, Event::Halt) => Phase::Halting,
            (_, Event::AllEnded) => Phase::Stopped,
            (phase, _) => phase,
        }
    }

    /// Returns true if a source is still asked for samples.
    pub(crate) fn wants_samples(self) -> bool {
        matches!(self, Phase::Starting | Phase::Running)
    }
}

/// The phase of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerPhase {
    /// The first `setup` runs.
    Starting,
    /// `setup` succeeded; it waits for the others.
    Ready,
    /// It takes samples.
    Running,
    /// Its buffer is drained: in `finish`.
    Draining,
    /// It gives no more: in `teardown`.
    TearingDown,
    /// Its process died before it was done; what it had in flight has its fate.
    Crashed,
    /// Its process is being started again, or in another `setup`.
    Restarting,
    /// The worker has ended.
    Stopped,
    /// There is no worker, and one may be started while the pipeline runs: it was not, or has left.
    Resting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum WorkerEvent {
    /// `setup` succeeded.
    SetUp,
    /// Every other worker's `setup` has returned, too.
    AllUp,
    /// The buffer in front is drained, or the worker leaves its stage.
    Drained,
    /// The worker is to give up: its buffer was discarded, it failed, `finish` is done, or the source has ended.
    Done,
    /// `teardown` is over, or there is nothing to tear down.
    TornDown,
    /// Its process died.
    #[cfg_attr(not(processes), allow(dead_code, reason = "threads do not die"))]
    Died,
    /// Its process is started again.
    StartedAgain,
    /// A worker begins where none was, while the pipeline runs.
    Joins,
    /// The worker, which was to leave its stage, has ended.
    Leaves,
}

impl WorkerPhase {
    /// Returns true if a worker gives nothing any more.
    pub(crate) fn gives_no_more(self) -> bool {
        matches!(self, WorkerPhase::TearingDown | WorkerPhase::Stopped | WorkerPhase::Resting)
    }

    /// Returns true if there is no worker, or none any longer.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, WorkerPhase::Stopped | WorkerPhase::Resting)
    }

    /// Returns true if the worker is set up, or there is none.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, WorkerPhase::Ready | WorkerPhase::Resting)
    }

    pub(crate) fn after(self, event: WorkerEvent) -> WorkerPhase {
        use WorkerPhase::{Crashed, Draining, Ready, Restarting, Resting, Running, Starting, Stopped, TearingDown};
        match (self, event) {
            (Starting | Restarting, WorkerEvent::SetUp) => Ready,
            (Ready, WorkerEvent::AllUp) => Running,
            (Running, WorkerEvent::Drained) => Draining,
            (Ready | Running | Draining, WorkerEvent::Done) => TearingDown,
            (Ready | Running | Draining | Restarting, WorkerEvent::Died) => Crashed,
            (Crashed, WorkerEvent::StartedAgain) => Restarting,
            (Resting, WorkerEvent::Joins) => Starting,
            (Resting, _) => Resting,
            (_, WorkerEvent::TornDown) => Stopped,
            (_, WorkerEvent::Leaves) => Resting,
            (phase, _) => phase,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WorkerEvent::{AllUp, Died, Done, Drained, Joins, Leaves, SetUp, StartedAgain, TornDown};
    use super::WorkerPhase::{Crashed, Draining, Ready, Restarting, Resting, Running, Starting, Stopped, TearingDown};
    use super::{WorkerEvent, WorkerPhase};

    fn lives(events: &[WorkerEvent]) -> Vec<WorkerPhase> {
        let mut phase = Starting;
        let phases = events.iter().map(|event| {
            phase = phase.after(*event);
            phase
        });
        phases.collect()
    }

    #[test]
    fn a_worker_comes_up_runs_drains_and_stops() {
        let phases = lives(&[SetUp, AllUp, Drained, Done, TornDown]);
        assert_eq!(phases, [Ready, Running, Draining, TearingDown, Stopped]);
    }

    #[test]
    fn a_worker_that_dies_comes_up_again() {
        let phases = lives(&[SetUp, AllUp, Died, StartedAgain, Died, StartedAgain, SetUp, AllUp, Drained, Died]);
        let again = [Crashed, Restarting, Crashed, Restarting, Ready, Running, Draining, Crashed];
        assert_eq!(phases, [&[Ready, Running][..], &again].concat());
    }

    #[test]
    fn a_place_without_a_worker_gets_one_and_rests_again() {
        let phases = [AllUp, TornDown, Joins, SetUp, AllUp, Drained, Done, Leaves, Joins];
        let mut phase = Resting;
        let phases = phases.map(|event| {
            phase = phase.after(event);
            phase
        });
        assert_eq!(phases, [Resting, Resting, Starting, Ready, Running, Draining, TearingDown, Resting, Starting]);
    }

    #[test]
    fn a_death_before_the_first_ready_or_after_the_last_gift_is_no_crash() {
        assert_eq!(Starting.after(Died), Starting);
        assert_eq!(TearingDown.after(Died), TearingDown);
        assert_eq!(Stopped.after(StartedAgain), Stopped);
    }
}
