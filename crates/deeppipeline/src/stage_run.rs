//! A stage alone, as the engine would run it: for tests.

use crate::builder::{IntoStage, Onward};
use crate::error::{RunError, StartError};
use crate::gives::Flows;
use crate::job::current_sample;
use crate::pipeline::Pipeline;
use crate::policies::Overflow;
use crate::report::{SampleId, StageReport};
use crate::stage;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a stage has done with the samples of a test.
#[derive(Debug)]
#[non_exhaustive]
pub struct StageRun<T> {
    /// What it gave, in order, each with its sample: what `finish` gave at the end, as parts of the last one.
    pub gave: Vec<(SampleId, T)>,
    /// The counts of the stage, as in a report: how many samples it skipped, failed on, or kept for a window.
    pub report: StageReport,
}

impl<T> StageRun<T> {
    /// Returns the values that it gave, in order.
    pub fn values(self) -> Vec<T> {
        self.gave.into_iter().map(|(_, value)| value).collect()
    }
}

/// Runs a stage alone, with its intake and its other options: `setup`, `stage_run` with each of these samples, `finish`
/// and `teardown`, on the calling thread.
///
/// ```
/// use deeppipeline::simulate::run_stage;
/// use deeppipeline::{Window, stage};
///
/// let mean = |last: Vec<f64>| last.iter().sum::<f64>() / last.len() as f64;
/// let run = run_stage(stage(mean).intake(Window::new(2)), [1.0, 2.0, 4.0])?;
/// assert_eq!(run.values(), [1.5, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The fault that makes its description invalid, or its failure, unless its `on_error` says to skip the sample.
pub fn run_stage<I, S, M, T>(tested: S, samples: impl IntoIterator<Item = I>) -> Result<StageRun<T>, RunError>
where
    I: Flows,
    S: IntoStage<I, M, Onward<T>>,
    T: Flows,
{
    let gave = Arc::new(Mutex::new(Vec::new()));
    let given = Arc::clone(&gave);
    let collect = move |value: T| {
        let id = current_sample().map_or(SampleId { number: 0, part: 0 }, |sample| sample.id);
        given.lock().unwrap_or_else(PoisonError::into_inner).push((id, value));
    };
    let builder = Pipeline::builder().overflow(Overflow::Block).stage(tested).end_stage(stage(collect).name("test"));
    let mut simulation = builder.simulate().map_err(StartError::Graph)?;
    for sample in samples {
        simulation.put_at(Duration::ZERO, sample);
    }
    let mut report = simulation.run()?;
    let gave = std::mem::take(&mut *gave.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(StageRun { gave, report: report.stages.swap_remove(0) })
}
