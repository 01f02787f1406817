//! Both runtimes reproduce the reference outputs; files that are no models are named.

mod support;

use std::path::Path;

use deeppipeline::Stage;
use deeppipeline_vision::{DetectPeople, EstimatePose, Model, Runtime, Values};

const MODELS: [&str; 3] = ["nanodet_416", "movenet_lightning_192", "pose_classifier_body18"];

/// A line of `case.txt`: what it is, its name, its shape.
struct Part {
    name: String,
    shape: Vec<usize>,
    integer: bool,
}

fn parts(text: &str, kind: &str) -> Vec<Part> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let of_kind = text.lines().map(words).filter(|line| line.first().is_some_and(|first| first == kind));
    of_kind
        .map(|line| Part {
            name: line[1].clone(),
            shape: line.last().unwrap().split(',').map(|size| size.parse().unwrap()).collect(),
            integer: line[2] == "int32",
        })
        .collect()
}

fn numbers<T>(file: &Path, convert: fn([u8; 4]) -> T) -> Vec<T> {
    let bytes = std::fs::read(file).unwrap();
    bytes.chunks_exact(4).map(|four| convert(four.try_into().unwrap())).collect()
}

fn reproduce(name: &str, runtime: Runtime, tolerance: f32) {
    let folder = support::model("reference").join(name);
    let case = std::fs::read_to_string(folder.join("case.txt")).unwrap();
    let input = &parts(&case, "in")[0];
    let mut model = Model::load(support::model(&format!("{name}.onnx")), runtime).unwrap();
    let outputs = if input.integer {
        model.run(&input.shape, Values::I32(&numbers(&folder.join("in.bin"), i32::from_le_bytes)))
    } else {
        model.run(&input.shape, Values::F32(&numbers(&folder.join("in.bin"), f32::from_le_bytes)))
    }
    .unwrap();
    let expected = parts(&case, "out");
    assert_eq!(outputs.len(), expected.len());
    for (place, part) in expected.iter().enumerate() {
        let output = outputs.iter().find(|output| output.name == part.name);
        let output = output.unwrap_or_else(|| panic!("{name} has no output {}", part.name));
        assert_eq!(output.shape, part.shape, "{name} {}", part.name);
        let reference = numbers(&folder.join(format!("out{place}.bin")), f32::from_le_bytes);
        assert_eq!(output.values.len(), reference.len());
        let furthest = output.values.iter().zip(&reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest <= tolerance, "{name} {}: off by {furthest}", part.name);
    }
}

#[test]
#[cfg(feature = "pure-rust")]
fn the_pure_rust_runtime_reproduces_the_reference() {
    MODELS.iter().for_each(|name| reproduce(name, Runtime::PureRust, 5e-5));
}

#[test]
#[cfg(feature = "onnxruntime")]
fn onnx_runtime_reproduces_the_reference() {
    if let Err(deeppipeline_vision::ModelError::NoRuntime { reason }) =
        Model::load(support::model("pose_classifier_body18.onnx"), Runtime::OnnxRuntime)
    {
        assert!(std::env::var_os("DEEPPIPELINE_REQUIRE_ONNXRUNTIME").is_none(), "{reason}");
        println!("skipped: {reason}");
        return;
    }
    MODELS.iter().for_each(|name| reproduce(name, Runtime::OnnxRuntime, 5e-5));
}

#[test]
fn a_missing_model_is_named_at_once() {
    let error = DetectPeople::load("no/such/nanodet.onnx").err().unwrap().to_string();
    support::assert_one_line(&error, &["cannot read model", "no/such/nanodet.onnx", "No such file"]);
}

#[test]
fn a_file_that_is_no_model_is_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in [("empty.onnx", ""), ("page.onnx", "<html>")] {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        let error = EstimatePose::load(&path).err().unwrap().to_string();
        support::assert_one_line(&error, &["not an ONNX file", name]);
    }
}

#[test]
fn half_a_model_is_named_when_it_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.onnx");
    let whole = std::fs::read(support::model("movenet_lightning_192.onnx")).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let runtimes = [Runtime::Auto, Runtime::PureRust];
    for runtime in runtimes.into_iter().take(if cfg!(feature = "pure-rust") { 2 } else { 1 }) {
        let error = EstimatePose::load_with(&path, runtime).unwrap().setup().unwrap_err().to_string();
        support::assert_one_line(&error, &["broken", "half.onnx"]);
    }
}

#[test]
fn another_model_than_the_stage_needs_is_refused() {
    let mut stage = DetectPeople::load(support::model("pose_classifier_body18.onnx")).unwrap();
    let error = stage.stage_run(support::picture(32, 32, 0, [9; 3])).err().unwrap().to_string();
    support::assert_one_line(&error, &["pose_classifier_body18.onnx"]);
}
