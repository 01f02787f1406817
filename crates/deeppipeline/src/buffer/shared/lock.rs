//! The lock of a shared buffer. A process that dies while it has the lock leaves a change either not begun or written
//! down: a process that finds the lock with a dead one makes what is written down.
//!
//! The word that counts what is written down counts the finished changes, too, so that a process that waits sees
//! whether a holder comes further.

use super::layout::{Layout, Waited};
use super::owner::Owner;
use super::words::{Futex, Held, Holder, SharedWords};
use crate::buffer::Wait;
use crate::buffer::damage::Damage;

impl Owner {
    fn holding(self) -> u32 {
        u32::from(self.0) + 1
    }

    /// Returns the owner whose lock shows this, if it is one that may have it.
    fn that_holds(shows: u32, layout: Layout) -> Option<Owner> {
        let owner = (shows & !CONTENDED).checked_sub(1)?;
        u16::try_from(owner).ok().map(Owner).filter(|owner| owner.place() < layout.places)
    }
}

const FREE: u32 = 0;
/// The bit of the lock's word that is set while a thread may sleep on it.
const CONTENDED: u32 = 1 << 31;
/// The lock word of a damaged buffer, whose lock is given to no process any more: this value and those below it tell
/// why, and are no owner's.
const DAMAGED: u32 = CONTENDED - 1;
/// The number of times that the lock is tried before going to sleep: what it protects takes less time than that.
const TRIES: usize = 100;
/// The weight of a finished change in the word that tells how far a process has come; words written down count 1.
const FINISHED: u64 = 1 << 32;

/// The lock is held: a mutex of three states over a futex, as in U. Drepper, "Futexes Are Tricky", with the holder's
/// number in place of "locked". There is deliberately no `Drop`: a process that dies does not clean up either.
#[must_use = "the lock is held until `leave`"]
pub(super) struct LockGuard<'a, W> {
    words: &'a W,
    layout: Layout,
    me: Owner,
    /// The progress of this process.
    progress: u64,
}

impl<'a, W: SharedWords> LockGuard<'a, W> {
    pub(super) fn enter(words: &'a W, layout: Layout, me: Owner) -> Result<Self, Damage> {
        let mut held = me.holding();
        let mut tries = 0;
        loop {
            let shows = words.futex(Futex::Lock);
            if shows == FREE {
                if words.change_futex(Futex::Lock, FREE, held) {
                    return LockGuard::holding(words, layout, me);
                }
            } else if tries < TRIES {
                tries += 1;
                std::hint::spin_loop();
            } else if let Some(damage) = damage_of(shows) {
                return Err(damage);
            } else if shows & CONTENDED != 0 || words.change_futex(Futex::Lock, shows, shows | CONTENDED) {
                if Owner::that_holds(shows, layout).is_none() {
                    return Err(Damage::Lock);
                }
                let patience = words.patience();
                words.sleep(Futex::Lock, shows | CONTENDED, patience);
                // Others may still sleep: a thread that has slept leaves the lock as contended.
                held = me.holding() | CONTENDED;
                if let Wait::Until(_) = patience
                    && let Some(guard) = LockGuard::judge(words, layout, me)?
                {
                    return Ok(guard);
                }
            }
        }
    }

    /// Looks at the process that has the lock now, and inherits it from the dead.
    pub(super) fn judge(words: &'a W, layout: Layout, me: Owner) -> Result<Option<Self>, Damage> {
        let Some(held) = LockGuard::look(words, layout) else { return Ok(None) };
        match words.judge(held) {
            Holder::Lives => Ok(None),
            Holder::Ended => LockGuard::inherit(words, layout, me, held.holder),
            // It may have gone on just before it was looked at.
            Holder::Nobody if LockGuard::look(words, layout) != Some(held) => Ok(None),
            Holder::Nobody => Err(Damage::Lock),
        }
    }

    /// Returns the process that has the lock, and how far it has come.
    pub(super) fn look(words: &W, layout: Layout) -> Option<Held> {
        let holder = Owner::that_holds(words.futex(Futex::Lock), layout)?;
        Some(Held { holder, progress: words.get(layout.progress(holder)) })
    }

    /// Takes the lock if it is to be had at once.
    pub(super) fn try_enter(words: &'a W, layout: Layout, me: Owner) -> Option<Result<Self, Damage>> {
        let free = words.futex(Futex::Lock) == FREE && words.change_futex(Futex::Lock, FREE, me.holding());
        free.then(|| LockGuard::holding(words, layout, me))
    }

    fn holding(words: &'a W, layout: Layout, me: Owner) -> Result<Self, Damage> {
        words.has_lock(true);
        let progress = words.get(layout.progress(me));
        if !progress.is_multiple_of(FINISHED) {
            return Err(Damage::Step);
        }
        Ok(LockGuard { words, layout, me, progress })
    }

    /// Takes the lock after the death of a process: away from it, if it has the lock.
    pub(super) fn enter_after(words: &'a W, layout: Layout, me: Owner, dead: Owner) -> Result<Self, Damage> {
        if let Some(guard) = LockGuard::inherit(words, layout, me, dead)? {
            return Ok(guard);
        }
        // It may have let go and died before it woke the next.
        words.wake_all(Futex::Lock);
        LockGuard::enter(words, layout, me)
    }

    /// Takes the lock out of the hands of the dead, if it is there, and makes the change that is written down.
    fn inherit(words: &'a W, layout: Layout, me: Owner, dead: Owner) -> Result<Option<Self>, Damage> {
        let mut shows = words.futex(Futex::Lock);
        // A thread that goes to sleep on the lock in this moment changes what it shows, but not whose it is.
        while shows & !CONTENDED == dead.holding() {
            if words.change_futex(Futex::Lock, shows, me.holding() | CONTENDED) {
                words.has_lock(true);
                // It may itself have inherited the lock, and died over another process's change.
                for owner in (0..layout.places).map(|place| Owner(place as u16)) {
                    LockGuard::make_written(words, layout, owner)?;
                }
                return LockGuard::holding(words, layout, me).map(Some);
            }
            shows = words.futex(Futex::Lock);
        }
        Ok(None)
    }

    /// Makes the change that a process has written down and not finished.
    fn make_written(words: &W, layout: Layout, owner: Owner) -> Result<(), Damage> {
        let progress = words.get(layout.progress(owner));
        let written = (progress % FINISHED) as usize;
        if written > layout.changes() {
            return Err(Damage::Step);
        }
        for index in 0..written {
            let log = layout.log(owner, index);
            let at = usize::try_from(words.get(log)).ok().filter(|at| layout.is_changed(*at)).ok_or(Damage::Step)?;
            words.set(at, words.get(log + 1));
        }
        if written > 0 {
            words.set(layout.progress(owner), finished(progress));
        }
        Ok(())
    }

    /// Writes a change down, makes it, and says that it is finished. Before it is written down whole nothing has
    /// happened; from then on all of it has.
    pub(super) fn make(&mut self, changes: &[(usize, u64)]) -> Result<(), Damage> {
        if changes.len() > self.layout.changes() {
            return Err(Damage::Step);
        }
        for (index, (at, value)) in changes.iter().enumerate() {
            let log = self.layout.log(self.me, index);
            self.words.set(log, *at as u64);
            self.words.set(log + 1, *value);
        }
        let progress = self.layout.progress(self.me);
        if !changes.is_empty() {
            self.words.set(progress, self.progress + changes.len() as u64);
        }
        changes.iter().for_each(|(at, value)| self.words.set(*at, *value));
        self.progress = finished(self.progress);
        self.words.set(progress, self.progress);
        Ok(())
    }

    /// Lets go of the lock, and wakes whom it may concern.
    pub(super) fn leave(self, not_empty: bool, not_full: bool) -> Result<(), Damage> {
        let not_empty = not_empty && self.count_ring(Futex::NotEmpty, Waited::NotEmpty);
        let not_full = not_full && self.count_ring(Futex::NotFull, Waited::NotFull);
        self.words.has_lock(false);
        let mut shows = self.words.futex(Futex::Lock);
        loop {
            if shows & !CONTENDED != self.me.holding() {
                return Err(Damage::Holder);
            }
            if self.words.change_futex(Futex::Lock, shows, FREE) {
                break;
            }
            shows = self.words.futex(Futex::Lock);
        }
        if shows & CONTENDED != 0 {
            self.words.wake_all(Futex::Lock);
        }
        if not_empty {
            self.words.wake_all(Futex::NotEmpty);
        }
        if not_full {
            self.words.wake_all(Futex::NotFull);
        }
        Ok(())
    }

    /// Makes the futex show something new, so that no waiter falls asleep over what has changed.
    fn count_ring(&self, futex: Futex, waited: Waited) -> bool {
        let waited = self.layout.waited(waited);
        let someone = self.words.get(waited) != 0;
        if someone {
            self.words.set(waited, 0);
            let shows = self.words.futex(futex);
            self.words.change_futex(futex, shows, shows.wrapping_add(1));
        }
        someone
    }

    /// Says that the caller is going to wait, and returns what the futex shows until then.
    pub(super) fn will_wait_for(&self, waited: Waited) -> u32 {
        self.words.set(self.layout.waited(waited), 1);
        self.words.futex(match waited {
            Waited::NotEmpty => Futex::NotEmpty,
            Waited::NotFull => Futex::NotFull,
        })
    }

    /// Makes all that slept on a futex that a dead process was about to wake look again.
    pub(super) fn somebody_waits(&self) {
        for waited in [Waited::NotEmpty, Waited::NotFull] {
            self.words.set(self.layout.waited(waited), 1);
        }
    }

    /// Lets no process get the lock from now on, and makes all that wait learn it.
    pub(super) fn close_for_good(words: &W, damage: Damage) {
        words.has_lock(false);
        loop {
            let shows = words.futex(Futex::Lock);
            if damage_of(shows).is_some() {
                return;
            }
            if words.change_futex(Futex::Lock, shows, DAMAGED - damage.code()) {
                break;
            }
        }
        for futex in [Futex::NotEmpty, Futex::NotFull] {
            let shows = words.futex(futex);
            words.change_futex(futex, shows, shows.wrapping_add(1));
            words.wake_all(futex);
        }
        words.wake_all(Futex::Lock);
    }

    /// Returns why the lock is given to no process any more, if that is so.
    pub(super) fn damage(words: &W) -> Option<Damage> {
        damage_of(words.futex(Futex::Lock))
    }
}

/// Counts one more finished change.
fn finished(progress: u64) -> u64 {
    (progress - progress % FINISHED).wrapping_add(FINISHED)
}

fn damage_of(shows: u32) -> Option<Damage> {
    DAMAGED.checked_sub(shows & !CONTENDED).and_then(Damage::of_code)
}
