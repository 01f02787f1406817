//! The error of a change of a stage's workers.

use super::UnknownStage;
use crate::unwind::BoxError;
use std::time::Duration;

/// A stage has not got the number of workers that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScaleError {
    /// There is no stage of that name.
    #[error(transparent)]
    UnknownStage(#[from] UnknownStage),
    /// The pipeline, or the stage, stops or has stopped.
    #[error("stage {stage:?} was not scaled: the pipeline does not run any longer")]
    NotRunning {
        /// The stage.
        stage: String,
    },
    /// The caller is one of the pipeline's own stages, which would wait for itself.
    #[error("scale of stage {stage:?} from one of the pipeline's own stages: say it from outside")]
    OwnStage {
        /// The stage.
        stage: String,
    },
    /// A stage without workers would take nothing.
    #[error("workers for stage {stage:?} is 0, but must be at least 1: pause it, and it takes nothing")]
    Zero {
        /// The stage.
        stage: String,
    },
    /// The stage was not made for so many.
    #[error(
        "workers for stage {stage:?} is {got}, but must be 1 to {most}: say max_workers={got} where it is described"
    )]
    TooMany {
        /// The stage.
        stage: String,
        /// The number that was asked for.
        got: usize,
        /// The number that it may have.
        most: usize,
    },
    /// A worker did not come up; the stage goes on with those that it had.
    #[error("worker {worker} did not join stage {stage:?}, since its setup failed: {cause}")]
    Failed {
        /// The stage.
        stage: String,
        /// The index of the worker.
        worker: usize,
        /// The stage's own error, or the end of its process.
        cause: BoxError,
    },
    /// The pipeline was not up yet, or another change of the stage was still under way; nothing was changed.
    #[error(
        "scale of stage {stage:?} timed out after {timeout:?} before it began: the pipeline is not up yet, or another \
         change of the stage is not over"
    )]
    NotBegun {
        /// The stage.
        stage: String,
        /// The time that the caller waited.
        timeout: Duration,
    },
    /// Some workers were still in `setup`, or at work on a sample; they join or leave the stage afterwards.
    #[error("scale of stage {stage:?} timed out after {timeout:?}: workers {workers:?} have not joined or left it")]
    Timeout {
        /// The stage.
        stage: String,
        /// The indexes of these workers.
        workers: Vec<usize>,
        /// The time that the caller waited.
        timeout: Duration,
    },
}
