//! The reorder step between several workers and the buffer behind them, and which samples they have in hand.

use super::Arrival;
use super::limits::Crew;
use crate::sample::{ForkTicket, Sample};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Results that came before their turn: behind a stage with several workers.
///
/// Tickets are counted by the buffer in front of the stage, one for each take, from 1.
pub(super) struct Order<V> {
    /// Whose results go on now.
    turn: u64,
    early: BTreeMap<u64, Early<V>>,
    /// Results of all the early.
    results: usize,
    limit: usize,
    /// The first take on which the stage has failed for good.
    failed: Option<u64>,
}

struct Early<V> {
    results: VecDeque<(Sample<V>, Arrival)>,
    ended: bool,
}

impl<V> Order<V> {
    /// For the results of these workers, where they have to be put in order.
    pub(super) fn behind(givers: Crew) -> Option<Self> {
        let (turn, results, limit) = (1, 0, givers.ahead());
        givers.reorders().then(|| Order { turn, early: BTreeMap::new(), results, limit, failed: None })
    }

    /// Whether a result of that take may go on at once.
    pub(super) fn is_turn_of(&self, ticket: u64) -> bool {
        ticket == self.turn && self.early.get(&ticket).is_none_or(|early| early.results.is_empty())
    }

    /// Whether the others have gone on without it.
    pub(super) fn has_passed(&self, ticket: u64) -> bool {
        ticket < self.turn
    }

    /// Which takes may be at work, so that not too many wait for their turn. If a turn will never come, there is nothing to
    /// wait for.
    pub(super) fn up_to(&self) -> u64 {
        if self.failed.is_some() { u64::MAX } else { self.turn + self.limit as u64 }
    }

    /// Whether it was taken after the sample on which the stage has failed for good.
    pub(super) fn is_behind_a_failure(&self, ticket: u64) -> bool {
        self.failed.is_some_and(|failed| ticket > failed)
    }

    pub(super) fn has_room(&self) -> bool {
        self.results < self.limit
    }

    /// The samples whose results wait.
    pub(super) fn forks(&self) -> impl Iterator<Item = ForkTicket> {
        self.early.values().flat_map(|early| early.results.iter().map(|(sample, _)| sample.fork))
    }

    /// How many results wait.
    pub(super) fn results(&self) -> u64 {
        self.results as u64
    }

    /// Keeps a result until its turn.
    pub(super) fn keep(&mut self, ticket: u64, sample: Sample<V>, arrival: Arrival) {
        self.results += 1;
        self.of(ticket).results.push_back((sample, arrival));
    }

    /// Nothing more comes of that take.
    pub(super) fn end(&mut self, ticket: u64) {
        if !self.has_passed(ticket) && !self.is_behind_a_failure(ticket) {
            self.of(ticket).ended = true;
        }
    }

    fn of(&mut self, ticket: u64) -> &mut Early<V> {
        self.early.entry(ticket).or_insert_with(|| Early { results: VecDeque::new(), ended: false })
    }

    /// The next result whose turn has come, as long as there is room for one.
    pub(super) fn next(&mut self, room: bool) -> Option<(Sample<V>, Arrival)> {
        while let Some(early) = self.early.get_mut(&self.turn) {
            match early.results.front() {
                Some(_) if !room => return None,
                Some(_) => {
                    self.results -= 1;
                    return early.results.pop_front();
                }
                None if !early.ended => return None,
                None => {
                    self.early.remove(&self.turn);
                    self.turn += 1;
                }
            }
        }
        None
    }

    /// The stage has failed on that take for good; what comes of later ones is given up.
    pub(super) fn fail(&mut self, ticket: u64) -> VecDeque<Sample<V>> {
        self.failed = Some(self.failed.map_or(ticket, |failed| failed.min(ticket)));
        self.give_up_from(ticket + 1)
    }

    /// No more comes: gives up what waits for turns that will never come. The rest goes on when there is room.
    pub(super) fn close(&mut self) -> VecDeque<Sample<V>> {
        let ended = |ticket: &u64| self.early.get(ticket).is_some_and(|early| early.ended);
        let missing = (self.turn..).find(|ticket| !ended(ticket)).unwrap_or(self.turn);
        self.give_up_from(missing + 1)
    }

    /// Everything that still waits.
    pub(super) fn give_up(&mut self) -> VecDeque<Sample<V>> {
        self.give_up_from(0)
    }

    fn give_up_from(&mut self, ticket: u64) -> VecDeque<Sample<V>> {
        let given_up: VecDeque<_> = self
            .early
            .split_off(&ticket)
            .into_values()
            .flat_map(|early| early.results)
            .map(|(sample, _)| sample)
            .collect();
        self.results -= given_up.len();
        given_up
    }
}

/// Who of several workers has taken what: in front of them.
pub(super) struct Hands {
    crew: Crew,
    next_ticket: u64,
    held: Vec<Option<Hand>>,
}

#[derive(Debug, Clone, Copy)]
struct Hand {
    ticket: u64,
    /// Of the sample under whose number the result goes on.
    fork: ForkTicket,
    samples: u64,
    since: Instant,
}

impl Hands {
    /// Of these workers; one alone is of no interest unless somebody may look for what it has.
    pub(super) fn of(crew: Crew, is_looked_for: bool) -> Self {
        let hands = if crew.workers > 1 || is_looked_for { crew.workers } else { 0 };
        Hands { crew, next_ticket: 1, held: vec![None; hands] }
    }

    fn oldest(&self) -> Option<Hand> {
        self.held.iter().flatten().min_by_key(|hand| hand.ticket).copied()
    }

    /// Whether another sample may be taken: not if too many results would wait for the oldest in hand.
    pub(super) fn may_take(&self) -> bool {
        let ahead = |hand: Hand| self.next_ticket - hand.ticket <= self.crew.ahead() as u64;
        !self.crew.reorders() || self.oldest().is_none_or(ahead)
    }

    /// A worker takes so many samples; the number of this take.
    pub(super) fn take(&mut self, worker: usize, fork: ForkTicket, samples: u64, since: Instant) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if let Some(hand) = self.held.get_mut(worker) {
            *hand = Some(Hand { ticket, fork, samples, since });
        }
        ticket
    }

    pub(super) fn next_ticket(&self) -> u64 {
        self.next_ticket
    }

    /// A worker is done with what it had in hand; false when it was given up before.
    pub(super) fn put_down(&mut self, worker: usize) -> bool {
        self.held.get_mut(worker).is_none_or(|hand| hand.take().is_some())
    }

    /// The samples in hand.
    pub(super) fn forks(&self) -> impl Iterator<Item = ForkTicket> {
        self.held.iter().flatten().map(|hand| hand.fork)
    }

    /// When the oldest sample in hand has kept others waiting too long.
    pub(super) fn overdue_at(&self) -> Option<Instant> {
        let timeout = self.crew.timeout.filter(|_| self.crew.reorders())?;
        self.oldest()?.since.checked_add(timeout)
    }

    /// Gives up the oldest in hand if it is overdue.
    pub(super) fn give_up_overdue(&mut self, now: Instant) -> Option<Overdue> {
        self.overdue_at().filter(|at| now >= *at)?;
        let oldest = self.oldest()?;
        let hand = self.held.iter_mut().find(|hand| hand.is_some_and(|hand| hand.ticket == oldest.ticket))?;
        *hand = None;
        let Hand { ticket, samples, since, .. } = oldest;
        Some(Overdue { ticket, samples, after: now.saturating_duration_since(since) })
    }
}

/// A take that others do not wait for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overdue {
    pub(crate) ticket: u64,
    pub(crate) samples: u64,
    pub(crate) after: Duration,
}
