//! The web service under load while its workers are killed: every request is answered, and rightly.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

const CLIENTS: usize = 20;
const REQUESTS: i32 = 10_000;
/// Every so many answers the worker that has given the last of them is killed.
const KILL_EVERY: i32 = 500;
/// What the first buffer holds.
const BUFFER: usize = 16;
/// More requests than the service has room for.
const TOO_MANY: i32 = 64;

/// The time after which a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What has become of the requests so far.
#[derive(Debug, Default)]
struct Load {
    answered: i32,
    refused: usize,
    killed: i32,
}

/// The service, in a process of its own.
struct Service {
    process: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

impl Service {
    fn start() -> Service {
        let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
        let mut process = command.arg("0").stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut service = Service { process, stdout, address: String::new() };
        service.address = service.line().strip_prefix("listening on ").unwrap().to_owned();
        service
    }

    /// Returns the next line that it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    fn workers(&self) -> Vec<Pid> {
        let numbers = std::fs::read_dir("/proc").unwrap().flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter(|pid| parent(*pid) == Some(self.process.id())).filter_map(Pid::from_raw).collect()
    }

    fn signal_workers(&self, signal: Signal) {
        self.workers().into_iter().for_each(|worker| kill_process(worker, signal).unwrap());
    }

    /// Stops the workers where they are: what is inside from now on stays there until they are thawed.
    fn freeze(&self) {
        let workers = self.workers();
        assert_eq!(workers.len(), 2);
        self.signal_workers(Signal::STOP);
        // Each of their threads stops only when it has been woken to learn of it.
        while !workers.iter().all(|worker| is_stopped(*worker)) {
            thread::yield_now();
        }
    }

    fn thaw(&self) {
        self.signal_workers(Signal::CONT);
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
    }

    /// Waits for its end, of which it has been told.
    fn has_ended_well(mut self) {
        assert_eq!(self.line(), "stopping");
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            self.signal_workers(Signal::KILL);
            self.process.kill().unwrap();
            self.process.wait().unwrap();
        }
    }
}

/// Returns the parent of a process, if that is still there.
fn parent(pid: i32) -> Option<u32> {
    field(&format!("/proc/{pid}/stat"), 1)?.parse().ok()
}

fn is_stopped(process: Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut states = threads.map(|thread| field(&format!("{}/stat", thread.unwrap().path().display()), 0).unwrap());
    states.all(|state| state == "T")
}

/// Returns a field of what the system says about a process or a thread, counted behind its name.
fn field(stat: &str, index: usize) -> Option<String> {
    let stat = std::fs::read_to_string(stat).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(index).map(str::to_owned)
}

/// A client that keeps its connection.
struct Client {
    stream: BufReader<TcpStream>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Client {
    fn send(&mut self, path: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body })
    }

    fn send_square(&mut self, x: i32) {
        self.send(&format!("/square/{x}")).unwrap();
    }

    fn ask(&mut self, x: i32) -> Answer {
        self.send_square(x);
        self.receive().unwrap()
    }

    fn ask_until_there_is_room(&mut self, x: i32) -> Answer {
        std::iter::repeat_with(|| self.ask(x)).find(|answer| answer.status != 503).unwrap()
    }

    /// Returns once the service has read whatever was sent before, by anyone: its event loop has been round since.
    fn sees_that_all_is_read(&mut self) {
        for _ in 0..2 {
            self.send("/nothing").unwrap();
            assert_eq!(self.receive().unwrap().status, 404);
        }
    }
}

impl Answer {
    /// Returns the number of the worker, where this is the right answer.
    fn worker_if_right(&self, x: i32) -> Pid {
        assert_eq!(self.status, 200, "{x}: {}", String::from_utf8_lossy(&self.body));
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!((&body["x"], &body["square"]), (&Value::from(x), &Value::from(x * x)));
        Pid::from_raw(body["worker"].as_i64().unwrap().try_into().unwrap()).unwrap()
    }

    fn detail(&self) -> String {
        serde_json::from_slice::<Value>(&self.body).unwrap()["detail"].as_str().unwrap().to_owned()
    }
}

#[test]
fn every_request_is_answered_rightly_while_workers_are_killed() {
    let service = Service::start();
    let (numbers, load, has_room) = (Mutex::new(0..REQUESTS), Mutex::new(Load::default()), Condvar::new());
    thread::scope(|scope| {
        let one_client = || {
            let mut client = service.client();
            loop {
                let Some(x) = numbers.lock().unwrap().next() else { return };
                // One that is refused comes again once another has been answered.
                let worker = loop {
                    let before = load.lock().unwrap().answered;
                    let answer = client.ask(x);
                    if answer.status != 503 {
                        break answer.worker_if_right(x);
                    }
                    let mut load = load.lock().unwrap();
                    load.refused += 1;
                    drop(has_room.wait_timeout_while(load, PATIENCE, |load| load.answered == before).unwrap());
                };

                // The worker may have been killed since, where this thread was slow: then the next is.
                let mut load = load.lock().unwrap();
                load.answered += 1;
                if load.answered >= (load.killed + 1) * KILL_EVERY && kill_process(worker, Signal::KILL).is_ok() {
                    load.killed += 1;
                }
                has_room.notify_all();
            }
        };
        (0..CLIENTS).for_each(|_| _ = scope.spawn(one_client));
    });
    let load = load.into_inner().unwrap();
    println!("{load:?}");
    assert_eq!(load.answered, REQUESTS);
    assert!(load.killed >= REQUESTS / KILL_EVERY - 1);
    service.terminate();
    service.has_ended_well();
}

#[test]
fn a_request_that_finds_no_room_is_told_to_come_again() {
    let service = Service::start();
    service.freeze();
    let (told, answers) = mpsc::channel();
    thread::scope(|scope| {
        for x in 1..=TOO_MANY {
            let (told, mut client) = (told.clone(), service.client());
            scope.spawn(move || told.send((x, client.ask(x))).unwrap());
        }
        drop(told);
        let (_, first) = answers.recv().unwrap();
        assert_eq!((first.status, first.detail().contains("full")), (503, true), "{}", first.detail());
        assert!(first.head.contains("\r\nretry-after: 1\r\n"), "{}", first.head);

        service.thaw();
        let (found, busy): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| answer.status == 200);
        found.iter().for_each(|(x, answer)| _ = answer.worker_if_right(*x));
        assert!(found.len() >= BUFFER && busy.iter().all(|(_, answer)| answer.status == 503));
    });
    service.terminate();
    service.has_ended_well();
}

#[test]
fn clients_that_go_away_give_back_their_room() {
    let service = Service::start();
    service.freeze();
    let (told, answers) = mpsc::channel();
    let streams: Vec<_> = (1..=TOO_MANY)
        .map(|x| {
            let (told, mut client) = (told.clone(), service.client());
            let stream = client.stream.get_ref().try_clone().unwrap();
            client.send_square(x);
            thread::spawn(move || told.send(client.receive().map(|answer| answer.status)));
            stream
        })
        .collect();
    drop(told);
    assert_eq!(answers.recv().unwrap().unwrap(), 503);
    streams.iter().for_each(|stream| _ = stream.shutdown(Shutdown::Both));
    assert!(answers.iter().all(|answer| answer.is_err() || answer.unwrap() == 503));

    let mut client = service.client();
    client.sees_that_all_is_read();
    service.thaw();
    client.ask_until_there_is_room(7).worker_if_right(7);
    service.terminate();
    service.has_ended_well();
}

#[test]
fn what_is_inside_when_sigterm_comes_is_answered() {
    let mut service = Service::start();
    service.freeze();
    let mut clients: Vec<(i32, Client)> = (1..=10).map(|x| (x, service.client())).collect();
    clients.iter_mut().for_each(|(x, client)| client.send_square(*x));
    service.client().sees_that_all_is_read();

    service.terminate();
    assert_eq!(service.line(), "stopping");
    service.thaw();
    for (x, client) in &mut clients {
        client.receive().unwrap().worker_if_right(*x);
        assert!(client.receive().is_err(), "the connection is closed");
    }
    assert_eq!(service.process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_request_that_takes_too_long_is_not_waited_for() {
    let service = Service::start();
    service.freeze();
    let mut client = service.client();
    let late = client.ask(3);
    assert_eq!((late.status, late.detail().as_str()), (504, "the request took too long"));
    service.thaw();
    client.ask(4).worker_if_right(4);
    service.terminate();
    service.has_ended_well();
}

#[test]
fn a_client_that_has_sent_half_a_request_does_not_hold_up_the_end() {
    let service = Service::start();
    let mut client = service.client();
    client.stream.get_mut().write_all(b"GET /squ").unwrap();
    service.client().sees_that_all_is_read();
    service.terminate();
    service.has_ended_well();
}
