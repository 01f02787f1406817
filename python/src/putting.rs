//! Putting samples from Python: for a thread, which waits for room, and for a coroutine, which is woken once there may be.

use crate::engine::{Engine, deadline, slice};
use crate::payload::{Next, Payload, takes_a_while};
use crate::ticket::Ticket;
use deeppipeline::engine::{Accepted, Moment, Place, Receives, Supervisor, Wait};
use deeppipeline::error::PutError;
use pyo3::prelude::*;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::Instant;

impl Engine {
    /// Puts one sample by that call, waiting for room in slices between which signals are looked for.
    pub(crate) fn put_for(
        &self,
        x: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        what: &str,
        put: impl Fn(Payload, Moment, Wait) -> Result<Accepted<Payload>, PutError<Payload>> + Sync,
    ) -> PyResult<Option<Ticket>> {
        let py = x.py();
        let birth = Moment::now();
        let payload = self.payload_of(x)?;
        // Where there is room, the interpreter is not let go of.
        let first = match takes_a_while(&payload) {
            true => py.detach(|| put(payload, birth, Wait::No)),
            false => put(payload, birth, Wait::No),
        };
        let mut refused = match first {
            Ok(put) => return Ok(Some(Ticket::new(put.number))),
            Err(refused) => refused,
        };

        let deadline = deadline(timeout);
        let mut slices = 0;
        loop {
            let payload = match refused {
                PutError::Timeout(payload) if deadline.is_none_or(|deadline| Instant::now() < deadline) => payload,
                PutError::Timeout(_) => return Err(timed_out(x, what, timeout.unwrap_or_default())),
                refused => return refusal(x, what, &refused).map_or(Ok(None), Err),
            };
            py.check_signals()?;
            let begin = Moment::now();
            match py.detach(|| put(payload, birth, slice(deadline))) {
                Ok(put) => {
                    // The buffer knows only of the last slice.
                    if slices > 0 {
                        self.supervisor.note_put_waited(birth, begin);
                    }
                    return Ok(Some(Ticket::new(put.number)));
                }
                Err(again) => refused = again,
            }
            slices += 1;
        }
    }

    /// Makes the sample ready for its first consumer.
    fn payload_of(&self, x: &Bound<'_, PyAny>) -> PyResult<Payload> {
        let py = x.py();
        let payload = Payload::from_object(x, self.entrance.get().unwrap_or(&Next::Here));
        payload.map_err(|error| match is_send_error(py, &error) {
            true => put_error(x, "PutError", &error.value(py).to_string(), error.cause(py)),
            false => error,
        })
    }
}

/// A sample on its way into the pipeline, for a coroutine that waits for room.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct Putting {
    supervisor: Arc<Supervisor<Payload>>,
    x: Py<PyAny>,
    entrance: Option<String>,
    receiver: Option<Arc<dyn Receives<Payload>>>,
    birth: Moment,
    state: Mutex<State>,
}

struct State {
    /// The sample, until it has entered or was refused.
    payload: Option<Payload>,
    place: Place,
    ticket: Option<Ticket>,
}

impl Putting {
    pub(crate) fn new(
        engine: &Engine,
        x: &Bound<'_, PyAny>,
        entrance: Option<String>,
        answer: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let birth = Moment::now();
        let payload = Some(engine.payload_of(x)?);
        Ok(Putting {
            supervisor: Arc::clone(&engine.supervisor),
            x: x.clone().unbind(),
            entrance,
            receiver: answer.map(|answer| engine.answers.receiver(answer) as _),
            birth,
            state: Mutex::new(State { payload, place: Place::default(), ticket: None }),
        })
    }

    fn try_to_enter(
        &self,
        payload: Payload,
        place: &mut Place,
        waker: Option<&Waker>,
    ) -> Result<Accepted<Payload>, PutError<Payload>> {
        let (supervisor, entrance) = (&self.supervisor, self.entrance.as_deref());
        match (&self.receiver, waker) {
            (None, None) => supervisor.put_born(payload, entrance, self.birth, Wait::No),
            (None, Some(waker)) => supervisor.put_or_stand(payload, entrance, self.birth, place, waker),
            (Some(receiver), None) => supervisor.submit(payload, entrance, self.birth, Wait::No, Arc::clone(receiver)),
            (Some(receiver), Some(waker)) => {
                supervisor.submit_or_stand(payload, entrance, self.birth, receiver, place, waker)
            }
        }
    }
}

#[pymethods]
impl Putting {
    /// Tries to put the sample in; false where there is no room. Then `wake` is called, once, on the thread that calls what
    /// `next_wakes` gives, once there may be room.
    fn attempt(&self, py: Python<'_>, wake: Option<Py<PyAny>>) -> PyResult<bool> {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        let Some(payload) = state.payload.take() else { return Ok(true) };
        let waker = wake.map(|wake| Waker::from(Arc::new(Call(Mutex::new(Some(wake))))));
        let place = &mut state.place;
        let put = match takes_a_while(&payload) {
            true => py.detach(|| self.try_to_enter(payload, place, waker.as_ref())),
            false => self.try_to_enter(payload, place, waker.as_ref()),
        };
        match put {
            Ok(put) => state.ticket = Some(Ticket::new(put.number)),
            Err(PutError::Timeout(payload)) => {
                state.payload = Some(payload);
                return Ok(false);
            }
            Err(refused) => {
                let what = if self.receiver.is_some() { "asubmit" } else { "aput" };
                return refusal(self.x.bind(py), what, &refused).map_or(Ok(true), Err);
            }
        }
        Ok(true)
    }

    /// The ticket of the sample, once it has entered; none where the pipeline has failed.
    #[getter]
    fn ticket(&self) -> Option<Ticket> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ticket
    }

    /// Ends the waiting for room, whether or not the sample has entered.
    fn leave(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let has_entered = state.ticket.is_some();
        self.supervisor.leave(&mut state.place, has_entered);
    }
}

/// A call of Python that is to be made once, by the thread that makes such calls: where it is wanted no interpreter is
/// waited for.
struct Call(Mutex<Option<Py<PyAny>>>);

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        if let Some(call) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            CALLS.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
            CALLS.1.notify_one();
        }
    }
}

static CALLS: (Mutex<Vec<Py<PyAny>>>, Condvar) = (Mutex::new(Vec::new()), Condvar::new());

/// Waits for calls that are to be made: they wake coroutines that wait for room.
#[pyfunction]
pub(crate) fn next_wakes(py: Python<'_>) -> Vec<Py<PyAny>> {
    py.detach(|| {
        let (calls, changed) = &CALLS;
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        while calls.is_empty() {
            calls = changed.wait(calls).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut *calls)
    })
}

/// Returns the exception for a sample that found no room in time.
fn timed_out(x: &Bound<'_, PyAny>, what: &str, waited: f64) -> PyErr {
    let text = format!("{what} timed out after {waited} s: the buffer of the first stage stayed full");
    put_error(x, "PutTimeout", &text, None)
}

/// Returns the exception for a sample that was refused; none where the pipeline has failed, which its caller tells.
fn refusal(x: &Bound<'_, PyAny>, what: &str, refused: &PutError<Payload>) -> Option<PyErr> {
    let text = match refused {
        PutError::Closed(_) => format!("{what} after setstop: the pipeline takes no more samples"),
        PutError::OwnStage(_) => {
            format!("{what} from one of the pipeline's own stages: return the value from stage_run (Many for several)")
        }
        PutError::Entrance(_, cause) => cause.to_string(),
        PutError::Refused(_, cause) => cause.to_string(),
        _ => return None,
    };
    Some(put_error(x, "PutError", &text, None))
}

/// One of the package's errors of `put`, which hand the sample back.
fn put_error(x: &Bound<'_, PyAny>, class: &str, text: &str, cause: Option<PyErr>) -> PyErr {
    let py = x.py();
    let made = py.import("DeepPipeline.errors").and_then(|errors| errors.getattr(class)?.call1((text, x)));
    let error = made.map_or_else(|broken| broken, PyErr::from_value);
    error.set_cause(py, cause);
    error
}

/// Returns true if the error says that a sample cannot be sent to the process of a stage.
fn is_send_error(py: Python<'_>, error: &PyErr) -> bool {
    let class = py.import("DeepPipeline.errors").and_then(|errors| errors.getattr("SendError"));
    class.is_ok_and(|class| error.matches(py, class).unwrap_or(false))
}
