//! Names one condition for what only exists where worker processes do, and one for where signals are.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(processes)");
    let wanted = std::env::var_os("CARGO_FEATURE_PROCESSES").is_some();
    // Linux first: elsewhere a stage in a process is refused with a clear error.
    if wanted && std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-cfg=processes");
    }
    println!("cargo::rustc-check-cfg=cfg(signals)");
    if std::env::var_os("CARGO_FEATURE_SIGNALS").is_some() && std::env::var_os("CARGO_CFG_UNIX").is_some() {
        println!("cargo::rustc-cfg=signals");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
