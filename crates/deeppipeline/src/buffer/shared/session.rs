//! The lock of a shared buffer, and a transaction under it that a death leaves undone.
//!
//! Every word is written down before it is changed, and forgotten when all changes are made: that one write is the moment
//! at which the whole transaction happens. Whoever finds the lock in the hands of the dead undoes what is written down.
//! The word that counts them counts the finished ones, too, so that whoever waits sees whether a holder comes further.

use super::damage::{Damage, damaged};
use super::layout::{Field, Layout, PlaceField, SUM_OF_NOTHING};
use super::words::{Bell, Held, Holder, Words};
use crate::buffer::Wait;

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

    /// Whose lock it is that shows this, if it is that of one who may have it.
    fn that_holds(shows: u32, layout: Layout) -> Option<Owner> {
        let owner = (shows & !CONTENDED).checked_sub(1)?;
        u16::try_from(owner).ok().map(Owner).filter(|owner| owner.place() < layout.places)
    }
}

const FREE: u32 = 0;
/// Set in the lock's word while someone may sleep on it.
const CONTENDED: u32 = 1 << 31;
/// Nobody gets the lock any more: so many values below that tell why, and are no owner's.
const DAMAGED: u32 = CONTENDED - 1;
/// How often the lock is tried before going to sleep: what it protects takes less time than that.
const TRIES: usize = 100;
/// In the word that tells how far a process has come, finished steps count so much, and changes written down 1.
const FINISHED: u64 = 1 << 32;

/// The lock is held. There is deliberately no `Drop`: a process that dies does not clean up either.
#[must_use = "the lock is held until `leave`"]
pub(super) struct Session<'a, W> {
    words: &'a W,
    layout: Layout,
    me: Owner,
    /// How far this process has come.
    progress: u64,
    /// Where that is told, and what is changed written down.
    place: usize,
    /// By how much the sum over the words changes.
    sum: u64,
    ring_filled: bool,
    ring_emptied: bool,
}

impl<'a, W: Words> Session<'a, W> {
    pub(super) fn enter(words: &'a W, layout: Layout, me: Owner) -> Result<Self, Damage> {
        let mut held = me.holding();
        let mut tries = 0;
        loop {
            let shows = words.bell(Bell::Lock);
            if shows == FREE {
                if words.change_bell(Bell::Lock, FREE, held) {
                    return Session::holding(words, layout, me);
                }
            } else if tries < TRIES {
                tries += 1;
                std::hint::spin_loop();
            } else if let Some(damage) = damage_of(shows) {
                return Err(damage);
            } else if shows & CONTENDED != 0 || words.change_bell(Bell::Lock, shows, shows | CONTENDED) {
                if Owner::that_holds(shows, layout).is_none() {
                    return Err(Damage::Lock);
                }
                let patience = words.patience();
                words.sleep(Bell::Lock, shows | CONTENDED, patience);
                // Others may still sleep: whoever has slept leaves the lock as contended.
                held = me.holding() | CONTENDED;
                if let Wait::Until(_) = patience
                    && let Some(session) = Session::judge(words, layout, me)?
                {
                    return Ok(session);
                }
            }
        }
    }

    /// Looks at whoever has the lock now, and inherits it from the dead.
    pub(super) fn judge(words: &'a W, layout: Layout, me: Owner) -> Result<Option<Self>, Damage> {
        let Some(held) = Session::look(words, layout) else { return Ok(None) };
        match words.judge(held) {
            Holder::Lives => Ok(None),
            Holder::Ended => Session::inherit(words, layout, me, held.holder),
            Holder::Nobody => Err(Damage::Lock),
        }
    }

    /// Who has the lock, and how far it has come.
    pub(super) fn look(words: &W, layout: Layout) -> Option<Held> {
        let holder = Owner::that_holds(words.bell(Bell::Lock), layout)?;
        Some(Held { holder, progress: words.get(layout.progress(holder)) })
    }

    /// Like `enter`, if the lock is to be had at once.
    pub(super) fn try_enter(words: &'a W, layout: Layout, me: Owner) -> Option<Result<Self, Damage>> {
        let free = words.bell(Bell::Lock) == FREE && words.change_bell(Bell::Lock, FREE, me.holding());
        free.then(|| Session::holding(words, layout, me))
    }

    fn holding(words: &'a W, layout: Layout, me: Owner) -> Result<Self, Damage> {
        words.has_lock(true);
        let place = layout.progress(me);
        let progress = words.get(place);
        if !progress.is_multiple_of(FINISHED) {
            return Err(Damage::Step);
        }
        Ok(Session { words, layout, me, progress, place, sum: 0, ring_filled: false, ring_emptied: false })
    }

    /// Like `enter`, after the death of a process: takes the lock out of its hands, and undoes what it had not finished.
    pub(super) fn enter_after(words: &'a W, layout: Layout, me: Owner, dead: Owner) -> Result<Self, Damage> {
        if let Some(session) = Session::inherit(words, layout, me, dead)? {
            return Ok(session);
        }
        // It may have let go and died before it woke the next.
        words.ring(Bell::Lock);
        Session::enter(words, layout, me)
    }

    /// Takes the lock out of the hands of the dead, if it is there.
    fn inherit(words: &'a W, layout: Layout, me: Owner, dead: Owner) -> Result<Option<Self>, Damage> {
        let mut shows = words.bell(Bell::Lock);
        // Whoever goes to sleep on the lock in this moment changes what it shows, but not whose it is.
        while shows & !CONTENDED == dead.holding() {
            if words.change_bell(Bell::Lock, shows, me.holding() | CONTENDED) {
                let session = Session::holding(words, layout, me)?;
                session.undo(dead)?;
                return Ok(Some(session));
            }
            shows = words.bell(Bell::Lock);
        }
        Ok(None)
    }

    /// Takes back what a dead process has changed and not finished.
    fn undo(&self, dead: Owner) -> Result<(), Damage> {
        let progress = self.words.get(self.layout.progress(dead));
        let (finished, mut left) = (progress - progress % FINISHED, progress % FINISHED);
        if left > self.layout.changes() as u64 {
            return Err(Damage::Step);
        }
        while left > 0 {
            left -= 1;
            let place = self.layout.undo(dead, left);
            let changed = usize::try_from(self.words.get(place)).ok().filter(|at| self.layout.is_changed(*at));
            let changed = changed.ok_or(Damage::Step)?;
            self.words.set(changed, self.words.get(place + 1));
            self.words.set(self.layout.progress(dead), finished + left);
        }
        Ok(())
    }

    /// Everything has happened; lets go of the lock, and wakes whom it may concern.
    pub(super) fn leave(mut self) -> Result<(), Damage> {
        if self.sum != 0 {
            let sum = self.get_at(self.layout.sum()).wrapping_add(self.sum);
            self.set_at(self.layout.sum(), sum);
        }
        let finished = self.progress - self.progress % FINISHED;
        self.words.set(self.place, finished.wrapping_add(FINISHED));
        let filled = self.ring_filled && self.count_ring(Bell::Filled, Field::FilledWaited);
        let emptied = self.ring_emptied && self.count_ring(Bell::Emptied, Field::EmptiedWaited);
        self.words.has_lock(false);
        let mut shows = self.words.bell(Bell::Lock);
        loop {
            if shows & !CONTENDED != self.me.holding() {
                return Err(Damage::Holder);
            }
            if self.words.change_bell(Bell::Lock, shows, FREE) {
                break;
            }
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
        Ok(())
    }

    /// From now on nobody gets the lock, and everybody who waits learns it.
    pub(super) fn close_for_good(words: &W, damage: Damage) {
        words.has_lock(false);
        loop {
            let shows = words.bell(Bell::Lock);
            if damage_of(shows).is_some() {
                return;
            }
            if words.change_bell(Bell::Lock, shows, DAMAGED - damage.code()) {
                break;
            }
        }
        for bell in [Bell::Filled, Bell::Emptied] {
            let shows = words.bell(bell);
            words.change_bell(bell, shows, shows.wrapping_add(1));
            words.ring(bell);
        }
        words.ring(Bell::Lock);
    }

    /// Why nobody gets the lock any more, if that is so.
    pub(super) fn damage(words: &W) -> Option<Damage> {
        damage_of(words.bell(Bell::Lock))
    }

    /// Whether nobody has written what is weighed, but in steps.
    pub(super) fn is_sound(&self) -> bool {
        let weighed = self.layout.weighed().map(|at| self.words.get(at).wrapping_mul(self.layout.weight(at)));
        let sum = weighed.fold(SUM_OF_NOTHING, u64::wrapping_add);
        sum.wrapping_sub(self.sum) == self.words.get(self.layout.sum())
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
        let sum = self.get(field).checked_add(more);
        self.set(field, sum.unwrap_or_else(|| damaged(Damage::Count)));
    }

    pub(super) fn subtract(&mut self, field: Field, less: u64) {
        let rest = self.get(field).checked_sub(less);
        self.set(field, rest.unwrap_or_else(|| damaged(Damage::Count)));
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
        let written_down = (self.progress % FINISHED) as usize;
        if written_down >= self.layout.changes() {
            damaged(Damage::Step);
        }
        let (place, was) = (self.place + 1 + 2 * written_down, self.words.get(at));
        self.sum = self.sum.wrapping_add(value.wrapping_sub(was).wrapping_mul(self.layout.weight(at)));
        self.words.set(place, at as u64);
        self.words.set(place + 1, was);
        self.progress += 1;
        self.words.set(self.place, self.progress);
        self.words.set(at, value);
    }
}

fn damage_of(shows: u32) -> Option<Damage> {
    DAMAGED.checked_sub(shows & !CONTENDED).and_then(Damage::of_code)
}
