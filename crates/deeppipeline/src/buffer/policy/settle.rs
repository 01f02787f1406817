//! The settling of samples that a worker has in flight.

use super::state::SlotState;
use super::{Change, How, Storage, Wake, lower};
use crate::buffer::histogram::Durations;
use crate::ledger::Fate;

/// The outcome of a call of `stage_run`, for what it was called with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settlement {
    pub(crate) fate: Fate,
    /// Samples kept before for a window that its list has used, too.
    pub(crate) windowed: u64,
    /// Nanoseconds in `stage_run`, where a call has ended with it.
    pub(crate) took: Option<u64>,
    /// Nanoseconds of the newest sample's age.
    pub(crate) age: u64,
    /// The time when `stage_run` ended.
    pub(crate) ended_at: u64,
    /// True if it gave parts.
    pub(crate) is_split: bool,
}

/// The samples in flight from one take.
#[derive(Debug, Clone, Copy)]
pub(in crate::buffer) enum Flight<'a> {
    /// The slots that the place remembers, unless they are from another take by now.
    OfTake(u64),
    /// The first of those.
    FirstOfTake(u64),
    /// These slots, and whether each is still looked at: it is [released](Change::release) later.
    #[cfg_attr(not(processes), expect(dead_code, reason = "between threads the place remembers"))]
    Slots(&'a [(usize, bool)]),
    /// One slot of several.
    #[cfg_attr(not(processes), expect(dead_code, reason = "between threads the place remembers"))]
    OneOf((usize, bool)),
}

impl<S: Storage> Change<'_, S> {
    /// Settles what is in flight, unless it was given up before.
    #[inline(always)]
    pub(in crate::buffer) fn settle(&mut self, place: usize, flight: Flight<'_>, settlement: Settlement) {
        let Settlement { fate, windowed, took, age, ended_at, is_split } = settlement;
        if self.limits.is_last && self.limits.intake.keeps_identity() {
            self.record_ages_after(place, flight, ended_at);
        }
        let samples = self.land(place, flight, How::of(fate), is_split, ended_at);
        if samples == 0 {
            return;
        }
        if self.limits.is_last && fate == Fate::Used {
            let head = self.head();
            head.newest = head.newest.max(ended_at.saturating_sub(age));
        }
        let windowed = self.use_windowed(place, windowed);
        self.count_settled(samples.saturating_add(windowed), fate);
        if let Some(took) = took {
            self.count_call(took, ended_at);
        }
        if self.limits.is_last && !self.limits.intake.keeps_identity() {
            self.storage.record(Durations::AgesAfter, age, ended_at);
        }
    }

    /// Counts the age of each sample in flight, where each has a fate of its own.
    fn record_ages_after(&mut self, place: usize, flight: Flight<'_>, ended_at: u64) {
        let record = |change: &mut Self, slot: usize| {
            let age = ended_at.saturating_sub(change.storage.slot(slot).birth);
            change.storage.record(Durations::AgesAfter, age, ended_at);
        };
        match flight {
            Flight::Slots(slots) => slots.iter().for_each(|(slot, _)| record(self, *slot)),
            Flight::OneOf((slot, _)) => record(self, slot),
            Flight::OfTake(ticket) | Flight::FirstOfTake(ticket) => {
                let mut next = self.first_of_take(place).filter(|_| self.storage.place(place).ticket == ticket);
                while let Some(slot) = next {
                    record(self, slot);
                    next = if matches!(flight, Flight::OfTake(_)) { self.after(slot) } else { None };
                }
            }
        }
    }

    #[inline(always)]
    pub(super) fn count_call(&mut self, took: u64, now: u64) {
        let head = self.head();
        head.busy = head.busy.wrapping_add(took);
        self.storage.record(Durations::Busy, took, now);
    }

    /// Keeps what is in flight for a later window of the stage.
    pub(in crate::buffer) fn keep_for_window(&mut self, place: usize, flight: Flight<'_>) {
        let (old, now) = (self.head().old, self.storage.now());
        let samples = self.land(place, flight, How::Windowed, false, now);
        if self.head().old < old {
            // The windows that it was for are gone.
            return self.count_settled(samples, Fate::Flushed);
        }
        self.storage.place(place).windowed += samples;
    }

    /// Counts samples that were kept for a window and are in none: skipped, or flushed with their source.
    pub(in crate::buffer) fn end_windowed(&mut self, place: usize, samples: u64, fate: Fate) {
        let samples = self.use_windowed(place, samples);
        self.count_settled(samples, fate);
    }

    /// Uses samples that were kept for a window, and returns how many of them a flush has left.
    #[inline(always)]
    fn use_windowed(&mut self, place: usize, samples: u64) -> u64 {
        if samples == 0 {
            return 0;
        }
        let place = self.storage.place(place);
        let left = samples.min(place.windowed);
        place.windowed -= left;
        left
    }

    /// Ends the turn in which a worker gave what `finish` makes.
    pub(in crate::buffer) fn end_finish(&mut self, place: usize) {
        self.end_flight(place);
    }

    /// Frees the slots of what is in flight and ended like this at that time, and returns how many samples that were.
    #[inline(always)]
    pub(super) fn land(&mut self, place: usize, flight: Flight<'_>, how: How, is_split: bool, ended: u64) -> u64 {
        if matches!(flight, Flight::OfTake(ticket) | Flight::FirstOfTake(ticket) if self.storage.place(place).ticket != ticket)
        {
            return 0;
        }
        if self.limits.visits > 0 {
            self.keep_visits(place, flight, how, ended);
        }
        if self.limits.ends > 0 {
            self.note_landing(place, flight, how, is_split);
        }
        if how == How::Failed {
            self.remember_failed(place, flight);
        }
        if self.head().old > 0 {
            self.land_old(place, flight);
        }
        let samples = match flight {
            Flight::OfTake(_) => self.free_all(place),
            Flight::FirstOfTake(_) => return self.free_first(place),
            Flight::OneOf((slot, viewed)) => {
                self.free_one(place, slot, viewed);
                return 1;
            }
            Flight::Slots(slots) => {
                slots.iter().for_each(|(slot, viewed)| self.free_one(place, *slot, *viewed));
                slots.len() as u64
            }
        };
        self.end_flight(place);
        samples
    }

    /// Remembers by number what is in flight.
    #[cold]
    fn remember_failed(&mut self, place: usize, flight: Flight<'_>) {
        for slot in self.slots_of_flight(place, flight) {
            let id = self.storage.slot(slot).id();
            self.storage.remember_failure(id);
        }
    }

    /// Returns the slots of what is in flight.
    pub(super) fn slots_of_flight(&mut self, place: usize, flight: Flight<'_>) -> Vec<usize> {
        match flight {
            Flight::Slots(slots) => slots.iter().map(|(slot, _)| *slot).collect(),
            Flight::OneOf((slot, _)) => vec![slot],
            Flight::FirstOfTake(_) => self.first_of_take(place).into_iter().collect(),
            Flight::OfTake(_) => {
                let mut next = self.first_of_take(place);
                let mut slots = Vec::new();
                while let Some(slot) = next {
                    slots.push(slot);
                    next = self.after(slot);
                }
                slots
            }
        }
    }

    /// Notes how what is in flight has ended.
    #[inline]
    fn note_landing(&mut self, place: usize, flight: Flight<'_>, how: How, is_split: bool) {
        match flight {
            Flight::OfTake(_) => {
                let mut next = self.first_of_take(place);
                while let Some(slot) = next {
                    next = self.after(slot);
                    self.note_landed(slot, next.is_none(), how, is_split);
                }
            }
            Flight::FirstOfTake(_) => {
                if let Some(slot) = self.first_of_take(place) {
                    self.note_landed(slot, true, how, is_split);
                }
            }
            Flight::OneOf((slot, _)) => self.note_landed(slot, true, how, is_split),
            Flight::Slots(slots) => {
                for (index, (slot, _)) in slots.iter().enumerate() {
                    self.note_landed(*slot, index + 1 == slots.len(), how, is_split);
                }
            }
        }
    }

    /// Does so for one sample. What of a list that was used goes on is its newest's.
    #[inline]
    fn note_landed(&mut self, slot: usize, is_newest: bool, how: How, is_split: bool) {
        let landed = self.storage.slot(slot);
        if landed.fork == 0 && !self.limits.fates {
            return;
        }
        let (number, is_part, take, source) = (landed.number, landed.part > 0, landed.ticket, landed.source());
        let how = self.how_landed(slot, is_newest, how);
        // A whole sample whose one result went on has not ended, unless that was flushed where no buffer tells of it. But
        // who has looked and found it here, while its result had ended already, is to look again.
        let is_of_interest = is_split || is_part || take < self.totals().looked_at;
        if how != How::Used || is_of_interest || (self.head().cut > 0 && self.is_old(number, source)) {
            self.note_end_of(slot, how, is_split && is_newest);
        }
    }

    /// Returns how a sample has ended that was in flight, where all of its take ended like this.
    #[inline(always)]
    pub(super) fn how_landed(&mut self, slot: usize, is_newest: bool, how: How) -> How {
        match how {
            How::Used if !is_newest && !self.limits.intake.keeps_identity() => How::Absorbed,
            // The window that would keep it may be gone.
            How::Windowed if self.head().cut > 0 && self.is_slot_old(slot) => How::Flushed,
            how => how,
        }
    }

    /// Frees the slots of the take that a place remembers.
    #[inline(always)]
    fn free_all(&mut self, place: usize) -> u64 {
        let (mut samples, mut next) = (0, self.first_of_take(place));
        while let Some(slot) = next {
            next = self.after(slot);
            self.free(slot);
            samples += 1;
        }
        samples
    }

    /// Frees the first slot of the take that a place remembers, which goes on with the others.
    fn free_first(&mut self, place: usize) -> u64 {
        let Some(slot) = self.first_of_take(place) else { return 0 };
        let next = self.after(slot);
        self.storage.place(place).first = next.map_or(0, |slot| slot as u64 + 1);
        self.free(slot);
        1
    }

    fn free_one(&mut self, place: usize, slot: usize, viewed: bool) {
        self.expect(slot, place, &[SlotState::InFlight]);
        if viewed {
            self.storage.slot(slot).state = SlotState::Viewed as u64;
            self.head().viewed += 1;
        } else {
            self.free(slot);
        }
    }

    /// Ends the flight of a worker, which has nothing in flight any more.
    #[inline(always)]
    pub(super) fn end_flight(&mut self, place: usize) {
        if S::REMEMBERS_TAKES || self.limits.consumers.workers > 1 {
            let place = self.storage.place(place);
            (place.ticket, place.first) = (0, 0);
        }
        if self.limits.consumers.workers > 1 {
            // Others may have waited for the oldest in flight.
            self.wake_consumers(Wake::All);
        }
    }

    /// Frees a slot at which nothing looks any longer.
    #[cfg(processes)]
    pub(in crate::buffer) fn release(&mut self, place: usize, slot: usize) {
        self.expect(slot, place, &[SlotState::Viewed]);
        lower(&mut self.head().viewed, 1);
        self.free(slot);
    }

    #[inline(always)]
    pub(super) fn count_settled(&mut self, samples: u64, fate: Fate) {
        lower(&mut self.head().in_flight, samples);
        match fate {
            Fate::Used => {
                let used = if samples > 1 && self.limits.intake.keeps_identity() { samples } else { 1 };
                self.head().used += used;
                if samples > used {
                    self.totals().stage.absorbed += samples - used;
                }
            }
            Fate::Skipped => self.totals().stage.skipped += samples,
            Fate::Failed => self.totals().stage.failed += samples,
            Fate::Lost => self.totals().stage.lost += samples,
            Fate::Flushed => self.totals().stage.flushed += samples,
            // Only what waits for its parts ends so, which never comes by an entrance: no lane has counted it.
            Fate::Discarded => {
                lower(&mut self.head().taken, samples);
                self.totals().buffer.discarded += samples;
            }
        }
    }
}

impl How {
    fn of(fate: Fate) -> Self {
        match fate {
            Fate::Used => How::Used,
            Fate::Skipped => How::Skipped,
            Fate::Failed => How::Failed,
            Fate::Lost => How::Lost,
            Fate::Flushed => How::Flushed,
            Fate::Discarded => How::Discarded,
        }
    }
}
