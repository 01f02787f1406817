//! The stages as the engine calls them, on every executor that follows the simulation: each call waits for its permit.

use crate::case::{Does, StageSpec};
use crate::stages::{Logic, Numbers, Witness};
use deeppipeline::engine::{
    Body, BodyFactory, Call, Done, Input, Put, Relay, SourceCut, Values, WindowStore, Windowed, account,
};
use deeppipeline::intake::Intake;
use deeppipeline::report::SampleId;
use deeppipeline::{BoxError, Give, current_sample};
use std::sync::{Arc, Condvar, Mutex};

/// The test around one stage, wherever the stage runs.
pub(crate) trait Around: Witness {
    /// Waits for the permit for one call: with that sample, or for `setup`.
    fn pass(&self, sample: Option<SampleId>);

    /// Waits until the stage after this one has taken what it can. What a busy stage gets in one call, one part after
    /// the other, depends on the mood of the machine; here an idle stage always takes before the next part comes, as it
    /// does in the simulation.
    fn next_has_taken(&self);
}

/// Lets one call pass for each permit.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    more: Condvar,
}

#[derive(Default)]
struct GateState {
    /// One for each call, with which sample it is.
    permits: Vec<Option<SampleId>>,
    all_pass: bool,
    someone_is_here: bool,
}

impl Gate {
    pub(crate) fn permit(&self, sample: Option<SampleId>) {
        self.state.lock().unwrap().permits.push(sample);
        self.more.notify_all();
    }

    pub(crate) fn let_all_pass(&self) {
        self.state.lock().unwrap().all_pass = true;
        self.more.notify_all();
    }

    pub(crate) fn pass(&self, sample: Option<SampleId>) {
        let mut state = self.state.lock().unwrap();
        state.someone_is_here = true;
        while !state.all_pass {
            if let Some(index) = state.permits.iter().position(|permit| *permit == sample) {
                state.permits.remove(index);
                break;
            }
            state = self.more.wait(state).unwrap();
        }
        state.someone_is_here = false;
    }

    pub(crate) fn holds_someone(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.someone_is_here && state.permits.is_empty()
    }
}

/// A stage that passes a gate in `setup` and `stage_run`, and gives its parts only to an idle stage.
pub(crate) struct GatedStage {
    logic: Logic,
    /// The stage that is to take its place.
    new: Option<Logic>,
    around: Arc<dyn Around>,
    windows: Option<(WindowStore<i64, i64>, i64)>,
    windowed: Windowed,
    /// True if it gives a result for each sample of a list.
    gives_each: bool,
    /// What it was run on last.
    last: Vec<i64>,
}

impl GatedStage {
    pub(crate) fn new(logic: Logic, spec: &StageSpec, around: Arc<dyn Around>) -> Self {
        let windows = spec.windows().map(|(window, keys)| (WindowStore::new(window), keys));
        let gives_each = matches!(spec.intake, Intake::Batch { fold: false, .. });
        GatedStage { logic, new: None, around, windows, windowed: Windowed::default(), gives_each, last: Vec::new() }
    }

    fn run_batch(&mut self, batch: &[i64]) -> Done<i64> {
        match self.logic.run_batch(batch) {
            Ok(results) => Done::Each(results.into_iter().map(|result| Ok(self.gives(result?))).collect()),
            Err(cause) => Done::Failed(cause),
        }
    }

    /// Lets parts go on only to an idle stage.
    fn gives(&self, give: Give<i64>) -> Give<i64> {
        let Give::Many(mut values) = give else { return give };
        let around = Arc::clone(&self.around);
        Give::many(std::iter::from_fn(move || {
            around.next_has_taken();
            values.next()
        }))
    }

    /// The window that is due with this sample, as a sum.
    fn window(&mut self, x: i64) -> Result<i64, Done<i64>> {
        let Some((store, keys)) = &mut self.windows else { return Ok(x) };
        let key = x % *keys;
        let silent = store.begin();
        let (put, forgotten) = store.put(key, x);
        self.windowed = account(put, silent + forgotten);
        match put {
            Put::Due { .. } => Ok(store.list(&key).sum()),
            Put::Windowed => Err(Done::Windowed),
            Put::Skipped => Err(Done::Gave(Give::Skip)),
        }
    }

    pub(crate) fn factory(self) -> BodyFactory<i64> {
        Box::new(move || Box::new(self))
    }
}

/// What the stage does that is made from these values.
fn does_of(values: &Values) -> Does {
    match values {
        Values::Here(does) => *does.downcast_ref().expect("it is what a stage does"),
        #[cfg(processes)]
        Values::Bytes(bytes) => postcard::from_bytes(bytes).expect("it is what a stage does"),
        #[cfg(not(processes))]
        Values::Bytes(_) => unreachable!("nothing crosses to another process"),
    }
}

impl Body<i64> for GatedStage {
    fn call(&mut self, call: Call<i64>) -> Done<i64> {
        let result = match call {
            Call::Setup => {
                self.around.pass(None);
                self.logic.setup().map(|()| Give::Skip)
            }
            Call::RunAgain(_) => {
                self.around.pass(current_sample().map(|sample| sample.id));
                self.logic.stage_run(self.last.iter().sum())
            }
            Call::RunAlone(index, _) => {
                self.around.pass(current_sample().map(|sample| sample.id));
                let one = [self.last[index]];
                return self.run_batch(&one);
            }
            Call::StageRun(input) => {
                self.around.pass(current_sample().map(|sample| sample.id));
                let got: Vec<i64> = match input {
                    Input::One(sample) => vec![sample.value],
                    Input::List(samples) => samples.iter().map(|sample| sample.value).collect(),
                };
                if self.gives_each {
                    self.last.clone_from(&got);
                    return self.run_batch(&got);
                }
                match self.window(got.iter().sum()) {
                    Ok(x) => {
                        self.last = vec![x];
                        self.logic.stage_run(x)
                    }
                    Err(done) => return done,
                }
            }
            Call::Finish => {
                self.around.next_has_taken();
                self.logic.finish()
            }
            Call::Teardown => {
                // It fails in no case.
                let _ = self.new.take().map(|mut new| new.teardown());
                self.logic.teardown().map(|()| Give::Skip)
            }
            Call::Update(values) => {
                self.logic.factor = factor_of(&values);
                Ok(Give::Skip)
            }
            Call::Prepare(values) => {
                let mut new = self.logic.another(does_of(&values));
                new.setup().map(|()| {
                    self.new = Some(new);
                    Give::Skip
                })
            }
            Call::Exchange => {
                let new = self.new.take().expect("one was set up");
                std::mem::replace(&mut self.logic, new).teardown().map(|()| Give::Skip)
            }
            Call::Discard => self.new.take().map_or(Ok(()), |mut new| new.teardown()).map(|()| Give::Skip),
            Call::SourceOpen | Call::SourceNext => Err("this is no source".into()),
        };
        match result {
            Ok(give) => Done::Gave(self.gives(give)),
            Err(cause) => Done::Failed(cause),
        }
    }

    fn forget_windows(&mut self) {
        if let Some((store, _)) = &mut self.windows {
            store.forget();
        }
    }

    fn forget_sources(&mut self, cuts: &[SourceCut]) -> u64 {
        self.windows.as_mut().map_or(0, |(store, _)| store.forget_sources(cuts))
    }

    fn windowed(&mut self) -> Windowed {
        std::mem::take(&mut self.windowed)
    }
}

/// The values of an update, for a stage on a thread or in a process.
pub(crate) fn values_of(factor: i64, in_process: bool) -> Values {
    match in_process {
        true => Values::Bytes(factor.to_le_bytes().into()),
        false => Values::Here(Arc::new(factor)),
    }
}

fn factor_of(values: &Values) -> i64 {
    match values {
        Values::Here(factor) => *factor.downcast_ref().expect("it is a factor"),
        Values::Bytes(bytes) => i64::from_le_bytes(bytes[..].try_into().expect("it is a factor")),
    }
}

/// A relay, whose results go on only when the stages that get them have taken what they can.
pub(crate) struct GatedRelay {
    /// The test around each of these stages.
    pub(crate) next: Vec<Arc<dyn Around>>,
}

impl GatedRelay {
    pub(crate) fn factory(self) -> BodyFactory<i64> {
        Box::new(move || Box::new(self))
    }
}

impl Body<i64> for GatedRelay {
    fn call(&mut self, call: Call<i64>) -> Done<i64> {
        self.next.iter().for_each(|next| next.next_has_taken());
        Relay.call(call)
    }
}

/// A source that passes a gate before each sample.
pub(crate) struct GatedSource {
    numbers: Numbers,
    gate: Arc<Gate>,
}

impl GatedSource {
    pub(crate) fn new(numbers: Numbers, gate: Arc<Gate>) -> Self {
        GatedSource { numbers, gate }
    }

    pub(crate) fn factory(self) -> BodyFactory<i64> {
        Box::new(move || Box::new(self))
    }
}

impl Body<i64> for GatedSource {
    fn call(&mut self, call: Call<i64>) -> Done<i64> {
        let next: Result<Option<i64>, BoxError> = match call {
            Call::Setup => {
                self.gate.pass(None);
                return Done::Gave(Give::Skip);
            }
            Call::SourceNext => {
                self.gate.pass(None);
                self.numbers.source_next()
            }
            _ => return Done::Gave(Give::Skip),
        };
        match next {
            Ok(Some(x)) => Done::Gave(Give::One(x)),
            Ok(None) => Done::Exhausted,
            Err(cause) => Done::Failed(cause),
        }
    }
}
