//! Random chains: the ledger balances, order holds, nothing hangs, and threads and processes do what the simulation did.
//!
//! `CONFORMANCE_SEED=n cargo test -p deeppipeline --test conformance random` runs one seed alone.

use crate::case::{Case, Does, Input, StageSpec, chain, ms, stage};
#[cfg(processes)]
use crate::processes;
use crate::{simulated, threads};
use deeppipeline::{BufferSize, Intake, OnError, Overflow};

const SEEDS: std::ops::Range<u64> = 0..400;

/// Processes take longer to start: they get every fourth seed.
#[cfg(processes)]
const PROCESSES_EVERY: u64 = 4;

#[test]
fn random_chains_come_out_the_same_on_every_executor() {
    let only = std::env::var("CONFORMANCE_SEED").ok().map(|seed| seed.parse().expect("CONFORMANCE_SEED is a number"));
    for seed in only.map_or(SEEDS, |seed| seed..seed + 1) {
        let case = Random(seed).case();
        let told = Told { seed, case: &case };
        let simulated = simulated::run(&case);
        assert_order(&simulated.outcome);
        assert_eq!(threads::follow(&case, &simulated), simulated.outcome);
        #[cfg(processes)]
        if only.is_some() || seed.is_multiple_of(PROCESSES_EVERY) {
            assert_eq!(processes::follow(&case, &simulated, |_| true), simulated.outcome, "in processes");
            let mix = seed / PROCESSES_EVERY;
            let in_process = |index: usize| mix >> index & 1 == 1;
            assert_eq!(processes::follow(&case, &simulated, in_process), simulated.outcome, "in a mix");
        }
        drop(told);
    }
}

/// Says what repeats the run, when it fails.
struct Told<'a> {
    seed: u64,
    case: &'a Case,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("CONFORMANCE_SEED={} repeats this: {:#?}", self.seed, self.case);
        }
    }
}

/// The end stage saw every sample and part once, and in order.
fn assert_order(outcome: &str) {
    let values = outcome.lines().next().and_then(|line| line.strip_prefix("values: ")).unwrap_or_default();
    let ids: Vec<(u64, u64)> = values.split_whitespace().map(id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{outcome}");
}

fn id(value: &str) -> (u64, u64) {
    let (id, _) = value.split_once('=').expect("a value stands behind its sample");
    let (number, part) = id.split_once('.').unwrap_or((id, "0"));
    (number.parse().unwrap(), part.parse().unwrap())
}

/// A small generator (splitmix64): the same seed gives the same case on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn case(&mut self) -> Case {
        let count = 1 + self.below(4);
        let mut stages: Vec<StageSpec> = (0..count).map(|i| self.stage(i)).collect();
        // Two workers may set up, finish and tear down at once, so only one of them may fail there.
        if self.one_in(8) {
            let fails = [Does::FailInSetup, Does::FailInFinish, Does::FailInTeardown];
            let at = self.below(count) as usize;
            stages[at].does = fails[self.below(3) as usize];
        }
        let buffer_size = match self.one_in(2) {
            true => BufferSize::Each(1 + self.below(4) as usize),
            false => BufferSize::List((0..count).map(|_| 1 + self.below(4) as usize).collect()),
        };
        let input = match self.one_in(4) {
            true => Input::Source { samples: self.below(15) as i64, each: ms(self.below(6)), fails: self.one_in(4) },
            false => {
                let mut at = 0;
                let times = (0..self.below(20)).map(|_| {
                    at += self.below(8);
                    ms(at)
                });
                Input::Puts(times.collect())
            }
        };
        Case {
            overflow: self.overflow(),
            buffer_size,
            input,
            up_after: ms(if self.one_in(2) { 0 } else { self.below(30) }),
            stop_at: self.one_in(3).then(|| ms(self.below(60))),
            ..chain(stages)
        }
    }

    fn stage(&mut self, index: u64) -> StageSpec {
        let bad = 1 + self.below(20) as i64;
        let does = match self.below(12) {
            0 => Does::Double,
            1 => Does::SkipEven,
            2 => Does::Many(self.below(5) as i64),
            3 => Does::FailOn(bad),
            4 => Does::PanicOn(bad),
            5 => Does::HoldUntilFinish,
            6 => Does::FinishGives(1 + self.below(3) as i64),
            7 => Does::BrokenMany,
            _ => Does::Identity,
        };
        let intake = match self.below(4) {
            0 => Intake::Latest,
            1 => Intake::All,
            _ => Intake::Single,
        };
        let overflow = (intake != Intake::Latest && self.one_in(3)).then(|| self.overflow());
        let on_error = if self.one_in(2) { OnError::Skip } else { OnError::Stop };
        StageSpec { intake, overflow, on_error, ..stage(&format!("stage {index}"), does, self.below(12)) }
    }

    fn overflow(&mut self) -> Overflow {
        Overflow::ALL[self.below(3) as usize]
    }
}
