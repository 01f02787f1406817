//! Tests of the names of inputs, of how often they are opened, and of what happens when nothing comes from one.
#![cfg(unix)]

mod support;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use deeppipeline::Source;
use deeppipeline_vision::{Capture, CaptureError};
use support::{again, assert_one_line, ffmpeg, in_a_folder_of_its_own, is_again, logging, read_all};
use tempfile::TempDir;

/// Ten pictures, large enough that their colours are settled by their size.
const LARGE: &str = "-f lavfi -i testsrc=s=1280x720:r=10:d=1 -c:v mpeg2video -q:v 5";

fn clip(folder: &Path, name: impl AsRef<Path>) -> PathBuf {
    let path = folder.join(name);
    ffmpeg(LARGE, &path);
    path
}

fn pictures(input: impl AsRef<std::ffi::OsStr>) -> usize {
    let (frames, error) = read_all(&mut Capture::open(input).unwrap());
    assert_eq!(error, None);
    frames.len()
}

/// Ten pictures that are more bytes than ffmpeg wants to see before it takes an input for open.
fn stream(folder: &TempDir) -> Vec<u8> {
    let path = folder.path().join("stream.nut");
    ffmpeg("-f lavfi -i testsrc=s=640x360:r=10:d=1 -c:v rawvideo -pix_fmt rgb24", &path);
    std::fs::read(path).unwrap()
}

/// A camera that is connected once, sends the bytes, and keeps the connection, which is given back.
fn camera(bytes: Vec<u8>) -> (String, std::thread::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let connected = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        // It may have seen enough.
        let _ = client.write_all(&bytes);
        client
    });
    (address, connected)
}

#[test]
fn a_pipe_is_read_from_its_first_byte() {
    let folder = TempDir::new().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let bytes = std::fs::read(clip(folder.path(), "a.ts")).unwrap();
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, bytes)
    });
    assert_eq!(pictures(&fifo), 10);
    writer.join().unwrap().unwrap();
}

#[test]
fn a_server_for_one_client_is_connected_once() {
    let folder = TempDir::new().unwrap();
    let (address, connected) = camera(std::fs::read(clip(folder.path(), "a.ts")).unwrap());
    let closed = std::thread::spawn(|| connected.join().unwrap().shutdown(Shutdown::Both));
    let mut capture = Capture::open(&address).unwrap();
    assert!(capture.is_live());
    let (frames, error) = read_all(&mut capture);
    assert_eq!((frames.len(), error), (10, None));
    closed.join().unwrap().unwrap();
}

#[test]
fn standard_input_is_that_of_the_program() {
    const TEST: &str = "standard_input_is_that_of_the_program";
    if is_again() {
        println!("{} pictures", pictures(std::env::var_os("INPUT").unwrap()));
        return;
    }
    let folder = TempDir::new().unwrap();
    // The table of contents of an MP4 is at its end: only a file can be read so, not a pipe.
    let (stream, file) = (clip(folder.path(), "a.ts"), clip(folder.path(), "a.mp4"));
    for (input, path, as_pipe) in
        [("-", &stream, true), ("/dev/stdin", &stream, true), ("pipe:0", &stream, true), ("-", &file, false)]
    {
        let mut cat = Command::new("cat").arg(path).stdout(Stdio::piped()).spawn().unwrap();
        let pipe = cat.stdout.take().unwrap();
        let given = if as_pipe { Stdio::from(pipe) } else { Stdio::from(std::fs::File::open(path).unwrap()) };
        let run = again(TEST).env("INPUT", input).stdin(given).output().unwrap();
        let text = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
        assert!(text.contains("10 pictures"), "{input}, {path:?}: {text}");
        cat.wait().unwrap();
    }
}

#[test]
fn a_file_may_have_any_name() {
    in_a_folder_of_its_own("a_file_may_have_any_name", || {
        let whole = clip(Path::new("."), "whole.ts");
        std::fs::create_dir("dir:1").unwrap();
        let not_utf8 = OsString::from_vec(b"lat\xEFn1.ts".to_vec());
        let names =
            ["cam:1.ts", "2024-01-01T12:30:05.ts", "-dash.ts", "50%.ts", "shot%03d.ts", "dir:1/x.ts", "pipe:.ts"];
        for name in names.iter().map(OsString::from).chain([not_utf8.clone()]) {
            std::fs::copy(&whole, &name).unwrap();
            assert_eq!(pictures(&name), 10, "{name:?}");
        }
        assert_eq!(pictures("file:cam:1.ts"), 10);
        let error = Capture::open("no:such.ts").err().unwrap().to_string();
        assert_one_line(&error, &["cannot open video no:such.ts: No such file"]);
        std::fs::write(&not_utf8, "no video").unwrap();
        assert_one_line(&Capture::open(&not_utf8).err().unwrap().to_string(), &["lat\u{FFFD}n1.ts"]);
        assert_one_line(&Capture::open("no such\nline.ts").err().unwrap().to_string(), &["no such\\nline.ts"]);
    });
}

#[test]
fn a_password_is_in_no_error_and_no_log() {
    let (sender, logged) = channel();
    let mut said = logging(sender, || {
        let options = Capture::options("rtsp://user:hunter2@127.0.0.1:9/live");
        [format!("{options:?}"), options.open().err().map(|error| format!("{error} {error:?}")).unwrap()]
    })
    .to_vec();
    said.extend(logged.iter());
    for text in said {
        assert!(text.contains("rtsp://user:***@127.0.0.1:9/live") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn an_input_that_gives_nothing_is_given_up_after_a_bound_or_when_told_to() {
    let (address, connected) = camera(Vec::new());
    let error = Capture::options(&address).open_timeout(Duration::ZERO).open().err().unwrap();
    assert!(matches!(error, CaptureError::TimedOut { .. }), "{error}");
    assert_one_line(&error.to_string(), &[&address, "no picture came within 0 s", "open_timeout"]);
    drop(connected);

    let (address, _connected) = camera(Vec::new());
    let mut asked = 0;
    let error = Capture::options(address).open_while(|| {
        asked += 1;
        asked < 2
    });
    assert!(matches!(error.err().unwrap(), CaptureError::Interrupted { .. }));
}

#[test]
fn a_stall_is_logged_while_it_lasts_and_can_be_ended() {
    let folder = TempDir::new().unwrap();
    let (address, connected) = camera(stream(&folder));
    let mut capture = Capture::options(&address).stall_after(Duration::from_millis(50)).open().unwrap();
    let close = capture.closer().unwrap();
    let (sender, logged) = channel();
    let reader = std::thread::spawn(move || logging(sender, || read_all(&mut capture)));
    let warning = logged.recv().unwrap();
    assert_one_line(warning.trim(), &["WARN", &address, "has stalled"]);
    close();
    assert_eq!(reader.join().unwrap().1, None);
    drop(connected);
}

#[test]
fn signals_that_ask_a_program_to_stop_do_not_cut_what_it_reads() {
    for signal in ["TERM", "INT", "HUP"] {
        let folder = TempDir::new().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let bytes = stream(&folder);
        let (before, after) = bytes.split_at(bytes.len() * 9 / 10);
        let (before, after) = (before.to_vec(), after.to_vec());
        let (go_on, may_go_on) = channel();
        let into = fifo.clone();
        let camera = std::thread::spawn(move || {
            let mut into = std::fs::File::create(into).unwrap();
            into.write_all(&before).unwrap();
            may_go_on.recv().unwrap();
            // Nobody may be there any more.
            let _ = into.write_all(&after);
        });
        let mut capture = Capture::open(&fifo).unwrap();
        assert!(capture.source_next().unwrap().is_some());
        // The shell that guards ffmpeg, and ffmpeg.
        let kill = Command::new("pkill").args([&format!("-{signal}"), "-f"]).arg(&fifo).status();
        assert!(kill.unwrap().success(), "nothing reads it");
        go_on.send(()).unwrap();
        let (frames, error) = read_all(&mut capture);
        assert_eq!((frames.len(), error), (9, None), "after {signal}");
        camera.join().unwrap();
    }
}

#[test]
fn ffmpeg_ends_with_a_program_that_is_killed() {
    const TEST: &str = "ffmpeg_ends_with_a_program_that_is_killed";
    if is_again() {
        let _ = read_all(&mut Capture::open(std::env::var_os("INPUT").unwrap()).unwrap());
        return;
    }
    // Once while it is being opened, once while it is read.
    let folder = TempDir::new().unwrap();
    for bytes in [Vec::new(), stream(&folder)] {
        let (address, connected) = camera(bytes);
        let mut program =
            again(TEST).env("INPUT", address).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut connection = connected.join().unwrap();
        program.kill().unwrap();
        program.wait().unwrap();
        // Far more than it takes, and less than for ever.
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let ended = connection.read(&mut [0]);
        assert!(
            !matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
            "ffmpeg is still there"
        );
    }
}

#[test]
fn a_log_and_pictures_that_do_not_agree_are_an_error_and_no_picture() {
    use std::os::unix::fs::PermissionsExt;
    const TEST: &str = "a_log_and_pictures_that_do_not_agree_are_an_error_and_no_picture";
    if is_again() {
        let error = Capture::open(std::env::var_os("INPUT").unwrap()).err().unwrap().to_string();
        assert_one_line(&error, &["a.ts cannot be read on after frame 0", "1280x719", "2764800 bytes"]);
        return;
    }
    let folder = TempDir::new().unwrap();
    let liar = folder.path().join("ffmpeg");
    let real = std::env::var("DEEPPIPELINE_FFMPEG").unwrap_or_else(|_| "ffmpeg".into());
    let script = format!("#!/bin/sh\n{{ {real} \"$@\" 2>&1 >&3 | sed -u 's/ s:1280x720/ s:1280x719/' >&2; }} 3>&1\n");
    std::fs::write(&liar, script).unwrap();
    std::fs::set_permissions(&liar, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = again(TEST).env("DEEPPIPELINE_FFMPEG", liar).env("INPUT", clip(folder.path(), "a.ts")).output().unwrap();
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
}
