//! What can go wrong.

/// Any error a user's stage or source may return.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;
