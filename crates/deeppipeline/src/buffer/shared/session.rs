//! The lock of a shared buffer, and a transaction under it that a death leaves undone.
//!
//! Every word is written down before it is changed, and forgotten when all changes are made: that one write is the moment
//! at which the whole transaction happens. Whoever finds the lock in the hands of the dead undoes what is written down.

use super::layout::{Field, Layout, PlaceField};
use super::words::{Bell, Words};

/// Who shares a buffer: 0 for everybody in the pipeline's own process, from 1 for worker processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) u16);

impl Owner {
    /// Whoever lives in the pipeline's own process.
    pub(crate) const HOME: Owner = Owner(0);

    /// A worker process of the stage at that index. At one buffer meet the workers of neighbouring stages, and there each
    /// has a number of its own.
    pub(crate) fn of_worker(index: usize, worker: usize) -> Owner {
        Owner(u16::try_from(1 + 2 * worker + index % 2).unwrap_or(u16::MAX))
    }

    /// How many processes may share a buffer beside which stand stages with at most so many workers.
    pub(super) fn places(workers: usize) -> usize {
        1 + 2 * workers
    }

    pub(super) fn place(self) -> usize {
        usize::from(self.0)
    }

    fn holding(self) -> u32 {
        u32::from(self.0) + 1
    }

    /// Whose lock it is that shows this; somebody's.
    fn that_holds(shows: u32) -> Owner {
        Owner(((shows & !CONTENDED) - 1) as u16)
    }
}

const FREE: u32 = 0;
/// Set in the lock's word while someone may sleep on it.
const CONTENDED: u32 = 1 << 31;
/// How often the lock is tried before going to sleep: what it protects takes less time than that.
const TRIES: usize = 100;

/// The lock is held. There is deliberately no `Drop`: a process that dies does not clean up either.
#[must_use = "the lock is held until `leave`"]
pub(super) struct Session<'a, W> {
    words: &'a W,
    layout: Layout,
    me: Owner,
    written_down: u64,
    ring_filled: bool,
    ring_emptied: bool,
}

impl<'a, W: Words> Session<'a, W> {
    pub(super) fn enter(words: &'a W, layout: Layout, me: Owner) -> Self {
        let mut held = me.holding();
        let (mut tries, mut sleeps) = (0, 0);
        loop {
            let shows = words.bell(Bell::Lock);
            if shows == FREE {
                if words.change_bell(Bell::Lock, FREE, held) {
                    return Session::holding(words, layout, me);
                }
            } else if tries < TRIES {
                tries += 1;
                std::hint::spin_loop();
            } else if shows & CONTENDED != 0 || words.change_bell(Bell::Lock, shows, shows | CONTENDED) {
                words.sleep(Bell::Lock, shows | CONTENDED, words.patience());
                // Others may still sleep: whoever has slept leaves the lock as contended.
                held = me.holding() | CONTENDED;
                sleeps += 1;
                let holder = Owner::that_holds(shows);
                if words.has_ended(holder, sleeps)
                    && let Some(session) = Session::inherit(words, layout, me, holder)
                {
                    return session;
                }
            }
        }
    }

    /// Like `enter`, if the lock is to be had at once.
    pub(super) fn try_enter(words: &'a W, layout: Layout, me: Owner) -> Option<Self> {
        let free = words.bell(Bell::Lock) == FREE && words.change_bell(Bell::Lock, FREE, me.holding());
        free.then(|| Session::holding(words, layout, me))
    }

    fn holding(words: &'a W, layout: Layout, me: Owner) -> Self {
        Session { words, layout, me, written_down: 0, ring_filled: false, ring_emptied: false }
    }

    /// Like `enter`, after the death of a process: takes the lock out of its hands, and undoes what it had not finished.
    pub(super) fn enter_after(words: &'a W, layout: Layout, me: Owner, dead: Owner) -> Self {
        if let Some(session) = Session::inherit(words, layout, me, dead) {
            return session;
        }
        // It may have let go and died before it woke the next.
        words.ring(Bell::Lock);
        Session::enter(words, layout, me)
    }

    /// Takes the lock out of the hands of the dead, if it is there.
    fn inherit(words: &'a W, layout: Layout, me: Owner, dead: Owner) -> Option<Self> {
        let mut shows = words.bell(Bell::Lock);
        // Whoever goes to sleep on the lock in this moment changes what it shows, but not whose it is.
        while shows & !CONTENDED == dead.holding() {
            if words.change_bell(Bell::Lock, shows, me.holding() | CONTENDED) {
                let session = Session::holding(words, layout, me);
                session.undo(dead);
                return Some(session);
            }
            shows = words.bell(Bell::Lock);
        }
        None
    }

    /// Takes back what a dead process has changed and not finished.
    fn undo(&self, dead: Owner) {
        let mut left = self.words.get(self.layout.undo_count(dead));
        while left > 0 {
            left -= 1;
            let place = self.layout.undo(dead, left);
            self.words.set(self.words.get(place) as usize, self.words.get(place + 1));
            self.words.set(self.layout.undo_count(dead), left);
        }
    }

    /// Everything has happened; lets go of the lock, and wakes whom it may concern.
    pub(super) fn leave(self) {
        self.words.set(self.layout.undo_count(self.me), 0);
        let filled = self.ring_filled && self.count_ring(Bell::Filled, Field::FilledWaited);
        let emptied = self.ring_emptied && self.count_ring(Bell::Emptied, Field::EmptiedWaited);
        let mut shows = self.words.bell(Bell::Lock);
        while !self.words.change_bell(Bell::Lock, shows, FREE) {
            shows = self.words.bell(Bell::Lock);
        }
        if shows & CONTENDED != 0 {
            self.words.ring(Bell::Lock);
        }
        if filled {
            self.words.ring(Bell::Filled);
        }
        if emptied {
            self.words.ring(Bell::Emptied);
        }
    }

    /// Makes the bell show something new, so that nobody falls asleep over what has changed.
    fn count_ring(&self, bell: Bell, waited: Field) -> bool {
        let someone = self.get(waited) != 0;
        if someone {
            self.words.set(self.layout.field(waited), 0);
            let shows = self.words.bell(bell);
            self.words.change_bell(bell, shows, shows.wrapping_add(1));
        }
        someone
    }

    /// Whoever waits for something to take is to look again.
    pub(super) fn ring_filled(&mut self) {
        self.ring_filled = true;
    }

    /// Whoever waits for room is to look again.
    pub(super) fn ring_emptied(&mut self) {
        self.ring_emptied = true;
    }

    /// Says that the caller is going to wait for something to take, and what the bell shows until then.
    pub(super) fn will_wait_for_filled(&self) -> u32 {
        self.words.set(self.layout.field(Field::FilledWaited), 1);
        self.words.bell(Bell::Filled)
    }

    /// Says that the caller is going to wait for room, and what the bell shows until then.
    pub(super) fn will_wait_for_emptied(&self) -> u32 {
        self.words.set(self.layout.field(Field::EmptiedWaited), 1);
        self.words.bell(Bell::Emptied)
    }

    /// Whoever slept on a bell that a dead process was about to ring is to look again.
    pub(super) fn ring_everything(&mut self) {
        for waited in [Field::FilledWaited, Field::EmptiedWaited] {
            self.words.set(self.layout.field(waited), 1);
        }
        (self.ring_filled, self.ring_emptied) = (true, true);
    }

    pub(super) fn get(&self, field: Field) -> u64 {
        self.words.get(self.layout.field(field))
    }

    pub(super) fn set(&mut self, field: Field, value: u64) {
        self.set_at(self.layout.field(field), value);
    }

    pub(super) fn add(&mut self, field: Field, more: u64) {
        self.set(field, self.get(field) + more);
    }

    pub(super) fn subtract(&mut self, field: Field, less: u64) {
        self.set(field, self.get(field) - less);
    }

    pub(super) fn get_of(&self, owner: Owner, field: PlaceField) -> u64 {
        self.words.get(self.layout.place(owner, field))
    }

    pub(super) fn set_of(&mut self, owner: Owner, field: PlaceField, value: u64) {
        self.set_at(self.layout.place(owner, field), value);
    }

    pub(super) fn get_at(&self, at: usize) -> u64 {
        self.words.get(at)
    }

    /// Changes a word; undone if this process dies before it leaves.
    pub(super) fn set_at(&mut self, at: usize, value: u64) {
        let place = self.layout.undo(self.me, self.written_down);
        self.words.set(place, at as u64);
        self.words.set(place + 1, self.words.get(at));
        self.written_down += 1;
        self.words.set(self.layout.undo_count(self.me), self.written_down);
        self.words.set(at, value);
    }
}
