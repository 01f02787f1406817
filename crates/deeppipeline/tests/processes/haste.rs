//! Workers that die in the middle of whatever they are doing, the buffer's transactions above all: everything goes through
//! exactly once, or is counted as lost.
//!
//! `CHAOS_SEED=n` runs one seed alone, and `CHAOS_KILLS=n` runs seeds until so many workers have died.

use crate::alone::is_alone;
use crate::chaos::{Random, number, until_so_many_died, watchdog};
use crate::stages::{ARGUMENTS, assert_clear, end};
use deeppipeline::builder::Builder;
use deeppipeline::processes::OnCrash;
use deeppipeline::{BoxError, Give, Isolated, Overflow, Pipeline, Report, Stage, isolated};
use rustix::process::{Signal, getpid, kill_process};
use std::sync::{Arc, Mutex};
use std::thread::Thread;

/// Deaths in an ordinary run.
const KILLS: u64 = 40;
/// What each pipeline is fed.
const SAMPLES: u64 = 2000;
/// What the first stage makes of each.
const PARTS: u64 = 20;
/// So many parts a worker gives at least before it dies, and so many more at most.
const LIVES: (u64, u64) = (400, 50_000);

/// Splits what is whole and gives on what is a part, as fast as it can, and has a thread that ends the process at some
/// moment.
pub(crate) struct Hasty {
    left: u64,
    end: Option<Thread>,
    is_called_off: Arc<Mutex<bool>>,
}

impl Stage for Hasty {
    type Input = u64;
    type Output = u64;

    fn stage_run(&mut self, x: u64) -> Result<Give<u64>, BoxError> {
        let is_whole = x <= SAMPLES;
        self.left = self.left.saturating_sub(if is_whole { PARTS } else { 1 });
        if self.left == 0
            && let Some(end) = self.end.take()
        {
            // It takes a while until that thread runs, and this one goes on.
            end.unpark();
        }
        Ok(if is_whole { Give::many((0..PARTS).map(move |part| SAMPLES + PARTS * x + part)) } else { Give::One(x) })
    }

    fn finish(&mut self) -> Result<Give<u64>, BoxError> {
        // A death in teardown would stop the pipeline, which is not what this is about.
        *self.is_called_off.lock().unwrap() = true;
        Ok(Give::Skip)
    }
}

impl Isolated for Hasty {
    const NAME: &str = "hasty";
    type Settings = u64;
    fn make(seed: u64) -> Result<Self, BoxError> {
        let pid = u64::from(getpid().as_raw_pid().unsigned_abs());
        let mut random = Random(seed ^ pid << 32);
        let spins = random.below(20_000);
        let is_called_off = Arc::<Mutex<bool>>::default();
        let called_off = Arc::clone(&is_called_off);
        let end = std::thread::spawn(move || {
            std::thread::park();
            (0..spins).for_each(|_| std::hint::spin_loop());
            let called_off = called_off.lock().unwrap();
            if !*called_off {
                let _ = kill_process(getpid(), Signal::KILL);
            }
        });
        Ok(Hasty { left: LIVES.0 + random.below(LIVES.1), end: Some(end.thread().clone()), is_called_off })
    }
}

/// What a run is like.
#[derive(Debug)]
struct Plan {
    seed: u64,
    stages: u64,
    buffer_size: usize,
    on_crash: OnCrash,
    /// Nothing is dropped; otherwise nobody ever waits for room.
    blocks: bool,
}

impl Plan {
    fn new(seed: u64) -> Self {
        let random = &mut Random(seed);
        Plan {
            seed,
            stages: 1 + random.below(3),
            buffer_size: random.pick(&[2, 64, 256, 1024]),
            on_crash: random.pick(&[OnCrash::Skip, OnCrash::Retry]),
            blocks: random.one_in(2),
        }
    }

    fn builder(&self) -> Builder<u64, u64> {
        let mut builder = Pipeline::builder()
            .worker_arguments(ARGUMENTS)
            .overflow(if self.blocks { Overflow::Block } else { Overflow::DropOldest })
            .buffer_bytes(64 << 10)
            .buffer_size(self.buffer_size);
        for stage in 0..self.stages {
            // What is put waits in any case.
            let hasty = isolated::<Hasty>(self.seed << 8 | stage).on_crash(self.on_crash).max_restarts(u32::MAX);
            builder = builder.stage(if stage == 0 { hasty.overflow(Overflow::Block) } else { hasty });
        }
        builder
    }

    /// How many workers died.
    fn run(&self) -> u64 {
        let (end, values) = end();
        let pipeline = Arc::new(self.builder().end_stage(end).start().unwrap());
        let watchdog = watchdog(self.seed, &pipeline);
        for x in 1..=SAMPLES {
            assert!(pipeline.put(x).unwrap().is_accepted());
        }
        let report = pipeline.setstop().unwrap_or_else(|error| panic!("{self:?}: {error}"));
        assert_clear(&report);
        drop((pipeline, watchdog));
        self.check(&values.rest(), &report);
        report.stages.iter().map(|stage| stage.restarts).sum()
    }

    /// What came out is what went in, once and in order, but for what was dropped or lost.
    fn check(&self, values: &[u64], report: &Report) {
        assert!(values.is_sorted_by(|a, b| a < b), "{self:?}: something came twice, or out of order\n{report}");
        let lost: u64 = report.stages.iter().map(|stage| stage.counts.lost).sum();
        let missing = SAMPLES * PARTS - values.len() as u64 - report.dropped();
        match self.on_crash {
            OnCrash::Retry => assert_eq!((lost, missing), (0, 0), "{self:?}\n{report}"),
            // The first stage loses a sample that was to be many, or was given in part.
            _ => assert!((lost..=lost + PARTS * (report.stages[0].restarts)).contains(&missing), "{self:?}\n{report}"),
        }
    }
}

#[test]
fn workers_die_in_the_middle_of_everything_and_all_comes_out_once() {
    if !is_alone("haste::workers_die_in_the_middle_of_everything_and_all_comes_out_once") {
        return;
    }
    if let Some(seed) = number("CHAOS_SEED") {
        println!("haste: {} workers died", Plan::new(seed).run());
        return;
    }
    until_so_many_died("haste", number("CHAOS_KILLS").unwrap_or(KILLS), |seed| Plan::new(seed).run());
}
