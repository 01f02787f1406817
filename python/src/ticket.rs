//! What `put` gives back.

use pyo3::prelude::*;

/// The fate of a sample at the entrance: true when it was accepted, false when it was dropped on arrival
/// ("drop_newest").
#[pyclass(frozen, eq, hash, module = "DeepPipeline")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    /// The sample's number, from 1, as in reports and errors; `None` when it was dropped.
    #[pyo3(get)]
    number: Option<u64>,
}

#[pymethods]
impl Ticket {
    #[new]
    pub(crate) fn new(number: Option<u64>) -> Self {
        Ticket { number }
    }

    fn __bool__(&self) -> bool {
        self.number.is_some()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, pyo3::types::PyType>, (Option<u64>,)) {
        (py.get_type::<Self>(), (self.number,))
    }

    fn __repr__(&self) -> String {
        match self.number {
            Some(number) => format!("Ticket(number={number})"),
            None => "Ticket(number=None)".to_owned(),
        }
    }
}
