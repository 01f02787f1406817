//! The timelines that are written into a folder when something goes wrong, on a thread of their own.

use super::Supervisor;
use crate::aside;
use crate::buffer::Wait;
use crate::report::{Outcome, Report};
use crate::timeline::Mark;
use crate::whole_file;
use parking_lot::{Condvar, Mutex};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time after which it is looked again whether something has gone wrong.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The shortest time between two timelines of one pipeline, but for what is asked for and for its end.
const APART: Duration = Duration::from_secs(10);
/// The number of timelines that a folder keeps: the newest.
const KEPT: usize = 10;
/// The beginning and the end of the name of each.
const PREFIX: &str = "timeline-";
const SUFFIX: &str = ".json";
/// The digits of the time in it, in milliseconds.
const MILLISECONDS: usize = 16;

/// The number of timelines that this process has written, by which no two have the same name.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Whether a thread still has something to write.
#[derive(Default)]
pub(super) struct Dumping {
    goes_on: Mutex<bool>,
    over: Condvar,
}

impl Dumping {
    pub(super) fn goes_on(&self) -> bool {
        *self.goes_on.lock()
    }

    /// Waits until all is written; false when the caller would not wait any longer.
    pub(super) fn wait(&self, wait: Wait) -> bool {
        let mut goes_on = self.goes_on.lock();
        while *goes_on {
            match wait {
                Wait::Forever => self.over.wait(&mut goes_on),
                Wait::Until(deadline) if !self.over.wait_until(&mut goes_on, deadline).timed_out() => {}
                Wait::No | Wait::Until(_) => return !*goes_on,
            }
        }
        true
    }
}

/// Tells at the end, also after a panic, that nothing more is written.
struct Over(Arc<Dumping>);

impl Drop for Over {
    fn drop(&mut self) {
        *self.0.goes_on.lock() = false;
        self.0.over.notify_all();
    }
}

/// What had gone wrong when it was looked last.
#[derive(Default, PartialEq)]
struct Wrong {
    failed: u64,
    lost: u64,
    restarts: u64,
    expired: u64,
    has_failed: bool,
}

impl Wrong {
    fn of(report: &Report) -> Self {
        let mut wrong = Wrong { has_failed: report.outcome == Outcome::Failed, ..Wrong::default() };
        for stage in &report.stages {
            wrong.failed += stage.counts.failed;
            wrong.lost += stage.counts.lost;
            wrong.restarts += stage.restarts;
            wrong.expired += stage.buffer.expired;
        }
        wrong
    }

    /// What has gone wrong since, in words.
    fn since(&self, before: &Wrong) -> Option<&'static str> {
        match () {
            () if self.has_failed && !before.has_failed => Some("the pipeline failed"),
            () if self.lost > before.lost => Some("samples were lost"),
            () if self.restarts > before.restarts => Some("a worker died"),
            () if self.failed > before.failed => Some("a stage failed"),
            () if self.expired > before.expired => Some("samples were older than max_age"),
            () => None,
        }
    }
}

impl<V: Send + 'static> Supervisor<V> {
    /// Writes the timeline into that folder whenever something has gone wrong, until the pipeline has ended: a stage
    /// failed, a sample was lost or too old, a worker died; and when the process gets SIGUSR2.
    ///
    /// # Errors
    /// The error of the operating system, which has no thread for it.
    pub fn dump_to(self: &Arc<Self>, folder: PathBuf) -> io::Result<()> {
        let asked = Asked::new();
        *self.dumping.goes_on.lock() = true;
        let dumping = Arc::clone(&self.dumping);
        let pipeline = Arc::downgrade(self);
        let work = move || {
            let _over = Over(dumping);
            dump_until_the_end(&pipeline, &folder, &asked);
        };
        let thread = std::thread::Builder::new().name("timelines".to_owned()).spawn(work);
        thread.map(drop).inspect_err(|_| *self.dumping.goes_on.lock() = false)
    }

    fn dump(&self, folder: &Path, why: &str) {
        let mut timeline = self.timeline();
        timeline.marks.push(Mark { at: timeline.until, text: why.to_owned() });
        match write(folder, &timeline.to_json()) {
            Ok(path) => aside::log({
                let why = why.to_owned();
                move || tracing::warn!("{why}: the timeline is in {}", path.display())
            }),
            Err(error) => {
                let folder = folder.to_owned();
                aside::log(move || {
                    tracing::error!(
                        "the timeline could not be written in {folder:?}, and the pipeline goes on: {error}"
                    );
                });
            }
        }
    }
}

fn dump_until_the_end<V: Send + 'static>(pipeline: &Weak<Supervisor<V>>, folder: &Path, asked: &Asked) {
    let (mut before, mut last) = (Wrong::default(), None::<Instant>);
    loop {
        // A pipeline that nobody has any more has no workers either.
        let Some(pipeline) = pipeline.upgrade() else { return };
        let has_stopped = pipeline.wait_stopped(Wait::Until(Instant::now() + LOOK_EVERY));
        let is_asked = asked.take();
        let is_due = has_stopped || last.is_none_or(|last| last.elapsed() >= APART);
        if is_due || is_asked {
            let wrong = Wrong::of(&pipeline.report());
            let why = if is_asked { Some("asked for with SIGUSR2") } else { wrong.since(&before) };
            if let Some(why) = why {
                pipeline.dump(folder, why);
                last = Some(Instant::now());
            }
            before = wrong;
        }
        if has_stopped {
            return;
        }
    }
}

/// Writes a file that has its name only once it is whole, and removes the oldest where there are too many.
fn write(folder: &Path, text: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    // Names sort by time; several pipelines may share a folder.
    let (written, process) = (WRITTEN.fetch_add(1, Ordering::Relaxed) + 1, std::process::id());
    let name = format!("{PREFIX}{:0MILLISECONDS$}-{process}-{written}{SUFFIX}", now.as_millis());
    let path = whole_file::write(folder, &name, text)?;
    remove_oldest(folder)?;
    Ok(path)
}

fn remove_oldest(folder: &Path) -> io::Result<()> {
    whole_file::remove_abandoned(folder, is_ours)?;
    let paths = whole_file::list(folder, is_ours)?;
    for path in paths.iter().take(paths.len().saturating_sub(KEPT)) {
        whole_file::remove(path)?;
    }
    Ok(())
}

/// Returns true if a file of that name is one of those that are written here: whatever else there is stays.
fn is_ours(name: &str) -> bool {
    let parts = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    let parts: Vec<&str> = parts.unwrap_or_default().split('-').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|letter| letter.is_ascii_digit());
    parts.len() == 3 && parts[0].len() == MILLISECONDS && parts.iter().all(is_number)
}

/// Whether somebody has asked by a signal.
struct Asked {
    #[cfg(any(processes, signals))]
    signal: Arc<std::sync::atomic::AtomicBool>,
    #[cfg(any(processes, signals))]
    registered: Option<signal_hook::SigId>,
}

#[cfg(any(processes, signals))]
impl Asked {
    fn new() -> Self {
        let signal = Arc::default();
        let usr2 = signal_hook::consts::SIGUSR2;
        let may = !crate::signals::is_ignored(usr2);
        let registered = may.then(|| signal_hook::flag::register(usr2, Arc::clone(&signal)).ok()).flatten();
        Asked { signal, registered }
    }

    fn take(&self) -> bool {
        self.signal.swap(false, Ordering::Relaxed)
    }
}

#[cfg(any(processes, signals))]
impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(registered) = self.registered {
            signal_hook::low_level::unregister(registered);
        }
    }
}

#[cfg(not(any(processes, signals)))]
impl Asked {
    fn new() -> Self {
        Asked {}
    }

    fn take(&self) -> bool {
        false
    }
}
