//! Run a chain of stages with every stage busy at the same time on a different sample.
//!
//! Recognising behaviour in a video means: capture, detect, track, classify. Run in series that is too slow for a live
//! stream; run at the same time, each stage on another sample, it keeps up. You write the stages; what stands between
//! them is here: a bounded [buffer](Overflow) in front of each stage that keeps the stream fresh, a worker for each
//! stage, an orderly start and stop, and a [`Report`] that knows the fate of every sample.
//!
//! ```
//! use deeppipeline::Pipeline;
//!
//! let pipeline = Pipeline::builder()
//!     .buffer_size(2)
//!     .stage(|frame: u32| frame * 2)
//!     .stage(|found: u32| format!("found {found}"))
//!     .end_stage(|text: String| println!("{text}"))
//!     .start()?;
//! for frame in 1..=10 {
//!     pipeline.put(frame)?;
//! }
//! let report = pipeline.setstop()?;
//! assert!(report.balances());
//! println!("{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A stage with state implements [`Stage`]; a closure may return a `Result`, an `Option` or a [`Give`] and [mean
//! it](Gives). Samples that are not `put` come from a [`Source`]. The same chain runs on a virtual clock with
//! [`Builder::simulate`], for exact tests and for "what if".
//!
//! | what for | with |
//! |---|---|
//! | a stage that is too slow: several workers, and their results in order | [`made_by`], [`Options::workers`] |
//! | lists: of whatever is there, of the last samples, of the last samples of each key | [`Builder::stage_batch`], [`Builder::stage_window`], [`Builder::stage_windows`] |
//! | nothing old on a live stream | [`Builder::max_age`] |
//! | stages that work on the same sample at the same time | [`Builder::parallel`] |
//! | the last stage's values, as an iterator | [`Builder::stream`] |
//! | failures that pass | [`retry`] |
//!
//! # Features
//!
//! | feature | default | what it brings |
//! |---|---|---|
//! | `ctrlc` | off | `Pipeline::on_ctrl_c`: the first Ctrl-C drains, a second one aborts |
//! | `signals` | off | `Pipeline::on_stop_signals`: the first Ctrl-C, SIGTERM or SIGHUP drains, a second one aborts; on Unix |
//! | `processes` | off | a stage in a process of its own (`Isolated`), on Linux |
//! | `serde` | with `processes` | a [`Report`] can be serialised, with all that it holds |

mod activity;
mod aside;
mod buffer;
mod builder;
mod clock;
pub mod engine;
mod error;
mod executor;
mod gives;
mod graph;
mod inlet;
mod intake;
mod into_stage;
#[cfg(processes)]
mod isolated;
mod join;
mod ledger;
mod notices;
mod parallel;
mod phase;
mod pipeline;
mod report;
mod sample;
#[cfg(any(processes, signals))]
mod signals;
mod stage;
mod stage_name;
#[cfg(signals)]
mod stop_signals;
mod stream;
mod supervisor;
mod time_limits;
#[cfg(processes)]
mod transfer;
mod typed;
mod window;
mod worker;

#[cfg(processes)]
pub use buffer::shared::SharedBytes;
pub use buffer::{BufferCounts, Overflow, UnknownOverflow};
pub use builder::{Builder, Options};
pub use error::{
    BoxError, Doing, Exit, GraphError, MemoryDamaged, NotJoined, PutError, RemoteError, RunError, SampleTooLarge,
    StageError, StagePanic, StartError, WorkerDied,
};
pub use executor::simulated::{Event, Simulation, UnknownStage};
pub use gives::{Ended, Flows, Gives, IsGive, IsOption, IsResult, IsValue, Last, Onward};
pub use graph::{
    BufferSize, DEFAULT_BUFFER_BYTES, DEFAULT_BUFFER_SIZE, DEFAULT_MAX_RESTARTS, DEFAULT_STACK_SIZE, Executor,
    MAX_WORKERS, OnCrash, OnError, RESTART_WINDOW,
};
pub use intake::Intake;
pub use into_stage::{
    AsStage, ClosureStage, IntoStage, IsClosure, IsGiven, IsMade, IsRetry, IsStage, MadeBy, Maker, Retry, made_by,
    retry,
};
#[cfg(processes)]
pub use isolated::{Isolated, IsolatedWindows, Workers, worker};
pub use join::JoinCounts;
pub use ledger::StageCounts;
#[cfg(feature = "ctrlc")]
pub use pipeline::CtrlC;
pub use pipeline::{GRACE, Pipeline, Sourced};
pub use report::{JoinReport, Outcome, Report, SourceReport, Spread, StageReport};
pub use sample::{SampleId, SampleInfo, current_sample, restarted};
pub use stage::{Give, Source, Stage};
#[cfg(signals)]
pub use stop_signals::{StopSignal, StopSignals};
pub use stream::Stream;
pub use supervisor::SOURCE;
#[cfg(processes)]
pub use transfer::Transfer;
pub use window::{DEFAULT_MAX_KEYS, Window, Windows};
