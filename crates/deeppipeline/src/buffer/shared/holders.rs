//! The knowledge that the pipeline's process has of the processes at a buffer, and its judgement on one that keeps the
//! lock.
//!
//! The lock is held for some microseconds. So a holder that comes no further is stopped, or waits for a processor or
//! for the disk; how often a process looked in vain says nothing about it, and neither does the time that this process
//! was stopped itself. Only one holder, in one step, seen at the same place for the whole patience is judged.

use super::owner::Owner;
use super::words::{Held, Holder};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, pidfd_send_signal};
use rustix::time::Timespec;
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The time that a process may wait for the lock before looking at its holder, and the most of the time since the last
/// look that counts.
pub(super) const LOOK_AFTER: Duration = Duration::from_millis(500);
const LOOK_COUNTS: Duration = Duration::from_secs(1);
/// The time for which a holder has to be seen where it is before it is judged.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time after which it is judged even though it seems to run.
const LAST_PATIENCE: Duration = Duration::from_secs(60);

/// A process at a buffer.
#[derive(Debug)]
struct Sharer {
    owner: Owner,
    pid: u32,
    process: Arc<OwnedFd>,
    killed: bool,
}

/// A holder that was seen more than once.
#[derive(Debug, Clone, Copy)]
struct Seen {
    held: Held,
    looked: Instant,
    stands_for: Duration,
}

impl Seen {
    /// The same after another look, at that time.
    fn again(before: Option<Seen>, held: Held, now: Instant) -> Seen {
        match before.filter(|before| before.held == held) {
            Some(before) => {
                let more = now.saturating_duration_since(before.looked).min(LOOK_COUNTS);
                Seen { looked: now, stands_for: before.stands_for + more, ..before }
            }
            None => Seen { held, looked: now, stands_for: Duration::ZERO },
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    sharers: Vec<Sharer>,
    seen: Option<Seen>,
}

/// The processes at one buffer, as the pipeline's process knows them; a worker process knows none.
#[derive(Debug, Default)]
pub(super) struct Holders {
    known: Mutex<Known>,
    /// True if a thread of this process has the lock. The lock itself orders what it protects.
    has_lock: AtomicBool,
}

impl Holders {
    /// Lets a process share the buffer from now on as this owner, instead of the one before it.
    pub(super) fn add(&self, owner: Owner, pid: u32, process: Arc<OwnedFd>) {
        let mut known = self.known.lock();
        known.sharers.retain(|sharer| sharer.owner != owner);
        known.sharers.push(Sharer { owner, pid, process, killed: false });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.lock().sharers.is_empty()
    }

    pub(super) fn has_lock(&self, has: bool) {
        self.has_lock.store(has, Ordering::Relaxed);
    }

    /// Returns true if that process was killed because it stood still while it had the lock.
    pub(super) fn has_killed(&self, owner: Owner) -> bool {
        self.known.lock().sharers.iter().any(|sharer| sharer.owner == owner && sharer.killed)
    }

    /// Looks at the holder. One that is stopped is killed, since everybody at the buffer waits for it; its lock is
    /// inherited when it has ended. One that sleeps does not have the lock, whatever the memory says.
    pub(super) fn judge(&self, held: Held, now: Instant) -> Holder {
        let Known { sharers, seen } = &mut *self.known.lock();
        let holder = sharers.iter_mut().find(|sharer| sharer.owner == held.holder);
        if holder.as_ref().is_some_and(|holder| has_ended(&holder.process)) {
            return Holder::Ended;
        }
        let stands_for = seen.insert(Seen::again(*seen, held, now)).stands_for;
        if stands_for < PATIENCE {
            return Holder::Lives;
        }
        match holder {
            // It ends now, whatever its threads seem to do meanwhile.
            Some(holder) if holder.killed => Holder::Lives,
            Some(holder) => {
                let stopped = is_stopped(holder.pid);
                if stopped == Some(false) && is_asleep(holder.pid) {
                    return Holder::Nobody;
                }
                if stopped == Some(true) || stands_for >= LAST_PATIENCE {
                    // It fails only where there is nothing left to kill.
                    let _ = pidfd_send_signal(&holder.process, Signal::KILL);
                    holder.killed = true;
                }
                Holder::Lives
            }
            None if held.holder == Owner::PIPELINE && self.has_lock.load(Ordering::Relaxed) => Holder::Lives,
            None => Holder::Nobody,
        }
    }
}

fn has_ended(process: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)), Ok(1))
}

/// Returns true if a process is stopped: by a signal, a debugger, or with its control group. `None` of one that has
/// ended.
pub(crate) fn is_stopped(pid: u32) -> Option<bool> {
    let states = states(pid);
    let lives = states.iter().any(|state| !matches!(state, 'Z' | 'X'));
    lives.then(|| states.iter().any(|state| matches!(state, 'T' | 't')) || is_frozen(pid))
}

/// Returns true if all threads of a process wait for something that happens outside it. No thread does so while it has
/// the lock.
fn is_asleep(pid: u32) -> bool {
    let states = states(pid);
    !states.is_empty() && states.iter().all(|state| matches!(state, 'S' | 'Z' | 'X'))
}

/// Returns what the threads of a process do.
fn states(pid: u32) -> Vec<char> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let told = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    // The name in front may hold anything, a bracket too.
    told.filter_map(|told| told.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())).collect()
}

/// Returns whether a process is in a control group that is frozen, which no state of the process tells. Groups of the
/// first version and of the second may both be there; those of the second lie in a folder of their own then.
fn is_frozen(pid: u32) -> bool {
    let says =
        |file: String, what: &str| fs::read_to_string(file).is_ok_and(|told| told.lines().any(|line| line == what));
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.lines().any(|line| match line.splitn(3, ':').collect::<Vec<_>>()[..] {
        [_, "", group] => ["", "/unified"]
            .iter()
            .any(|folder| says(format!("/sys/fs/cgroup{folder}{group}/cgroup.events"), "frozen 1")),
        [_, "freezer", group] => says(format!("/sys/fs/cgroup/freezer{group}/freezer.state"), "FROZEN"),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};

    fn held(holder: u16, progress: u64) -> Held {
        Held { holder: Owner(holder), progress }
    }

    #[test]
    fn only_one_holder_seen_at_one_place_for_all_the_patience_stands_still() {
        let start = Instant::now();
        let mut seen = None;
        let mut stands_for = |seconds, held| {
            let now = Seen::again(seen, held, start + Duration::from_secs(seconds));
            seen = Some(now);
            now.stands_for
        };
        for second in 0..=4 {
            assert_eq!(stands_for(second, held(1, 7)), Duration::from_secs(second));
        }
        assert_eq!(stands_for(5, held(2, 7)), Duration::ZERO, "another holder");
        assert_eq!(stands_for(6, held(2, 8)), Duration::ZERO, "the same, further on or once more");
        assert_eq!(stands_for(7, held(2, 8)), Duration::from_secs(1));
        assert_eq!(stands_for(100, held(2, 8)), Duration::from_secs(2), "whoever looks was stopped itself");
    }

    /// A control group of this test, with the file and the words that freeze it and let it go on.
    struct Group {
        folder: PathBuf,
        file: &'static str,
        words: [&'static str; 2],
    }

    impl Group {
        fn new(above: &str, file: &'static str, words: [&'static str; 2]) -> Option<Self> {
            let folder = Path::new(above).join(format!("deeppipeline-{}", std::process::id()));
            fs::create_dir(&folder).ok()?;
            let group = Group { folder, file, words };
            group.folder.join(file).exists().then_some(group)
        }

        fn freeze(&self) -> Frozen<'_> {
            fs::write(self.folder.join(self.file), self.words[0]).unwrap();
            Frozen(self)
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            let _ = fs::remove_dir(&self.folder);
        }
    }

    /// Lets its group go on in the end, also after a failed test: what is frozen cannot be killed in a group of the
    /// first version.
    struct Frozen<'a>(&'a Group);

    impl Drop for Frozen<'_> {
        fn drop(&mut self) {
            let _ = fs::write(self.0.folder.join(self.0.file), self.0.words[1]);
        }
    }

    #[test]
    fn a_process_in_a_frozen_control_group_is_stopped_and_has_not_ended() {
        let groups = [
            Group::new("/sys/fs/cgroup", "cgroup.freeze", ["1", "0"]),
            Group::new("/sys/fs/cgroup/unified", "cgroup.freeze", ["1", "0"]),
            Group::new("/sys/fs/cgroup/freezer", "freezer.state", ["FROZEN", "THAWED"]),
        ];
        let mut tried = 0;
        for group in groups.iter().flatten() {
            let guest = Guest::new("while :; do :; done");
            let pid = guest.0.id();
            if fs::write(group.folder.join("cgroup.procs"), pid.to_string()).is_err() {
                continue;
            }
            tried += 1;
            let wait_until = |stopped| {
                let watchdog = Instant::now() + Duration::from_secs(60);
                while is_stopped(pid) != Some(stopped) {
                    assert!(Instant::now() < watchdog, "{:?}: {stopped}", group.folder);
                    std::thread::yield_now();
                }
            };
            wait_until(false);
            let frozen = group.freeze();
            wait_until(true);
            assert!(!has_ended(&guest.1), "{:?}", group.folder);
            drop(frozen);
            wait_until(false);
        }
        println!("tried in {tried} control groups: as many as can be made here");
    }

    /// A process at a buffer, which ends with its test.
    struct Guest(Child, Arc<OwnedFd>);

    impl Guest {
        fn new(program: &str) -> Self {
            let child = Command::new("sh").args(["-c", program]).stdin(Stdio::piped()).spawn().unwrap();
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            Guest(child, Arc::new(pidfd_open(pid, PidfdFlags::empty()).unwrap()))
        }

        /// Looks at it ten times, once a second, while it has the lock.
        fn is_judged(&self) -> Holders {
            let (holders, now) = (Holders::default(), Instant::now());
            holders.add(Owner(1), self.0.id(), Arc::clone(&self.1));
            for second in 0..10 {
                holders.judge(held(1, 7), now + Duration::from_secs(second));
            }
            holders
        }
    }

    impl Drop for Guest {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn wait_for(state: char, pid: u32) {
        let watchdog = Instant::now() + Duration::from_secs(60);
        while states(pid) != [state] {
            assert!(Instant::now() < watchdog, "{:?}", states(pid));
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_holder_that_is_stopped_is_killed() {
        let guest = Guest::new("kill -STOP $$");
        wait_for('T', guest.0.id());
        assert_eq!(is_stopped(guest.0.id()), Some(true));
        assert!(guest.is_judged().has_killed(Owner(1)));
        poll(&mut [PollFd::new(&guest.1, PollFlags::IN)], None).unwrap();
    }

    #[test]
    fn a_holder_that_wants_to_run_is_not_killed_for_being_slow() {
        let guest = Guest::new("while :; do :; done");
        wait_for('R', guest.0.id());
        assert_eq!(is_stopped(guest.0.id()), Some(false));
        assert!(!guest.is_judged().has_killed(Owner(1)));
    }

    #[test]
    fn a_process_that_sleeps_does_not_have_the_lock_and_is_not_killed_for_it() {
        let guest = Guest::new("read nothing");
        wait_for('S', guest.0.id());
        let (holders, now) = (Holders::default(), Instant::now());
        holders.add(Owner(1), guest.0.id(), Arc::clone(&guest.1));
        let judge = |second| holders.judge(held(1, 7), now + Duration::from_secs(second));
        assert!((0..5).all(|second| judge(second) == Holder::Lives));
        assert_eq!(judge(5), Holder::Nobody);
        assert!(!holders.has_killed(Owner(1)));
    }

    #[test]
    fn a_process_that_was_killed_has_the_lock_until_it_has_ended_whatever_it_seems_to_do() {
        let guest = Guest::new("read nothing");
        wait_for('S', guest.0.id());
        let (holders, now) = (Holders::default(), Instant::now());
        holders.add(Owner(1), guest.0.id(), Arc::clone(&guest.1));
        holders.known.lock().sharers[0].killed = true;
        let judge = |second| holders.judge(held(1, 7), now + Duration::from_secs(second));
        assert!((0..10).all(|second| judge(second) == Holder::Lives));
    }

    #[test]
    fn a_lock_that_this_process_is_said_to_have_is_told_from_one_that_it_has() {
        let (holders, now) = (Holders::default(), Instant::now());
        holders.has_lock(true);
        let judge = |second| holders.judge(held(0, 7), now + Duration::from_secs(second));
        assert!((0..10).all(|second| judge(second) == Holder::Lives));
        holders.has_lock(false);
        assert_eq!(judge(10), Holder::Nobody);
    }
}
