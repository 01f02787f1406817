//! Updates of stages on threads, between two samples.

use deeppipeline::error::UpdateError;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, made_by, stage};
use std::sync::mpsc::channel;
use std::time::Duration;

struct Times {
    factor: i64,
}

impl Stage for Times {
    type Input = i64;
    type Output = i64;

    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        Ok(Give::One(x * self.factor))
    }
}

fn set(factor: i64) -> impl Fn(&mut Times) -> Result<(), BoxError> + Send + Sync + 'static {
    move |times| {
        times.factor = factor;
        Ok(())
    }
}

#[test]
fn all_workers_are_changed_once_update_returns() {
    for workers in [1, 3] {
        let (tell, told) = channel();
        let pipeline = Pipeline::builder()
            .overflow(Overflow::Block)
            .stage(made_by(|| Ok(Times { factor: 1 })).name("times").workers(workers))
            .end_stage(move |x: i64| tell.send(x).unwrap())
            .start()
            .unwrap();
        for factor in 1..=50 {
            pipeline.update("times", set(factor)).unwrap();
            (1..=3).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
            // What still waits would be taken with the next factor.
            assert_eq!([0; 3].map(|_| told.recv().unwrap()), [factor, 2 * factor, 3 * factor]);
        }
        assert!(pipeline.setstop().unwrap().balances());
    }
}

#[test]
fn a_change_that_fails_is_told_and_the_stage_goes_on() {
    let pipeline =
        Pipeline::builder().stage(stage(Times { factor: 2 }).name("times")).end_stage(|_: i64| {}).start().unwrap();
    let error = pipeline.update("times", |_: &mut Times| Err("no".into())).unwrap_err();
    assert_eq!(error.to_string(), "worker 0 of stage \"times\" failed in update: no");
    let error = pipeline.update("times", |_: &mut Times| panic!("never")).unwrap_err();
    assert!(error.to_string().contains("never"), "{error}");
    pipeline.put(1).unwrap();
    assert_eq!(pipeline.setstop().unwrap().stages[0].counts.used, 1);
}

#[test]
fn what_cannot_be_updated_is_refused() {
    let pipeline = Pipeline::builder()
        .stage(stage(Times { factor: 2 }).name("times"))
        .end_stage(stage(|_: i64| {}).name("end"))
        .start()
        .unwrap();
    let error = pipeline.update("nobody", set(1)).unwrap_err();
    assert_eq!(error.to_string(), "no stage is named \"nobody\"; there are [\"times\", \"end\"]");
    let error = pipeline.update("times", |_: &mut String| Ok(())).unwrap_err();
    assert!(error.to_string().contains("Times, which the update is not for"), "{error}");
    pipeline.setstop().unwrap();
    assert!(matches!(pipeline.update("times", set(1)), Err(UpdateError::NotRunning { .. })));
}

#[test]
fn a_simulation_has_updates() {
    let (tell, told) = channel();
    let mut simulation = Pipeline::builder()
        .stage(stage(Times { factor: 1 }).name("times"))
        .end_stage(move |x: i64| tell.send(x).unwrap())
        .simulate()
        .unwrap();
    let ms = Duration::from_millis;
    for x in 0..4 {
        simulation.put_at(ms(10 * x), 1);
    }
    simulation.takes("times", ms(7)).unwrap().update_at(ms(12), "times", set(5)).unwrap();
    assert!(simulation.update_at(ms(12), "nobody", set(5)).is_err());
    assert!(simulation.run().unwrap().balances());
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 1, 5, 5], "the second was in work");
}

#[test]
fn an_update_waits_for_the_sample_in_work_as_long_as_it_is_told() {
    let (taken, is_taken) = channel();
    let (go_on, may_go_on) = channel::<()>();

    struct Slow<F>(F);

    impl<F: FnMut() + Send + 'static> Stage for Slow<F> {
        type Input = i64;
        type Output = ();

        fn stage_run(&mut self, _: i64) -> Result<Give<()>, BoxError> {
            (self.0)();
            Ok(Give::Skip)
        }
    }

    fn update_of<F: 'static>(_: &Slow<F>) -> fn(&mut Slow<F>) -> Result<(), BoxError> {
        |_| Ok(())
    }

    let slow = Slow(move || {
        taken.send(()).unwrap();
        let _ = may_go_on.recv();
    });
    let update = update_of(&slow);
    let pipeline = Pipeline::builder().end_stage(stage(slow).name("slow")).start().unwrap();
    pipeline.put(1).unwrap();
    is_taken.recv().unwrap();
    let error = pipeline.update_timeout("slow", update, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(&error, UpdateError::Timeout { workers, .. } if *workers == [0]), "{error}");
    drop(go_on);
    pipeline.update("slow", update).unwrap();
    pipeline.setstop().unwrap();
}

#[test]
fn what_is_put_after_the_end_of_a_failed_pipeline_is_not_waited_for() {
    let pipeline = Pipeline::builder()
        .stage(stage(|_: i64| -> Result<i64, BoxError> { Err("broken".into()) }).name("broken"))
        .stage(stage(Times { factor: 2 }).name("times"))
        .end_stage(|_: i64| {})
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    pipeline.setstop().unwrap_err();
    assert!(matches!(pipeline.update("times", set(1)), Err(UpdateError::NotRunning { .. })));
}
