//! The examples are in `rust/` and `python/`; run one with `cargo run --example quick_start`.

/// The recipes of the book, whose programs in Rust are doc tests of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes.md")]
pub mod recipes {}
