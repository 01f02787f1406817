//! The executors: where workers live and whose clock they read.

#[cfg(processes)]
pub(crate) mod process;
pub(crate) mod simulated;
pub(crate) mod thread;

use crate::cuts::SourceCut;
use crate::sample::{Input, SampleInfo};
use crate::stage::Give;
use crate::unwind::{catch_panic, release};
use crate::worker::{Call, Done, Role, Values, Windowed, Worker, WorkerId};
use tracing::Span;

/// The user's side of one worker: whatever the engine asks for, it calls.
pub trait Body<V> {
    /// Makes one call, and says what came of it.
    fn call(&mut self, call: Call<V>) -> Done<V>;

    /// Returns what the last call has made of samples that the stage had kept for a later list.
    fn windowed(&mut self) -> Windowed {
        Windowed::default()
    }

    /// Returns the values on which the call has failed, where the stage keeps them: each with the index of its sample in
    /// what the worker has taken.
    fn failed_values(&mut self, _done: &Done<V>) -> Vec<(usize, V)> {
        Vec::new()
    }

    /// Forgets what the stage keeps for later lists, which was flushed.
    fn forget_windows(&mut self) {}

    /// Lets the stage be made of what it was replaced with.
    fn make_of(&mut self, _: Values) {}

    /// Forgets what the stage keeps of sources that were flushed, and returns how many samples that were.
    fn forget_sources(&mut self, _cuts: &[SourceCut]) -> u64 {
        0
    }

    /// The name that the stage gives itself, once it has been made.
    fn name(&self) -> Option<String> {
        None
    }
}

/// The body of a [relay](crate::engine::Role::Relay): it gives what it takes.
#[derive(Debug)]
pub struct Relay;

impl<V> Body<V> for Relay {
    fn call(&mut self, call: Call<V>) -> Done<V> {
        Done::Gave(match call {
            Call::StageRun(Input::One(sample)) => Give::One(sample.value),
            _ => Give::Skip,
        })
    }
}

/// Builds a body on the worker it will run on, so that a stage need not be able to move between threads.
pub type BodyFactory<V> = Box<dyn FnOnce() -> Box<dyn Body<V>> + Send>;

/// Makes every call that the worker asks for, and frees its stage. Only then the worker has ended: that is the user's
/// code, too, and a caller that waits for the worker waits no longer for it than for any other call.
pub(crate) fn work_and_free<V>(worker: &mut Worker<V>, body: Box<dyn Body<V>>) {
    worker.frees_its_stage();
    work(worker, body);
    worker.has_freed_its_stage();
}

/// Makes every call that the worker asks for, and frees its stage.
pub(crate) fn work<V>(worker: &mut Worker<V>, mut body: Box<dyn Body<V>>) {
    while let Some(call) = worker.next() {
        let done = make_call(worker, &mut *body, call);
        worker.account(body.windowed());
        worker.done(done);
    }
    release(body);
}

/// Makes one call; a panic in the user's code is an error like any other.
pub(crate) fn make_call<V>(worker: &mut Worker<V>, body: &mut dyn Body<V>, call: Call<V>) -> Done<V> {
    let flushed = if worker.forgets() { forget(worker, body) } else { 0 };
    let makes_stage = matches!(call, Call::Setup);
    let span = span_of(worker, &call);
    let called = catch_panic(|| {
        let _entered = span.enter();
        let done = body.call(call);
        if makes_stage
            && matches!(done, Done::Gave(_))
            && let Some(name) = body.name()
        {
            worker.tell_name(name);
        }
        Ok(done)
    });
    if flushed > 0 {
        // With what the call makes of the others.
        worker.account(Windowed { flushed, ..Windowed::default() });
    }
    let done = called.unwrap_or_else(Done::Failed);
    if let Done::Failed(_) | Done::Each(_) = done
        && worker.tells_fates()
    {
        tell_failed_values(worker, body, &done);
    }
    done
}

/// The span around a call of the user's code, in which all that this logs has its stage, its worker and its sample. Where
/// nobody listens, it costs the look whether somebody does.
fn span_of<V>(worker: &Worker<V>, call: &Call<V>) -> Span {
    macro_rules! span {
        ($name:literal) => {
            tracing::info_span!(
                target: "deeppipeline::calls",
                $name,
                stage = worker.name(),
                worker = match worker.worker_id() {
                    WorkerId::Stage { worker, .. } => worker,
                    WorkerId::Source(_) => 0,
                },
                sample = worker.in_flight().map(|newest| tracing::field::display(newest.id)),
                source = worker.in_flight().as_ref().and_then(SampleInfo::source),
            )
        };
    }
    if worker.role() == Role::Relay {
        return Span::none();
    }
    match call {
        Call::StageRun(_) | Call::RunAgain(_) | Call::RunAlone(..) => span!("stage_run"),
        Call::SourceOpen | Call::SourceNext => span!("source_next"),
        Call::Setup | Call::Prepare(_) => span!("setup"),
        Call::Finish => span!("finish"),
        Call::Teardown | Call::Exchange | Call::Discard => span!("teardown"),
        Call::Update(_) => span!("update"),
    }
}

/// Lets a stage forget what it keeps from before a flush; returns how many samples of single sources that were.
#[cold]
fn forget<V>(worker: &mut Worker<V>, body: &mut dyn Body<V>) -> u64 {
    if worker.forgets_windows() {
        body.forget_windows();
    }
    body.forget_sources(&worker.forgets_sources())
}

/// Hands in the values on which a call has failed. To copy them is the user's code, too.
#[cold]
fn tell_failed_values<V>(worker: &mut Worker<V>, body: &mut dyn Body<V>, done: &Done<V>) {
    let Ok(values) = catch_panic(|| Ok(body.failed_values(done))) else { return };
    for (index, value) in values {
        worker.fails_on(index, value);
    }
}
