//! The slots on their own: against a model of what it is to do, with processes that die at any step, and with
//! threads that loom interleaves.

mod costs;
mod damage;
mod death;
mod fates;
mod given_back;
mod hops;
mod inherited;
mod lanes;
mod loom;
mod memory;
mod model;
mod turns;
mod unmet;
mod world;

use crate::buffer::{Limits, Settlement, Workers};
use crate::ledger::Fate;
use crate::policies::{Intake, Overflow};
use std::fmt::Debug;
use std::time::Duration;

const INTAKES: [Intake; 6] = [
    Intake::Single,
    Intake::Latest,
    Intake::All,
    // A batch is due at once, so that no test has to wait.
    Intake::Batch { max_size: 2, max_wait: Duration::ZERO, fold: true },
    Intake::Batch { max_size: 2, max_wait: Duration::ZERO, fold: false },
    Intake::Window { size: 3, stride: 1 },
];

/// The sources that may be flushed alone.
const SOURCE_CUTS: usize = 2;

/// What came of a call that took so many nanoseconds.
fn came_of(fate: Fate, windowed: u64, took: u64) -> Settlement {
    Settlement { fate, windowed, took: Some(took), age: 0, ended_at: 0, is_split: false }
}

fn limits(capacity: usize, bytes: u64, overflow: Overflow, intake: Intake) -> Limits {
    let (producers, consumers) = (Workers::ONE, Workers::ONE);
    Limits {
        capacity,
        bytes,
        overflow,
        intake,
        max_age: None,
        producers,
        consumers,
        is_last: true,
        ends: 0,
        fates: false,
        visits: 0,
        lanes: 0,
        source_cuts: SOURCE_CUTS,
    }
}

/// Every policy with every intake.
fn policies() -> impl Iterator<Item = (Overflow, Intake)> {
    Overflow::ALL.into_iter().flat_map(|overflow| INTAKES.into_iter().map(move |intake| (overflow, intake)))
}

/// A small generator (splitmix64): the same seed gives the same run on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn choice<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Says what repeats a run, when it fails.
struct Told<T: Debug>(T);

impl<T: Debug> Drop for Told<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this repeats it: {:?}", self.0);
        }
    }
}
