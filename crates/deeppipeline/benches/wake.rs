//! How long after `put` a sleeping end stage has the sample, against half a condvar round trip and channels.

mod support;

use crossbeam_channel::bounded;
use deeppipeline::{Overflow, Pipeline};
use std::hint::spin_loop;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::{compare, median};

const SAMPLES: usize = 4_000;
/// Long enough for the receiver to fall asleep.
const PAUSE: Duration = Duration::from_micros(60);

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Sends the time with pauses between; p50 of what the receiver saw go by.
fn paced(mut send: impl FnMut(Instant)) {
    for _ in 0..SAMPLES {
        // A sender that slept too would measure how the machine wakes an idle core.
        let since = Instant::now();
        while since.elapsed() < PAUSE {
            spin_loop();
        }
        send(Instant::now());
    }
}

fn pipeline() -> f64 {
    let (told, waited) = channel();
    let pipeline = Pipeline::builder()
        .buffer_size(16)
        .overflow(Overflow::Block)
        .end_stage(move |sent: Instant| told.send(microseconds(sent.elapsed())).expect("open"))
        .start()
        .expect("starts");
    paced(|now| assert!(pipeline.put(now).expect("runs").is_accepted()));
    pipeline.setstop().expect("runs");
    median(waited.iter().collect())
}

fn std_channel() -> f64 {
    let (sender, receiver) = sync_channel::<Box<Instant>>(16);
    let end = thread::spawn(move || receiver.iter().map(|sent| microseconds(sent.elapsed())).collect());
    paced(|now| sender.send(Box::new(now)).expect("open"));
    drop(sender);
    median(end.join().expect("runs"))
}

fn crossbeam() -> f64 {
    let (sender, receiver) = bounded::<Box<Instant>>(16);
    let end = thread::spawn(move || receiver.iter().map(|sent| microseconds(sent.elapsed())).collect());
    paced(|now| sender.send(Box::new(now)).expect("open"));
    drop(sender);
    median(end.join().expect("runs"))
}

/// Two threads hand a turn to and fro; half of the p50 of a round.
fn half_a_condvar_round_trip() -> f64 {
    let turn = Arc::new((Mutex::new(0_usize), Condvar::new()));
    let wait_for = |(lock, condvar): &(Mutex<usize>, Condvar), wanted: usize| {
        let mut turn = lock.lock().expect("not poisoned");
        while *turn != wanted {
            turn = condvar.wait(turn).expect("not poisoned");
        }
        *turn += 1;
        drop(turn);
        condvar.notify_one();
    };
    let other = Arc::clone(&turn);
    let echo = thread::spawn(move || (0..SAMPLES).for_each(|i| wait_for(&other, 2 * i + 1)));
    let rounds = (0..SAMPLES).map(|i| {
        let start = Instant::now();
        wait_for(&turn, 2 * i);
        let mut back = turn.0.lock().expect("not poisoned");
        while *back != 2 * i + 2 {
            back = turn.1.wait(back).expect("not poisoned");
        }
        microseconds(start.elapsed()) / 2.0
    });
    let rounds = rounds.collect();
    echo.join().expect("runs");
    median(rounds)
}

fn main() {
    compare(
        "put to a sleeping end stage, p50",
        "µs",
        &[
            ("pipeline", &pipeline),
            ("half a condvar round trip", &half_a_condvar_round_trip),
            ("std sync_channel", &std_channel),
            ("crossbeam-channel", &crossbeam),
        ],
    );
}
