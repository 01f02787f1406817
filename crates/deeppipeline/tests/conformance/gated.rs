//! The stages as the engine calls them, on every executor that follows the simulation: each call waits for its permit.

use crate::stages::{Logic, Numbers, Witness};
use deeppipeline::engine::{Body, BodyFactory, Call, Done, Input, Put, Relay, WindowStore, Windowed, account};
use deeppipeline::report::SampleId;
use deeppipeline::{BoxError, Give, Window, current_sample};
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
    around: Arc<dyn Around>,
    windows: Option<(WindowStore<i64, i64>, i64)>,
    windowed: Windowed,
    /// What it was run on last.
    last: i64,
}

impl GatedStage {
    pub(crate) fn new(logic: Logic, windows: Option<(Window, i64)>, around: Arc<dyn Around>) -> Self {
        let windows = windows.map(|(window, keys)| (WindowStore::new(window), keys));
        GatedStage { logic, around, windows, windowed: Windowed::default(), last: 0 }
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

impl Body<i64> for GatedStage {
    fn call(&mut self, call: Call<i64>) -> Done<i64> {
        let result = match call {
            Call::Setup => {
                self.around.pass(None);
                self.logic.setup().map(|()| Give::Skip)
            }
            Call::RunAgain(_) => {
                self.around.pass(current_sample().map(|sample| sample.id));
                self.logic.stage_run(self.last)
            }
            Call::StageRun(input) => {
                self.around.pass(current_sample().map(|sample| sample.id));
                let x = match input {
                    Input::One(sample) => sample.value,
                    Input::List(samples) => samples.iter().map(|sample| sample.value).sum(),
                };
                match self.window(x) {
                    Ok(x) => {
                        self.last = x;
                        self.logic.stage_run(x)
                    }
                    Err(done) => return done,
                }
            }
            Call::Finish => {
                self.around.next_has_taken();
                self.logic.finish()
            }
            Call::Teardown => self.logic.teardown().map(|()| Give::Skip),
            Call::SourceNext => Err("this is no source".into()),
        };
        match result {
            Ok(Give::Many(mut values)) => {
                let around = Arc::clone(&self.around);
                Done::Gave(Give::many(std::iter::from_fn(move || {
                    around.next_has_taken();
                    values.next()
                })))
            }
            Ok(give) => Done::Gave(give),
            Err(cause) => Done::Failed(cause),
        }
    }

    fn forget_windows(&mut self) {
        if let Some((store, _)) = &mut self.windows {
            store.forget();
        }
    }

    fn windowed(&mut self) -> Windowed {
        std::mem::take(&mut self.windowed)
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
            Call::StageRun(_) | Call::RunAgain(_) | Call::Finish | Call::Teardown => return Done::Gave(Give::Skip),
        };
        match next {
            Ok(Some(x)) => Done::Gave(Give::One(x)),
            Ok(None) => Done::Exhausted,
            Err(cause) => Done::Failed(cause),
        }
    }
}
