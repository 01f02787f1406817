//! Answers: every sample that is submitted gets one, whatever becomes of it.

use deeppipeline::error::{DroppedBy, NoAnswer, PutError, SkippedBy};
use deeppipeline::{
    Batch, BoxError, Give, Latest, OnError, Overflow, Pipeline, Stage, Window, chain, made_by, retry, stage,
};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// A stage that says when it has a sample, and goes on when it is told to.
fn gated() -> (impl FnMut(u32) -> u32 + Send, Receiver<u32>, Sender<()>) {
    let (has, had) = channel();
    let (go, gone) = channel();
    let run = move |x: u32| {
        has.send(x).unwrap();
        let _ = gone.recv();
        x
    };
    (run, had, go)
}

#[test]
fn the_answer_is_what_the_last_stage_gave_for_the_sample() {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(|x: u32| x + 1)
        .stage(|x: u32| x.to_string())
        .start_answering()
        .unwrap();
    let answers: Vec<_> = (0..100).map(|x| pipeline.submit(x).unwrap()).collect();
    for (x, answer) in (0..).zip(answers) {
        assert_eq!(answer.number(), Some(x + 1));
        assert_eq!(answer.wait().unwrap(), (x + 1).to_string());
    }
    let report = pipeline.setstop().unwrap();
    assert!(report.balances());
    assert_eq!((report.stages[1].counts.used, report.stages[1].counts.gave), (100, 0));
}

#[test]
fn several_workers_of_the_last_stage_answer_each_to_its_own() {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(made_by(|| Ok(|x: u64| x * x)).workers(3))
        .start_answering()
        .unwrap();
    let answers: Vec<_> = (0..200).map(|x| pipeline.submit(x).unwrap()).collect();
    for (x, answer) in (0..).zip(answers) {
        assert_eq!(answer.wait().unwrap(), x * x);
    }
    assert_eq!(pipeline.setstop().unwrap().stages.len(), 1);
}

#[test]
fn a_sample_that_is_put_gives_nothing_at_the_end() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let many = move |x: u32| {
        let count = Arc::clone(&count);
        Give::Many(Box::new((0..x).inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })))
    };
    let pipeline: Pipeline<u32, u32> =
        Pipeline::builder().overflow(Overflow::Block).stage(many).start_answering().unwrap();
    pipeline.put(5).unwrap();
    assert_eq!(pipeline.submit(3).unwrap().all().wait().unwrap(), [0, 1, 2]);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(pipeline.setstop().unwrap().stages[0].counts.used, 2);
}

#[test]
fn what_becomes_several_is_answered_by_all_that_came_through() {
    let pipeline: Pipeline<u32, u32> = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(|x: u32| Give::many(1..=x))
        .stage(|x: u32| (x != 2).then_some(10 * x))
        .start_answering()
        .unwrap();
    assert_eq!(pipeline.submit(4).unwrap().all().wait().unwrap(), [10, 30, 40]);
    assert_eq!(pipeline.submit(1).unwrap().wait().unwrap(), 10);
    assert!(matches!(pipeline.submit(3).unwrap().wait(), Err(NoAnswer::Several { values: 2 })));
    let nothing = pipeline.submit(0).unwrap().all().wait();
    assert!(matches!(nothing, Err(NoAnswer::Skipped { why: SkippedBy::Stage, .. })), "{nothing:?}");
    pipeline.setstop().unwrap();
}

#[test]
fn where_no_part_came_through_the_fate_of_the_last_is_the_answer() {
    let last = stage(|x: u32| if x == 3 { Err("no") } else { Ok(Give::<u32>::Skip) });
    let pipeline: Pipeline<u32, u32> = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(|x: u32| Give::many(1..=x))
        .stage(last.on_error(OnError::Skip))
        .start_answering()
        .unwrap();
    let skipped = pipeline.submit(2).unwrap().all().wait();
    assert!(matches!(&skipped, Err(NoAnswer::Skipped { .. })), "{skipped:?}");
    let failed = pipeline.submit(3).unwrap().all().wait();
    assert!(matches!(&failed, Err(NoAnswer::Failed(_))), "{failed:?}");
    pipeline.setstop().unwrap();
}

#[test]
fn a_failure_that_is_skipped_is_the_answer_of_its_sample_alone() {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(|x: u32| if x == 2 { Err("two is bad") } else { Ok(x) }).name("odd").on_error(OnError::Skip))
        .stage(|x: u32| x)
        .start_answering()
        .unwrap();
    let answers: Vec<_> = (1..=3).map(|x| pipeline.submit(x).unwrap()).collect();
    let mut answers = answers.into_iter().map(|answer| answer.wait());
    assert_eq!(answers.next().unwrap().unwrap(), 1);
    let Some(Err(NoAnswer::Failed(failure))) = answers.next() else { panic!("the second failed") };
    assert_eq!((failure.stage(), failure.cause().to_string()), ("odd", "two is bad".to_owned()));
    assert_eq!(failure.sample().unwrap().number, 2);
    assert_eq!(answers.next().unwrap().unwrap(), 3);
    pipeline.setstop().unwrap();
}

#[test]
fn a_failure_that_stops_the_pipeline_is_the_reason_of_all_that_is_discarded() {
    let (run, had, go) = gated();
    let pipeline: Pipeline<u32, u32> = Pipeline::builder()
        .overflow(Overflow::Block)
        .buffer_size(2)
        .stage(run)
        .stage(|x: u32| if x == 1 { Err("it broke") } else { Ok(x) })
        .start_answering()
        .unwrap();
    let first = pipeline.submit(1).unwrap();
    had.recv().unwrap();
    let others = [pipeline.submit(2).unwrap(), pipeline.submit(3).unwrap()];
    go.send(()).unwrap();
    let Err(NoAnswer::Failed(failure)) = first.wait() else { panic!("it failed") };
    assert_eq!(failure.cause().to_string(), "it broke");
    drop(go);
    for answer in others {
        let Err(NoAnswer::Discarded(discarded)) = answer.wait() else { panic!("it was discarded") };
        assert_eq!(discarded.cause().unwrap().cause().to_string(), "it broke");
    }
    pipeline.setstop().unwrap_err();
    let refused = pipeline.submit(4).unwrap_err();
    assert!(matches!(refused, PutError::Stage(4, _)), "{refused}");
}

#[test]
fn what_a_full_buffer_drops_is_answered_by_the_rule() {
    let (run, had, go) = gated();
    let pipeline = Pipeline::builder().buffer_size(1).stage(stage(run).name("slow")).start_answering().unwrap();
    let taken = pipeline.submit(1).unwrap();
    had.recv().unwrap();
    let dropped = pipeline.submit(2).unwrap();
    let kept = pipeline.submit(3).unwrap();
    let Err(NoAnswer::Dropped { stage, why }) = dropped.wait() else { panic!("it was dropped") };
    assert_eq!((stage.as_str(), why), ("slow", DroppedBy::Oldest));
    drop(go);
    assert_eq!((taken.wait().unwrap(), kept.wait().unwrap()), (1, 3));
    pipeline.setstop().unwrap();
}

#[test]
fn a_sample_that_is_dropped_on_arrival_is_answered_at_once() {
    let (run, had, go) = gated();
    let pipeline =
        Pipeline::builder().overflow(Overflow::DropNewest).buffer_size(1).stage(run).start_answering().unwrap();
    let taken = pipeline.submit(1).unwrap();
    had.recv().unwrap();
    let waits = pipeline.submit(2).unwrap();
    let dropped = pipeline.submit(3).unwrap();
    assert_eq!(dropped.number(), None);
    assert!(matches!(dropped.wait(), Err(NoAnswer::Dropped { why: DroppedBy::Newest, .. })));
    drop(go);
    assert_eq!((taken.wait().unwrap(), waits.wait().unwrap()), (1, 2));
    pipeline.setstop().unwrap();
}

#[test]
fn what_is_superseded_or_expired_is_answered() {
    let (run, had, go) = gated();
    let pipeline = Pipeline::builder().buffer_size(4).stage(stage(run).intake(Latest)).start_answering().unwrap();
    let taken = pipeline.submit(1).unwrap();
    had.recv().unwrap();
    let (old, new) = (pipeline.submit(2).unwrap(), pipeline.submit(3).unwrap());
    drop(go);
    assert!(matches!(old.wait(), Err(NoAnswer::Dropped { why: DroppedBy::Superseded, .. })));
    assert_eq!((taken.wait().unwrap(), new.wait().unwrap()), (1, 3));
    pipeline.setstop().unwrap();

    let (run, had, go) = gated();
    let age = Duration::from_nanos(1);
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(run)
        .stage(stage(|x: u32| x).max_age(age))
        .start_answering()
        .unwrap();
    let late = pipeline.submit(1).unwrap();
    had.recv().unwrap();
    go.send(()).unwrap();
    assert!(matches!(late.wait(), Err(NoAnswer::Dropped { why: DroppedBy::Expired, .. })));
    drop(go);
    pipeline.setstop().unwrap();
}

#[test]
fn the_samples_of_a_window_are_answered_before_their_list_comes() {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(|list: Vec<u32>| list.len()).intake(Window::new(2).stride(2)))
        .start_answering()
        .unwrap();
    assert!(matches!(pipeline.submit(1).unwrap().wait(), Err(NoAnswer::Skipped { why: SkippedBy::Window, .. })));
    assert_eq!(pipeline.submit(2).unwrap().wait().unwrap(), 2);
    pipeline.setstop().unwrap();
}

#[test]
fn a_sample_that_one_branch_ends_is_answered_by_its_fate_there() {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .parallel((
            stage(|x: u32| (x != 2).then_some(x)).name("left"),
            chain().stage(|x: u32| x * 10).stage(
                stage(|x: u32| if x == 30 { Err("three") } else { Ok(x) }).name("right").on_error(OnError::Skip),
            ),
        ))
        .stage(|(a, b): (u32, u32)| a + b)
        .start_answering()
        .unwrap();
    let answers: Vec<_> = (1..=4).map(|x| pipeline.submit(x).unwrap()).collect();
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.wait()).collect();
    assert_eq!((answers[0].as_ref().unwrap(), answers[3].as_ref().unwrap()), (&11, &44));
    assert!(matches!(&answers[1], Err(NoAnswer::Skipped { stage, .. }) if stage == "left"), "{answers:?}");
    assert!(matches!(&answers[2], Err(NoAnswer::Failed(failure)) if failure.stage() == "right"), "{answers:?}");
    pipeline.setstop().unwrap();
}

#[test]
fn joined_branches_at_the_end_are_the_answer() {
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .parallel((|x: u32| x + 1, |x: u32| x.to_string()))
        .start_answering()
        .unwrap();
    assert_eq!(pipeline.submit(4).unwrap().wait().unwrap(), (5, "4".to_owned()));
    pipeline.setstop().unwrap();
}

#[test]
fn an_abort_answers_what_is_inside_and_what_is_stuck() {
    let (run, had, go) = gated();
    let pipeline = Pipeline::builder().overflow(Overflow::Block).stage(run).start_answering().unwrap();
    let stuck = pipeline.submit(1).unwrap();
    had.recv().unwrap();
    let waiting = pipeline.submit(2).unwrap();
    pipeline.abort();
    for answer in [stuck, waiting] {
        let Err(NoAnswer::Discarded(discarded)) = answer.wait() else { panic!("it was discarded") };
        assert!(discarded.cause().is_none());
    }
    drop(go);
    assert!(matches!(pipeline.submit(3), Err(PutError::Closed(3))));
}

#[test]
fn a_stop_answers_what_is_inside_first() {
    let pipeline = Pipeline::builder().overflow(Overflow::Block).stage(|x: u32| x).start_answering().unwrap();
    let answers: Vec<_> = (0..10).map(|x| pipeline.submit(x).unwrap()).collect();
    pipeline.setstop().unwrap();
    for (x, answer) in (0..).zip(answers) {
        assert_eq!(answer.wait_timeout(Duration::ZERO).unwrap().unwrap(), x);
    }
}

#[test]
fn a_stage_does_not_submit_to_its_own_pipeline() {
    type Own = Arc<Mutex<Option<Arc<Pipeline<u32, u32>>>>>;
    let own = Own::default();
    let inside = Arc::clone(&own);
    let run = move |x: u32| -> Result<u32, BoxError> {
        let pipeline = inside.lock().unwrap().clone().ok_or("it is there by now")?;
        match pipeline.submit(x + 1) {
            Err(PutError::OwnStage(given_back)) => Ok(given_back),
            _ => Err("it was not refused".into()),
        }
    };
    let pipeline: Arc<Pipeline<u32, u32>> = Arc::new(Pipeline::builder().stage(run).start_answering().unwrap());
    *own.lock().unwrap() = Some(Arc::clone(&pipeline));
    assert_eq!(pipeline.submit(1).unwrap().wait().unwrap(), 2);
    own.lock().unwrap().take();
    pipeline.setstop().unwrap();
}

#[test]
fn a_retry_that_succeeds_is_the_answer() {
    let mut tries = 0;
    let run = move |x: u32| {
        tries += 1;
        if tries < 3 { Err("not yet") } else { Ok(x) }
    };
    let pipeline: Pipeline<u32, u32> =
        Pipeline::builder().stage(stage(run).on_error(retry(2))).start_answering().unwrap();
    assert_eq!(pipeline.submit(7).unwrap().wait().unwrap(), 7);
    pipeline.setstop().unwrap();
}

#[test]
fn an_answer_wakes_the_task_that_awaits_it() {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (run, had, go) = gated();
    let pipeline = Pipeline::builder().stage(run).start_answering().unwrap();
    let mut answer = pin!(pipeline.submit(5).unwrap());
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    had.recv().unwrap();
    assert!(answer.as_mut().poll(&mut context).is_pending());
    go.send(()).unwrap();
    let found = loop {
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(found) => break found,
            Poll::Pending => thread::park(),
        }
    };
    assert_eq!(found.unwrap(), 5);
    drop(go);
    pipeline.setstop().unwrap();
}

#[test]
fn a_pipeline_that_is_dropped_answers_what_it_had() {
    let (run, had, go) = gated();
    let pipeline = Pipeline::builder().overflow(Overflow::Block).stage(run).start_answering().unwrap();
    let first = pipeline.submit(1).unwrap();
    had.recv().unwrap();
    let second = pipeline.submit(2).unwrap();
    drop(pipeline);
    assert!(matches!(second.wait(), Err(NoAnswer::Discarded(_))));
    drop(go);
    // The last stage was done with it, so it is used.
    assert_eq!(first.wait().unwrap(), 1);
}

#[test]
fn a_list_answers_the_newest_of_its_samples() {
    struct Sum;
    impl Stage for Sum {
        type Input = Vec<u32>;
        type Output = u32;
        fn stage_run(&mut self, list: Vec<u32>) -> Result<Give<u32>, BoxError> {
            Ok(Give::One(list.iter().sum()))
        }
    }
    let (run, had, go) = gated();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .buffer_size(4)
        .stage(run)
        .stage(stage(Sum).intake(Batch::new(2).max_wait(Duration::from_secs(3600)).fold()))
        .start_answering()
        .unwrap();
    let (older, newest) = (pipeline.submit(1).unwrap(), pipeline.submit(2).unwrap());
    had.recv().unwrap();
    drop(go);
    assert!(matches!(older.wait(), Err(NoAnswer::Skipped { why: SkippedBy::List, .. })));
    assert_eq!(newest.wait().unwrap(), 3);
    pipeline.setstop().unwrap();
}
