//! Workers that join and leave a stage on threads while the pipeline runs.

use deeppipeline::error::ScaleError;
use deeppipeline::pipeline::current_worker;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, made_by, stage};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

mod support;

use support::until;

/// Says what happens to it.
#[derive(Clone)]
struct Counted {
    alive: Arc<AtomicUsize>,
    finished: Sender<usize>,
    factor: u64,
}

impl Stage for Counted {
    type Input = u64;
    type Output = u64;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.alive.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn stage_run(&mut self, x: u64) -> Result<Give<u64>, BoxError> {
        Ok(Give::One(x * self.factor))
    }

    fn finish(&mut self) -> Result<Give<u64>, BoxError> {
        let _ = self.finished.send(current_worker().unwrap().index());
        Ok(Give::Skip)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn workers_join_and_leave_under_load_and_nothing_is_lost_or_out_of_order() {
    let (alive, (finished, _told)) = (Arc::<AtomicUsize>::default(), channel());
    let counted = Counted { alive: Arc::clone(&alive), finished, factor: 1 };
    let (results, is_over) = (Arc::<Mutex<Vec<u64>>>::default(), Arc::<AtomicBool>::default());
    let (kept, over) = (Arc::clone(&results), Arc::clone(&is_over));
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .source((1..).take_while(move |_| !over.load(Ordering::SeqCst)))
        .stage(made_by(move || Ok(counted.clone())).name("count").workers(2).max_workers(6))
        .end_stage(move |x: u64| kept.lock().unwrap().push(x))
        .start()
        .unwrap();

    for round in 0..1000 {
        let workers = [6, 1, 4, 2, 5, 3][round % 6];
        pipeline.scale("count", workers).unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), workers);
        let report = pipeline.report();
        assert_eq!((report.stages[0].workers, report.stages[0].max_workers), (workers, 6));
    }
    until(|| results.lock().unwrap().len() > 1000);
    is_over.store(true, Ordering::SeqCst);
    let report = pipeline.join().unwrap();
    assert!(report.balances());
    let results = results.lock().unwrap();
    assert_eq!(*results, (1..=results.len() as u64).collect::<Vec<_>>());
    assert_eq!(report.stages[0].counts.used, results.len() as u64);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn those_that_leave_finish_what_they_have_and_the_highest_indexes_go() {
    let (alive, (finished, told)) = (Arc::<AtomicUsize>::default(), channel());
    let counted = Counted { alive, finished, factor: 1 };
    let pipeline = Pipeline::builder()
        .stage(made_by(move || Ok(counted.clone())).name("count").workers(4))
        .end_stage(|_: u64| {})
        .start()
        .unwrap();
    pipeline.scale("count", 2).unwrap();
    assert_eq!(told.try_iter().collect::<BTreeSet<_>>(), BTreeSet::from([2, 3]));
    pipeline.scale("count", 3).unwrap();
    assert!(told.try_iter().next().is_none());
    pipeline.setstop().unwrap();
    assert_eq!(told.try_iter().collect::<BTreeSet<_>>(), BTreeSet::from([0, 1, 2]));
}

#[test]
fn a_sample_in_work_goes_on_before_its_worker_leaves() {
    let (begin, go_on) = (Arc::new(Barrier::new(3)), Arc::new(Barrier::new(3)));
    let (at_work, may_go_on) = (Arc::clone(&begin), Arc::clone(&go_on));
    let slow = move || {
        let (at_work, may_go_on) = (Arc::clone(&at_work), Arc::clone(&may_go_on));
        Ok(move |x: u64| {
            at_work.wait();
            may_go_on.wait();
            x
        })
    };
    let (tell, told) = channel();
    let pipeline = Pipeline::builder()
        .stage(made_by(slow).name("slow").workers(2))
        .end_stage(move |x: u64| tell.send(x).unwrap())
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    pipeline.put(2).unwrap();
    begin.wait();
    let error = pipeline.scale_timeout("slow", 1, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(&error, ScaleError::Timeout { workers, .. } if workers == &[1]), "{error}");
    // It leaves all the same.
    assert_eq!(pipeline.report().stages[0].workers, 1);
    go_on.wait();
    assert_eq!([told.recv().unwrap(), told.recv().unwrap()], [1, 2]);
    // Those that leave still are waited for.
    pipeline.scale("slow", 2).unwrap();
    assert!(pipeline.setstop().unwrap().balances());
}

#[test]
fn a_worker_that_joins_has_all_updates() {
    let (alive, (finished, _told)) = (Arc::<AtomicUsize>::default(), channel());
    let counted = Counted { alive, finished, factor: 0 };
    let (meet, meets) = (Arc::new(Barrier::new(3)), Arc::new(AtomicBool::new(false)));
    let (tell, told) = channel();
    let pipeline = Pipeline::builder()
        .stage(made_by(move || Ok(counted.clone())).name("count").workers(1).max_workers(3))
        .stage(stage(|x: u64| x).name("next"))
        .end_stage(move |x: u64| tell.send(x).unwrap())
        .start()
        .unwrap();
    for step in [1, 10, 100] {
        let (meet, meets) = (Arc::clone(&meet), Arc::clone(&meets));
        let change = move |counted: &mut Counted| {
            counted.factor += step;
            if meets.load(Ordering::SeqCst) {
                meet.wait();
            }
            Ok(())
        };
        pipeline.update("count", change).unwrap();
    }
    pipeline.scale("count", 3).unwrap();
    // All three apply this one, and meet.
    meets.store(true, Ordering::SeqCst);
    let last = Arc::clone(&meet);
    let factors = Arc::<Mutex<Vec<u64>>>::default();
    let seen = Arc::clone(&factors);
    let change = move |counted: &mut Counted| {
        last.wait();
        seen.lock().unwrap().push(counted.factor);
        Ok(())
    };
    meets.store(false, Ordering::SeqCst);
    pipeline.update("count", change).unwrap();
    assert_eq!(*factors.lock().unwrap(), [111; 3]);
    pipeline.put(1).unwrap();
    assert_eq!(told.recv().unwrap(), 111);
    pipeline.setstop().unwrap();
}

#[test]
fn a_setup_that_fails_is_told_and_the_stage_goes_on_as_before() {
    let (fails, alive) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::<AtomicUsize>::default());
    let (failing, counted) = (Arc::clone(&fails), Arc::clone(&alive));
    struct Picky {
        fails: usize,
        alive: Arc<AtomicUsize>,
    }
    impl Stage for Picky {
        type Input = u64;
        type Output = u64;
        fn setup(&mut self) -> Result<(), BoxError> {
            if current_worker().unwrap().index() == self.fails {
                return Err("out of memory".into());
            }
            self.alive.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        fn stage_run(&mut self, x: u64) -> Result<Give<u64>, BoxError> {
            Ok(Give::One(x))
        }
        fn teardown(&mut self) -> Result<(), BoxError> {
            self.alive.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    }
    let make = move || Ok(Picky { fails: failing.load(Ordering::SeqCst), alive: Arc::clone(&counted) });
    let (tell, told) = channel();
    let pipeline = Pipeline::builder()
        .stage(made_by(make).name("picky").workers(1).max_workers(4))
        .end_stage(move |x: u64| tell.send(x).unwrap())
        .start()
        .unwrap();
    fails.store(2, Ordering::SeqCst);
    let error = pipeline.scale("picky", 4).unwrap_err();
    assert_eq!(error.to_string(), "worker 2 did not join stage \"picky\", since its setup failed: out of memory");
    assert_eq!((alive.load(Ordering::SeqCst), pipeline.report().stages[0].workers), (1, 1));
    pipeline.put(7).unwrap();
    assert_eq!(told.recv().unwrap(), 7);

    fails.store(usize::MAX, Ordering::SeqCst);
    pipeline.scale("picky", 4).unwrap();
    assert_eq!(pipeline.report().stages[0].workers, 4);
    assert!(pipeline.setstop().unwrap().balances());
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn what_cannot_be_scaled_is_refused() {
    let pipeline = Pipeline::builder()
        .stage(made_by(|| Ok(|x: u64| x)).name("some").workers(2).max_workers(4))
        .end_stage(stage(|_: u64| {}).name("end"))
        .start()
        .unwrap();
    let text = |outcome: Result<(), ScaleError>| outcome.unwrap_err().to_string();
    assert_eq!(text(pipeline.scale("none", 1)), "no stage is named \"none\"; there are [\"some\", \"end\"]");
    assert_eq!(
        text(pipeline.scale("some", 0)),
        "workers for stage \"some\" is 0, but must be at least 1: pause it, and it takes nothing"
    );
    assert_eq!(
        text(pipeline.scale("some", 5)),
        "workers for stage \"some\" is 5, but must be 1 to 4: say max_workers=5 where it is described"
    );
    assert_eq!(
        text(pipeline.scale("end", 2)),
        "workers for stage \"end\" is 2, but must be 1 to 1: say max_workers=2 where it is described"
    );
    pipeline.scale("end", 1).unwrap();
    pipeline.setstop().unwrap();
    assert_eq!(text(pipeline.scale("some", 3)), "stage \"some\" was not scaled: the pipeline does not run any longer");
}

#[test]
fn a_stage_does_not_scale_its_own_pipeline() {
    let held = Arc::<Mutex<Option<Arc<Pipeline<u64>>>>>::default();
    let (inside, (tell, told)) = (Arc::clone(&held), channel());
    let asks = move |_: u64| {
        let pipeline = inside.lock().unwrap().clone().unwrap();
        tell.send(pipeline.scale("asks", 1).unwrap_err()).unwrap();
    };
    let pipeline = Arc::new(Pipeline::builder().end_stage(stage(asks).name("asks")).start().unwrap());
    *held.lock().unwrap() = Some(Arc::clone(&pipeline));
    pipeline.put(1).unwrap();
    assert!(matches!(told.recv().unwrap(), ScaleError::OwnStage { .. }));
    held.lock().unwrap().take();
    pipeline.setstop().unwrap();
}

#[test]
fn a_worker_that_joins_after_a_replacement_runs_the_new_stage() {
    struct Times(u64);
    impl Stage for Times {
        type Input = u64;
        type Output = u64;
        fn stage_run(&mut self, x: u64) -> Result<Give<u64>, BoxError> {
            Ok(Give::One(x * self.0))
        }
    }
    let (tell, told) = channel();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(made_by(|| Ok(Times(1))).name("times").workers(1).max_workers(3))
        .end_stage(move |x: u64| tell.send(x).unwrap())
        .start()
        .unwrap();
    let add = |times: &mut Times| {
        times.0 += 1;
        Ok(())
    };
    pipeline.update("times", add).unwrap();
    pipeline.replace("times", || Ok(Times(10))).unwrap();
    pipeline.update("times", add).unwrap();
    pipeline.update("times", add).unwrap();
    pipeline.scale("times", 3).unwrap();
    (1..=30).for_each(|x| assert!(pipeline.put(x).unwrap().is_accepted()));
    assert_eq!(
        (1..=30).map(|_| told.recv().unwrap()).collect::<Vec<_>>(),
        (1..=30).map(|x| 12 * x).collect::<Vec<_>>()
    );
    assert!(pipeline.setstop().unwrap().balances());
}

/// A stage whose workers but the first wait in `setup` until they are let go.
fn waits_in_setup(
    let_go: &Arc<AtomicBool>,
    waiting: &Arc<AtomicUsize>,
) -> impl Fn() -> Result<Waits, BoxError> + use<> {
    let (let_go, waiting) = (Arc::clone(let_go), Arc::clone(waiting));
    move || Ok(Waits { let_go: Arc::clone(&let_go), waiting: Arc::clone(&waiting) })
}

struct Waits {
    let_go: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
}

impl Stage for Waits {
    type Input = u64;
    type Output = u64;

    fn setup(&mut self) -> Result<(), BoxError> {
        if current_worker().unwrap().index() > 0 {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            until(|| self.let_go.load(Ordering::SeqCst));
        }
        Ok(())
    }

    fn stage_run(&mut self, x: u64) -> Result<Give<u64>, BoxError> {
        Ok(Give::One(x))
    }
}

#[test]
fn an_abort_ends_the_wait_for_workers_that_join() {
    let (let_go, waiting) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let waits = made_by(waits_in_setup(&let_go, &waiting)).name("waits").workers(1).max_workers(3);
    let pipeline = Pipeline::builder().stage(waits).end_stage(|_: u64| {}).start().unwrap();
    std::thread::scope(|scope| {
        let scaling = scope.spawn(|| pipeline.scale("waits", 3).unwrap_err());
        until(|| waiting.load(Ordering::SeqCst) == 2);
        let report = pipeline.abort();
        assert!(matches!(scaling.join().unwrap(), ScaleError::NotRunning { .. }));
        assert_eq!(report.left_behind, ["waits"]);
    });
    let_go.store(true, Ordering::SeqCst);
    until(|| pipeline.report().left_behind.is_empty());
}

#[test]
fn a_stop_waits_for_workers_that_join_and_their_caller_hears_of_them() {
    let (let_go, waiting) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let waits = made_by(waits_in_setup(&let_go, &waiting)).name("waits").workers(1).max_workers(2);
    let (tell, told) = channel();
    let pipeline = Pipeline::builder().stage(waits).end_stage(move |x: u64| tell.send(x).unwrap()).start().unwrap();
    std::thread::scope(|scope| {
        let scaling = scope.spawn(|| pipeline.scale("waits", 2));
        until(|| waiting.load(Ordering::SeqCst) == 1);
        pipeline.put(5).unwrap();
        assert_eq!(told.recv().unwrap(), 5);
        let stopping = scope.spawn(|| pipeline.setstop().unwrap());
        // It has begun to stop once nothing can be put any more.
        until(|| pipeline.put(6).is_err());
        let_go.store(true, Ordering::SeqCst);
        assert!(stopping.join().unwrap().balances());
        scaling.join().unwrap().unwrap();
    });
}

#[test]
fn a_time_out_leaves_those_that_join_to_join_later() {
    let (let_go, waiting) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let waits = made_by(waits_in_setup(&let_go, &waiting)).name("waits").workers(1).max_workers(3);
    let pipeline = Pipeline::builder().stage(waits).end_stage(|_: u64| {}).start().unwrap();
    let error = pipeline.scale_timeout("waits", 3, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(&error, ScaleError::Timeout { workers, .. } if workers == &[1, 2]), "{error}");
    let refused = pipeline.replace("waits", || Ok(Waits { let_go: Arc::default(), waiting: Arc::default() }));
    assert_eq!(refused.unwrap_err().to_string(), "stage \"waits\" is being scaled: replace it afterwards");
    let_go.store(true, Ordering::SeqCst);
    // Those that joined leave again.
    pipeline.scale("waits", 1).unwrap();
    assert_eq!(pipeline.report().stages[0].workers, 1);
    assert!(pipeline.setstop().unwrap().balances());
}

/// Waits in `setup` as any worker but the first, and fails once as the one of that index.
struct FailsLate {
    let_go: Arc<AtomicBool>,
    fails: Arc<AtomicUsize>,
}

impl Stage for FailsLate {
    type Input = u64;
    type Output = usize;

    fn setup(&mut self) -> Result<(), BoxError> {
        let index = current_worker().unwrap().index();
        if index > 0 {
            until(|| self.let_go.load(Ordering::SeqCst));
        }
        let fails = self.fails.compare_exchange(index, usize::MAX, Ordering::SeqCst, Ordering::SeqCst);
        if fails.is_ok() { Err("out of memory".into()) } else { Ok(()) }
    }

    fn stage_run(&mut self, _: u64) -> Result<Give<usize>, BoxError> {
        Ok(Give::One(current_worker().unwrap().index()))
    }
}

/// A pipeline of which worker 1 fails to join, after the caller of `scale` has given up its wait.
fn pipeline_that_lacks_worker_1(let_go: &Arc<AtomicBool>) -> Pipeline<u64> {
    let (let_go, fails) = (Arc::clone(let_go), Arc::new(AtomicUsize::new(1)));
    let make = move || Ok(FailsLate { let_go: Arc::clone(&let_go), fails: Arc::clone(&fails) });
    let stage = made_by(make).name("late").workers(1).max_workers(3);
    let pipeline = Pipeline::builder().stage(stage).end_stage(|_: usize| {}).start().unwrap();
    let error = pipeline.scale_timeout("late", 3, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(&error, ScaleError::Timeout { workers, .. } if workers == &[1, 2]), "{error}");
    pipeline
}

#[test]
fn the_place_of_one_that_fails_late_is_filled_next() {
    let let_go = Arc::<AtomicBool>::default();
    let pipeline = pipeline_that_lacks_worker_1(&let_go);
    let_go.store(true, Ordering::SeqCst);
    until(|| pipeline.report().stages[0].workers == 2);
    pipeline.scale("late", 3).unwrap();
    assert_eq!(pipeline.report().stages[0].workers, 3);
    pipeline.scale("late", 1).unwrap();
    assert_eq!(pipeline.report().stages[0].workers, 1);
    assert!(pipeline.setstop().unwrap().balances());
}

#[test]
fn a_failure_of_an_earlier_scaling_is_not_told_to_the_next() {
    let let_go = Arc::<AtomicBool>::default();
    let pipeline = pipeline_that_lacks_worker_1(&let_go);
    std::thread::scope(|scope| {
        let scaling = scope.spawn(|| pipeline.scale("late", 3));
        let_go.store(true, Ordering::SeqCst);
        // It waits for those that join, and then gets another in the place of the one that fails.
        scaling.join().unwrap().unwrap();
    });
    assert_eq!(pipeline.report().stages[0].workers, 3);
    assert!(pipeline.setstop().unwrap().balances());
}

#[test]
fn a_scaling_that_has_not_begun_in_time_says_that_nothing_was_changed() {
    let let_go = Arc::<AtomicBool>::default();
    let pipeline = pipeline_that_lacks_worker_1(&let_go);
    let error = pipeline.scale_timeout("late", 3, Duration::from_millis(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "scale of stage \"late\" timed out after 1ms before it began: the pipeline is not up yet, or another change of the \
         stage is not over"
    );
    assert!(matches!(error, ScaleError::NotBegun { .. }));
    // Fewer is said at once: those that still join leave then.
    let error = pipeline.scale_timeout("late", 1, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(&error, ScaleError::Timeout { workers, .. } if workers == &[1, 2]), "{error}");
    let_go.store(true, Ordering::SeqCst);
    pipeline.scale("late", 1).unwrap();
    assert!(pipeline.setstop().unwrap().balances());
}

#[test]
fn a_simulation_has_scalings() {
    let mut simulation = Pipeline::builder()
        .buffer_size(1)
        .stage(made_by(|| Ok(|x: u64| x)).name("work").workers(1).max_workers(3))
        .end_stage(|_: u64| {})
        .simulate()
        .unwrap();
    for x in 0..100 {
        simulation.put_at(Duration::from_millis(10 * x), x);
    }
    simulation.takes("work", Duration::from_millis(30)).unwrap();
    simulation.scale_at(Duration::from_millis(500), "work", 3).unwrap();
    assert!(matches!(simulation.scale_at(Duration::ZERO, "nobody", 2), Err(ScaleError::UnknownStage(_))));
    assert!(matches!(simulation.scale_at(Duration::ZERO, "work", 4), Err(ScaleError::TooMany { most: 3, .. })));
    let report = simulation.run().unwrap();
    // Two of three were dropped in front of one worker, and none in front of three.
    let dropped = report.stages[0].buffer.dropped();
    assert!((30..=35).contains(&dropped) && report.stages[0].workers == 3, "{report}");
}
