//! The samples that a worker takes and has in flight: from its buffer, once more after an error, or kept for a later
//! list.

use super::in_flight::InFlight;
use super::{Call, Ending, Step, Windowed, Worker};
use crate::activity::Activity;
use crate::aside;
use crate::buffer::{Buffer, Take, Taken, Wait};
use crate::cuts::Cuts;
use crate::ledger::Fate;
use crate::sample::{Input, SampleInfo};
use crate::source_id::SourceId;
use std::task::Poll;
use std::time::Duration;

impl<V> Worker<V> {
    /// Takes from the buffer in front. What keeps others waiting for too long is given up meanwhile.
    #[inline(always)]
    pub(super) fn take(&mut self, wait: Wait) -> Option<Take<V>> {
        let (buffer, worker) = (self.context.input()?, self.context.worker());
        let output = self.context.output().filter(|_| self.context.reorders);
        self.context.activity.set(Activity::WaitsForSamples);

        loop {
            let patience = wait.no_later_than(buffer.overdue_at());
            // What has ended early takes place until its turn, too.
            let up_to = output.map_or(u64::MAX, Buffer::turns_up_to);
            let taken = buffer.take(worker, &mut self.unsettled, up_to, patience);
            match taken {
                Take::Ahead(next) if output.is_none_or(|output| output.wait_for_turns_up_to(next, patience)) => {}
                Take::Empty if self.give_up_overdue(false) => {}
                Take::Ahead(_) | Take::Empty if wait.is_over(self.context.clock.now()) => return Some(Take::Empty),
                Take::Ahead(_) | Take::Empty => {}
                _ => return Some(taken),
            }
        }
    }

    /// Gives up what another worker has in flight for longer than the stage's time-out, if others wait for it.
    pub(super) fn give_up_overdue(&self, anyway: bool) -> bool {
        let Some(overdue) = self.context.input().and_then(|buffer| buffer.give_up_overdue(anyway)) else {
            return false;
        };
        let (stage, after) = (self.name().to_owned(), overdue.after);
        aside::log(move || tracing::warn!(stage, "a sample is lost: others have waited for it for {after:?}"));
        self.end_turn(overdue.ticket);
        true
    }

    /// Notes a flush since the last take.
    #[cold]
    pub(super) fn note_flush(&mut self, taken: &Taken) {
        if let Some(buffer) = self.context.input() {
            let Cuts { of_all, of_sources, forgotten } = buffer.cuts();
            let before = std::mem::replace(&mut self.cut, taken.cut);
            self.forgets_sources.extend(of_sources.into_iter().filter(|cut| cut.number > before));
            // It has emptied the stage's windows.
            if of_all > before {
                self.windowed = 0;
                self.forgets_windows = true;
            }
            // It slept through more flushes than are known.
            if forgotten > before {
                self.skip_all_windowed();
                self.forgets_windows = true;
            }
        }
    }

    /// Returns true if nothing that is in flight goes on, since it had entered before a flush. A list that gives one
    /// result has samples of several sources: only a flush of all takes it whole.
    pub(super) fn is_flight_cut_off(&self, in_flight: &InFlight) -> bool {
        let is_cut_off = &self.context.info.is_cut_off;
        let present = &in_flight.present;
        match in_flight.left() {
            Some(left) => left.iter().all(|member| is_cut_off(&member.info)),
            None if in_flight.samples > 1 => is_cut_off(&SampleInfo { source: SourceId::default(), ..*present }),
            None => is_cut_off(present),
        }
    }

    /// Ends what was taken and had entered before a flush, without a call.
    pub(super) fn flush_taken(&mut self, newest: SampleInfo, samples: u64, taken: Taken) {
        self.has_turn(taken.ticket);
        self.finish_turn();
        self.count(InFlight::new(newest, samples, taken), Fate::Flushed);
    }

    #[inline(always)]
    pub(super) fn run(&mut self, input: Input<V>, taken: Taken) -> Poll<Option<Call<V>>> {
        self.has_turn(taken.ticket);
        let newest = input.newest();
        if let Some(newest) = newest {
            self.context.activity.begin(newest.id.number, taken.at);
            self.take_into_flight(newest, input.count(), taken);
            self.await_answers(&input);
            self.context.show_running(Some((newest.id, Duration::ZERO)));
        }
        self.context.activity.set(Activity::Calls);
        self.context.enter(newest);
        Poll::Ready(Some(Call::StageRun(input)))
    }

    /// Notes that somebody waits for a sample of a list.
    #[inline(always)]
    fn await_answers(&mut self, input: &Input<V>) {
        if let (Input::List(list), Step::Running(in_flight)) = (input, &mut self.step) {
            in_flight.is_awaited = list.iter().any(|sample| !sample.fork.is_none());
        }
    }

    #[inline(always)]
    pub(super) fn take_into_flight(&mut self, newest: SampleInfo, samples: u64, taken: Taken) {
        self.last = Some(newest);
        self.parts = taken.given;
        self.step = Step::Running(InFlight::new(newest, samples, taken));
    }

    /// Runs the stage once more on what it has in flight, unless that was given up meanwhile.
    pub(super) fn run_again(&mut self) -> Option<Poll<Option<Call<V>>>> {
        let Step::Trying(mut in_flight) = std::mem::replace(&mut self.step, Step::Idle) else { return None };
        let buffer = self.context.input()?;
        if buffer.is_discarding() {
            if self.context.options.on_error.stops() {
                self.fail_turn();
            }
            self.finish_turn();
            self.count(in_flight, Fate::Failed);
            self.release_results();
            return None;
        }
        // The next of a batch, on which it failed before a flush.
        if self.is_flight_cut_off(&in_flight) {
            self.finish_turn();
            self.count(in_flight, Fate::Flushed);
            self.release_results();
            return None;
        }
        let alone = in_flight.batch.as_ref().map(|batch| batch.present());
        let again = buffer.read_again(in_flight.lease.as_ref(), if alone.is_some() { 1 } else { usize::MAX });
        self.context.activity.set(Activity::Calls);
        self.context.show_running(Some((in_flight.present.id, Duration::from_nanos(in_flight.busy))));
        let now = self.context.clock.moment();
        self.context.activity.set_since(now);
        in_flight.run(now);
        self.step = Step::Running(in_flight);
        match again {
            Ok(input) => {
                self.enter();
                Some(Poll::Ready(Some(match alone {
                    Some(index) => Call::RunAlone(index, input),
                    None => Call::RunAgain(input),
                })))
            }
            Err(cause) => {
                self.settle(Ending::Failed(cause));
                None
            }
        }
    }

    /// Says what becomes of samples that the stage has kept, before the present call ends.
    pub fn account(&mut self, windowed: Windowed) {
        let Windowed { used, skipped, flushed } = windowed;
        self.windowed = self.windowed.saturating_sub(used + skipped + flushed);
        self.end_windowed(skipped, Fate::Skipped);
        self.end_windowed(flushed, Fate::Flushed);
        if let Step::Running(in_flight) = &mut self.step {
            in_flight.windowed += used;
        }
    }

    fn end_windowed(&self, samples: u64, fate: Fate) {
        if let Some(buffer) = self.context.input().filter(|_| samples > 0) {
            buffer.end_windowed(self.context.worker(), samples, fate);
        }
    }

    /// Skips what the stage still has for a later list, since there will be none.
    pub(super) fn skip_all_windowed(&mut self) {
        self.account(Windowed { skipped: self.windowed, ..Windowed::default() });
    }
}
