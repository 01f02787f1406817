//! The signals that ask a program to stop, and the pipelines that they let drain.

use crate::buffer::Wait;
use crate::pipeline::Pipeline;
use crate::signals::is_ignored;
use crate::supervisor::Supervisor;
use crate::typed::Value;
use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::ffi::c_int;
use std::io;
use std::sync::{Arc, OnceLock, Weak};

/// A signal that asks a program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopSignal {
    /// SIGINT: Ctrl-C in a terminal.
    Interrupt,
    /// SIGTERM: `kill`, `timeout`, `docker stop`, and a service manager.
    Terminate,
    /// SIGHUP: the terminal was closed.
    HangUp,
}

impl StopSignal {
    const ALL: [StopSignal; 3] = [StopSignal::Interrupt, StopSignal::Terminate, StopSignal::HangUp];

    /// Returns the number of the signal.
    pub fn number(self) -> i32 {
        match self {
            StopSignal::Interrupt => SIGINT,
            StopSignal::Terminate => SIGTERM,
            StopSignal::HangUp => SIGHUP,
        }
    }

    /// Returns the exit code by which shells and service managers know that a program ended because of it: 128 and its
    /// number, that is 130, 143 or 129.
    pub fn exit_code(self) -> u8 {
        128 + self.number() as u8
    }
}

/// Tells whether the program was asked to stop; see [`Pipeline::on_stop_signals`].
#[derive(Debug, Clone)]
pub struct StopSignals {
    first: Arc<OnceLock<StopSignal>>,
}

impl StopSignals {
    /// Returns the first signal that has come since, if one has.
    pub fn received(&self) -> Option<StopSignal> {
        self.first.get().copied()
    }
}

impl<I, T> Pipeline<I, T> {
    /// Makes the first Ctrl-C, SIGTERM or SIGHUP from now on drain the pipeline, and a second one abort it. Each of
    /// several pipelines may ask for it. Once the pipelines have ended and what this returned for them is gone, such a
    /// signal ends the program, as it does without this. A signal that the program was started to ignore, as by
    /// `nohup`, stays ignored.
    ///
    /// It sets the process's handlers for the three signals, so it does not go with
    #[cfg_attr(feature = "ctrlc", doc = "[`on_ctrl_c`](Pipeline::on_ctrl_c).")]
    #[cfg_attr(not(feature = "ctrlc"), doc = "`on_ctrl_c`.")]
    ///
    /// ```no_run
    /// # use deeppipeline::Pipeline;
    /// use std::process::ExitCode;
    ///
    /// fn main() -> Result<ExitCode, deeppipeline::BoxError> {
    ///     # let camera = 1..;
    ///     let pipeline = Pipeline::builder().source(camera).end_stage(|frame: i32| println!("{frame}")).start()?;
    ///     let stop = pipeline.on_stop_signals()?;
    ///     println!("{}", pipeline.join()?);
    ///     Ok(stop.received().map_or(ExitCode::SUCCESS, |signal| signal.exit_code().into()))
    /// }
    /// ```
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn on_stop_signals(&self) -> io::Result<StopSignals> {
        let first = Arc::<OnceLock<StopSignal>>::default();
        let asked = Asked { pipeline: Arc::downgrade(self.supervisor()), first: Arc::clone(&first) };
        let mut listening = LISTENING.lock();
        let pipelines = match &mut *listening {
            Some(pipelines) => pipelines,
            none => {
                listen()?;
                none.insert(Vec::new())
            }
        };
        pipelines.push(asked);
        Ok(StopSignals { first })
    }
}

/// The pipelines that are told of a signal, once there is a listener.
static LISTENING: Mutex<Option<Vec<Asked>>> = Mutex::new(None);

/// A pipeline that is to drain.
#[derive(Clone)]
struct Asked {
    pipeline: Weak<Supervisor<Value>>,
    first: Arc<OnceLock<StopSignal>>,
}

impl Asked {
    fn running(&self) -> Option<Arc<Supervisor<Value>>> {
        self.pipeline.upgrade().filter(|pipeline| !pipeline.wait_ended(Wait::No))
    }

    /// Returns true if the pipeline runs, or its caller wants to know of signals.
    fn is_there(&self) -> bool {
        self.running().is_some() || Arc::strong_count(&self.first) > 1
    }

    /// Takes in a signal. Returns false for a second one where there is nothing left to abort: it is to end the
    /// program.
    fn hear(&self, signal: StopSignal) -> bool {
        let again = self.first.set(signal).is_err();
        match self.running() {
            Some(pipeline) if again => pipeline.abort(),
            Some(pipeline) => pipeline.close(),
            None => return !again,
        }
        true
    }
}

fn listen() -> io::Result<()> {
    let signals = StopSignal::ALL.map(StopSignal::number);
    let mut signals = Signals::new(signals.into_iter().filter(|signal| !is_ignored(*signal)))?;
    let listener = move || signals.forever().for_each(hear);
    std::thread::Builder::new().name("signals".to_owned()).spawn(listener).map(drop)
}

fn hear(number: c_int) {
    let Some(signal) = StopSignal::ALL.into_iter().find(|signal| signal.number() == number) else { return };
    let asked = {
        let mut listening = LISTENING.lock();
        let asked = listening.get_or_insert_default();
        asked.retain(Asked::is_there);
        asked.clone()
    };
    // All of them, and not only up to the first.
    let heard = asked.iter().filter(|asked| asked.hear(signal)).count();
    if heard == 0 {
        // It fails only for signals that do not exist.
        let _ = emulate_default_handler(number);
    }
}
