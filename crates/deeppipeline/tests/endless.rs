//! A `Many` without an end: it is asked for values as long as somebody wants them.

mod support;

use deeppipeline::report::Outcome;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, made_by};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::until;

/// Time that nothing here takes, on any machine.
const LONG: Duration = Duration::from_secs(60);

fn count(asked: &AtomicUsize) {
    asked.fetch_add(1, Ordering::SeqCst);
}

/// Gives for each sample one value after the other, and counts how often it is asked.
struct Endless(Arc<AtomicUsize>);

impl Stage for Endless {
    type Input = usize;
    type Output = usize;

    fn stage_run(&mut self, x: usize) -> Result<Give<usize>, BoxError> {
        let asked = Arc::clone(&self.0);
        Ok(Give::many((x..).inspect(move |_| count(&asked))))
    }

    /// The same at the end.
    fn finish(&mut self) -> Result<Give<usize>, BoxError> {
        self.stage_run(0)
    }
}

#[test]
fn it_ends_with_an_abort() {
    for overflow in Overflow::ALL {
        let asked = Arc::default();
        let endless = Endless(Arc::clone(&asked));
        let pipeline = Pipeline::builder().overflow(overflow).stage(endless).end_stage(|_: usize| {}).start().unwrap();
        pipeline.put(1).unwrap();
        until(|| asked.load(Ordering::SeqCst) > 20);
        let report = pipeline.abort();
        assert_eq!((report.outcome, report.left_behind.len()), (Outcome::Aborted, 0), "{report}");
        assert!(report.balances(), "{report:#?}");
        assert_eq!(report.stages[0].counts.used, 1);
        assert_eq!(Arc::strong_count(&asked), 1, "the iterator is freed");
    }
}

#[test]
fn nothing_is_asked_for_after_the_value_in_work() {
    let ((tell, told), (permit, permits)) = (channel(), channel::<()>());
    let values = Mutex::new(Some((0..).inspect(move |y: &u64| {
        tell.send(*y).unwrap();
        let _ = permits.recv();
    })));
    let (release, released) = channel::<()>();
    let end = move |_: u64| {
        let _ = released.recv();
    };
    let pipeline =
        Pipeline::builder().overflow(Overflow::Block).stage(GivesOnce(values)).end_stage(end).start().unwrap();
    pipeline.put(1).unwrap();
    // The first is at the end stage, the second waits in front of it, the third is in work.
    permit.send(()).unwrap();
    permit.send(()).unwrap();
    assert_eq!([0, 1, 2].map(|_| told.recv_timeout(LONG)), [Ok(0), Ok(1), Ok(2)]);
    let end = || pipeline.report().stages[1].clone();
    until(|| (end().counts.in_flight, end().buffer.waiting) == (1, 1));
    std::thread::scope(|scope| {
        scope.spawn(|| pipeline.abort());
        until(|| end().buffer.discarded == 1);
        drop((permit, release));
    });
    // The value in work was given up, and no other was asked for.
    assert_eq!(told.iter().take(3).collect::<Vec<_>>(), [0_u64; 0]);
    assert_eq!(pipeline.setstop().unwrap().stages[0].counts.gave, 3);
}

/// Gives what it has with the first sample.
struct GivesOnce<I>(Mutex<Option<I>>);

impl<I: Iterator<Item = u64> + Send + 'static> Stage for GivesOnce<I> {
    type Input = u64;
    type Output = u64;

    fn stage_run(&mut self, _: u64) -> Result<Give<u64>, BoxError> {
        Ok(self.0.lock().unwrap().take().map_or(Give::Skip, Give::many))
    }
}

#[test]
fn it_ends_with_a_stream_that_is_dropped() {
    let asked = Arc::default();
    let mut stream = Pipeline::builder().source([7].into_iter()).stage(Endless(Arc::clone(&asked))).stream().unwrap();
    assert_eq!([stream.next(), stream.next()].map(|value| value.unwrap().unwrap()), [7, 8]);
    drop(stream);
    assert_eq!(Arc::strong_count(&asked), 1, "the iterator is freed");
}

#[test]
fn it_ends_with_a_time_out_in_stage_run_and_in_finish() {
    for samples in [1, 0] {
        let asked = Arc::default();
        let endless = Endless(Arc::clone(&asked));
        let pipeline = Pipeline::builder().stage(endless).end_stage(|_: usize| {}).start().unwrap();
        (0..samples).for_each(|x| drop(pipeline.put(x)));
        std::thread::scope(|scope| {
            let stopping = scope.spawn(|| pipeline.setstop_or_abort(Duration::from_millis(20)).unwrap());
            until(|| asked.load(Ordering::SeqCst) > 0);
            let report = stopping.join().unwrap();
            assert_eq!((report.outcome, report.left_behind.len()), (Outcome::Aborted, 0), "{report}");
        });
        assert_eq!(Arc::strong_count(&asked), 1, "the iterator is freed");
    }
}

#[test]
fn it_ends_with_a_failure_behind_it() {
    let asked = Arc::default();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(Endless(Arc::clone(&asked)))
        .end_stage(|x: usize| assert!(x < 3, "that is too much"))
        .start()
        .unwrap();
    pipeline.put(0).unwrap();
    let error = pipeline.setstop_or_abort(LONG).unwrap_err();
    assert!(error.report().balances(), "{:#?}", error.report());
    assert_eq!((error.report().outcome, error.report().left_behind.len()), (Outcome::Failed, 0));
    assert_eq!(Arc::strong_count(&asked), 1, "the iterator is freed");
}

#[test]
fn one_that_others_have_given_up_waiting_for_is_asked_no_more() {
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    let mut simulation = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(
            made_by(move || Ok(Twice(Arc::clone(&counted))))
                .name("work")
                .workers(2)
                .time_limit(Duration::from_millis(60)),
        )
        .end_stage(|_: usize| {})
        .simulate()
        .unwrap();
    for x in 0..8 {
        simulation.put_at(Duration::from_millis(10 * x), x as usize);
    }
    let takes = |number| Duration::from_millis(if number == 1 { 300 } else { 5 });
    let report = simulation.takes_by("work", move |sample| takes(sample.number)).unwrap().run().unwrap();
    assert_eq!((report.stages[0].counts.lost, report.stages[0].counts.used), (1, 7), "{report}");
    // Two of each of the seven, and one that came too late.
    assert_eq!(asked.load(Ordering::SeqCst), 15);
}

/// Gives two values for each sample, and counts how often it is asked.
struct Twice(Arc<AtomicUsize>);

impl Stage for Twice {
    type Input = usize;
    type Output = usize;

    fn stage_run(&mut self, x: usize) -> Result<Give<usize>, BoxError> {
        let asked = Arc::clone(&self.0);
        Ok(Give::many([x, x].into_iter().inspect(move |_| count(&asked))))
    }
}
