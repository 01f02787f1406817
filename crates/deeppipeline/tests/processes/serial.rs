//! Random chains with stages that split, several workers, blocks inside blocks and deaths: what comes out is what a
//! program without any of it makes, and no two samples in front of a stage have the same identity.
//!
//! `CONFORMANCE_SEED=n` runs one seed alone.

use crate::chaos::{Random, number, watchdog};
use crate::stages::{assert_clear, end, pipeline};
use deeppipeline::builder::Chain;
use deeppipeline::processes::OnCrash;
use deeppipeline::report::SampleId;
use deeppipeline::{BoxError, Give, Isolated, Stage, chain, current_sample, isolated, made_by};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

const SAMPLES: u64 = 12;

/// No two values that go different ways are the same, but by a rare chance.
fn mixed(x: u64, salt: u64) -> u64 {
    Random(x ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)).below(u64::MAX)
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Does {
    Mix,
    /// Skips one in three.
    Skip,
    /// Gives up to three.
    Split,
    /// Gives so many at the end, each of its workers.
    Finish(u64),
}

/// One stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    does: Does,
    salt: u64,
    workers: usize,
    ordered: bool,
    in_process: bool,
    /// Its processes die of some samples, but of none that they take first: so each goes through when it is tried
    /// again.
    dies: bool,
}

impl Spec {
    /// What comes of a sample.
    fn values(&self, x: u64) -> Vec<u64> {
        let y = mixed(x, self.salt);
        match self.does {
            Does::Skip if y.is_multiple_of(3) => Vec::new(),
            Does::Split => (0..y % 4).map(|part| mixed(y, part)).collect(),
            Does::Mix | Does::Skip | Does::Finish(_) => vec![y],
        }
    }

    fn at_the_end(&self) -> Vec<u64> {
        match self.does {
            Does::Finish(count) => (0..count).map(|index| mixed(self.salt, index)).collect(),
            Does::Mix | Does::Skip | Does::Split => Vec::new(),
        }
    }
}

/// An element of a chain.
#[derive(Debug, Clone)]
enum Element {
    Stage(Spec),
    Block(Vec<Element>, Vec<Element>),
}

/// A chain of so many elements at most. Inside a block nothing is split, and not at the end either.
fn elements(random: &mut Random, at_most: u64, in_block: bool, in_processes: bool) -> Vec<Element> {
    let elements = (0..1 + random.below(at_most)).map(|_| match random.below(4) {
        0 if at_most > 1 => {
            let mut branch = || elements(random, at_most / 2, true, in_processes);
            Element::Block(branch(), branch())
        }
        _ => Element::Stage(spec(random, in_block, in_processes)),
    });
    elements.collect()
}

fn spec(random: &mut Random, in_block: bool, in_processes: bool) -> Spec {
    let does = match random.below(6) {
        0 => Does::Skip,
        1 | 2 if !in_block => Does::Split,
        3 if !in_block => Does::Finish(random.below(3)),
        _ => Does::Mix,
    };
    let in_process = in_processes && random.one_in(2);
    let workers = 1 + random.below(3) as usize;
    Spec {
        does,
        salt: random.below(u64::MAX),
        workers,
        ordered: !random.one_in(4),
        in_process,
        // One of several could hand a sample of which it died to another that dies of it too.
        dies: in_process && workers == 1,
    }
}

/// What a program without workers makes of these, and how many samples each block has joined.
fn serial(chain: &[Element], mut values: Vec<u64>, joined: &mut Vec<u64>) -> Vec<u64> {
    for element in chain {
        values = match element {
            Element::Stage(spec) => {
                let of_workers = (0..spec.workers).flat_map(|_| spec.at_the_end());
                values.into_iter().flat_map(|x| spec.values(x)).chain(of_workers).collect()
            }
            Element::Block(one, other) => {
                let (place, mut results) = (joined.len(), Vec::new());
                joined.push(0);
                let mut counts = vec![0; blocks(one) + blocks(other)];
                for x in values {
                    let mut of_sample = Vec::new();
                    let a = serial(one, vec![x], &mut of_sample);
                    let b = serial(other, vec![x], &mut of_sample);
                    counts.iter_mut().zip(of_sample).for_each(|(count, more)| *count += more);
                    results.extend(a.first().zip(b.first()).map(|(a, b)| mixed(*a, *b)));
                }
                joined.extend(counts);
                joined[place] = results.len() as u64;
                results
            }
        };
    }
    values
}

fn blocks(chain: &[Element]) -> usize {
    let inside = |element: &Element| match element {
        Element::Stage(_) => 0,
        Element::Block(one, other) => 1 + blocks(one) + blocks(other),
    };
    chain.iter().map(inside).sum()
}

fn keeps_order(chain: &[Element]) -> bool {
    chain.iter().all(|element| match element {
        Element::Stage(spec) => spec.ordered || spec.workers == 1,
        Element::Block(one, other) => keeps_order(one) && keeps_order(other),
    })
}

/// The identities that a stage on threads has seen.
type Seen = Arc<Mutex<HashSet<SampleId>>>;

/// Does in a pipeline what its spec says.
pub(crate) struct Mixer {
    spec: Spec,
    taken: u64,
    seen: Seen,
}

impl Mixer {
    fn dies_of(&self, x: u64) -> bool {
        self.spec.dies && self.taken > 1 && mixed(x, 2).is_multiple_of(24)
    }
}

impl Stage for Mixer {
    type Input = u64;
    type Output = u64;

    fn stage_run(&mut self, x: u64) -> Result<Give<u64>, BoxError> {
        let id = current_sample().ok_or("a stage runs on a sample")?.id;
        if !self.seen.lock().unwrap().insert(id) {
            return Err(format!("{id} comes twice").into());
        }
        self.taken += 1;
        let mut values = self.spec.values(x);
        // Others overtake it, or do not.
        (0..mixed(x, 1) % 64).for_each(|_| std::thread::yield_now());
        if let Does::Split = self.spec.does {
            // Of the last part: when it is tried again, the others are left out.
            let last = if self.dies_of(x) { values.pop() } else { None };
            let dies = last.into_iter().inspect(|_| std::process::abort());
            return Ok(Give::many(values.into_iter().chain(dies)));
        }
        if self.dies_of(x) {
            std::process::abort();
        }
        Ok(values.pop().map_or(Give::Skip, Give::One))
    }

    fn finish(&mut self) -> Result<Give<u64>, BoxError> {
        Ok(Give::many(self.spec.at_the_end()))
    }
}

impl Isolated for Mixer {
    const NAME: &str = "mixer";
    type Settings = Spec;
    fn make(spec: Spec) -> Result<Self, BoxError> {
        Ok(Mixer { spec, taken: 0, seen: Seen::default() })
    }
}

fn grown(elements: &[Element]) -> Chain<u64, u64> {
    let mut grown = chain();
    for element in elements {
        grown = match element {
            Element::Stage(spec) => {
                let (settings, seen) = (spec.clone(), Seen::default());
                let make = move || Ok(Mixer { spec: settings.clone(), taken: 0, seen: seen.clone() });
                match spec.in_process {
                    true => {
                        let stage = isolated::<Mixer>(spec.clone()).workers(spec.workers).ordered(spec.ordered);
                        grown.stage(stage.on_crash(OnCrash::Retry).max_restarts(u32::MAX))
                    }
                    false => grown.stage(made_by(make).workers(spec.workers).ordered(spec.ordered)),
                }
            }
            Element::Block(one, other) => {
                grown.parallel((self::grown(one), self::grown(other))).stage(|(a, b): (u64, u64)| mixed(a, b))
            }
        };
    }
    grown
}

/// One run; how many workers died in it.
fn run(seed: u64, in_processes: bool) -> u64 {
    let random = &mut Random(seed);
    let elements = elements(random, 4, false, in_processes);
    let sizes = 1 + random.below(4) as usize;
    let told = format!("CONFORMANCE_SEED={seed} repeats this: {elements:#?}");
    let mut joined = Vec::new();
    let mut expected = serial(&elements, (0..SAMPLES).collect(), &mut joined);

    let (mut tell, values) = end();
    let builder = pipeline().buffer_size(sizes).stage(grown(&elements));
    let pipeline = Arc::new(
        builder.end_stage(move |x: u64| tell((current_sample().expect("it is in flight").id, x))).start().expect(&told),
    );
    let watchdog = watchdog(seed, &pipeline);
    for x in 0..SAMPLES {
        pipeline.put(x).expect(&told);
    }
    pipeline.setstop().expect(&told);
    drop(watchdog);
    let report = pipeline.report();
    assert_clear(&report);
    drop(pipeline);

    let (ids, mut got): (Vec<SampleId>, Vec<u64>) = values.rest().into_iter().unzip();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?} has one twice\n{told}\n{report}");
    if !keeps_order(&elements) {
        got.sort_unstable();
        expected.sort_unstable();
    }
    assert_eq!(got, expected, "{told}\n{report}");
    let counts: Vec<_> = report.joins.iter().map(|join| (join.counts.joined, join.counts.waiting)).collect();
    assert_eq!(counts, joined.into_iter().map(|joined| (joined, 0)).collect::<Vec<_>>(), "{told}\n{report}");
    report.stages.iter().map(|stage| stage.restarts).sum()
}

#[test]
fn random_chains_on_threads_give_what_a_serial_program_gives() {
    let only = number("CONFORMANCE_SEED");
    for seed in only.map_or(0..150, |seed| seed..seed + 1) {
        run(seed, false);
    }
}

#[test]
fn random_chains_with_processes_that_die_give_what_a_serial_program_gives() {
    let only = number("CONFORMANCE_SEED");
    let deaths: u64 = only.map_or(0..20, |seed| seed..seed + 1).map(|seed| run(seed, true)).sum();
    assert!(only.is_some() || deaths > 0, "some have died");
}
