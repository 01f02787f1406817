//! A pipeline that is watched live in the browser, and by Prometheus.

use deeppipeline::{Overflow, Pipeline, stage};
use deeppipeline_monitor::{Dashboard, Options};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// What a browser, or Prometheus, gets.
fn get(dashboard: &Dashboard, path: &str) -> Result<String, Box<dyn Error>> {
    let address = dashboard.address();
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(|x: u32| 10 * x).name("ten times"))
        .end_stage(stage(|_: u32| {}).name("end"))
        .start()?;
    // Any free port, so that the example always runs; `Dashboard::open()` takes 8910.
    let dashboard = Options::new().address((Ipv4Addr::LOCALHOST, 0).into()).open()?;
    let name = dashboard.watch("numbers", pipeline.reporter());
    eprintln!("see {}", dashboard.url());
    for x in 1..=5 {
        pipeline.put(x)?;
    }
    pipeline.setstop()?;

    println!("the page shows {name}: {}", get(&dashboard, "/api/pipelines")?.contains("\"finished\""));
    let metrics = get(&dashboard, "/metrics")?;
    for line in metrics.lines().filter(|line| line.contains("fate=\"used\"")) {
        println!("{line}");
    }
    Ok(())
}
