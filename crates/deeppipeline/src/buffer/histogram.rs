//! Counted durations, and their quantiles.

use crate::ledger::Spread;
use std::cmp::Ordering::{Equal, Greater, Less};
use std::time::Duration;

/// Steps of an octave: a step is 1.6 % wide at most.
const STEPS: usize = 64;
/// Steps in all: 40 octaves of nanoseconds, from 64 on, are 19 hours.
pub(super) const TIMES: usize = STEPS * 40;

/// Returns the step of a duration.
#[inline]
pub(super) fn time_step(nanoseconds: u64) -> usize {
    let nanoseconds = nanoseconds.max(STEPS as u64);
    let octave = nanoseconds.ilog2() - STEPS.ilog2();
    let step = (nanoseconds >> octave) - STEPS as u64;
    (octave as usize * STEPS + step as usize).min(TIMES - 1)
}

/// Returns the longest duration of a step, in nanoseconds.
fn longest_of(step: usize) -> u64 {
    let octave = step / STEPS;
    ((STEPS as u64 + step as u64 % STEPS as u64 + 1) << octave) - 1
}

/// Returns a duration from the middle of a step, in nanoseconds; none is longer than the longest.
fn middle_of(step: usize, longest: u64) -> f64 {
    let end = longest_of(step).min(longest);
    let begin = longest_of(step.saturating_sub(1)).min(end);
    (begin as f64 + end as f64) / 2.0
}

/// The durations that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Durations {
    /// The durations of `stage_run`.
    Busy,
    /// The ages from birth to being taken.
    Ages,
    /// The ages from birth to the end.
    AgesAfter,
    /// The times from arrival to being taken.
    Waits,
}

/// The number of these.
pub(super) const HISTOGRAMS: usize = Durations::Waits as usize + 1;

/// The time that one window of the last durations is long, and how many there are: together they are the last ten
/// seconds, and what has begun of the next two.
pub(crate) const WINDOW: u64 = 2_000_000_000;
pub(super) const WINDOWS: usize = 6;

/// Returns the number of the window that is open at that time, from 1: 0 is none.
#[inline]
pub(super) fn period(now: u64) -> u64 {
    1 + now / WINDOW
}

/// Returns how long the last ten seconds are at that time: what has begun of two more belongs to them.
pub(super) fn length_of_windows(now: u64) -> u64 {
    (WINDOWS as u64 - 1) * WINDOW + now % WINDOW
}

/// The sum of durations that are few and seldom asked for: of the whole run, and of each window.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub(super) struct Sums {
    all: u64,
    windows: [Window; WINDOWS],
}

/// One window: its period, and the sum in it.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(processes, derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
struct Window {
    period: u64,
    sum: u64,
}

impl Sums {
    /// Adds a duration that ended at that time.
    pub(super) fn add(&mut self, nanoseconds: u64, now: u64) {
        self.all = self.all.saturating_add(nanoseconds);
        let period = period(now);
        let window = &mut self.windows[(period % WINDOWS as u64) as usize];
        if window.period < period {
            *window = Window { period, sum: 0 };
        }
        if window.period == period {
            window.sum = window.sum.saturating_add(nanoseconds);
        }
    }

    /// Returns the sum of the whole run, and that of the last ten seconds at that time.
    pub(super) fn read(&self, now: u64) -> (u64, u64) {
        let recent = self.windows.iter().filter(|window| is_recent(window.period, period(now)));
        (self.all, recent.fold(0, |sum, window| sum.saturating_add(window.sum)))
    }
}

/// The place where a duration is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The window that is open.
    Open,
    /// The same, once what an earlier window has left there is added to the durations before.
    Emptied,
    /// The durations before: its window is over.
    Before,
}

/// Returns where a duration of that period goes, if the place of its window was used last in that one.
#[inline]
pub(super) fn place_of(period: u64, used_last: u64) -> Place {
    match used_last.cmp(&period) {
        Less => Place::Emptied,
        Equal => Place::Open,
        Greater => Place::Before,
    }
}

/// Returns true if a window of that period belongs to the last ten seconds in another.
pub(super) fn is_recent(period: u64, now: u64) -> bool {
    period > 0 && period <= now && now - period < WINDOWS as u64
}

/// Durations, each counted in its step.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) counts: Vec<u64>,
    pub(super) longest: u64,
}

impl Counted {
    pub(super) fn new() -> Self {
        Counted { counts: vec![0; TIMES], longest: 0 }
    }

    #[inline]
    fn record(&mut self, nanoseconds: u64) {
        self.counts[time_step(nanoseconds)] += 1;
        self.longest = self.longest.max(nanoseconds);
    }

    /// Adds other durations.
    pub(super) fn add(&mut self, counts: impl Iterator<Item = u64>, longest: u64) {
        self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(count));
        self.longest = self.longest.max(longest);
    }

    pub(super) fn spread(&self) -> Spread {
        spread(&self.counts, self.longest)
    }
}

/// The durations of the whole run, those of the last ten seconds apart: so a duration is counted once, and only the
/// first of each window costs more.
#[derive(Debug)]
pub(super) struct Histogram {
    before: Counted,
    /// Each with the period in which it was used last, once it was.
    windows: [Option<(u64, Counted)>; WINDOWS],
}

impl Histogram {
    pub(super) fn new() -> Self {
        Histogram { before: Counted::new(), windows: std::array::from_fn(|_| None) }
    }

    /// Counts a duration that ended at that time.
    #[inline]
    pub(super) fn record(&mut self, nanoseconds: u64, now: u64) {
        let period = period(now);
        let window = &mut self.windows[(period % WINDOWS as u64) as usize];
        let (used_last, window) = window.get_or_insert_with(|| (period, Counted::new()));
        match place_of(period, *used_last) {
            Place::Open => window.record(nanoseconds),
            Place::Before => self.before.record(nanoseconds),
            Place::Emptied => {
                let old = std::mem::replace(window, Counted::new());
                self.before.add(old.counts.into_iter(), old.longest);
                window.record(nanoseconds);
                *used_last = period;
            }
        }
    }

    /// Returns the durations of the whole run, and those of the last ten seconds at that time.
    pub(super) fn read(&self, now: u64) -> (Spread, Spread) {
        let (mut all, mut recent) = (self.before.clone(), Counted::new());
        for (used_last, window) in self.windows.iter().flatten() {
            all.add(window.counts.iter().copied(), window.longest);
            if is_recent(*used_last, period(now)) {
                recent.add(window.counts.iter().copied(), window.longest);
            }
        }
        (all.spread(), recent.spread())
    }
}

/// Returns the quantiles of counted durations, of which the longest is known.
pub(super) fn spread(counts: &[u64], longest: u64) -> Spread {
    let all = counts.iter().fold(0_u64, |all, count| all.saturating_add(*count));
    let quantile = |share: f64| {
        let wanted = ((all as f64 * share).ceil() as u64).max(1);
        let mut passed = 0_u64;
        let step = counts.iter().position(|count| {
            passed = passed.saturating_add(*count);
            passed >= wanted
        });
        // A step may reach beyond the longest, and the last has no end.
        Duration::from_nanos(step.filter(|step| step + 1 < TIMES).map_or(longest, |step| longest_of(step).min(longest)))
    };
    let sum: f64 = counts.iter().enumerate().map(|(step, count)| *count as f64 * middle_of(step, longest)).sum();
    match all {
        0 => Spread::default(),
        _ => Spread {
            p50: quantile(0.5),
            p99: quantile(0.99),
            max: Duration::from_nanos(longest),
            mean: Duration::from_nanos((sum / all as f64) as u64),
            count: all,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread_of(nanoseconds: &[u64]) -> Spread {
        let mut histogram = Histogram::new();
        nanoseconds.iter().for_each(|duration| histogram.record(*duration, 0));
        histogram.read(0).0
    }

    #[test]
    fn durations_are_found_again_almost_exactly_and_the_longest_exactly() {
        for nanoseconds in [64, 1000, 123_456, 1_000_000, 98_765_432_100] {
            let Spread { p50, max, .. } = spread_of(&[nanoseconds, nanoseconds, 10 * nanoseconds]);
            assert_eq!(max, Duration::from_nanos(10 * nanoseconds));
            let p50 = p50.as_nanos() as u64;
            assert!(p50 >= nanoseconds && p50 - nanoseconds <= nanoseconds / 64, "{p50} is far from {nanoseconds}");
            assert_eq!(spread_of(&[nanoseconds]).p99, Duration::from_nanos(nanoseconds), "it is the longest");
        }
    }

    #[test]
    fn the_mean_is_almost_exact_and_each_is_counted() {
        for nanoseconds in [64, 1000, 123_456, 98_765_432_100] {
            let Spread { mean, count, .. } = spread_of(&[nanoseconds, 3 * nanoseconds]);
            let mean = mean.as_nanos() as u64;
            assert!(
                mean.abs_diff(2 * nanoseconds) <= nanoseconds / 50 && count == 2,
                "{mean} is far from {nanoseconds}"
            );
        }
    }

    #[test]
    fn sums_of_the_last_ten_seconds_are_told_apart() {
        const SECOND: u64 = 1_000_000_000;
        let mut sums = Sums::default();
        (0..100).for_each(|second| sums.add(1, second * SECOND));
        // One that is told late belongs to no window any more.
        sums.add(1, 0);
        assert_eq!(sums.read(99 * SECOND), (101, 12));
        assert_eq!(sums.read(111 * SECOND), (101, 0));
    }

    #[test]
    fn the_last_ten_seconds_are_told_apart_and_nothing_is_forgotten() {
        const SECOND: u64 = 1_000_000_000;
        let mut histogram = Histogram::new();
        for second in 0..100 {
            histogram.record(1000 * (second + 1), second * SECOND);
        }
        // A duration that is told late belongs to no window any more.
        histogram.record(1, 0);
        let (all, recent) = histogram.read(99 * SECOND);
        assert_eq!((all.max, recent.max), (Duration::from_micros(100), Duration::from_micros(100)));
        let is_near = |found: Duration, wanted: u64| found.as_micros().abs_diff(wanted.into()) <= 1;
        assert!(is_near(all.p50, 50) && is_near(recent.p50, 94), "{all:?} {recent:?}");

        let (later, nothing) = histogram.read(111 * SECOND);
        assert_eq!((later, nothing), (all, Spread::default()), "ten seconds in which nothing came");
    }

    #[test]
    fn no_duration_is_none_and_a_duration_beyond_all_steps_is_the_longest() {
        assert_eq!(spread_of(&[]), Spread::default());
        let longest = Duration::from_nanos(u64::MAX);
        let spread = spread_of(&[1, u64::MAX]);
        assert_eq!((spread.p50, spread.p99, spread.max, spread.count), (Duration::from_nanos(64), longest, longest, 2));
    }
}
