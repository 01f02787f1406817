//! Stages written in Rust, in a pipeline described in Python: they run on threads of the engine, without the GIL.

use crate::frame::Frame;
use crate::payload::{Payload, Value};
use deeppipeline::engine::{Body, Call, Closer, Done, Input, WindowStore};
use deeppipeline::{BoxError, Give, Source, Stage};
use deeppipeline_vision as vision;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::IntoRawFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A value that flows into and out of native stages.
trait Carried: Sized {
    const NAME: &str;
    fn unwrap(value: Value) -> Option<Self>;
    fn wrap(self) -> Value;
}

impl Carried for vision::Frame {
    const NAME: &str = "Frame";
    fn unwrap(value: Value) -> Option<Self> {
        if let Value::Frame(frame) = value { Some(frame) } else { None }
    }
    fn wrap(self) -> Value {
        Value::Frame(self)
    }
}

impl Carried for vision::Scene {
    const NAME: &str = "Scene";
    fn unwrap(value: Value) -> Option<Self> {
        if let Value::Scene(scene) = value { Some(scene) } else { None }
    }
    fn wrap(self) -> Value {
        Value::Scene(self)
    }
}

impl Carried for () {
    const NAME: &str = "nothing";
    fn unwrap(value: Value) -> Option<Self> {
        matches!(value, Value::Nothing).then_some(())
    }
    fn wrap(self) -> Value {
        Value::Nothing
    }
}

pub(crate) type AnyBody = Box<dyn Body<Payload> + Send>;

/// A native stage on its worker, and how it gets what it takes from what flows.
struct StageBody<S, F> {
    stage: S,
    input: F,
    takes: &'static str,
}

impl<S, F> Body<Payload> for StageBody<S, F>
where
    S: Stage<Output: Carried>,
    F: FnMut(Value) -> Option<S::Input>,
{
    fn call(&mut self, call: Call<Payload>) -> Done<Payload> {
        let result = match call {
            Call::Setup => self.stage.setup().map(|()| Give::Skip),
            Call::Teardown => self.stage.teardown().map(|()| Give::Skip),
            Call::Update(_) => Err("it is native, and has nothing to update".into()),
            Call::Prepare(_) => Err("it is native, and cannot be replaced".into()),
            Call::Exchange | Call::Discard => Ok(Give::Skip),
            Call::Finish => self.stage.finish(),
            Call::StageRun(Input::One(sample)) => match sample.value {
                Payload::Native(value) => match (self.input)(value) {
                    Some(x) => self.stage.stage_run(x),
                    None => Err(self.wrong_type()),
                },
                _ => Err(self.wrong_type()),
            },
            Call::StageRun(Input::List(_))
            | Call::RunAgain(_)
            | Call::RunAlone(..)
            | Call::SourceOpen
            | Call::SourceNext => Err(self.wrong_type()),
        };
        match result {
            Ok(Give::One(x)) => Done::Gave(Give::One(Payload::Native(x.wrap()))),
            Ok(Give::Skip) => Done::Gave(Give::Skip),
            Ok(Give::Many(values)) => Done::Gave(Give::Many(Box::new(values.map(|x| Payload::Native(x.wrap()))))),
            Err(cause) => Done::Failed(cause),
        }
    }
}

impl<S, F> StageBody<S, F> {
    fn wrong_type(&self) -> BoxError {
        format!("it takes one vision.{} at a time and got something else", self.takes).into()
    }
}

/// A native source on its worker.
struct CaptureBody(vision::Capture);

impl Body<Payload> for CaptureBody {
    fn call(&mut self, call: Call<Payload>) -> Done<Payload> {
        match call {
            Call::SourceNext => match self.0.source_next() {
                Ok(Some(frame)) => Done::Gave(Give::One(Payload::Native(Value::Frame(frame)))),
                Ok(None) => Done::Exhausted,
                Err(cause) => Done::Failed(cause),
            },
            Call::Setup
            | Call::SourceOpen
            | Call::StageRun(_)
            | Call::RunAgain(_)
            | Call::RunAlone(..)
            | Call::Finish
            | Call::Update(_)
            | Call::Prepare(_)
            | Call::Exchange
            | Call::Discard
            | Call::Teardown => Done::Gave(Give::Skip),
        }
    }
}

/// A native stage until its pipeline starts.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct NativeStage {
    body: Mutex<Option<AnyBody>>,
    /// The type it takes: "Frame" or "Scene".
    #[pyo3(get)]
    takes: &'static str,
    /// The type it gives: "Frame", "Scene", or "nothing" for an end stage.
    #[pyo3(get)]
    gives: &'static str,
}

impl NativeStage {
    fn new<S>(stage: S) -> Self
    where
        S: Stage<Input: Carried, Output: Carried> + Send,
    {
        Self::prepared(stage, |x: S::Input| x)
    }

    /// A stage that gets what flows in another form.
    fn prepared<S, T>(stage: S, mut prepare: impl FnMut(T) -> S::Input + Send + 'static) -> Self
    where
        S: Stage<Output: Carried> + Send,
        T: Carried + 'static,
    {
        let input = move |value| T::unwrap(value).map(&mut prepare);
        let body: AnyBody = Box::new(StageBody { stage, input, takes: T::NAME });
        NativeStage { body: Mutex::new(Some(body)), takes: T::NAME, gives: S::Output::NAME }
    }
}

#[pymethods]
impl NativeStage {
    /// Returns true if it has been part of a pipeline that was started.
    #[getter]
    fn used(&self) -> bool {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    #[staticmethod]
    fn detect_people(py: Python<'_>, model: PathBuf, runtime: &str, min_score: Option<f32>) -> PyResult<Self> {
        let stage = vision::DetectPeople::load_with(model, self::runtime(runtime)?);
        let stage = stage.map_err(|error| raise(py, "ModelError", &error))?;
        Ok(NativeStage::new(match min_score {
            Some(score) => stage.min_score(score),
            None => stage,
        }))
    }

    #[staticmethod]
    fn track() -> Self {
        NativeStage::new(vision::Track::new())
    }

    #[staticmethod]
    fn estimate_pose(py: Python<'_>, model: PathBuf, runtime: &str) -> PyResult<Self> {
        let stage = vision::EstimatePose::load_with(model, self::runtime(runtime)?);
        Ok(NativeStage::new(stage.map_err(|error| raise(py, "ModelError", &error))?))
    }

    #[staticmethod]
    fn classify_behaviour(py: Python<'_>, model: PathBuf, runtime: &str) -> PyResult<Self> {
        let stage = vision::ClassifyBehaviour::load_with(model, self::runtime(runtime)?);
        let stage = stage.map_err(|error| raise(py, "ModelError", &error))?;
        let mut windows = WindowStore::new(vision::ClassifyBehaviour::window());
        Ok(NativeStage::prepared(stage, move |scene| {
            let sights = vision::ClassifyBehaviour::sights(&scene);
            windows.windows(scene, sights)
        }))
    }

    #[staticmethod]
    fn record(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Ok(NativeStage::new(vision::Record::create(path).map_err(|error| raise(py, "OutputError", &error))?))
    }

    #[staticmethod]
    fn draw() -> Self {
        NativeStage::new(vision::Draw::new())
    }

    #[staticmethod]
    fn write_video(py: Python<'_>, path: PathBuf, frame_rate: Option<f64>) -> PyResult<Self> {
        let stage = vision::WriteVideo::create(path, frame_rate).map_err(|error| raise(py, "OutputError", &error))?;
        Ok(NativeStage::new(stage))
    }
}

/// An opened video, camera or stream: read frame by frame from Python, or handed to a pipeline as its source.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct NativeCapture {
    capture: Mutex<Option<vision::Capture>>,
    closer: Option<Closer>,
    /// Pixels from left to right.
    #[pyo3(get)]
    width: u32,
    /// Pixels from top to bottom.
    #[pyo3(get)]
    height: u32,
    /// Frames a second, if the input says so.
    #[pyo3(get)]
    frame_rate: Option<f64>,
    /// The approximate number of frames, if the input says so.
    #[pyo3(get)]
    frames: Option<u64>,
    /// True if frames come at their own pace: a camera or a network stream.
    #[pyo3(get)]
    is_live: bool,
}

impl NativeCapture {
    fn lock(&self) -> MutexGuard<'_, Option<vision::Capture>> {
        self.capture.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl NativeCapture {
    #[new]
    fn new(
        py: Python<'_>,
        input: OsString,
        format: Option<&str>,
        realtime: bool,
        limit: Option<u64>,
        open_timeout: f64,
        stall_after: f64,
    ) -> PyResult<Self> {
        let mut options = vision::Capture::options(input)
            .realtime(realtime)
            .open_timeout(seconds(open_timeout))
            .stall_after(seconds(stall_after));
        if let Some(format) = format {
            options = options.format(format);
        }
        if let Some(limit) = limit {
            options = options.limit(limit);
        }

        // Ctrl-C, and what else Python handles, is handled while it waits.
        let mut interrupted = None;
        let opened = py.detach(|| {
            options.open_while(|| match Python::attach(|py| py.check_signals()) {
                Ok(()) => true,
                Err(error) => {
                    interrupted = Some(error);
                    false
                }
            })
        });
        if let Some(error) = interrupted {
            return Err(error);
        }

        let capture = opened.map_err(|error| raise(py, "CaptureError", &error))?;
        Ok(NativeCapture {
            closer: capture.closer(),
            width: capture.width(),
            height: capture.height(),
            frame_rate: capture.frame_rate(),
            frames: capture.frames(),
            is_live: capture.is_live(),
            capture: Mutex::new(Some(capture)),
        })
    }

    /// The next frame; None at the end.
    fn next(&self, py: Python<'_>) -> PyResult<Option<Frame>> {
        let frame = py.detach(|| match self.lock().as_mut() {
            Some(capture) => capture.source_next(),
            None => Err("the capture has been handed to a pipeline".into()),
        });
        Ok(frame.map_err(|error| raise(py, "CaptureError", &*error))?.map(Frame::from))
    }

    /// Makes a waiting read return soon, and ends the video.
    fn close(&self) {
        if let Some(close) = &self.closer {
            close();
        }
    }

    /// Returns true if it has been part of a pipeline that was started.
    #[getter]
    fn used(&self) -> bool {
        self.lock().is_none()
    }

    /// The type it takes.
    #[getter]
    fn takes(&self) -> &'static str {
        <()>::NAME
    }

    /// The type it gives.
    #[getter]
    fn gives(&self) -> &'static str {
        vision::Frame::NAME
    }
}

/// A stage or source that runs in the engine instead of in Python.
#[derive(FromPyObject)]
pub(crate) enum Native {
    Stage(Py<NativeStage>),
    Capture(Py<NativeCapture>),
}

impl Native {
    /// Takes the body that its worker is to run, and the closer that wakes it if it is a source; once.
    pub(crate) fn take(&self, name: &str) -> PyResult<(AnyBody, Option<Closer>)> {
        let taken = match self {
            Native::Stage(stage) => {
                let body = stage.get().body.lock().unwrap_or_else(PoisonError::into_inner).take();
                body.map(|body| (body, None))
            }
            Native::Capture(capture) => capture.get().lock().take().map(|capture| {
                let closer = capture.closer();
                let body: AnyBody = Box::new(CaptureBody(capture));
                (body, closer)
            }),
        };
        taken.ok_or_else(|| PyValueError::new_err(format!("{name} has been part of a pipeline before: make a new one")))
    }
}

/// A number that has been checked to be one of seconds; more than fit are as good as for ever.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX)
}

/// The descriptor of a pipe that brings a line for everything that the video stages warn of, from the first call on.
/// Engine threads must not wait for the interpreter, so that they cannot log by themselves.
#[pyfunction]
pub(crate) fn vision_warnings() -> PyResult<i32> {
    let (lines, writer) = std::io::pipe()?;
    vision::on_warning(move |text| {
        // Nobody is left to read it while the interpreter shuts down.
        let _ = (&writer).write_all(format!("{text}\n").as_bytes());
    });
    Ok(lines.into_raw_fd())
}

fn runtime(name: &str) -> PyResult<vision::Runtime> {
    match name {
        "auto" => Ok(vision::Runtime::Auto),
        "onnxruntime" => Ok(vision::Runtime::OnnxRuntime),
        "pure_rust" => Ok(vision::Runtime::PureRust),
        other => Err(PyValueError::new_err(format!(
            "runtime is {other:?}, but must be one of \"auto\", \"onnxruntime\", \"pure_rust\""
        ))),
    }
}

/// The package's own exception for an error of the vision crate.
fn raise(py: Python<'_>, exception: &str, error: &(impl std::error::Error + ?Sized)) -> PyErr {
    let class = py.import("DeepPipeline.errors").and_then(|errors| errors.getattr(exception));
    match class.and_then(|class| class.call1((error.to_string(),))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(broken) => broken,
    }
}
