//! CPU time of stages that have nothing to do for 5 s, read from the kernel's account of their threads (Linux).

use deeppipeline::{Pipeline, stage};
use std::fs;
use std::thread::sleep;
use std::time::Duration;

const NAP: Duration = Duration::from_secs(5);
const STAGES: [&str; 4] = ["idle one", "idle two", "idle three", "idle four"];

/// Milliseconds that the thread of that name has run.
fn cpu_milliseconds(name: &str) -> Option<f64> {
    fs::read_dir("/proc/self/task").ok()?.flatten().find_map(|task| {
        let comm = fs::read_to_string(task.path().join("comm")).ok()?;
        let times = fs::read_to_string(task.path().join("schedstat")).ok().filter(|_| comm.trim_end() == name)?;
        Some(times.split(' ').next()?.parse::<f64>().ok()? / 1e6)
    })
}

fn main() {
    let idle = |x: u32| x;
    let mut builder = Pipeline::builder();
    for name in STAGES {
        builder = builder.stage(stage(idle).name(name));
    }
    let pipeline = builder.start().expect("starts");
    pipeline.put(1).expect("runs");
    while pipeline.report().stages[STAGES.len() - 1].counts.used == 0 {
        std::thread::yield_now();
    }
    let before = STAGES.map(cpu_milliseconds);
    sleep(NAP);
    let after = STAGES.map(cpu_milliseconds);
    println!("CPU time of an idle stage in {} s [ms]", NAP.as_secs());
    for ((name, before), after) in STAGES.iter().zip(before).zip(after) {
        match (before, after) {
            (Some(before), Some(after)) => println!("  {name:10}  {:>7.3}", after - before),
            _ => println!("  {name:10}  not to be read on this system"),
        }
    }
    pipeline.setstop().expect("runs");
}
