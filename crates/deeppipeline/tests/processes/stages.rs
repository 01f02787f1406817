//! What the pipelines of these tests have in common.

use crate::line::WATCHDOG;
use crate::puppet::{Puppet, Puppets};
use deeppipeline::builder::Builder;
use deeppipeline::processes::Workers;
use deeppipeline::report::StageReport;
use deeppipeline::{Give, Overflow, Pipeline, Report};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Defines a stage without a state that runs in a process: its name there, what it gets and gives, and what it does.
macro_rules! isolated_stage {
    ($(#[$about:meta])* $vis:vis $stage:ident, $name:literal: |$x:ident: $input:ty| -> $output:ty $run:block) => {
        $(#[$about])*
        $vis struct $stage;

        impl deeppipeline::Stage for $stage {
            type Input = $input;
            type Output = $output;
            fn stage_run(&mut self, $x: $input) -> Result<deeppipeline::Give<$output>, deeppipeline::BoxError> {
                $run
            }
        }

        impl deeppipeline::Isolated for $stage {
            const NAME: &str = $name;
            type Settings = ();
            fn make((): ()) -> Result<Self, deeppipeline::BoxError> {
                Ok($stage)
            }
        }
    };
}
pub(crate) use isolated_stage;

/// What makes a worker of the test program.
pub(crate) const ARGUMENTS: [&str; 4] = ["--exact", "become_a_worker", "--nocapture", "--quiet"];

/// The stages that a worker can become.
pub(crate) fn known() -> Workers {
    deeppipeline::worker()
        .stage::<Double>()
        .stage_all::<Sum, _>()
        .stage_window::<Sum, _>()
        .stage_windows::<crate::windows::Sums>()
        .stage::<Puppet>()
        .stage_all::<Puppets, _>()
        .stage_window::<Puppets, _>()
        .stage_windows::<crate::windows::Parted>()
        .stage::<crate::sources::Asks>()
        .stage::<crate::stack::Deep>()
        .stage::<crate::start::NeverMade>()
        .stage::<crate::start::OwnName>()
        .stage::<crate::update::Times>()
        .stage::<crate::replace::Thousands>()
        .stage::<crate::scale::Member>()
        .stage::<crate::scale::DiesAtItsEnd>()
        .stage::<crate::stop::Clinging>()
        .stage::<crate::bytes::Blow>()
        .stage::<crate::bytes::Weigh>()
        .stage_all::<crate::bytes::WeighAll, _>()
        .stage::<crate::views::Album>()
        .stage::<crate::views::Mirror>()
        .stage::<crate::many::Armed>()
        .stage::<crate::nothing_left::DiesOnce>()
        .stage::<crate::nested::Nested>()
        .stage::<crate::haste::Hasty>()
        .stage::<crate::scribbles::Scribbler>()
        .stage_all::<crate::scribbles::ScribblerOfLists, _>()
        .stage::<crate::stopped::StopsWithLock>()
        .stage::<crate::workers::Reads>()
        .stage::<crate::chaos::Reckless>()
        .stage_all::<crate::chaos::RecklessList, _>()
        .stage::<crate::serial::Mixer>()
        .stage_batch::<crate::batches::Tenfold, _, i64, _>()
        .stage_batch::<crate::batches::DiesInBatch, _, i64, _>()
        .stage_batch::<crate::batches::Ends, _, (), _>()
}

/// A pipeline of these tests: it blocks, so that nothing is dropped.
pub(crate) fn pipeline<I: Send + 'static>() -> Builder<I, I> {
    Pipeline::builder().overflow(Overflow::Block).worker_arguments(ARGUMENTS)
}

/// What an end stage on a thread is given to send what it gets, and where it arrives.
pub(crate) fn end<T>() -> (impl FnMut(T), Values<T>) {
    let (sender, receiver): (Sender<T>, _) = channel();
    // Nobody listens any longer when a test has failed.
    (move |x| drop(sender.send(x)), Values(receiver))
}

/// What an end stage got.
pub(crate) struct Values<T>(Receiver<T>);

impl<T> Values<T> {
    /// Waits for the next.
    pub(crate) fn next(&self) -> T {
        self.0.recv_timeout(WATCHDOG).expect("the end stage gets something")
    }

    /// All that there will be, once the pipeline has ended.
    pub(crate) fn rest(&self) -> Vec<T> {
        self.0.iter().collect()
    }
}

/// The report of a pipeline that has ended, after a look at its ledger.
pub(crate) fn ended<I>(pipeline: Pipeline<I>) -> Report
where
    I: Send + 'static,
{
    let report = match pipeline.setstop() {
        Ok(report) => report,
        Err(error) => error.report().clone(),
    };
    assert_clear(&report);
    report
}

/// Every sample has its fate, and nobody is left behind.
pub(crate) fn assert_clear(report: &Report) {
    assert!(report.balances(), "{report:#?}");
    assert!(report.left_behind.is_empty(), "{report:#?}");
    let is_clear = |stage: &StageReport| stage.buffer.waiting == 0 && stage.counts.in_flight == 0;
    assert!(report.stages.iter().all(is_clear), "{report:#?}");
}

isolated_stage! {
    pub(crate) Double, "double": |x: i64| -> i64 {
        Ok(Give::One(2 * x))
    }
}

isolated_stage! {
    pub(crate) Sum, "sum": |list: Vec<i64>| -> i64 {
        Ok(Give::One(list.iter().sum()))
    }
}
