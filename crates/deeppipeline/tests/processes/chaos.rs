//! Workers die at random moments under load, by their own hand and by another's: nothing hangs, and every sample has one
//! fate.
//!
//! `CHAOS_SEED=n` runs one seed alone, and `CHAOS_KILLS=n` runs seeds until so many workers have died.

use crate::alone::{children, descriptors, is_alone, mappings, parent_of};
use crate::line::{Desk, Line, WATCHDOG};
use crate::stages::{ARGUMENTS, assert_clear, end};
use crate::support::until;
use deeppipeline::builder::{Builder, Described, MakesMany};
use deeppipeline::engine::ErrorPolicy;
use deeppipeline::error::{PutError, WorkerDied};
use deeppipeline::pipeline::Answer;
use deeppipeline::processes::{InProcess, OnCrash, SharedBytes, Transfer};
use deeppipeline::report::{Fate, SampleId};
use deeppipeline::{
    All, Batch, BoxError, Give, Isolated, Latest, OnError, Overflow, Pipeline, Report, Stage, current_sample, isolated,
    made_by,
};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Deaths in an ordinary run.
const KILLS: u64 = 300;
/// Pipelines at the same time.
const AT_ONCE: u64 = 6;
/// What each pipeline is fed.
const SAMPLES: u64 = 1000;
/// How many workers of one pipeline another hand kills.
const KILLS_EACH: u64 = 3;

/// A small generator (splitmix64): the same seed gives the same numbers on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Where a worker takes its own life over a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fuse {
    Reading,
    Working,
    Writing,
    /// Once the value has gone on.
    GoneOn,
}

const FUSES: [Fuse; 4] = [Fuse::Reading, Fuse::Working, Fuse::Writing, Fuse::GoneOn];

/// The chance of a worker to die over a value, one in so many; none in the process of the test.
static DANGER: AtomicU64 = AtomicU64::new(0);
static MOOD: Mutex<Random> = Mutex::new(Random(0));

fn may_die(at: Fuse) {
    let danger = DANGER.load(Ordering::Relaxed);
    if danger == 0 {
        return;
    }
    let mut mood = MOOD.lock().unwrap();
    if mood.one_in(danger) && mood.pick(&FUSES) == at {
        match mood.below(4) {
            0 => std::process::abort(),
            1 => std::process::exit(mood.below(3) as i32),
            _ => kill_process(getpid(), Signal::KILL).unwrap(),
        }
    }
}

/// What flows: a number, which parts of it these are, and so much ballast.
pub(crate) struct Ware {
    number: u64,
    /// A digit (of eight) for each stage: 0, or which part it made of it.
    path: u64,
    ballast: SharedBytes,
}

impl Ware {
    fn new(number: u64, path: u64, ballast: u64) -> Self {
        Ware { number, path, ballast: vec![number as u8; ballast as usize].into() }
    }

    fn is_whole(&self) -> bool {
        self.ballast.iter().all(|byte| *byte == self.number as u8)
    }
}

impl Transfer for Ware {
    fn size(&self) -> Result<usize, BoxError> {
        Ok(16 + self.ballast.len())
    }

    fn write(&self, room: &mut [u8]) -> Result<(), BoxError> {
        room[..8].copy_from_slice(&self.number.to_le_bytes());
        may_die(Fuse::Writing);
        room[8..16].copy_from_slice(&self.path.to_le_bytes());
        room[16..].copy_from_slice(&self.ballast);
        Ok(())
    }

    fn read(bytes: SharedBytes) -> Result<Self, BoxError> {
        may_die(Fuse::Reading);
        let number = u64::from_le_bytes(*bytes.first_chunk().ok_or("no number")?);
        let bytes = bytes.skip(8);
        let path = u64::from_le_bytes(*bytes.first_chunk().ok_or("no path")?);
        Ok(Ware { number, path, ballast: bytes.skip(8) })
    }
}

impl Drop for Ware {
    fn drop(&mut self) {
        may_die(Fuse::GoneOn);
    }
}

/// What a reckless stage is made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Recklessness {
    seed: u64,
    danger: u64,
    desk: String,
}

/// Keeps some of what it gets for a while, skips, splits, fails and dies of it. Whatever it does with a sample, but for
/// dying, it does again when it gets the sample again.
pub(crate) struct Reckless {
    recklessness: Recklessness,
    kept: Vec<Ware>,
    /// What tells its test that it lives.
    line: Option<Line>,
}

impl Reckless {
    fn new(recklessness: Recklessness) -> Self {
        Reckless { recklessness, kept: Vec::new(), line: None }
    }

    /// On a thread it does the same, but for dying.
    fn on_a_thread(seed: u64) -> Self {
        Reckless::new(Recklessness { seed, danger: 0, desk: String::new() })
    }

    fn works(&mut self, mut ware: Ware) -> Result<Give<Ware>, BoxError> {
        may_die(Fuse::Working);
        if !ware.is_whole() {
            // Of that nobody is forgiven.
            eprintln!("sample {} is torn: {:?}", ware.number, &ware.ballast[..]);
            std::process::abort();
        }
        let (number, path) = (ware.number, 8 * ware.path);
        let mut random = Random(self.recklessness.seed ^ number << 32 ^ path);
        match random.below(40) {
            0 => Ok(Give::Skip),
            1 => Err("bad mood".into()),
            2 => panic!("very bad mood"),
            3..6 => {
                let parts = random.below(5);
                Ok(Give::many((1..=parts).map(move |part| {
                    may_die(Fuse::Working);
                    Ware::new(number, path + part, part * 700)
                })))
            }
            6..16 => {
                self.kept.push(ware);
                if self.kept.len() > 8 {
                    self.kept.clear();
                }
                Ok(Give::One(Ware::new(number, path, random.below(2000))))
            }
            _ => {
                ware.path = path;
                Ok(Give::One(ware))
            }
        }
    }
}

impl Stage for Reckless {
    type Input = Ware;
    type Output = Ware;

    fn setup(&mut self) -> Result<(), BoxError> {
        if self.recklessness.danger > 0 {
            // No two lives are alike.
            let pid = getpid().as_raw_pid();
            *MOOD.lock().unwrap() = Random(self.recklessness.seed ^ u64::from(pid.unsigned_abs()) << 32);
            let mut line = Line::to(&self.recklessness.desk)?;
            line.say(&pid)?;
            self.line = Some(line);
            DANGER.store(self.recklessness.danger, Ordering::Relaxed);
        }
        Ok(())
    }

    fn stage_run(&mut self, ware: Ware) -> Result<Give<Ware>, BoxError> {
        self.works(ware)
    }

    fn finish(&mut self) -> Result<Give<Ware>, BoxError> {
        may_die(Fuse::Working);
        self.kept.clear();
        Ok(Give::Skip)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        // A death in teardown stops the pipeline, which is not what this is about.
        DANGER.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl Isolated for Reckless {
    const NAME: &str = "reckless";
    type Settings = Recklessness;
    fn make(recklessness: Recklessness) -> Result<Self, BoxError> {
        // Panics are part of it; what they say is of no use to anyone.
        std::panic::set_hook(Box::new(|_| {}));
        Ok(Reckless::new(recklessness))
    }
}

/// The same for lists: of each, the newest goes on.
pub(crate) struct RecklessList(Reckless);

impl Stage for RecklessList {
    type Input = Vec<Ware>;
    type Output = Ware;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }

    fn stage_run(&mut self, mut list: Vec<Ware>) -> Result<Give<Ware>, BoxError> {
        if !list.iter().all(Ware::is_whole) {
            std::process::abort();
        }
        let newest = list.pop().ok_or("an empty list")?;
        self.0.works(newest)
    }

    fn finish(&mut self) -> Result<Give<Ware>, BoxError> {
        self.0.finish()
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.0.teardown()
    }
}

impl Isolated for RecklessList {
    const NAME: &str = "reckless list";
    type Settings = Recklessness;
    fn make(recklessness: Recklessness) -> Result<Self, BoxError> {
        Reckless::make(recklessness).map(RecklessList)
    }
}

/// What a stage has for options, wherever it runs and however it takes.
struct Options {
    name: String,
    overflow: Option<Overflow>,
    max_age: Option<Duration>,
    workers: usize,
}

impl Options {
    fn of<O: MakesMany, N, E>(&self, stage: Described<O, N, E>) -> Described<O, N, E> {
        let stage = stage.name(&self.name).workers(self.workers);
        let stage = match self.overflow {
            Some(overflow) => stage.overflow(overflow),
            None => stage,
        };
        match self.max_age {
            Some(max_age) => stage.max_age(max_age),
            None => stage,
        }
    }
}

fn restarted<S: Isolated>(stage: Described<InProcess<S>>, on_crash: OnCrash) -> Described<InProcess<S>> {
    stage.on_crash(on_crash).max_restarts(u32::MAX)
}

/// A pipeline that follows from its seed; when things happen in it follows from the machine's mood.
fn pipeline(random: &mut Random, desk: &Desk) -> Builder<Ware, Ware> {
    let stages = 1 + random.below(4);
    let sizes: Vec<_> = (0..=stages).map(|_| 1 + random.below(4) as usize).collect();
    let mut builder = Pipeline::builder()
        .worker_arguments(ARGUMENTS)
        .overflow(random.pick(&Overflow::ALL))
        .buffer_bytes(random.pick(&[4 << 10, 1 << 20]))
        .buffer_size(sizes.clone());
    let one_process = random.below(stages);
    let may_stop = random.one_in(8);
    for stage in 0..stages {
        let seed = random.below(u64::MAX);
        let in_process = stage == one_process || random.one_in(2);
        let settings = Recklessness { seed, danger: random.pick(&[1000, 3000, 10_000]), desk: desk.address() };
        let intake = random.below(5);
        let (max_size, max_wait) = (sizes[stage as usize], Duration::from_micros(random.pick(&[0, 100, 5000])));
        let on_crash = random.pick(&[OnCrash::Skip, OnCrash::Retry, OnCrash::Stop][..if may_stop { 3 } else { 2 }]);
        let options = Options {
            name: format!("stage {stage}"),
            overflow: (intake != 0 && random.one_in(3)).then(|| random.pick(&Overflow::ALL)),
            max_age: random.one_in(6).then(|| Duration::from_millis(random.pick(&[1, 20]))),
            workers: if random.one_in(3) { 2 + random.below(2) as usize } else { 1 },
        };
        let on_error = match in_process && random.one_in(3) {
            true => ErrorPolicy::Retry { times: 1, skip: true },
            false => ErrorPolicy::Skip,
        };
        let batch = Batch::new(max_size).max_wait(max_wait).fold();
        let one = || made_by(move || Ok(Reckless::on_a_thread(seed))).on_error(OnError::Skip);
        let list = || made_by(move || Ok(RecklessList(Reckless::on_a_thread(seed)))).on_error(OnError::Skip);
        let isolated_one = || restarted(isolated::<Reckless>(settings.clone()), on_crash).on_error(on_error);
        let isolated_list = || restarted(isolated::<RecklessList>(settings.clone()), on_crash).on_error(on_error);
        builder = match (intake, in_process) {
            (0, true) => builder.stage(options.of(isolated_one().intake(Latest))),
            (0, false) => builder.stage(options.of(one().intake(Latest))),
            (1, true) => builder.stage(options.of(isolated_list().intake(All))),
            (1, false) => builder.stage(options.of(list().intake(All))),
            (2, true) => builder.stage(options.of(isolated_list().intake(batch))),
            (2, false) => builder.stage(options.of(list().intake(batch))),
            (_, true) => builder.stage(options.of(isolated_one())),
            (_, false) => builder.stage(options.of(one())),
        };
    }
    builder
}

/// How a run comes to its end.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Setstop,
    Timeout,
    Abort,
}

/// One run. How many workers died in it.
fn run(seed: u64) -> u64 {
    let random = &mut Random(seed);
    let desk = Desk::open();
    let (mut tell, values) = end();
    let builder = pipeline(random, &desk).stage(move |ware: Ware| {
        assert!(ware.is_whole(), "seed {seed}: sample {} is torn", ware.number);
        tell((current_sample().unwrap().id, ware.path));
        ware.path
    });
    let told = Arc::<Told>::default();
    let tell = Arc::clone(&told);
    let builder = builder.on_fate(move |mut event| {
        let is_whole = event.take_value::<Ware>().is_none_or(|ware| ware.is_whole());
        tell.lock().unwrap().push((event.stage, event.fate, is_whole));
    });
    let pipeline = Arc::new(builder.start_answering().unwrap());
    let watchdog = watchdog(seed, &pipeline);
    let workers: Mutex<Vec<(i32, OwnedFd)>> = Mutex::default();
    let answers = Answers::default();
    let is_over = AtomicBool::new(false);
    let stop = random.pick(&[Stop::Setstop, Stop::Setstop, Stop::Setstop, Stop::Timeout, Stop::Abort]);
    std::thread::scope(|scope| {
        let (pipeline, workers, is_over, desk, answers) = (&pipeline, &workers, &is_over, &desk, &answers);
        scope.spawn(move || welcome(desk, workers, is_over));
        let mut chance = Random(random.below(u64::MAX));
        scope.spawn(move || kill_some(pipeline, workers, is_over, &mut chance));
        let putters = [0, 1].map(|half| scope.spawn(move || put_half(pipeline, half, answers)));
        for putter in putters {
            putter.join().unwrap();
        }
        match stop {
            Stop::Setstop => drop(pipeline.setstop()),
            Stop::Timeout => drop(pipeline.setstop_or_abort(Duration::from_millis(50))),
            Stop::Abort => drop(pipeline.abort()),
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let result = pipeline.setstop();
    let report = match &result {
        Ok(report) => report,
        Err(error) => error.report(),
    };
    if let Err(error) = &result {
        let deaths = error.cause().is::<WorkerDied>();
        assert!(deaths, "seed {seed}: {error}");
    }
    assert_clear(report);
    let gone = workers.lock().unwrap().iter().all(|(pid, _)| parent_of(pid.unsigned_abs()) != Some(std::process::id()));
    assert!(gone, "seed {seed}: a process is left\n{report}");
    let deaths = report.stages.iter().map(|stage| stage.restarts).sum::<u64>() + u64::from(result.is_err());
    let report = report.clone();
    assert_told(seed, &told, &report);
    drop(pipeline);
    drop(watchdog);
    let values = values.rest();
    assert_order(seed, &values, &report);
    assert_answers(seed, answers.into_inner().unwrap(), &values, &report);
    deaths
}

/// The end stage got everything once, and in order.
fn assert_order(seed: u64, values: &[(SampleId, u64)], report: &Report) {
    let at = |index: usize| &values[index.saturating_sub(2)..(index + 2).min(values.len())];
    for (index, pair) in values.windows(2).enumerate() {
        let [(a, a_path), (b, b_path)] = pair else { unreachable!() };
        assert!((a.number, a_path) < (b.number, b_path), "seed {seed}: {:?}\n{report}", at(index));
        assert!(a < b, "seed {seed}: {:?}\n{report}", at(index));
    }
}

/// The fates that were told: of which stage, and whether the value was whole, where it was there.
type Told = Mutex<Vec<(String, Fate, bool)>>;

/// Every sample that did not come through was told, as often as it was counted, but for those that were missed.
fn assert_told(seed: u64, told: &Told, report: &Report) {
    let mut counted = HashMap::<(&str, Fate), u64>::new();
    for stage in &report.stages {
        let (buffer, counts) = (&stage.buffer, &stage.counts);
        for (fate, count) in [
            (Fate::DroppedOldest, buffer.dropped_oldest),
            (Fate::DroppedNewest, buffer.dropped_newest),
            (Fate::Superseded, buffer.superseded),
            (Fate::Expired, buffer.expired),
            (Fate::Discarded, buffer.discarded),
            (Fate::Absorbed, counts.absorbed),
            (Fate::Skipped, counts.skipped),
            (Fate::Failed, counts.failed),
            (Fate::Lost, counts.lost),
        ] {
            counted.insert((&stage.name, fate), count);
        }
    }
    let all = counted.values().sum::<u64>() - report.fates_missed;
    // An abort waits for the last of them no longer than for a stage.
    until(|| told.lock().unwrap().len() as u64 >= all);
    let told = told.lock().unwrap();
    assert_eq!(told.len() as u64, all, "seed {seed}: {report}");
    for (stage, fate, is_whole) in &*told {
        assert!(is_whole, "seed {seed}: a value told as {fate} in {stage} is torn");
        let count =
            counted.get_mut(&(stage.as_str(), *fate)).and_then(|count| count.checked_sub(1).map(|left| *count = left));
        assert!(count.is_some(), "seed {seed}: {fate} in {stage} is told too often\n{report}");
    }
}

/// The answers to what was submitted.
type Answers = Mutex<Vec<Answer<Vec<u64>>>>;

/// Every submission has one answer: what the end stage got of its sample, all of it.
fn assert_answers(seed: u64, answers: Vec<Answer<Vec<u64>>>, values: &[(SampleId, u64)], report: &Report) {
    let mut of_number = HashMap::<u64, Vec<u64>>::new();
    for (id, path) in values {
        of_number.entry(id.number).or_default().push(*path);
    }
    for answer in answers {
        let number = answer.number();
        let answer = answer.wait_timeout(Duration::ZERO).unwrap_or_else(|_| panic!("seed {seed}: {number:?} has none"));
        let came = number.and_then(|number| of_number.remove(&number));
        assert_eq!(answer.as_ref().ok(), came.as_ref(), "seed {seed}: {number:?} {answer:?}\n{report}");
    }
}

/// Prints what there is to know, and ends everything, unless it is dropped in time.
pub(crate) fn watchdog<I: Send + 'static, T: 'static>(seed: u64, pipeline: &Arc<Pipeline<I, T>>) -> Sender<()> {
    let (alive, ends) = channel::<()>();
    let pipeline = Arc::downgrade(pipeline);
    std::thread::spawn(move || {
        if ends.recv_timeout(2 * WATCHDOG) == Err(RecvTimeoutError::Timeout) {
            eprintln!("CHAOS_SEED={seed} hangs");
            // What hangs may be what a report waits for too.
            let (told, is_told) = channel::<()>();
            std::thread::spawn(move || {
                let report = pipeline.upgrade().map(|pipeline| pipeline.report());
                eprintln!("{report:#?}");
                drop(told);
            });
            let _ = is_told.recv_timeout(Duration::from_secs(5));
            std::process::abort();
        }
    });
    alive
}

/// Learns of every new worker.
fn welcome(desk: &Desk, workers: &Mutex<Vec<(i32, OwnedFd)>>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        let Ok(mut line) = desk.next_within(Duration::from_millis(50)) else { continue };
        // It may have died already. As long as it is this process's child, the number is its own.
        let Ok(pid) = line.hear::<i32>() else { continue };
        let process = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        if let Some(process) = process.filter(|_| parent_of(pid.unsigned_abs()) == Some(std::process::id())) {
            workers.lock().unwrap().push((pid, process));
        }
    }
}

/// Kills some of the workers, at moments that nobody knows: each about when a sample that it chose has entered.
fn kill_some(
    pipeline: &Pipeline<Ware, u64>,
    workers: &Mutex<Vec<(i32, OwnedFd)>>,
    is_over: &AtomicBool,
    chance: &mut Random,
) {
    let mut moments: Vec<u64> = (0..KILLS_EACH).map(|_| chance.below(SAMPLES)).collect();
    moments.sort_unstable();
    for moment in moments {
        while pipeline.report().stages[0].buffer.entered < moment && !is_over.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        for _ in 0..chance.below(10_000) {
            std::hint::spin_loop();
        }
        // The one that it means may be dead by now, and the next not yet be there.
        let workers = workers.lock().unwrap();
        if !workers.is_empty() {
            let newest = workers.len() - 1 - chance.below(workers.len().min(4) as u64) as usize;
            let _ = pidfd_send_signal(&workers[newest].1, Signal::KILL);
        }
    }
}

fn put_half(pipeline: &Pipeline<Ware, u64>, half: u64, answers: &Answers) {
    for number in 0..SAMPLES / 2 {
        let number = 2 * number + half;
        let ware = Ware::new(number, 0, number * 13 % 4000);
        // Others are only put.
        let put = match number % 3 {
            0 => pipeline.put(ware).map(drop),
            _ => pipeline.submit(ware).map(|answer| answers.lock().unwrap().push(answer.all())),
        };
        match put {
            Ok(()) => {}
            Err(PutError::Stage(back, _) | PutError::Closed(back)) => return assert_eq!(back.number, number),
            Err(other) => panic!("{other}"),
        }
    }
}

/// What a variable says.
pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn workers_die_at_random_and_every_sample_has_one_fate() {
    if !is_alone("chaos::workers_die_at_random_and_every_sample_has_one_fate") {
        return;
    }
    std::panic::set_hook(Box::new(|info| {
        if info.payload_as_str() != Some("very bad mood") {
            eprintln!("{info}");
        }
    }));
    if let Some(seed) = number("CHAOS_SEED") {
        println!("chaos: {} workers died", run(seed));
        return;
    }
    until_so_many_died("chaos", number("CHAOS_KILLS").unwrap_or(KILLS), run);
}

/// Runs seeds, several at the same time, until so many workers have died, and looks at what is left of them.
pub(crate) fn until_so_many_died(what: &str, wanted: u64, run: impl Fn(u64) -> u64 + Sync) {
    // What is made once, and stays.
    run(0);
    let before = descriptors();
    let (deaths, seeds) = (AtomicU64::new(0), AtomicU64::new(1));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while deaths.load(Ordering::SeqCst) < wanted {
                    deaths.fetch_add(run(seeds.fetch_add(1, Ordering::SeqCst)), Ordering::SeqCst);
                }
            });
        }
    });
    println!("{what}: {} workers died in {} pipelines", deaths.into_inner(), seeds.into_inner());
    // The threads of the last pipelines may still be on their way out.
    until(|| (children(), mappings(), descriptors()) == (Vec::new(), 0, before));
}
