//! From `put` to the end stage, and through stages, under `block`: samples per second against channels.

mod support;

use crossbeam_channel::bounded;
use deeppipeline::{Overflow, Pipeline};
use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;
use support::compare;

const CAPACITY: usize = 16;
const SAMPLES: u64 = 500_000;

fn million_per_second(start: Instant) -> f64 {
    SAMPLES as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn pipeline_one_hop() -> f64 {
    let pipeline = Pipeline::builder()
        .buffer_size(CAPACITY)
        .overflow(Overflow::Block)
        .end_stage(|x: u64| {
            black_box(x);
        })
        .start()
        .expect("starts");
    let start = Instant::now();
    for x in 0..SAMPLES {
        pipeline.put(x).expect("runs");
    }
    pipeline.setstop().expect("runs");
    million_per_second(start)
}

fn pipeline_three_hops() -> f64 {
    let pipeline = Pipeline::builder()
        .buffer_size(CAPACITY)
        .overflow(Overflow::Block)
        .stage(|x: u64| x + 1)
        .stage(|x: u64| x + 1)
        .end_stage(|x: u64| {
            black_box(x);
        })
        .start()
        .expect("starts");
    let start = Instant::now();
    for x in 0..SAMPLES {
        pipeline.put(x).expect("runs");
    }
    pipeline.setstop().expect("runs");
    million_per_second(start)
}

fn sync_channel_one_hop() -> f64 {
    let (sender, receiver) = sync_channel::<Box<u64>>(CAPACITY);
    let end = thread::spawn(move || receiver.iter().for_each(|x| drop(black_box(x))));
    let start = Instant::now();
    for x in 0..SAMPLES {
        sender.send(Box::new(x)).expect("open");
    }
    drop(sender);
    end.join().expect("runs");
    million_per_second(start)
}

fn sync_channel_three_hops() -> f64 {
    let (sender, mut receiver) = sync_channel::<Box<u64>>(CAPACITY);
    let mut threads = Vec::new();
    for _ in 0..2 {
        let (next, next_receiver) = sync_channel::<Box<u64>>(CAPACITY);
        let from = std::mem::replace(&mut receiver, next_receiver);
        threads.push(thread::spawn(move || from.iter().for_each(|x| next.send(Box::new(*x + 1)).expect("open"))));
    }
    threads.push(thread::spawn(move || receiver.iter().for_each(|x| drop(black_box(x)))));
    let start = Instant::now();
    for x in 0..SAMPLES {
        sender.send(Box::new(x)).expect("open");
    }
    drop(sender);
    threads.into_iter().for_each(|thread| thread.join().expect("runs"));
    million_per_second(start)
}

fn crossbeam_one_hop() -> f64 {
    let (sender, receiver) = bounded::<Box<u64>>(CAPACITY);
    let end = thread::spawn(move || receiver.iter().for_each(|x| drop(black_box(x))));
    let start = Instant::now();
    for x in 0..SAMPLES {
        sender.send(Box::new(x)).expect("open");
    }
    drop(sender);
    end.join().expect("runs");
    million_per_second(start)
}

fn main() {
    compare(
        "put to end stage, block, 16 boxed values",
        "M samples/s",
        &[
            ("pipeline", &pipeline_one_hop),
            ("std sync_channel", &sync_channel_one_hop),
            ("crossbeam-channel", &crossbeam_one_hop),
        ],
    );
    compare(
        "through two stages to the end stage, block, 16 boxed values",
        "M samples/s",
        &[("pipeline", &pipeline_three_hops), ("std sync_channel", &sync_channel_three_hops)],
    );
}
