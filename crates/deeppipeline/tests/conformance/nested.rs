//! Random blocks inside blocks, with relays and without: what comes out, under which number, and what each join counts.
//!
//! `CONFORMANCE_SEED=n cargo test -p deeppipeline --test conformance nested` runs one seed alone.

use crate::random::Random;
use deeppipeline::engine::{
    Block, BlockResults, Body, BodyFactory, Call, Done, ErrorPolicy, Executor, ForkJoin, Forker, Graph, Input, Node,
    Relay, Role, SourceNode, Supervisor, Wait, Worker, spawn,
};
use deeppipeline::report::{JoinCounts, SampleId};
use deeppipeline::simulate::Simulation;
use deeppipeline::{Give, Overflow};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SEEDS: Range<u64> = 0..200;

/// Longer than anything here takes, on any machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// An element of a chain.
#[derive(Debug)]
enum Element {
    Stage(Does),
    Block { branches: Vec<Vec<Element>>, results: BlockResults, routed: bool },
}

/// What a stage does with a value.
#[derive(Debug, Clone, Copy)]
enum Does {
    Add(i64),
    Skip {
        remainder: i64,
        of: i64,
    },
    Fail {
        remainder: i64,
        of: i64,
    },
    /// Gives that many: 10·x, 10·x + 1, …
    Split(i64),
    End,
}

impl Does {
    fn gives(self, x: i64) -> Vec<i64> {
        match self {
            Does::Add(more) => vec![x.wrapping_add(more)],
            Does::Skip { remainder, of } | Does::Fail { remainder, of } if x.rem_euclid(of) == remainder => Vec::new(),
            Does::Split(parts) => (0..parts).map(|part| x.wrapping_mul(10).wrapping_add(part)).collect(),
            Does::Skip { .. } | Does::Fail { .. } | Does::End => vec![x],
        }
    }
}

/// Joins results; where the first goes on with the newest of the others, with which of them is up to the machine.
fn join(results: BlockResults, values: &[i64]) -> i64 {
    let certain = if results == BlockResults::JoinedWithLatest { &values[..1] } else { values };
    certain.iter().fold(7, |joined, x| joined.wrapping_mul(31).wrapping_add(*x))
}

/// The parts of a value, where they go through a block.
fn parts(x: i64) -> Vec<i64> {
    (0..x.rem_euclid(4)).map(|part| x.wrapping_add(part)).collect()
}

/// A value with the results of its parts, or none.
fn gather<E>(x: i64, results: Vec<Result<i64, E>>) -> i64 {
    results.into_iter().fold(x, |together, result| together.wrapping_mul(31).wrapping_add(result.unwrap_or(-1)))
}

/// The branch that a value goes to, where it goes to one.
fn way(x: i64, branches: usize) -> usize {
    x.rem_euclid(branches as i64) as usize
}

/// The description of a random pipeline.
#[derive(Default)]
struct Described {
    stages: Vec<Node>,
    does: Vec<Does>,
    blocks: Vec<Block>,
}

impl Described {
    fn add(&mut self, chain: &[Element], random: &mut Random) {
        for element in chain {
            match element {
                Element::Stage(does) => self.add_stage(*does, random),
                Element::Block { branches, results, routed } => {
                    let number = self.blocks.len();
                    let (results, routed) = (*results, *routed);
                    self.blocks.push(Block { name: "block".to_owned(), branches: Vec::new(), results, routed });
                    for branch in branches {
                        let first = self.stages.len();
                        self.add(branch, random);
                        // Otherwise it would drop what it has no time for.
                        if results == BlockResults::JoinedWithLatest {
                            self.stages[first].overflow = Some(Overflow::Block);
                        }
                        self.blocks[number].branches.push(first..self.stages.len());
                    }
                }
            }
        }
    }

    fn add_stage(&mut self, does: Does, random: &mut Random) {
        // What is to be in a process has the relays of one; here it runs on a thread.
        let executor = if cfg!(processes) && random.one_in(4) { Executor::Process } else { Executor::Thread };
        let workers = if random.one_in(4) && matches!(does, Does::Add(_)) { 2 } else { 1 };
        let buffer_size = Some(1 + random.below(3) as usize);
        let on_error = ErrorPolicy::Skip;
        self.stages.push(Node { executor, workers, buffer_size, on_error, ..Node::new("stage") });
        self.does.push(does);
    }
}

/// What a pipeline is to do, worked out without one.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    /// What each stage is given that ends the pipeline, in reading order of all stages.
    ends: Vec<Vec<i64>>,
    joins: Vec<JoinCounts>,
}

impl Expected {
    /// What comes out of a chain, whose stages and blocks begin with these.
    fn run(&mut self, chain: &[Element], x: i64, (mut stage, mut block): (usize, usize)) -> Vec<i64> {
        let mut values = vec![x];
        for element in chain {
            match element {
                Element::Stage(Does::End) => self.ends[stage].append(&mut values),
                Element::Stage(does) => values = values.into_iter().flat_map(|x| does.gives(x)).collect(),
                Element::Block { branches, results, routed } => {
                    let run = |x| self.run_block(branches, (*results, *routed), x, (stage, block));
                    values = values.into_iter().flat_map(run).collect();
                }
            }
            let (stages, blocks) = size(element);
            (stage, block) = (stage + stages, block + blocks);
        }
        values
    }

    fn run_block(
        &mut self,
        branches: &[Vec<Element>],
        (results, routed): (BlockResults, bool),
        x: i64,
        (stage, block): (usize, usize),
    ) -> Vec<i64> {
        let (mut stage, mut inner) = (stage, block + 1);
        let mut given = Vec::new();
        if results == BlockResults::Gathered {
            let run = |part| self.run(&branches[0], part, (stage, inner)).pop().ok_or(());
            let of_parts: Vec<_> = parts(x).into_iter().map(run).collect();
            let counts = &mut self.joins[block];
            let joined = of_parts.iter().filter(|result| result.is_ok()).count() as u64;
            counts.entered += of_parts.len() as u64;
            counts.joined += joined;
            counts.unjoined += of_parts.len() as u64 - joined;
            return vec![gather(x, of_parts)];
        }
        for (index, branch) in branches.iter().enumerate() {
            if !routed || index == way(x, branches.len()) {
                given.push(self.run(branch, x, (stage, inner)));
            }
            for (stages, blocks) in branch.iter().map(size) {
                (stage, inner) = (stage + stages, inner + blocks);
            }
        }
        let counts = &mut self.joins[block];
        match results {
            BlockResults::End | BlockResults::Gathered => Vec::new(),
            BlockResults::Joined => {
                let one_of_each: Vec<i64> = given.into_iter().flatten().collect();
                let is_whole = one_of_each.len() == if routed { 1 } else { branches.len() };
                counts.entered += 1;
                counts.joined += u64::from(is_whole);
                counts.unjoined += u64::from(!is_whole);
                match routed {
                    true => one_of_each,
                    false => is_whole.then(|| join(results, &one_of_each)).into_iter().collect(),
                }
            }
            BlockResults::JoinedWithLatest => {
                let first = given.remove(0);
                counts.entered += first.len() as u64;
                counts.joined += first.len() as u64;
                counts.renewed += given.iter().map(|given| given.len() as u64).sum::<u64>();
                first.into_iter().map(|x| join(results, &[x])).collect()
            }
        }
    }
}

/// How many stages and blocks there are in an element.
fn size(element: &Element) -> (usize, usize) {
    match element {
        Element::Stage(_) => (1, 0),
        Element::Block { branches, .. } => {
            let sizes = branches.iter().flatten().map(size);
            sizes.fold((0, 1), |(stages, blocks), (more, inner)| (stages + more, blocks + inner))
        }
    }
}

/// A chain that ends the pipeline, or a branch whose results are joined.
fn chain(random: &mut Random, depth: u64, ends: bool) -> Vec<Element> {
    let mut elements: Vec<_> = (0..random.below(3)).map(|_| element(random, depth, ends)).collect();
    match ends {
        true if depth > 0 && random.one_in(3) => {
            let routed = random.one_in(3);
            elements.push(block(random, depth, BlockResults::End, routed));
        }
        true => elements.push(Element::Stage(Does::End)),
        // A branch has a stage at least; a block inside may be all of it.
        false if elements.is_empty() => elements.push(element(random, depth, ends)),
        false => {}
    }
    elements
}

fn element(random: &mut Random, depth: u64, ends: bool) -> Element {
    if depth > 0 && random.one_in(2) {
        let results = match random.below(4) {
            0 => BlockResults::JoinedWithLatest,
            1 => BlockResults::Gathered,
            _ => BlockResults::Joined,
        };
        let routed = results == BlockResults::Joined && random.one_in(2);
        return block(random, depth, results, routed);
    }
    let (remainder, of) = (random.below(3) as i64, 3 + random.below(4) as i64);
    Element::Stage(match random.below(6) {
        0 => Does::Skip { remainder, of },
        1 => Does::Fail { remainder, of },
        2 if ends => Does::Split(random.below(3) as i64),
        _ => Does::Add(remainder),
    })
}

fn block(random: &mut Random, depth: u64, results: BlockResults, routed: bool) -> Element {
    let ends = results == BlockResults::End;
    let branches = if results == BlockResults::Gathered { 1 } else { 2 + random.below(2) };
    let mut branches: Vec<_> = (0..branches).map(|_| chain(random, depth - 1, ends)).collect();
    if results == BlockResults::JoinedWithLatest {
        // A stage of its own in front, which can be told to wait.
        branches.iter_mut().for_each(|branch| branch.insert(0, Element::Stage(Does::Add(1))));
    }
    Element::Block { branches, results, routed }
}

/// The samples that each end stage has got, by the index of the stage.
type Got = Arc<Mutex<Vec<Vec<(SampleId, i64)>>>>;

/// A stage on its thread.
struct Running {
    index: usize,
    does: Does,
    got: Got,
}

impl Body<i64> for Running {
    fn call(&mut self, call: Call<i64>) -> Done<i64> {
        let Call::StageRun(Input::One(sample)) = call else { return Done::Gave(Give::Skip) };
        let x = sample.value;
        match self.does {
            Does::End => self.got.lock().unwrap()[self.index].push((sample.id, x)),
            Does::Fail { remainder, of } if x.rem_euclid(of) == remainder => return Done::Failed("it is bad".into()),
            Does::Split(_) => return Done::Gave(Give::many(self.does.gives(x))),
            Does::Add(_) | Does::Skip { .. } | Does::Fail { .. } => {}
        }
        Done::Gave(self.does.gives(x).pop().map_or(Give::Skip, Give::One))
    }
}

/// Gives 0, 1, 2, …
struct Counting(Range<i64>);

impl Body<i64> for Counting {
    fn call(&mut self, call: Call<i64>) -> Done<i64> {
        match call {
            Call::SourceNext => self.0.next().map_or(Done::Exhausted, |x| Done::Gave(Give::One(x))),
            _ => Done::Gave(Give::Skip),
        }
    }
}

#[test]
fn nested_blocks_give_what_they_should_with_relays_and_without() {
    let only = std::env::var("CONFORMANCE_SEED").ok().map(|seed| seed.parse().expect("CONFORMANCE_SEED is a number"));
    for seed in only.map_or(SEEDS, |seed| seed..seed + 1) {
        let mut random = Random(seed);
        let elements = chain(&mut random, 3, true);
        let mut described = Described::default();
        described.add(&elements, &mut random);
        let samples = random.below(12) as i64;
        let source = random.one_in(2).then_some(SourceNode::default());

        let mut expected = Expected {
            ends: vec![Vec::new(); described.stages.len()],
            joins: vec![JoinCounts::default(); described.blocks.len()],
        };
        (0..samples).for_each(|x| drop(expected.run(&elements, x, (0, 0))));
        let told = format!("CONFORMANCE_SEED={seed}: {elements:#?}");
        simulates(&described, samples, &told);
        let (ends, joins) = run(described, samples, source, &told);
        assert_eq!(Expected { ends, joins }, expected, "{told}");
    }
}

/// Where every stage gives one result, everything is joined; and the simulation comes to an end.
fn simulates(described: &Described, samples: i64, told: &str) {
    let Described { stages, blocks, .. } = described;
    let graph =
        Graph { stages: stages.clone(), blocks: blocks.clone(), overflow: Some(Overflow::Block), ..Graph::default() };
    let mut simulation = Simulation::<()>::of(graph).unwrap();
    for x in 0..samples {
        simulation.put_at(Duration::from_millis(x.unsigned_abs()), ());
    }
    let report = simulation.takes("stage", Duration::from_millis(2)).unwrap().run().unwrap();
    assert!(report.balances(), "{told}\n{report}");
    for (join, block) in
        report.joins.iter().zip(blocks).filter(|(_, block)| block.results == BlockResults::Joined && !block.routed)
    {
        // A block inside another may be on one of several ways.
        let entered =
            if blocks.iter().any(|block| block.routed) { join.counts.entered } else { samples.unsigned_abs() };
        assert_eq!(join.counts.joined, entered, "{block:?} of {told}\n{report}");
    }
}

/// Runs the pipeline on threads. Gives what came to each stage that ends it, and the counts of each join.
fn run(described: Described, samples: i64, source: Option<SourceNode>, told: &str) -> (Vec<Vec<i64>>, Vec<JoinCounts>) {
    let Described { stages, does, blocks } = described;
    let copies = || -> Forker<i64> { Box::new(|value, copies| vec![value; copies]) };
    let fork_join = |block: &Block| {
        let (results, routed, branches) = (block.results, block.routed, block.branches.len());
        ForkJoin::<i64> {
            fork: copies(),
            route: routed.then(|| Box::new(move |x| Ok((way(x, branches), x))) as _),
            join: Box::new(move |values| join(results, &values.into_iter().flatten().collect::<Vec<_>>())),
            copy: block.branches.iter().skip(1).map(|_| copies()).collect(),
            parts: Some((Box::new(|x| Ok((x, parts(x)))), Box::new(gather))),
        }
    };
    let code = blocks.iter().map(fork_join).collect();
    let got: Got = Arc::new(Mutex::new(vec![Vec::new(); stages.len()]));
    let graph = Graph { source, stages, blocks, overflow: Some(Overflow::Block), ..Graph::default() };
    let (supervisor, workers) = Supervisor::new(graph).unwrap();
    supervisor.set_blocks(code);
    let body = |worker: &Worker<i64>| -> BodyFactory<i64> {
        match worker.role() {
            Role::Relay => Box::new(|| Box::new(Relay)),
            Role::Source(_) => Box::new(move || Box::new(Counting(0..samples))),
            Role::Stage(index) => {
                let running = Running { index, does: does[index], got: Arc::clone(&got) };
                Box::new(move || Box::new(running))
            }
        }
    };
    let threads: Vec<_> = workers.into_iter().map(|worker| (body(&worker), worker)).collect();
    let threads: Vec<_> = threads.into_iter().map(|(body, worker)| spawn(worker, body).unwrap()).collect();
    if source.is_none() {
        (0..samples).for_each(|x| assert!(supervisor.put(x, Wait::Forever).unwrap().number.is_some()));
        supervisor.close();
    }
    assert!(supervisor.wait_ended(Wait::Until(Instant::now() + WATCHDOG)), "left behind: {told}");
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    let report = supervisor.report();
    assert!(report.balances(), "{told}\n{report:#?}");
    let got = std::mem::take(&mut *got.lock().unwrap());
    for end in &got {
        let identities: HashSet<_> = end.iter().map(|(id, _)| *id).collect();
        assert_eq!(identities.len(), end.len(), "two samples have the same identity: {end:?} in {told}");
        let numbers = end.iter().map(|(id, _)| id.number);
        assert!(numbers.is_sorted(), "out of order: {end:?} in {told}");
    }
    let values = got.into_iter().map(|end| end.into_iter().map(|(_, x)| x).collect());
    (values.collect(), report.joins.into_iter().map(|join| join.counts).collect())
}
