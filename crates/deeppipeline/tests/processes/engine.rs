//! What bindings rely on: a worker process without its driver, a process that is never started again, and who is up.

use crate::line::WATCHDOG;
use crate::puppet::{At, Do, Player, Puppet, Strings};
use crate::stages::ARGUMENTS;
use crate::stop::Clinging;
use crate::support::until;
use deeppipeline::engine::{
    Codec, Codecs, Driver, Executor, Graph, Moment, Node, Reads, Supervisor, Then, Wait, Watched, WorkerProcess,
};
use deeppipeline::processes::SharedBytes;
use deeppipeline::{BoxError, Isolated, StageError};
use std::any::{TypeId, type_name};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Values as a worker of the typed builder sends and reads them.
struct Postcard;

impl Codec<i64> for Postcard {
    fn size(&self, value: &i64) -> Result<usize, BoxError> {
        Ok(postcard::to_stdvec(value)?.len())
    }

    fn write(&self, value: &i64, room: &mut [u8]) -> Result<(), BoxError> {
        room.copy_from_slice(&postcard::to_stdvec(value)?);
        Ok(())
    }

    fn read(&self, bytes: SharedBytes) -> Result<i64, BoxError> {
        Ok(postcard::from_bytes(&bytes)?)
    }
}

/// A pipeline of puppets, one stage for each, and their worker processes.
fn worker_processes(strings: &[Strings]) -> (Arc<Supervisor<i64>>, Vec<WorkerProcess<i64>>) {
    worker_processes_of(strings, Graph::default())
}

/// The same with what else is said about the pipeline.
fn worker_processes_of(strings: &[Strings], graph: Graph) -> (Arc<Supervisor<i64>>, Vec<WorkerProcess<i64>>) {
    let node = |index| Node { executor: Executor::Process, ..Node::new(format!("stage {index}")) };
    let graph = Graph { stages: (0..strings.len()).map(node).collect(), buffer_bytes: Some(1000), ..graph };
    let codecs = || Codecs { input: Arc::new(Postcard), output: Arc::new(Postcard) };
    let codecs = strings.iter().map(|_| Some(codecs())).collect();
    let (supervisor, drivers) = Supervisor::with_processes(graph, codecs).unwrap();
    let processes = drivers.into_iter().zip(strings).map(|(driver, strings)| match driver {
        Driver::Process(mut process) => {
            set_init_payload::<Puppet>(&mut process, strings);
            process
        }
        Driver::Thread(_) => panic!("all are in processes"),
    });
    (supervisor, processes.collect())
}

/// Says which stage its worker is to make.
fn set_init_payload<S: Isolated>(process: &mut WorkerProcess<i64>, strings: &Strings) {
    // As the typed builder's worker reads it: name, types, whether it takes lists, settings.
    let front = (S::NAME, types_of::<S>(), false, postcard::to_stdvec(strings).unwrap());
    process.set_init_payload(postcard::to_stdvec(&front).unwrap());
}

/// The types that the worker compares with those of the stage that it knows: their names, and a fingerprint.
fn types_of<S: Isolated>() -> ([&'static str; 4], u64) {
    let mut hasher = DefaultHasher::new();
    for id in [TypeId::of::<S>(), TypeId::of::<i64>(), TypeId::of::<i64>(), TypeId::of::<Strings>()] {
        id.hash(&mut hasher);
    }
    let names = [type_name::<S>(), type_name::<i64>(), type_name::<i64>(), type_name::<Strings>()];
    (names, hasher.finish())
}

#[expect(clippy::zombie_processes, reason = "the process collects it")]
fn open(process: &mut WorkerProcess<i64>) {
    let ends = process.open().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(ARGUMENTS)
        .env("DEEPPIPELINE_WORKER", std::process::id().to_string())
        .stdin(Stdio::from(ends.socket))
        .stdout(Stdio::null())
        .stderr(Stdio::from(ends.stderr))
        .spawn()
        .unwrap();
    process.started(child.id()).unwrap();
}

/// Watches over one process to its end, and says what follows.
fn watch(process: &mut WorkerProcess<i64>) -> Then {
    while process.watch(Reads::ALL).unwrap() != Watched::Exited {}
    process.ended(None)
}

/// Watches over all processes of a stage.
fn drive(mut process: WorkerProcess<i64>) {
    loop {
        open(&mut process);
        match watch(&mut process) {
            Then::Restart { pause, .. } if process.rest(pause).unwrap() => {}
            _ => return,
        }
    }
}

fn failure(supervisor: &Supervisor<i64>) -> StageError {
    assert!(supervisor.wait_ended(Wait::Until(Instant::now() + WATCHDOG)));
    let report = supervisor.report();
    crate::stages::assert_clear(&report);
    supervisor.failure().unwrap()
}

#[test]
fn a_worker_that_dies_while_others_still_start_is_started_again() {
    let players = [Player::new(), Player::new()];
    let (supervisor, processes) =
        worker_processes(&players.each_ref().map(|player| player.strings().asking_in_setup()));
    std::thread::scope(|scope| {
        processes.into_iter().for_each(|process| drop(scope.spawn(|| drive(process))));
        let (mut reordering, mut late) = (players[0].next(), players[1].next());
        reordering.lets(At::Setup);
        until(|| supervisor.not_up() == ["stage 1"]);
        reordering.kill();
        let mut reordering = players[0].next();
        reordering.lets(At::Setup);
        late.lets(At::Setup);
        supervisor.put(1, Wait::Forever).unwrap();
        reordering.lets(At::Run(1));
        late.lets(At::Run(1));
        supervisor.close();
    });
    let report = supervisor.report();
    crate::stages::assert_clear(&report);
    assert_eq!((report.stages[0].restarts, report.stages[1].counts.used), (1, 1));
}

#[test]
fn a_process_that_is_never_started_again_stops_the_pipeline_by_its_death() {
    let player = Player::new();
    let (supervisor, mut processes) = worker_processes(&[player.strings()]);
    let mut process = processes.remove(0);
    process.never_restart();
    let driver = std::thread::spawn(move || drive(process));
    supervisor.put(1, Wait::Forever).unwrap();
    player.next().at_tell(At::Run(1), Do::Exit(5));
    driver.join().unwrap();
    assert_eq!(
        failure(&supervisor).to_string(),
        "stage \"stage 0\" failed in stage_run on sample 1: its worker ended with exit code 5"
    );
    assert!(!player.has_next());
}

#[test]
fn a_sample_that_is_too_old_never_comes_into_a_process() {
    let player = Player::new();
    let graph = Graph { max_age: Some(Duration::from_secs(60)), ..Graph::default() };
    let (supervisor, processes) = worker_processes_of(&[player.strings()], graph);
    let drivers: Vec<_> = processes.into_iter().map(|process| std::thread::spawn(|| drive(process))).collect();
    let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(100)) else { return supervisor.abort() };
    supervisor.put_born(1, None, Moment::of(long_ago), Wait::Forever).unwrap();
    supervisor.put(2, Wait::Forever).unwrap();
    player.next().kills(At::Run(2));
    // What is inside when its worker dies ages on.
    supervisor.put_born(3, None, Moment::of(long_ago), Wait::Forever).unwrap();
    supervisor.put(4, Wait::Forever).unwrap();
    player.next().lets(At::Run(4));
    supervisor.close();
    drivers.into_iter().for_each(|driver| driver.join().unwrap());
    let report = supervisor.report();
    crate::stages::assert_clear(&report);
    let stage = &report.stages[0];
    assert_eq!((stage.buffer.expired, stage.counts.lost, stage.counts.used), (2, 1, 1));
}

#[test]
fn a_station_whose_driver_has_gone_kills_its_process_and_counts_what_it_had_in_flight() {
    let player = Player::new();
    let (supervisor, mut processes) = worker_processes(&[player.strings()]);
    let mut process = processes.remove(0);
    open(&mut process);
    supervisor.put(1, Wait::Forever).unwrap();
    supervisor.put(2, Wait::Forever).unwrap();
    let mut hand = std::thread::scope(|scope| {
        // Somebody has to watch until it is at work.
        let watching = scope.spawn(|| {
            let _ = process.watch(Reads::ALL);
            drop(process);
        });
        let mut hand = player.next();
        hand.at_tell(At::Run(1), Do::Write("one line ends the watch\n".to_owned(), Box::new(Do::Hang)));
        watching.join().unwrap();
        hand
    });
    hand.wait_until_it_ends();
    until(|| hand.is_gone());
    assert_eq!(
        failure(&supervisor).to_string(),
        "stage \"stage 0\" failed in stage_run: nobody watches over its worker any longer"
    );
    let stage = &supervisor.report().stages[0];
    assert_eq!((stage.counts.lost, stage.buffer.discarded), (1, 1));
}

#[test]
fn an_abort_that_kills_a_worker_on_its_way_out_blames_nothing_that_the_stage_left_running() {
    let player = Player::new();
    let (supervisor, mut processes) = worker_processes(&[player.strings()]);
    let mut process = processes.remove(0);
    set_init_payload::<Clinging>(&mut process, &player.strings());
    open(&mut process);
    supervisor.close();
    let then = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&mut process));
        let mut hand = player.next();
        hand.at_tell(At::Run(0), Do::Hang);
        supervisor.abort();
        watching.join().unwrap()
    });
    assert_eq!(then, Then::Over { warning: None });
}

#[test]
fn a_station_that_never_got_a_process_is_a_failed_start() {
    let player = Player::new();
    let (supervisor, mut processes) = worker_processes(&[player.strings()]);
    supervisor.put(1, Wait::Forever).unwrap();
    processes[0].cannot_start(std::io::Error::other("no room for another"));
    drop(processes);
    assert_eq!(failure(&supervisor).to_string(), "stage \"stage 0\" failed in setup: no room for another");
}

#[test]
#[expect(clippy::zombie_processes, reason = "the process collects it")]
fn a_process_that_reads_nothing_holds_up_nobody() {
    let player = Player::new();
    let (supervisor, mut processes) = worker_processes(&[player.strings()]);
    let mut process = processes.remove(0);
    // Far more than a socket holds.
    process.set_init_payload(vec![0; 8 << 20]);
    let ends = process.open().unwrap();
    let child = Command::new("sleep").arg("1000").stdin(Stdio::from(ends.socket)).spawn().unwrap();
    let (pid, (sender, started)) = (child.id(), std::sync::mpsc::channel());
    let driver = std::thread::spawn(move || {
        sender.send(process.started(pid).is_ok()).unwrap();
        while process.watch(Reads::ALL).unwrap() != Watched::Exited {}
        process.ended(None)
    });
    let started = started.recv_timeout(WATCHDOG);
    supervisor.abort();
    if started.is_err() {
        // What holds it up is to go, so that the test ends.
        drop(Command::new("kill").args(["-9", &pid.to_string()]).status());
    }
    assert_eq!(driver.join().unwrap(), Then::Over { warning: None });
    assert_eq!(started, Ok(true));
}

#[test]
fn a_process_that_is_gone_before_it_is_looked_at_has_ended_all_the_same() {
    let player = Player::new();
    let (supervisor, mut processes) = worker_processes(&[player.strings()]);
    let mut process = processes.remove(0);
    open(&mut process);
    supervisor.put(1, Wait::Forever).unwrap();
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&mut process));
        player.next().kills(At::Run(1));
        assert!(matches!(watching.join().unwrap(), Then::Restart { .. }));
    });
    assert!(process.rest(Duration::ZERO).unwrap());
    let ends = process.open().unwrap();
    let mut gone = Command::new("true").stdin(Stdio::from(ends.socket)).spawn().unwrap();
    gone.wait().unwrap();
    process.started(gone.id()).unwrap();
    assert!(matches!(watch(&mut process), Then::Restart { .. }));
    supervisor.abort();
    drop(process);
    assert_eq!(supervisor.report().stages[0].restarts, 1);
}

#[test]
fn a_driver_that_gives_up_after_a_death_leaves_no_sample_without_a_fate() {
    let player = Player::new();
    let (supervisor, mut processes) = worker_processes(&[player.strings()]);
    let mut process = processes.remove(0);
    open(&mut process);
    supervisor.put(1, Wait::Forever).unwrap();
    let driver = std::thread::spawn(move || {
        while process.watch(Reads::ALL).unwrap() != Watched::Exited {}
        // As when its end cannot be dealt with.
        process.cannot_start(std::io::Error::other("the system is tired"));
    });
    player.next().at_tell(At::Run(1), Do::Abort);
    driver.join().unwrap();
    assert_eq!(failure(&supervisor).to_string(), "stage \"stage 0\" failed in stage_run: the system is tired");
    assert_eq!(supervisor.report().stages[0].counts.lost, 1);
}
