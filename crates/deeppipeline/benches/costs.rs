//! What a word that a program may do without adds to a sample: CPU time of all threads, for a chain of three stages that
//! do nothing and lose nothing (Linux).

mod support;

use deeppipeline::pipeline::Answer;
use deeppipeline::{Overflow, Pipeline};
use std::collections::VecDeque;
use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use support::compare;

const SAMPLES: u64 = 200_000;
/// Answers that a program waits for at the same time.
const IN_FLIGHT: usize = 32;

/// Nanoseconds that the threads of this process have run.
fn cpu_time() -> u64 {
    let run = |task: fs::DirEntry| -> Option<u64> {
        fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    fs::read_dir("/proc/self/task").expect("is Linux").flatten().filter_map(run).sum()
}

/// CPU nanoseconds of a sample; `run` returns once all of them are through, while the workers are still there.
fn measure(run: impl FnOnce()) -> f64 {
    let before = cpu_time();
    run();
    (cpu_time() - before) as f64 / SAMPLES as f64
}

/// An end stage, and what tells that the last sample has come to it.
fn end() -> (impl FnMut(u64) + Send, Receiver<()>) {
    let (through, all_through): (Sender<()>, _) = channel();
    let mut seen = 0;
    let end = move |_| {
        seen += 1;
        if seen == SAMPLES {
            let _ = through.send(());
        }
    };
    (end, all_through)
}

/// The chain behind what `$builder` begins with, up to `$end`.
macro_rules! chain {
    ($builder:expr, $end:expr) => {
        $builder.overflow(Overflow::Block).buffer_size(16).stage(|x: u64| x).stage(|x: u64| x).stage($end)
    };
}

fn put() -> f64 {
    let (end, all_through) = end();
    put_all(&chain!(Pipeline::builder(), end).start().expect("starts"), &all_through)
}

fn put_all<T>(pipeline: &Pipeline<u64, T>, all_through: &Receiver<()>) -> f64 {
    measure(|| {
        for x in 0..SAMPLES {
            pipeline.put(x).expect("runs");
        }
        all_through.recv().expect("runs");
    })
}

/// The same of which nothing is kept for the timeline.
fn put_unrecorded() -> f64 {
    let (end, all_through) = end();
    put_all(&chain!(Pipeline::builder().record(0), end).start().expect("starts"), &all_through)
}

/// The same where others might submit.
fn put_beside() -> f64 {
    let (end, all_through) = end();
    put_all(&chain!(Pipeline::builder(), end).start_answering().expect("starts"), &all_through)
}

/// The same after a flush.
fn put_after_a_flush() -> f64 {
    let (end, all_through) = end();
    let pipeline = chain!(Pipeline::builder(), end).start().expect("starts");
    pipeline.flush();
    put_all(&pipeline, &all_through)
}

/// The same where the fate of each sample that does not come through is told: of none.
fn put_with_fates() -> f64 {
    let (end, all_through) = end();
    put_all(&chain!(Pipeline::builder().on_fate(|_| {}), end).start().expect("starts"), &all_through)
}

fn submit() -> f64 {
    let pipeline = chain!(Pipeline::builder(), |x: u64| x).start_answering().expect("starts");
    measure(|| {
        let mut answers = VecDeque::with_capacity(IN_FLIGHT);
        for x in 0..SAMPLES {
            if answers.len() == IN_FLIGHT {
                let (x, answer): (u64, Answer<u64>) = answers.pop_front().expect("is full");
                assert_eq!(answer.wait().expect("is used"), x);
            }
            answers.push_back((x, pipeline.submit(x).expect("runs")));
        }
        for (x, answer) in answers {
            assert_eq!(answer.wait().expect("is used"), x);
        }
    })
}

/// As `put`, into one of two entrances by turns.
fn put_into() -> f64 {
    let (end, all_through) = end();
    let builder = Pipeline::builder().entrance("one").entrance("other");
    let pipeline = chain!(builder, end).start().expect("starts");
    measure(|| {
        for x in 0..SAMPLES {
            pipeline.put_into(["one", "other"][(x % 2) as usize], x).expect("runs");
        }
        all_through.recv().expect("runs");
    })
}

fn main() {
    compare("submitting", "CPU ns a sample", &[("submit", &submit), ("put beside", &put_beside), ("put", &put)]);
    compare(
        "flush and fates",
        "CPU ns a sample",
        &[("after a flush", &put_after_a_flush), ("with on_fate", &put_with_fates), ("put", &put)],
    );
    compare("the timeline", "CPU ns a sample", &[("record 0", &put_unrecorded), ("put", &put)]);
    compare("a second entrance", "CPU ns a sample", &[("two entrances", &put_into), ("one", &put)]);
}
