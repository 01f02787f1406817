//! Stages in processes of their own: how they flow, die, start again and stop.
//!
//! The program of these tests is started again as the worker of each such stage. What a stage in a process does there, and
//! when, its test decides: see `puppet.rs`.
#![cfg(target_os = "linux")]

mod alone;
mod answers;
mod batches;
mod bytes;
mod chaos;
mod collected;
mod crash;
#[path = "../support/cuts.rs"]
mod cuts;
mod engine;
mod fates;
mod flow;
mod flush;
mod for_each;
mod haste;
#[path = "../support/line.rs"]
mod line;
mod many;
mod nested;
mod nothing_left;
mod orphans;
mod parallel;
mod puppet;
mod replace;
mod restarts;
mod scale;
mod scribbles;
mod serial;
mod sources;
mod stack;
mod stages;
mod start;
mod stderr;
mod stop;
mod stopped;
#[path = "../support/mod.rs"]
mod support;
mod timeline;
mod timeout;
mod update;
mod views;
mod windows;
mod workers;

/// The workers of these tests begin here: in the tests' own process it does nothing.
#[test]
fn become_a_worker() {
    stages::known().run();
}
