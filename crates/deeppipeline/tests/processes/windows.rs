//! Windows of a stage in a process: its worker keeps them.

use crate::puppet::{At, Do, Player, Puppet, Puppets, Strings};
use crate::stages::{Sum, assert_clear, end, ended, pipeline};
use deeppipeline::intake::Windows;
use deeppipeline::processes::{IsolatedWindows, OnCrash};
use deeppipeline::{BoxError, Give, Isolated, Stage, Window, isolated, retry};
use std::time::Duration;

/// Keys with a number for each.
type Named = Vec<(String, i64)>;

fn named(names: &str, x: i64) -> Named {
    names.chars().map(|name| (name.to_string(), x)).collect()
}

/// Sums up what is due.
pub(crate) struct Sums;

impl Stage for Sums {
    type Input = Windows<Named, String, i64>;
    type Output = (Named, Named);
    fn stage_run(&mut self, seen: Self::Input) -> Result<Give<Self::Output>, BoxError> {
        let sums = seen.iter().map(|(name, last)| (name.clone(), last.iter().sum())).collect();
        Ok(Give::One((seen.sample, sums)))
    }
}

impl Isolated for Sums {
    const NAME: &str = "sums";
    type Settings = ();
    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Sums)
    }
}

impl IsolatedWindows for Sums {
    type Sample = Named;
    type Key = String;
    type Item = i64;
    fn keys(sample: &Named) -> Named {
        sample.clone()
    }
}

/// A puppet with a window for even samples and one for odd ones. What it is to know of one that is due is its sum.
pub(crate) struct Parted(Puppet);

impl Stage for Parted {
    type Input = Windows<i64, bool, i64>;
    type Output = i64;

    fn setup(&mut self) -> Result<(), BoxError> {
        Stage::setup(&mut self.0)
    }

    fn stage_run(&mut self, seen: Self::Input) -> Result<Give<i64>, BoxError> {
        let due = seen.get(&(seen.sample % 2 == 0)).unwrap_or_default();
        Stage::stage_run(&mut self.0, due.iter().sum())
    }
}

impl Isolated for Parted {
    const NAME: &str = "parted";
    type Settings = Strings;
    fn make(strings: Strings) -> Result<Self, BoxError> {
        Puppet::make(strings).map(Parted)
    }
}

impl IsolatedWindows for Parted {
    type Sample = i64;
    type Key = bool;
    type Item = i64;
    fn keys(x: &i64) -> Vec<(bool, i64)> {
        vec![(x % 2 == 0, *x)]
    }
}

#[test]
fn a_process_gets_the_last_samples() {
    for (window, wanted, absorbed, skipped) in [
        (Window::new(3), &[6, 9, 12, 15][..], 2, 0),
        (Window::new(3).partial(), &[1, 3, 6, 9, 12, 15], 0, 0),
        (Window::new(2).stride(3), &[3, 9], 2, 2),
    ] {
        let (end, values) = end();
        let pipeline = pipeline().stage(isolated::<Sum>(()).intake(window)).end_stage(end).start().unwrap();
        for x in 1..=6 {
            pipeline.put(x).unwrap();
        }
        let report = ended(pipeline);
        assert_eq!(values.rest(), wanted);
        let counts = &report.stages[0].counts;
        assert_eq!((counts.used, counts.absorbed, counts.skipped), (wanted.len() as u64, absorbed, skipped));
    }
}

#[test]
fn a_process_gets_each_sample_with_the_windows_of_its_keys() {
    let (end, values) = end();
    let window = Window::new(2).idle(2);
    let pipeline = pipeline().stage(isolated::<Sums>(()).intake(window)).end_stage(end).start().unwrap();
    let names = ["ab", "b", "", "ab", "ca"];
    for (x, names) in (1..).zip(names) {
        pipeline.put(named(names, x)).unwrap();
    }
    let report = ended(pipeline);
    let (samples, sums): (Vec<Named>, Vec<Named>) = values.rest().into_iter().unzip();
    assert_eq!(samples, (1..).zip(names).map(|(x, names)| named(names, x)).collect::<Vec<_>>());
    // When `a` comes again it has been forgotten.
    assert_eq!(sums, [vec![], named("b", 3), vec![], named("b", 6), named("a", 9)]);
    assert_eq!(report.stages[0].counts.used, 5);
}

#[test]
fn a_simulation_keeps_the_windows_where_it_is() {
    let (end, values) = end();
    let builder = pipeline().buffer_size(8).stage(isolated::<Sums>(()).intake(Window::new(2).partial()));
    let mut simulation = builder.end_stage(end).simulate().unwrap();
    simulation.put_at(Duration::ZERO, named("a", 1));
    simulation.put_at(Duration::from_secs(1), named("ab", 2));
    assert_clear(&simulation.run().unwrap());
    let sums = [0; 2].map(|_| values.next()).map(|(_, sums): (Named, Named)| sums);
    assert_eq!(sums, [named("a", 1), vec![("a".to_owned(), 3), ("b".to_owned(), 2)]]);
}

#[test]
fn a_process_that_is_started_again_has_empty_windows() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline()
        .buffer_size(8)
        .stage(isolated::<Puppets>(player.strings()).intake(Window::new(2)).on_crash(OnCrash::Skip))
        .end_stage(end)
        .start()
        .unwrap();
    let mut first = player.next();
    for x in 1..=5 {
        pipeline.put(x).unwrap();
    }
    first.lets(At::Run(1 + 2));
    first.kills(At::Run(2 + 3));
    player.next().lets(At::Run(4 + 5));
    let report = ended(pipeline);
    assert_eq!(values.rest(), [3, 9]);
    assert_eq!((report.stages[0].counts.used, report.stages[0].restarts), (2, 1));
}

#[test]
fn a_second_try_gets_the_same_windows() {
    let no = || Do::Fail("not now".to_owned());

    let (player, (end_one, values)) = (Player::new(), end());
    let builder = pipeline()
        .buffer_size(8)
        .stage(isolated::<Puppets>(player.strings()).intake(Window::new(3).partial()).on_error(retry(2)));
    let pipeline_of_one = builder.end_stage(end_one).start().unwrap();
    let mut hand = player.next();
    for x in 1..=3 {
        pipeline_of_one.put(x).unwrap();
    }
    hand.lets(At::Run(1));
    hand.at_tell(At::Run(1 + 2), no());
    hand.at_tell(At::Run(1 + 2), no());
    hand.lets(At::Run(1 + 2));
    hand.lets(At::Run(1 + 2 + 3));
    assert_eq!(ended(pipeline_of_one).stages[0].counts.used, 3);
    assert_eq!(values.rest(), [1, 3, 6]);

    let (player, (end_each, values)) = (Player::new(), end());
    let builder = pipeline()
        .buffer_size(8)
        .stage(isolated::<Parted>(player.strings()).intake(Window::new(2).partial()).on_error(retry(2)));
    let pipeline_of_each = builder.end_stage(end_each).start().unwrap();
    let mut hand = player.next();
    for x in 1..=5 {
        pipeline_of_each.put(x).unwrap();
    }
    hand.lets(At::Run(1));
    hand.lets(At::Run(2));
    hand.at_tell(At::Run(1 + 3), no());
    hand.at_tell(At::Run(1 + 3), no());
    hand.lets(At::Run(1 + 3));
    hand.lets(At::Run(2 + 4));
    hand.lets(At::Run(3 + 5));
    assert_eq!(ended(pipeline_of_each).stages[0].counts.used, 5);
    assert_eq!(values.rest(), [1, 2, 4, 6, 8]);
}
