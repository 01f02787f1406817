//! Counted durations, and their quantiles.

use crate::report::Spread;
use std::time::Duration;

/// Steps of an octave: a step is 1.6 % wide at most.
const STEPS: usize = 64;
/// Steps in all: 40 octaves of nanoseconds, from 64 on, are 19 hours.
pub(super) const TIMES: usize = STEPS * 40;

/// Returns the step of a duration.
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

/// The durations that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(processes, repr(usize))]
pub(super) enum Durations {
    /// The durations of `stage_run`.
    Busy,
    /// The ages from birth to being taken.
    Ages,
    /// The ages from birth to the end.
    AgesAfter,
}

/// Durations, each counted in its step.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    longest: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Histogram { counts: vec![0; TIMES], longest: 0 }
    }

    pub(super) fn record(&mut self, nanoseconds: u64) {
        self.counts[time_step(nanoseconds)] += 1;
        self.longest = self.longest.max(nanoseconds);
    }

    pub(super) fn spread(&self) -> Spread {
        spread(&self.counts, self.longest)
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
    match all {
        0 => Spread::default(),
        _ => Spread { p50: quantile(0.5), p99: quantile(0.99), max: Duration::from_nanos(longest) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread_of(nanoseconds: &[u64]) -> Spread {
        let mut histogram = Histogram::new();
        nanoseconds.iter().for_each(|duration| histogram.record(*duration));
        histogram.spread()
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
    fn no_duration_is_none_and_a_duration_beyond_all_steps_is_the_longest() {
        assert_eq!(spread_of(&[]), Spread::default());
        let longest = Duration::from_nanos(u64::MAX);
        assert_eq!(spread_of(&[1, u64::MAX]), Spread { p50: Duration::from_nanos(64), p99: longest, max: longest });
    }
}
