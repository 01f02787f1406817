//! ONNX models, run by whatever runtime is there.
//!
//! Two flavours sit behind [`Model`]. ONNX Runtime is the faster one (2 to 4 times on one thread) and is used when its
//! library is found; nothing is linked. The pure-Rust flavour is [tract](https://github.com/sonos/tract), so that cargo
//! alone is enough: it reads `.onnx` directly, is faster than rten with one thread on the larger of the shipped models
//! (37.7 against 46.6 ms) and builds with this workspace's Rust version, which rten 0.27 does not.
//! Both agree with the reference outputs in `models/reference`. Each model computes on the thread that calls it.

#[cfg(not(any(feature = "onnxruntime", feature = "pure-rust")))]
compile_error!("deeppipeline-vision needs a runtime for models: turn on the feature `onnxruntime` or `pure-rust`");

#[cfg(feature = "onnxruntime")]
mod onnxruntime;
#[cfg(feature = "pure-rust")]
mod pure_rust;

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The runtime of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Runtime {
    /// ONNX Runtime where its library is found, the pure-Rust runtime otherwise.
    #[default]
    Auto,
    /// ONNX Runtime, or an error if its library is not found.
    OnnxRuntime,
    /// The runtime that cargo builds.
    PureRust,
}

/// The reason why a model cannot be loaded or run.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file cannot be read.
    #[error("cannot read model {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: std::io::Error,
    },
    /// The file is not a model, or not a whole one.
    #[error("model {path} is broken or not an ONNX file: {reason}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// The message of the runtime.
        reason: String,
    },
    /// The runtime that was asked for is not there.
    #[error("{reason}")]
    NoRuntime {
        /// The missing part and the way to get it.
        reason: String,
    },
    /// The model was loaded but failed on this input.
    #[error("model {path} failed: {reason}")]
    Run {
        /// The file.
        path: PathBuf,
        /// The message of the runtime.
        reason: String,
    },
    /// The model ran, but what came out is not what the stage needs.
    #[error("model {path} is not the one this stage needs: {reason}")]
    Unsuitable {
        /// The file.
        path: PathBuf,
        /// The difference.
        reason: String,
    },
}

/// The numbers that go into a model, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 32-bit integers.
    I32(&'a [i32]),
}

/// One output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The output's name in the file.
    pub name: String,
    /// Its size along each axis.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub values: Vec<f32>,
}

/// The work of each flavour; the message of an error is one line.
trait Flavour: Send {
    fn run(&mut self, shape: &[usize], values: Values<'_>) -> Result<Vec<Tensor>, String>;
}

/// A loaded ONNX model with one input; it computes on the calling thread alone.
pub struct Model {
    path: PathBuf,
    runtime: Runtime,
    flavour: Box<dyn Flavour>,
}

impl Model {
    /// Loads a model from a file.
    ///
    /// # Errors
    /// If the file cannot be read or is not a whole ONNX model, or the runtime is not there.
    pub fn load(path: impl AsRef<Path>, runtime: Runtime) -> Result<Self, ModelError> {
        let path = path.as_ref().to_owned();
        check_file(&path)?;
        let (runtime, flavour) = load_flavour(&path, runtime)?;
        Ok(Self { path, runtime, flavour })
    }

    /// Runs the model on one input and waits for all of its outputs.
    ///
    /// # Errors
    /// If the model does not take such an input, or the runtime fails.
    pub fn run(&mut self, shape: &[usize], values: Values<'_>) -> Result<Vec<Tensor>, ModelError> {
        self.flavour
            .run(shape, values)
            .map_err(|reason| ModelError::Run { path: self.path.clone(), reason: one_line(&reason) })
    }

    /// The runtime of the model; never [`Runtime::Auto`].
    pub fn runtime(&self) -> Runtime {
        self.runtime
    }

    /// An error that says that this model gave something other than `reason` asks for.
    pub(crate) fn unsuitable(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Unsuitable { path: self.path.clone(), reason: reason.into() }
    }
}

/// Tells which runtime [`Runtime::Auto`] stands for here.
///
/// # Errors
/// If no runtime is there.
pub fn available_runtime() -> Result<Runtime, ModelError> {
    #[cfg(feature = "onnxruntime")]
    let found = onnxruntime::environment().map(|_| Runtime::OnnxRuntime);
    #[cfg(not(feature = "onnxruntime"))]
    let found: Result<Runtime, String> = Ok(Runtime::PureRust);
    #[cfg(feature = "pure-rust")]
    let found = found.or(Ok(Runtime::PureRust));
    found.map_err(|reason| ModelError::NoRuntime { reason })
}

fn load_flavour(path: &Path, runtime: Runtime) -> Result<(Runtime, Box<dyn Flavour>), ModelError> {
    let runtime = if runtime == Runtime::Auto { available_runtime()? } else { runtime };
    let loaded: Result<Box<dyn Flavour>, String> = match runtime {
        #[cfg(feature = "onnxruntime")]
        Runtime::OnnxRuntime => {
            let environment = onnxruntime::environment().map_err(|reason| ModelError::NoRuntime { reason })?;
            onnxruntime::OnnxRuntime::load(environment, path).map(|it| Box::new(it) as _)
        }
        #[cfg(feature = "pure-rust")]
        Runtime::PureRust => pure_rust::PureRust::load(path).map(|it| Box::new(it) as _),
        #[allow(unreachable_patterns, reason = "reached when a flavour is not built in")]
        other => {
            let reason = format!("deeppipeline-vision was built without the runtime {other:?}");
            return Err(ModelError::NoRuntime { reason });
        }
    };
    let flavour = loaded.map_err(|reason| ModelError::Broken { path: path.to_owned(), reason: one_line(&reason) })?;
    Ok((runtime, flavour))
}

/// Checks what can be checked without a runtime: that the file can be read and starts as ONNX files do.
pub(crate) fn check_file(path: &Path) -> Result<(), ModelError> {
    // The first field of a model is its format version: protobuf field 1, a number.
    const FIRST_BYTE: u8 = 0x08;
    let unreadable = |reason| ModelError::Unreadable { path: path.to_owned(), reason };
    let mut first = [0];
    match std::fs::File::open(path).and_then(|mut file| file.read(&mut first)).map_err(unreadable)? {
        1 if first[0] == FIRST_BYTE => Ok(()),
        0 => Err(ModelError::Broken { path: path.to_owned(), reason: "the file is empty".into() }),
        _ => Err(ModelError::Broken { path: path.to_owned(), reason: "it does not start like one".into() }),
    }
}

/// A runtime's message without its line breaks and back-traces.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given").to_owned()
}

/// A model file that is checked now and loaded on the worker that runs it.
pub(crate) struct LazyModel {
    path: PathBuf,
    runtime: Runtime,
    model: Option<Model>,
}

impl LazyModel {
    pub(crate) fn new(path: &Path, runtime: Runtime) -> Result<Self, ModelError> {
        check_file(path)?;
        Ok(Self { path: path.to_owned(), runtime, model: None })
    }

    /// The model, loaded by the first call.
    pub(crate) fn get(&mut self) -> Result<&mut Model, ModelError> {
        match &mut self.model {
            Some(model) => Ok(model),
            empty => Ok(empty.insert(Model::load(&self.path, self.runtime)?)),
        }
    }

    /// Frees the model.
    pub(crate) fn unload(&mut self) {
        self.model = None;
    }
}
