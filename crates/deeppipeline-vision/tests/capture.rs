//! Tests of what comes out of a video: every picture once, at its time, and one clear line when something is wrong.

mod support;

use std::path::{Path, PathBuf};

use deeppipeline::Source;
use deeppipeline_vision::{Capture, Frame};
use support::{assert_one_line, ffmpeg, read_all};
use tempfile::TempDir;

fn clip(folder: &TempDir, name: &str, words: &str) -> PathBuf {
    let path = folder.path().join(name);
    ffmpeg(words, &path);
    path
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The first part of a file, as a full disk or a lost connection leaves it.
fn cut(path: &Path, part: f64) -> PathBuf {
    let bytes = std::fs::read(path).unwrap();
    let cut = path.with_file_name(format!("cut_{}", path.file_name().unwrap().display()));
    std::fs::write(&cut, &bytes[..(bytes.len() as f64 * part) as usize]).unwrap();
    cut
}

const PATTERN: &str = "-f lavfi -i testsrc=s=320x180:r=25:d=2 -c:v mpeg4 -g 10";

#[test]
fn every_picture_comes_once_at_its_time() {
    let folder = TempDir::new().unwrap();
    let mut capture = Capture::open(text(&clip(&folder, "a.mp4", PATTERN))).unwrap();
    assert_eq!((capture.width(), capture.height()), (320, 180));
    assert_eq!((capture.frame_rate(), capture.frames()), (Some(25.0), Some(50)));
    assert!(!Source::is_live(&capture));
    let (frames, error) = read_all(&mut capture);
    assert_eq!(error, None);
    assert_eq!(frames.len(), 50);
    for (place, frame) in frames.iter().enumerate() {
        assert_eq!(frame.index, place as u64);
        let off = frame.time.as_secs_f64() - place as f64 / 25.0;
        assert!(off.abs() < 1e-4, "frame {place} is at {:?}", frame.time);
    }
    assert!(matches!(capture.source_next(), Ok(None)));
}

#[test]
fn uneven_times_are_kept_and_nothing_is_repeated() {
    let folder = TempDir::new().unwrap();
    // Every picture but each third, so that gaps of one and two steps alternate.
    let uneven = "-f lavfi -i testsrc=s=64x64:r=10:d=3 -vf select=not(eq(mod(n\\,3)\\,1)) -c:v ffv1";
    let mut capture = Capture::open(text(&clip(&folder, "a.mkv", uneven))).unwrap();
    let (frames, error) = read_all(&mut capture);
    assert_eq!(error, None);
    let tenths: Vec<u64> = frames.iter().map(|frame| (frame.time.as_secs_f64() * 10.0).round() as u64).collect();
    let expected: Vec<u64> = (0..30).filter(|n| n % 3 != 1).collect();
    assert_eq!(tenths, expected);
}

#[test]
fn a_limit_ends_it_early() {
    let folder = TempDir::new().unwrap();
    let path = text(&clip(&folder, "a.mp4", PATTERN));
    let mut capture = Capture::options(path).limit(7).open().unwrap();
    assert_eq!(capture.frames(), Some(7));
    let (frames, error) = read_all(&mut capture);
    assert_eq!((frames.len(), error), (7, None));
}

#[test]
fn a_rotated_recording_comes_upright() {
    let folder = TempDir::new().unwrap();
    let flat = clip(&folder, "flat.mp4", PATTERN);
    let turned = folder.path().join("turned.mp4");
    ffmpeg(&format!("-i {} -c copy -metadata:s:v rotate=90", flat.display()), &turned);
    let capture = Capture::open(text(&turned)).unwrap();
    if (capture.width(), capture.height()) == (320, 180) {
        println!("skipped: this ffmpeg does not write the rotation");
        return;
    }
    assert_eq!((capture.width(), capture.height()), (180, 320));
}

#[test]
fn a_closer_ends_a_live_input_from_another_thread() {
    let mut capture = Capture::options("testsrc=s=64x64:r=5").format("lavfi").realtime(true).open().unwrap();
    assert!(Source::is_live(&capture), "the pipeline would wait for room");
    let close = capture.closer().unwrap();
    let closer = std::thread::spawn(close);
    let (_, error) = read_all(&mut capture);
    assert_eq!(error, None);
    closer.join().unwrap();
}

#[test]
fn a_cut_file_gives_what_it_has_and_then_says_so() {
    let folder = TempDir::new().unwrap();
    for name in ["a.mp4", "a.mkv", "a.avi"] {
        let whole = clip(&folder, name, &format!("{PATTERN} -movflags +faststart"));
        let path = cut(&whole, 0.6);
        let mut capture = Capture::open(text(&path)).unwrap();
        let (frames, error) = read_all(&mut capture);
        assert!(frames.len() > 10 && frames.len() < 50, "{name}: {} frames", frames.len());
        assert_one_line(&error.unwrap_or_else(|| panic!("{name} passed for whole")), &["cut or damaged", &text(&path)]);
    }
}

/// Returns true if every pixel is of about this colour.
fn is_of(frame: &Frame, colour: [u8; 3]) -> bool {
    frame
        .pixels
        .chunks_exact(3)
        .all(|pixel| pixel.iter().zip(colour).all(|(found, wanted)| found.abs_diff(wanted) < 40))
}

/// Pieces of one colour and size each, one after the other, as a camera sends them whose setting is changed.
fn changing(folder: &TempDir, sizes: [&str; 3]) -> PathBuf {
    let mut whole = Vec::new();
    for (size, colour) in sizes.iter().zip(["red", "lime", "blue"]) {
        let piece =
            clip(folder, "piece.mjpeg", &format!("-f lavfi -i color={colour}:s={size}:r=25:d=1 -c:v mjpeg -q:v 2"));
        whole.extend(std::fs::read(piece).unwrap());
    }
    let path = folder.path().join("whole.mjpeg");
    std::fs::write(&path, whole).unwrap();
    path
}

#[test]
fn where_the_size_changes_every_picture_has_its_own_and_is_whole() {
    let folder = TempDir::new().unwrap();
    for sizes in [["160x96", "320x192", "160x96"], ["320x192", "160x96", "192x320"]] {
        let (frames, error) = read_all(&mut Capture::open(changing(&folder, sizes)).unwrap());
        assert_eq!((frames.len(), error), (75, None));
        let colours = [[254, 0, 0], [0, 255, 0], [0, 0, 254]];
        for (place, frame) in frames.iter().enumerate() {
            assert_eq!(format!("{}x{}", frame.width, frame.height), sizes[place / 25], "frame {place}");
            assert!(is_of(frame, colours[place / 25]), "frame {place} is mashed");
            assert!(place == 0 || frame.time > frames[place - 1].time);
        }
    }
}

#[test]
fn times_are_exact_also_late_in_a_stream() {
    let folder = TempDir::new().unwrap();
    let late =
        "-f lavfi -i testsrc=s=64x64:r=30:d=1 -vf setpts=PTS+100000.125/TB*gt(N\\,0) -fps_mode passthrough -c:v ffv1";
    let (frames, _) = read_all(&mut Capture::open(clip(&folder, "a.mkv", late)).unwrap());
    // Matroska counts milliseconds.
    let step = frames[2].time - frames[1].time;
    assert!(step.as_millis().abs_diff(33) <= 1, "{:?} and {:?}", frames[1].time, frames[2].time);
    assert!(frames[1].time.as_secs_f64() > 100_000.0);
}

#[test]
fn anamorphic_recordings_come_in_square_pixels() {
    let folder = TempDir::new().unwrap();
    for (ratio, size) in [("64/45", (1024, 576)), ("8/9", (720, 648)), ("1", (720, 576)), ("0", (720, 576))] {
        let words = format!("-f lavfi -i testsrc=s=720x576:r=25:d=0.2 -vf setsar={ratio} -c:v ffv1");
        let capture = Capture::open(clip(&folder, "a.mkv", &words)).unwrap();
        assert_eq!((capture.width(), capture.height()), size, "{ratio}");
    }
}

#[test]
fn high_dynamic_range_is_warned_of() {
    let folder = TempDir::new().unwrap();
    let tags = "-vf setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc";
    let hdr =
        clip(&folder, "hdr.mkv", &format!("-f lavfi -i testsrc=s=64x64:d=0.2 -pix_fmt yuv420p10le {tags} -c:v ffv1"));
    let (sender, logged) = std::sync::mpsc::channel();
    let plain = clip(&folder, "a.mp4", PATTERN);
    support::logging(sender, || (Capture::open(&hdr).unwrap(), Capture::open(&plain).unwrap()));
    let warnings: Vec<String> = logged.iter().collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_one_line(warnings[0].trim(), &["WARN", "hdr.mkv", "smpte2084", "not tone-mapped"]);
}

#[test]
fn damage_in_the_middle_of_a_short_recording_is_logged_and_does_not_pass_for_a_cut() {
    let folder = TempDir::new().unwrap();
    let path = clip(&folder, "a.ts", "-f lavfi -i testsrc=s=320x180:r=25:d=2 -c:v mpeg2video -g 10 -q:v 3");
    let mut bytes = std::fs::read(&path).unwrap();
    let third = bytes.len() / 3;
    bytes[third..third + 20_000].iter_mut().step_by(97).for_each(|byte| *byte ^= 0xFF);
    std::fs::write(&path, bytes).unwrap();
    let mut capture = Capture::open(&path).unwrap();
    let (sender, logged) = std::sync::mpsc::channel();
    let (frames, error) = support::logging(sender, || read_all(&mut capture));
    assert_eq!(error, None);
    assert!(frames.len() > 40, "{}", frames.len());
    assert!(logged.iter().any(|line| line.contains("a.ts is damaged")));
}

#[test]
fn pictures_that_cannot_be_decoded_are_told_with_the_reason() {
    let folder = TempDir::new().unwrap();
    let whole = clip(&folder, "a.ts", "-f lavfi -i testsrc=s=640x360:r=25:d=1 -c:v mpeg2video -g 100 -q:v 3");
    // Without its first picture, which says what the others are.
    let bytes = std::fs::read(&whole).unwrap();
    let headless = folder.path().join("headless.ts");
    std::fs::write(&headless, &bytes[bytes.len() / 2..]).unwrap();
    let error = Capture::open(&headless).err().unwrap().to_string();
    assert_one_line(&error, &["headless.ts"]);
    assert!(!error.contains("marking filters"), "{error}");
}

#[test]
fn a_file_cut_before_its_table_of_contents_cannot_be_opened() {
    let folder = TempDir::new().unwrap();
    let path = cut(&clip(&folder, "a.mp4", PATTERN), 0.6);
    let error = Capture::open(text(&path)).err().unwrap().to_string();
    assert_one_line(&error, &["cannot open video", &text(&path)]);
}

#[test]
fn what_is_no_video_is_named() {
    let folder = TempDir::new().unwrap();
    let letter = folder.path().join("letter.mp4");
    std::fs::write(&letter, "dear reader").unwrap();
    assert_one_line(
        &Capture::open(text(&letter)).err().unwrap().to_string(),
        &["cannot open video", "letter.mp4", "Invalid data"],
    );
    assert_one_line(
        &Capture::open("no/such.mp4").err().unwrap().to_string(),
        &["cannot open video no/such.mp4", "No such file"],
    );
    assert_one_line(
        &Capture::open(text(folder.path())).err().unwrap().to_string(),
        &["cannot open video", "Is a directory"],
    );
}

#[test]
fn a_file_without_pictures_is_named() {
    let folder = TempDir::new().unwrap();
    let sound = clip(&folder, "sound.mp4", "-f lavfi -i sine=d=1 -c:a aac");
    let error = Capture::open(text(&sound)).err().unwrap().to_string();
    assert_one_line(&error, &["sound.mp4 has no video frames"]);
}

#[test]
fn dropping_it_early_leaves_no_process() {
    let children = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    if !Path::new("/proc/self/task").exists() {
        return;
    }
    let before = children();
    let mut capture = Capture::options("testsrc=s=64x64:r=5").format("lavfi").open().unwrap();
    capture.source_next().unwrap();
    let ours: Vec<String> = children().into_iter().filter(|child| !before.contains(child)).collect();
    drop(capture);
    let mine = |child: &String| {
        let name = std::fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        name.contains("s=64x64:r=5") && !name.contains("-re")
    };
    assert!(!ours.iter().any(mine), "still there: {ours:?}");
}
