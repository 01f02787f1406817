//! What comes out of a pipeline, asked for one by one.

mod support;

use deeppipeline::error::Doing;
use deeppipeline::pipeline::Stream;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, made_by};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use support::until;

#[test]
fn every_value_comes_out_in_order() {
    let stream = Pipeline::builder()
        .source(0..100_u32)
        .stage(made_by(|| Ok(|x: u32| x + 1)).workers(3))
        .stage(|x: u32| 2 * x)
        .stream()
        .unwrap();
    let values: Vec<u32> = stream.map(Result::unwrap).collect();
    assert_eq!(values, (1..=100).map(|x| 2 * x).collect::<Vec<_>>());
}

#[test]
fn many_values_of_one_and_none_of_another_come_out_as_they_are() {
    struct Count;
    impl Stage for Count {
        type Input = u32;
        type Output = u32;
        fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
            Ok(Give::many(0..x))
        }
        fn finish(&mut self) -> Result<Give<u32>, BoxError> {
            Ok(Give::One(99))
        }
    }
    let stream = Pipeline::builder().source([2, 0, 3].into_iter()).stage(Count).stream().unwrap();
    assert_eq!(stream.map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 0, 1, 2, 99]);
}

#[test]
fn the_source_waits_for_whoever_asks() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let source = std::iter::repeat_with(move || counted.fetch_add(1, SeqCst));
    let mut stream = Pipeline::builder().source(source).buffer_size(1).stage(|x: usize| x).stream().unwrap();
    // One in each buffer and in each hand, and the source's own: nobody ever asks for more.
    until(|| asked.load(SeqCst) == 5);
    for value in 0..20 {
        assert_eq!(stream.next().unwrap().unwrap(), value);
        until(|| asked.load(SeqCst) == value + 6);
    }
}

#[test]
fn an_overflow_that_was_asked_for_stays_in_force() {
    let (taken, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, counted) = (Arc::clone(&taken), Arc::clone(&asked));
    let source = (0..50_usize).inspect(move |_| {
        counted.fetch_add(1, SeqCst);
    });
    let mut stream = Pipeline::builder()
        .overflow(Overflow::DropOldest)
        .source(source)
        .stage(move |x: usize| {
            // The first is in flight until all others have come.
            until(|| asked.load(SeqCst) == 50);
            seen.fetch_add(1, SeqCst);
            x
        })
        .stream()
        .unwrap();
    let values: Vec<usize> = stream.by_ref().map(Result::unwrap).collect();
    assert_eq!(values.last(), Some(&49));
    assert!(values.len() < 50 && stream.report().dropped() > 0);
    assert_eq!(values.len(), taken.load(SeqCst));
}

#[test]
fn dropping_it_ends_everything() {
    struct Watched(Arc<AtomicUsize>);
    impl Stage for Watched {
        type Input = u32;
        type Output = u32;
        fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
            Ok(Give::One(x))
        }
        fn teardown(&mut self) -> Result<(), BoxError> {
            self.0.fetch_add(1, SeqCst);
            Ok(())
        }
    }
    let ended = Arc::new(AtomicUsize::new(0));
    let stream: Stream<u32> = Pipeline::builder()
        .source(0_u32..)
        .stage(Watched(Arc::clone(&ended)))
        .stage(Watched(Arc::clone(&ended)))
        .stream()
        .unwrap();
    for value in stream.take(3) {
        value.unwrap();
    }
    until(|| ended.load(SeqCst) == 2);
}

#[test]
fn a_failure_comes_after_everything_before_it_and_is_the_last() {
    let fails = |x: u32| -> Result<u32, BoxError> { if x == 3 { Err("three".into()) } else { Ok(x) } };
    struct Fails<F>(F);
    impl<F: Fn(u32) -> Result<u32, BoxError> + Send + 'static> Stage for Fails<F> {
        type Input = u32;
        type Output = u32;
        fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
            (self.0)(x).map(Give::One)
        }
        fn name(&self) -> String {
            "fails".to_owned()
        }
    }
    let mut stream = Pipeline::builder().source(0..10_u32).stage(Fails(fails)).stage(|x: u32| x).stream().unwrap();
    for value in 0..3 {
        assert_eq!(stream.next().unwrap().unwrap(), value);
    }
    let error = stream.next().unwrap().unwrap_err();
    assert_eq!((error.stage(), error.doing()), ("fails", Doing::StageRun));
    assert!(stream.next().is_none());
    assert!(stream.report().balances());
}

#[test]
fn an_empty_source_is_an_empty_stream() {
    let mut stream =
        Pipeline::builder().source(std::iter::empty::<u32>()).buffer_size([3]).stage(|x: u32| x).stream().unwrap();
    assert!(stream.next().is_none());
    assert!(stream.next().is_none());
}

#[test]
fn a_flush_takes_back_what_the_stream_waits_with() {
    let (put, source) = std::sync::mpsc::channel();
    let mut stream = Pipeline::builder().source(source.into_iter()).stage(|x: i32| x).stream().unwrap();
    put.send(1).unwrap();
    until(|| stream.report().stages[1].counts.in_flight == 1);
    stream.flush();
    put.send(2).unwrap();
    drop(put);
    assert_eq!(stream.next().unwrap().unwrap(), 2);
    assert!(stream.next().is_none());
    assert!(stream.report().balances());
}
