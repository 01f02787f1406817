//! The `deeppipeline behaviour` command as a user runs it: good input, bad input, interrupts.

use std::collections::BTreeSet;
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

/// The command, and what it has printed.
fn deeppipeline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deeppipeline")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_timeline_of_a_run_is_drawn_and_done_again_with_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let file = file.to_str().unwrap();
    let run = command(&clip(), folder.path()).args(["--limit", "20", "--timeline", file]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = |arguments: &[&str]| {
        let run = deeppipeline(arguments);
        assert!(run.status.success(), "{arguments:?} {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    let refused = |arguments: &[&str], says: &str| assert_one_clear_line(&deeppipeline(arguments), says);

    assert!(printed(&["timeline", file]).contains("DetectPeople: 20 samples, 0 of them ended there"));
    let way = printed(&["timeline", file, "--follow", "7"]);
    assert!(way.lines().count() >= 6 && way.lines().all(|line| line.starts_with("7 at ")), "{way}");
    let picture = folder.path().join("run.svg");
    printed(&["timeline", file, "--follow", "7", "--output", picture.to_str().unwrap()]);
    assert!(fs::read_to_string(&picture).unwrap().starts_with("<svg"));
    refused(&["timeline", file, "--follow", "77"], "there is no sample 77; there are 1 to 20");
    refused(&["timeline", &clip()], "this is no timeline");
    refused(&["timeline", "none.json"], "cannot read none.json");

    assert!(printed(&["simulate", file]).contains("samples a second"));
    let then = printed(&["simulate", file, "--set", "DetectPeople.workers=2", "--set", "DetectPeople.buffer_size=4"]);
    assert!(then.contains("as it is: ") && then.contains("then: "), "{then}");
    let tuned = printed(&["simulate", file, "--tune", "rate", "--most-workers", "12", "--json"]);
    let tuned: serde_json::Value = serde_json::from_str(&tuned).unwrap();
    assert!(tuned["after"]["rate"].as_f64() >= tuned["before"]["rate"].as_f64(), "{tuned}");
    refused(&["simulate", file, "--set", "Detect.workers=2"], "no stage is named \"Detect\"; there are [");
    let usage = deeppipeline(&["simulate", file, "--set", "workers"]);
    assert!(String::from_utf8_lossy(&usage.stderr).contains("a setting is STAGE.OPTION=VALUE"), "{usage:?}");
}

#[test]
fn people_are_followed_through_frames_in_which_nobody_was_looked_for() {
    for more in [vec!["--compare-serial"], vec!["--multiprocess"]] {
        let folder = tempfile::tempdir().unwrap();
        let run = command(&clip(), folder.path())
            .args(["--limit", "40", "--detect-every", "4"])
            .args(&more)
            .output()
            .unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{stderr}");
        for wanted in ["EveryNth", "Follow", "40 frames"] {
            assert!(stdout.contains(wanted), "{wanted} is missing in {stdout}");
        }
        let detect = stdout.lines().find(|line| line.starts_with("DetectPeople")).expect("the detector has a row");
        assert!(
            detect.split_whitespace().any(|word| word == "10"),
            "it looked at other frames than every fourth: {detect}"
        );

        let lines = fs::read_to_string(folder.path().join("park.behaviour.jsonl")).unwrap();
        let frame = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["frame"].as_u64().unwrap();
        let frames: BTreeSet<u64> = lines.lines().map(frame).collect();
        assert!(frames.iter().any(|frame| frame % 4 != 0), "{frames:?}");
        assert!(frames.len() > 20, "{frames:?}");
    }
}

/// The lines that were written for an input.
fn lines_of(file: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Two inputs share the models; one is the other from its second half on.
#[test]
fn each_of_several_inputs_gets_the_results_that_it_gets_alone() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other").join("park.mp4");
    fs::create_dir(other.parent().unwrap()).unwrap();
    let cut = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-ss", "4", "-i", &clip(), "-c:v", "libx264", "-preset", "ultrafast"])
        .arg(&other)
        .status()
        .unwrap();
    assert!(cut.success());
    let other = other.to_string_lossy().into_owned();
    for more in [&[][..], &["--multiprocess"], &["--detect-every", "4"]] {
        let (apart, together) = (folder.path().join("apart"), folder.path().join("together"));
        for (input, out) in [(clip(), apart.join("first")), (other.clone(), apart.join("second"))] {
            let run = command(&input, &out).args(["--limit", "24", "--overwrite"]).args(more).output().unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        }
        let run = command(&clip(), &together).arg(&other).args(["--limit", "24", "--overwrite"]).args(more).output();
        let run = run.unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{stderr}");
        assert!(stdout.contains("48 frames"), "{stdout}");
        let written = ["park.behaviour.jsonl", "park.behaviour.mp4", "park_2.behaviour.jsonl", "park_2.behaviour.mp4"];
        assert_eq!(files(&together), written);
        // With every fourth frame looked at, which detections a frame meets depends on the machine.
        if more.contains(&"--detect-every") {
            continue;
        }
        for (one, alone) in [("park", "first"), ("park_2", "second")] {
            let alone = lines_of(&apart.join(alone).join("park.behaviour.jsonl"));
            assert!(!alone.is_empty());
            assert_eq!(lines_of(&together.join(format!("{one}.behaviour.jsonl"))), alone, "{more:?}");
        }
    }
}

#[test]
fn an_input_that_fails_costs_the_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(clip()).unwrap();
    let cut = folder.path().join("cut.mp4");
    fs::write(&cut, &whole[..whole.len() / 8]).unwrap();
    let out = folder.path().join("out");
    let run = command(&cut.to_string_lossy(), &out).arg(clip()).args(["--limit", "60"]).output().unwrap();
    assert_one_clear_line(&run, "cut.mp4");
    let written = ["cut.behaviour.partial.jsonl", "cut.behaviour.partial.mp4", "park.behaviour.jsonl"];
    assert_eq!(files(&out)[..3], written);
    let last = lines_of(&out.join("park.behaviour.jsonl")).last().map(|line| line["frame"].as_u64().unwrap());
    assert_eq!(last, Some(59));
}

#[test]
fn what_several_inputs_cannot_do_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let run = command("-", folder.path()).arg("-").output().unwrap();
    assert_one_clear_line(&run, "standard input (-) is given twice");
    let run = command(&clip(), folder.path()).args([&clip(), "--compare-serial"]).output().unwrap();
    assert_one_clear_line(&run, "--compare-serial takes one input, but got 2");
    let run = Command::new(env!("CARGO_BIN_EXE_deeppipeline")).arg("behaviour").output().unwrap();
    assert!(String::from_utf8_lossy(&run.stderr).contains("<INPUT>..."), "{run:?}");
}

/// Some frames of the clip as a camera would send them.
fn camera_stream() -> Vec<u8> {
    let sent = Command::new("ffmpeg")
        .args([
            "-loglevel",
            "error",
            "-i",
            &clip(),
            "-frames:v",
            "20",
            "-an",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ])
        .args(["-f", "mpegts", "pipe:1"])
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    sent.stdout
}

/// The camera is a server for one client, which goes away with it, and is there again later.
#[cfg(unix)]
#[test]
fn a_camera_that_goes_away_is_opened_again_and_stays_one_recording() {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    let folder = tempfile::tempdir().unwrap();
    let stream = camera_stream();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut run = command(&format!("tcp://{address}"), folder.path());
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut wait_for = |text: &str| assert!(lines.any(|line| line.contains(text)), "it never said {text:?}");

    let serve = |listener: TcpListener| listener.accept().unwrap().0.write_all(&stream).unwrap();
    serve(listener);
    wait_for("is waiting");
    serve(TcpListener::bind(address).unwrap());
    wait_for("was opened again");
    wait_for("is waiting");
    assert!(Command::new("kill").args(["-s", "TERM", &run.id().to_string()]).status().unwrap().success());
    let run = run.wait_with_output().unwrap();
    // It is how a live stream ends.
    assert_eq!(run.status.code(), Some(0));

    let written = files(folder.path());
    assert!(written.len() == 2 && written.iter().all(|name| !name.contains("partial")), "{written:?}");
    let lines = lines_of(&folder.path().join(&written[0]));
    let frames: Vec<u64> = lines.iter().map(|line| line["frame"].as_u64().unwrap()).collect();
    let times: Vec<f64> = lines.iter().map(|line| line["time"].as_f64().unwrap()).collect();
    assert!(frames.is_sorted() && times.is_sorted(), "{frames:?} {times:?}");
    assert!(
        frames.first().is_some_and(|first| *first < 20) && frames.last().is_some_and(|last| *last >= 20),
        "{frames:?}"
    );
}

/// The results are there, and it does not panic, whatever becomes of what it says.
#[cfg(target_os = "linux")]
#[test]
fn what_nobody_reads_or_no_disk_takes_does_not_cost_the_results() {
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let unread = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    type Streams = (&'static str, fn() -> Stdio, fn() -> Stdio, i32);
    let streams: [Streams; 4] = [
        ("nobody reads the report", unread, Stdio::piped, 0),
        ("nobody reads the progress", Stdio::piped, unread, 0),
        ("a full disk for the report", full, Stdio::piped, 1),
        ("a full disk for the progress", Stdio::piped, full, 0),
    ];
    for (name, stdout, stderr, code) in streams {
        let folder = tempfile::tempdir().unwrap();
        let run = command(&clip(), folder.path()).args(["--limit", "3"]).stdout(stdout()).stderr(stderr()).spawn();
        let run = run.unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(files(folder.path()), ["park.behaviour.jsonl", "park.behaviour.mp4"], "{name}: {said}");
        assert_eq!(run.status.code(), Some(code), "{name}: {said}");
        assert_eq!(said.contains("No space left") && said.contains("park.behaviour.mp4"), code == 1, "{name}: {said}");
    }
}

#[test]
fn a_second_run_does_not_replace_the_results_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let run = command(&clip(), folder.path()).args(["--limit", "2"]).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    let wanted = ["park.behaviour.2.jsonl", "park.behaviour.2.mp4", "park.behaviour.jsonl", "park.behaviour.mp4"];
    assert_eq!(files(folder.path()), wanted);
    let run = command(&clip(), folder.path()).args(["--limit", "2", "--overwrite"]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(files(folder.path()), wanted);
}

/// The input is gone by the time that it is to be read again.
#[cfg(unix)]
#[test]
fn a_comparison_that_fails_does_not_cost_the_results() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let clip_once = folder.path().join("once.mp4");
    fs::copy(clip(), &clip_once).unwrap();
    let mut run = command(&clip_once.to_string_lossy(), &out);
    run.args(["--limit", "3", "--compare-serial"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    use std::io::{BufRead, BufReader, Read};
    // Opened by the time the first line is there.
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut first = String::new();
    stderr.read_line(&mut first).unwrap();
    fs::remove_file(&clip_once).unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(1), "{first}{rest}");
    assert!(rest.contains("error: no comparison") && rest.contains("once.behaviour.mp4"), "{rest}");
    assert_eq!(files(&out), ["once.behaviour.jsonl", "once.behaviour.mp4"]);
}

/// A download folder or a stranger's project may hold files of any name.
#[cfg(unix)]
#[test]
fn nothing_is_run_or_loaded_from_the_current_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("here");
    fs::create_dir_all(here.join("onnxruntime/capi")).unwrap();
    fs::write(here.join("onnxruntime/capi/libonnxruntime.so.1"), "not a library").unwrap();
    fs::write(here.join("sitecustomize.py"), "open('was_run', 'w')").unwrap();
    for program in ["python3", "ffmpeg"] {
        fs::write(here.join(program), "#!/bin/sh\ntouch was_run\n").unwrap();
        fs::set_permissions(here.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut run = command(&fs::canonicalize(clip()).unwrap().to_string_lossy(), &folder.path().join("out"));
    let path = format!(":.:{}", std::env::var("PATH").unwrap());
    run.current_dir(&here).env("PATH", path).env("PYTHONPATH", ":");
    run.env_remove("DEEPPIPELINE_ONNXRUNTIME").env_remove("ORT_DYLIB_PATH").env("VIRTUAL_ENV", ".");
    let run = run.args(["--limit", "2"]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(!here.join("was_run").exists());
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
fn a_password_is_in_nothing_that_is_said_or_written() {
    let folder = tempfile::tempdir().unwrap();
    for input in ["rtsp://user:hunter2@127.0.0.1:9", "http://127.0.0.1:9/live?password=hunter2"] {
        let run = command(input, folder.path()).output().unwrap();
        assert_one_clear_line(&run, "***");
        let text = String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn results_are_named_after_the_input_whatever_it_is_called() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join(std::ffi::OsStr::from_bytes(b"lat\xEFn:1.mp4"));
    fs::copy(clip(), &input).unwrap();
    let out = folder.path().join("out");
    let mut run = Command::new(env!("CARGO_BIN_EXE_deeppipeline"));
    run.arg("behaviour").arg(input).arg("--models").arg(project("models")).arg("--output").arg(&out);
    let run = run.args(["--limit", "1"]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(files(&out), ["lat_n_1.behaviour.jsonl", "lat_n_1.behaviour.mp4"]);
    let mut run = command("-", &out);
    let run = run.args(["--limit", "1"]).stdin(fs::File::open(clip()).unwrap()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(files(&out).contains(&"stdin.behaviour.jsonl".to_owned()), "{:?}", files(&out));
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

/// The signals that a terminal sends, and a service manager, and a terminal that is closed.
#[cfg(unix)]
#[test]
fn what_asks_it_to_stop_drains_and_keeps_what_was_done_under_a_name_that_says_so() {
    use std::io::{BufRead, BufReader};
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = command(&clip(), folder.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
        // The first line of progress says that samples are flowing and the handlers are set.
        let flowing = lines.by_ref().map_while(Result::ok).find(|line| line.contains("dropped"));
        assert!(flowing.is_some());
        let sent = Command::new("kill").args(["-s", signal, &run.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        assert_eq!(run.wait().unwrap().code(), Some(code), "{signal}: {rest:?}");
        assert!(rest.iter().any(|line| line.starts_with("interrupted after")), "{signal}: {rest:?}");
        let partial = ["park.behaviour.partial.jsonl", "park.behaviour.partial.mp4"];
        assert_eq!(files(folder.path()), partial, "{signal}: {rest:?}");
    }
}

/// Runs with `--multiprocess`.
#[cfg(target_os = "linux")]
mod multiprocess {
    use super::*;
    use std::io::{BufRead, BufReader, Lines};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, ChildStderr};

    /// A run whose stages are at work.
    struct Running {
        command: Child,
        stderr: Lines<BufReader<ChildStderr>>,
    }

    impl Running {
        /// Starts it in a process group of its own, as a shell does, and waits until frames have gone through.
        fn start(output: &Path, options: &[&str]) -> Self {
            let mut command = command(&clip(), output);
            command.arg("--multiprocess").args(options).process_group(0);
            let mut command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut stderr = BufReader::new(command.stderr.take().unwrap()).lines();
            let frames = |line: String| line.split_once(" frames, ").and_then(|(count, _)| count.parse().ok());
            // By then all of them have begun, the ffmpeg that writes among them.
            let flowing = stderr.by_ref().map_while(Result::ok).filter_map(frames).any(|count: u64| count >= 10);
            assert!(flowing, "no frames went through");
            Running { command, stderr }
        }

        fn pid(&self) -> u32 {
            self.command.id()
        }

        /// The processes of its stages.
        fn stages(&self) -> Vec<u32> {
            processes_of(self.pid()).into_iter().filter(|pid| parent(*pid) == Some(self.pid())).collect()
        }

        /// The whole standard output, the lines on stderr from now on, and the exit code.
        fn end(self) -> (String, Vec<String>, Option<i32>) {
            let said = self.stderr.map_while(Result::ok).collect();
            let end = self.command.wait_with_output().unwrap();
            (String::from_utf8_lossy(&end.stdout).into_owned(), said, end.status.code())
        }
    }

    fn send(signal: &str, to: impl std::fmt::Display) {
        let sent = Command::new("kill").args(["-s", signal, "--", &to.to_string()]).status().unwrap();
        assert!(sent.success(), "{signal} to {to}");
    }

    /// The processes that a run has for its stages, and what those have started.
    fn processes_of(run: u32) -> Vec<u32> {
        let mark = format!("DEEPPIPELINE_WORKER={run}");
        let is_marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_marked).collect()
    }

    /// A number out of `/proc/PID/stat`, counted from the state, which is 0; `None` if the process is gone.
    fn stat(pid: u32, field: usize) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        text.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
    }

    fn parent(pid: u32) -> Option<u32> {
        stat(pid, 1).and_then(|pid| pid.try_into().ok())
    }

    /// Waits until every process of a run is gone: some may still be on their way out, as the ffmpeg of a stage that
    /// was killed.
    fn wait_until_gone(run: u32) {
        while !processes_of(run).is_empty() {
            std::thread::yield_now();
        }
    }

    fn lines(folder: &Path) -> String {
        fs::read_to_string(folder.join("park.behaviour.jsonl")).unwrap()
    }

    #[test]
    fn it_writes_the_same_lines_and_leaves_no_process() {
        let (threads, processes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = command(&clip(), threads.path()).args(["--limit", "20"]).output().unwrap();
        assert!(run.status.success());
        let mut run = command(&clip(), processes.path());
        run.args(["--limit", "20", "--multiprocess", "--compare-serial"]);
        let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = run.id();
        let run = run.wait_with_output().unwrap();
        assert!(processes_of(pid).is_empty());
        let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{stderr}");
        for wanted in ["DetectPeople", "WriteVideo", "20 frames", "speed-up"] {
            assert!(stdout.contains(wanted), "{wanted} is missing in {stdout}");
        }
        assert_eq!(files(processes.path()), ["park.behaviour.jsonl", "park.behaviour.mp4"]);
        assert_eq!(lines(processes.path()), lines(threads.path()));
        assert!(!lines(threads.path()).is_empty());
    }

    #[test]
    fn a_model_that_does_not_load_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (models, out) = (folder.path().join("models"), folder.path().join("out"));
        fs::create_dir(&models).unwrap();
        for name in ["nanodet_416.onnx", "movenet_lightning_192.onnx", "pose_classifier_body18.onnx"] {
            fs::copy(project("models").join(name), models.join(name)).unwrap();
        }
        let mut run = Command::new(env!("CARGO_BIN_EXE_deeppipeline"));
        run.args(["behaviour", &clip(), "--multiprocess", "--models"]).arg(&models).arg("--output").arg(&out);
        let broken = models.join("movenet_lightning_192.onnx");
        // It begins like one, so that only its stage's process finds out.
        fs::write(&broken, &fs::read(&broken).unwrap()[..2000]).unwrap();
        assert_one_clear_line(&run.output().unwrap(), "movenet_lightning_192.onnx is broken");
        fs::write(&broken, "not a model").unwrap();
        assert_one_clear_line(&run.output().unwrap(), "movenet_lightning_192.onnx is broken");
        assert_eq!(files(&out), [""; 0]);
    }

    #[test]
    fn a_stage_that_is_killed_is_started_again_and_loses_at_most_what_it_had_in_flight() {
        let folder = tempfile::tempdir().unwrap();
        // At its own pace, so that the clip is not over before the first line of progress.
        let run = Running::start(folder.path(), &["--limit", "90", "--realtime", "--overflow", "block"]);
        let pid = run.pid();
        // The detector works the hardest.
        let cpu_time = |pid: &u32| stat(*pid, 11).unwrap_or(0) + stat(*pid, 12).unwrap_or(0);
        send("KILL", run.stages().into_iter().max_by_key(cpu_time).unwrap());
        let (stdout, stderr, code) = run.end();
        assert_eq!(code, Some(0), "{stdout}{stderr:?}");
        assert!(stdout.contains("; DetectPeople restarted once"), "{stdout}");
        let detect = stdout.lines().find(|line| line.starts_with("DetectPeople")).unwrap();
        let lost: u64 = detect.split_whitespace().rev().nth(1).unwrap().parse().unwrap();
        assert!(lost <= 1, "{stdout}");
        assert!(stdout.contains(&format!("\n{} frames, ", 90 - lost)), "{stdout}");
        assert_eq!(files(folder.path()), ["park.behaviour.jsonl", "park.behaviour.mp4"]);
        assert!(processes_of(pid).is_empty());
    }

    #[test]
    fn a_writer_that_is_killed_ends_the_run_with_a_clear_line() {
        let folder = tempfile::tempdir().unwrap();
        let run = Running::start(folder.path(), &[]);
        let pid = run.pid();
        // The one that has started an ffmpeg.
        let starters = processes_of(pid).into_iter().filter_map(parent);
        let writer = starters.into_iter().find(|starter| *starter != pid).unwrap();
        send("KILL", writer);
        let (_, said, code) = run.end();
        assert_eq!(code, Some(1), "{said:?}");
        let error = said.last().unwrap();
        assert!(error.starts_with("error: stage \"WriteVideo\" failed"), "{error}");
        assert!(error.contains("its worker was killed by SIGKILL"), "{error}");
        // Whether the lines had their end depends on who was faster; nothing looks as if it were whole.
        let partial = |name: &String| name == "park.behaviour.partial.jsonl";
        assert!(files(folder.path()).iter().all(partial), "{:?}", files(folder.path()));
        wait_until_gone(pid);
    }

    /// Ctrl-C in a terminal, and what a service manager and a closed terminal do.
    #[test]
    fn what_asks_every_process_to_stop_still_drains() {
        for (signal, expected) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
            let folder = tempfile::tempdir().unwrap();
            let run = Running::start(folder.path(), &[]);
            let pid = run.pid();
            send(signal, format!("-{pid}"));
            let (stdout, said, code) = run.end();
            assert_eq!(code, Some(expected), "{signal}: {said:?}");
            assert!(said.iter().any(|line| line.starts_with("interrupted after")), "{signal}: {said:?}");
            assert!(!stdout.contains("restarted"), "{signal}: {stdout}");
            assert_eq!(files(folder.path()), ["park.behaviour.partial.jsonl", "park.behaviour.partial.mp4"]);
            assert!(processes_of(pid).is_empty());
        }
    }

    #[test]
    fn a_second_ctrl_c_ends_even_a_stage_that_does_not_move() {
        let folder = tempfile::tempdir().unwrap();
        let run = Running::start(folder.path(), &[]);
        let pid = run.pid();
        send("STOP", run.stages()[0]);
        send("INT", format!("-{pid}"));
        // Two at the same time count as one: the first has closed the input.
        while is_reading(pid) {
            std::thread::yield_now();
        }
        send("INT", format!("-{pid}"));
        let (_, said, code) = run.end();
        assert_eq!(code, Some(130), "{said:?}");
        wait_until_gone(pid);
    }

    /// Returns true if the process reads its input, by an ffmpeg of its own.
    fn is_reading(pid: u32) -> bool {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let mut children = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        children.any(|child: u32| {
            let text = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            parent(child) == Some(pid) && text.contains("(ffmpeg)") && !text.contains(") Z")
        })
    }
}
