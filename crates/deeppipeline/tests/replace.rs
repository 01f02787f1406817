//! Replacements of stages on threads, between two samples.

use deeppipeline::error::UpdateError;
use deeppipeline::intake::Window;
use deeppipeline::{BoxError, Give, Overflow, Pipeline, Stage, made_by, stage};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Gives what it got with its own number, and tells what becomes of it.
struct Numbered {
    number: u64,
    tell: Option<Sender<String>>,
    holds: bool,
}

impl Numbered {
    fn new(number: u64) -> Self {
        Numbered { number, tell: None, holds: false }
    }

    fn tells(number: u64, tell: &Sender<String>) -> Self {
        Numbered { number, tell: Some(tell.clone()), holds: true }
    }

    fn says(&self, what: &str) {
        if let Some(tell) = &self.tell {
            tell.send(format!("{what} {}", self.number)).unwrap();
        }
    }
}

impl Stage for Numbered {
    type Input = u64;
    type Output = (u64, u64);

    fn setup(&mut self) -> Result<(), BoxError> {
        self.says("setup");
        Ok(())
    }

    fn stage_run(&mut self, x: u64) -> Result<Give<(u64, u64)>, BoxError> {
        Ok(Give::One((x, self.number)))
    }

    fn finish(&mut self) -> Result<Give<(u64, u64)>, BoxError> {
        self.says("finish");
        Ok(if self.holds { Give::One((0, self.number)) } else { Give::Skip })
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.says("teardown");
        Ok(())
    }
}

/// Fails in `setup`, after so many that succeed.
struct NeverUp<'a>(&'a AtomicU64);

impl Stage for NeverUp<'static> {
    type Input = u64;
    type Output = (u64, u64);

    fn setup(&mut self) -> Result<(), BoxError> {
        match self.0.fetch_sub(1, Ordering::Relaxed) {
            0 => Err("no weights".into()),
            _ => Ok(()),
        }
    }

    fn stage_run(&mut self, x: u64) -> Result<Give<(u64, u64)>, BoxError> {
        Ok(Give::One((x, u64::MAX)))
    }
}

fn put_all(pipeline: &Pipeline<u64>, mut samples: impl Iterator<Item = u64>) {
    assert!(samples.all(|x| pipeline.put(x).unwrap().is_accepted()));
}

#[test]
fn a_thousand_replacements_under_full_load_lose_nothing_and_keep_the_order() {
    for workers in [1, 3] {
        let (tell, told) = channel();
        let pipeline = Pipeline::builder()
            .overflow(Overflow::Block)
            .stage(made_by(|| Ok(Numbered::new(0))).name("numbered").workers(workers))
            .end_stage(move |result: (u64, u64)| tell.send(result).unwrap())
            .start()
            .unwrap();
        let is_over = &AtomicBool::new(false);
        let put = std::thread::scope(|scope| {
            let pipeline = &pipeline;
            let putting = scope.spawn(move || {
                (1..).take_while(|x| !is_over.load(Ordering::Relaxed) && pipeline.put(*x).is_ok()).count() as u64
            });
            for number in 1..=1000 {
                pipeline.replace("numbered", move || Ok(Numbered::new(number))).unwrap();
                if number % 10 == 0 {
                    static UP: AtomicU64 = AtomicU64::new(0);
                    UP.store(number % workers as u64, Ordering::Relaxed);
                    let error = pipeline.replace("numbered", || Ok(NeverUp(&UP))).unwrap_err();
                    assert!(matches!(&error, UpdateError::NotReplaced { .. }), "{error}");
                }
            }
            is_over.store(true, Ordering::Relaxed);
            putting.join().unwrap()
        });
        let report = pipeline.setstop().unwrap();
        let results: Vec<_> = told.try_iter().collect();
        assert!(results.iter().map(|(x, _)| *x).eq(1..=put), "lost, or out of order");
        assert!(results.iter().all(|(_, number)| *number <= 1000), "one that was never up was seen");
        if workers == 1 {
            assert!(results.is_sorted_by_key(|(_, number)| *number), "an old stage came back");
        }
        assert!(report.balances());
        assert_eq!((report.stages[0].counts.used, report.dropped()), (put, 0));
    }
}

#[test]
fn the_old_stage_is_finished_and_torn_down_once_the_new_one_is_set_up() {
    let (tell, told) = channel();
    let (give, given) = channel();
    let first = Numbered::tells(1, &tell);
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(first).name("numbered"))
        .end_stage(move |result: (u64, u64)| give.send(result).unwrap())
        .start()
        .unwrap();
    pipeline.put(7).unwrap();
    assert_eq!(given.recv().unwrap(), (7, 1));
    pipeline.replace("numbered", move || Ok(Numbered::tells(2, &tell))).unwrap();
    pipeline.put(8).unwrap();
    assert!(pipeline.setstop().unwrap().balances());
    assert_eq!(given.iter().collect::<Vec<_>>(), [(0, 1), (8, 2), (0, 2)]);
    assert_eq!(
        told.iter().collect::<Vec<_>>(),
        ["setup 1", "setup 2", "finish 1", "teardown 1", "finish 2", "teardown 2"]
    );
}

#[test]
fn what_several_workers_still_hold_goes_on_in_its_turn() {
    let (give, given) = channel();
    let (tell, _told) = channel();
    let (first, second) = (tell.clone(), tell);
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(made_by(move || Ok(Numbered::tells(1, &first))).name("numbered").workers(3))
        .end_stage(move |result: (u64, u64)| give.send(result).unwrap())
        .start()
        .unwrap();
    put_all(&pipeline, 1..=5);
    pipeline.replace("numbered", move || Ok(Numbered::tells(2, &second))).unwrap();
    put_all(&pipeline, 6..=9);
    assert!(pipeline.setstop().unwrap().balances());
    let results: Vec<_> = given.iter().collect();
    assert!(results.iter().map(|(x, _)| *x).filter(|x| *x > 0).eq(1..=9), "{results:?}");
    assert_eq!(results.iter().filter(|result| **result == (0, 1)).count(), 3, "one for each worker: {results:?}");
}

#[test]
fn the_old_stage_goes_on_on_every_worker_where_one_cannot_set_the_new_one_up() {
    static UP: AtomicU64 = AtomicU64::new(2);
    let (tell, told) = channel();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(made_by(|| Ok(Numbered::new(1))).name("numbered").workers(3))
        .end_stage(move |result: (u64, u64)| tell.send(result).unwrap())
        .start()
        .unwrap();
    let error = pipeline.replace("numbered", || Ok(NeverUp(&UP))).unwrap_err();
    assert!(
        error.to_string().ends_with("of stage \"numbered\" failed in setup of its replacement: no weights"),
        "{error}"
    );
    put_all(&pipeline, 1..=6);
    assert!(pipeline.setstop().unwrap().balances());
    assert!(told.iter().eq((1..=6).map(|x| (x, 1))));
}

#[test]
fn what_an_intake_keeps_goes_on_with_the_new_stage() {
    struct Sum(u64);

    impl Stage for Sum {
        type Input = Vec<u64>;
        type Output = u64;

        fn stage_run(&mut self, last: Vec<u64>) -> Result<Give<u64>, BoxError> {
            Ok(Give::One(self.0 + last.iter().sum::<u64>()))
        }
    }

    let (tell, told) = channel();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(Sum(0)).name("sum").intake(Window::new(3)))
        .end_stage(move |sum: u64| tell.send(sum).unwrap())
        .start()
        .unwrap();
    put_all(&pipeline, 1..=3);
    assert_eq!(told.recv().unwrap(), 6);
    pipeline.replace("sum", || Ok(Sum(100))).unwrap();
    pipeline.put(4).unwrap();
    assert!(pipeline.setstop().unwrap().balances());
    assert_eq!(told.recv().unwrap(), 109);
}

#[test]
fn what_cannot_be_replaced_is_refused() {
    let pipeline = Pipeline::builder()
        .stage(stage(Numbered::new(1)).name("numbered"))
        .end_stage(stage(|_: (u64, u64)| {}).name("end"))
        .start()
        .unwrap();
    let error = pipeline.replace("nobody", || Ok(Numbered::new(2))).unwrap_err();
    assert_eq!(error.to_string(), "no stage is named \"nobody\"; there are [\"numbered\", \"end\"]");

    let error = pipeline.replace("end", || Ok(Numbered::new(2))).unwrap_err().to_string();
    let [new, old] =
        ["Numbered, which takes u64 and gives (u64, u64), is not for the place of", "takes (u64, u64) and gives ()"];
    assert!(error.contains(new) && error.contains(old), "{error}");

    pipeline.setstop().unwrap();
    let error = pipeline.replace("numbered", || Ok(Numbered::new(2))).unwrap_err();
    assert!(matches!(error, UpdateError::NotRunning { .. }));
}

#[test]
fn an_update_is_for_the_stage_that_is_there() {
    struct Other(u64);

    impl Stage for Other {
        type Input = u64;
        type Output = (u64, u64);

        fn stage_run(&mut self, x: u64) -> Result<Give<(u64, u64)>, BoxError> {
            Ok(Give::One((x, self.0)))
        }
    }

    let (tell, told) = channel();
    let pipeline = Pipeline::builder()
        .stage(stage(Numbered::new(1)).name("numbered"))
        .end_stage(move |result: (u64, u64)| tell.send(result).unwrap())
        .start()
        .unwrap();
    pipeline.replace("numbered", || Ok(Other(2))).unwrap();
    let of_the_old_one = pipeline.update("numbered", |_: &mut Numbered| Ok(())).unwrap_err().to_string();
    assert!(of_the_old_one.contains("Other, which the update is not for"), "{of_the_old_one}");
    pipeline
        .update("numbered", |other: &mut Other| {
            other.0 = 3;
            Ok(())
        })
        .unwrap();
    pipeline.put(1).unwrap();
    pipeline.setstop().unwrap();
    assert_eq!(told.recv().unwrap(), (1, 3));
}

#[test]
fn a_replacement_on_which_nothing_is_decided_in_time_is_given_up() {
    let (taken, is_taken) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let slow = move |x: u64| {
        taken.send(()).unwrap();
        may_go_on.recv().unwrap();
        (x, 1)
    };
    let (tell, told) = channel();
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(stage(slow).name("slow"))
        .end_stage(move |result: (u64, u64)| tell.send(result).unwrap())
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    is_taken.recv().unwrap();
    let replace = || pipeline.replace_timeout("slow", || Ok(Numbered::new(2)), Duration::from_millis(1)).unwrap_err();
    let error = replace();
    assert!(
        matches!(&error, UpdateError::ReplaceTimeout { workers, exchanges: false, .. } if *workers == [0]),
        "{error}"
    );
    assert!(matches!(replace(), UpdateError::BeingReplaced { .. }), "its worker does not know yet");
    pipeline.put(2).unwrap();
    go_on.send(()).unwrap();
    is_taken.recv().unwrap();
    go_on.send(()).unwrap();
    assert_eq!([told.recv().unwrap(), told.recv().unwrap()], [(1, 1), (2, 1)]);
    pipeline.replace("slow", || Ok(Numbered::new(3))).unwrap();
    pipeline.put(3).unwrap();
    assert!(pipeline.setstop().unwrap().balances());
    assert_eq!(told.recv().unwrap(), (3, 3));
}

/// Works on its first sample until it is told to go on.
struct Busy {
    tell: Sender<String>,
    go_on: Arc<Mutex<Receiver<()>>>,
}

impl Stage for Busy {
    type Input = u64;
    type Output = (u64, u64);

    fn stage_run(&mut self, x: u64) -> Result<Give<(u64, u64)>, BoxError> {
        self.tell.send("busy".to_owned()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
        Ok(Give::One((x, 1)))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.tell.send("teardown 1".to_owned()).unwrap();
        Ok(())
    }
}

#[test]
fn a_worker_that_ends_before_the_others_are_as_far_tears_both_stages_down() {
    let (tell, told) = channel();
    let (go_on, may_go_on) = channel();
    let may_go_on = Arc::new(Mutex::new(may_go_on));
    let (telling, new) = (tell.clone(), tell);
    let busy = made_by(move || Ok(Busy { tell: telling.clone(), go_on: Arc::clone(&may_go_on) }));
    let pipeline = Pipeline::builder()
        .overflow(Overflow::Block)
        .stage(busy.name("busy").workers(2))
        .end_stage(|_: (u64, u64)| {})
        .start()
        .unwrap();
    pipeline.put(1).unwrap();
    assert_eq!(told.recv().unwrap(), "busy");
    std::thread::scope(|scope| {
        let replacing = scope.spawn(|| pipeline.replace("busy", move || Ok(Numbered::tells(2, &new))));
        assert_eq!(told.recv().unwrap(), "setup 2", "of the idle one");
        let stopping = scope.spawn(|| pipeline.setstop().unwrap());
        assert_eq!([told.recv().unwrap(), told.recv().unwrap()], ["teardown 2", "teardown 1"]);
        go_on.send(()).unwrap();
        assert!(stopping.join().unwrap().balances());
        assert!(matches!(replacing.join().unwrap(), Err(UpdateError::NotRunning { .. })));
    });
    drop(pipeline);
    let left: Vec<_> = told.try_iter().filter(|said| said.starts_with('s') || said.starts_with('t')).collect();
    let of_new = |what: &str| left.iter().filter(|said| *said == what).count();
    assert_eq!(of_new("setup 2"), of_new("teardown 2"), "{left:?}");
    assert_eq!(of_new("teardown 1"), 1, "{left:?}");
}

#[test]
fn a_simulation_has_replacements() {
    static UP: AtomicU64 = AtomicU64::new(0);
    let (tell, told) = channel();
    let mut simulation = Pipeline::builder()
        .stage(stage(Numbered::new(1)).name("numbered"))
        .end_stage(move |result: (u64, u64)| tell.send(result).unwrap())
        .simulate()
        .unwrap();
    let ms = Duration::from_millis;
    for x in 0..5 {
        simulation.put_at(ms(10 * x), x);
    }
    simulation.takes("numbered", ms(7)).unwrap();
    simulation.replace_at(ms(12), "numbered", || Ok(Numbered::new(2))).unwrap();
    simulation.replace_at(ms(32), "numbered", || Ok(NeverUp(&UP))).unwrap();
    assert!(simulation.replace_at(ms(12), "nobody", || Ok(Numbered::new(2))).is_err());
    assert!(simulation.run().unwrap().balances());
    let results: Vec<_> = told.try_iter().collect();
    assert_eq!(results, [(0, 1), (1, 1), (2, 2), (3, 2), (4, 2)], "the second was in work");
}
