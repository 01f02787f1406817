//! Pipelines in a program of tasks: nobody waits on the thread of a runtime.

use deeppipeline::error::{NoAnswer, PutError};
use deeppipeline::pipeline::{Put, Results};
use deeppipeline::{Overflow, Pipeline, entrance};
use futures::executor::block_on;
use futures::future::join_all;
use futures::stream::FuturesOrdered;
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;

type Failed = Box<dyn std::error::Error>;

/// A pipeline whose stage takes a sample, says which, and waits until it is let go; one more has room in front of it.
struct Gated {
    pipeline: Pipeline<u32, u32>,
    taken: Receiver<u32>,
    let_go: Sender<()>,
}

impl Gated {
    fn start(overflow: Overflow) -> Result<Self, Failed> {
        let ((say, taken), (let_go, wait)) = (channel(), channel());
        let stage = move |x: u32| {
            say.send(x).ok();
            wait.recv().ok();
            x
        };
        let pipeline = Pipeline::builder().buffer_size(1).overflow(overflow).stage(stage).start_answering()?;
        Ok(Gated { pipeline, taken, let_go })
    }

    /// Fills the stage and the buffer in front of it.
    async fn fill(&self) -> Result<(), Failed> {
        self.pipeline.put_async(100).await?;
        self.taken.recv()?;
        self.pipeline.put_async(101).await?;
        Ok(())
    }

    fn let_go(&self, times: usize) {
        (0..times).for_each(|_| self.let_go.send(()).unwrap());
    }
}

/// Polls a future once.
async fn is_ready<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    let mut future = Some(future);
    poll_fn(|context| Poll::Ready(future.take().is_some_and(|future| future.poll(context).is_ready()))).await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn a_task_that_waits_for_room_lets_the_others_of_its_thread_go_on() -> Result<(), Failed> {
    runtime().block_on(async {
        let gated = Gated::start(Overflow::Block)?;
        gated.fill().await?;
        let waiting = gated.pipeline.put_async(1);
        let other = async {
            tokio::task::yield_now().await;
            gated.let_go(3);
        };
        let (put, ()) = tokio::join!(waiting, other);
        assert_eq!(put?, Put::Accepted { number: 3 });
        assert!(gated.pipeline.setstop()?.balances());
        Ok(())
    })
}

#[test]
fn tasks_that_wait_are_told_of_room_in_the_order_in_which_they_came() -> Result<(), Failed> {
    block_on(async {
        let gated = Gated::start(Overflow::Block)?;
        gated.fill().await?;
        // Each is polled when it was told, and then alone.
        let mut waiting: FuturesOrdered<_> = (0..20).map(|x| gated.pipeline.put_async(x)).collect();
        assert!(!is_ready(pin!(waiting.next())).await);
        gated.let_go(22);
        let numbers: Result<Vec<_>, _> = waiting.try_collect().await;
        let in_order: Vec<_> = (3..23).map(|number| Put::Accepted { number }).collect();
        assert_eq!(numbers?, in_order);
        Ok(())
    })
}

#[test]
fn a_put_that_is_dropped_before_it_was_ready_has_not_put_its_sample_in() -> Result<(), Failed> {
    block_on(async {
        let gated = Gated::start(Overflow::Block)?;
        gated.fill().await?;
        {
            let mut first = pin!(gated.pipeline.put_async(1));
            assert!(!is_ready(first.as_mut()).await);
        }
        let mut second = Box::pin(gated.pipeline.put_async(2));
        let mut third = Box::pin(gated.pipeline.put_async(3));
        assert!(!is_ready(second.as_mut()).await && !is_ready(third.as_mut()).await);
        gated.let_go(1);
        assert_eq!(gated.taken.recv()?, 101);
        // There is room, and it was told of it.
        drop(second);
        assert!(third.await?.is_accepted());
        gated.let_go(2);
        assert_eq!(gated.pipeline.setstop()?.stages[0].buffer.entered, 3);
        Ok(())
    })
}

#[test]
fn who_waits_for_room_hears_of_the_end() -> Result<(), Failed> {
    let gated = Gated::start(Overflow::Block)?;
    block_on(gated.fill())?;
    let mut waiting: Vec<_> = (0..3).map(|x| Box::pin(gated.pipeline.submit_async(x))).collect();
    for submitting in &mut waiting {
        assert!(!block_on(is_ready(submitting.as_mut())));
    }
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| gated.pipeline.abort());
        block_on(join_all(waiting))
    });
    // What stood in front of the stage was discarded.
    gated.let_go(1);
    for (x, ended) in (0..).zip(ended) {
        assert!(matches!(ended, Err(PutError::Closed(back)) if back == x));
    }
    Ok(())
}

#[test]
fn answers_come_to_tasks_of_one_thread() -> Result<(), Failed> {
    runtime().block_on(async {
        let pipeline: Pipeline<u32, u32> =
            Pipeline::builder().overflow(Overflow::Block).stage(|x: u32| x * x).start_answering()?;
        let asks = (0..1000)
            .map(async |x| pipeline.submit_async(x).await.map_err(|e| e.to_string())?.await.map_err(|e| e.to_string()));
        let answers: Result<Vec<_>, _> = join_all(asks).await.into_iter().collect();
        assert_eq!(answers?, (0..1000).map(|x| x * x).collect::<Vec<_>>());
        pipeline.setstop()?;
        Ok(())
    })
}

#[test]
fn a_submission_that_is_dropped_on_arrival_has_its_fate_as_its_answer() -> Result<(), Failed> {
    block_on(async {
        let gated = Gated::start(Overflow::DropNewest)?;
        gated.fill().await?;
        let answer = gated.pipeline.submit_async(1).await?;
        assert!(matches!(answer.await, Err(NoAnswer::Dropped { .. })));
        assert_eq!(gated.pipeline.put_async(2).await?, Put::Dropped);
        gated.let_go(2);
        Ok(())
    })
}

#[test]
fn submit_goes_by_an_entrance() -> Result<(), Failed> {
    let pipeline: Pipeline<u32, u32> = Pipeline::builder()
        .entrance(entrance("a"))
        .entrance(entrance("b"))
        .overflow(Overflow::Block)
        .stage(|x: u32| x + 1)
        .start_answering()?;
    assert_eq!(pipeline.submit_into("a", 1)?.wait()?, 2);
    assert_eq!(pipeline.submit_into_timeout("b", 2, std::time::Duration::from_secs(60))?.wait()?, 3);
    assert_eq!(block_on(async { pipeline.submit_into_async("a", 3).await?.await.map_err(Failed::from) })?, 4);
    assert!(matches!(pipeline.submit_into("nowhere", 1), Err(PutError::Entrance(1, _))));
    assert!(matches!(pipeline.submit(1), Err(PutError::Entrance(1, _))));
    assert!(block_on(pipeline.put_into_async("b", 3))?.is_accepted());
    let report = pipeline.setstop()?;
    assert_eq!(report.stages[0].buffer.entered, 4);
    Ok(())
}

#[test]
fn a_stream_gives_its_values_to_a_task_and_then_the_failure() -> Result<(), Failed> {
    let values =
        Pipeline::builder().source(1..).stage(|x: u32| if x < 4 { Ok(x) } else { Err("four") }).stream()?.in_task();
    let got: Vec<_> = runtime().block_on(values.collect::<Vec<_>>());
    let texts: Vec<_> = got.into_iter().map(|value| value.map_err(|error| error.to_string())).collect();
    assert_eq!(texts[..3], [Ok(1), Ok(2), Ok(3)]);
    assert!(texts.len() == 4 && texts[3].as_ref().is_err_and(|error| error.contains("four")));
    Ok(())
}

#[test]
fn a_stream_that_a_task_drops_early_ends_its_pipeline() -> Result<(), Failed> {
    struct Torn(Sender<()>);
    impl deeppipeline::Stage for Torn {
        type Input = u32;
        type Output = u32;
        fn stage_run(&mut self, x: u32) -> Result<deeppipeline::Give<u32>, deeppipeline::BoxError> {
            Ok(deeppipeline::Give::One(x))
        }
        fn teardown(&mut self) -> Result<(), deeppipeline::BoxError> {
            Ok(self.0.send(())?)
        }
    }
    let (say, torn) = channel();
    let mut values = Pipeline::builder().source(1..).stage(Torn(say)).stream()?.in_task();
    assert_eq!(runtime().block_on(values.next()).transpose()?, Some(1));
    drop(values);
    Ok(torn.recv()?)
}

#[test]
fn results_come_to_a_task_while_another_sends_into_a_sink() -> Result<(), Failed> {
    runtime().block_on(async {
        let got = Mutex::new(Vec::new());
        let (pipeline, results): (_, Results<u32>) =
            Pipeline::builder().buffer_size(1).overflow(Overflow::Block).stage(|x: u32| 2 * x).results()?;
        let sending = async { stream::iter(0..500).map(Ok).forward(pipeline.sink()).await };
        let receiving = results.in_task().for_each(async |x| got.lock().unwrap().push(x));
        let (sent, ()) = tokio::join!(sending, receiving);
        sent?;
        assert_eq!(*got.lock().unwrap(), (0..500).map(|x| 2 * x).collect::<Vec<_>>());
        Ok(())
    })
}

#[test]
fn a_sink_says_when_the_pipeline_takes_nothing_more() -> Result<(), Failed> {
    let pipeline = Pipeline::builder().end_stage(|_: u32| {}).start()?;
    pipeline.setstop()?;
    assert!(matches!(block_on(pipeline.sink().send(3)), Err(PutError::Closed(3))));
    Ok(())
}
