//! Names one condition for what only exists where worker processes do, as in the engine.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(processes)");
    let wanted = std::env::var_os("CARGO_FEATURE_PROCESSES").is_some();
    if wanted && std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-cfg=processes");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
