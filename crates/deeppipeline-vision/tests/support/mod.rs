//! Helpers of several tests: clips made on the spot, people made of numbers.

#![allow(dead_code, unreachable_pub, reason = "each test is a program of its own and takes what it needs")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use deeppipeline::{Give, Source, Stage};
use deeppipeline_vision::{Bounds, Capture, Frame, Person, Scene};

/// A file in the repository's `models` folder.
pub fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name)
}

/// The clip that is shipped.
pub fn park() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clips/park.mp4").display().to_string()
}

/// Runs ffmpeg to make a clip; the words are split at spaces.
pub fn ffmpeg(words: &str, output: &Path) {
    let program = std::env::var("DEEPPIPELINE_FFMPEG").unwrap_or_else(|_| "ffmpeg".into());
    let result = Command::new(program)
        .args(["-nostdin", "-v", "error", "-y"])
        .args(words.split_whitespace())
        .arg(output)
        .output()
        .expect("these tests need an ffmpeg on PATH or in DEEPPIPELINE_FFMPEG");
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
}

/// All frames of a capture, and the error it ended with.
pub fn read_all(capture: &mut Capture) -> (Vec<Frame>, Option<String>) {
    let mut frames = Vec::new();
    loop {
        match capture.source_next() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error.to_string())),
        }
    }
}

/// A small picture of one colour.
pub fn picture(width: u32, height: u32, index: u64, colour: [u8; 3]) -> Frame {
    let pixels = colour.repeat((width * height) as usize);
    Frame::new(width, height, index, Duration::from_millis(index * 40), pixels).unwrap()
}

/// A scene with one person for each box.
pub fn scene(index: u64, boxes: &[(Bounds, f32)]) -> Scene {
    let people = boxes.iter().map(|(bounds, score)| Person::new(*bounds, *score)).collect();
    Scene { frame: picture(64, 64, index, [0; 3]), people }
}

/// The one scene that a stage gives for one.
pub fn run<S: Stage<Output = Scene>>(stage: &mut S, x: S::Input) -> Scene {
    match stage.stage_run(x) {
        Ok(Give::One(scene)) => scene,
        Ok(_) => panic!("{} gave something other than one scene", stage.name()),
        Err(error) => panic!("{error}"),
    }
}

/// Asserts that an error is one line that says all of `words`.
pub fn assert_one_line(error: &str, words: &[&str]) {
    assert!(!error.contains('\n'), "more than one line: {error}");
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

/// This program, to run only one of its tests, in a process of its own that [`is_again`] knows.
pub fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("TEST_AGAIN", test);
    command
}

/// Returns true if this process was started by [`again`].
pub fn is_again() -> bool {
    std::env::var_os("TEST_AGAIN").is_some()
}

/// Runs the work of a test in a process whose current folder is a new one.
pub fn in_a_folder_of_its_own(test: &str, work: impl FnOnce()) {
    if is_again() {
        return work();
    }
    let folder = tempfile::tempdir().unwrap();
    let run = again(test).current_dir(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

/// Lines that `work` logs, sent as they come.
pub fn logging<T>(lines: std::sync::mpsc::Sender<String>, work: impl FnOnce() -> T) -> T {
    #[derive(Clone)]
    struct Lines(std::sync::mpsc::Sender<String>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines(lines);
    let subscriber = tracing_subscriber::fmt().with_writer(move || lines.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, work)
}
