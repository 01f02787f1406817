//! A lock whose holder has ended, met by somebody who knows nothing of that death yet.

use crate::buffer::shared::map::Map;
use crate::buffer::shared::owner::Owner;
use crate::buffer::shared::table::SlotTable;
use crate::buffer::shared::words::{Futex, SharedWords};
use crate::policies::{Intake, Overflow};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::process::Command;
use std::sync::Arc;

/// A buffer whose lock is in the hands of a process that has ended.
fn buffer() -> SlotTable<Map> {
    let limits = super::limits(2, 4096, Overflow::Block, Intake::Single);
    let table = SlotTable::create(Map::create(limits).unwrap(), limits);
    let mut child = Command::new("true").spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    poll(&mut [PollFd::new(&process, PollFlags::IN)], None).unwrap();
    table.words().share_with(Owner(1), child.id(), Arc::new(process));
    assert!(table.words().change_futex(Futex::Lock, 0, 2), "the lock is in the hands of owner 1 now");
    child.wait().unwrap();
    table
}

#[test]
fn a_lock_in_the_hands_of_the_dead_is_inherited() {
    let table = buffer();
    assert_eq!(table.counts().0.entered, 0);
    assert_eq!(table.words().futex(Futex::Lock), 0);
}

#[test]
fn a_lock_in_the_hands_of_the_dead_is_inherited_by_whoever_looks_and_does_not_wait_for_it() {
    let table = buffer();
    table.look_at_holder();
    assert_eq!(table.words().futex(Futex::Lock), 0);
    assert_eq!(table.damage(), None);
}
