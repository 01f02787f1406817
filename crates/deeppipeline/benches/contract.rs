//! What several workers bring, what order, joins and ages cost, and how fresh an overloaded stream stays.

mod support;

use deeppipeline::engine::{
    Block, BlockResults, Call, Done, ForkJoin, Graph, Input, Node, SourceNode, Supervisor, Worker, WorkerId,
};
use deeppipeline::{
    BoxError, Give, Isolated, Latest, Overflow, Pipeline, Report, Stage, isolated, made_by, stage, worker,
};
use std::hint::black_box;
use std::task::Poll;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::compare;

/// About 2 ms of arithmetic.
const STEPS: u64 = 1_000_000;
const SAMPLES: u64 = 400;

fn work(x: u64) -> u64 {
    (0..STEPS).fold(x, |x, step| black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step)))
}

struct Work;

impl Stage for Work {
    type Input = u64;
    type Output = u64;
    fn stage_run(&mut self, x: u64) -> Result<Give<u64>, BoxError> {
        Ok(Give::One(work(x)))
    }
}

impl Isolated for Work {
    const NAME: &str = "work";
    type Settings = ();
    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Work)
    }
}

/// Samples a second of a stage with so many workers, once everything is up.
fn rate(workers: usize, in_process: bool) -> f64 {
    let builder = Pipeline::builder().overflow(Overflow::Block).buffer_size(8);
    let builder = match in_process {
        true => builder.stage(isolated::<Work>(()).workers(workers)),
        false => builder.stage(made_by(|| Ok(Work)).workers(workers)),
    };
    let pipeline = builder.end_stage(|x: u64| black_box(x)).start().expect("starts");
    let start = Instant::now();
    for x in 0..SAMPLES {
        pipeline.put(x).expect("runs");
    }
    pipeline.setstop().expect("runs");
    SAMPLES as f64 / start.elapsed().as_secs_f64()
}

const HOPS: u64 = 300_000;

/// Nanoseconds for a sample through two nodes and what is between them, driven by this thread alone.
fn hop(workers: usize, ordered: bool, max_age: Option<Duration>, record: Option<usize>) -> f64 {
    let stages = vec![Node { workers, ordered, max_age, ..Node::new("one") }, Node { max_age, ..Node::new("end") }];
    let (supervisor, workers) =
        Supervisor::<u64>::new(Graph { source: Some(SourceNode::default()), stages, record, ..Graph::default() })
            .expect("is valid");
    drive(&supervisor, workers)
}

/// The same through a block of two branches with one stage in each.
fn block() -> f64 {
    let stages = ["one", "other", "end"].map(Node::new).into();
    let blocks = vec![Block {
        name: "parallel".to_owned(),
        branches: vec![0..1, 1..2],
        results: BlockResults::Joined,
        routed: false,
    }];
    let graph = Graph { source: Some(SourceNode::default()), stages, blocks, ..Graph::default() };
    let (supervisor, workers) = Supervisor::<u64>::new(graph).expect("is valid");
    let fork = Box::new(|value, branches| vec![value; branches]);
    supervisor.set_blocks(vec![ForkJoin {
        fork,
        route: None,
        join: Box::new(|values| values.into_iter().flatten().sum()),
        copy: Vec::new(),
        parts: None,
    }]);
    drive(&supervisor, workers)
}

/// The same three stages one behind the other.
fn three_stages() -> f64 {
    let stages = ["one", "other", "end"].map(Node::new).into();
    let (supervisor, workers) =
        Supervisor::<u64>::new(Graph { source: Some(SourceNode::default()), stages, ..Graph::default() })
            .expect("is valid");
    drive(&supervisor, workers)
}

fn drive(supervisor: &Supervisor<u64>, mut workers: Vec<Worker<u64>>) -> f64 {
    // Everything comes up before the source is asked.
    workers.iter_mut().for_each(|worker| step(worker, false));
    let mut source = workers.pop().expect("the source is the last");
    let start = Instant::now();
    for _ in 0..HOPS {
        step(&mut source, true);
        workers.iter_mut().for_each(|worker| step(worker, false));
    }
    let elapsed = start.elapsed();
    supervisor.close();
    workers.push(source);
    (0..8).for_each(|_| workers.iter_mut().for_each(|worker| step(worker, false)));
    let report = supervisor.report();
    assert!(report.balances() && report.stages.last().is_some_and(|end| end.counts.used == HOPS), "{report}");
    elapsed.as_nanos() as f64 / HOPS as f64
}

/// Makes every call that a worker asks for now; a source is asked for one sample, if any.
fn step(worker: &mut Worker<u64>, mut wanted: bool) {
    while let Poll::Ready(Some(call)) = worker.try_next() {
        worker.done(Done::Gave(match call {
            Call::StageRun(Input::One(sample)) => Give::One(sample.value),
            Call::SourceNext => {
                wanted = false;
                Give::One(1)
            }
            _ => Give::Skip,
        }));
        if matches!(worker.worker_id(), WorkerId::Source(_)) && !wanted {
            return;
        }
    }
}

const NAP: Duration = Duration::from_millis(10);

/// A camera three times as fast as each of three stages.
fn overloaded(latest: bool) -> Report {
    let nap = |x: u64| {
        sleep(NAP);
        x
    };
    let camera = (0..900_u64).inspect(|_| sleep(NAP / 3));
    let builder = Pipeline::builder().source(camera);
    let report = match latest {
        true => builder
            .stage(stage(nap).intake(Latest))
            .stage(stage(nap).intake(Latest))
            .stage(stage(nap).intake(Latest))
            .run(),
        false => builder.stage(nap).stage(nap).stage(nap).run(),
    };
    report.expect("runs")
}

fn delivered() -> f64 {
    let report = overloaded(false);
    report.stages[2].counts.used as f64 / report.elapsed.as_secs_f64()
}

fn bare_sleep() -> f64 {
    let start = Instant::now();
    (0..300).for_each(|_| sleep(NAP));
    300.0 / start.elapsed().as_secs_f64()
}

fn age(latest: bool) -> f64 {
    overloaded(latest).age.p50.as_secs_f64() * 1000.0
}

fn main() {
    worker().stage::<Work>().run();
    compare(
        "a CPU-bound stage on threads",
        "samples/s",
        &[("two workers", &|| rate(2, false)), ("one worker", &|| rate(1, false))],
    );
    compare(
        "a CPU-bound stage in processes",
        "samples/s",
        &[("two workers", &|| rate(2, true)), ("one worker", &|| rate(1, true))],
    );
    compare(
        "one thread drives two nodes",
        "ns a sample",
        &[
            ("two workers in order", &|| hop(2, true, None, None)),
            ("with max_age", &|| hop(1, true, Some(Duration::from_secs(3600)), None)),
            ("two workers, unordered", &|| hop(2, false, None, None)),
            ("record 0", &|| hop(1, true, None, Some(0))),
            ("one worker", &|| hop(1, true, None, None)),
        ],
    );
    compare(
        "one thread drives three stages",
        "ns a sample",
        &[("two branches and a join", &block), ("a chain", &three_stages)],
    );
    compare(
        "three stages of 10 ms at three times overload, drop_oldest",
        "samples/s",
        &[("delivered", &delivered), ("bare sleep loop", &bare_sleep)],
    );
    compare(
        "median age at the end at three times overload; the stages take 30 ms together",
        "ms",
        &[("latest", &|| age(true)), ("drop_oldest, two in each buffer", &|| age(false))],
    );
}
