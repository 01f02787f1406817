//! Sources that give nothing for too long: told, closed and opened again, or left behind; the others go on.

use deeppipeline::builder::Restart;
use deeppipeline::report::SourceState;
use deeppipeline::{BoxError, Pipeline, Source, entrance};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A limit that a source that waits for a test has soon passed.
const SOON: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// A camera that gives what it is handed; once it is closed it ends, if it knows how.
struct Camera {
    handed: Arc<Mutex<Receiver<Option<u32>>>>,
    hand: Option<Sender<Option<u32>>>,
}

impl Source for Camera {
    type Item = u32;

    fn source_next(&mut self) -> Result<Option<u32>, BoxError> {
        Ok(self.handed.lock().unwrap().recv()?)
    }

    fn closer(&self) -> Option<Box<dyn Fn() + Send + Sync>> {
        let hand = self.hand.clone();
        Some(Box::new(move || {
            if let Some(hand) = &hand {
                hand.send(None).unwrap();
            }
        }))
    }
}

/// The hand that frames come from, how often the camera was opened, and what opens it.
type Cameras<F> = (Sender<Option<u32>>, Arc<AtomicU32>, F);

fn camera(can_be_closed: bool) -> Cameras<impl FnMut() -> Result<Camera, BoxError> + Send + 'static> {
    let (hand, handed) = channel();
    let (handed, opened) = (Arc::new(Mutex::new(handed)), Arc::new(AtomicU32::new(0)));
    let (counted, closes) = (Arc::clone(&opened), can_be_closed.then(|| hand.clone()));
    let open = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(Camera { handed: Arc::clone(&handed), hand: closes.clone() })
    };
    (hand, opened, open)
}

fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

#[test]
fn a_source_that_gives_nothing_is_closed_and_opened_again() {
    let (hand, opened, open) = camera(true);
    let (fine, _, open_fine) = camera(true);
    let pipeline = Pipeline::<u32>::builder()
        .source_at(entrance("stalls").stall_timeout(SOON), Restart::new(open).wait(SOON).at_most(SOON))
        .source_at("fine", Restart::new(open_fine))
        .end_stage(|_: u32| {})
        .start()
        .unwrap();
    until(|| opened.load(Ordering::SeqCst) >= 3);
    let row = pipeline.report().source("stalls").unwrap().clone();
    assert_eq!(row.last_error.as_deref(), Some("it has given nothing for 1ms"));
    assert!(row.restarts >= 1);
    hand.send(Some(1)).unwrap();
    fine.send(Some(2)).unwrap();
    until(|| ["stalls", "fine"].iter().all(|name| pipeline.report().source(name).unwrap().counts.taken == 1));
    let report = pipeline.setstop().unwrap();
    assert_eq!(report.source("fine").unwrap().restarts, 0);
    assert!(report.left_behind.is_empty() && report.balances());
}

#[test]
fn a_source_that_is_not_opened_again_is_told_as_stalled_until_it_gives_something() {
    let (hand, handed) = channel();
    let handed = Arc::new(Mutex::new(handed));
    let camera = Camera { handed, hand: Some(hand.clone()) };
    let pipeline =
        Pipeline::<u32>::builder().source(camera).stall_timeout(SOON).end_stage(|_: u32| {}).start().unwrap();
    let state = || pipeline.report().sources[0].state;
    until(|| state() == SourceState::Stalled);
    hand.send(Some(1)).unwrap();
    until(|| pipeline.report().sources[0].counts.taken == 1);
    until(|| state() == SourceState::Stalled);
    let report = pipeline.setstop().unwrap();
    assert_eq!((report.sources[0].state, report.sources[0].restarts), (SourceState::Ended, 0));
}

#[test]
fn a_source_that_hangs_though_it_was_closed_is_left_behind_and_gives_to_nobody() {
    let (hand, opened, open) = camera(false);
    let (fine, _, open_fine) = camera(true);
    let pipeline = Pipeline::<u32>::builder()
        .source_at("hangs", Restart::new(open).wait(LONG).at_most(LONG))
        .source_at(entrance("fine").stall_timeout(LONG), Restart::new(open_fine))
        .stall_timeout(SOON)
        .end_stage(|_: u32| {})
        .start()
        .unwrap();
    until(|| pipeline.report().source("hangs").unwrap().state == SourceState::Failed);
    // Its name is free, and what it still does is not what its successor does.
    let (next, _, open_next) = camera(true);
    pipeline.add_source(entrance("hangs").stall_timeout(LONG), Restart::new(open_next)).unwrap();
    next.send(Some(1)).unwrap();
    fine.send(Some(2)).unwrap();
    until(|| ["hangs", "fine"].iter().all(|name| pipeline.report().source(name).unwrap().counts.taken == 1));
    assert_eq!(pipeline.setstop().unwrap().left_behind, ["hangs"]);

    hand.send(Some(3)).unwrap();
    until(|| pipeline.report().left_behind.is_empty());
    let report = pipeline.report();
    assert_eq!(report.source("hangs").unwrap().counts.entered, 1);
    assert_eq!(report.source("hangs").unwrap().state, SourceState::Ended);
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    assert!(report.balances());
}

#[test]
fn one_source_alone_that_hangs_fails_the_pipeline_and_no_caller_waits_for_it() {
    let (hand, _, open) = camera(false);
    let pipeline = Pipeline::<u32>::builder()
        .source(Restart::new(open))
        .stall_timeout(SOON)
        .end_stage(|_: u32| {})
        .start()
        .unwrap();
    let error = pipeline.join().unwrap_err();
    assert_eq!(error.report().left_behind, ["source"]);
    let told = error.to_string();
    assert!(told.contains("has given nothing for 1ms, and does not return though it was closed"), "{told}");
    hand.send(Some(1)).unwrap();
    until(|| pipeline.report().left_behind.is_empty());
    assert_eq!(pipeline.report().sources[0].counts.entered, 0);
}

#[test]
fn an_opening_that_hangs_is_a_stall() {
    let (go_on, may_go_on) = channel::<()>();
    let open = move || {
        let _ = may_go_on.recv();
        Ok(0..3_u32)
    };
    let pipeline = Pipeline::<u32>::builder()
        .source_at("hangs", Restart::new(open))
        .entrance("door")
        .stall_timeout(SOON)
        .end_stage(|_: u32| {})
        .start()
        .unwrap();
    until(|| pipeline.report().source("hangs").unwrap().state == SourceState::Failed);
    pipeline.put_into("door", 1).unwrap();
    let error = pipeline.setstop().unwrap_err();
    assert_eq!(error.stage(), "hangs");
    assert_eq!(error.report().source("door").unwrap().counts.taken, 1);
    drop(go_on);
    until(|| pipeline.report().left_behind.is_empty());
    assert_eq!(pipeline.report().source("hangs").unwrap().counts.entered, 0);
}

#[test]
fn in_a_simulation_a_source_stalls_on_the_virtual_clock() {
    let seconds = Duration::from_secs;
    let opened = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&opened);
    let open = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(0..9_u32)
    };
    let mut simulation = Pipeline::<u32>::builder()
        .source(Restart::new(open).wait(seconds(1)).at_most(seconds(1)))
        .stall_timeout(seconds(3))
        .end_stage(|_: u32| {})
        .simulate()
        .unwrap();
    // Samples 1 and 2 take 2 s each; a third would take 5 s.
    let asked = AtomicU32::new(0);
    let takes = move |_| seconds(if asked.fetch_add(1, Ordering::SeqCst) % 3 == 2 { 5 } else { 2 });
    simulation.takes_by("source", takes).unwrap().setstop_at(Duration::from_millis(15_500));
    let report = simulation.run().unwrap();
    // Opened at 0 s and, after 2 + 2 + 3 + 1 s, at 8 s; it would be at 16 s.
    assert_eq!((report.sources[0].counts.taken, report.sources[0].restarts), (4, 1));
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    assert!(report.balances());
}

#[test]
fn a_stall_timeout_that_cannot_work_is_refused() {
    let builder = || Pipeline::<u32>::builder().end_stage(|_: u32| {});
    let refused = builder().stall_timeout(Duration::ZERO).start().unwrap_err().to_string();
    assert!(refused.starts_with("stall_timeout is 0"), "{refused}");
    let refused = builder().entrance(entrance("door").stall_timeout(SOON)).start().unwrap_err().to_string();
    assert!(refused.starts_with("stall_timeout of entrance \"door\" is said in vain"), "{refused}");
    let zero = entrance("north").stall_timeout(Duration::ZERO);
    let refused = builder().source_at(zero, 0..1).start().unwrap_err().to_string();
    assert!(refused.starts_with("stall_timeout is 0"), "{refused}");
}
