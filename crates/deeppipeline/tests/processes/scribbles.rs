//! A worker that writes into the memory of its buffers where it must not, as a stray pointer does: the pipeline ends, with
//! one error that says so, and hangs nobody.
//!
//! `SCRIBBLE_SEED=n` runs one seed alone. Beyond what is tried here are the bytes of samples, which the engine does not know,
//! and the durations in the report.

use crate::chaos::{Random, number};
use crate::line::WATCHDOG;
use crate::stages::{end, pipeline};
use deeppipeline::error::MemoryDamaged;
use deeppipeline::intake::Intake;
use deeppipeline::{
    All, Batch, BoxError, Give, Isolated, Latest, Overflow, Report, Stage, StageError, current_sample, isolated,
};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, read_dir, read_link};
use std::io::{Write, stderr};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long random writes are tried.
const FUZZ: Duration = Duration::from_secs(60);
/// What each pipeline is fed, and the first sample on which a worker scribbles.
const SAMPLES: u64 = 30;
const WHEN: u64 = 6;
/// Where the words begin, behind the futexes.
const WORDS: u64 = 192;

/// Between which words the histograms of durations lie in a buffer, as `buffer/shared/layout.rs` has it: behind the head,
/// the totals, a place for each process, and the rings of drops and turns; the slots and the logs follow.
fn durations(workers: u64, behind: bool) -> Range<u64> {
    let places = 1 + 2 * workers;
    let turns = 2 + 4 * if behind { workers } else { 1 };
    let begin = (56 + 8 * places + 32 + turns + 1).next_multiple_of(8);
    begin..(begin + 3 * 7 * 2562).next_multiple_of(8)
}

/// What is written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Where {
    /// The lock says that it is in the hands of nobody there is.
    Lock,
    /// So many of the first words, with zeros or with ones.
    All(u8),
    /// What this seed says, beside a stage of so many workers.
    Random(u64, u64),
}

/// Gives what it gets, and scribbles once into the buffer in front of it, or behind it.
pub(crate) struct Scribbler {
    what: Where,
    behind: bool,
    done: bool,
}

/// The same of a list: it gives the newest.
pub(crate) struct ScribblerOfLists(Scribbler);

/// Writes over one word, with something near what it was, something small, or anything.
fn write_over(file: &File, word: u64, random: &mut Random) {
    let (at, mut was) = (WORDS + 8 * word, [0; 8]);
    file.read_exact_at(&mut was, at).unwrap();
    let was = u64::from_le_bytes(was);
    let value = match random.below(6) {
        0 => was.wrapping_add(1),
        1 => was.wrapping_sub(1),
        2 => random.below(20),
        3 => u64::MAX,
        4 => was ^ 1 << random.below(64),
        _ => random.below(u64::MAX),
    };
    file.write_all_at(&value.to_le_bytes(), at).unwrap();
}

/// Words that say something, of those behind the histograms: of slots, and most of them of changes that were written down.
fn words_in_use(file: &File, from: u64) -> Vec<u64> {
    let mut words = vec![0; 1 << 20];
    let read = file.read_at(&mut words, WORDS + 8 * from).unwrap();
    let in_use = words[..read].chunks_exact(8).zip(from..).filter(|(word, _)| *word != [0; 8]);
    in_use.map(|(_, at)| at).collect()
}

fn scribble_at_random(file: &File, seed: u64, durations: &Range<u64>) {
    let random = &mut Random(seed);
    for _ in 0..random.pick(&[1, 1, 1, 3, 100]) {
        match random.below(16) {
            // The lock and the futexes.
            0 => {
                let value = if random.one_in(2) { random.below(9) } else { random.below(1 << 32) } as u32;
                file.write_all_at(&value.to_le_bytes(), 64 * random.below(3)).unwrap();
            }
            1..6 => write_over(file, random.below(durations.start), random),
            // Of the slots that are used first.
            6..12 => write_over(file, durations.end + random.below(18 * 8), random),
            _ => {
                // Where nothing has come yet, there are none.
                let in_use = words_in_use(file, durations.end);
                let word = if in_use.is_empty() { random.below(durations.start) } else { random.pick(&in_use) };
                write_over(file, word, random);
            }
        }
    }
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
            Where::Random(seed, workers) => scribble_at_random(file, seed, &durations(workers, self.behind)),
        }
    }
}

impl Stage for Scribbler {
    type Input = u64;
    type Output = u64;

    fn stage_run(&mut self, x: u64) -> Result<Give<u64>, BoxError> {
        if x >= WHEN && !self.done {
            self.done = true;
            self.scribbles();
        }
        Ok(Give::One(x))
    }
}

impl Isolated for Scribbler {
    const NAME: &str = "scribbler";
    type Settings = (Where, bool);
    fn make((what, behind): (Where, bool)) -> Result<Self, BoxError> {
        Ok(Scribbler { what, behind, done: false })
    }
}

impl Stage for ScribblerOfLists {
    type Input = Vec<u64>;
    type Output = u64;

    fn stage_run(&mut self, list: Vec<u64>) -> Result<Give<u64>, BoxError> {
        self.0.stage_run(*list.last().ok_or("an empty list")?)
    }
}

impl Isolated for ScribblerOfLists {
    const NAME: &str = "scribbler of lists";
    type Settings = (Where, bool);
    fn make(settings: (Where, bool)) -> Result<Self, BoxError> {
        Scribbler::make(settings).map(ScribblerOfLists)
    }
}

/// The pipeline in which a worker scribbles.
#[derive(Debug, Clone, Copy)]
struct Plan {
    what: Where,
    behind: bool,
    buffer_size: usize,
    overflow: Overflow,
    intake: Intake,
    workers: usize,
}

impl Plan {
    fn new(what: Where, behind: bool) -> Self {
        Plan { what, behind, buffer_size: 4, overflow: Overflow::Block, intake: Intake::Single, workers: 1 }
    }

    fn of_seed(seed: u64) -> Self {
        let random = &mut Random(!seed);
        let buffer_size = random.pick(&[1, 4, 64]);
        let max_wait = Duration::from_micros(random.pick(&[0, 100, 5000]));
        let intakes = [
            Intake::Single,
            Intake::Single,
            Intake::Latest,
            Intake::All,
            Intake::Batch { max_size: buffer_size.min(5), max_wait, fold: true },
        ];
        let workers = 1 + random.below(3);
        Plan {
            what: Where::Random(seed, workers),
            behind: random.one_in(2),
            buffer_size,
            overflow: random.pick(&Overflow::ALL),
            intake: random.pick(&intakes),
            workers: workers as usize,
        }
    }
}

/// How such a pipeline ends, and what has come out of it, with the number of the sample. It ends at all.
fn run(plan: Plan) -> (Result<Report, StageError>, Vec<(u64, u64)>) {
    let (ended, has_ended) = channel();
    let running = std::thread::spawn(move || {
        let (mut end, values) = end();
        let (builder, settings) = (pipeline().overflow(plan.overflow), (plan.what, plan.behind));
        let builder = builder.buffer_size(plan.buffer_size);
        let scribbler = || isolated::<Scribbler>(settings).max_restarts(2).workers(plan.workers);
        let of_lists = || isolated::<ScribblerOfLists>(settings).max_restarts(2).workers(plan.workers);
        let builder = match plan.intake {
            Intake::Latest => builder.stage(scribbler().intake(Latest)),
            Intake::All => builder.stage(of_lists().intake(All)),
            Intake::Batch { max_size, max_wait, .. } => {
                builder.stage(of_lists().intake(Batch::new(max_size).max_wait(max_wait).fold()))
            }
            _ => builder.stage(scribbler()),
        };
        let pipeline = builder
            .end_stage(move |x: u64| end((current_sample().map_or(0, |sample| sample.id.number), x)))
            .start()
            .unwrap();
        let fed = (1..=SAMPLES).try_for_each(|x| pipeline.put_timeout(x, WATCHDOG).map(drop));
        let ends = if fed.is_ok() { pipeline.setstop() } else { pipeline.setstop_or_abort(WATCHDOG) };
        drop(pipeline);
        let _ = ended.send((ends, values.rest()));
    });
    match has_ended.recv_timeout(4 * WATCHDOG) {
        Ok(ends) => {
            running.join().unwrap();
            ends
        }
        Err(problem) => {
            // Past the test's captured output, which would be lost.
            let _ = writeln!(stderr(), "{plan:?}: {problem}");
            // Whoever hangs would keep the other tests from ending.
            std::process::abort()
        }
    }
}

#[test]
fn a_damaged_buffer_ends_the_pipeline_with_an_error_that_says_so() {
    for what in [Where::Lock, Where::All(0), Where::All(255)] {
        for behind in [false, true] {
            let (ends, _) = run(Plan::new(what, behind));
            let error = ends.expect_err("the pipeline has failed");
            assert!(error.cause().is::<MemoryDamaged>(), "{what:?}, behind: {behind}: {error}");
            assert!(error.to_string().contains("the shared memory of its buffer is damaged: "), "{error}");
            assert!(error.report().balances(), "{error}");
        }
    }
}

/// Whether the damage is told. If not, values, numbers and ledger are right.
fn check(seed: u64) -> bool {
    let plan = Plan::of_seed(seed);
    let (ends, values) = run(plan);
    let report = match ends {
        Ok(report) => report,
        Err(error) => {
            let told = error.cause().is::<MemoryDamaged>();
            assert!(told, "SCRIBBLE_SEED={seed} repeats it: {plan:?} {error}: {:#?}", error.report());
            return true;
        }
    };
    let repeat = format!("SCRIBBLE_SEED={seed} repeats it: {plan:?} {values:?} {report:#?}");
    let [stage, end] = &report.stages[..] else { panic!("{repeat}") };
    assert!(report.balances(), "{repeat}");
    assert!(values.is_sorted_by(|(_, one), (_, next)| one < next), "{repeat}");
    assert!(values.iter().all(|(number, x)| number == x), "{repeat}");
    assert_eq!(stage.buffer.entered, SAMPLES, "{repeat}");
    assert_eq!(end.counts.used, values.len() as u64, "{repeat}");
    let restarted = stage.restarts > 0;
    assert!(restarted || stage.counts.used == end.buffer.entered, "{repeat}");
    assert!(restarted || stage.counts.used + stage.counts.absorbed == stage.buffer.taken, "{repeat}");
    let all = plan.overflow == Overflow::Block && plan.intake != Intake::Latest;
    assert!(!all || stage.buffer.taken == SAMPLES, "{repeat}");
    assert!(!all || end.buffer.taken == end.buffer.entered, "{repeat}");
    let each = all && plan.intake == Intake::Single;
    assert!(restarted || !each || values.len() as u64 == SAMPLES, "{repeat}");
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
