//! The restart policy: what the end of a worker's process means, and whether another follows.

use super::child::{ChildProcess, Killed};
use super::worker_process::WorkerProcess;
use crate::aside;
use crate::buffer::HearsEnds;
use crate::buffer::shared::{self, Verdict};
use crate::error::{Doing, Exit, WorkerDied};
use crate::graph::RESTART_WINDOW;
use crate::phase::{WorkerEvent, WorkerPhase};
use crate::policies::OnCrash;
use crate::sample::SampleId;
use crate::worker::Control;
use rustix::event::{PollFd, PollFlags};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// The pause before the second restart in a row; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The step that is to follow the end of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// The start of another, after this pause; the reason is for a log.
    Restart {
        /// The pause, see [`WorkerProcess::rest`].
        pause: Duration,
        /// A description of what happened, for a log.
        why: String,
    },
    /// The stage has ended.
    Over {
        /// A warning for a log.
        warning: Option<String>,
    },
}

/// The deaths of a worker's processes, as far as they count for the next restart.
#[derive(Default)]
pub(super) struct Deaths(VecDeque<Instant>);

impl Deaths {
    fn forget_old_ones(&mut self, now: Instant) {
        self.0.retain(|death| now.duration_since(*death) < RESTART_WINDOW);
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    /// Adds one, and returns the pause before the next process: none after the first, so that a single crash costs
    /// nothing.
    fn add(&mut self, now: Instant) -> Duration {
        self.0.push_back(now);
        match self.0.len() as u32 {
            0 | 1 => Duration::ZERO,
            again => FIRST_PAUSE.saturating_mul(1 << (again - 2).min(16)).min(LONGEST_PAUSE),
        }
    }
}

impl<V: Send + 'static> WorkerProcess<V> {
    /// Learns how the process has ended, unless the process that forked it for the caller has told; gives what it had
    /// in flight its fate, and says what follows. What it said counts for more than its exit status, which may be lost.
    pub fn ended(&mut self, told: Option<Exit>) -> Then {
        let present = self.present.take();
        // It is collected here in any case, but only its parent learns something by it.
        let exit = present.as_ref().map_or(Exit::Unknown, ChildProcess::exit);
        let exit = told.unwrap_or(exit);
        let verdict = present.as_ref().and_then(|present| present.verdict);
        let verdict = verdict.unwrap_or_else(|| self.settle_in_flight());
        let phase = self.supervisor.phase_of(self.worker_id());

        // The last that it wrote may not have been looked at.
        std::iter::once(self.input().ok()).chain([self.output()]).flatten().for_each(|buffer| {
            buffer.look_for_damage();
        });
        if self.is_damaged() {
            return self.over_with(None);
        }
        if let Some(present) = present.as_ref().filter(|present| present.torn_down.is_some()) {
            return self.over_with(warning_after_teardown(present.killed, exit));
        }
        let aborted = self.supervisor.aborted_at().is_some();
        if aborted || (phase != WorkerPhase::TearingDown && self.is_given_up()) {
            return self.over_with(None);
        }
        let died = self.death(present, exit, phase);
        self.died(died, verdict, phase)
    }

    /// Ends the stage, whose work was done, or is not wanted any longer.
    fn over_with(&mut self, warning: Option<String>) -> Then {
        if let Some(warning) = warning.clone() {
            let stage = self.name().to_owned();
            aside::log(move || tracing::warn!(stage, "{warning}"));
        }
        self.over();
        Then::Over { warning }
    }

    /// Describes a death before the work was done.
    fn death(&self, present: Option<ChildProcess>, exit: Exit, phase: WorkerPhase) -> WorkerDied {
        WorkerDied {
            exit,
            time_limit: present.as_ref().and_then(|present| match present.killed? {
                Killed::TimeLimit(limit) => Some(limit),
                Killed::Overstayed | Killed::Unwanted => None,
            }),
            restarts: self.deaths.count(),
            while_starting: matches!(phase, WorkerPhase::Starting | WorkerPhase::Restarting),
            stood_still: self.stood_still(),
            stderr: present.map_or(Vec::new(), |present| present.last_lines().into()),
        }
    }

    /// Decides what follows a death: another process, or the end of the pipeline.
    fn died(&mut self, died: WorkerDied, verdict: Verdict, phase: WorkerPhase) -> Then {
        if let Some(number) = self.updating.take() {
            self.supervisor.died_of_update(self.worker_id(), number, &died);
        }
        // All that it had to give has gone on.
        let leaves = self.supervisor.is_to_leave(self.worker_id());
        if leaves && phase == WorkerPhase::TearingDown {
            return self.over_with(Some(format!("{}; it was leaving the stage", describe(&died, verdict))));
        }
        // Only what the new stage did can have been it, where there was no sample.
        let in_flight = verdict != Verdict::Nothing;
        let ends_replacing = self.supervisor.worker_died_in_replacing(self.worker_id(), in_flight, &died);
        // A stage that had failed for good, and died before it could say so, does not go on either.
        let has_failed = self.output().is_some_and(shared::Buffer::has_failed_turn);
        if !(self.may_restart(phase) || (ends_replacing && self.may_begin_again(phase))) || has_failed {
            let sample = match verdict {
                Verdict::Nothing => None,
                Verdict::Used(id) | Verdict::Lost(id) | Verdict::Flushed(id) | Verdict::Retried(id) => Some(id),
            };
            self.give_up(phase, sample, died);
            return Then::Over { warning: None };
        }
        let why = describe(&died, verdict);
        if leaves {
            return self.over_with(Some(format!("{why}; it was to leave the stage")));
        }
        let (stage, what) = (self.name().to_owned(), why.clone());
        aside::log(move || tracing::warn!(stage, "{what}; starting it again"));
        let pause = if ends_replacing { Duration::ZERO } else { self.deaths.add(Instant::now()) };
        self.supervisor.advance(self.worker_id(), WorkerEvent::Died);
        Then::Restart { pause, why }
    }

    /// Returns true if another process follows the one that has died.
    fn may_restart(&self, phase: WorkerPhase) -> bool {
        let node = &self.context.options;
        self.may_begin_again(phase)
            && node.after_a_crash() != OnCrash::Stop
            && self.deaths.count() < node.restarts_allowed()
    }

    /// Returns true if there may be another process, whatever is said of crashes.
    fn may_begin_again(&self, phase: WorkerPhase) -> bool {
        self.was_ready && self.may_restart && phase != WorkerPhase::TearingDown
    }

    /// Gives what a dead worker had in flight its fate. What the next buffer last received tells whether it had been
    /// used.
    ///
    /// The producer's side comes first: its last receipt is what the consumer's side is judged by. The turn comes last,
    /// once the fate is known on which it depends.
    pub(super) fn settle_in_flight(&mut self) -> Verdict {
        self.deaths.forget_old_ones(Instant::now());
        let dead = self.owner();
        let on_crash = self.context.options.after_a_crash();
        let received = self.output().and_then(|output| output.producer_died(dead));
        let Ok(input) = self.input() else { return Verdict::Nothing };
        // Now, since their slots are free once their fate is known.
        let left = if self.context.tells_fates() { input.in_flight_of(dead) } else { Vec::new() };
        let left_ids: Vec<_> = left.iter().map(|(id, _)| *id).collect();
        if let Some(inlet) = &self.context.input {
            left.into_iter().for_each(|(id, value)| inlet.keep_value(id, value));
        }
        let (verdict, take) = input.consumer_died(dead, on_crash, received);
        // It may have died before it could tell of the last that it wrote down.
        self.supervisor.look_for_ends(self.context.index());
        if let Some(next) = self.context.next() {
            self.supervisor.look_for_ends(next.index);
        }

        if let Some(inlet) = &self.context.input {
            inlet.forget_values(left_ids.into_iter());
        }

        let Some(ticket) = take.filter(|_| self.context.reorders) else { return verdict };
        let is_given_up = on_crash == OnCrash::Retry && input.is_discarding();
        let Some(output) = self.output() else { return verdict };
        match verdict {
            // If this stops the pipeline, or it had to be tried again and will not be, what was taken later does not go
            // on.
            _ if is_given_up || !self.may_restart(self.supervisor.phase_of(self.worker_id())) => {
                output.fail_turn(ticket)
            }
            Verdict::Retried(_) => self.tried_again = Some(ticket),
            Verdict::Nothing | Verdict::Used(_) | Verdict::Lost(_) | Verdict::Flushed(_) => output.end_turn(ticket),
        }
        verdict
    }

    /// Lets go of the turn of what was to be tried again where it was discarded with all that waited: the other workers
    /// of the stage must not wait for its turn then.
    pub(super) fn let_go_of_turn(&mut self) {
        let Some(ticket) = self.tried_again.take() else { return };
        if let (Ok(input), Some(output)) = (self.input(), self.output())
            && input.is_discarding()
            && !input.is_in_flight(ticket)
        {
            output.fail_turn_unless_ended(ticket);
        }
    }

    /// Waits out the pause before a restart; false when there is no need for one any longer.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn rest(&mut self, pause: Duration) -> io::Result<bool> {
        let until = Instant::now() + pause;
        loop {
            let is_unwanted = self.is_given_up() || self.supervisor.is_to_leave(self.worker_id());
            if self.supervisor.aborted_at().is_some() || is_unwanted {
                self.over();
                return Ok(false);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.supervisor.advance(self.worker_id(), WorkerEvent::StartedAgain);
                return Ok(true);
            }
            self.doze(&mut [PollFd::new(&self.waker, PollFlags::IN)], Some(left))?;
        }
    }

    /// Returns true if what is in front of the stage was discarded, so that there is nothing to be started for.
    pub(super) fn is_given_up(&self) -> bool {
        self.input().map_or(true, shared::Buffer::is_discarding)
    }

    fn give_up(&mut self, phase: WorkerPhase, sample: Option<SampleId>, died: WorkerDied) {
        let doing = match phase {
            _ if !self.was_ready => Doing::Setup,
            WorkerPhase::Draining if sample.is_none() => Doing::Finish,
            WorkerPhase::TearingDown => Doing::Teardown,
            _ => Doing::StageRun,
        };
        self.fail(doing, sample, Box::new(died));
    }
}

/// Returns what is worth a word about a process that ended after its work was done.
fn warning_after_teardown(killed: Option<Killed>, exit: Exit) -> Option<String> {
    match (killed, exit) {
        (Some(Killed::Overstayed), _) => Some(
            "its worker did not end after its teardown, and was killed: something that the stage left running kept it"
                .to_owned(),
        ),
        // An abort takes what it finds, and says so itself.
        (Some(_), _) | (None, Exit::Code(0) | Exit::Unknown) => None,
        (None, exit) => Some(format!("its worker {exit}, after its work was done")),
    }
}

fn describe(died: &WorkerDied, verdict: Verdict) -> String {
    let (what, id) = match verdict {
        Verdict::Nothing => return died.to_string(),
        Verdict::Used(id) => ("had been used", id),
        Verdict::Lost(id) => ("is lost", id),
        Verdict::Flushed(id) => ("was flushed", id),
        Verdict::Retried(id) => ("is tried again", id),
    };
    format!("{died}; sample {id}, which it had in flight, {what}")
}
