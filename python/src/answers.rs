//! Answers on their way to the thread of Python that hands them over: on whatever thread they come, no code of the user
//! runs there.

use crate::engine::cause_of;
use crate::payload::Payload;
use crate::report::SampleId;
use deeppipeline::engine::{Got, Receives};
use deeppipeline::error::{NoAnswer, StageFailure};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

type Outcome = Result<Got<Payload>, NoAnswer>;

/// Answers that have come, each with the object that stands for it.
#[derive(Default)]
pub(crate) struct AnswerQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Py<PyAny>, Outcome)>,
    is_over: bool,
}

/// The receiver of one answer.
pub(crate) struct Receiver {
    answer: Mutex<Option<Py<PyAny>>>,
    queue: Arc<AnswerQueue>,
}

impl Receives<Payload> for Receiver {
    fn receive(&self, outcome: Outcome) {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(answer) = answer {
            self.queue.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.push_back((answer, outcome));
            self.queue.changed.notify_one();
        }
    }
}

impl AnswerQueue {
    /// Makes the receiver for one answer.
    pub(crate) fn receiver(self: &Arc<Self>, answer: Py<PyAny>) -> Arc<Receiver> {
        Arc::new(Receiver { answer: Mutex::new(Some(answer)), queue: Arc::clone(self) })
    }

    /// Waits for answers; `None` once no more will come.
    pub(crate) fn next(&self) -> Option<VecDeque<(Py<PyAny>, Outcome)>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.waiting.is_empty() && !state.is_over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut state.waiting)).filter(|waiting| !waiting.is_empty())
    }

    /// Says that no more will come.
    pub(crate) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.changed.notify_all();
    }
}

/// One answer for the package: the object that stands for it, the name of what it is, and what that says.
pub(crate) fn in_words<'py>(py: Python<'py>, answer: Py<PyAny>, outcome: Outcome) -> PyResult<Bound<'py, PyTuple>> {
    let text = outcome.as_ref().err().map(ToString::to_string);
    let (kind, facts) = match outcome {
        Ok(Got::One(value)) => match value.into_object(py) {
            Ok(value) => ("value", value),
            Err(error) => ("raise", error.into_value(py).into_any()),
        },
        Ok(Got::Many(values)) => {
            let values = values.into_iter().map(|value| value.into_object(py)).collect::<PyResult<Vec<_>>>();
            match values {
                Ok(values) => ("value", PyList::new(py, values)?.into_any().unbind()),
                Err(error) => ("raise", error.into_value(py).into_any()),
            }
        }
        Err(fate) => fate_in_words(py, fate)?,
    };
    (answer, kind, text, facts).into_pyobject(py)
}

/// The fate of a sample for the package: the name of what it is, and the facts of it.
fn fate_in_words(py: Python<'_>, fate: NoAnswer) -> PyResult<(&'static str, Py<PyAny>)> {
    Ok(match fate {
        NoAnswer::Dropped { stage, why } => ("dropped", object(py, (stage, why.word()))?),
        NoAnswer::Skipped { stage, why } => ("skipped", object(py, (stage, why.word()))?),
        NoAnswer::Lost { stage } => ("lost", object(py, (stage,))?),
        NoAnswer::Failed(failure) => ("failed", facts_of(py, &failure)?),
        NoAnswer::Discarded(discarded) => {
            let cause = discarded.cause().map(|failure| facts_of(py, failure)).transpose()?;
            ("discarded", object(py, (cause,))?)
        }
        NoAnswer::Flushed => ("flushed", PyTuple::empty(py).into_any().unbind()),
        _ => ("discarded", object(py, (py.None(),))?),
    })
}

/// The end of a part that has no result, in the place of one.
#[pyclass(frozen, get_all, module = "DeepPipeline._engine")]
pub(crate) struct NoResult {
    /// The name of what it is.
    kind: &'static str,
    /// The same as a sentence.
    text: String,
    /// What more is to be said of it.
    facts: Py<PyAny>,
}

impl NoResult {
    pub(crate) fn new(py: Python<'_>, fate: NoAnswer) -> PyResult<Self> {
        let text = fate.to_string();
        let (kind, facts) = fate_in_words(py, fate)?;
        Ok(NoResult { kind, text, facts })
    }
}

/// A failure: its text, the stage, what it was doing, the sample, and the exception.
fn facts_of(py: Python<'_>, failure: &StageFailure) -> PyResult<Py<PyAny>> {
    let sample = failure.sample().map(SampleId::from);
    let (stage, doing) = (failure.stage().to_owned(), failure.doing().to_string());
    object(py, (failure.to_string(), stage, doing, sample, cause_of(py, failure.cause())))
}

fn object<'py, T>(py: Python<'py>, facts: T) -> PyResult<Py<PyAny>>
where
    T: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
{
    Ok(facts.into_pyobject(py)?.into_any().unbind())
}
