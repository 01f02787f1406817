//! A line of tasks that wait without a thread: each has its place in it, and is woken in the order of the places.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

/// Tasks that wait for something of which there is one for each.
#[derive(Debug, Default)]
pub(crate) struct Line {
    state: Mutex<State>,
    /// The number of tasks in line, for those who would wake one: mostly there is none, and nothing to be locked. A task
    /// looks once more after it has come here, and both of them do that under the lock of what it waits for. So either it
    /// finds what has come, or it is seen here.
    tasks: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// The waker of each task in line; none once it was woken, until it stands here again or leaves.
    wakers: BTreeMap<u64, Option<Waker>>,
}

/// A place in a line, or none yet.
#[derive(Debug, Default)]
pub(crate) struct Spot(Option<u64>);

impl Spot {
    /// Returns true if there is a place.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.is_some()
    }
}

impl Line {
    /// Lets a task be woken in its turn: it stands in its place, or at the end of the line. It looks once more afterwards,
    /// since what it waits for may have come before.
    pub(crate) fn stand(&self, spot: &mut Spot, waker: &Waker) {
        let waker = waker.clone();
        let mut state = self.state.lock();
        let place = *spot.0.get_or_insert_with(|| {
            state.last += 1;
            state.last
        });
        let before = state.wakers.insert(place, Some(waker));
        self.tasks.store(state.wakers.len(), Ordering::Relaxed);
        // A waker is foreign code, also where it is dropped.
        drop(state);
        drop(before);
    }

    /// Wakes the first task that has not been woken; returns true if there was one.
    pub(crate) fn wake_first(&self) -> bool {
        if self.is_empty() {
            return false;
        }
        let first = self.state.lock().wakers.values_mut().find_map(Option::take);
        first.map(Waker::wake).is_some()
    }

    /// Wakes all tasks.
    pub(crate) fn wake_all(&self) {
        if self.is_empty() {
            return;
        }
        let all: Vec<_> = self.state.lock().wakers.values_mut().filter_map(Option::take).collect();
        all.into_iter().for_each(Waker::wake);
    }

    /// Returns true if a task was woken, and has not looked since.
    pub(crate) fn leave(&self, spot: &mut Spot) -> bool {
        let Some(place) = spot.0.take() else { return false };
        let mut state = self.state.lock();
        let left = state.wakers.remove(&place);
        self.tasks.store(state.wakers.len(), Ordering::Relaxed);
        matches!(left, Some(None))
    }

    fn is_empty(&self) -> bool {
        self.tasks.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Spot};
    use parking_lot::Mutex;
    use std::sync::Arc;
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Woken(Mutex<Vec<u32>>);

    struct Task(u32, Arc<Woken>);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.1.0.lock().push(self.0);
        }
    }

    fn waker(task: u32, woken: &Arc<Woken>) -> Waker {
        Arc::new(Task(task, Arc::clone(woken))).into()
    }

    #[test]
    fn tasks_are_woken_in_the_order_of_their_places_which_they_keep() {
        let (line, woken) = (Line::default(), Arc::<Woken>::default());
        let mut spots = [Spot::default(), Spot::default(), Spot::default()];
        for (task, spot) in (1..).zip(&mut spots) {
            line.stand(spot, &waker(task, &woken));
        }
        assert!(line.wake_first() && line.wake_first());
        line.stand(&mut spots[0], &waker(1, &woken));
        assert!(line.wake_first() && line.wake_first() && !line.wake_first());
        assert_eq!(*woken.0.lock(), [1, 2, 1, 3]);
    }

    #[test]
    fn a_task_that_leaves_after_it_was_woken_is_told_so_that_another_is_woken_instead() {
        let (line, woken) = (Line::default(), Arc::<Woken>::default());
        let mut spots = [Spot::default(), Spot::default()];
        for (task, spot) in (1..).zip(&mut spots) {
            line.stand(spot, &waker(task, &woken));
        }
        assert!(line.wake_first());
        assert!(line.leave(&mut spots[0]));
        assert!(!line.leave(&mut spots[0]) && !line.leave(&mut spots[1]));
        assert!(!line.wake_first());
    }
}
