//! Tests that look at their whole process, or kill it, run in one of their own: the test program, started again.

use std::process::Command;

/// Set for a test in a process of its own: its name.
const VARIABLE: &str = "PROCESSES_ALONE";

/// Runs the rest of a test in a process of its own: true there, and in the test once that process has succeeded.
pub(crate) fn is_alone(test: &str) -> bool {
    if is_here(test) {
        return true;
    }
    let output = command(test).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{test} alone: {}\n{stdout}{stderr}", output.status);
    print!("{stdout}");
    false
}

/// Whether this is the process of that test alone.
pub(crate) fn is_here(test: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|alone| alone == test)
}

/// What starts a test in a process of its own.
pub(crate) fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--quiet"]).env(VARIABLE, test);
    command
}

/// The descriptors that this process has open.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The threads of this process.
pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// The processes whose parent this one is.
pub(crate) fn children() -> Vec<u32> {
    let own = std::process::id();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(own)).collect()
}

/// The parent of a process, if there is such a process.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?.split_whitespace().nth(1)?.parse().ok()
}

/// In which state a process is, as the system writes it: `T` for one that a signal has stopped.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    stat(pid)?.trim_start().chars().next()
}

/// What the system says about a process behind its name, which may hold anything: its state, its parent and more.
fn stat(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next().map(str::to_owned)
}

/// The files in memory that nobody has named: what buffers lie in.
pub(crate) fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:deeppipeline")).count()
}
