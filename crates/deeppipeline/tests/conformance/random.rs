//! Random chains: the ledger balances, order holds, nothing hangs, and threads and processes do what the simulation did.
//!
//! `CONFORMANCE_SEED=n cargo test -p deeppipeline --test conformance random` runs one seed alone.

use crate::case::{Case, Does, EntranceSpec, Input, StageSpec, chain, ms, stage};
#[cfg(processes)]
use crate::processes;
use crate::{simulated, threads};
use deeppipeline::Overflow;
use deeppipeline::builder::BufferSize;
use deeppipeline::engine::ErrorPolicy;
use deeppipeline::intake::Intake;
use std::time::Duration;

const SEEDS: std::ops::Range<u64> = 0..1200;
const SEEDS_OF_ENTRANCES: std::ops::Range<u64> = 0..300;

/// Processes take longer to start: they get every twelfth seed.
#[cfg(processes)]
const PROCESSES_EVERY: u64 = 12;

#[test]
fn random_chains_come_out_the_same_on_every_executor() {
    for seed in only().map_or(SEEDS, |seed| seed..seed + 1) {
        compare(seed, Random(seed).case());
    }
}

#[test]
fn random_entrances_come_out_the_same_on_every_executor() {
    for seed in only().map_or(SEEDS_OF_ENTRANCES, |seed| seed..seed + 1) {
        let mut random = Random(seed);
        let case = random.case();
        compare(seed, random.with_entrances(case));
    }
}

/// The one seed that is asked for, if one is.
pub(crate) fn only() -> Option<u64> {
    std::env::var("CONFORMANCE_SEED").ok().map(|seed| seed.parse().expect("CONFORMANCE_SEED is a number"))
}

/// Lets every executor follow the simulation of a case.
fn compare(seed: u64, case: Case) {
    // Every other one is asked for answers.
    let case = if seed % 2 == 1 { case.with_answers().unwrap_or(case) } else { case };
    let case = if seed / 2 % 2 == 1 { case.with_fates() } else { case };
    let case = if seed / 4 % 2 == 1 { case.by_tasks() } else { case };
    let told = Told { seed, case: &case };
    let simulated = simulated::run(&case);
    if keeps_order(&case) {
        assert_order(&simulated.outcome);
    }
    assert_eq!(threads::follow(&case, &simulated), simulated.outcome);
    #[cfg(processes)]
    if only().is_some() || seed.is_multiple_of(PROCESSES_EVERY) {
        let mix = seed / PROCESSES_EVERY;
        let (all, some) = (|_: usize| true, |index: usize| mix >> index & 1 == 1);
        let simulated = simulated::run_in(&case, &all);
        assert_eq!(processes::follow(&case, &simulated, all), simulated.outcome, "in processes");
        let simulated = simulated::run_in(&case, &some);
        assert_eq!(processes::follow(&case, &simulated, some), simulated.outcome, "in a mix");
    }
    drop(told);
}

/// Only a simulation can say when something is too old or has waited long enough.
#[test]
fn random_times_break_no_promise() {
    for seed in only().map_or(0..2000, |seed: u64| seed..seed + 1) {
        let mut random = Random(seed);
        let mut case = random.case();
        for stage in &mut case.stages {
            stage.max_age = random.one_in(2).then(|| ms(1 + random.below(60)));
            stage.time_limit = random.one_in(2).then(|| ms(1 + random.below(60)));
            if let Intake::Batch { max_wait, .. } = &mut stage.intake {
                *max_wait = ms(random.below(30));
            }
        }
        for (at, stage, most) in case.scalings.clone() {
            case.scalings.push((at + ms(random.below(50)), stage, 1 + random.below(most as u64) as usize));
        }
        let case = if random.one_in(3) { random.with_entrances(case) } else { case };
        let case = if seed % 2 == 1 { case.with_fates() } else { case };
        let told = Told { seed, case: &case };
        // Each step is looked at while it runs: every sample has one fate at every moment.
        let run = simulated::run(&case);
        if keeps_order(&case) {
            assert_order(&run.outcome);
        }
        let last = &run.moments.last().expect("at least the stop has happened").report;
        for (stage, spec) in last.stages.iter().filter(|stage| !stage.name.starts_with("parallel")).zip(&case.stages) {
            assert!(spec.max_age.is_none_or(|max_age| stage.age.max <= max_age), "{stage:?}");
            assert_eq!((stage.buffer.waiting, stage.buffer.reordering, stage.counts.in_flight), (0, 0, 0), "{stage:?}");
        }
        assert!(last.joins.iter().all(|join| join.counts.waiting == 0), "{:?}", last.joins);
        drop(told);
    }
}

/// Says what repeats the run, when it fails.
pub(crate) struct Told<'a> {
    pub(crate) seed: u64,
    pub(crate) case: &'a Case,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("CONFORMANCE_SEED={} repeats this: {:#?}", self.seed, self.case);
        }
    }
}

/// Whether one end stage gets everything in order.
fn keeps_order(case: &Case) -> bool {
    let gives_late = |stage: &StageSpec| matches!(stage.does, Does::FinishGives(_) | Does::HoldUntilFinish);
    let is_alone = |stage: &StageSpec| stage.workers == 1 || stage.ordered;
    let last = case.stages.last().expect("there is a stage");
    // Several entrances are taken from in turn.
    case.entrances.is_empty()
        && (0..case.stages.len()).filter(|index| case.is_end(*index)).count() == 1
        && last.workers == 1
        // It sees a sample again that it tries again.
        && !matches!(last.on_error, ErrorPolicy::Retry { .. })
        // Samples of a batch are all seen under the newest.
        && !matches!(last.intake, Intake::Batch { fold: false, .. })
        && case.stages.iter().all(is_alone)
        // What a worker gives at its end goes under the number of its last sample, which others may have passed.
        && !(case.stages.iter().any(gives_late) && case.stages.iter().any(|stage| stage.workers > 1))
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
pub(crate) struct Random(pub(crate) u64);

impl Case {
    /// Leaves out what another executor would do in an order of its own: whether a flush comes before the stage has
    /// begun to try again.
    fn with_certain_tries(mut self) -> Self {
        if self.is_flushed() {
            for stage in self.stages.iter_mut().filter(|stage| matches!(stage.on_error, ErrorPolicy::Retry { .. })) {
                stage.on_error = ErrorPolicy::Skip;
            }
        }
        self
    }
}

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

    /// Pauses of stages and of the entrance, each with an end.
    fn pauses(&mut self, stages: usize) -> Vec<(Duration, Option<usize>, bool)> {
        let mut pauses = Vec::new();
        for _ in 0..self.below(4).saturating_sub(1) {
            let stage = (!self.one_in(2)).then(|| self.below(stages as u64) as usize);
            let from = self.below(60);
            pauses.push((ms(from), stage, true));
            pauses.push((ms(from + self.below(50)), stage, false));
        }
        pauses
    }

    pub(crate) fn case(&mut self) -> Case {
        let count = 1 + self.below(5);
        let parallel = (count >= 2 && self.one_in(3)).then(|| self.parallel(count as usize));
        let mut stages: Vec<StageSpec> = (0..count).map(|i| self.stage(i)).collect();
        self.make_fit(&mut stages, parallel);
        // Two workers may set up, finish and tear down at once, so only one of them may fail there.
        if self.one_in(8) {
            let fails = [Does::FailInSetup, Does::FailInFinish, Does::FailInTeardown];
            let at = self.below(count) as usize;
            if stages[at].workers == 1 {
                stages[at].does = fails[self.below(3) as usize];
            }
        }
        let buffer_size = match self.one_in(2) {
            true => BufferSize::Each(1 + self.below(4) as usize),
            false => BufferSize::List((0..count).map(|_| 1 + self.below(4) as usize).collect()),
        };
        for (index, stage) in stages.iter_mut().enumerate() {
            let size = match &buffer_size {
                BufferSize::Each(size) => *size,
                BufferSize::List(sizes) => sizes[index],
            };
            if let Intake::Batch { max_size, .. } = &mut stage.intake {
                *max_size = (*max_size).min(size);
            }
        }
        let input = self.input();
        Case {
            overflow: (!self.one_in(4)).then(|| self.overflow()),
            buffer_size,
            input,
            parallel,
            with_latest: self.one_in(2),
            up_after: ms(if self.one_in(2) { 0 } else { self.below(30) }),
            stop_at: self.one_in(3).then(|| ms(self.below(60))),
            flushes: (0..self.below(4).saturating_sub(1)).map(|_| ms(self.below(80))).collect(),
            pauses: self.pauses(count as usize),
            scalings: self.scalings(&mut stages),
            ..chain(stages)
        }
        .with_certain_tries()
    }

    /// Workers that join a stage, where it has several. (Which of them leave that have a sample, is up to the machine.)
    fn scalings(&mut self, stages: &mut [StageSpec]) -> Vec<(Duration, usize, usize)> {
        let mut scalings = Vec::new();
        for (index, stage) in stages.iter_mut().enumerate().filter(|(_, stage)| stage.workers > 1) {
            let most = stage.workers + self.below(3) as usize;
            stage.max_workers = Some(most);
            // Whoever asks for them while the pipeline comes up waits for that.
            scalings.push((ms(30 + self.below(60)), index, most));
        }
        scalings
    }

    fn input(&mut self) -> Input {
        match self.one_in(4) {
            true => {
                let (samples, each) = (self.below(15) as i64, ms(self.below(6)));
                Input::Source { samples, each, fails: self.one_in(4), is_live: self.one_in(2) }
            }
            false => {
                let mut at = 0;
                let times = (0..self.below(20)).map(|_| {
                    at += self.below(8);
                    ms(at)
                });
                Input::Puts(times.collect())
            }
        }
    }

    /// The same with several entrances, each flushed alone now and then.
    fn with_entrances(&mut self, case: Case) -> Case {
        let mut entrances = self.entrances(case.stages[0].intake);
        // The first stays, so that the pipeline goes on; the others come and go.
        for entrance in entrances.iter_mut().skip(1).filter(|entrance| entrance.is_source()) {
            entrance.added_at = self.one_in(2).then(|| ms(self.below(60)));
            let from = entrance.added_at.unwrap_or_default();
            entrance.removed_at = self.one_in(2).then(|| from + ms(self.below(40)));
        }
        let are_mixed = entrances.iter().any(EntranceSpec::is_source) && !entrances.iter().all(EntranceSpec::is_source);
        let mut source_flushes = Vec::new();
        for _ in 0..self.below(4) {
            source_flushes.push((ms(self.below(80)), self.below(entrances.len() as u64) as usize));
        }
        // Whether a relay takes what waited first, or what has got room just now comes first, is up to the machine.
        let has_relay_in_front = case.parallel.is_some_and(|(before, _)| before == 0);
        // Nor does it show in the ledger whether a window keeps a sample already: one that it keeps ends when the stage
        // takes the next, one that it does not keep yet ends at once.
        let has_window = case.stages.iter().any(|stage| matches!(stage.intake, Intake::Window { .. }));
        if has_relay_in_front || has_window {
            source_flushes.clear();
        }
        Case {
            input: Input::Puts(Vec::new()),
            flushes: if has_relay_in_front { Vec::new() } else { case.flushes },
            // What is put into an entrance may come for ever.
            stop_at: case.stop_at.or(are_mixed.then_some(ms(60))),
            entrances,
            source_flushes,
            ..case
        }
        .with_certain_tries()
    }

    /// Up to three with names.
    fn entrances(&mut self, taken_by: Intake) -> Vec<EntranceSpec> {
        let count = 1 + self.below(3) as usize;
        let entrances = ["north", "south", "west"].into_iter().take(count).map(|name| {
            let overflow = (taken_by != Intake::Latest && !self.one_in(3)).then(|| self.overflow());
            EntranceSpec { overflow, ..EntranceSpec::of(name, self.input()) }
        });
        entrances.collect()
    }

    /// Two branches somewhere in a chain of so many stages.
    fn parallel(&mut self, count: usize) -> (usize, [usize; 2]) {
        let before = self.below(count as u64 - 1) as usize;
        let first = 1 + self.below((count - before - 1) as u64) as usize;
        let second = 1 + self.below((count - before - first) as u64) as usize;
        // Where no stage is left behind them, they end the pipeline; so none may be left over.
        match before + first + second == count || !self.one_in(3) {
            true => (before, [first, second]),
            false => (before, [first, count - before - first]),
        }
    }

    fn stage(&mut self, index: u64) -> StageSpec {
        let bad = 1 + self.below(20) as i64;
        let does = match self.below(14) {
            0 => Does::Double,
            1 => Does::SkipEven,
            2 => Does::Many(self.below(5) as i64),
            3 => Does::FailOn(bad),
            4 => Does::PanicOn(bad),
            5 => Does::HoldUntilFinish,
            6 => Does::FinishGives(1 + self.below(3) as i64),
            7 => Does::BrokenMany,
            8 => Does::FailAtFirst { on: bad, times: 1 + self.below(3) as u32 },
            9 => Does::BreakAtFirst { on: bad, times: 1 + self.below(3) as u32 },
            _ => Does::Identity,
        };
        let intake = match self.below(7) {
            0 => Intake::Latest,
            1 => Intake::All,
            2 => Intake::Window { size: 1 + self.below(4) as usize, stride: 1 + self.below(4) as usize },
            // The clock of another executor is not the simulation's: a batch waits for ever or not at all.
            3 => {
                let (max_size, max_wait) = (1 + self.below(4) as usize, ms(3_600_000 * self.below(2)));
                Intake::Batch { max_size, max_wait, fold: self.one_in(2) }
            }
            _ => Intake::Single,
        };
        let overflow = (intake != Intake::Latest && self.one_in(3)).then(|| self.overflow());
        let on_error = match (self.below(4), intake) {
            (0, Intake::Single | Intake::All) => {
                ErrorPolicy::Retry { times: 1 + self.below(2) as u32, skip: intake == Intake::Single && self.one_in(2) }
            }
            (1, _) => ErrorPolicy::Stop,
            _ => ErrorPolicy::Skip,
        };
        let (keys, idle) = (1 + self.below(3) as i64, self.one_in(2).then(|| 1 + self.below(4)));
        let workers = if self.one_in(3) { 2 + self.below(2) as usize } else { 1 };
        let (ordered, takes) = (!self.one_in(4), self.below(12));
        let but = (0..self.below(3)).map(|_| (1 + self.below(12), ms(self.below(40)))).collect();
        StageSpec {
            intake,
            overflow,
            on_error,
            keys,
            idle,
            workers,
            max_workers: None,
            ordered,
            but,
            ..stage(&format!("stage {index}"), does, takes)
        }
    }

    /// Takes back what is refused, and what another executor would do in an order of its own.
    fn make_fit(&mut self, stages: &mut [StageSpec], parallel: Option<(usize, [usize; 2])>) {
        let in_block = |index: usize| {
            parallel.is_some_and(|(before, [first, second])| (before..before + first + second).contains(&index))
        };
        let joined = parallel.is_some_and(|(before, [first, second])| before + first + second < stages.len());
        for index in 0..stages.len() {
            let stage = &mut stages[index];
            if parallel.is_some_and(|(before, _)| before == index + 1)
                && let Intake::Batch { fold, .. } = &mut stage.intake
            {
                *fold = true;
            }
            let gives_batches = matches!(stage.intake, Intake::Batch { fold: false, .. });
            let holds = matches!(stage.does, Does::HoldUntilFinish | Does::FinishGives(_));
            // Which of several that wait for room is the first is up to the machine, also in front of a join.
            stage.ordered |= in_block(index) || parallel.is_some_and(|(before, _)| before == index + 1);
            let gives_many =
                holds || matches!(stage.does, Does::Many(_) | Does::BrokenMany | Does::BreakAtFirst { .. });
            // Which worker holds what, and whose parts come early, is up to the machine; and a window is of one worker.
            if gives_many || gives_batches || matches!(stage.intake, Intake::Window { .. }) {
                stage.workers = 1;
            }
            // A join takes one result of each branch; and in front of a branch an idle stage is not the next to take.
            let before_block = parallel.is_some_and(|(before, _)| before == index + 1);
            if gives_many && (before_block || (joined && in_block(index))) {
                stage.does = Does::Double;
            }
            // A stage whose workers each fail the first time fails more often than one.
            if stage.workers > 1 && matches!(stage.does, Does::FailAtFirst { .. } | Does::BreakAtFirst { .. }) {
                stage.workers = 1;
            }
            if parallel.is_some_and(|(before, [first, second])| {
                [before, before + first, before + first + second].contains(&index)
            }) {
                stage.workers = 1;
            }
            // Only the simulation can say how old a sample is to get; and what comes out of a reorder step at once is
            // dropped or not as an idle consumer is quick or not.
            let bursts = stage.workers > 1 && stage.ordered;
            // So is which of several that wait for room is the first.
            if stage.workers > 1
                && !bursts
                && let Some(next) = stages.get_mut(index + 1)
            {
                next.overflow = Some(Overflow::DropOldest);
            }
            // A batch gives its results at once, as several workers do.
            let (gives_many, bursts) = (gives_many || gives_batches, bursts || gives_batches);
            // How many of several idle workers take from a burst is up to the machine.
            // What a window has kept looks like being busy.
            if gives_many && let Some(next) = stages.get_mut(index + 1) {
                next.workers = 1;
                if matches!(next.intake, Intake::Window { .. }) {
                    next.intake = Intake::Single;
                }
            }
            if bursts && let Some(next) = stages.get_mut(index + 1) {
                next.overflow = Some(Overflow::Block);
                if matches!(next.intake, Intake::Latest | Intake::Batch { .. }) {
                    next.intake = Intake::Single;
                }
            }
            // The same at the end of the first branch, whose next stage is the one behind the join.
            let behind = parallel.filter(|_| joined).map(|(before, [first, second])| before + first + second);
            if let Some(behind) = behind.filter(|_| in_block(index)) {
                let next = &mut stages[behind];
                next.intake = if next.intake == Intake::Latest { Intake::Latest } else { Intake::Single };
                next.on_error = if next.on_error == ErrorPolicy::Skip { ErrorPolicy::Skip } else { ErrorPolicy::Stop };
                if bursts {
                    next.intake = Intake::Single;
                    next.overflow = Some(Overflow::Block);
                }
            }
        }
    }

    fn overflow(&mut self) -> Overflow {
        Overflow::ALL[self.below(3) as usize]
    }
}
