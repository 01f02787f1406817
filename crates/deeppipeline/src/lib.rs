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
//! it](builder::Gives). Samples that are not `put` come from a [`Source`]. The same chain runs on a virtual clock with
//! [`simulate`](builder::Builder::simulate), for exact tests and for "what if".
//!
//! | what for | with |
//! |---|---|
//! | options of a stage, in any order | [`stage`](stage()) |
//! | a stage that is too slow: several workers, and their results in order | [`made_by`], [`workers`](builder::Described::workers) |
//! | the newest sample only; lists: of whatever is there, of the last samples, of the last samples of each key | [`Latest`], [`Batch`], [`Window`] |
//! | nothing old on a live stream | [`max_age`](builder::Builder::max_age) |
//! | stages that work on the same sample at the same time | [`parallel`](builder::Builder::parallel), [`chain`](chain()) |
//! | the parts of each sample, in batches across samples | [`for_each`](builder::Builder::for_each) |
//! | samples that go one of several ways | [`route`](builder::Builder::route), [`route_by`](builder::route_by) |
//! | the last stage's values, as an iterator | [`stream`](builder::Builder::stream) |
//! | failures that pass | [`retry`](retry()) |
//!
//! # Features
//!
//! | feature | default | what it brings |
//! |---|---|---|
//! | `futures` | off | `futures::Stream` for results and streams, and a `Sink` for samples |
//! | `dead-letters` | off | `Builder::dead_letters`: a folder keeps the samples on which a stage failed, or that were lost |
//! | `ctrlc` | off | `Pipeline::on_ctrl_c`: the first Ctrl-C drains, a second one aborts |
//! | `signals` | off | `Pipeline::on_stop_signals`: the first Ctrl-C, SIGTERM or SIGHUP drains, a second one aborts; on Unix |
//! | `processes` | off | a stage in a process of its own ([`processes`]), on Linux |
//! | `timeline` | off | timelines in files that Perfetto opens, and `Builder::dump_to`, which writes them when something goes wrong |
//! | `serde` | with `processes`, `dead-letters` and `timeline` | a [`Report`] can be serialised, with all that it holds |

mod activity;
mod answer;
mod answers;
mod aside;
mod buffer;
pub mod builder;
mod clock;
mod cuts;
#[cfg(feature = "dead-letters")]
mod dead_letters;
#[doc(hidden)]
pub mod engine;
pub mod error;
mod executor;
mod fates;
mod gives;
mod graph;
mod hand_over;
#[cfg(feature = "futures")]
mod in_task;
mod inlet;
pub mod intake;
mod into_stage;
#[cfg(processes)]
mod isolated;
mod job;
mod join;
mod ledger;
mod line;
mod notices;
mod parallel;
mod phase;
pub mod pipeline;
mod policies;
mod putting;
pub mod report;
mod restart;
mod results;
mod retry;
mod sample;
mod seat;
#[cfg(feature = "serde")]
mod seconds;
#[cfg(any(processes, signals))]
mod signals;
mod source_id;
mod stage;
mod stage_name;
mod stage_run;
#[cfg(signals)]
mod stop_signals;
mod stream;
mod supervisor;
mod time_limits;
mod timeline;
#[cfg(processes)]
mod transfer;
mod typed;
mod unwind;
#[cfg(any(feature = "dead-letters", feature = "timeline"))]
mod whole_file;
mod window;
#[cfg(any(processes, feature = "dead-letters"))]
mod wire;
mod worker;

pub use builder::{chain, entrance, made_by, stage};
pub use error::{BoxError, StageError};
pub use intake::{All, Batch, Latest, Window};
pub use job::{cancelled, current_sample};
pub use pipeline::Pipeline;
pub use policies::Overflow;
#[cfg(processes)]
pub use processes::{Isolated, isolated, worker};
pub use report::Report;
pub use retry::{OnError, retry};
pub use stage::{Give, Source, Stage};

/// Stages in processes of their own; on Linux, with the feature `processes`.
pub mod processes {
    #[cfg(processes)]
    pub use crate::buffer::shared::SharedBytes;
    #[cfg(processes)]
    pub use crate::builder::{InProcess, isolated};
    pub use crate::graph::{DEFAULT_BUFFER_BYTES, DEFAULT_MAX_RESTARTS, RESTART_WINDOW};
    #[cfg(processes)]
    pub use crate::isolated::{Isolated, IsolatedWindows, Workers, worker};
    pub use crate::policies::OnCrash;
    #[cfg(processes)]
    pub use crate::transfer::Transfer;
}

/// A pipeline on a virtual clock.
pub mod simulate {
    pub use crate::executor::simulated::{Event, Simulation};
    pub use crate::stage_run::{StageRun, run_stage};
}

/// Types by which the compiler tells apart what a closure may be and return, and what else stands in signatures only.
#[doc(hidden)]
pub mod marker {
    #[cfg(processes)]
    pub use crate::builder::Crossing;
    pub use crate::builder::Parts;
    pub use crate::gives::{Behind, IsGive, IsOption, IsResult, IsValue};
    pub use crate::into_stage::{
        AsStage, ClosureStage, EndsBatch, IsBatch, IsChain, IsClosure, IsDescribed, IsGiven, IsMade, IsStage, Makes,
        Making,
    };
    #[cfg(processes)]
    pub use crate::into_stage::{IsIsolated, IsIsolatedBatch};
    #[cfg(feature = "dead-letters")]
    pub use crate::retry::Kept;
    pub use crate::retry::{ForEach, Keeping, NotSaid, SaysOnError};
    #[cfg(processes)]
    pub use crate::typed::{EachResult, Returns};
}
