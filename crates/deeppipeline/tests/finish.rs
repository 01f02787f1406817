//! What `finish` gives: when it is called, and who its values are.

use deeppipeline::report::SampleId;
use deeppipeline::{BoxError, Give, Pipeline, Stage, current_sample};
use std::sync::{Arc, Mutex};

/// Keeps what it gets and gives it out at the end, and a zero as the last.
struct Hold(Vec<u32>);

impl Stage for Hold {
    type Input = u32;
    type Output = u32;

    fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
        self.0.push(x);
        Ok(Give::Skip)
    }

    fn finish(&mut self) -> Result<Give<u32>, BoxError> {
        assert_eq!(current_sample(), None, "finish works on no sample");
        let mut held = std::mem::take(&mut self.0);
        held.push(0);
        Ok(Give::many(held))
    }
}

type Seen = Arc<Mutex<Vec<(SampleId, u32)>>>;

fn held_by(samples: &[u32]) -> Vec<(SampleId, u32)> {
    let seen = Seen::default();
    let see = Arc::clone(&seen);
    let pipeline = Pipeline::builder()
        .buffer_size(8)
        .stage(Hold(Vec::new()))
        .end_stage(move |x: u32| see.lock().unwrap().push((current_sample().unwrap().id, x)))
        .start()
        .unwrap();
    for x in samples {
        pipeline.put(*x).unwrap();
    }
    let report = pipeline.setstop().unwrap();
    assert!(report.balances(), "{report:?}");
    let seen = seen.lock().unwrap();
    seen.clone()
}

fn id(number: u64, part: u64) -> SampleId {
    SampleId { number, part }
}

#[test]
fn what_finish_gives_are_parts_of_the_last_sample() {
    assert_eq!(held_by(&[7, 8]), [(id(2, 1), 7), (id(2, 2), 8), (id(2, 3), 0)]);
}

#[test]
fn what_finish_gives_without_any_sample_still_has_an_identity_of_its_own() {
    struct Two;
    impl Stage for Two {
        type Input = u32;
        type Output = u32;
        fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
            Ok(Give::One(x))
        }
        fn finish(&mut self) -> Result<Give<u32>, BoxError> {
            Ok(Give::many([1, 2]))
        }
    }
    let seen = Seen::default();
    let see = Arc::clone(&seen);
    let pipeline = Pipeline::builder()
        .stage(Two)
        .end_stage(move |x: u32| see.lock().unwrap().push((current_sample().unwrap().id, x)))
        .start()
        .unwrap();
    pipeline.setstop().unwrap();
    assert_eq!(*seen.lock().unwrap(), [(id(0, 1), 1), (id(0, 2), 2)]);
}
