//! Files appear whole or not at all.

mod support;

use std::path::Path;

use deeppipeline::Stage;
use deeppipeline_vision::{Behaviour, Bounds, Capture, Frame, Record, Scene, WriteVideo};
use support::{assert_one_line, in_a_folder_of_its_own, logging, picture, read_all, scene};
use tempfile::TempDir;

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().display().to_string()).collect();
    names.sort();
    names
}

/// The number of files, all of which must be unfinished.
fn parts(folder: &Path, start: &str) -> usize {
    let files = files(folder);
    assert!(files.iter().all(|name| name.starts_with(start) && name.ends_with(".part")), "{files:?}");
    files.len()
}

#[cfg(unix)]
#[test]
fn a_link_at_a_name_that_can_be_guessed_is_not_written_through() {
    let folder = TempDir::new().unwrap();
    let of_somebody_else = folder.path().join("precious");
    std::fs::write(&of_somebody_else, "precious").unwrap();
    std::os::unix::fs::symlink(&of_somebody_else, folder.path().join(".out.jsonl.part")).unwrap();
    let mut record = Record::create(folder.path().join("out.jsonl")).unwrap();
    record.stage_run(scene(0, &[])).unwrap();
    record.finish().unwrap();
    assert_eq!(std::fs::read_to_string(&of_somebody_else).unwrap(), "precious");
}

#[test]
fn a_name_that_is_refused_in_the_end_does_not_cost_what_was_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.jsonl");
    let mut record = Record::create(&path).unwrap();
    record.stage_run(scene(0, &[(Bounds { left: 1.0, top: 2.0, right: 3.0, bottom: 4.0 }, 0.5)])).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = record.finish().err().unwrap().to_string();
    drop(record);
    let kept = files(folder.path()).into_iter().find(|name| name.ends_with(".part")).unwrap();
    assert_one_line(&error, &["cannot write", "out.jsonl", &kept]);
    assert!(std::fs::read_to_string(folder.path().join(kept)).unwrap().starts_with("{\"frame\":0"));
}

#[cfg(unix)]
#[test]
fn a_file_may_be_read_by_whom_any_new_file_may_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
    let (plain, path) = (folder.path().join("plain"), folder.path().join("out.jsonl"));
    std::fs::write(&plain, "").unwrap();
    Record::create(&path).unwrap().finish().unwrap();
    assert_eq!(mode(&path), mode(&plain));
}

fn noise(width: u32, height: u32, index: u64) -> Scene {
    let mut state = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let pixels = (0..width * height * 3).map(|_| byte()).collect();
    Scene::new(Frame::new(width, height, index, std::time::Duration::from_millis(index * 40), pixels).unwrap())
}

#[test]
fn a_video_keeps_its_pictures_and_uneven_times() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.mp4");
    let mut write = WriteVideo::create(&path, Some(25.0)).unwrap();
    let steps = [0, 1, 2, 5, 6, 10];
    for step in steps {
        write.stage_run(Scene::new(picture(64, 48, step, [90, 120, 30]))).unwrap();
        assert_eq!(parts(folder.path(), ".out.mp4."), 1);
    }
    write.finish().unwrap();
    write.teardown().unwrap();
    assert_eq!(files(folder.path()), ["out.mp4"]);
    let (frames, error) = read_all(&mut Capture::open(path.display().to_string()).unwrap());
    assert_eq!(error, None);
    let read: Vec<u64> = frames.iter().map(|frame| (frame.time.as_secs_f64() / 0.04).round() as u64).collect();
    assert_eq!(read, steps);
}

/// The process that writes into a folder, once it has its arguments.
#[cfg(target_os = "linux")]
fn writer_into(folder: &Path) -> String {
    let part = format!("{}/.", folder.display());
    let writes = |id: &String| {
        let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&part)
    };
    loop {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        if let Some(id) = processes.map(|process| process.file_name().display().to_string()).find(writes) {
            return id;
        }
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn signals_that_ask_a_program_to_stop_do_not_cut_a_video_short() {
    let folder = TempDir::new().unwrap();
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let path = folder.path().join("out.mp4");
        let mut write = WriteVideo::create(&path, Some(25.0)).unwrap();
        write.stage_run(noise(64, 48, 0)).unwrap();
        let kill = std::process::Command::new("kill").args(["-s", signal, &writer_into(folder.path())]).status();
        assert!(kill.unwrap().success());
        (1..100).for_each(|index| drop(write.stage_run(noise(64, 48, index)).unwrap()));
        write.finish().unwrap();
        assert_eq!(read_all(&mut Capture::open(&path).unwrap()).0.len(), 100, "after {signal}");
    }
}

#[test]
fn an_odd_size_is_padded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("odd.mp4");
    let mut write = WriteVideo::create(&path, None).unwrap();
    write.stage_run(Scene::new(picture(63, 49, 0, [10, 200, 10]))).unwrap();
    write.finish().unwrap();
    let capture = Capture::open(path.display().to_string()).unwrap();
    assert_eq!((capture.width(), capture.height()), (64, 50));
}

#[test]
fn an_unfinished_video_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let mut write = WriteVideo::create(folder.path().join("out.mp4"), None).unwrap();
    write.stage_run(noise(64, 48, 0)).unwrap();
    write.teardown().unwrap();
    assert!(files(folder.path()).is_empty());
    drop(WriteVideo::create(folder.path().join("never.mp4"), None).unwrap());
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_video_without_pictures_is_an_error() {
    let folder = TempDir::new().unwrap();
    let mut write = WriteVideo::create(folder.path().join("out.mp4"), None).unwrap();
    let error = write.finish().err().unwrap().to_string();
    assert_one_line(&error, &["out.mp4", "no picture"]);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_picture_of_another_size_is_fitted_into_the_video_and_logged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.mp4");
    let mut write = WriteVideo::create(&path, Some(25.0)).unwrap();
    let (sender, logged) = std::sync::mpsc::channel();
    logging(sender, || {
        for (index, (width, height)) in [(64, 48), (128, 48), (64, 48)].into_iter().enumerate() {
            write.stage_run(Scene::new(picture(width, height, index as u64, [200, 200, 200]))).unwrap();
        }
    });
    write.finish().unwrap();
    let warnings: Vec<String> = logged.iter().collect();
    assert_one_line(warnings[0].trim(), &["WARN", "out.mp4", "64x48", "128x48"]);
    let (frames, _) = read_all(&mut Capture::open(&path).unwrap());
    assert_eq!(frames.iter().map(|frame| (frame.width, frame.height)).collect::<Vec<_>>(), [(64, 48); 3]);
    // Twice as wide as high: a quarter above and below stays black.
    let row = |frame: &Frame, row: usize| frame.pixels[row * 64 * 3..][..3].to_vec();
    for (place, dark) in [(0, false), (1, true), (2, false)] {
        assert_eq!(row(&frames[place], 4)[0] < 40, dark, "picture {place}: {:?}", row(&frames[place], 4));
        assert!(row(&frames[place], 24)[0] > 160, "picture {place}");
    }
}

#[test]
fn a_picture_without_pixels_is_an_error() {
    let folder = TempDir::new().unwrap();
    let mut write = WriteVideo::create(folder.path().join("out.mp4"), None).unwrap();
    let error = write.stage_run(Scene::new(picture(0, 48, 3, [0; 3]))).err().unwrap().to_string();
    assert_one_line(&error, &["out.mp4", "picture 3 has no pixels"]);
}

#[test]
fn a_name_with_a_colon_is_a_file() {
    in_a_folder_of_its_own("a_name_with_a_colon_is_a_file", || {
        let mut write = WriteVideo::create("take:2.mp4", None).unwrap();
        write.stage_run(noise(64, 48, 0)).unwrap();
        write.finish().unwrap();
        assert_eq!(read_all(&mut Capture::open("take:2.mp4").unwrap()).0.len(), 1);
    });
}

#[test]
fn a_place_that_cannot_be_written_is_named_at_once() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("no/such/out.mp4");
    assert_one_line(
        &WriteVideo::create(&missing, None).err().unwrap().to_string(),
        &["cannot write", "no/such/out.mp4", "No such file"],
    );
    assert_one_line(&Record::create(&missing).err().unwrap().to_string(), &["cannot write", "No such file"]);
    assert_one_line(&Record::create(folder.path()).err().unwrap().to_string(), &["is a folder"]);
    if Path::new("/proc/self").exists() {
        // Nobody may write there, not even root.
        assert_one_line(
            &Record::create("/proc/self/out.jsonl").err().unwrap().to_string(),
            &["cannot write /proc/self/out.jsonl"],
        );
    }
}

#[test]
fn records_are_one_line_for_each_person() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.jsonl");
    let mut record = Record::create(&path).unwrap();
    let mut seen = scene(3, &[(Bounds { left: 1.0, top: 2.0, right: 30.25, bottom: 40.0 }, 0.5)]);
    seen.people[0].track = Some(7);
    seen.people[0].behaviour = Some(Behaviour { label: "walking".into(), score: 0.875 });
    record.stage_run(seen).unwrap();
    record.stage_run(scene(4, &[])).unwrap();
    assert_eq!(parts(folder.path(), ".out.jsonl."), 1);
    record.finish().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        "{\"frame\":3,\"time\":0.12,\"track\":7,\"box\":[1.0,2.0,30.3,40.0],\"score\":0.5,\"behaviour\":\"walking\",\"behaviour_score\":0.875}\n"
    );
}

/// A folder on a disk of one megabyte; `None` where that takes rights the test does not have.
#[cfg(target_os = "linux")]
struct SmallDisk(TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = TempDir::new().ok()?;
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder.path())
            .stderr(std::process::Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_one_line_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: mounting a small disk takes rights this test does not have");
        return;
    };
    let path = disk.0.path().join("out.mp4");
    let mut write = WriteVideo::create(&path, None).unwrap();
    let until_full = (0..200).find_map(|index| write.stage_run(noise(320, 240, index)).err());
    let error = until_full.or_else(|| write.finish().err()).expect("200 pictures of noise do not fit").to_string();
    assert_one_line(&error, &["out.mp4", "No space left"]);
    write.teardown().unwrap();
    assert!(files(disk.0.path()).is_empty());

    let mut record = Record::create(disk.0.path().join("out.jsonl")).unwrap();
    let crowd = || scene(0, &[(Bounds { left: 0.0, top: 0.0, right: 9.0, bottom: 9.0 }, 0.5); 100]);
    let until_full = (0..1000).find_map(|_| record.stage_run(crowd()).err());
    assert_one_line(&until_full.unwrap().to_string(), &["out.jsonl", "No space left"]);
    record.teardown().unwrap();
    assert!(files(disk.0.path()).is_empty());
}
