//! The `deeppipeline behaviour` command as a user runs it: good input, bad input, interrupts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn command(input: &str, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deeppipeline"));
    command.args(["behaviour", input, "--models"]).arg(project("models")).arg("--output").arg(output);
    command.stdin(Stdio::null());
    command
}

fn clip() -> String {
    project("clips/park.mp4").to_string_lossy().into_owned()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().collect()).unwrap_or_else(|_| Vec::new());
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The run failed with exactly one line that starts with "error: ", apart from what it said about the input before.
fn assert_one_clear_line(run: &Output, says: &str) {
    let text = String::from_utf8_lossy(&run.stderr);
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(run.status.code(), Some(1), "{text}");
    assert_eq!(errors.len(), 1, "{text}");
    assert!(errors[0].contains(says), "{text}");
    assert_eq!(text.lines().last(), Some(errors[0]), "{text}");
}

#[test]
fn writes_a_video_and_a_line_per_frame_and_track() {
    let folder = tempfile::tempdir().unwrap();
    let run = command(&clip(), folder.path()).args(["--limit", "20", "--compare-serial"]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{stderr}");
    assert_eq!(files(folder.path()), ["park.behaviour.jsonl", "park.behaviour.mp4"]);
    for wanted in ["DetectPeople", "20 frames", "speed-up", "ceiling"] {
        assert!(stdout.contains(wanted), "{wanted} is missing in {stdout}");
    }
    let lines = fs::read_to_string(folder.path().join("park.behaviour.jsonl")).unwrap();
    assert!(!lines.is_empty());
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["frame"].as_u64().unwrap() < 20, "{line}");
        for wanted in ["track", "box", "behaviour", "score"] {
            assert!(!line[wanted].is_null(), "{wanted} is missing in {line}");
        }
    }
}

#[test]
fn live_input_drops_its_oldest_and_a_file_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (options, policy) in [(&["--limit", "3", "--realtime"][..], "drop_oldest"), (&["--limit", "3"], "block")] {
        let run = command(&clip(), folder.path()).args(options).output().unwrap();
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{stderr}");
        assert!(stderr.lines().next().unwrap().ends_with(policy), "{stderr}");
    }
}

#[test]
fn a_video_without_frames_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.wav");
    // A whole WAV file: 44 bytes of header and a little silence.
    let mut wav =
        b"RIFF\x2c\x01\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x08\x01\0\0".to_vec();
    wav.resize(44 + 264, 0);
    fs::write(&sound, wav).unwrap();
    let out = folder.path().join("out");
    let run = command(&sound.to_string_lossy(), &out).output().unwrap();
    assert_one_clear_line(&run, "sound.wav");
    assert_eq!(files(&out), [""; 0]);
}

#[test]
fn an_input_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = command("no-such-file.mp4", folder.path()).output().unwrap();
    assert_one_clear_line(&run, "no-such-file.mp4");
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn a_file_that_is_no_video_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a video").unwrap();
    let out = folder.path().join("out");
    let run = command(&text.to_string_lossy(), &out).output().unwrap();
    assert_one_clear_line(&run, "notes.txt");
    assert_eq!(files(&out), [""; 0]);
}

#[test]
fn a_file_cut_in_the_middle_leaves_nothing_that_looks_whole() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(clip()).unwrap();
    let cut = folder.path().join("cut.mp4");
    fs::write(&cut, &whole[..whole.len() / 4]).unwrap();
    let out = folder.path().join("out");
    let run = command(&cut.to_string_lossy(), &out).output().unwrap();
    assert_one_clear_line(&run, "cut.mp4");
    assert_eq!(files(&out), ["cut.behaviour.partial.jsonl", "cut.behaviour.partial.mp4"]);
}

#[test]
fn a_missing_and_a_broken_model_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let out = folder.path().join("out");
    fs::create_dir(&models).unwrap();
    let mut with_models = Command::new(env!("CARGO_BIN_EXE_deeppipeline"));
    with_models.args(["behaviour", &clip(), "--models"]).arg(&models).arg("--output").arg(&out);
    assert_one_clear_line(&with_models.output().unwrap(), "nanodet_416.onnx");
    fs::write(models.join("nanodet_416.onnx"), "not a model").unwrap();
    assert_one_clear_line(&with_models.output().unwrap(), "nanodet_416.onnx");
    assert_eq!(files(&out), [""; 0]);
}

#[test]
fn an_output_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let run = command(&clip(), &file.join("out")).output().unwrap();
    assert_one_clear_line(&run, "cannot write to");
}

#[test]
fn an_unknown_policy_gets_the_list_of_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    let run = command(&clip(), folder.path()).args(["--overflow", "drop_all"]).output().unwrap();
    let text = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2));
    for wanted in ["drop_all", "drop_oldest", "drop_newest", "block"] {
        assert!(text.contains(wanted), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_drains_and_keeps_what_was_done_under_a_name_that_says_so() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let mut run = command(&clip(), folder.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    // The first line of progress says that samples are flowing and the handler is set.
    let flowing = lines.by_ref().map_while(Result::ok).find(|line| line.contains("dropped"));
    assert!(flowing.is_some());
    let interrupted = Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(run.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("interrupted after")), "{rest:?}");
    assert_eq!(files(folder.path()), ["park.behaviour.partial.jsonl", "park.behaviour.partial.mp4"]);
}
