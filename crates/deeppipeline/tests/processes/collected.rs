//! Children whose exit status is lost: the system collects them, or somebody else in the program does.

use crate::alone::{command, is_alone, is_here};
use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{Double, end, ended, pipeline};
use deeppipeline::error::WorkerDied;
use deeppipeline::{Report, StageError, isolated};
use rustix::process::{WaitOptions, wait};
use std::process::Command;

const IGNORED: &str = "collected::where_sigchld_is_ignored_workers_end_and_crash_as_ever";

/// A worker that does its work and ends, and one that dies of its second sample: nothing is taken for what it is not.
fn runs_and_crashes() -> (Report, StageError) {
    let (end_of, values) = end();
    let healthy = pipeline().stage(isolated::<Double>(())).end_stage(end_of).start().unwrap();
    healthy.put(1).unwrap();
    let report = ended(healthy);
    assert_eq!(values.rest(), [2]);
    let (player, (end, values)) = (Player::new(), end());
    let dies = pipeline().stage(isolated::<Puppet>(player.strings()).max_restarts(1)).end_stage(end).start().unwrap();
    (1..=3).for_each(|x| assert!(dies.put(x).unwrap().is_accepted()));
    player.next().at_tell(At::Run(1), Do::Abort);
    let mut next = player.next();
    next.lets(At::Run(2));
    next.at_tell(At::Run(3), Do::Abort);
    let error = dies.setstop().unwrap_err();
    drop(dies);
    assert_eq!(values.rest(), [2]);
    (report, error)
}

fn assert_lost_statuses_are_no_failures((healthy, died): (Report, StageError)) {
    assert_eq!((healthy.stages[0].counts.used, healthy.stages[0].restarts), (1, 0));
    let stage = &died.report().stages[0];
    assert_eq!((stage.restarts, stage.counts.used, stage.counts.lost), (1, 1, 2));
    assert!(died.cause().is::<WorkerDied>(), "{died}");
}

#[test]
fn where_sigchld_is_ignored_workers_end_and_crash_as_ever() {
    if !is_here(IGNORED) {
        let alone = command(IGNORED);
        // What is ignored stays so in what it becomes.
        let mut ignores = Command::new("env");
        ignores.arg("--ignore-signal=CHLD").arg(alone.get_program()).args(alone.get_args());
        ignores.envs(alone.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = ignores.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let outcome = runs_and_crashes();
    assert!(outcome.1.to_string().contains("nobody can tell how"), "{}", outcome.1);
    assert_lost_statuses_are_no_failures(outcome);
}

#[test]
fn a_program_that_collects_every_child_takes_nothing_from_its_pipelines() {
    if !is_alone("collected::a_program_that_collects_every_child_takes_nothing_from_its_pipelines") {
        return;
    }
    // As a program that is process 1 does. It ends with the process.
    std::thread::spawn(|| {
        loop {
            let _ = wait(WaitOptions::empty());
            std::thread::yield_now();
        }
    });
    assert_lost_statuses_are_no_failures(runs_and_crashes());
}
