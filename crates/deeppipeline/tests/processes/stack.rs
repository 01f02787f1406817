//! The stack of a worker in a process.

use crate::stages::{end, isolated_stage, pipeline};
use deeppipeline::{Give, isolated};
use std::hint::black_box;

isolated_stage! {
    /// Goes so many calls deep, each with 4 KiB on the stack at least.
    pub(crate) Deep, "deep": |depth: u32| -> u32 {
        fn deep(depth: u32) -> u32 {
            let room = black_box([1_u8; 4096]);
            if depth == 0 { 0 } else { deep(depth - 1) + u32::from(room[black_box(17)]) }
        }
        Ok(Give::One(deep(depth)))
    }
}

#[test]
fn a_stage_in_a_process_gets_the_stack_that_its_options_ask_for() {
    let (end, values) = end();
    let pipeline = pipeline().stage(isolated::<Deep>(()).stack_size(128 << 20)).end_stage(end).start().unwrap();
    // Twice what there is by default.
    pipeline.put(8192).unwrap();
    pipeline.setstop().unwrap();
    assert_eq!(values.next(), 8192);
}
