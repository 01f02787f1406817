//! A worker that dies after a result, or after some parts of a `Many`, went on: what had gone on is used, and not given
//! again.

use crate::line::Line;
use crate::puppet::{At, Do, Player, Puppet};
use crate::stages::{end, ended, pipeline};
use crate::support::until;
use deeppipeline::processes::{OnCrash, SharedBytes, Transfer};
use deeppipeline::{BoxError, Give, Isolated, Overflow, Stage, isolated, stage};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

#[test]
fn retry_leaves_out_the_parts_that_went_on() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .buffer_size(8)
        .stage(isolated::<Puppet>(player.strings()).on_crash(OnCrash::Retry))
        .end_stage(end)
        .start()
        .unwrap();
    let mut first = player.next();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    first.at_tell(At::Run(1), Do::Many(4));
    first.lets(At::Part(1));
    first.lets(At::Part(2));
    // It asks before a part once the one before has gone on.
    first.at_tell(At::Part(3), Do::Abort);
    let mut second = player.next();
    second.at_tell(At::Run(1), Do::Many(4));
    (1..=5).for_each(|part| second.lets(At::Part(part)));
    second.lets(At::Run(2));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [11, 12, 13, 14, 2]);
    let stage = &report.stages[0];
    assert_eq!((stage.counts.used, stage.counts.lost, stage.counts.gave, stage.restarts), (2, 0, 5, 1));
}

#[test]
fn a_second_death_further_on_leaves_what_went_on_by_then() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .buffer_size(8)
        .stage(isolated::<Puppet>(player.strings()).on_crash(OnCrash::Retry))
        .end_stage(end)
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    let mut first = player.next();
    first.at_tell(At::Run(1), Do::Many(4));
    first.lets(At::Part(1));
    first.at_tell(At::Part(2), Do::Abort);
    let mut second = player.next();
    second.at_tell(At::Run(1), Do::Many(4));
    (1..=3).for_each(|part| second.lets(At::Part(part)));
    second.at_tell(At::Part(4), Do::Abort);
    let _third = player.next();
    let report = ended(pipeline);
    assert_eq!(values.rest(), [11, 12, 13]);
    assert_eq!((report.stages[0].counts.lost, report.stages[0].counts.gave), (1, 3));
}

#[test]
fn skip_counts_a_sample_as_used_once_a_part_of_it_went_on() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline =
        pipeline().buffer_size(8).stage(isolated::<Puppet>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    let mut first = player.next();
    first.at_tell(At::Run(1), Do::Many(3));
    first.lets(At::Part(1));
    first.at_tell(At::Part(2), Do::Abort);
    pipeline.put(2).unwrap();
    let mut second = player.next();
    second.at_tell(At::Run(2), Do::Many(2));
    // Here nothing of sample 2 has gone on.
    second.at_tell(At::Part(1), Do::Abort);
    let _third = player.next();
    let report = ended(pipeline);
    assert_eq!(values.rest(), [11]);
    assert_eq!((report.stages[0].counts.used, report.stages[0].counts.lost), (1, 1));
}

/// When the process that has made a value dies of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fuse {
    Never,
    /// While its bytes are written into the buffer behind the stage.
    Writing,
    /// When it is dropped in the process that has made it: it has gone on then, and what it was made from has not yet
    /// got its fate.
    GoneOn,
}

/// A value that may kill the process that has made it.
pub(crate) struct Charge {
    x: i64,
    fuse: Fuse,
}

impl Charge {
    fn goes_off(&self, at: Fuse) {
        if self.fuse == at {
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

impl Transfer for Charge {
    fn size(&self) -> Result<usize, BoxError> {
        Ok(8)
    }

    fn write(&self, room: &mut [u8]) -> Result<(), BoxError> {
        room[..4].fill(0xff);
        self.goes_off(Fuse::Writing);
        room.copy_from_slice(&self.x.to_le_bytes());
        Ok(())
    }

    fn read(bytes: SharedBytes) -> Result<Self, BoxError> {
        Ok(Charge { x: i64::from_le_bytes(bytes[..].try_into()?), fuse: Fuse::Never })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.goes_off(Fuse::GoneOn);
    }
}

/// Gives each sample as it is, or in parts, with the fuse that its test says.
pub(crate) struct Armed(Line);

impl Stage for Armed {
    type Input = i64;
    type Output = Charge;
    fn stage_run(&mut self, x: i64) -> Result<Give<Charge>, BoxError> {
        self.0.say(&x)?;
        let mut fuses: Vec<Fuse> = self.0.hear()?;
        match fuses.len() {
            1 => Ok(Give::One(Charge { x, fuse: fuses.remove(0) })),
            _ => Ok(Give::many((1..).zip(fuses).map(move |(part, fuse)| Charge { x: 10 * x + part, fuse }))),
        }
    }
}

impl Isolated for Armed {
    const NAME: &str = "armed";
    type Settings = String;
    fn make(desk: String) -> Result<Self, BoxError> {
        Ok(Armed(Line::to(&desk)?))
    }
}

/// Runs samples 1, 2, … through it, each with its fuses, a new process after each death. What came out, and how many
/// were used and lost.
fn run(on_crash: OnCrash, lives: &[&[(i64, &[Fuse])]]) -> (Vec<i64>, u64, u64) {
    let desk = crate::line::Desk::open();
    let (mut tell, values) = end();
    let pipeline = pipeline()
        .buffer_size(8)
        .stage(isolated::<Armed>(desk.address()).on_crash(on_crash))
        .end_stage(move |charge: Charge| tell(charge.x))
        .start()
        .unwrap();
    for x in 1..=2 {
        pipeline.put(x).unwrap();
    }
    let mut lines = Vec::new();
    for life in lives {
        let mut line = desk.next().unwrap();
        for (x, fuses) in *life {
            assert_eq!(line.hear::<i64>().unwrap(), *x);
            line.say(&fuses.to_vec()).unwrap();
        }
        lines.push(line);
    }
    let report = ended(pipeline);
    assert_eq!(report.stages[0].restarts as usize, lives.len() - 1);
    (values.rest(), report.stages[0].counts.used, report.stages[0].counts.lost)
}

#[test]
fn a_result_that_went_on_is_used_whatever_happens_to_its_worker() {
    for policy in [OnCrash::Skip, OnCrash::Retry] {
        let lives: [&[(i64, &[Fuse])]; 2] = [&[(1, &[Fuse::GoneOn])], &[(2, &[Fuse::Never])]];
        assert_eq!(run(policy, &lives), (vec![1, 2], 2, 0), "{policy:?}");
    }
}

#[test]
fn a_result_that_was_dropped_on_arrival_had_gone_on_too() {
    for policy in [OnCrash::Skip, OnCrash::Retry] {
        let desk = crate::line::Desk::open();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (mut tell, values) = end();
        let pipeline = pipeline()
            .buffer_size([3, 1])
            .stage(isolated::<Armed>(desk.address()).on_crash(policy))
            .end_stage(
                stage(move |charge: Charge| {
                    let _ = held.recv();
                    tell(charge.x);
                })
                .overflow(Overflow::DropNewest),
            )
            .start()
            .unwrap();
        let mut line = desk.next().unwrap();
        for (x, fuse) in [(1, Fuse::Never), (2, Fuse::Never), (3, Fuse::GoneOn)] {
            pipeline.put(x).unwrap();
            assert_eq!(line.hear::<i64>().unwrap(), x);
            line.say(&[fuse].to_vec()).unwrap();
            // The end stage has the first in flight, and the second waits.
            until(|| pipeline.report().stages[1].buffer.entered == x as u64);
            until(|| x != 1 || pipeline.report().stages[1].counts.in_flight == 1);
        }
        let _second = desk.next().unwrap();
        drop(release);
        let report = ended(pipeline);
        assert_eq!(values.rest(), [1, 2], "{policy:?}");
        let counts = &report.stages[0].counts;
        assert_eq!((counts.used, counts.lost, counts.gave), (3, 0, 3), "{policy:?}");
        assert_eq!(report.stages[1].buffer.dropped_newest, 1);
    }
}

#[test]
fn a_result_that_was_being_written_has_not_gone_on() {
    let lives: [&[(i64, &[Fuse])]; 2] = [&[(1, &[Fuse::Writing])], &[(2, &[Fuse::Never])]];
    assert_eq!(run(OnCrash::Skip, &lives), (vec![2], 1, 1));
    let lives: [&[(i64, &[Fuse])]; 2] = [&[(1, &[Fuse::Writing])], &[(1, &[Fuse::Never]), (2, &[Fuse::Never])]];
    assert_eq!(run(OnCrash::Retry, &lives), (vec![1, 2], 2, 0));
}

#[test]
fn a_part_that_was_being_written_is_given_again_and_one_that_went_on_is_not() {
    let (never, all) = (Fuse::Never, [Fuse::Never; 3]);
    let lives: [&[(i64, &[Fuse])]; 2] = [&[(1, &[never, Fuse::Writing, never])], &[(1, &all), (2, &[never])]];
    assert_eq!(run(OnCrash::Retry, &lives), (vec![11, 12, 13, 2], 2, 0));
    let lives: [&[(i64, &[Fuse])]; 2] = [&[(1, &[never, Fuse::GoneOn, never])], &[(1, &all), (2, &[never])]];
    assert_eq!(run(OnCrash::Retry, &lives), (vec![11, 12, 13, 2], 2, 0));
}

#[test]
fn a_last_part_that_went_on_is_not_given_again() {
    // Nobody can know that it was the last: the stage runs once more, and everything that it gives is left out.
    let lives: [&[(i64, &[Fuse])]; 2] =
        [&[(1, &[Fuse::Never, Fuse::GoneOn])], &[(1, &[Fuse::Never, Fuse::Never]), (2, &[Fuse::Never])]];
    assert_eq!(run(OnCrash::Retry, &lives), (vec![11, 12, 2], 2, 0));
}
