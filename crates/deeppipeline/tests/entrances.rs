//! Several entrances: fair, each in order and counted apart, however they come and go.

mod support;

use deeppipeline::error::{EntranceError, PutError};
use deeppipeline::report::{Report, SourceState};
use deeppipeline::{BoxError, Overflow, Pipeline, Source, StageError, current_sample, entrance, stage};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::until;

type Seen = Arc<Mutex<Vec<(String, u32)>>>;

/// An end stage that keeps what it gets, and the name of the source of it.
fn keeping(seen: &Seen) -> impl FnMut(u32) + Send + use<> {
    let seen = Arc::clone(seen);
    move |x| {
        let source = current_sample().and_then(|sample| sample.source().map(str::to_owned));
        seen.lock().unwrap().push((source.unwrap_or_default(), x));
    }
}

fn of(seen: &[(String, u32)], source: &str) -> Vec<u32> {
    seen.iter().filter(|(name, _)| name == source).map(|(_, x)| *x).collect()
}

fn taken(report: &Report, source: &str) -> u64 {
    report.source(source).unwrap().counts.taken
}

#[test]
fn the_first_stage_takes_from_entrances_in_turn() {
    let seen = Seen::default();
    let mut simulation = Pipeline::<u32>::builder()
        .buffer_size(4)
        .entrance("fast")
        .entrance("slow")
        .end_stage(stage(keeping(&seen)).name("end"))
        .simulate()
        .unwrap();
    simulation.up_after(Duration::from_millis(10));
    for x in 0..4 {
        simulation.put_into_at(Duration::ZERO, "fast", x).unwrap();
    }
    for x in 10..12 {
        simulation.put_into_at(Duration::ZERO, "slow", x).unwrap();
    }
    let report = simulation.run().unwrap();
    let order: Vec<u32> = seen.lock().unwrap().iter().map(|(_, x)| *x).collect();
    assert_eq!(order, [0, 10, 1, 11, 2, 3]);
    assert!(report.balances());
}

#[test]
fn each_entrance_has_a_buffer_and_a_policy_of_its_own() {
    let seen = Seen::default();
    let mut simulation = Pipeline::<u32>::builder()
        .buffer_size(2)
        .entrance("oldest")
        .entrance(entrance("newest").overflow(Overflow::DropNewest))
        .entrance(entrance("young").max_age(Duration::from_millis(5)))
        .end_stage(keeping(&seen))
        .simulate()
        .unwrap();
    simulation.up_after(Duration::from_millis(10));
    for x in 0..3 {
        for name in ["oldest", "newest", "young"] {
            simulation.put_into_at(Duration::from_millis(u64::from(3 * x)), name, x).unwrap();
        }
    }
    let report = simulation.run().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!((of(&seen, "oldest"), of(&seen, "newest"), of(&seen, "young")), (vec![1, 2], vec![0, 1], vec![2]));
    let counts = |name: &str| report.source(name).unwrap().counts.clone();
    assert_eq!((counts("oldest").dropped_oldest, counts("newest").dropped_newest), (1, 1));
    assert_eq!((counts("young").dropped_oldest, counts("young").expired), (1, 1));
    assert!(report.balances());
}

#[test]
fn a_flush_cuts_every_entrance_at_the_same_moment() {
    let seen = Seen::default();
    let mut simulation = Pipeline::<u32>::builder()
        .buffer_size(4)
        .entrance("a")
        .entrance("b")
        .end_stage(keeping(&seen))
        .simulate()
        .unwrap();
    simulation.up_after(Duration::from_millis(10)).flush_at(Duration::from_millis(2));
    for x in [1, 3] {
        simulation.put_into_at(Duration::from_millis(u64::from(x)), "a", x).unwrap();
        simulation.put_into_at(Duration::from_millis(u64::from(x)), "b", 10 + x).unwrap();
    }
    let report = simulation.run().unwrap();
    assert_eq!(*seen.lock().unwrap(), [("a".to_owned(), 3), ("b".to_owned(), 13)]);
    let counts = |name: &str| report.source(name).unwrap().counts.clone();
    assert_eq!((counts("a").flushed, counts("b").flushed, report.stages[0].buffer.flushed), (1, 1, 2));
    assert!(report.balances());
}

#[test]
fn latest_takes_the_newest_of_each() {
    let seen = Seen::default();
    let mut simulation = Pipeline::<u32>::builder()
        .buffer_size(3)
        .entrance("a")
        .entrance("b")
        .end_stage(stage(keeping(&seen)).intake(deeppipeline::Latest))
        .simulate()
        .unwrap();
    simulation.up_after(Duration::from_millis(10));
    for x in 0..3 {
        simulation.put_into_at(Duration::ZERO, "a", x).unwrap();
        simulation.put_into_at(Duration::ZERO, "b", x + 10).unwrap();
    }
    let report = simulation.run().unwrap();
    assert_eq!(*seen.lock().unwrap(), [("a".to_owned(), 2), ("b".to_owned(), 12)]);
    assert_eq!(report.source("a").unwrap().counts.superseded, 2);
    assert!(report.balances());
}

#[test]
fn the_newest_result_that_goes_on_beside_another_is_one_of_the_same_source() {
    let (go_on, gate) = channel();
    let detect = move |x: u32| {
        // Nothing of the south is detected before the north has a result, and the test has seen what goes on without.
        if x == 2 {
            let _: Result<(), _> = gate.recv();
        }
        x
    };
    let (tell, told) = channel();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .entrance("north")
        .entrance("south")
        .parallel_latest((|x: u32| x, detect))
        .end_stage(move |x: (u32, Option<u32>)| tell.send(x).unwrap())
        .start()
        .unwrap();
    let renewed = || pipeline.report().joins[0].counts.renewed;

    pipeline.put_into("north", 1).unwrap();
    told.recv().unwrap();
    until(|| renewed() == 1);
    pipeline.put_into("south", 2).unwrap();
    assert_eq!(told.recv().unwrap(), (2, None));
    go_on.send(()).unwrap();
    until(|| renewed() == 2);
    for (x, entrance, beside) in [(3, "north", 1), (4, "south", 2)] {
        pipeline.put_into(entrance, x).unwrap();
        let (first, newest) = told.recv().unwrap();
        assert!(first == x && newest.is_some_and(|newest| newest == beside || newest == x), "{x} beside {newest:?}");
    }
    pipeline.setstop().unwrap();
}

#[test]
fn a_batch_fills_across_entrances() {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&batches);
    let end = move |batch: Vec<u32>| kept.lock().unwrap().push(batch);
    let mut simulation = Pipeline::<u32>::builder()
        .buffer_size(4)
        .entrance("a")
        .entrance("b")
        .end_stage(stage(end).intake(deeppipeline::Batch::new(4).max_wait(Duration::from_millis(100))))
        .simulate()
        .unwrap();
    for x in 0..3 {
        simulation.put_into_at(Duration::ZERO, "a", x).unwrap();
    }
    simulation.put_into_at(Duration::from_millis(1), "b", 10).unwrap();
    simulation.put_into_at(Duration::from_millis(2), "b", 11).unwrap();
    let report = simulation.run().unwrap();
    assert_eq!(*batches.lock().unwrap(), [vec![0, 10, 1, 2], vec![11]]);
    assert!(report.balances());
}

#[test]
fn named_sources_are_told_to_the_last_stage_and_counted_apart() {
    let seen = Seen::default();
    let pipeline = Pipeline::<u32>::builder()
        .source_at("odd", (1..100).step_by(2))
        .source_at("even", (2..100).step_by(2))
        .stage(stage(|x: u32| x).name("pass"))
        .end_stage(keeping(&seen))
        .start()
        .unwrap();
    let report = pipeline.join().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(of(&seen, "odd"), (1..100).step_by(2).collect::<Vec<_>>());
    assert_eq!(of(&seen, "even"), (2..100).step_by(2).collect::<Vec<_>>());
    assert_eq!((taken(&report, "odd"), taken(&report, "even")), (50, 49));
    assert_eq!(report.source("odd").unwrap().state, SourceState::Ended);
    let row = report.to_string().lines().find(|line| line.starts_with("odd")).map(str::to_owned).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["odd", "ended", "50", "50", "0", "0"]);
    assert!(report.to_html().contains("<th style=\"text-align: left\">odd</th><td>ended</td><td>50</td>"));
    assert!(report.balances());
}

/// A source that gives what it is handed.
struct Handed(Receiver<Result<u32, BoxError>>);

impl Source for Handed {
    type Item = u32;

    fn source_next(&mut self) -> Result<Option<u32>, BoxError> {
        self.0.recv().map_or(Ok(None), |x| x.map(Some))
    }
}

fn handed() -> (Sender<Result<u32, BoxError>>, Handed) {
    let (sender, receiver) = channel();
    (sender, Handed(receiver))
}

#[test]
fn a_source_that_fails_ends_alone_and_join_tells_of_it() {
    let seen = Seen::default();
    let ((broken, fails), (fine, goes_on)) = (handed(), handed());
    let pipeline = Pipeline::<u32>::builder()
        .source_at("broken", fails)
        .source_at("fine", goes_on)
        .end_stage(keeping(&seen))
        .start()
        .unwrap();
    broken.send(Ok(1)).unwrap();
    broken.send(Err("the lens is gone".into())).unwrap();
    while pipeline.report().source("broken").unwrap().state != SourceState::Failed {
        std::thread::yield_now();
    }
    (10..20).for_each(|x| fine.send(Ok(x)).unwrap());
    drop(fine);
    let error: StageError = pipeline.join().unwrap_err();
    assert_eq!(error.stage(), "broken");
    let row = error.report().source("broken").unwrap();
    assert_eq!((row.last_error.as_deref(), row.counts.taken), (Some("the lens is gone"), 1));
    assert_eq!(of(&seen.lock().unwrap(), "fine"), (10..20).collect::<Vec<_>>());
    assert!(error.report().balances());
}

#[test]
fn sources_come_and_go_while_the_others_go_on() {
    let seen = Seen::default();
    let (hand, always) = handed();
    let pipeline = Pipeline::<u32>::builder()
        .overflow(Overflow::Block)
        .source_at("always", always)
        .end_stage(keeping(&seen))
        .start()
        .unwrap();
    for round in 0..1000 {
        hand.send(Ok(round)).unwrap();
        pipeline.add_source("guest", round..round + 1).unwrap();
        while pipeline.report().source("guest").unwrap().state != SourceState::Ended {
            std::thread::yield_now();
        }
    }
    drop(hand);
    let report = pipeline.join().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!((of(&seen, "always"), of(&seen, "guest")), ((0..1000).collect(), (0..1000).collect()));
    assert_eq!((taken(&report, "always"), taken(&report, "guest")), (1000, 1000));
    assert!(report.balances());
}

#[test]
fn a_source_that_is_removed_gives_nothing_more_and_loses_nothing() {
    let seen = Seen::default();
    let (hand, other) = handed();
    let pipeline = Pipeline::<u32>::builder()
        .overflow(Overflow::Block)
        .source_at("endless", 0..)
        .source_at("other", other)
        .end_stage(keeping(&seen))
        .start()
        .unwrap();
    while pipeline.report().source("endless").unwrap().counts.taken < 10 {
        std::thread::yield_now();
    }
    pipeline.remove_source("endless").unwrap();
    assert_eq!(pipeline.report().source("endless").unwrap().state, SourceState::Ended);
    hand.send(Ok(7)).unwrap();
    drop(hand);
    let report = pipeline.join().unwrap();
    let seen = seen.lock().unwrap();
    let endless = of(&seen, "endless");
    assert_eq!(endless, (0..endless.len() as u32).collect::<Vec<_>>());
    assert_eq!(report.source("endless").unwrap().counts.entered, endless.len() as u64);
    assert_eq!(of(&seen, "other"), [7]);
    assert!(report.balances());
}

#[test]
fn what_cannot_be_had_is_refused_with_the_names_that_there_are() {
    let pipeline = Pipeline::<u32>::builder().entrance("a").entrance("b").end_stage(|_: u32| {}).start().unwrap();
    let Err(error @ PutError::Entrance(1, _)) = pipeline.put(1) else { panic!("it was accepted") };
    assert_eq!(
        error.to_string(),
        r#"the entrances of the pipeline have names, and the put says none: it wants one of ["a", "b"]"#
    );
    let error = pipeline.put_into("c", 2).unwrap_err();
    assert_eq!(error.to_string(), r#"no entrance to put into is named "c"; there are ["a", "b"]"#);
    assert!(matches!(pipeline.add_source("a", 0..1), Err(EntranceError::Twice { .. })));
    assert!(matches!(pipeline.remove_source("a"), Err(EntranceError::UnknownSource { .. })));
    assert!(pipeline.put_into("a", 3).is_ok());
    let report = pipeline.setstop().unwrap();
    assert_eq!((taken(&report, "a"), report.source("a").unwrap().state), (1, SourceState::Ended));
    assert!(matches!(pipeline.put_into("a", 4), Err(PutError::Closed(4))));
    assert!(matches!(pipeline.add_source("d", 0..1), Err(EntranceError::Closed { .. })));

    let plain = Pipeline::<u32>::builder().end_stage(|_: u32| {}).start().unwrap();
    assert!(matches!(plain.put_into("a", 1), Err(PutError::Entrance(1, _))));
    assert!(matches!(plain.add_source("a", 0..1), Err(EntranceError::OnlyOne)));
    let twice = Pipeline::<u32>::builder().entrance("a").source_at("a", 0..1).end_stage(|_: u32| {});
    assert_eq!(twice.start().unwrap_err().to_string(), r#"two entrances are named "a": give each a name of its own"#);
}

#[test]
fn join_waits_for_the_sources_and_closes_the_entrances_then() {
    let seen = Seen::default();
    let (hand, source) = handed();
    let pipeline = Pipeline::<u32>::builder()
        .source_at("source", source)
        .entrance("door")
        .end_stage(keeping(&seen))
        .start()
        .unwrap();
    pipeline.put_into("door", 1).unwrap();
    hand.send(Ok(2)).unwrap();
    drop(hand);
    let report = pipeline.join().unwrap();
    assert_eq!((taken(&report, "door"), taken(&report, "source")), (1, 1));
}

/// Paces and numbers of sources from a seed: whatever they are, each comes in order, whole, and counted apart.
#[test]
fn sources_of_any_pace_keep_their_order() {
    let mut state = 42_u64;
    let mut below = move |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % end
    };
    for _ in 0..100 {
        let seen = Seen::default();
        let sources = 2 + below(4) as usize;
        let mut builder = Pipeline::<u32>::builder().buffer_size(1 + below(4) as usize).overflow(Overflow::Block);
        let mut counts = Vec::new();
        for source in 0..sources {
            let (count, pace) = (below(30) as u32, below(3));
            counts.push(count);
            let samples = (0..count).inspect(move |_| (0..pace).for_each(|_| std::thread::yield_now()));
            builder = builder.source_at(format!("source {source}"), samples);
        }
        let workers = 1 + below(3) as usize;
        let pass = deeppipeline::made_by(|| Ok(|x: u32| x)).workers(workers);
        let report = builder.stage(pass).end_stage(keeping(&seen)).start().unwrap().join().unwrap();
        let seen = seen.lock().unwrap();
        for (source, count) in counts.iter().enumerate() {
            let name = format!("source {source}");
            assert_eq!(of(&seen, &name), (0..*count).collect::<Vec<_>>());
            assert_eq!(taken(&report, &name), u64::from(*count));
        }
        assert!(report.balances());
    }
}
