//! The process executor, made to follow the simulated order: some stages or all are in processes of their own, and each
//! of these reaches the test around it over a line.

use crate::case::{Case, Does, StageSpec, stage};
use crate::follow::{Follower, graph, is_idle};
use crate::gated::{Around, GatedStage};
use crate::line::{Desk, Line};
use crate::simulated::Run;
use crate::stages::{Entry, Logic, Witness};
use deeppipeline::BoxError;
use deeppipeline::engine::Executor;
use deeppipeline::engine::{Codec, Codecs, Driver, Lifeline, Reads, Supervisor, Then, Watched, WorkerProcess, spawn};
use deeppipeline::intake::Intake;
use deeppipeline::processes::SharedBytes;
use deeppipeline::report::SampleId;
use deeppipeline::simulate::Event;
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Set for a worker: the address of the test around it.
const VARIABLE: &str = "CONFORMANCE_DESK";

/// Enough for any buffer of a case.
const BUFFER_BYTES: usize = 4096;

/// Whether the stage at that index is in a process.
type InProcess = fn(usize) -> bool;

/// Which stages are in processes: all, and both ways in which processes and threads meet.
pub(crate) const ALL_AND_MIXES: [(&str, InProcess); 3] = [
    ("all in processes", |_| true),
    ("the first and every second after it in a process", |index| index % 2 == 0),
    ("the second and every second after it in a process", |index| index % 2 == 1),
];

/// Whether each update reaches the process of its stage before that goes on: one that comes while it works on a sample may
/// do so before or behind the next.
pub(crate) fn are_updates_certain(case: &Case, simulated: &Run, in_process: impl Fn(usize) -> bool) -> bool {
    simulated.moments.iter().enumerate().all(|(index, moment)| {
        let Event::Update(name) = &moment.event else { return true };
        let is_there = |(index, spec): (usize, &StageSpec)| spec.name == *name && in_process(index);
        !case.stages.iter().enumerate().any(is_there) || is_idle(&simulated.moments[..=index], name)
    })
}

/// Follows the simulated run with a process for each stage that is to have one, and says what came out.
pub(crate) fn follow(case: &Case, simulated: &Run, in_process: impl Fn(usize) -> bool) -> String {
    let mut graph = graph(case);
    for (index, node) in graph.stages.iter_mut().enumerate() {
        node.executor = if in_process(index) { Executor::Process } else { Executor::Thread };
    }
    let has_process = graph.stages.iter().any(|node| node.executor == Executor::Process);
    graph.buffer_bytes = has_process.then_some(BUFFER_BYTES);
    let codecs = || Codecs { input: Arc::new(EightBytes), output: Arc::new(EightBytes) };
    let codecs = case.stages.iter().map(|_| Some(codecs())).collect();
    let (supervisor, drivers) = Supervisor::with_processes(graph, codecs).unwrap();
    let follower = Follower::new(case, supervisor, start);
    let threads = drivers.into_iter().map(|driver| start(&follower, driver)).collect();
    follower.follow(simulated, threads)
}

/// Starts a worker, on a thread or in a process.
fn start(follower: &Follower<'_>, driver: Driver<i64>) -> JoinHandle<()> {
    match driver {
        Driver::Thread(worker) => follower.spawn(worker),
        Driver::Process(mut process) => {
            let (case, index) = (follower.case, process.stage());
            let spec = &case.stages[index];
            let (name, is_end) = (spec.name.clone(), case.is_end(index));
            let (keys, idle) = (spec.keys, spec.idle);
            let part = Part { name, does: spec.does, is_end, intake: spec.intake, keys, idle };
            process.set_init_payload(postcard::to_stdvec(&part).unwrap());
            let around = follower.around(index);
            std::thread::spawn(move || drive(process, around))
        }
    }
}

/// What a worker's program is told about its stage.
#[derive(Serialize, Deserialize)]
struct Part {
    name: String,
    does: Does,
    is_end: bool,
    intake: Intake,
    keys: i64,
    idle: Option<u64>,
}

/// Starts the one process of a stage, and watches over it.
#[expect(clippy::zombie_processes, reason = "the process collects it")]
fn drive(mut process: WorkerProcess<i64>, around: Arc<dyn Around>) {
    let desk = Desk::open();
    let ends = process.open().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::become_a_worker", "--nocapture", "--quiet"])
        .env(VARIABLE, desk.address())
        .stdin(Stdio::from(ends.socket))
        .stdout(Stdio::null())
        .stderr(Stdio::from(ends.stderr))
        .spawn()
        .unwrap();
    process.started(child.id()).unwrap();
    std::thread::spawn(move || answer(&desk, &*around));
    loop {
        match process.watch(Reads::ALL).unwrap() {
            Watched::Wrote(written) => eprintln!("[{}] {}", process.name(), written.text),
            Watched::LaterFailure(_) | Watched::Note(_) | Watched::Told(_) | Watched::Nothing => {}
            Watched::Exited => break,
        }
    }
    assert_eq!(process.ended(None), Then::Over { warning: None }, "the worker of {}", process.name());
}

/// The workers of these tests begin here: in the test's own process it does nothing.
#[test]
fn become_a_worker() {
    let Ok(address) = std::env::var(VARIABLE) else { return };
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let bootstrap = Lifeline::hold(socket, parent_id()).unwrap().listen().unwrap();
    let Part { name, does, is_end, intake, keys, idle } = postcard::from_bytes(bootstrap.init_payload()).unwrap();
    let around: Arc<dyn Around> = Arc::new(AroundElsewhere(Mutex::new(Line::to(&address).unwrap())));
    let codec = Arc::new(EightBytes);
    let (worker, _) = bootstrap.begin(codec.clone(), codec, |_| Vec::new()).unwrap();
    let spec = StageSpec { intake, keys, idle, ..stage(&name, does, 0) };
    let stage = GatedStage::new(Logic::new(&name, does, is_end, around.clone()), &spec, around);
    spawn(worker, stage.factory()).unwrap().join().unwrap();
    std::process::exit(0);
}

/// Carries the values of all cases.
struct EightBytes;

impl Codec<i64> for EightBytes {
    fn size(&self, _: &i64) -> Result<usize, BoxError> {
        Ok(8)
    }

    fn write(&self, value: &i64, room: &mut [u8]) -> Result<(), BoxError> {
        room.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn read(&self, bytes: SharedBytes) -> Result<i64, BoxError> {
        Ok(i64::from_le_bytes(bytes[..].try_into()?))
    }
}

/// What a worker asks of the test. Each question is answered, if only to say that it was heard.
#[derive(Serialize, Deserialize)]
enum Ask {
    Pass(Option<SampleId>),
    NextHasTaken,
    Note(Entry),
}

/// Answers the worker of one stage until it has ended.
fn answer(desk: &Desk, around: &dyn Around) {
    let mut line = desk.next().unwrap();
    while let Ok(ask) = line.hear() {
        match ask {
            Ask::Pass(sample) => around.pass(sample),
            Ask::NextHasTaken => around.next_has_taken(),
            Ask::Note(entry) => around.note(entry),
        }
        // A worker that is gone cannot hear it; its end is seen by whoever drives it.
        let _ = line.say(&());
    }
}

/// The test around a stage, from the process of the stage.
struct AroundElsewhere(Mutex<Line>);

impl AroundElsewhere {
    fn ask(&self, ask: &Ask) {
        let mut line = self.0.lock().unwrap();
        line.say(ask).unwrap();
        line.hear().unwrap()
    }
}

impl Witness for AroundElsewhere {
    fn note(&self, entry: Entry) {
        self.ask(&Ask::Note(entry));
    }
}

impl Around for AroundElsewhere {
    fn pass(&self, sample: Option<SampleId>) {
        self.ask(&Ask::Pass(sample));
    }

    fn next_has_taken(&self) {
        self.ask(&Ask::NextHasTaken);
    }
}
