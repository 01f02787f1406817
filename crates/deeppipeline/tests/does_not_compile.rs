//! A chain that does not fit does not compile, and the compiler's message says which type was expected where.
//!
//! The wording is the compiler's and changes with its version: after an update look at the new messages, and keep them
//! with `TRYBUILD=overwrite cargo test --test does_not_compile`.

#[test]
fn what_does_not_fit() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
    if cfg!(all(feature = "processes", target_os = "linux")) {
        cases.compile_fail("tests/compile_fail/processes/*.rs");
    }
}
