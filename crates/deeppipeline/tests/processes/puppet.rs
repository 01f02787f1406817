//! A stage in a process that asks its test what to do, call by call: whatever happens there happens by hand-shake.

use crate::alone;
use crate::line::{Desk, Line};
use crate::support::until;
use deeppipeline::pipeline::current_worker;
use deeppipeline::{BoxError, Give, Isolated, Stage};
use rustix::process::{Pid, Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where a puppet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum At {
    Setup,
    /// In `stage_run` with this sample; for a list, with the sum of it.
    Run(i64),
    /// About to give that part of a `Many`.
    Part(u64),
    Finish,
    Teardown,
}

/// What it is to do there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Do {
    /// What a stage does: give the sample, or the part.
    Go,
    Skip,
    /// Give 1 where the process was started again, otherwise 0.
    GiveRestarted,
    /// Give so many parts of x, 10·x + 1 and so on, asking before each, and once more behind the last.
    Many(u64),
    Fail(String),
    /// Fail, and die when it comes to say how.
    FailAndAbort,
    Panic(String),
    Abort,
    Exit(i32),
    /// End by this signal.
    Raise(i32),
    /// Never come back.
    Hang,
    /// Write this to stderr, and then do that.
    Write(String, Box<Do>),
    /// Start a process that inherits stderr, plays with these strings and is never waited for, and then do that.
    LeaveBehind(Strings, Box<Do>),
}

/// What a puppet is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Strings {
    desk: String,
    asks_in_setup: bool,
    asks_at_the_end: bool,
}

impl Strings {
    /// For a puppet that waits for the test in `stage_run` alone.
    pub(crate) fn to(desk: String) -> Self {
        Strings { desk, asks_in_setup: false, asks_at_the_end: false }
    }

    /// It waits for the test in `setup` too.
    pub(crate) fn asking_in_setup(self) -> Self {
        Strings { asks_in_setup: true, ..self }
    }

    /// It waits for the test in `finish` and `teardown` too.
    pub(crate) fn asking_at_the_end(self) -> Self {
        Strings { asks_at_the_end: true, ..self }
    }
}

/// Who plays the puppets of one stage, one process of it after the other.
pub(crate) struct Player(Desk);

impl Player {
    pub(crate) fn new() -> Self {
        Player(Desk::open())
    }

    /// For a puppet that waits for the test in `stage_run` alone.
    pub(crate) fn strings(&self) -> Strings {
        Strings::to(self.address())
    }

    /// Where its puppets call.
    pub(crate) fn address(&self) -> String {
        self.0.address()
    }

    /// Waits until the next process of the stage is in `setup`.
    pub(crate) fn next(&self) -> Hand {
        let mut line = self.0.next().unwrap();
        let pid = line.hear().unwrap();
        Hand { line, pid }
    }

    /// Whether another process of the stage has come as far as `setup`.
    pub(crate) fn has_next(&self) -> bool {
        self.0.next_within(Duration::ZERO).is_ok()
    }
}

/// The hand in one puppet.
pub(crate) struct Hand {
    line: Line,
    pid: i32,
}

impl Hand {
    /// Waits until it is somewhere, and says where.
    pub(crate) fn at(&mut self) -> At {
        self.line.hear().unwrap()
    }

    pub(crate) fn tell(&mut self, what: Do) {
        self.line.say(&what).unwrap();
    }

    /// Waits until it is there, and has it do that.
    pub(crate) fn at_tell(&mut self, at: At, what: Do) {
        assert_eq!(self.at(), at);
        self.tell(what);
    }

    /// Waits until it is there, and lets it go on.
    pub(crate) fn lets(&mut self, at: At) {
        self.at_tell(at, Do::Go);
    }

    /// Waits until it is there, and kills it.
    pub(crate) fn kills(&mut self, at: At) {
        assert_eq!(self.at(), at);
        self.kill();
    }

    /// Lets it go on with whatever it comes to, as long as it lives.
    pub(crate) fn lets_all(mut self) {
        while self.line.hear::<At>().is_ok() && self.line.say(&Do::Go).is_ok() {}
    }

    pub(crate) fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// It does nothing from now on, and does not know it.
    pub(crate) fn stop(&self) {
        self.send(Signal::STOP);
        until(|| alone::state_of(self.pid.unsigned_abs()) == Some('T'));
    }

    /// It goes on after that.
    pub(crate) fn go_on(&self) {
        self.send(Signal::CONT);
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid).unwrap(), signal).unwrap();
    }

    /// Waits until the process has come to its end, one way or another.
    pub(crate) fn wait_until_it_ends(&mut self) {
        let end = self.line.hear::<At>().unwrap_err();
        assert!(matches!(end.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset), "{end}");
    }

    /// Whether the process is gone, and nobody has to wait for it any longer.
    pub(crate) fn is_gone(&self) -> bool {
        !PathBuf::from(format!("/proc/{}", self.pid)).exists()
    }
}

/// A puppet that takes one sample at a time.
pub(crate) struct Puppet {
    strings: Strings,
    line: Option<Arc<Mutex<Line>>>,
}

impl Puppet {
    fn setup(&mut self) -> Result<(), BoxError> {
        let mut line = Line::to(&self.strings.desk)?;
        line.say(&getpid().as_raw_pid())?;
        self.line = Some(Arc::new(Mutex::new(line)));
        if self.strings.asks_in_setup {
            self.asks(At::Setup, 0)?;
        }
        Ok(())
    }

    fn asks(&self, at: At, x: i64) -> Result<Give<i64>, BoxError> {
        let line = Arc::clone(self.line.as_ref().ok_or("no setup")?);
        let what = ask(&line, at);
        does(&line, what, x)
    }

    fn asks_at_the_end(&self, at: At) -> Result<Give<i64>, BoxError> {
        match self.strings.asks_at_the_end {
            true => match self.asks(at, 0)? {
                Give::One(_) => Ok(Give::Skip),
                give => Ok(give),
            },
            false => Ok(Give::Skip),
        }
    }
}

fn ask(line: &Mutex<Line>, at: At) -> Do {
    let mut line = line.lock().unwrap();
    // A test that has failed has no more to say.
    line.say(&at).and_then(|()| line.hear()).unwrap_or(Do::Hang)
}

fn does(line: &Arc<Mutex<Line>>, what: Do, x: i64) -> Result<Give<i64>, BoxError> {
    match what {
        Do::Go => Ok(Give::One(x)),
        Do::Skip => Ok(Give::Skip),
        Do::GiveRestarted => Ok(Give::One(current_worker().is_some_and(|worker| worker.restarted()).into())),
        Do::Many(parts) => {
            let line = Arc::clone(line);
            let parts = (1..=parts + 1).map_while(move |part| {
                let what = ask(&line, At::Part(part));
                match does(&line, what, 10 * x + part as i64) {
                    Ok(Give::One(value)) if part <= parts => Some(value),
                    Ok(_) => None,
                    Err(problem) => panic!("{problem}"),
                }
            });
            Ok(Give::many(parts))
        }
        Do::Fail(text) => Err(text.into()),
        Do::FailAndAbort => Err(Box::new(Unspeakable)),
        Do::Panic(text) => {
            // Its test knows about it.
            std::panic::set_hook(Box::new(|_| {}));
            panic!("{text}")
        }
        Do::Abort => std::process::abort(),
        Do::Exit(code) => std::process::exit(code),
        Do::Raise(signal) => loop {
            // The runtime's own handler for SIGSEGV lets the first one pass.
            let signal = Signal::from_named_raw(signal).expect("a signal with a name");
            kill_process(getpid(), signal)?;
        },
        Do::Hang => loop {
            std::thread::park();
        },
        Do::Write(text, then) => {
            eprint!("{text}");
            does(line, *then, x)
        }
        Do::LeaveBehind(strings, then) => {
            let mut child = Command::new(std::env::current_exe()?);
            child.args(["--exact", "puppet::left_behind", "--nocapture", "--quiet"]);
            child.env(LEFT_BEHIND, strings.desk).stdout(Stdio::null()).spawn()?;
            does(line, *then, x)
        }
    }
}

/// An error that ends the process which tells it.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::process::abort()
    }
}

impl std::error::Error for Unspeakable {}

const LEFT_BEHIND: &str = "PROCESSES_LEFT_BEHIND";

/// What a puppet leaves behind: it waits for one word. As a test it has nothing to say.
#[test]
fn left_behind() {
    let Ok(desk) = std::env::var(LEFT_BEHIND) else { return };
    let mut line = Line::to(&desk).unwrap();
    line.say(&getpid().as_raw_pid()).unwrap();
    let _ = line.hear::<Do>();
    std::process::exit(0);
}

impl Stage for Puppet {
    type Input = i64;
    type Output = i64;

    fn setup(&mut self) -> Result<(), BoxError> {
        Puppet::setup(self)
    }

    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        self.asks(At::Run(x), x)
    }

    fn finish(&mut self) -> Result<Give<i64>, BoxError> {
        self.asks_at_the_end(At::Finish)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.asks_at_the_end(At::Teardown).map(drop)
    }
}

impl Isolated for Puppet {
    const NAME: &str = "puppet";
    type Settings = Strings;
    fn make(strings: Strings) -> Result<Self, BoxError> {
        Ok(Puppet { strings, line: None })
    }
}

/// A puppet that takes lists.
pub(crate) struct Puppets(Puppet);

impl Stage for Puppets {
    type Input = Vec<i64>;
    type Output = i64;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.0.setup()
    }

    fn stage_run(&mut self, list: Vec<i64>) -> Result<Give<i64>, BoxError> {
        Stage::stage_run(&mut self.0, list.iter().sum())
    }

    fn finish(&mut self) -> Result<Give<i64>, BoxError> {
        Stage::finish(&mut self.0)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        Stage::teardown(&mut self.0)
    }
}

impl Isolated for Puppets {
    const NAME: &str = "puppets";
    type Settings = Strings;
    fn make(strings: Strings) -> Result<Self, BoxError> {
        Puppet::make(strings).map(Puppets)
    }
}
