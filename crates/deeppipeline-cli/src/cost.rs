//! The cost of a run in CPU time, and the rate that this allows at most.

use nix::sys::resource::{Usage, UsageWho, getrusage};
use std::ops::Sub;
use std::time::Duration;

/// CPU time of this process and of the processes it has waited for: FFmpeg's, and those of stages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost(Duration);

impl Cost {
    pub(crate) fn now() -> Self {
        let of = |who| getrusage(who).map_or(Duration::ZERO, |usage| cpu_time(&usage));
        Cost(of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN))
    }

    pub(crate) fn milliseconds_per(self, frames: u64) -> f64 {
        1000.0 * self.0.as_secs_f64() / frames.max(1) as f64
    }
}

impl Sub for Cost {
    type Output = Cost;

    fn sub(self, earlier: Cost) -> Cost {
        Cost(self.0.saturating_sub(earlier.0))
    }
}

fn cpu_time(usage: &Usage) -> Duration {
    [usage.user_time(), usage.system_time()]
        .map(|time| Duration::from_micros(time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs()))
        .iter()
        .sum()
}

/// The most frames a second that the cores and the slowest stage allow.
pub(crate) fn ceiling(cores: usize, cost: Cost, frames: u64, slowest_stage: Duration) -> f64 {
    let by_cores = cores as f64 * 1000.0 / cost.milliseconds_per(frames);
    let by_stage = 1.0 / slowest_stage.as_secs_f64();
    by_cores.min(by_stage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_is_set_by_the_cores_or_by_the_slowest_stage() {
        let cost = Cost(Duration::from_millis(5000));
        assert_eq!(ceiling(2, cost, 100, Duration::from_millis(20)), 40.0);
        assert_eq!(ceiling(2, cost, 100, Duration::from_millis(50)), 20.0);
    }
}
