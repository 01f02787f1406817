//! Run a chain of stages with every stage busy at the same time on a different sample.

mod error;
mod stage;

pub use error::BoxError;
pub use stage::{Give, Source, Stage};
