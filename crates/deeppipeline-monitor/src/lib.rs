//! A live view of running pipelines in the browser, and their metrics for Prometheus.
//!
//! ```no_run
//! use deeppipeline::Pipeline;
//! use deeppipeline_monitor::Dashboard;
//!
//! let pipeline = Pipeline::builder().end_stage(|frame: u32| println!("{frame}")).start()?;
//! let dashboard = Dashboard::open()?;
//! dashboard.watch("frames", pipeline.reporter());
//! println!("see {}", dashboard.url());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The page comes from inside the process: it needs nothing installed, and no request of it leaves the machine. It shows the
//! stages as a graph with their rates, what their workers do, where a sample's time goes, what was dropped and why, and how
//! old what comes out is. It only shows: nothing can be changed by it.
//!
//! | path | |
//! |---|---|
//! | `/` | the page |
//! | `/api/pipelines` | the names and the states of all pipelines, as JSON |
//! | `/api/report?pipeline=NAME` | the [report](deeppipeline::Report) of one, as JSON: durations in seconds |
//! | `/api/events?pipeline=NAME` | both together once a second, as [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html) |
//! | `/api/timeline?pipeline=NAME&last=SECONDS` | its [timeline](deeppipeline::report::Timeline), as JSON that [Perfetto](https://ui.perfetto.dev) opens |
//! | `/api/timeline.svg?pipeline=NAME&last=SECONDS&follow=NUMBER` | the same as a picture |
//! | `/metrics` | the [metrics] of all, as Prometheus reads them |
//!
//! **Who may look.** Without more said the server listens on 127.0.0.1 alone, and answers no request that a page from
//! elsewhere makes in a browser on the machine: the headers `Host` and `Origin` are checked. On any other address it asks for
//! a token, which is part of [`url`](Dashboard::url).

mod connection;
mod error;
mod guard;
pub mod metrics;
mod server;
mod watched;

pub use error::OpenError;
pub use server::{DEFAULT_PORT, Dashboard, Options};
pub use watched::Snapshot;
