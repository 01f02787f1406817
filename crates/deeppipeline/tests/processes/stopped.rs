//! Workers that are stopped, by SIGSTOP as by a debugger: they are waited for, unless nobody could go on meanwhile.

use crate::alone::{children, is_alone, state_of};
use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{end, ended, isolated_stage, pipeline};
use deeppipeline::{Give, isolated};
use rustix::process::{Signal, getpid, kill_process};
use std::fmt;
use std::fs::{OpenOptions, read_dir, read_link};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Sends what is logged.
struct Log(Mutex<Sender<String>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let _ = self.0.lock().unwrap().send(message.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_stopped_worker_is_told_of_waited_for_and_goes_on() {
    // What is logged, the whole process logs.
    if !is_alone("stopped::a_stopped_worker_is_told_of_waited_for_and_goes_on") {
        return;
    }
    let (log, logged) = channel();
    tracing::subscriber::set_global_default(Log(Mutex::new(log))).unwrap();
    let wait_for = |text: &str| logged.iter().find(|line| line.contains(text)).unwrap();
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings()).name("held")).end_stage(end).start().unwrap();
    let mut hand = player.next();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    assert_eq!(hand.at(), At::Run(1));
    hand.stop();
    let told = wait_for("is stopped");
    assert!(
        told.contains("held") && told.contains("it has a sample in stage_run, and 1 wait in front of the stage"),
        "{told}"
    );
    hand.go_on();
    wait_for("goes on");
    hand.tell(Do::Go);
    hand.lets(At::Run(2));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [1, 2]);
    assert_eq!((report.stages[0].counts.lost, report.stages[0].restarts), (0, 0));
}

isolated_stage! {
    /// Stops in the middle of what it does at the buffer behind it, with its lock in the hands.
    pub(crate) StopsWithLock, "stops with lock": |x: i64| -> i64 {
        if x == 3 {
            let open = read_dir("/proc/self/fd")?.flatten().map(|entry| entry.path());
            let is_buffer = |path: &std::path::PathBuf| {
                read_link(path).is_ok_and(|target| target.to_string_lossy().contains("memfd:deeppipeline"))
            };
            let number = |path: &std::path::PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
            let behind = open.filter(is_buffer).max_by_key(number).ok_or("there is a buffer behind")?;
            let behind = OpenOptions::new().read(true).write(true).open(behind)?;
            let mut lock = [1; 4];
            while lock != [0; 4] {
                behind.read_exact_at(&mut lock, 0)?;
            }
            // The lock is in the hands of this worker now, the only one of the first stage.
            behind.write_all_at(&2_u32.to_le_bytes(), 0)?;
            kill_process(getpid(), Signal::STOP)?;
        }
        Ok(Give::One(x))
    }
}

#[test]
fn a_worker_stopped_with_the_lock_of_a_buffer_between_two_workers_is_started_again() {
    // It looks at the processes of its own.
    if !is_alone("stopped::a_worker_stopped_with_the_lock_of_a_buffer_between_two_workers_is_started_again") {
        return;
    }
    let (end, values) = end();
    let pipeline = pipeline()
        .stage(isolated::<StopsWithLock>(()))
        .stage(isolated::<crate::stages::Double>(()))
        .end_stage(end)
        .start()
        .unwrap();
    (1..=2).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    assert_eq!([values.next(), values.next()], [2, 4]);
    // A lock that the other worker takes just then would be written over: it has nothing to do any more.
    while children().into_iter().any(|worker| state_of(worker) != Some('S')) {
        std::thread::yield_now();
    }
    (3..=5).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    // Without a time-out.
    let report = ended(pipeline);
    assert_eq!(values.rest(), [8, 10]);
    assert_eq!((report.stages[0].counts.lost, report.stages[0].restarts), (1, 1));
    assert_eq!((report.stages[1].counts.lost, report.stages[1].restarts), (0, 0));
}

#[test]
fn a_time_out_ends_the_wait_for_a_stopped_worker() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .stage(isolated::<Puppet>(player.strings()).time_limit(std::time::Duration::from_secs(1)))
        .end_stage(end)
        .start()
        .unwrap();
    let mut hand = player.next();
    pipeline.put(1).unwrap();
    assert_eq!(hand.at(), At::Run(1));
    hand.stop();
    hand.wait_until_it_ends();
    let report = ended(pipeline);
    assert!(values.rest().is_empty());
    assert_eq!(report.stages[0].counts.lost, 1);
}

#[test]
fn abort_ends_a_stopped_worker() {
    let (player, (end, values)) = (Player::new(), end::<i64>());
    let pipeline = pipeline().stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    let mut hand = player.next();
    pipeline.put(1).unwrap();
    assert_eq!(hand.at(), At::Run(1));
    hand.stop();
    let report = pipeline.abort();
    assert!(report.left_behind.is_empty(), "{report:?}");
    assert!(values.rest().is_empty());
}
