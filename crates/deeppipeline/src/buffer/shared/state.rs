//! The state of a shared buffer while one process changes it: read from the words that all processes see, and written
//! back in one go.
//!
//! What is read is sealed, so that a stray write of some process is found before anything follows from it.

use super::layout::{DROPS, END, HEAD, LANE, Layout, PLACE, SLOT, SOURCE_CUT, TOTALS, VISIT};
use super::words::SharedWords;
use crate::buffer::Limits;
use crate::buffer::damage::{Damage, damaged};
use crate::buffer::histogram::{self, Durations, TIMES, period, place_of, time_step};
use crate::buffer::policy::{Head, How, Lane, Place, SampleEnd, Slot, Storage, Totals};
use crate::buffer::visit::Visit;
use crate::clock::Moment;
use crate::cuts::SourceCut;
use crate::sample::{ForkTicket, SampleId};
use crate::source_id::SourceId;
use std::collections::VecDeque;

/// A record of what was read at some words: what it has become since, where it was and what its seal was.
#[derive(Debug, Clone, Copy, Default)]
struct Read<T> {
    at: usize,
    seal: u64,
    was: T,
    is: T,
}

impl<T: Copy> Read<T> {
    fn new(at: usize, seal: u64, was: T) -> Self {
        Read { at, seal, was, is: was }
    }
}

/// Room to remember what is read: kept, since a change is made for every sample.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    head: Read<Head>,
    /// The totals, read when they are asked for, as the rest.
    totals: Option<Read<Totals>>,
    slots: Vec<Read<Slot>>,
    /// The place of a slot among those, counted from 1; 0 for the rest.
    places_of_slots: Vec<u32>,
    places: Vec<Read<Place>>,
    lanes: Vec<Read<Lane>>,
    /// The place of a lane among those, counted from 1; 0 for the rest.
    places_of_lanes: Vec<u32>,
    /// The flushes of single sources, from the first on.
    source_cuts: Vec<Read<SourceCut>>,
    rings: Option<Read<()>>,
    /// The words of the rings, as they were and as they are.
    rings_were: Vec<u64>,
    rings_are: Vec<u64>,
    /// Words of the histograms.
    times: Vec<Read<u64>>,
    /// Ends of samples, and the number of each.
    ends: Vec<(u64, SampleEnd)>,
    /// Visits that have ended.
    visits: Vec<Visit>,
    changes: Vec<(usize, u64)>,
}

/// Writes the state of an empty buffer into fresh memory.
pub(super) fn write_empty<W: SharedWords>(words: &W, layout: Layout) {
    write_sealed::<_, HEAD>(words, layout.head(), bytemuck::cast(Head::empty()));
    write_sealed::<_, TOTALS>(words, layout.totals(), bytemuck::cast(Totals::empty()));
    for place in 0..layout.places {
        write_sealed::<_, PLACE>(words, layout.place(place), bytemuck::cast(Place::default()));
    }
    for lane in 0..layout.lanes {
        write_sealed::<_, LANE>(words, layout.lane(lane), bytemuck::cast(Lane::default()));
    }
    for place in 0..layout.source_cuts {
        write_sealed::<_, SOURCE_CUT>(words, layout.source_cut(place), bytemuck::cast(SourceCut::default()));
    }
    words.set(layout.rings() + layout.in_rings(), seal(layout.rings(), &vec![0; layout.in_rings()]));
}

pub(super) fn write_sealed<W: SharedWords, const N: usize>(words: &W, at: usize, written: [u64; N]) {
    written.iter().enumerate().for_each(|(index, word)| words.set(at + index, *word));
    words.set(at + N, seal(at, &written));
}

/// The state as one change sees it.
pub(super) struct State<'a, W> {
    words: &'a W,
    layout: Layout,
    limits: &'a Limits,
    scratch: &'a mut Scratch,
}

impl<'a, W: SharedWords> State<'a, W> {
    /// Begins to read under the lock.
    pub(super) fn read(words: &'a W, layout: Layout, limits: &'a Limits, scratch: &'a mut Scratch) -> Self {
        // What a change left behind that found damage must not be taken for this one's.
        for read in scratch.slots.drain(..) {
            scratch.places_of_slots[layout.slot_at(read.at)] = 0;
        }
        scratch.places_of_slots.resize(layout.slots, 0);
        scratch.places.clear();
        scratch.lanes.clear();
        scratch.source_cuts.clear();
        scratch.places_of_lanes.clear();
        scratch.places_of_lanes.resize(layout.lanes, 0);
        scratch.times.clear();
        scratch.ends.clear();
        scratch.visits.clear();
        (scratch.totals, scratch.rings) = (None, None);
        let (head, seal) = read_sealed::<_, HEAD>(words, layout.head());
        scratch.head = Read::new(layout.head(), seal, bytemuck::cast(head));
        State { words, layout, limits, scratch }
    }
}

impl Scratch {
    /// Returns the words that have changed, and what they are to be.
    pub(super) fn changes(&mut self, layout: Layout) -> &[(usize, u64)] {
        let Scratch {
            head,
            totals,
            slots,
            places,
            lanes,
            source_cuts,
            rings,
            rings_were,
            rings_are,
            times,
            ends,
            changes,
            ..
        } = self;
        changes.clear();
        add::<HEAD>(changes, head.at, head.seal, bytemuck::cast_ref(&head.was), bytemuck::cast_ref(&head.is));
        if let Some(Read { at, seal, was, is }) = totals {
            add::<TOTALS>(changes, *at, *seal, bytemuck::cast_ref(was), bytemuck::cast_ref(is));
        }
        for Read { at, seal, was, is } in &*places {
            add::<PLACE>(changes, *at, *seal, bytemuck::cast_ref(was), bytemuck::cast_ref(is));
        }
        for Read { at, seal, was, is } in &*lanes {
            add::<LANE>(changes, *at, *seal, bytemuck::cast_ref(was), bytemuck::cast_ref(is));
        }
        for Read { at, seal, was, is } in &*source_cuts {
            add::<SOURCE_CUT>(changes, *at, *seal, bytemuck::cast_ref(was), bytemuck::cast_ref(is));
        }
        for Read { at, seal, was, is } in &*slots {
            add::<SLOT>(changes, *at, *seal, bytemuck::cast_ref(was), bytemuck::cast_ref(is));
        }
        if let Some(Read { at, seal, .. }) = *rings {
            add_all(changes, at, seal, rings_were, rings_are);
        }
        changes.extend(times.iter().filter(|read| read.was != read.is).map(|read| (read.at, read.is)));
        for (number, ended) in ends {
            let (at, words) = (layout.end(*number), words_of(ended));
            changes.extend((at..).zip(words));
            changes.push((at + END, seal(at, &words)));
        }
        changes
    }

    /// Writes the visits that have ended, once the change that ended them is made. A death in the middle costs no more than
    /// those.
    pub(super) fn write_visits<W: SharedWords>(&self, words: &W, layout: Layout) {
        for visit in &self.visits {
            let number = words.get(layout.visits_kept());
            if let Some(at) = layout.visit(number) {
                let visit: &[u64; VISIT] = bytemuck::cast_ref(visit);
                visit.iter().enumerate().for_each(|(index, word)| words.set(at + index, *word));
                words.set(layout.visits_kept(), number.wrapping_add(1));
            }
        }
    }

    /// Returns true if ends of samples were noted.
    pub(super) fn has_ends(&self) -> bool {
        !self.ends.is_empty()
    }
}

impl<W: SharedWords> State<'_, W> {
    /// A word of a histogram, which is not sealed: nothing follows from it.
    fn time(&mut self, at: usize) -> &mut u64 {
        let times = &mut self.scratch.times;
        let place = times.iter().position(|read| read.at == at).unwrap_or_else(|| {
            let was = self.words.get(at);
            times.push(Read::new(at, 0, was));
            times.len() - 1
        });
        &mut times[place].is
    }

    /// Adds what was counted in a window to what was before. It is too much to be written down, and a death in the middle
    /// costs no more than a count of a duration.
    fn empty_window(&self, window: usize, before: usize) {
        for step in 0..TIMES {
            let count = self.words.get(window + step);
            if count > 0 {
                self.words.set(before + step, self.words.get(before + step).wrapping_add(count));
                self.words.set(window + step, 0);
            }
        }
        let [longest, so_far] = [window, before].map(|counts| self.layout.longest(counts));
        self.words.set(so_far, self.words.get(so_far).max(self.words.get(longest)));
        self.words.set(longest, 0);
    }

    /// Returns the last of so many samples that were remembered in the rings, at these places.
    fn last(&mut self, remembered: u64, place: impl Fn(Layout, u64) -> usize) -> VecDeque<SampleId> {
        let layout = self.layout;
        let rings = self.rings();
        let last = (remembered.saturating_sub(DROPS as u64)..remembered).map(|index| {
            let at = place(layout, index);
            SampleId { number: rings[at], part: rings[at + 1] }
        });
        last.collect()
    }

    fn rings(&mut self) -> &mut [u64] {
        let Scratch { rings, rings_were, rings_are, .. } = &mut *self.scratch;
        if rings.is_none() {
            let at = self.layout.rings();
            rings_are.clear();
            rings_are.extend((0..self.layout.in_rings()).map(|index| self.words.get(at + index)));
            rings_were.clone_from(rings_are);
            *rings = Some(Read::new(at, expect_sealed(self.words, at, rings_are), ()));
        }
        rings_are
    }
}

/// Returns words that are as they were left, and their seal.
fn read_sealed<W: SharedWords, const N: usize>(words: &W, at: usize) -> ([u64; N], u64) {
    let read: [u64; N] = std::array::from_fn(|index| words.get(at + index));
    let seal = expect_sealed(words, at, &read);
    (read, seal)
}

fn expect_sealed<W: SharedWords>(words: &W, at: usize, read: &[u64]) -> u64 {
    let seal = seal(at, read);
    if words.get(at + read.len()) != seal {
        damaged(Damage::Word);
    }
    seal
}

/// The end of a sample as words.
fn words_of(ended: &SampleEnd) -> [u64; END] {
    let SampleEnd { fork, id, source, how, take, is_split } = *ended;
    [fork.0, id.number, id.part, source.to_word(), how as u64 | u64::from(is_split) << 8, take]
}

/// Reads a visit.
pub(super) fn read_visit<W: SharedWords>(words: &W, at: usize) -> Visit {
    let visit: [u64; VISIT] = std::array::from_fn(|index| words.get(at + index));
    bytemuck::cast(visit)
}

/// Reads the end of a sample.
pub(super) fn read_end<W: SharedWords>(words: &W, at: usize) -> SampleEnd {
    let ([fork, number, part, source, how, take], _) = read_sealed::<_, END>(words, at);
    let Some(known) = How::of_word(how & 0xff) else { damaged(Damage::Word) };
    let id = SampleId { number, part };
    let (fork, source) = (ForkTicket(fork), SourceId::from_word(source));
    SampleEnd { fork, id, source, how: known, take, is_split: how >> 8 != 0 }
}

/// Spreads numbers over all bits (the golden ratio).
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns the seal of words that are all 0: not 0, so that a memory that was wiped is found, and not what is right
/// elsewhere.
fn seal_of_nothing(at: usize) -> u64 {
    (at as u64 + 1).wrapping_mul(ODD)
}

/// Returns what a word counts for: another odd number for each, so that no stray write into one of them leaves the seal
/// as it is.
fn weighed(index: usize, word: u64) -> u64 {
    word.wrapping_mul((index as u64 + 1).wrapping_mul(ODD) | 1)
}

fn seal(at: usize, words: &[u64]) -> u64 {
    words.iter().enumerate().fold(seal_of_nothing(at), |seal, (index, word)| seal.wrapping_add(weighed(index, *word)))
}

fn add<const N: usize>(changes: &mut Vec<(usize, u64)>, at: usize, seal: u64, was: &[u64; N], is: &[u64; N]) {
    add_all(changes, at, seal, was, is);
}

/// Adds the words that have changed, and the seal that goes with it.
#[inline]
fn add_all(changes: &mut Vec<(usize, u64)>, at: usize, mut seal: u64, was: &[u64], is: &[u64]) {
    let before = changes.len();
    for (index, (was, is)) in was.iter().zip(is).enumerate() {
        if was != is {
            seal = seal.wrapping_add(weighed(index, is.wrapping_sub(*was)));
            changes.push((at + index, *is));
        }
    }
    if changes.len() > before {
        changes.push((at + is.len(), seal));
    }
}

impl<W: SharedWords> Storage for State<'_, W> {
    const REMEMBERS_TAKES: bool = false;

    fn head(&mut self) -> &mut Head {
        &mut self.scratch.head.is
    }

    fn totals(&mut self) -> &mut Totals {
        let read = || {
            let at = self.layout.totals();
            let (totals, seal) = read_sealed::<_, TOTALS>(self.words, at);
            Read::new(at, seal, bytemuck::cast(totals))
        };
        &mut self.scratch.totals.get_or_insert_with(read).is
    }

    fn slot(&mut self, index: usize) -> &mut Slot {
        let Some(place) = self.scratch.places_of_slots.get_mut(index) else { damaged(Damage::Slot) };
        if *place == 0 {
            let at = self.layout.slot(index);
            // A slot that was never used is not sealed.
            let read = if index as u64 >= self.scratch.head.was.fresh {
                Read::new(at, seal_of_nothing(at), Slot::default())
            } else {
                let (slot, seal) = read_sealed::<_, SLOT>(self.words, at);
                Read::new(at, seal, bytemuck::cast(slot))
            };
            self.scratch.slots.push(read);
            *place = self.scratch.slots.len() as u32;
        }
        &mut self.scratch.slots[*place as usize - 1].is
    }

    fn slots(&self) -> u64 {
        self.layout.slots as u64
    }

    fn place(&mut self, place: usize) -> &mut Place {
        let at = self.layout.place(place);
        let places = &mut self.scratch.places;
        let read = places.iter().position(|read| read.at == at).unwrap_or_else(|| {
            let (place, seal) = read_sealed::<_, PLACE>(self.words, at);
            places.push(Read::new(at, seal, bytemuck::cast(place)));
            places.len() - 1
        });
        &mut places[read].is
    }

    fn places(&self) -> usize {
        self.layout.places
    }

    fn lane(&mut self, place: usize) -> &mut Lane {
        let Some(read) = self.scratch.places_of_lanes.get_mut(place) else { damaged(Damage::Queue) };
        if *read == 0 {
            let at = self.layout.lane(place);
            let (lane, seal) = read_sealed::<_, LANE>(self.words, at);
            self.scratch.lanes.push(Read::new(at, seal, bytemuck::cast(lane)));
            *read = self.scratch.lanes.len() as u32;
        }
        &mut self.scratch.lanes[*read as usize - 1].is
    }

    fn source_cut(&mut self, place: usize) -> &mut SourceCut {
        if place >= self.layout.source_cuts {
            damaged(Damage::Queue);
        }
        let cuts = &mut self.scratch.source_cuts;
        while cuts.len() <= place {
            let at = self.layout.source_cut(cuts.len());
            let (cut, seal) = read_sealed::<_, SOURCE_CUT>(self.words, at);
            cuts.push(Read::new(at, seal, bytemuck::cast(cut)));
        }
        &mut cuts[place].is
    }

    fn ended(&mut self, ticket: u64) -> &mut u64 {
        let at = self.layout.ended(ticket);
        &mut self.rings()[at]
    }

    fn refill_at(&self) -> u64 {
        self.limits.refill_at()
    }

    fn record(&mut self, durations: Durations, nanoseconds: u64, now: u64) {
        let (period, before) = (period(now), self.layout.counts_before(durations));
        let window = self.layout.counts_in(durations, period);
        let counts = match place_of(period, self.words.get(self.layout.used_last(window))) {
            histogram::Place::Open => window,
            histogram::Place::Before => before,
            histogram::Place::Emptied => {
                if self.words.get(self.layout.used_last(window)) > 0 {
                    self.empty_window(window, before);
                }
                self.words.set(self.layout.used_last(window), period);
                window
            }
        };
        let count = self.time(counts + time_step(nanoseconds));
        *count = count.wrapping_add(1);
        let longest = self.time(self.layout.longest(counts));
        *longest = nanoseconds.max(*longest);
    }

    fn remember_drop(&mut self, id: SampleId) {
        let at = self.layout.drop(self.totals().dropped().wrapping_sub(1));
        self.rings()[at..at + 2].copy_from_slice(&[id.number, id.part]);
    }

    fn last_dropped(&mut self) -> VecDeque<SampleId> {
        let drops = self.totals().dropped();
        self.last(drops, Layout::drop)
    }

    fn remember_failure(&mut self, id: SampleId) {
        let failures = &mut self.totals().failures;
        let index = *failures;
        *failures = failures.wrapping_add(1);
        let at = self.layout.failure(index);
        self.rings()[at..at + 2].copy_from_slice(&[id.number, id.part]);
    }

    fn last_failed(&mut self) -> VecDeque<SampleId> {
        let failures = self.totals().failures;
        self.last(failures, Layout::failure)
    }

    fn note_end(&mut self, ended: SampleEnd) {
        let ends = &mut self.totals().ends;
        let number = *ends;
        *ends = ends.wrapping_add(1);
        self.scratch.ends.push((number, ended));
    }

    fn keep_visit(&mut self, visit: Visit) {
        self.scratch.visits.push(visit);
    }

    fn now(&self) -> u64 {
        Moment::now().0
    }

    fn give_up(&mut self, _: usize) {
        // What is in a slot is bytes.
    }
}
