//! The thread executor, made to follow the simulated order: every call of the user's code waits for a permit, and after
//! each event the ledger must come to what the simulation's was.

use crate::case::{Case, Does, Input as Inputs};
use crate::outcome::{describe, ledger};
use crate::simulated::{Moment, Run};
use crate::stages::{Log, Logic, Numbers};
use deeppipeline::engine::{Body, BodyFactory, Call, Done, Graph, Input, Node, Seat, Supervisor, Wait, spawn};
use deeppipeline::{BoxError, Event, Give, Intake, SOURCE, StageReport};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Only a pipeline that hangs takes that long.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Follows the simulated run with threads, and says what came out.
pub(crate) fn follow(case: &Case, simulated: &Run) -> String {
    let log = Log::default();
    let graph = Graph {
        source: case.has_source(),
        stages: case.stages.iter().map(node).collect(),
        buffer_size: case.buffer_size.clone(),
        overflow: case.overflow,
        ..Graph::default()
    };
    let (supervisor, workers) = Supervisor::<i64>::new(graph).unwrap();
    let gates = Gates(workers.iter().map(|worker| (worker.name().to_owned(), Arc::default())).collect());
    let bodies = workers.iter().map(|worker| body(case, worker.seat(), &gates, &log, &supervisor));
    let bodies: Vec<BodyFactory<i64>> = bodies.collect();
    let threads = workers.into_iter().zip(bodies).map(|(worker, body)| spawn(worker, body).unwrap());
    let threads: Vec<_> = threads.collect();

    let mut next_put = 1;
    let mut pulled = 0;
    for (index, moment) in simulated.moments.iter().enumerate() {
        bring_about(&moment.event, &supervisor, &gates, &mut next_put);
        catch_up(case, moment, &supervisor, &log);
        // The ledger does not show that the source was asked. It was, if it has handed over all it gave and more is to
        // come of it.
        pulled += u64::from(is_of_source(moment));
        let all_given = moment.report.stages[0].buffer.entered == pulled;
        if is_up(&simulated.moments[..=index]) && all_given && simulated.moments[index + 1..].iter().any(is_of_source) {
            crate::support::until(|| gates.of(SOURCE).holds_someone());
        }
    }
    assert!(supervisor.wait_ended(Wait::Until(Instant::now() + WATCHDOG)), "left behind in {case:#?}");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(log.every_teardown_ran(), "{case:#?}");
    describe(&log.values(), supervisor.failure().as_ref(), &supervisor.report())
}

fn node(spec: &crate::case::StageSpec) -> Node {
    Node { intake: spec.intake, overflow: spec.overflow, on_error: spec.on_error, ..Node::new(&spec.name) }
}

fn body(case: &Case, seat: Seat, gates: &Gates, log: &Log, supervisor: &Arc<Supervisor<i64>>) -> BodyFactory<i64> {
    match (seat, &case.input) {
        (Seat::Stage(index), _) => {
            let spec = &case.stages[index];
            let logic = Logic::new(&spec.name, spec.does, index + 1 == case.stages.len(), log);
            let next = Next { supervisor: Arc::clone(supervisor), index: index + 1 };
            let gate = gates.of(&spec.name);
            Box::new(move || Box::new(GatedStage { logic, gate, next }))
        }
        (Seat::Source, Inputs::Source { samples, fails, .. }) => {
            let numbers = Numbers { given: 0, samples: *samples, fails: *fails };
            let gate = gates.of(SOURCE);
            Box::new(move || Box::new(GatedSource { numbers, gate }))
        }
        (Seat::Source, Inputs::Puts(_)) => unreachable!("a pipeline without a source has no source's worker"),
    }
}

fn bring_about(event: &Event, supervisor: &Supervisor<i64>, gates: &Gates, next_put: &mut i64) {
    let mut put = || {
        let put = supervisor.put(*next_put, Wait::Until(Instant::now() + WATCHDOG));
        *next_put += 1;
        put
    };
    match event {
        Event::Up => gates.0.iter().for_each(|(_, gate)| gate.permit()),
        Event::Completed { stage } => gates.of(stage).permit(),
        Event::Put(accepted) => assert_eq!(put().unwrap().accepted, *accepted, "put {}", *next_put - 1),
        Event::Refused => drop(put().unwrap_err()),
        Event::Stop => supervisor.close(),
        other => panic!("{other:?} is not known here"),
    }
}

fn is_up(past: &[Moment]) -> bool {
    past.iter().any(|moment| moment.event == Event::Up)
}

fn is_of_source(moment: &Moment) -> bool {
    matches!(&moment.event, Event::Completed { stage } if stage == SOURCE)
}

/// Waits until the ledger is what the simulation's was after the same event, and the same stages are torn down. (A
/// failure shows in the ledger before it has discarded every buffer; after that comes the teardown, or for a failed
/// setup the end of all.)
fn catch_up(case: &Case, moment: &Moment, supervisor: &Supervisor<i64>, log: &Log) {
    let wanted = ledger(&moment.report);
    let give_up = Instant::now() + WATCHDOG;
    if moment.event == Event::Up && case.stages.iter().any(|spec| spec.does == Does::FailInSetup) {
        supervisor.wait_ended(Wait::Until(give_up));
    }
    loop {
        let report = supervisor.report();
        if ledger(&report) == wanted && log.torn_down() == moment.torn_down {
            assert!(report.balances(), "{report:#?}");
            return;
        }
        assert!(
            Instant::now() < give_up,
            "after {:?} the simulation has\n{wanted}\nand the threads have\n{}\nin {case:#?}",
            moment.event,
            ledger(&report)
        );
        std::thread::yield_now();
    }
}

/// A gate for each worker; all open when the test is over, so that none stays behind after a failure.
struct Gates(Vec<(String, Arc<Gate>)>);

impl Gates {
    fn of(&self, worker: &str) -> Arc<Gate> {
        let (_, gate) = self.0.iter().find(|(name, _)| name == worker).expect("every worker has a gate");
        Arc::clone(gate)
    }
}

impl Drop for Gates {
    fn drop(&mut self) {
        self.0.iter().for_each(|(_, gate)| gate.let_all_pass());
    }
}

/// Lets one call pass for each permit.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    more: Condvar,
}

#[derive(Default)]
struct GateState {
    permits: u64,
    someone_is_here: bool,
}

impl Gate {
    fn permit(&self) {
        self.state.lock().unwrap().permits += 1;
        self.more.notify_one();
    }

    fn let_all_pass(&self) {
        self.state.lock().unwrap().permits = u64::MAX;
        self.more.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.someone_is_here = true;
        while state.permits == 0 {
            state = self.more.wait(state).unwrap();
        }
        state.permits -= 1;
        state.someone_is_here = false;
    }

    fn holds_someone(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.someone_is_here && state.permits == 0
    }
}

struct GatedStage {
    logic: Logic,
    gate: Arc<Gate>,
    next: Next,
}

impl Body<i64> for GatedStage {
    fn call(&mut self, call: Call<i64>) -> Done<i64> {
        let result = match call {
            Call::Setup => {
                self.gate.pass();
                self.logic.setup().map(|()| Give::Skip)
            }
            Call::StageRun(input) => {
                self.gate.pass();
                let x = match input {
                    Input::One(sample) => sample.value,
                    Input::List(samples) => samples.iter().map(|sample| sample.value).sum(),
                };
                self.logic.stage_run(x)
            }
            Call::Finish => {
                self.next.has_taken();
                self.logic.finish()
            }
            Call::Teardown => self.logic.teardown().map(|()| Give::Skip),
            Call::SourceNext => Err("this is no source".into()),
        };
        match result {
            Ok(Give::Many(mut values)) => {
                let next = self.next.clone();
                Done::Gave(Give::many(std::iter::from_fn(move || {
                    next.has_taken();
                    values.next()
                })))
            }
            Ok(give) => Done::Gave(give),
            Err(cause) => Done::Failed(cause),
        }
    }
}

/// The stage after this one. What a busy stage gets in one call, one part after the other, depends on the mood of the
/// machine; here an idle stage always takes before the next part comes, as it does in the simulation.
#[derive(Clone)]
struct Next {
    supervisor: Arc<Supervisor<i64>>,
    index: usize,
}

impl Next {
    fn has_taken(&self) {
        crate::support::until(|| {
            self.supervisor
                .report()
                .stages
                .get(self.index)
                .is_none_or(|stage| stage.counts.in_hand > 0 || !can_take(stage))
        });
    }
}

fn can_take(stage: &StageReport) -> bool {
    match stage.intake {
        Intake::All => stage.buffer.waiting >= stage.buffer_size as u64,
        _ => stage.buffer.waiting > 0,
    }
}

struct GatedSource {
    numbers: Numbers,
    gate: Arc<Gate>,
}

impl Body<i64> for GatedSource {
    fn call(&mut self, call: Call<i64>) -> Done<i64> {
        let next: Result<Option<i64>, BoxError> = match call {
            Call::Setup => {
                self.gate.pass();
                return Done::Gave(Give::Skip);
            }
            Call::SourceNext => {
                self.gate.pass();
                self.numbers.source_next()
            }
            Call::StageRun(_) | Call::Finish | Call::Teardown => return Done::Gave(Give::Skip),
        };
        match next {
            Ok(Some(x)) => Done::Gave(Give::One(x)),
            Ok(None) => Done::Exhausted,
            Err(cause) => Done::Failed(cause),
        }
    }
}
