//! Starting, stopping, and letting go of a pipeline.

mod support;

use deeppipeline::error::{Doing, PutError, StartError};
use deeppipeline::report::{Outcome, SOURCE};
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Source, Stage, stage};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use support::until;

/// Waits in `setup` and in each `stage_run` for a permit; once there are no more, `setup` fails. Counts those alive.
struct Gated {
    setup: Receiver<()>,
    runs: Receiver<()>,
    log: Log,
}

#[derive(Clone, Default)]
struct Log {
    alive: Arc<AtomicUsize>,
    torn_down: Arc<AtomicUsize>,
}

struct Permits {
    setup: Sender<()>,
    runs: Sender<()>,
}

fn gated(log: &Log) -> (Permits, Gated) {
    let (setup, setups) = channel();
    let (run, runs) = channel();
    log.alive.fetch_add(1, Ordering::SeqCst);
    (Permits { setup, runs: run }, Gated { setup: setups, runs, log: log.clone() })
}

impl Stage for Gated {
    type Input = u32;
    type Output = u32;

    fn setup(&mut self) -> Result<(), BoxError> {
        Ok(self.setup.recv()?)
    }

    fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
        let _ = self.runs.recv();
        Ok(Give::One(x))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.log.torn_down.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        self.log.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn start_returns_when_every_setup_has_succeeded() {
    let log = Log::default();
    let (first_permits, first) = gated(&log);
    let (second_permits, second) = gated(&log);
    let started = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            let pipeline = Pipeline::builder().stage(first).end_stage(second).start().unwrap();
            started.store(true, Ordering::SeqCst);
            pipeline
        });
        first_permits.setup.send(()).unwrap();
        assert!(!started.load(Ordering::SeqCst), "the second is still in setup");
        second_permits.setup.send(()).unwrap();
        starting.join().unwrap().setstop().unwrap();
    });
    assert_eq!(log.torn_down.load(Ordering::SeqCst), 2);
}

#[test]
fn start_with_a_time_out_names_the_stages_still_in_setup() {
    let log = Log::default();
    let (permits, stuck) = gated(&log);
    let started = Pipeline::builder()
        .stage(stage(stuck).name("stuck"))
        .end_stage(|_: u32| {})
        .start_timeout(Duration::from_millis(1));
    let Err(StartError::Timeout { stages, timeout }) = started else { panic!("it started") };
    assert!(stages.contains(&"stuck".to_owned()), "{stages:?}");
    assert_eq!(timeout, Duration::from_millis(1));
    // Left behind in its own code, it ends when that does.
    permits.setup.send(()).unwrap();
    until(|| log.alive.load(Ordering::SeqCst) == 0);
    assert_eq!(log.torn_down.load(Ordering::SeqCst), 1);
}

#[test]
fn start_with_a_time_out_that_is_not_reached_starts() {
    let pipeline = Pipeline::builder().end_stage(|_: u32| {}).start_timeout(Duration::MAX).unwrap();
    pipeline.put(1).unwrap();
    assert_eq!(pipeline.setstop().unwrap().stages[0].counts.used, 1);
}

#[test]
fn no_stage_runs_before_every_setup_has_succeeded() {
    let log = Log::default();
    let (permits, late) = gated(&log);
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(|x: u32| x)
        .end_stage(late)
        .start_without_waiting()
        .unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    assert_eq!(pipeline.report().stages[0].buffer.waiting, 2);
    permits.setup.send(()).unwrap();
    drop(permits.runs);
    let report = pipeline.setstop().unwrap();
    assert_eq!(report.stages[1].counts.used, 2);
}

#[test]
fn a_failed_start_discards_what_was_accepted_and_tears_down_what_was_set_up() {
    let log = Log::default();
    let (sound_permits, sound) = gated(&log);
    let (faulty_permits, faulty) = gated(&log);
    let pipeline = Pipeline::builder()
        .stage(stage(sound).name("sound"))
        .end_stage(stage(faulty).name("faulty"))
        .start_without_waiting()
        .unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    sound_permits.setup.send(()).unwrap();
    drop(faulty_permits);
    until(|| pipeline.report().outcome == Outcome::Failed);
    until(|| pipeline.report().stages[0].buffer.discarded == 2);
    let Err(PutError::Stage(3, error)) = pipeline.put(3) else { panic!("it was accepted") };
    assert_eq!((error.stage(), error.doing()), ("faulty", Doing::Setup));
    let error = pipeline.setstop().unwrap_err();
    assert!(error.report().balances());
    assert_eq!(error.report().elapsed, Duration::ZERO, "it was never up");
    assert_eq!(log.torn_down.load(Ordering::SeqCst), 1, "only what was set up");
    assert_eq!(log.alive.load(Ordering::SeqCst), 0, "nothing is left");
}

#[test]
fn setstop_during_the_start_lets_flow_out_what_was_accepted() {
    let log = Log::default();
    let (permits, late) = gated(&log);
    let pipeline = Pipeline::builder().end_stage(late).start_without_waiting().unwrap();
    pipeline.put(1).unwrap();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| pipeline.setstop().unwrap());
        until(|| pipeline.put(2).is_err());
        permits.setup.send(()).unwrap();
        drop(permits.runs);
        let report = stopping.join().unwrap();
        assert_eq!((report.outcome, report.stages[0].counts.used > 0), (Outcome::Finished, true));
    });
}

#[test]
fn setstop_may_be_called_again_and_from_many_threads() {
    let pipeline =
        Pipeline::builder().overflow(Overflow::Block).stage(|x: u32| x).end_stage(|_: u32| {}).start().unwrap();
    for x in 0..10 {
        pipeline.put(x).unwrap();
    }
    let reports = std::thread::scope(|scope| {
        let stopping: Vec<_> = (0..4).map(|_| scope.spawn(|| pipeline.setstop().unwrap())).collect();
        stopping.into_iter().map(|stopping| stopping.join().unwrap()).collect::<Vec<_>>()
    });
    for report in reports {
        assert_eq!(report, pipeline.setstop().unwrap());
        assert_eq!((report.outcome, report.stages[1].counts.used), (Outcome::Finished, 10));
    }
    assert_eq!(pipeline.join().unwrap(), pipeline.abort(), "an abort after the end changes nothing");
}

#[test]
fn setstop_with_a_time_out_aborts_and_names_the_stuck_stage() {
    let log = Log::default();
    let (permits, stuck) = gated(&log);
    permits.setup.send(()).unwrap();
    let pipeline = Pipeline::builder().stage(stage(stuck).name("stuck")).end_stage(|_: u32| {}).start().unwrap();
    for x in 0..3 {
        pipeline.put(x).unwrap();
        until(|| pipeline.report().stages[0].counts.in_flight == 1);
    }
    let report = pipeline.setstop_or_abort(Duration::from_millis(1)).unwrap();
    assert_eq!((report.outcome, report.stages[0].buffer.discarded), (Outcome::Aborted, 2));
    assert!(report.left_behind.contains(&"stuck".to_owned()), "{:?}", report.left_behind);
    assert!(report.balances());
    drop(permits);
    assert!(pipeline.setstop().unwrap().left_behind.is_empty());
    assert_eq!((log.torn_down.load(Ordering::SeqCst), log.alive.load(Ordering::SeqCst)), (1, 0));
}

#[test]
fn setstop_with_a_time_out_that_is_not_reached_drains() {
    let pipeline = Pipeline::builder().end_stage(|_: u32| {}).start().unwrap();
    pipeline.put(1).unwrap();
    assert_eq!(pipeline.setstop_or_abort(Duration::MAX).unwrap().outcome, Outcome::Finished);
}

#[test]
fn setstop_from_an_own_stage_only_requests() {
    let pipeline = Arc::new(OnceLock::<Pipeline<u32>>::new());
    let own = Arc::clone(&pipeline);
    let (told, reports) = channel();
    let started = Pipeline::builder()
        .overflow(Overflow::Block)
        .end_stage(move |x: u32| {
            if x == 1 {
                let pipeline = own.wait();
                let all = [pipeline.setstop(), pipeline.join(), pipeline.setstop_or_abort(Duration::ZERO)];
                told.send(all.map(Result::unwrap)).unwrap();
            }
        })
        .start_without_waiting()
        .unwrap();
    pipeline.set(started).ok().unwrap();
    let pipeline = pipeline.wait();
    pipeline.put(1).unwrap();
    for report in reports.recv().unwrap() {
        assert_eq!(report.outcome, Outcome::Running);
        assert!(report.left_behind.is_empty());
    }
    assert!(matches!(pipeline.put(2), Err(PutError::Closed(2))));
    assert_eq!(pipeline.join().unwrap().outcome, Outcome::Finished);
}

#[test]
fn dropping_the_handle_aborts_and_does_not_wait() {
    let log = Log::default();
    let (permits, busy) = gated(&log);
    permits.setup.send(()).unwrap();
    let pipeline = Pipeline::builder().stage(busy).end_stage(|_: u32| {}).start().unwrap();
    pipeline.put(1).unwrap();
    until(|| pipeline.report().stages[0].counts.in_flight == 1);
    drop(pipeline);
    // It has returned although the stage has not; when that does, it is torn down and its thread ends.
    assert_eq!(log.alive.load(Ordering::SeqCst), 1);
    drop(permits);
    until(|| log.alive.load(Ordering::SeqCst) == 0);
    assert_eq!(log.torn_down.load(Ordering::SeqCst), 1);
}

#[test]
fn a_stage_whose_drop_stops_its_own_pipeline_does_not_wait_for_itself() {
    struct Last(Arc<OnceLock<Pipeline<u32>>>, Sender<bool>);
    impl Stage for Last {
        type Input = u32;
        type Output = u32;
        fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
            Ok(Give::One(x))
        }
    }
    impl Drop for Last {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.wait().setstop().is_ok());
        }
    }
    let pipeline = Arc::new(OnceLock::new());
    let (told, stopped) = channel();
    let started = Pipeline::builder().end_stage(Last(Arc::clone(&pipeline), told)).start().unwrap();
    let pipeline = pipeline.get_or_init(|| started);
    // Asks for the stop from outside without joining the thread: the stage is dropped on it.
    std::thread::scope(|scope| {
        scope.spawn(|| pipeline.setstop().unwrap());
        assert!(stopped.recv().unwrap());
    });
}

#[test]
fn every_worker_is_a_thread_named_after_its_stage() {
    let names = Arc::new(Mutex::new(Vec::new()));
    struct Named(Arc<Mutex<Vec<String>>>);
    impl Named {
        fn note(&self) {
            self.0.lock().unwrap().push(std::thread::current().name().unwrap_or_default().to_owned());
        }
    }
    impl Stage for Named {
        type Input = u32;
        type Output = u32;
        fn setup(&mut self) -> Result<(), BoxError> {
            self.note();
            Ok(())
        }
        fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
            Ok(Give::One(x))
        }
    }
    let named = || Named(Arc::clone(&names));
    let pipeline = Pipeline::builder().stage(named()).stage(stage(named()).name("with a \0 in it")).start().unwrap();
    pipeline.setstop().unwrap();
    let mut names = names.lock().unwrap().clone();
    names.sort();
    assert_eq!(names, ["Named", "with a  in it"]);
}

/// A source that waits for samples, and can be woken.
struct Camera {
    frames: Receiver<Option<u32>>,
    wake: Sender<Option<u32>>,
}

impl Camera {
    fn new() -> (Sender<Option<u32>>, Self) {
        let (wake, frames) = channel();
        (wake.clone(), Camera { frames, wake })
    }
}

impl Source for Camera {
    type Item = u32;
    fn source_next(&mut self) -> Result<Option<u32>, BoxError> {
        Ok(self.frames.recv()?)
    }
    fn closer(&self) -> Option<Box<dyn Fn() + Send + Sync>> {
        let wake = self.wake.clone();
        Some(Box::new(move || wake.send(None).unwrap_or_default()))
    }
}

#[test]
fn a_waiting_source_is_woken_by_setstop_and_by_abort_and_by_a_failure() {
    for stop in ["setstop", "abort", "failure"] {
        let (frames, camera) = Camera::new();
        let pipeline = Pipeline::builder()
            .source(camera)
            .stage(stage(|x: u32| assert!(x != 2, "two is too much")).name("odd"))
            .start()
            .unwrap();
        frames.send(Some(1)).unwrap();
        until(|| pipeline.report().stages[0].counts.used == 1);
        match stop {
            "setstop" => assert_eq!(pipeline.setstop().unwrap().outcome, Outcome::Finished),
            "abort" => {
                pipeline.abort();
                assert_eq!(pipeline.setstop().unwrap().outcome, Outcome::Aborted);
            }
            _ => {
                frames.send(Some(2)).unwrap();
                assert_eq!(pipeline.join().unwrap_err().stage(), "odd");
            }
        }
    }
}

#[test]
fn join_waits_for_the_source_to_end() {
    let report = Pipeline::builder()
        .source(1..=100_u32)
        .overflow(Overflow::Block)
        .stage(|x: u32| x)
        .end_stage(|_: u32| {})
        .run()
        .unwrap();
    assert_eq!((report.outcome, report.stages[1].counts.used), (Outcome::Finished, 100));
}

#[test]
fn stages_of_the_same_name_are_told_apart() {
    let pipeline = Pipeline::builder().stage(|x: u32| x).stage(|x: u32| x).end_stage(|_: u32| {}).start().unwrap();
    let report = pipeline.setstop().unwrap();
    let names: Vec<&str> = report.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["closure", "closure 2", "closure 3"]);
}

#[test]
fn a_long_name_moves_only_its_own_row_of_the_report() {
    let name = "x".repeat(70_000);
    let named = Pipeline::builder().stage(stage(|x: u32| x).name(name.clone()));
    let table = named.end_stage(|_: u32| {}).start().unwrap().setstop().unwrap().to_string();
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[1].starts_with(&format!("{name}  ")));
    assert_eq!(rows[0].len(), rows[2].len());
}

/// A source that gives nothing and cannot be woken, and whose closer waits as long as it does.
struct Unclosable {
    asked: Sender<()>,
    over: Arc<Mutex<Receiver<()>>>,
}

impl Source for Unclosable {
    type Item = u32;

    fn source_next(&mut self) -> Result<Option<u32>, BoxError> {
        let over = self.over.lock().unwrap();
        self.asked.send(())?;
        let _ = over.recv();
        Ok(None)
    }

    fn closer(&self) -> Option<Box<dyn Fn() + Send + Sync>> {
        let over = Arc::clone(&self.over);
        Some(Box::new(move || drop(over.lock())))
    }
}

#[test]
fn whoever_stops_does_not_wait_for_a_closer_that_waits() {
    let ((asked, was_asked), (end, over)) = (channel(), channel());
    let source = Unclosable { asked, over: Arc::new(Mutex::new(over)) };
    let pipeline = Pipeline::builder().source(source).end_stage(|_: u32| {}).start().unwrap();
    was_asked.recv().unwrap();
    let report = pipeline.setstop_or_abort(Duration::ZERO).unwrap();
    assert_eq!(report.left_behind, ["source"]);
    assert_eq!(pipeline.report().left_behind, ["source"], "a later report says so too");
    drop(end);
    assert_eq!(pipeline.setstop().unwrap().left_behind, Vec::<String>::new());
}

#[test]
fn a_report_tells_how_long_the_source_has_given_nothing() {
    let mut simulation = Pipeline::builder().source(0..2).end_stage(|_: i32| {}).simulate().unwrap();
    let seconds = Duration::from_secs;
    simulation.takes("source", seconds(5)).unwrap().takes("closure", seconds(2)).unwrap();
    while simulation.now() < seconds(7) {
        simulation.step().unwrap();
    }
    let report = simulation.report();
    let source = report.source(SOURCE).unwrap();
    assert_eq!((source.wait, source.longest_wait), (Some(seconds(2)), seconds(5)), "asked since it gave the first");
    assert!(report.to_string().ends_with("; the source has given nothing for 2.00 s"), "{report}");

    let report = simulation.run().unwrap();
    let source = report.source(SOURCE).unwrap();
    assert_eq!((source.wait, source.longest_wait), (None, seconds(5)));
    assert!(report.to_string().ends_with("; the source once gave nothing for 5.00 s"), "{report}");
}

#[test]
fn that_a_source_waits_for_room_is_not_its_silence() {
    let builder = Pipeline::builder().source(0..4).buffer_size(1).overflow(Overflow::Block);
    let mut simulation = builder.end_stage(|_: i32| {}).simulate().unwrap();
    let short = Duration::from_millis(500);
    simulation.takes("source", short).unwrap().takes("closure", Duration::from_secs(100)).unwrap();
    let report = simulation.run().unwrap();
    assert_eq!(report.source(SOURCE).unwrap().longest_wait, short);
    assert!(!report.to_string().contains("the source"), "{report}");
}

#[test]
fn a_source_on_a_thread_that_is_being_asked_is_in_the_report() {
    let ((asked, was_asked), (end, over)) = (channel(), channel());
    let source = Unclosable { asked, over: Arc::new(Mutex::new(over)) };
    let pipeline = Pipeline::builder().source(source).end_stage(|_: u32| {}).start().unwrap();
    was_asked.recv().unwrap();
    assert!(pipeline.report().source(SOURCE).unwrap().wait.is_some());
    drop(end);
    assert_eq!(pipeline.join().unwrap().source(SOURCE).unwrap().wait, None);
}

#[test]
fn a_pipeline_without_a_source_has_none_in_its_report() {
    let pipeline = Pipeline::builder().end_stage(|_: u32| {}).start().unwrap();
    assert!(pipeline.setstop().unwrap().sources.is_empty());
}
