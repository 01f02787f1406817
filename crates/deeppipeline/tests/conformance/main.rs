//! The contract as data: every case runs on every executor and must come out the same.
//!
//! A case names stages, policies, inputs and virtual durations, and says what comes out. The simulated executor decides
//! the order in which things happen; every other executor is made to follow that order step by step and must show the
//! same ledger after each step. Another executor is one more file beside `threads.rs`.

mod answers;
mod case;
mod cases;
mod entrances;
mod fates;
mod flush;
mod follow;
mod for_each;
mod freshness;
mod gated;
#[cfg(processes)]
#[path = "../support/line.rs"]
mod line;
mod lists;
mod nested;
mod outcome;
mod parallel;
mod pauses;
#[cfg(processes)]
mod processes;
mod random;
mod replacements;
mod retry;
mod route;
mod scalings;
mod simulated;
mod stages;
#[path = "../support/mod.rs"]
mod support;
mod threads;
mod updates;
mod workers;
