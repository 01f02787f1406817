//! The examples are in `rust/` and `python/`; run one with `cargo run --example quick_start`.
