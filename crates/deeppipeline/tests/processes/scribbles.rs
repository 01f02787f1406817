//! A worker that writes into the memory of its buffers where it must not, as a stray pointer does: the pipeline ends, with
//! one error that says so, and hangs nobody.
//!
//! `SCRIBBLE_SEED=n` runs one seed alone.

use crate::chaos::{Random, number};
use crate::line::WATCHDOG;
use crate::stages::{end, pipeline};
use deeppipeline::{BoxError, Give, Isolated, MemoryDamaged, Options, Report, Stage, StageError};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, read_dir, read_link};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long random writes are tried, in an ordinary run.
const FUZZ: Duration = Duration::from_secs(20);
/// What each pipeline is fed, and the sample on which its worker scribbles.
const SAMPLES: u64 = 30;
const WHEN: u64 = 6;
/// Where the words begin, behind the bells.
const WORDS: u64 = 192;

/// What is written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Where {
    /// The lock says that it is in the hands of nobody there is.
    Lock,
    /// So many of the first words, with zeros or with ones.
    All(u8),
    /// What this seed says.
    Random(u64),
}

/// Gives what it gets, and scribbles once into the buffer in front of it, or behind it.
pub(crate) struct Scribbler {
    what: Where,
    behind: bool,
}

/// The files of the buffers of this worker: in front, and behind.
fn buffers() -> Vec<File> {
    let open = read_dir("/proc/self/fd").unwrap().flatten().map(|entry| entry.path());
    let is_ours = |path: &std::path::PathBuf| {
        read_link(path).is_ok_and(|target| target.to_string_lossy().contains("memfd:deeppipeline"))
    };
    let mut ours: Vec<_> = open.filter(is_ours).collect();
    ours.sort_by_key(|path| path.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap());
    ours.iter().map(|path| OpenOptions::new().write(true).read(true).open(path).unwrap()).collect()
}

impl Scribbler {
    fn scribbles(&self) {
        let file = &buffers()[usize::from(self.behind)];
        match self.what {
            Where::Lock => file.write_all_at(&0x7fff_1234_u32.to_le_bytes(), 0).unwrap(),
            Where::All(byte) => file.write_all_at(&[byte; 80_000], WORDS).unwrap(),
            Where::Random(seed) => {
                let random = &mut Random(seed);
                for _ in 0..random.pick(&[1, 1, 1, 3, 100]) {
                    // The words that matter lie in front of the histograms and behind them.
                    let word = if random.one_in(2) { random.below(62) } else { 7745 + random.below(400) };
                    let (at, mut was) = (WORDS + 8 * word, [0; 8]);
                    file.read_exact_at(&mut was, at).unwrap();
                    let was = u64::from_le_bytes(was);
                    let value = match random.below(5) {
                        0 => was.wrapping_add(1),
                        1 => was.wrapping_sub(1),
                        2 => random.below(20),
                        3 => u64::MAX,
                        _ => random.below(u64::MAX),
                    };
                    file.write_all_at(&value.to_le_bytes(), at).unwrap();
                }
            }
        }
    }
}

impl Stage for Scribbler {
    type Input = u64;
    type Output = u64;

    fn stage_run(&mut self, x: u64) -> Result<Give<u64>, BoxError> {
        if x == WHEN {
            self.scribbles();
        }
        Ok(Give::One(x))
    }
}

impl Isolated for Scribbler {
    const NAME: &str = "scribbler";
    type Settings = (Where, bool);
    fn make((what, behind): (Where, bool)) -> Result<Self, BoxError> {
        Ok(Scribbler { what, behind })
    }
}

/// How such a pipeline ends, and what has come out of it. It ends at all.
fn run(what: Where, behind: bool) -> (Result<Report, StageError>, Vec<u64>) {
    let (ended, has_ended) = channel();
    let running = std::thread::spawn(move || {
        let (end, values) = end();
        let pipeline = pipeline()
            .buffer_size(4)
            .stage_isolated::<Scribbler>((what, behind))
            .options(Options::new().max_restarts(2))
            .end_stage(end)
            .start()
            .unwrap();
        let fed = (1..=SAMPLES).try_for_each(|x| pipeline.put_timeout(x, WATCHDOG).map(drop));
        let ends = if fed.is_ok() { pipeline.setstop() } else { pipeline.setstop_timeout(WATCHDOG) };
        drop(pipeline);
        let _ = ended.send((ends, values.rest()));
    });
    match has_ended.recv_timeout(4 * WATCHDOG) {
        Ok(ends) => {
            running.join().unwrap();
            ends
        }
        Err(problem) => {
            eprintln!("{what:?}, behind: {behind}: {problem}");
            // Whoever hangs would keep the other tests from ending.
            std::process::abort()
        }
    }
}

#[test]
fn a_damaged_buffer_ends_the_pipeline_with_an_error_that_says_so() {
    for what in [Where::Lock, Where::All(0), Where::All(255)] {
        for behind in [false, true] {
            let (ends, _) = run(what, behind);
            let error = ends.expect_err("the pipeline has failed");
            assert!(error.cause().is::<MemoryDamaged>(), "{what:?}, behind: {behind}: {error}");
            assert!(error.to_string().contains("the shared memory of its buffer is damaged: "), "{error}");
            assert!(error.report().balances(), "{error}");
        }
    }
}

/// A wrong ledger is told as damage, or there is none.
fn check(seed: u64) -> bool {
    let behind = seed % 2 == 1;
    let (ends, values) = run(Where::Random(seed), behind);
    let Ok(report) = ends else { return true };
    let repeat = format!("SCRIBBLE_SEED={seed} repeats it: {values:?} {report:#?}");
    assert!(report.balances(), "{repeat}");
    assert!(values.is_sorted_by(|one, next| one < next), "{repeat}");
    assert_eq!(report.stages[0].buffer.entered, SAMPLES, "{repeat}");
    assert_eq!(report.stages[1].counts.used, values.len() as u64, "{repeat}");
    let restarted = report.stages[0].restarts > 0;
    assert!(restarted || values.len() as u64 == SAMPLES, "{repeat}");
    false
}

#[test]
fn random_writes_are_harmless_or_told() {
    if let Some(seed) = number("SCRIBBLE_SEED") {
        check(seed);
        return;
    }
    let first = u64::from(std::process::id()) << 20;
    println!("SCRIBBLE_SEED={first} is the first");
    let (started, mut seeds, mut told) = (Instant::now(), 0, 0);
    while started.elapsed() < FUZZ {
        told += u64::from(check(first + seeds));
        seeds += 1;
    }
    println!("{told} of {seeds} random writes were told");
}
