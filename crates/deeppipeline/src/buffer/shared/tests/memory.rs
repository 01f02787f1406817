//! Memories for the table of slots: plain, of a process that dies, and under loom.

use super::super::layout::{HEAD, Layout, PLACE, SLOT, TOTALS};
use super::super::owner::Owner;
use super::super::words::{Futex, SharedWords};
use crate::buffer::policy::{Head, List, Place, Slot, SlotState, Totals};
use crate::buffer::{Limits, Wait};
use ::loom::cell::UnsafeCell;
use ::loom::sync::atomic::AtomicU32 as LoomU32;
use ::loom::thread::{self, Thread};
use parking_lot::Mutex;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const FUTEXES: [Futex; 3] = [Futex::Lock, Futex::NotEmpty, Futex::NotFull];

/// Words of which most are 0: many memories are made, and little of each is used.
#[derive(Debug)]
struct Sparse(Vec<Option<Box<[u64; Sparse::CHUNK]>>>);

impl Sparse {
    const CHUNK: usize = 64;

    fn new(words: usize) -> Self {
        Sparse(vec![None; words.div_ceil(Sparse::CHUNK)])
    }

    fn get(&self, at: usize) -> u64 {
        self.0[at / Sparse::CHUNK].as_ref().map_or(0, |chunk| chunk[at % Sparse::CHUNK])
    }

    fn set(&mut self, at: usize, value: u64) {
        let chunk = self.0[at / Sparse::CHUNK].get_or_insert_with(|| Box::new([0; Sparse::CHUNK]));
        chunk[at % Sparse::CHUNK] = value;
    }
}

/// Words that all processes of a test see, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Plain(Rc<Shown>);

#[derive(Debug)]
struct Shown {
    words: RefCell<Sparse>,
    futexes: [Cell<u32>; FUTEXES.len()],
    /// Futexes with a new value whose waiters have not been woken since, so that they still sleep.
    unwoken: [Cell<bool>; FUTEXES.len()],
}

impl Plain {
    pub(super) fn new(limits: Limits) -> Self {
        let words = RefCell::new(Sparse::new(limits.layout().words()));
        Plain(Rc::new(Shown { words, futexes: Default::default(), unwoken: Default::default() }))
    }

    /// Whoever slept on a futex when it changed has been woken, and nobody has the lock.
    pub(super) fn assert_quiet(&self) {
        assert_eq!(self.futex(Futex::Lock), 0, "the lock is free");
        for futex in FUTEXES {
            assert!(!self.0.unwoken[futex as usize].get(), "{futex:?} has changed, and its waiters were not woken");
        }
    }

    /// As if another process had gone to sleep on the lock while somebody holds it.
    fn contend(&self) {
        let lock = &self.0.futexes[Futex::Lock as usize];
        lock.set(lock.get() | 1 << 31);
        self.0.unwoken[Futex::Lock as usize].set(true);
    }
}

impl SharedWords for Plain {
    fn get(&self, at: usize) -> u64 {
        self.0.words.borrow().get(at)
    }

    fn set(&self, at: usize, value: u64) {
        self.0.words.borrow_mut().set(at, value);
    }

    fn futex(&self, futex: Futex) -> u32 {
        self.0.futexes[futex as usize].get()
    }

    fn change_futex(&self, futex: Futex, from: u32, to: u32) -> bool {
        let changes = self.futex(futex) == from;
        if changes {
            self.0.futexes[futex as usize].set(to);
            if futex != Futex::Lock {
                self.0.unwoken[futex as usize].set(true);
            }
        }
        changes
    }

    fn sleep(&self, futex: Futex, _: u32, _: Wait) {
        panic!("nobody is left who would wake what waits at {futex:?}");
    }

    fn wake_all(&self, futex: Futex) {
        self.0.unwoken[futex as usize].set(false);
    }
}

/// What the words say.
pub(super) struct Looked {
    pub(super) head: Head,
    pub(super) totals: Totals,
    pub(super) places: Vec<Place>,
    pub(super) slots: Vec<Slot>,
}

impl Looked {
    pub(super) fn at<W: SharedWords>(words: &W, layout: Layout) -> Self {
        fn read<const N: usize>(words: &impl SharedWords, at: usize) -> [u64; N] {
            std::array::from_fn(|index| words.get(at + index))
        }
        Looked {
            head: bytemuck::cast(read::<HEAD>(words, layout.head())),
            totals: bytemuck::cast(read::<TOTALS>(words, layout.totals())),
            places: (0..layout.places).map(|at| bytemuck::cast(read::<PLACE>(words, layout.place(at)))).collect(),
            slots: (0..layout.slots).map(|at| bytemuck::cast(read::<SLOT>(words, layout.slot(at)))).collect(),
        }
    }

    /// The slots of a list, which must hang together.
    pub(super) fn list(&self, list: List) -> Vec<usize> {
        let (mut slots, mut next, mut previous) = (Vec::new(), list.first, 0);
        while let Some(slot) = next.checked_sub(1) {
            let linked = self.slots[slot as usize];
            assert_eq!(linked.previous, previous, "{list:?}");
            slots.push(slot as usize);
            assert!(slots.len() <= self.slots.len(), "{list:?} has no end");
            (previous, next) = (next, linked.next);
        }
        assert_eq!((list.last, list.len), (previous, slots.len() as u64), "{list:?}");
        slots
    }

    pub(super) fn in_state(&self, state: SlotState) -> impl Iterator<Item = usize> {
        (0..self.slots.len()).filter(move |slot| self.slots[*slot].is_in(state))
    }

    /// Every slot is where its state says, but for so many that are being trimmed.
    pub(super) fn assert_no_slot_leaks(&self, trimming: usize) {
        let (mut stack, mut next) = (Vec::new(), self.head.free);
        while let Some(slot) = next.checked_sub(1) {
            stack.push(slot as usize);
            assert!(stack.len() <= self.slots.len(), "the free slots have no end");
            next = self.slots[slot as usize].next;
        }
        let fresh = self.head.fresh as usize;
        let of = |state| self.in_state(state).filter(|slot| *slot < fresh).collect::<Vec<_>>();
        let lies_free =
            |slot: &usize| [SlotState::Free, SlotState::Trimmed].iter().any(|s| self.slots[*slot].is_in(*s));
        assert!(stack.iter().all(lies_free), "{stack:?}");
        let (free, trimmed) = (of(SlotState::Free), of(SlotState::Trimmed));
        assert_eq!(stack.iter().collect::<BTreeSet<_>>().len(), stack.len(), "no slot is free twice: {stack:?}");
        assert_eq!(stack.len(), free.len() + trimmed.len());
        assert_eq!(self.head.free_slots as usize, free.len());
        assert_eq!(trimmed.len() + of(SlotState::TrimmedApart).len(), trimming);
        for (list, state) in
            [(self.head.waiting, SlotState::Waiting), (self.totals.out_of_order, SlotState::OutOfOrder)]
        {
            let (mut listed, found) = (self.list(list), of(state));
            listed.sort_unstable();
            assert_eq!(listed, found, "{state:?}");
        }
    }
}

/// What a process throws when it dies.
struct Death;

/// Runs what a process does; `Err` if it died over it. Nothing is cleaned up then: a session has no `Drop`.
pub(super) fn unless_dead<T>(does: impl FnOnce() -> T) -> Result<T, Died> {
    catch_unwind(AssertUnwindSafe(does)).map_err(|payload| match payload.downcast::<Death>() {
        Ok(_) => Died,
        Err(other) => resume_unwind(other),
    })
}

/// A process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Died;

/// How long a process lives, in changes that others can see.
#[derive(Debug, Default)]
pub(super) struct Life {
    steps_left: Cell<Option<u64>>,
    is_over: Cell<bool>,
    /// Whether others sleep on the lock whenever this process has it.
    contended: Cell<bool>,
    /// Whether each step so far changed a futex or woke its waiters.
    steps: RefCell<Vec<bool>>,
}

impl Life {
    /// From now on it makes so many steps, and dies at the next.
    pub(super) fn ends_after(&self, steps: u64) {
        self.steps_left.set(Some(steps));
    }

    pub(super) fn goes_on(&self) {
        self.steps_left.set(None);
    }

    pub(super) fn is_contended(&self, contended: bool) {
        self.contended.set(contended);
    }

    /// The steps right before and right after a change of a futex, and one in the middle of each transaction: where a
    /// death falls in between makes no difference to those who live at the same time.
    pub(super) fn steps_at_futexes(&self) -> Vec<u64> {
        let steps = self.steps.borrow();
        let futexes: Vec<usize> = (0..steps.len()).filter(|step| steps[*step]).collect();
        let between = futexes.windows(2).map(|pair| pair[0].midpoint(pair[1]));
        let around = futexes.iter().flat_map(|futex| [*futex, futex + 1]);
        around.chain(between).collect::<BTreeSet<_>>().into_iter().map(|step| step as u64).collect()
    }

    fn step(&self, at_futex: bool) {
        assert!(!self.is_over.get(), "the dead do nothing");
        if let Some(left) = self.steps_left.get() {
            if left == 0 {
                self.is_over.set(true);
                resume_unwind(Box::new(Death));
            }
            self.steps_left.set(Some(left - 1));
        }
        self.steps.borrow_mut().push(at_futex);
    }
}

/// The memory as a process sees it that may die at any step.
#[derive(Debug)]
pub(super) struct Mortal<W> {
    pub(super) words: W,
    pub(super) life: Rc<Life>,
}

impl SharedWords for Mortal<Plain> {
    fn get(&self, at: usize) -> u64 {
        self.words.get(at)
    }

    fn set(&self, at: usize, value: u64) {
        self.life.step(false);
        self.words.set(at, value);
    }

    fn futex(&self, futex: Futex) -> u32 {
        self.words.futex(futex)
    }

    fn change_futex(&self, futex: Futex, from: u32, to: u32) -> bool {
        if self.words.futex(futex) == from {
            self.life.step(true);
        }
        let changed = self.words.change_futex(futex, from, to);
        if changed && futex == Futex::Lock && from == 0 && self.life.contended.get() {
            self.words.contend();
        }
        changed
    }

    fn sleep(&self, futex: Futex, shows: u32, wait: Wait) {
        self.words.sleep(futex, shows, wait);
    }

    fn wake_all(&self, futex: Futex) {
        self.life.step(true);
        self.words.wake_all(futex);
    }
}

/// Words under loom. Those that the lock protects are in one cell, which loom watches: whoever touched them without the
/// lock would be found.
pub(super) struct Loomed {
    words: UnsafeCell<Sparse>,
    layout: Layout,
    /// Written without the lock, by one process each.
    running_since: AtomicU64,
    futexes: [LoomFutex; FUTEXES.len()],
    /// What is in the slots, which belongs to whoever holds them.
    slots: Vec<UnsafeCell<u64>>,
}

/// A futex is an atomic word and, as a futex has in the kernel, a list of those who sleep on it. Threads of loom take turns
/// at what loom knows of, so that none comes between a look at the futex and an entry in the list.
#[derive(Default)]
struct LoomFutex {
    word: LoomU32,
    /// The same for whoever only looks. Nothing follows from a look but an attempt to change the futex or to sleep, which
    /// fails if the look was too early: loom has to interleave the attempts alone.
    shows: AtomicU32,
    sleepers: Mutex<Vec<Thread>>,
}

// SAFETY: not true of the cells, and that is the point: loom fails a test that uses them from two threads at once.
#[allow(unsafe_code)]
unsafe impl Sync for Loomed {}
// SAFETY: nothing in it belongs to a thread.
#[allow(unsafe_code)]
unsafe impl Send for Loomed {}

impl Loomed {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Loomed {
            words: UnsafeCell::new(Sparse::new(limits.layout().words())),
            layout: limits.layout(),
            running_since: AtomicU64::new(0),
            futexes: Default::default(),
            slots: (0..limits.slots()).map(|_| UnsafeCell::new(0)).collect(),
        })
    }

    #[allow(unsafe_code)]
    pub(super) fn read_slot(&self, slot: usize) -> u64 {
        // SAFETY: loom checks that nobody writes at the same time.
        self.slots[slot].with(|value| unsafe { *value })
    }

    #[allow(unsafe_code)]
    pub(super) fn write_slot(&self, slot: usize, value: u64) {
        // SAFETY: loom checks that nobody else uses it at the same time.
        self.slots[slot].with_mut(|place| unsafe { *place = value });
    }
}

/// The memory under loom, as one thread sees it.
pub(super) struct Seen {
    pub(super) memory: Arc<Loomed>,
    pub(super) life: Life,
}

impl Seen {
    pub(super) fn new(memory: &Arc<Loomed>) -> Self {
        Seen { memory: Arc::clone(memory), life: Life::default() }
    }

    fn futex_of(&self, futex: Futex) -> &LoomFutex {
        &self.memory.futexes[futex as usize]
    }
}

impl Loomed {
    fn is_running_since(&self, at: usize) -> bool {
        (0..3).any(|owner| at == self.layout.running_since(Owner(owner)))
    }
}

impl SharedWords for Seen {
    #[allow(unsafe_code)]
    fn get(&self, at: usize) -> u64 {
        match at {
            at if self.memory.is_running_since(at) => self.memory.running_since.load(Ordering::Relaxed),
            // SAFETY: loom checks that nobody writes at the same time.
            at => self.memory.words.with(|words| unsafe { (&*words).get(at) }),
        }
    }

    #[allow(unsafe_code)]
    fn set(&self, at: usize, value: u64) {
        self.life.step(false);
        match at {
            at if self.memory.is_running_since(at) => self.memory.running_since.store(value, Ordering::Relaxed),
            // SAFETY: loom checks that nobody else uses it at the same time.
            at => self.memory.words.with_mut(|words| unsafe { (&mut *words).set(at, value) }),
        }
    }

    fn futex(&self, futex: Futex) -> u32 {
        self.futex_of(futex).shows.load(Ordering::Relaxed)
    }

    fn change_futex(&self, futex: Futex, from: u32, to: u32) -> bool {
        self.life.step(true);
        let futex = self.futex_of(futex);
        let changed = futex.word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if changed {
            futex.shows.store(to, Ordering::Relaxed);
        }
        changed
    }

    fn sleep(&self, futex: Futex, shows: u32, _: Wait) {
        let futex = self.futex_of(futex);
        // Like the kernel it sees what the futex shows now, not what it showed before.
        if futex.word.compare_exchange(shows, shows, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            futex.sleepers.lock().push(thread::current());
            thread::park();
        }
    }

    fn wake_all(&self, futex: Futex) {
        self.life.step(true);
        let futex = self.futex_of(futex);
        // Tells loom that it matters whether others go to sleep before this or after.
        futex.word.fetch_add(0, Ordering::AcqRel);
        let woken = std::mem::take(&mut *futex.sleepers.lock());
        woken.iter().for_each(Thread::unpark);
    }
}
