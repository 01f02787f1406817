//! The buffer between threads: its state on the heap behind one lock, two condition variables, and no value released
//! under the lock.

use super::announced::Announced;
use super::histogram::{Durations, HISTOGRAMS, Histogram};
use super::policy::{
    self, Change, Flight, Label, LaneKey, LaneOptions, Refusal, Slot, Storage, Taken, Turn, Wake, Wakes,
};
use super::to_free::ToFree;
use super::untold::Untold;
use super::visit::{Visit, Visits, together};
use super::{
    Arrival, Ended, Gate, HearsEnds, Limits, Member, Origin, Overdue, Push, SampleEnd, Settlement, Take, Unsettled,
    Wait,
};
use crate::clock::{Clock, Moment, from_nanoseconds};
use crate::cuts::{Cut, Cuts, SourceCut};
use crate::ledger::{BufferCounts, Fate, Reading, StageCounts};
use crate::line::{Line, Spot};
use crate::sample::{ForkTicket, Input, Sample, SampleId};
use crate::source_id::SourceId;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, Weak};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

/// A bounded queue of samples in front of one stage.
pub(crate) struct Buffer<V> {
    limits: Limits,
    clock: Clock,
    state: Mutex<State<V>>,
    not_empty: Waiters,
    not_full: Waiters,
    /// The tasks that wait for room.
    tasks: Line,
    announced: Announced,
    /// The listener for the ends of samples, and the node that the buffer is in front of.
    listener: OnceLock<(usize, Weak<dyn HearsEnds<V>>)>,
}

/// The threads that wait for samples, or for room.
#[derive(Default)]
struct Waiters {
    /// Those that sleep.
    asleep: Condvar,
    /// A count that changes whenever there may be something new, for those that have not gone to sleep yet.
    news: AtomicU32,
    /// The number of threads to come that go to sleep at once, since the processors are taken.
    in_vain: AtomicU32,
}

/// The number of times that a thread lets others run before it goes to sleep.
const YIELDS: usize = 8;
/// The time after which a thread that let others run finds the processors taken by others than this pipeline's stages,
/// or by stages that take so long that falling asleep costs nothing beside.
const TAKEN_AFTER: Duration = Duration::from_millis(1);
/// The number of threads that go to sleep at once then, before one tries again.
const SLEEP_AT_ONCE: u32 = 1000;

impl Waiters {
    /// Makes threads that have not gone to sleep yet look again. The caller has the lock, so nobody else counts.
    #[inline]
    fn tell(&self, wake: Wake) {
        if wake != Wake::Nobody {
            self.news.store(self.news.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Wakes threads that sleep.
    #[inline]
    fn wake(&self, wake: Wake) {
        match wake {
            Wake::Nobody => {}
            Wake::One => drop(self.asleep.notify_one()),
            Wake::All => drop(self.asleep.notify_all()),
        }
    }

    /// Lets other threads run for a moment, without the lock. Where producer and consumer both have something to do,
    /// what is waited for comes within that time, and nobody pays for falling asleep and being woken. On a machine with
    /// other work it would be that work which runs, for some milliseconds each time, so a thread that has learned that
    /// goes to sleep: one that is woken comes first.
    fn look_out<T>(&self, guard: &mut MutexGuard<'_, T>) {
        // Under the lock, so nobody else counts.
        if let Some(left) = self.in_vain.load(Ordering::Relaxed).checked_sub(1) {
            self.in_vain.store(left, Ordering::Relaxed);
            return;
        }
        let before = self.news.load(Ordering::Relaxed);
        let taken = MutexGuard::unlocked(guard, || {
            let mut last = Instant::now();
            for _ in 0..YIELDS {
                thread::yield_now();
                let now = Instant::now();
                if now.duration_since(last) > TAKEN_AFTER {
                    return true;
                }
                if self.news.load(Ordering::Relaxed) != before {
                    break;
                }
                last = now;
            }
            false
        });
        if taken {
            self.in_vain.store(SLEEP_AT_ONCE, Ordering::Relaxed);
        }
    }
}

/// The state that the lock protects.
struct State<V> {
    head: policy::Head,
    totals: policy::Totals,
    slots: Vec<Slot>,
    /// The value of each slot, unless it was taken.
    values: Vec<Option<V>>,
    places: Vec<policy::Place>,
    lanes: Vec<policy::Lane>,
    source_cuts: Vec<SourceCut>,
    ended: Vec<u64>,
    last_dropped: VecDeque<SampleId>,
    last_failed: VecDeque<SampleId>,
    /// The number of samples that each of the two remembers.
    to_remember: usize,
    /// By what they count.
    histograms: [Histogram; HISTOGRAMS],
    /// Values that no consumer will take, to be freed outside of the lock.
    to_free: ToFree<V>,
    /// Samples that have left.
    visits: Visits,
    clock: Clock,
    /// Ends of samples, to be told outside of the lock.
    ends: Vec<Ended<V>>,
    /// Those that are being told.
    untold: Untold,
    /// True if the value of what has ended is told with its end.
    tells_values: bool,
    consumers_waiting: usize,
    /// The number of threads and tasks that wait for room.
    producers_waiting: usize,
}

impl<V> Storage for State<V> {
    const REMEMBERS_TAKES: bool = true;

    fn head(&mut self) -> &mut policy::Head {
        &mut self.head
    }

    fn totals(&mut self) -> &mut policy::Totals {
        &mut self.totals
    }

    #[inline]
    fn slot(&mut self, index: usize) -> &mut Slot {
        if index >= self.slots.len() {
            self.add_slots(index + 1);
        }
        &mut self.slots[index]
    }

    fn slots(&self) -> u64 {
        u64::MAX
    }

    fn place(&mut self, place: usize) -> &mut policy::Place {
        &mut self.places[place]
    }

    fn places(&self) -> usize {
        self.places.len()
    }

    fn lane(&mut self, place: usize) -> &mut policy::Lane {
        if place >= self.lanes.len() {
            self.lanes.resize_with(place + 1, policy::Lane::default);
        }
        &mut self.lanes[place]
    }

    fn source_cut(&mut self, place: usize) -> &mut SourceCut {
        if place >= self.source_cuts.len() {
            self.source_cuts.resize_with(place + 1, SourceCut::default);
        }
        &mut self.source_cuts[place]
    }

    fn refill_at(&self) -> u64 {
        // A thread that waits for room is woken for each place that comes free.
        u64::MAX
    }

    fn ended(&mut self, ticket: u64) -> &mut u64 {
        let turns = self.ended.len() as u64;
        &mut self.ended[(ticket % turns) as usize]
    }

    #[inline(always)]
    fn record(&mut self, durations: Durations, nanoseconds: u64, now: u64) {
        self.histograms[durations as usize].record(nanoseconds, now);
    }

    fn remember_drop(&mut self, id: SampleId) {
        remember(&mut self.last_dropped, self.to_remember, id);
    }

    fn remember_failure(&mut self, id: SampleId) {
        remember(&mut self.last_failed, self.to_remember, id);
    }

    fn last_failed(&mut self) -> VecDeque<SampleId> {
        self.last_failed.clone()
    }

    fn last_dropped(&mut self) -> VecDeque<SampleId> {
        self.last_dropped.clone()
    }

    fn note_end(&mut self, ended: SampleEnd) {
        self.ends.push(ended.into());
    }

    #[inline(always)]
    fn keep_visit(&mut self, visit: Visit) {
        self.visits.keep(visit);
    }

    fn now(&self) -> u64 {
        self.clock.moment().0
    }

    fn give_up(&mut self, slot: usize) {
        if let Some(value) = self.values[slot].take()
            && let Some(value) = self.tell_value(value)
        {
            self.to_free.add(value);
        }
    }
}

impl<V> State<V> {
    /// Tells the value of what has ended last with its end; hands it back where that is not wanted.
    fn tell_value(&mut self, value: V) -> Option<V> {
        match self.ends.last_mut() {
            Some(ended) if self.tells_values => ended.value.replace(value),
            _ => Some(value),
        }
    }

    /// Takes out the ends that are to be told, and remembers of which samples they are until then.
    #[cold]
    fn take_ends(&mut self) -> Vec<Ended<V>> {
        let ends = std::mem::take(&mut self.ends);
        self.untold.add(ends.iter().map(|ended| ended.end.fork));
        ends
    }

    /// Adds slots, so that there are that many.
    #[cold]
    fn add_slots(&mut self, slots: usize) {
        self.slots.resize_with(slots, Slot::default);
        self.values.resize_with(slots, || None);
    }
}

/// The lock, held, and who is to look again when it is let go.
struct Locked<'a, V> {
    buffer: &'a Buffer<V>,
    state: MutexGuard<'a, State<V>>,
    wakes: Wakes,
    /// True once the caller has let others run before it sleeps.
    looked_out: bool,
}

impl<'a, V> Locked<'a, V> {
    /// Changes the state.
    fn change<T>(&mut self, change: impl FnOnce(&mut Change<'_, State<V>>) -> T) -> T {
        change(&mut Change::new(&mut *self.state, &self.buffer.limits, &mut self.wakes))
    }

    /// Waits for something to take; false when the caller would not wait any longer.
    fn wait_for_samples(&mut self, wait: Wait) -> bool {
        if self.looks_out_first(wait) {
            self.buffer.not_empty.look_out(&mut self.state);
            return true;
        }
        // Without the lock, what is waited for may have come: nobody saw this one wait.
        if self.wake_producers() {
            return true;
        }
        self.state.consumers_waiting += 1;
        let patient = wait_on(&self.buffer.not_empty.asleep, &mut self.state, wait);
        self.state.consumers_waiting -= 1;
        patient
    }

    /// Wakes producers, and callers that wait for a flush, before the caller sleeps. Returns true if it did so, for which it
    /// let go of the lock.
    fn wake_producers(&mut self) -> bool {
        let producers = std::mem::take(&mut self.wakes.producers);
        if producers == Wake::Nobody || self.state.producers_waiting == 0 {
            return false;
        }
        let buffer = self.buffer;
        // A waker is foreign code.
        MutexGuard::unlocked(&mut self.state, || buffer.wake_producers(producers));
        true
    }

    /// Returns true the first time that a caller who would wait is about to.
    fn looks_out_first(&mut self, wait: Wait) -> bool {
        !matches!(wait, Wait::No) && !std::mem::replace(&mut self.looked_out, true)
    }

    /// Waits for room, or for a turn; false when the caller would not wait any longer.
    fn wait_for_room(&mut self, wait: Wait) -> bool {
        if self.looks_out_first(wait) {
            self.buffer.not_full.look_out(&mut self.state);
            return true;
        }
        self.state.producers_waiting += 1;
        let patient = wait_on(&self.buffer.not_full.asleep, &mut self.state, wait);
        self.state.producers_waiting -= 1;
        patient
    }

    /// Lets go of the lock, wakes whom it may concern, and returns what is to be freed.
    #[inline(always)]
    fn leave(mut self) -> ToFree<V> {
        let to_free = std::mem::take(&mut self.state.to_free);
        let ends = if self.state.ends.is_empty() { Vec::new() } else { self.state.take_ends() };
        let (buffer, Wakes { consumers, producers }) = (self.buffer, self.wakes);
        buffer.not_empty.tell(consumers);
        buffer.not_full.tell(producers);
        let consumers = if self.state.consumers_waiting > 0 { consumers } else { Wake::Nobody };
        let producers = if self.state.producers_waiting > 0 { producers } else { Wake::Nobody };
        drop(self.state);
        buffer.not_empty.wake(consumers);
        buffer.wake_producers(producers);
        if !ends.is_empty() {
            buffer.tell(ends);
        }
        to_free
    }

    /// Tells the ends of samples, without the lock, before the caller goes on under it.
    fn tell_ends(&mut self) {
        if !self.state.ends.is_empty() {
            let ends = self.state.take_ends();
            let buffer = self.buffer;
            MutexGuard::unlocked(&mut self.state, || buffer.tell(ends));
        }
    }
}

impl<V> Buffer<V> {
    pub(crate) fn new(limits: Limits, to_remember: usize, clock: Clock) -> Self {
        let state = State {
            head: policy::Head::empty(),
            totals: policy::Totals::empty(),
            slots: Vec::new(),
            values: Vec::new(),
            places: vec![policy::Place::default(); limits.consumers.workers],
            lanes: Vec::new(),
            source_cuts: Vec::new(),
            ended: vec![0; limits.turns()],
            last_dropped: VecDeque::new(),
            last_failed: VecDeque::new(),
            to_remember,
            histograms: std::array::from_fn(|_| Histogram::new()),
            to_free: ToFree::Nothing,
            visits: Visits::new(limits.visits),
            clock: clock.clone(),
            ends: Vec::new(),
            untold: Untold::default(),
            tells_values: limits.fates,
            consumers_waiting: 0,
            producers_waiting: 0,
        };
        Buffer {
            limits,
            clock,
            state: Mutex::new(state),
            not_empty: Waiters::default(),
            not_full: Waiters::default(),
            tasks: Line::default(),
            announced: Announced::default(),
            listener: OnceLock::new(),
        }
    }

    /// Lets the ends of samples be heard of there, as of the buffer in front of that node.
    pub(crate) fn tell_ends_to(&self, node: usize, listener: Weak<dyn HearsEnds<V>>) {
        // It is said once, when the pipeline is assembled.
        let _ = self.listener.set((node, listener));
    }

    #[cold]
    fn tell(&self, ends: Vec<Ended<V>>) {
        if let Some((node, listener)) = self.listener.get()
            && let Some(listener) = listener.upgrade()
        {
            let told: Vec<_> = ends.iter().map(|ended| ended.end.fork).filter(|ticket| !ticket.is_none()).collect();
            let suspects = listener.hear_ends(*node, ends);
            if !told.is_empty() {
                self.state.lock().untold.remove(&told);
            }
            listener.look_for(&suspects);
        }
    }

    /// The announcements to those that take.
    pub(super) fn announced(&self) -> &Announced {
        &self.announced
    }

    fn lock(&self) -> Locked<'_, V> {
        Locked { buffer: self, state: self.state.lock(), wakes: Wakes::default(), looked_out: false }
    }

    /// Changes the state under the lock; returns what comes of it, and what is to be freed.
    fn change<T>(&self, change: impl FnOnce(&mut Change<'_, State<V>>) -> T) -> (T, ToFree<V>) {
        let mut locked = self.lock();
        let result = locked.change(change);
        (result, locked.leave())
    }

    /// The time, where the intake asks when samples line up.
    fn arrival_time(&self) -> u64 {
        if self.limits.intake.waits_for_more() { self.clock.moment().0 } else { 0 }
    }

    /// Puts in a sample, waiting for room where the policy is `block`, and where it has a turn and too many others are
    /// out of order, for that. The caller frees what is handed back.
    pub(crate) fn push(&self, sample: Sample<V>, arrival: Arrival, origin: Origin, wait: Wait) -> Push<V> {
        let Sample { id, birth, fork, source, value } = sample;
        let Origin { lane, turn, .. } = origin;
        let came = origin.came(self.limits.intake, || self.clock.moment());
        let mut label = Label { id, birth: birth.0, fork, source, lane, turn, arrival, came, waited: None, length: 0 };
        let mut locked = self.lock();
        let mut patient = true;

        let slot = loop {
            match locked.change(|change| change.arrive(&label)) {
                Ok(slot) => break slot,
                Err(Refusal::Dropped) => {
                    let to_free = locked.state.tell_value(value).map_or(ToFree::Nothing, ToFree::One);
                    drop(locked.leave());
                    return Push::Done { accepted: false, number: 0, to_free };
                }
                Err(Refusal::Discarded | Refusal::Flushed) => {
                    drop(locked.leave());
                    return Push::Discarded(value);
                }
                Err(Refusal::Shut) => return Push::Shut(value),
                Err(Refusal::Late) => return Push::Late(value),
                Err(Refusal::Full) if !patient => return Push::Full(value),
                Err(Refusal::Full) => {
                    let since = label.waited.map_or_else(|| self.clock.moment().0, |(since, _)| since);
                    patient = locked.wait_for_room(wait);
                    let now = self.clock.moment().0;
                    (label.came, label.waited) = (now, Some((since, now)));
                }
            }
        };

        // With this one in its place, others that came before their turn may follow.
        locked.state.values[slot] = Some(value);
        if turn.is_some() {
            locked.change(|change| change.go_on(label.came));
        }
        let number = locked.state.slots[slot].number;
        Push::Done { accepted: true, number, to_free: locked.leave() }
    }

    pub(crate) fn open_lane(&self, options: LaneOptions) -> Option<LaneKey> {
        self.change(|change| change.open_lane(options)).0
    }

    pub(crate) fn reopen_lane(&self, lane: LaneKey, options: LaneOptions) {
        self.change(|change| change.reopen_lane(lane, options));
    }

    pub(crate) fn close_lane(&self, lane: LaneKey) {
        self.change(|change| change.close_lane(lane));
    }

    pub(crate) fn free_lane(&self, lane: LaneKey) -> Option<BufferCounts> {
        self.change(|change| change.free_lane(lane)).0
    }

    pub(crate) fn lane_counts(&self, lane: LaneKey) -> Option<BufferCounts> {
        self.change(|change| change.lane_counts(lane)).0
    }

    /// Ends the turn of that take: nothing more comes of it. The caller frees what is handed back.
    pub(crate) fn end_turn(&self, ticket: u64) -> ToFree<V> {
        let now = self.arrival_time();
        self.change(|change| change.end_turn(ticket, now)).1
    }

    /// Returns up to which take the workers in front may be at.
    pub(crate) fn turns_up_to(&self) -> u64 {
        match self.limits.producers.reorders() {
            true => self.change(|change| change.turns_up_to()).0,
            false => u64::MAX,
        }
    }

    /// Waits until the workers in front may be at that take; false when the caller would not wait any longer.
    pub(crate) fn wait_for_turns_up_to(&self, ticket: u64, wait: Wait) -> bool {
        let mut locked = self.lock();
        let mut patient = true;
        while ticket > locked.change(|change| change.turns_up_to()) {
            if !patient {
                return false;
            }
            patient = locked.wait_for_room(wait);
        }
        true
    }

    /// Notes that the stage has failed on that take: what was taken later does not go on. The caller releases what is
    /// handed back.
    pub(crate) fn fail_turn(&self, ticket: u64) -> ToFree<V> {
        self.change(|change| change.fail_turn(ticket)).1
    }

    /// Takes what the intake says, waiting for it if need be.
    pub(crate) fn take(&self, worker: usize, unsettled: &mut Option<Unsettled>, up_to: u64, wait: Wait) -> Take<V> {
        let mut at = self.clock.moment();
        let mut locked = self.lock();
        if let Some(Unsettled { ticket, settlement, .. }) = unsettled.take() {
            locked.change(|change| change.settle(worker, Flight::OfTake(ticket), settlement));
            // At once: the worker may wait for its next sample now.
            locked.tell_ends();
        }
        let mut patient = true;
        loop {
            // Under the lock, which its announcer takes before it wakes.
            if self.announced.is_for(worker) {
                drop(locked.leave());
                return Take::Update;
            }
            match locked.change(|change| change.take(worker, up_to, at.0)) {
                Taken::Ready { ticket, first, samples } => return locked.hand_over(ticket, first, samples, at),
                Taken::Expired => return Take::Expired(locked.leave()),
                Taken::Ahead(next) => return Take::Ahead(next),
                Taken::Drained { ticket } => return Take::Drained { ticket },
                Taken::Discarded => return Take::Discarded,
                Taken::Empty { .. } if !patient && wait.is_over(self.clock.now()) => return Take::Empty,
                Taken::Empty { due } => {
                    patient = locked.wait_for_samples(wait.no_later_than(due.map(from_nanoseconds)));
                    at = self.clock.moment();
                }
            }
        }
    }

    /// Takes a turn without a sample, waiting for it if need be.
    pub(crate) fn take_turn(&self, worker: usize, up_to: u64, wait: Wait) -> Take<V> {
        let mut locked = self.lock();
        let mut patient = true;
        loop {
            let now = self.clock.moment().0;
            match locked.change(|change| change.take_turn(worker, up_to, now)) {
                Turn::Begun(ticket) => {
                    drop(locked.leave());
                    return Take::Drained { ticket };
                }
                Turn::Ahead(next) => return Take::Ahead(next),
                Turn::Discarded => return Take::Discarded,
                Turn::NotYet if !patient => return Take::Empty,
                Turn::NotYet => patient = locked.wait_for_samples(wait),
            }
        }
    }

    /// Settles what a worker had in flight.
    pub(crate) fn settle(&self, worker: usize, unsettled: Unsettled) {
        let Unsettled { ticket, settlement, .. } = unsettled;
        self.change(|change| change.settle(worker, Flight::OfTake(ticket), settlement));
    }

    /// Settles the oldest of the samples that a worker has in flight.
    pub(crate) fn settle_first(&self, worker: usize, ticket: u64, settlement: Settlement) {
        self.change(|change| change.settle(worker, Flight::FirstOfTake(ticket), settlement));
    }

    /// Keeps what a worker has in flight for a later window of the stage.
    pub(crate) fn keep_for_window(&self, worker: usize, ticket: u64) {
        self.change(|change| change.keep_for_window(worker, Flight::OfTake(ticket)));
    }

    /// Counts samples that were kept for a window and are in none: skipped, or flushed with their source.
    pub(crate) fn end_windowed(&self, worker: usize, samples: u64, fate: Fate) {
        self.change(|change| change.end_windowed(worker, samples, fate));
    }

    /// Ends the turn of what `finish` gave.
    pub(crate) fn end_finish(&self, worker: usize) {
        self.change(|change| change.end_finish(worker));
    }

    /// Returns the time when the oldest take in flight has kept others waiting for too long.
    pub(crate) fn overdue_at(&self) -> Option<Instant> {
        self.limits.consumers.time_limit?;
        self.change(|change| change.overdue_at()).0.map(from_nanoseconds)
    }

    /// Gives up the oldest take in flight if it is overdue, and if nothing can be taken before it has ended or
    /// `anyway`.
    pub(crate) fn give_up_overdue(&self, anyway: bool) -> Option<Overdue> {
        self.limits.consumers.time_limit?;
        let now = self.clock.moment().0;
        self.change(|change| change.give_up_overdue(now, anyway)).0
    }

    /// Returns the time when a list that waits for more samples is due.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.change(|change| change.due()).0.map(from_nanoseconds)
    }

    /// Lowers the gate; `wake` follows. The caller frees what is handed back.
    pub(crate) fn lower_gate(&self, gate: Gate) -> ToFree<V> {
        self.change(|change| change.lower_gate(gate)).1
    }

    /// Keeps everything from being taken until `let_take`; returns the number of the last sample that has entered.
    pub(crate) fn hold(&self) -> u64 {
        self.change(|change| change.hold()).0
    }

    /// Lets samples be taken again.
    pub(crate) fn let_take(&self) {
        self.change(|change| change.let_take());
    }

    /// Keeps everything from being taken, or lets samples be taken again.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.change(|change| change.set_paused(paused));
    }

    /// Gives up what had entered before a flush. The caller frees what is handed back.
    pub(crate) fn cut(&self, cut: Cut) -> ToFree<V> {
        let now = self.arrival_time();
        self.change(|change| change.cut(cut, now)).1
    }

    /// Returns the flushes that it knows.
    pub(crate) fn cuts(&self) -> Cuts {
        self.change(|change| change.cuts()).0
    }

    /// Returns true if nothing from before the last flush of a source is in flight; it forgets that flush then.
    pub(crate) fn has_landed(&self, source: SourceId) -> bool {
        self.change(|change| change.has_landed(source)).0
    }

    /// Forgets the last flush of a source.
    pub(crate) fn forget_cut(&self, source: SourceId) {
        self.change(|change| change.forget_cut(source));
    }

    /// Waits until nothing is in flight that entered before the last flush; false when the caller would not wait any
    /// longer.
    pub(crate) fn wait_flushed(&self, wait: Wait) -> bool {
        let mut locked = self.lock();
        let mut patient = true;
        while !locked.change(|change| change.is_flushed()) {
            if !patient {
                return false;
            }
            patient = locked.wait_for_room(wait);
        }
        true
    }

    /// Wakes threads and tasks that wait for room.
    #[inline(always)]
    fn wake_producers(&self, wake: Wake) {
        if wake != Wake::Nobody {
            self.not_full.wake(wake);
            match wake {
                Wake::All => self.tasks.wake_all(),
                _ => drop(self.tasks.wake_first()),
            }
        }
    }

    /// Lets a task stand in line for room; it is woken once there may be some.
    pub(crate) fn stand(&self, spot: &mut Spot, waker: &Waker) {
        let is_new = !spot.is_taken();
        self.tasks.stand(spot, waker);
        if is_new {
            self.state.lock().producers_waiting += 1;
        }
    }

    /// Lets a task leave the line for room.
    pub(crate) fn leave(&self, spot: &mut Spot, has_entered: bool) {
        if spot.is_taken() {
            self.state.lock().producers_waiting -= 1;
            if self.tasks.leave(spot) && !has_entered {
                self.tasks.wake_first();
            }
        }
    }

    /// Makes everybody who waits look again.
    pub(crate) fn wake(&self) {
        // Taking the lock rules out a lost wake-up: no thread is between looking and waiting.
        let state = self.state.lock();
        self.not_empty.tell(Wake::All);
        self.not_full.tell(Wake::All);
        drop(state);
        self.not_empty.wake(Wake::All);
        self.wake_producers(Wake::All);
    }

    /// Returns what happened in the buffer, and in the stage behind it.
    pub(crate) fn read(&self, at: Moment) -> (BufferCounts, Reading) {
        let mut locked = self.lock();
        let (buffer, counts) = locked.change(|change| change.counts());
        let measured = locked.change(|change| change.measured());
        let reading = measured.reading(at.0, counts, |of| locked.state.histograms[of as usize].read(at.0));
        (buffer, reading)
    }

    /// Returns the last visits that ended, and those of what is there now.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        // What is there first: what ends meanwhile is among those that have ended then.
        let present = self.change(|change| change.present_visits(0..usize::MAX)).0;
        let (mut ended, mut next) = (Vec::new(), 0);
        loop {
            // Some at a time, so that nobody waits long for the lock.
            let (some, end) = self.state.lock().visits.some_from(next);
            if some.is_empty() {
                return together(ended, present);
            }
            ended.extend(some);
            next = end;
        }
    }

    pub(crate) fn note_waited(&self, since: Moment, until: Moment) {
        self.change(|change| change.note_waited(since.0, until.0));
    }

    pub(crate) fn waited(&self, at: Moment) -> (Duration, Duration) {
        self.change(|change| change.measured()).0.waited(at.0)
    }

    pub(crate) fn counts(&self) -> BufferCounts {
        self.all_counts().0
    }

    /// Returns the counts of the buffer and of the stage behind it, without any durations.
    pub(in crate::buffer) fn all_counts(&self) -> (BufferCounts, StageCounts) {
        self.change(|change| change.counts()).0
    }

    /// Adds the samples that are inside, in flight, or out of order.
    pub(crate) fn find(&self, found: &mut HashSet<ForkTicket>) {
        found.extend(self.change(|change| change.forks(false)).0);
    }

    /// Works like `find`, and adds those whose ends are still to be told.
    pub(crate) fn find_with_untold(&self, found: &mut HashSet<ForkTicket>) {
        let mut locked = self.lock();
        found.extend(locked.change(|change| change.forks(true)));
        found.extend(locked.state.untold.iter());
        drop(locked.leave());
    }

    /// Returns true if what is inside was discarded.
    pub(crate) fn is_discarding(&self) -> bool {
        self.change(|change| change.gate()).0 == Gate::Discarding
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }
}

impl<V> Locked<'_, V> {
    /// Hands what a worker has just taken over to it.
    #[inline(always)]
    fn hand_over(mut self, ticket: u64, first: usize, samples: u64, at: Moment) -> Take<V> {
        let input = match self.buffer.limits.intake.takes_lists() {
            true => {
                let mut list = Vec::with_capacity(samples as usize);
                let mut next = Some(first);
                while let Some(slot) = next {
                    list.extend(self.take_out(slot));
                    next = self.change(|change| change.after(slot));
                }
                Some(Input::List(list))
            }
            false => self.take_out(first).map(Input::One),
        };
        let keeps_identity = self.buffer.limits.intake.keeps_identity();
        let cut = self.state.head.cut;
        let is_cut_off = cut > 0 && self.change(|change| change.is_all_old(first));
        let to_free = self.leave();
        let Some(input) = input else { return Take::Expired(to_free) };
        let members = keeps_identity.then(|| members_of(&input));
        let fork = input.newest_fork();
        let taken = super::Taken { ticket, at, cut, is_cut_off, fork, lease: None, given: 0, failures: 0, members };
        Take::Ready { input, to_free, taken }
    }

    #[inline(always)]
    fn take_out(&mut self, slot: usize) -> Option<Sample<V>> {
        let value = self.state.values[slot].take()?;
        let slot = &self.state.slots[slot];
        Some(Sample { id: slot.id(), birth: Moment(slot.birth), fork: slot.fork(), source: slot.source(), value })
    }
}

fn remember(last: &mut VecDeque<SampleId>, most: usize, id: SampleId) {
    if last.len() >= most {
        last.pop_front();
    }
    last.push_back(id);
}

/// Returns the samples of a list, without their values.
fn members_of<V>(input: &Input<V>) -> Box<[Member]> {
    let member =
        |sample: &Sample<V>| Member { info: sample.info(), fork: sample.fork, entered: 0, given: 0, failures: 0 };
    input.samples().iter().map(member).collect()
}

/// Waits for a notification; false when the caller's patience is over.
fn wait_on<T>(condition: &Condvar, guard: &mut MutexGuard<'_, T>, wait: Wait) -> bool {
    match wait {
        Wait::No => false,
        Wait::Forever => {
            condition.wait(guard);
            true
        }
        Wait::Until(deadline) => !condition.wait_until(guard, deadline).timed_out(),
    }
}
