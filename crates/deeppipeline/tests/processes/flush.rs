//! Flushes of stages in processes, while everything runs. `CUTS=10000` makes so many of each.

use crate::cuts::{Seen, cut_beside_puts, cut_between_puts, cut_north_beside_south, wanted};
use crate::stages::{Double, pipeline};
use deeppipeline::{Pipeline, isolated};

const CUTS: u64 = 100;

fn chain(seen: &Seen) -> Pipeline<i64> {
    pipeline()
        .buffer_size(3)
        .stage(isolated::<Double>(()))
        .stage(isolated::<Double>(()).workers(2))
        .end_stage(seen.end::<i64>())
        .start()
        .unwrap()
}

#[test]
fn nothing_old_comes_out_of_processes_and_everything_new_does() {
    let seen = Seen::default();
    let report = cut_between_puts(chain(&seen), &seen, wanted(CUTS));
    assert!(report.balances(), "{report:#?}");
}

#[test]
fn a_flush_of_processes_beside_puts_loses_nothing_else() {
    let seen = Seen::default();
    let report = cut_beside_puts(chain(&seen), &seen, wanted(CUTS));
    assert!(report.balances(), "{report:#?}");
}

#[test]
fn a_flush_of_one_source_in_processes_takes_nothing_of_another() {
    let seen = Seen::default();
    let pipeline = pipeline()
        .buffer_size(3)
        .entrance("north")
        .entrance("south")
        .stage(isolated::<Double>(()))
        .stage(isolated::<Double>(()).workers(2))
        .end_stage(seen.end::<i64>())
        .start()
        .unwrap();
    let report = cut_north_beside_south(pipeline, &seen, wanted(CUTS));
    assert!(report.balances(), "{report:#?}");
}
