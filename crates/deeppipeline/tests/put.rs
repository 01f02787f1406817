//! `put`: what it accepts, refuses, waits for and hands back.

mod support;

use deeppipeline::error::PutError;
use deeppipeline::pipeline::Put;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, current_sample, stage};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use support::until;

/// Waits for a permit for every sample; without any more permits it fails.
struct Gated(Receiver<()>);

impl Stage for Gated {
    type Input = u32;
    type Output = u32;
    fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
        self.0.recv()?;
        Ok(Give::One(x))
    }
}

#[test]
fn with_a_time_out_hands_the_sample_back_when_the_buffer_stays_full() {
    let (permit, permits) = channel();
    let pipeline =
        Pipeline::builder().buffer_size(1).overflow(Overflow::Block).end_stage(Gated(permits)).start().unwrap();
    pipeline.put(1).unwrap();
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    pipeline.put(2).unwrap();
    let error = pipeline.put_timeout(3, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, PutError::Timeout(3)));
    assert_eq!(error.to_string(), "put timed out: the buffer of the first stage stayed full");
    assert_eq!(format!("{error:?}"), error.to_string());
    permit.send(()).unwrap();
    permit.send(()).unwrap();
    let report = pipeline.setstop().unwrap();
    assert_eq!((report.stages[0].buffer.entered, report.stages[0].counts.used), (2, 2));
}

#[test]
fn with_the_longest_time_out_waits_as_long_as_it_takes() {
    let pipeline = Pipeline::builder().buffer_size(1).overflow(Overflow::Block).end_stage(|_: u32| {}).start().unwrap();
    for x in 0..100 {
        assert!(pipeline.put_timeout(x, Duration::MAX).unwrap().is_accepted());
    }
    assert_eq!(pipeline.setstop().unwrap().stages[0].counts.used, 100);
}

#[test]
fn tells_what_was_dropped_on_arrival() {
    let (permit, permits) = channel();
    let pipeline =
        Pipeline::builder().buffer_size(1).overflow(Overflow::DropNewest).end_stage(Gated(permits)).start().unwrap();
    assert_eq!(pipeline.put(1).unwrap(), Put::Accepted { number: 1 });
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    assert_eq!(pipeline.put(2).unwrap(), Put::Accepted { number: 2 });
    assert_eq!(pipeline.put(3).unwrap(), Put::Dropped);
    permit.send(()).unwrap();
    permit.send(()).unwrap();
    assert_eq!(pipeline.setstop().unwrap().stages[0].buffer.dropped_newest, 1);
}

#[test]
fn after_setstop_is_refused_and_hands_the_sample_back() {
    let pipeline = Pipeline::builder().end_stage(|_: u32| {}).start().unwrap();
    pipeline.setstop().unwrap();
    let error = pipeline.put(5).unwrap_err();
    assert!(matches!(error, PutError::Closed(5)));
    assert_eq!(error.to_string(), "put after setstop: the pipeline takes no more samples");
}

#[test]
fn from_an_own_stage_is_refused_wherever_its_code_runs() {
    let pipeline = Arc::new(OnceLock::<Pipeline<u32>>::new());
    let (told, refused) = channel();
    struct Putting {
        pipeline: Arc<OnceLock<Pipeline<u32>>>,
        told: std::sync::mpsc::Sender<Result<Put, PutError<u32>>>,
    }
    impl Putting {
        fn put(&self) {
            self.told.send(self.pipeline.wait().put(9)).unwrap();
        }
    }
    impl Stage for Putting {
        type Input = u32;
        type Output = u32;
        fn setup(&mut self) -> Result<(), BoxError> {
            self.put();
            Ok(())
        }
        fn stage_run(&mut self, _: u32) -> Result<Give<u32>, BoxError> {
            self.put();
            let own = Putting { pipeline: Arc::clone(&self.pipeline), told: self.told.clone() };
            Ok(Give::many(std::iter::from_fn(move || {
                own.put();
                None
            })))
        }
        fn finish(&mut self) -> Result<Give<u32>, BoxError> {
            self.put();
            Ok(Give::Skip)
        }
        fn teardown(&mut self) -> Result<(), BoxError> {
            self.put();
            Ok(())
        }
    }
    let started = Pipeline::builder()
        .stage(Putting { pipeline: Arc::clone(&pipeline), told })
        .end_stage(|_: u32| {})
        .start_without_waiting()
        .unwrap();
    let pipeline = pipeline.get_or_init(|| started);
    pipeline.put(1).unwrap();
    pipeline.setstop().unwrap();
    let refused: Vec<_> = refused.iter().collect();
    assert_eq!(refused.len(), 5);
    for refusal in refused {
        let error = refusal.unwrap_err();
        assert!(matches!(error, PutError::OwnStage(9)));
        assert!(error.to_string().contains("give the value back from stage_run instead"), "{error}");
    }
}

#[test]
fn into_another_pipeline_from_a_stage_is_fine() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = Arc::clone(&seen);
    let inner =
        Pipeline::builder().buffer_size(8).end_stage(move |x: u32| see.lock().unwrap().push(x)).start().unwrap();
    let outer = Pipeline::builder()
        .buffer_size(8)
        .end_stage(move |x: u32| {
            inner.put(x).unwrap();
            inner.setstop().unwrap();
        })
        .start()
        .unwrap();
    outer.put(4).unwrap();
    outer.setstop().unwrap();
    assert_eq!(*seen.lock().unwrap(), [4]);
}

/// Two samples are inside: one in flight and one waiting, and a third is being put by another thread.
fn with_a_blocked_put(then: impl FnOnce(&Pipeline<u32>, std::sync::mpsc::Sender<()>)) -> Result<Put, PutError<u32>> {
    let (permit, permits) = channel();
    let pipeline = Pipeline::builder()
        .buffer_size(1)
        .overflow(Overflow::Block)
        .end_stage(stage(Gated(permits)).name("gated"))
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    pipeline.put(2).unwrap();
    std::thread::scope(|scope| {
        let third = scope.spawn(|| pipeline.put(3));
        then(&pipeline, permit);
        third.join().unwrap()
    })
}

#[test]
fn that_blocks_when_the_pipeline_is_stopped_keeps_its_sample() {
    let put = with_a_blocked_put(|pipeline, permit| {
        std::thread::scope(|scope| {
            scope.spawn(|| pipeline.setstop().unwrap());
            // Closed while the buffer is still full: nothing leaves it before the third put is refused.
            until(|| matches!(pipeline.put_timeout(4, Duration::ZERO), Err(PutError::Closed(4))));
            permit.send(()).unwrap();
            permit.send(()).unwrap();
        });
    });
    assert!(matches!(put, Err(PutError::Closed(3))), "{put:?}");
}

#[test]
fn that_blocks_when_the_pipeline_is_aborted_keeps_its_sample() {
    let put = with_a_blocked_put(|pipeline, permit| {
        std::thread::scope(|scope| {
            scope.spawn(|| pipeline.abort());
            until(|| pipeline.report().stages[0].buffer.discarded == 1);
            permit.send(()).unwrap();
        });
    });
    assert!(matches!(put, Err(PutError::Closed(3))), "{put:?}");
}

#[test]
fn that_blocks_when_a_stage_fails_keeps_its_sample_and_says_why() {
    let put = with_a_blocked_put(|_, permit| drop(permit));
    let Err(PutError::Stage(3, error)) = put else { panic!("{put:?}") };
    assert_eq!(error.stage(), "gated");
}

#[test]
fn from_many_threads_numbers_samples_in_the_order_of_acceptance() {
    const THREADS: u32 = 8;
    const EACH: u32 = 500;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = Arc::clone(&seen);
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(|x: (u32, u32)| x)
        .end_stage(move |x| see.lock().unwrap().push((current_sample().unwrap().id.number, x)))
        .start()
        .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let pipeline = &pipeline;
            scope.spawn(move || (0..EACH).for_each(|i| assert!(pipeline.put((thread, i)).unwrap().is_accepted())));
        }
    });
    let report = pipeline.setstop().unwrap();
    assert!(report.balances(), "{report:?}");
    let seen = seen.lock().unwrap();
    assert!(seen.iter().map(|(number, _)| *number).eq(1..=u64::from(THREADS * EACH)));
    for thread in 0..THREADS {
        let own = seen.iter().filter(|(_, x)| x.0 == thread).map(|(_, x)| x.1);
        assert!(own.eq(0..EACH), "what one thread puts stays in its order");
    }
}

#[test]
fn a_sample_that_waits_for_room_keeps_the_birth_of_its_put() {
    let ages = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ages);
    let origin = Arc::new(Mutex::new(None));
    let mut simulation = Pipeline::builder()
        .buffer_size(1)
        .overflow(Overflow::Block)
        .end_stage(
            stage(move |_: u32| {
                let birth = current_sample().unwrap().birth();
                let origin = *origin.lock().unwrap().get_or_insert(birth);
                seen.lock().unwrap().push(birth - origin);
            })
            .name("slow"),
        )
        .simulate()
        .unwrap();
    for x in 0..4 {
        simulation.put_at(Duration::from_millis(x), x as u32);
    }
    simulation.takes("slow", Duration::from_millis(10)).unwrap().run().unwrap();
    // The third put is called at 2 ms and waits until 10 ms; only then the fourth is called.
    assert_eq!(*ages.lock().unwrap(), [0, 1, 2, 10].map(Duration::from_millis));
}

#[test]
fn a_simulation_inside_a_stage_leaves_the_stage_what_it_was() {
    let (told, hear) = std::sync::mpsc::channel();
    let pipeline = Pipeline::builder()
        .end_stage(move |_: u32| {
            let mut inner = Pipeline::builder().source(0..3).end_stage(|_: i32| {}).simulate().unwrap();
            inner.run().unwrap();
            told.send(current_sample().map(|sample| sample.id.number)).unwrap();
        })
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    pipeline.setstop().unwrap();
    assert_eq!(hear.recv().unwrap(), Some(1));
}
