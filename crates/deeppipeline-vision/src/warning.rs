//! Warnings, which are no errors but have to be said: a camera that stalls, a recording that is damaged.

use std::fmt::Arguments;
use std::sync::OnceLock;

type Listener = Box<dyn Fn(&str) + Send + Sync>;

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Hands everything that this crate warns of to a function, on the thread where it comes up, instead of to `tracing`.
/// For a program that has no use for `tracing`; only the first call counts.
pub fn on_warning(listener: impl Fn(&str) + Send + Sync + 'static) {
    // Whoever was first has it.
    let _ = LISTENER.set(Box::new(listener));
}

pub(crate) fn warn(text: Arguments<'_>) {
    match LISTENER.get() {
        Some(listener) => listener(&text.to_string()),
        None => tracing::warn!("{text}"),
    }
}
