//! The windows of one stage, for its worker: the engine's, with keys and items that are Python objects.

use deeppipeline::Window;
use deeppipeline::engine::{Put, SourceCut, WindowStore as EngineWindowStore, Windowed, account};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

thread_local! {
    /// The exception that comparing two keys raised: Rust's own comparison cannot fail.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// A key that hashes and compares as Python does it.
#[derive(Clone)]
struct Key {
    hash: isize,
    /// The key itself, shared so that no clone needs the interpreter.
    object: Arc<Py<PyAny>>,
}

impl Key {
    fn new(object: Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let hash = object.hash().map_err(|error| match error.is_instance_of::<PyTypeError>(py) {
            true => {
                let kind = object.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string());
                let text = format!("key gave a {kind}, but must give something hashable, or a dict of key to item");
                let refused = PyTypeError::new_err(text);
                refused.set_cause(py, Some(error));
                refused
            }
            // Raised by a __hash__ of the user's own.
            false => error,
        })?;
        Ok(Key { hash, object: Arc::new(object.unbind()) })
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        if self.hash != other.hash {
            return false;
        }
        // As in a dict, what is the same object is the same key.
        if self.object.is(&*other.object) {
            return true;
        }
        Python::attach(|py| self.object.bind(py).eq(other.object.bind(py))).unwrap_or_else(|error| {
            RAISED.set(Some(error));
            false
        })
    }
}

impl Eq for Key {}

/// The windows of all keys.
#[pyclass(module = "DeepPipeline._engine")]
pub(crate) struct WindowStore(EngineWindowStore<Key, Py<PyAny>>);

#[pymethods]
impl WindowStore {
    #[new]
    fn new(size: usize, stride: usize, max_keys: usize, idle: Option<u64>, partial: bool) -> Self {
        let window = Window::new(size).stride(stride).max_keys(max_keys);
        let window = if partial { window.partial() } else { window };
        WindowStore(EngineWindowStore::new(idle.map_or(window, |idle| window.idle(idle))))
    }

    /// Begins another sample. Returns how many items of keys that have been silent too long will be in no list.
    fn begin(&mut self) -> u64 {
        self.0.begin()
    }

    /// Forgets all that is in the windows, as if no sample had come.
    fn forget(&mut self) {
        self.0.forget();
    }

    /// Forgets what was flushed with its source, and returns how many items of it have been in no list.
    fn forget_sources(&mut self, cuts: Vec<(u64, u64)>) -> u64 {
        let cuts: Vec<_> = cuts.into_iter().map(|(source, number)| SourceCut { source, number }).collect();
        self.0.forget_sources(&cuts)
    }

    /// The list that was due for a key with the present sample, once more.
    fn again<'py>(&self, key: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = key.py();
        PyList::new(py, self.0.list(&Key::new(key)?).collect::<Vec<_>>())
    }

    /// Puts an item of the present sample into the window of its key. Returns the list where one is due, none otherwise;
    /// whether a later list will have the item; then how many of the items in the list were kept for it, and how many of a key that was forgotten will be
    /// in none.
    fn put<'py>(
        &mut self,
        key: Bound<'py, PyAny>,
        item: Py<PyAny>,
    ) -> PyResult<(Option<Bound<'py, PyList>>, bool, u64, u64)> {
        let py = key.py();
        let key = Key::new(key)?;
        // Where keys cannot be compared, that is known before anything has been put.
        let _ = self.0.list(&key).next();
        if let Some(error) = RAISED.take() {
            return Err(error);
        }
        let (put, forgotten) = self.0.put(key.clone(), item);
        let Windowed { used, skipped, .. } = account(put, forgotten);
        let list = match put {
            Put::Due { .. } => Some(PyList::new(py, self.0.list(&key).collect::<Vec<_>>())?),
            Put::Windowed | Put::Skipped => None,
        };
        Ok((list, put == Put::Windowed, used, skipped))
    }
}
