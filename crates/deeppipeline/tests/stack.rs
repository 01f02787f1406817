//! The stack of a worker: large samples by value, and deep recursion.

use deeppipeline::error::StartError;
use deeppipeline::{Overflow, Pipeline, made_by, retry, stage};
use std::hint::black_box;

const MEBIBYTE: usize = 1 << 20;

#[derive(Clone)]
struct Image([u8; MEBIBYTE]);

/// Runs on a thread that has room for it, as a program's main thread has.
fn with_room(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(8 * MEBIBYTE).spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_sample_of_a_mebibyte_by_value_fits_on_every_stack() {
    let brighten = |mut image: Image| {
        image.0[0] += 1;
        image
    };
    with_room(move || {
        let pipeline = Pipeline::builder()
            .overflow(Overflow::Block)
            .stage(brighten)
            .stage(made_by(move || Ok(brighten)))
            .stage(stage(brighten).on_error(retry(1)))
            .stage(|image: Image| u32::from(image.0[0]))
            .end_stage(|x: u32| assert_eq!(x, 3))
            .start()
            .unwrap();
        pipeline.put(Image([0; MEBIBYTE])).unwrap();
        assert_eq!(pipeline.setstop().unwrap().stages[4].counts.used, 1);
    });
}

/// Needs more than `depth` times 4 KiB of stack.
fn deep(depth: u32) -> u32 {
    let room = black_box([1_u8; 4096]);
    if depth == 0 { 0 } else { deep(depth - 1) + u32::from(room[black_box(17)]) }
}

#[test]
fn a_stage_gets_the_stack_that_its_options_ask_for() {
    let pipeline = Pipeline::builder()
        .stage(stage(deep).stack_size(128 * MEBIBYTE))
        .end_stage(|depth: u32| assert_eq!(depth, 8192))
        .start()
        .unwrap();
    // Twice what there is by default.
    pipeline.put(8192).unwrap();
    assert_eq!(pipeline.setstop().unwrap().stages[1].counts.used, 1);
}

#[test]
fn a_stack_that_the_system_refuses_is_a_failed_start() {
    let started = Pipeline::builder().end_stage(stage(|_: u32| {}).name("show").stack_size(1 << 60)).start();
    assert!(matches!(started, Err(StartError::Thread { stage, .. }) if stage == "show"));
}
