//! ONNX Runtime, loaded from a shared library that is found when the first model is loaded.
//!
//! Looked for in `DEEPPIPELINE_ONNXRUNTIME`, `ORT_DYLIB_PATH`, the Python package `onnxruntime` of the active virtual
//! environment or of `python3`, and the system's library folders; 1.17 or newer.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::value::TensorRef;

use super::{Flavour, Tensor, Values};
use crate::locate;

pub(super) struct OnnxRuntime {
    session: Session,
    input: String,
}

impl OnnxRuntime {
    pub(super) fn load(environment: &Environment, path: &Path) -> Result<Self, String> {
        // One thread: the stages of a pipeline already keep the cores busy, and more threads cost more than they give.
        let session = Session::builder(environment)
            .and_then(|builder| builder.with_intra_threads(1)?.with_inter_threads(1)?.commit_from_file(path))
            .map_err(|error| error.to_string())?;
        let input = match session.inputs() {
            [only] => only.name().to_owned(),
            several => return Err(format!("it has {} inputs, not one", several.len())),
        };
        Ok(Self { session, input })
    }
}

impl Flavour for OnnxRuntime {
    fn run(&mut self, shape: &[usize], values: Values<'_>) -> Result<Vec<Tensor>, String> {
        let outputs = match values {
            Values::F32(values) => TensorRef::from_array_view((shape, values))
                .and_then(|input| self.session.run(ort::inputs![self.input.as_str() => input])),
            Values::I32(values) => TensorRef::from_array_view((shape, values))
                .and_then(|input| self.session.run(ort::inputs![self.input.as_str() => input])),
        }
        .map_err(|error| error.to_string())?;
        outputs
            .iter()
            .map(|(name, value)| {
                let (shape, values) = value.try_extract_tensor::<f32>().map_err(|error| error.to_string())?;
                let shape = shape.iter().map(|&size| size as usize).collect();
                Ok(Tensor { name: name.to_owned(), shape, values: values.to_vec() })
            })
            .collect()
    }
}

/// The library's environment, of which a process has one; the first call loads the library.
pub(super) fn environment() -> Result<&'static Environment, String> {
    static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();
    ENVIRONMENT.get_or_init(load_library).as_ref().map_err(Clone::clone)
}

fn load_library() -> Result<Environment, String> {
    let library = find_library().ok_or(
        "no ONNX Runtime library found: `pip install onnxruntime`, or name the file in DEEPPIPELINE_ONNXRUNTIME",
    )?;
    // Has to come before any other call: the crate panics if it finds no library by itself.
    let builder = ort::init_from(&library).map_err(|error| error.to_string())?;
    let environment = builder
        .with_name("deeppipeline")
        .with_telemetry(false)
        .build()
        .map_err(|error| format!("{} does not start: {error}", library.display()))?;
    environment.set_log_level(LogLevel::Error);
    Ok(environment)
}

fn find_library() -> Option<PathBuf> {
    let named = ["DEEPPIPELINE_ONNXRUNTIME", "ORT_DYLIB_PATH"].into_iter().find_map(locate::from_variable);
    if named.is_some() {
        return named;
    }
    let start = format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let packages = locate::site_packages().iter().map(|folder| folder.join("onnxruntime").join("capi"));
    let system =
        ["/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    packages.chain(system.into_iter().map(PathBuf::from)).find_map(|folder| locate::file_starting(&folder, &start))
}
