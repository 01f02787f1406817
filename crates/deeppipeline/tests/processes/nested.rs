//! A worker may have a pipeline of processes itself.

use crate::puppet::{At, Do, Player, Puppet, Strings};
use crate::stages::{Values, end, ended, pipeline};
use crate::support::until;
use deeppipeline::{BoxError, Give, Isolated, Pipeline, Stage, isolated};

/// Lets a puppet in a process of its own do the work.
pub(crate) struct Nested {
    strings: Strings,
    inner: Option<(Pipeline<i64>, Values<i64>)>,
}

impl Stage for Nested {
    type Input = i64;
    type Output = i64;

    fn setup(&mut self) -> Result<(), BoxError> {
        let (end, values) = end();
        let inner = pipeline().stage(isolated::<Puppet>(self.strings.clone())).end_stage(end).start()?;
        self.inner = Some((inner, values));
        Ok(())
    }

    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        let (inner, values) = self.inner.as_ref().ok_or("no setup")?;
        inner.put(x)?;
        Ok(Give::One(values.next()))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.inner.as_ref().ok_or("no setup")?.0.setstop()?;
        Ok(())
    }
}

impl Isolated for Nested {
    const NAME: &str = "nested";
    type Settings = Strings;
    fn make(strings: Strings) -> Result<Self, BoxError> {
        Ok(Nested { strings, inner: None })
    }
}

#[test]
fn samples_flow_through_a_pipeline_in_a_worker() {
    let (player, (end, values)) = (Player::new(), end());
    let pipeline = pipeline().stage(isolated::<Nested>(player.strings())).end_stage(end).start().unwrap();
    let mut hand = player.next();
    for x in 1..=3 {
        pipeline.put(x).unwrap();
        hand.lets(At::Run(x));
    }
    ended(pipeline);
    assert!(hand.is_gone());
    assert_eq!(values.rest(), [1, 2, 3]);
}

#[test]
fn the_workers_of_a_worker_end_with_it() {
    let (player, (end, _values)) = (Player::new(), end::<i64>());
    let pipeline = pipeline().stage(isolated::<Nested>(player.strings())).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    let mut hand = player.next();
    hand.at_tell(At::Run(1), Do::Hang);
    pipeline.abort();
    until(|| hand.is_gone());
    ended(pipeline);
}
