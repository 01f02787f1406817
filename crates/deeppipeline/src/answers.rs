//! The answers to what was submitted: the table of those that are still to come.
//!
//! A submission is a fork with one branch around the whole pipeline: its sample gets a ticket, which whatever is made of
//! it has, too. The last stage brings its value here; a buffer tells of each sample with a ticket that ends, and how. An
//! answer is complete when nothing with its ticket is anywhere any more: mostly one word says so, and where a sample was
//! split, the supervisor looks.

use crate::buffer::{How, SampleEnd, Wait};
use crate::error::{Discarded, DroppedBy, Failure, NoAnswer, SkippedBy, StageFailure};
use crate::line::{Line, Spot};
use crate::sample::{ForkTicket, SampleId};
use crate::unwind::release;
use crate::worker::FailedOn;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::task::Waker;

/// The values that the last stage gave for what was submitted.
#[derive(Debug)]
pub enum Got<V> {
    /// The one result.
    One(V),
    /// The results of a sample that was split, in order.
    Many(Vec<V>),
}

/// The receiver of one answer.
pub trait Receives<V>: Send + Sync {
    /// Takes the answer; called once, outside of every lock, on whatever thread it is complete. So it must not wait.
    fn receive(&self, answer: Result<Got<V>, NoAnswer>);
}

/// The answers that are still to come.
pub(crate) struct Answers<V> {
    /// True if there may ever be one.
    is_open: bool,
    state: Mutex<State<V>>,
    /// Wakes callers that wait until fewer answers are to come.
    fewer: Condvar,
    /// Tasks that wait for the same.
    tasks: Line,
    /// The number of answers that may be to come at the same time.
    most: usize,
}

struct State<V> {
    pending: HashMap<ForkTicket, Pending<V>>,
    /// Failures of which the samples have not been told yet, by the node and what it has failed on.
    failures: HashMap<(usize, FailedOn), Arc<Failure>>,
    /// Samples that were discarded before it was known for what.
    undecided: Vec<(ForkTicket, SampleId)>,
    /// Samples that have failed in a worker process whose word about it is on its way, by the node and its take.
    untold: HashMap<(usize, u64), Vec<SampleEnd>>,
    /// True once nothing more will come.
    is_over: bool,
}

struct Pending<V> {
    receiver: Arc<dyn Receives<V>>,
    parts: Vec<(SampleId, V)>,
    /// The fate of its last part that ended, and how late a part that is: whenever each ended, which of several workers
    /// is the quickest does not count.
    last: Option<(u64, NoAnswer)>,
    /// True while it is not in the first buffer yet.
    is_entering: bool,
    /// True if it is to be looked for as soon as it has entered.
    looks_again: bool,
}

/// An answer that is complete, to be handed over outside of the lock.
#[must_use = "somebody waits for it"]
pub(crate) struct Complete<V> {
    receiver: Arc<dyn Receives<V>>,
    answer: Result<Got<V>, NoAnswer>,
}

impl<V> Complete<V> {
    pub(crate) fn hand_over(self) {
        self.receiver.receive(self.answer);
        release(self.receiver);
    }
}

impl<V> Pending<V> {
    fn complete(self, instead: NoAnswer) -> Complete<V> {
        let Pending { receiver, mut parts, last, .. } = self;
        // Several workers may have brought them out of order.
        parts.sort_by_key(|(id, _)| id.part);
        let answer = match parts.is_empty() {
            true => Err(last.map_or(instead, |(_, fate)| fate)),
            false => Ok(Got::Many(parts.into_iter().map(|(_, value)| value).collect())),
        };
        Complete { receiver, answer }
    }
}

impl<V> Answers<V> {
    /// Makes an empty table; `None` where nothing will be submitted.
    pub(crate) fn new(most: Option<usize>) -> Self {
        let state = State {
            pending: HashMap::new(),
            failures: HashMap::new(),
            undecided: Vec::new(),
            untold: HashMap::new(),
            is_over: false,
        };
        let (is_open, most) = (most.is_some(), most.unwrap_or_default());
        Answers { is_open, state: Mutex::new(state), fewer: Condvar::new(), tasks: Line::default(), most }
    }

    /// Returns true if samples may be submitted.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Enters a submission that is about to be put into the first buffer, and returns its ticket. Waits until fewer
    /// answers are to come, where there are too many; none when the caller would not wait any longer.
    pub(crate) fn enter(&self, receiver: Arc<dyn Receives<V>>, wait: Wait) -> Option<ForkTicket> {
        let ticket = ForkTicket::next();
        let mut state = self.state.lock();
        while state.pending.len() >= self.most && !state.is_over {
            match wait {
                Wait::No => return None,
                Wait::Forever => self.fewer.wait(&mut state),
                Wait::Until(deadline) => {
                    if self.fewer.wait_until(&mut state, deadline).timed_out() && state.pending.len() >= self.most {
                        return None;
                    }
                }
            }
        }
        let pending = Pending { receiver, parts: Vec::new(), last: None, is_entering: true, looks_again: false };
        state.pending.insert(ticket, pending);
        Some(ticket)
    }

    /// Works like `enter` for a task, which is woken once fewer answers are to come.
    pub(crate) fn enter_or_stand(
        &self,
        receiver: &Arc<dyn Receives<V>>,
        spot: &mut Spot,
        waker: &Waker,
    ) -> Option<ForkTicket> {
        self.enter(Arc::clone(receiver), Wait::No).or_else(|| {
            self.tasks.stand(spot, waker);
            // There may have been fewer before the task was in line.
            self.enter(Arc::clone(receiver), Wait::No)
        })
    }

    /// Lets a task leave the line.
    pub(crate) fn leave(&self, spot: &mut Spot, has_entered: bool) {
        if self.tasks.leave(spot) && !has_entered {
            self.tasks.wake_first();
        }
    }

    /// Notes that the sample is in the first buffer; returns true if it is to be looked for.
    pub(crate) fn has_entered(&self, ticket: ForkTicket) -> bool {
        let mut state = self.state.lock();
        let is_over = state.is_over;
        let Some(pending) = state.pending.get_mut(&ticket) else { return false };
        pending.is_entering = false;
        pending.looks_again || is_over
    }

    /// Takes a submission back that the first buffer has not taken: the caller has the sample again.
    pub(crate) fn withdraw(&self, ticket: ForkTicket) {
        let withdrawn = self.remove(&mut self.state.lock(), ticket);
        if withdrawn.is_some() {
            self.tasks.wake_first();
        }
    }

    fn remove(&self, state: &mut State<V>, ticket: ForkTicket) -> Option<Pending<V>> {
        let pending = state.pending.remove(&ticket)?;
        if state.pending.len() + 1 == self.most {
            self.fewer.notify_all();
        } else {
            self.fewer.notify_one();
        }
        Some(pending)
    }

    /// Takes a value that the last stage gave, and hands it back where nobody waits for it.
    pub(crate) fn arrive(&self, ticket: ForkTicket, id: SampleId, is_part: bool, value: V) -> Option<V> {
        let mut state = self.state.lock();
        if is_part || id.part > 0 {
            let Some(pending) = state.pending.get_mut(&ticket) else { return Some(value) };
            pending.parts.push((id, value));
            return None;
        }
        let Some(Pending { receiver, parts, .. }) = self.remove(&mut state, ticket) else { return Some(value) };
        drop(state);
        self.tasks.wake_first();
        // What a try before this one had given.
        parts.into_iter().for_each(|(_, part)| release(part));
        Complete { receiver, answer: Ok(Got::One(value)) }.hand_over();
        None
    }

    /// Keeps a failure for samples whose ends are told next, and returns those that were told before.
    pub(crate) fn note_failure(&self, node: usize, failed: FailedOn, failure: Arc<Failure>) -> Vec<SampleEnd> {
        let mut state = self.state.lock();
        let before = state.failures.insert((node, failed), failure);
        let untold = state.untold.remove(&(node, failed.take)).unwrap_or_default();
        let is_of = |ended: &SampleEnd| failed.only.is_none_or(|only| only == ended.id);
        let (told, untold): (Vec<_>, Vec<_>) = untold.into_iter().partition(is_of);
        if !untold.is_empty() {
            state.untold.insert((node, failed.take), untold);
        }
        drop(state);
        release(before);
        told
    }

    /// Keeps the end of a sample that has failed until it is told why; false where that is known.
    #[cfg(processes)]
    pub(crate) fn keep_untold(&self, node: usize, ended: SampleEnd) -> bool {
        let mut state = self.state.lock();
        let is_untold = failures_of(node, &ended).iter().all(|key| !state.failures.contains_key(key));
        if is_untold {
            state.untold.entry((node, ended.take)).or_default().push(ended);
        }
        is_untold
    }

    /// Returns the ends for which no word has come.
    pub(crate) fn take_untold(&self) -> Vec<(usize, SampleEnd)> {
        let untold = std::mem::take(&mut self.state.lock().untold);
        untold.into_iter().flat_map(|((node, _), ends)| ends.into_iter().map(move |ended| (node, ended))).collect()
    }

    /// Returns the failure of a sample, if one was noted.
    pub(crate) fn failure(&self, node: usize, ended: &SampleEnd) -> Option<Arc<Failure>> {
        let state = self.state.lock();
        failures_of(node, ended).iter().find_map(|key| state.failures.get(key)).cloned()
    }

    /// Forgets the failures of these samples, which have been told: of a take that has failed as a whole, all together.
    pub(crate) fn forget_failures<'a>(&self, node: usize, ended: impl Iterator<Item = &'a SampleEnd>) {
        let mut state = self.state.lock();
        let told: Vec<_> =
            ended.flat_map(|ended| failures_of(node, ended)).filter_map(|key| state.failures.remove(&key)).collect();
        drop(state);
        release(told);
    }

    /// Notes the fate of what was submitted, or a part of it. Where it `is_all` of it, that is the answer; otherwise it
    /// returns true if it is to be looked for.
    pub(crate) fn ended(&self, ticket: ForkTicket, id: SampleId, fate: Option<NoAnswer>, is_all: bool) -> bool {
        let mut state = self.state.lock();
        let Entry::Occupied(mut entry) = state.pending.entry(ticket) else { return false };
        let pending = entry.get_mut();
        if let Some(fate) = fate {
            // What is whole has ended after all parts that it gave.
            let lateness = if id.part == 0 { u64::MAX } else { id.part };
            if pending.last.as_ref().is_none_or(|(before, _)| *before <= lateness) {
                pending.last = Some((lateness, fate));
            }
        }
        if !is_all || !pending.parts.is_empty() {
            pending.looks_again |= pending.is_entering;
            return !pending.is_entering;
        }
        let Some(pending) = self.remove(&mut state, ticket) else { return false };
        drop(state);
        self.tasks.wake_first();
        pending.complete(NoAnswer::Discarded(Discarded { cause: None })).hand_over();
        false
    }

    /// Notes that it was discarded, for a reason that will be known soon.
    pub(crate) fn is_undecided(&self, ticket: ForkTicket, id: SampleId) {
        let mut state = self.state.lock();
        if state.pending.contains_key(&ticket) {
            state.undecided.push((ticket, id));
        }
    }

    /// Returns what was discarded before it was known for what.
    pub(crate) fn take_undecided(&self) -> Vec<(ForkTicket, SampleId)> {
        std::mem::take(&mut self.state.lock().undecided)
    }

    /// All that are still to come.
    pub(crate) fn all(&self) -> Vec<ForkTicket> {
        self.state.lock().pending.keys().copied().collect()
    }

    /// Those of these that are still to come, and must be somewhere unless they have ended.
    pub(crate) fn expected(&self, among: &[ForkTicket]) -> Vec<ForkTicket> {
        let state = self.state.lock();
        let is_untold = |ticket| state.untold.values().flatten().any(|ended| ended.fork == ticket);
        let is_expected = |ticket: &&ForkTicket| {
            state.pending.get(*ticket).is_some_and(|pending| !pending.is_entering) && !is_untold(**ticket)
        };
        among.iter().filter(is_expected).copied().collect()
    }

    /// Completes the answer to what is nowhere any more.
    pub(crate) fn is_nowhere(&self, ticket: ForkTicket, instead: NoAnswer) {
        let pending = self.remove(&mut self.state.lock(), ticket);
        if let Some(pending) = pending {
            self.tasks.wake_first();
            pending.complete(instead).hand_over();
        }
    }

    /// Completes all that are still to come, since nothing more will happen.
    pub(crate) fn end(&self, instead: &NoAnswer) {
        let mut state = self.state.lock();
        state.is_over = true;
        let left = state.pending.extract_if(|_, pending| !pending.is_entering).map(|(_, pending)| pending);
        let left: Vec<_> = left.collect();
        let failures = std::mem::take(&mut state.failures);
        drop(state);
        self.fewer.notify_all();
        self.tasks.wake_all();
        left.into_iter().for_each(|pending| pending.complete(instead.clone()).hand_over());
        release(failures);
    }
}

/// The failures that a sample which ended in that node may have: its own, or that of all of its take.
fn failures_of(node: usize, ended: &SampleEnd) -> [(usize, FailedOn); 2] {
    [Some(ended.id), None].map(|only| (node, FailedOn { take: ended.take, only }))
}

/// No answer is left open, whatever becomes of its pipeline.
impl<V> Drop for Answers<V> {
    fn drop(&mut self) {
        let left = std::mem::take(&mut self.state.get_mut().pending);
        let instead = NoAnswer::Discarded(Discarded { cause: None });
        left.into_values().for_each(|pending| pending.complete(instead.clone()).hand_over());
    }
}

/// The fate of a sample that ended like that in front of, or in, the stage of that name; none for one of which something
/// goes on.
pub(crate) fn fate_of(how: How, stage: String, failure: Option<Arc<Failure>>) -> Option<NoAnswer> {
    Some(match how {
        How::DroppedOldest => NoAnswer::Dropped { stage, why: DroppedBy::Oldest },
        How::DroppedNewest => NoAnswer::Dropped { stage, why: DroppedBy::Newest },
        How::Superseded => NoAnswer::Dropped { stage, why: DroppedBy::Superseded },
        How::Expired => NoAnswer::Dropped { stage, why: DroppedBy::Expired },
        How::Skipped => NoAnswer::Skipped { stage, why: SkippedBy::Stage },
        How::Absorbed => NoAnswer::Skipped { stage, why: SkippedBy::List },
        How::Windowed => NoAnswer::Skipped { stage, why: SkippedBy::Window },
        How::Failed => NoAnswer::Failed(StageFailure::of(failure, stage)),
        How::Lost => NoAnswer::Lost { stage },
        How::Discarded => NoAnswer::Discarded(Discarded { cause: None }),
        How::Flushed => NoAnswer::Flushed,
        How::Used => return None,
    })
}
