//! Rust stages in processes of their own: what they are, and how the same program becomes their worker.

mod types;

use self::types::Types;
use crate::aside;
use crate::buffer::shared::Codec;
#[cfg(feature = "dead-letters")]
use crate::dead_letters::LetterType;
use crate::error::{GraphError, StartError};
use crate::executor::process::{Bootstrap, Console, Lifeline, Reads, Then, Watched, WorkerProcess, Written};
use crate::executor::{BodyFactory, thread};
use crate::gives::Onward;
use crate::seat::FromBytes;
use crate::stage::Stage;
use crate::transfer::{Transfer, Typed};
use crate::typed::{EachResult, ListOf, OfKey, OfKeys, OneOf, OneResult, Returns, StageBody, Unpack, Value};
use crate::unwind::BoxError;
use crate::window::{Window, Windows};
use crate::wire::{self, WireError, to_readable_bytes};
use parking_lot::Mutex;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, getppid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::hash::Hash;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Tells a worker process whose it is: the number of the process that started it.
const VARIABLE: &str = "DEEPPIPELINE_WORKER";

/// A stage that can run in a process of its own: it is made there, by name, from settings.
///
/// ```
/// use deeppipeline::{BoxError, Give, Isolated, Pipeline, Stage, isolated};
///
/// struct Scale(f32);
///
/// impl Stage for Scale {
///     type Input = f32;
///     type Output = f32;
///     fn stage_run(&mut self, x: f32) -> Result<Give<f32>, BoxError> {
///         Ok(Give::One(self.0 * x))
///     }
/// }
///
/// impl Isolated for Scale {
///     const NAME: &str = "scale";
///     type Settings = f32;
///     fn make(factor: f32) -> Result<Self, BoxError> {
///         Ok(Scale(factor))
///     }
/// }
///
/// fn main() -> Result<(), BoxError> {
///     // First of all: where this program was started as a worker, it works here, and never comes back.
///     deeppipeline::worker().stage::<Scale>().run();
///
///     let pipeline = Pipeline::builder()
///         .stage(isolated::<Scale>(10.0))
///         .end_stage(|x: f32| println!("{x}"))
///         .start()?;
///     pipeline.put(4.2)?;
///     pipeline.setstop()?;
///     Ok(())
/// }
/// ```
pub trait Isolated: Stage {
    /// The name under which [`worker`] finds it: no other stage's, and another for each type of a generic stage.
    const NAME: &str;

    /// The settings from which it is made. They cross to the stage's process as [`Transfer`] says.
    type Settings: Serialize + DeserializeOwned;

    /// Makes the stage, in its own process.
    ///
    /// # Errors
    /// An error here is an error of the stage's `setup`.
    fn make(settings: Self::Settings) -> Result<Self, BoxError>
    where
        Self: Sized;

    /// Takes new settings while the pipeline runs, between two samples, as
    /// [`Pipeline::update_settings`](crate::Pipeline::update_settings) gives them. A stage without one refuses them.
    ///
    /// # Errors
    /// An error here is the caller's; the stage goes on.
    fn update(&mut self, settings: Self::Settings) -> Result<(), BoxError> {
        drop(settings);
        Err(format!("the isolated stage {:?} has no update", Self::NAME).into())
    }
}

/// An isolated stage that keeps a window for each of many keys in one sample: its intake is a [`Window`]. Its worker
/// names the keys, and keeps the windows, which start empty after a crash.
///
/// ```
/// use deeppipeline::intake::Windows;
/// use deeppipeline::processes::IsolatedWindows;
/// use deeppipeline::{BoxError, Give, Isolated, Pipeline, Stage, Window, isolated};
///
/// // Where each person is in a picture.
/// type People = Vec<(u32, f64)>;
///
/// struct Moved;
///
/// impl Stage for Moved {
///     type Input = Windows<People, u32, f64>;
///     type Output = People;
///     fn stage_run(&mut self, seen: Self::Input) -> Result<Give<People>, BoxError> {
///         Ok(Give::One(seen.iter().map(|(person, last)| (*person, last[1] - last[0])).collect()))
///     }
/// }
///
/// impl Isolated for Moved {
///     const NAME: &str = "moved";
///     type Settings = ();
///     fn make((): ()) -> Result<Self, BoxError> {
///         Ok(Moved)
///     }
/// }
///
/// impl IsolatedWindows for Moved {
///     type Sample = People;
///     type Key = u32;
///     type Item = f64;
///     fn keys(people: &People) -> Vec<(u32, f64)> {
///         people.clone()
///     }
/// }
///
/// fn main() -> Result<(), BoxError> {
///     deeppipeline::worker().stage_windows::<Moved>().run();
///
///     let pipeline = Pipeline::builder()
///         .stage(isolated::<Moved>(()).intake(Window::new(2).idle(30)))
///         .end_stage(|moved: People| println!("{moved:?}"))
///         .start()?;
///     pipeline.put(vec![(1, 0.5), (2, 7.0)])?;
///     pipeline.put(vec![(2, 7.5)])?;
///     pipeline.setstop()?;
///     Ok(())
/// }
/// ```
pub trait IsolatedWindows:
    Isolated<
    Input = Windows<<Self as IsolatedWindows>::Sample, <Self as IsolatedWindows>::Key, <Self as IsolatedWindows>::Item>,
>
{
    /// The samples that flow.
    type Sample: Transfer;
    /// The key for which there is a window.
    type Key: Hash + Eq + Clone + Send + 'static;
    /// An item in a window.
    type Item: Clone + Send + 'static;

    /// Returns the keys in a sample, with an item for each.
    fn keys(sample: &Self::Sample) -> Vec<(Self::Key, Self::Item)>;
}

/// Begins to say which stages this program can run as a worker: the first line of `main`. See [`Isolated`].
pub fn worker() -> Workers {
    Workers { known: Vec::new(), problem: None }
}

/// The isolated stages that a program knows.
#[must_use = "nothing happens before `run`"]
pub struct Workers {
    known: Vec<Known>,
    problem: Option<GraphError>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.known.iter().map(|known| known.name)).finish()
    }
}

struct Known {
    name: &'static str,
    types: Types,
    input: Arc<dyn Codec<Value>>,
    output: Arc<dyn Codec<Value>>,
    body: MakeBody,
}

/// Makes the body of a stage from its settings, if the stage takes such.
type MakeBody = fn(WorkerTakes, Vec<u8>) -> Option<BodyFactory<Value>>;

/// The intake of an isolated stage.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum WorkerTakes {
    /// One sample at a time.
    One,
    /// Lists of samples, with one result for each list.
    Lists,
    /// Lists of samples, with a result for each sample.
    Batches,
    /// Windows of one sample each.
    Window(Window),
    /// Windows of the many keys of a sample.
    Windows(Window),
}

impl WorkerTakes {
    /// Returns the method by which the program says so.
    fn method(self) -> &'static str {
        match self {
            WorkerTakes::One => "stage",
            WorkerTakes::Lists => "stage_all",
            WorkerTakes::Batches => "stage_batch",
            WorkerTakes::Window(_) => "stage_window",
            WorkerTakes::Windows(_) => "stage_windows",
        }
    }
}

impl Workers {
    /// Knows a stage that takes one sample at a time.
    pub fn stage<S>(self) -> Self
    where
        S: Isolated<Input: Transfer, Output: Transfer>,
    {
        self.knows::<S, S::Input, S::Output>(|takes, settings| match takes {
            WorkerTakes::One => Some(body::<S, _, OneResult>(settings, OneOf::new)),
            _ => None,
        })
    }

    /// Knows a stage that takes lists and gives one result for each list: its intake is
    /// [`All`](crate::All), or a [`Batch`](crate::Batch) that [folds](crate::Batch::fold).
    pub fn stage_all<S, T>(self) -> Self
    where
        S: Isolated<Input = Vec<T>, Output: Transfer>,
        T: Transfer,
    {
        self.knows::<S, T, S::Output>(|takes, settings| match takes {
            WorkerTakes::Lists => Some(body::<S, _, OneResult>(settings, ListOf::<T>::new)),
            _ => None,
        })
    }

    /// Knows a stage that takes lists of `T` and gives a list with a result for each sample, of which a `V` goes on to the
    /// next stage: its intake is [`Batch`](crate::Batch). What `M` is, the compiler finds out:
    /// `stage_batch::<Detect, Frame, Boxes, _>()`. At the end `V` is `()`.
    pub fn stage_batch<S, T, V, M>(self) -> Self
    where
        S: Isolated<Input = Vec<T>>,
        T: Transfer,
        V: Transfer,
        EachResult<Onward<V>, M>: Returns<S::Output>,
    {
        self.knows::<S, T, V>(|takes, settings| match takes {
            WorkerTakes::Batches => Some(body::<S, _, EachResult<Onward<V>, M>>(settings, ListOf::<T>::new)),
            _ => None,
        })
    }

    /// Knows a stage that takes a list of the last samples.
    pub fn stage_window<S, T>(self) -> Self
    where
        S: Isolated<Input = Vec<T>, Output: Transfer>,
        T: Transfer + Clone,
    {
        self.knows::<S, T, S::Output>(|takes, settings| match takes {
            WorkerTakes::Window(window) => {
                Some(body::<S, _, OneResult>(settings, move || OfKey::new(window, |_: &T| ())))
            }
            _ => None,
        })
    }

    /// Knows a stage that keeps a window for each of many keys in one sample.
    pub fn stage_windows<S>(self) -> Self
    where
        S: IsolatedWindows<Output: Transfer>,
    {
        self.knows::<S, S::Sample, S::Output>(|takes, settings| match takes {
            WorkerTakes::Windows(window) => {
                Some(body::<S, _, OneResult>(settings, move || OfKeys::new(window, S::keys)))
            }
            _ => None,
        })
    }

    fn knows<S, T, V>(mut self, body: MakeBody) -> Self
    where
        S: Isolated,
        T: Transfer,
        V: Transfer,
    {
        let (input, output) = (Arc::new(Typed::<T>::new()), Arc::new(Typed::<V>::new()));
        let types = Types::of::<S, V>();
        if let Some(other) = self.known.iter().find(|known| known.name == S::NAME && known.types != types) {
            let (first, second) = (other.types.stage.clone(), types.stage.clone());
            self.problem.get_or_insert(GraphError::SameIsolatedName { name: S::NAME.to_owned(), first, second });
        }
        self.known.push(Known { name: S::NAME, types, input, output, body });
        self
    }

    /// Works until the pipeline ends, and then ends the process, where this program was started as a worker. Otherwise
    /// it returns at once. Where two stages have the same name, no pipeline with isolated stages starts.
    pub fn run(mut self) {
        if let Some(problem) = self.problem.take() {
            // Main may say so more than once: what was wrong first is wrong.
            let _ = PROBLEM.set(problem);
        }
        let Some(pipeline) = pipeline_of_this_worker() else { return };
        WORKING.store(true, Ordering::Relaxed);
        let agreed = |bootstrap| PROBLEM.get().map_or(Ok(bootstrap), |problem| Err(io::Error::other(problem.clone())));
        let worked = become_worker(pipeline).and_then(agreed).and_then(|bootstrap| self.work(bootstrap));
        std::process::exit(match worked {
            Ok(()) => 0,
            Err(problem) => {
                eprintln!("this worker cannot begin: {problem}");
                1
            }
        });
    }

    fn work(self, bootstrap: Bootstrap) -> io::Result<()> {
        let InitPayload { name, types, takes, settings } =
            postcard::from_bytes(bootstrap.init_payload()).map_err(io::Error::other)?;
        let settings = bootstrap.replaced().map_or(settings, <[u8]>::to_vec);
        let make = |known: &Known| {
            Some((Arc::clone(&known.input), Arc::clone(&known.output), (known.body)(takes, settings.clone())?))
        };

        // A stage of that name with other types would read bytes as what they are not.
        if let Some(other) = self.known.iter().find(|known| known.name == name && known.types != types) {
            return Err(io::Error::other(format!(
                "{name:?} is another stage for the pipeline than for the worker: there {types}; here {}: give each a NAME \
                 of its own",
                other.types
            )));
        }
        let of_that_name = self.known.iter().filter(|known| known.name == name);
        let Some((input, output, body)) = of_that_name.filter_map(make).next() else {
            let names: Vec<&str> = self.known.iter().map(|known| known.name).collect();
            return Err(io::Error::other(format!(
                "{name:?} is not among the isolated stages that main begins with, {names:?}: \
                 add it to deeppipeline::worker() with .{}",
                takes.method()
            )));
        };

        let (worker, _) = bootstrap.begin(input, output, |_| Vec::new())?;
        // On a thread, since the stack of this one is of a size that can no longer be chosen.
        let worked =
            thread::spawn_in_process(worker, body)?.join().map_err(|_| io::Error::other("its thread panicked"));
        aside::flush();
        worked
    }
}

/// The pipeline's process, where this one has been started as a worker. A process that a worker starts is none: its
/// parent is another, and the worker has put its socket away.
fn pipeline_of_this_worker() -> Option<u32> {
    let pipeline = std::env::var(VARIABLE).ok()?.parse::<i32>().ok()?;
    let parent = getppid().map(Pid::as_raw_pid);
    // The pipeline's process may have ended already. A worker that comes too late must not take itself for the program.
    let is_worker = parent == Some(pipeline) || maker_of_stdin() == Some(pipeline);
    is_worker.then(|| pipeline.unsigned_abs())
}

/// The process that has made the socket which is stdin here, if it is one.
fn maker_of_stdin() -> Option<i32> {
    socket_peercred(rustix::stdio::stdin()).ok().map(|maker| maker.pid.as_raw_pid())
}

/// The problem with the stages that main has named.
static PROBLEM: OnceLock<GraphError> = OnceLock::new();

/// True once this process works as a worker.
static WORKING: AtomicBool = AtomicBool::new(false);

/// Takes the socket out of stdin, where it came in, and learns who this process is.
fn become_worker(pipeline: u32) -> io::Result<Bootstrap> {
    crate::signals::leave_to_the_program()?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Lifeline::hold(socket, pipeline)?.listen()
}

/// The message from which the worker's program knows which stage it is to make.
#[derive(Serialize, Deserialize)]
struct InitPayload {
    name: String,
    types: Types,
    takes: WorkerTakes,
    settings: Vec<u8>,
}

/// The part of a stage that is to run in a process which the builder keeps.
pub struct IsolatedStage {
    pub(crate) init_payload: Vec<u8>,
    pub(crate) input: Arc<dyn Codec<Value>>,
    pub(crate) output: Arc<dyn Codec<Value>>,
    /// The types of what it gets and gives, as dead letters have them.
    #[cfg(feature = "dead-letters")]
    pub(crate) letters: [LetterType; 2],
}

impl fmt::Debug for IsolatedStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsolatedStage").finish_non_exhaustive()
    }
}

impl IsolatedStage {
    pub(crate) fn new<S, T, V>(settings: &[u8], takes: WorkerTakes) -> Result<Self, WireError>
    where
        S: Isolated,
        T: Transfer,
        V: Transfer,
    {
        let payload =
            InitPayload { name: S::NAME.to_owned(), types: Types::of::<S, V>(), takes, settings: settings.to_vec() };
        Ok(IsolatedStage {
            init_payload: to_readable_bytes(&payload)?,
            input: Arc::new(Typed::<T>::new()),
            output: Arc::new(Typed::<V>::new()),
            #[cfg(feature = "dead-letters")]
            letters: [LetterType::of::<T>(), LetterType::of::<V>()],
        })
    }
}

/// The stage at work, made from its settings by the worker.
pub(crate) fn body<S, U, R>(settings: Vec<u8>, unpack: impl FnOnce() -> U + Send + 'static) -> BodyFactory<Value>
where
    S: Isolated,
    U: Unpack<S::Input>,
    R: Returns<S::Output>,
{
    Box::new(move || {
        let make = move || S::make(wire::read(&settings)?);
        let from_bytes = FromBytes {
            make: |bytes| S::make(wire::read(bytes)?),
            update: |stage: &mut S, bytes| stage.update(wire::read(bytes)?),
        };
        Box::new(StageBody::<S, U, R>::new(make, unpack()).reading(from_bytes))
    })
}

/// Starts the processes of one stage, one after the other, and watches over them until the stage has ended.
pub(crate) fn drive(mut process: WorkerProcess<Value>, arguments: &[OsString]) {
    loop {
        let started = start(&mut process, arguments)
            .map_err(|cause| io::Error::new(cause.kind(), format!("its process cannot be started: {cause}")));
        let ended = started.and_then(|pid| watch(&mut process, pid));
        match ended.map(|()| process.ended(None)) {
            Err(cause) => return process.cannot_start(cause),
            Ok(Then::Over { .. }) => return,
            Ok(Then::Restart { pause, .. }) => match process.rest(pause) {
                Ok(true) => {}
                Ok(false) => return,
                Err(cause) => return process.cannot_start(cause),
            },
        }
    }
}

/// Gives the number of the new process.
fn start(process: &mut WorkerProcess<Value>, arguments: &[OsString]) -> io::Result<u32> {
    let ends = process.open()?;
    // The program as it runs now, even if its file has been replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).env(VARIABLE, std::process::id().to_string());
    command.stdin(Stdio::from(ends.socket)).stderr(Stdio::from(ends.stderr));
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    let pid = command.spawn()?.id();
    process.started(pid)?;
    Ok(pid)
}

fn watch(process: &mut WorkerProcess<Value>, pid: u32) -> io::Result<()> {
    loop {
        // A worker that writes faster than its lines are read waits, but not for a reader that has stopped.
        match process.watch(Reads { stderr: aside::has_room(), words: true })? {
            Watched::Wrote(written) => show(pid, process.name(), written),
            Watched::LaterFailure(cause) => {
                let stage = process.name().to_owned();
                aside::log(move || {
                    tracing::error!(stage, "failed too, after the failure that stopped the pipeline: {cause}");
                });
            }
            Watched::Told(what) => {
                let stage = process.name().to_owned();
                aside::log(move || tracing::warn!(stage, "{what}"));
            }
            Watched::Note(_) | Watched::Nothing => {}
            Watched::Exited => return Ok(()),
        }
    }
}

/// Puts what a worker wrote to stderr there, aside.
fn show(pid: u32, stage: &str, written: Written) {
    static CONSOLE: Mutex<Console> = Mutex::new(Console::new());
    let stage = stage.to_owned();
    aside::say(written.text.len() + stage.len(), move || {
        let text = CONSOLE.lock().shows(pid, &stage, &written);
        // There may be no reader.
        let _ = io::stderr().write_all(text.as_bytes());
    });
}

/// Refuses to start processes from a worker that went past the line in which it should have begun to work: each would
/// start as many again. And from a program whose workers would not know which stage is meant.
pub(crate) fn check_that_main_begins_with_worker() -> Result<(), StartError> {
    match PROBLEM.get() {
        Some(problem) => Err(problem.clone().into()),
        None if pipeline_of_this_worker().is_some() && !WORKING.load(Ordering::Relaxed) => {
            Err(StartError::StartedInsideWorker)
        }
        None => Ok(()),
    }
}
