//! Samples of Python in shared memory: how they are laid into a slot, and how Python looks at them there.
//!
//! A slot holds the kind and the number of parts, the length of the head, the length of each part (eight bytes each),
//! then the head, then the parts, each at a multiple of 64 bytes. What head and parts are is `_payload.py`'s affair.

use crate::payload::{Payload, Value};
use deeppipeline::BoxError;
use deeppipeline::engine::Codec;
use deeppipeline::processes::{SharedBytes, Transfer};
use deeppipeline_vision as vision;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple};
use std::ffi::{c_char, c_int, c_void};
use std::ops::Range;
use std::sync::Arc;

/// The kinds of `_payload.py`, and two for what native stages take.
const PICKLE: u64 = 0;
const BYTES: u64 = 1;
const BYTEARRAY: u64 = 2;
const FRAME: u64 = 3;
const SCENE: u64 = 4;

const WORD: usize = 8;
/// The alignment of parts: wide enough for any type of number, and for vector instructions.
const ALIGNMENT: usize = 64;

/// A sample that is ready to be laid into a slot.
pub(crate) struct Packed {
    /// The sample as it was, to be handed back where it is not taken.
    object: Py<PyAny>,
    kind: u64,
    head: Py<PyBytes>,
    head_length: usize,
    parts: Vec<Part>,
    size: usize,
}

struct Part {
    place: Range<usize>,
    source: Source,
}

enum Source {
    /// Bytes as they are.
    Flat(PyBuffer<u8>),
    /// An array with gaps, which numpy copies.
    Strided(Py<PyAny>),
}

impl Packed {
    /// Packs an object for another process.
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let mut atoms = PLAIN_ATOMS;
        if is_plain(object, &mut atoms) {
            let head: Bound<'_, PyBytes> = pickle(py, &DUMPS, "dumps")?.call1((object, PROTOCOL))?.cast_into()?;
            let head_length = head.as_bytes().len();
            let (object, head) = (object.clone().unbind(), head.unbind());
            return Ok(Packed {
                object,
                kind: PICKLE,
                head,
                head_length,
                parts: Vec::new(),
                size: 2 * WORD + head_length,
            });
        }

        // The large parts lie behind the head, each where it may be read as an array in place.
        let packed = payload_module(py)?.call_method1(intern!(py, "pack"), (object,))?;
        let (kind, head, list): (u64, Bound<'_, PyBytes>, Bound<'_, PyList>) = packed.extract()?;
        let head_length = head.as_bytes().len();
        let mut end = WORD * (2 + list.len()) + head_length;
        let mut parts = Vec::with_capacity(list.len());
        for part in list {
            let length: usize = part.getattr(intern!(py, "nbytes"))?.extract()?;
            let start = end.next_multiple_of(ALIGNMENT);
            end = start + length;
            let source = match part.cast::<PyMemoryView>() {
                Ok(view) => Source::Flat(PyBuffer::get(view)?),
                Err(_) => Source::Strided(part.unbind()),
            };
            parts.push(Part { place: start..end, source });
        }
        Ok(Packed { object: object.clone().unbind(), kind, head: head.unbind(), head_length, parts, size: end })
    }

    pub(crate) fn into_object(self) -> Py<PyAny> {
        self.object
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn write(&self, room: &mut [u8]) -> Result<(), BoxError> {
        let lengths = self.parts.iter().map(|part| part.place.len());
        let words = [self.kind | (self.parts.len() as u64) << 8, self.head_length as u64].into_iter();
        for (place, word) in room.chunks_exact_mut(WORD).zip(words.chain(lengths.map(|length| length as u64))) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let head = WORD * (2 + self.parts.len());
        let mut strided = Vec::new();
        for part in &self.parts {
            match &part.source {
                Source::Flat(buffer) => copy_flat(buffer, &mut room[part.place.clone()])?,
                Source::Strided(array) => strided.push((array, part.place.clone())),
            }
        }
        // Only threads of Python pack objects, so none of the engine's ever waits for the interpreter here.
        Python::attach(|py| {
            room[head..head + self.head_length].copy_from_slice(self.head.bind(py).as_bytes());
            for (array, place) in strided {
                copy_strided(array.bind(py), &mut room[place])?;
            }
            Ok(())
        })
    }
}

/// Atoms in a sample that is looked through.
const PLAIN_ATOMS: usize = 16;

/// Returns true if the object is made of nothing but a few numbers and texts, in tuples, lists and dicts. Pickle alone
/// does the same with it as `_payload.py`, which costs more than all else with so small a sample.
fn is_plain(object: &Bound<'_, PyAny>, atoms: &mut usize) -> bool {
    let Some(left) = atoms.checked_sub(1) else { return false };
    *atoms = left;
    if let Ok(tuple) = object.cast_exact::<PyTuple>() {
        tuple.iter_borrowed().all(|item| is_plain(&item, atoms))
    } else if let Ok(list) = object.cast_exact::<PyList>() {
        list.len() <= *atoms && list.iter().all(|item| is_plain(&item, atoms))
    } else if let Ok(dict) = object.cast_exact::<PyDict>() {
        dict.len() <= *atoms && dict.iter().all(|(key, item)| is_plain(&key, atoms) && is_plain(&item, atoms))
    } else {
        object.is_none()
            || object.is_exact_instance_of::<PyInt>()
            || object.is_exact_instance_of::<PyFloat>()
            || object.is_exact_instance_of::<PyString>()
            || object.is_exact_instance_of::<PyBool>()
    }
}

fn copy_flat(buffer: &PyBuffer<u8>, room: &mut [u8]) -> Result<(), BoxError> {
    if buffer.len_bytes() != room.len() || !buffer.is_c_contiguous() {
        return Err("the sample changed its size while it was sent".into());
    }
    // SAFETY: the buffer exports so many bytes, contiguous and alive as long as it is held; the slot is nobody else's.
    // If another thread writes the object at the same time, its bytes arrive torn, as with any copy without the GIL.
    unsafe { std::ptr::copy_nonoverlapping(buffer.buf_ptr().cast::<u8>(), room.as_mut_ptr(), room.len()) };
    Ok(())
}

fn copy_strided(array: &Bound<'_, PyAny>, room: &mut [u8]) -> PyResult<()> {
    let py = array.py();
    let length = ffi::Py_ssize_t::try_from(room.len())?;
    // SAFETY: the view is over `room`, which outlives it: it is released below, before `room` goes out of sight, and
    // numpy keeps no reference to it once it has copied. A failure to release it is an error that stops the sample.
    let view = unsafe {
        let view = ffi::PyMemoryView_FromMemory(room.as_mut_ptr().cast::<c_char>(), length, ffi::PyBUF_WRITE);
        Bound::from_owned_ptr_or_err(py, view)?
    };
    let copied = payload_module(py)?.call_method1(intern!(py, "copy_into"), (&view, array));
    view.call_method0(intern!(py, "release"))?;
    copied.map(drop)
}

/// A sample as it lies in a slot.
pub(crate) struct Laid {
    memory: Arc<Memory>,
    kind: u64,
    head: Range<usize>,
    parts: Vec<Range<usize>>,
}

/// The bytes of a slot, for as long as any object looks at them.
struct Memory {
    bytes: SharedBytes,
    /// The address of the bytes, if they may be written.
    writable: Option<*mut u8>,
}

// SAFETY: the pointer is to the bytes that the same struct keeps; whoever writes through it is Python, whose rule for
// two threads at one array is the user's affair.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Laid {
    fn new(mut bytes: SharedBytes) -> Option<Self> {
        let word = |index: usize| -> Option<usize> {
            let place = bytes.get(WORD * index..WORD * (index + 1))?;
            usize::try_from(u64::from_le_bytes(place.try_into().ok()?)).ok()
        };
        let (first, head_length) = (word(0)?, word(1)?);
        let (kind, count) = (first as u64 & 0xff, first >> 8);
        let start = WORD.checked_mul(count.checked_add(2)?)?;
        let head = start..start.checked_add(head_length)?;
        let mut end = head.end;
        let mut parts = Vec::new();
        for index in 0..count {
            let start = end.checked_next_multiple_of(ALIGNMENT)?;
            end = start.checked_add(word(2 + index)?)?;
            parts.push(start..end);
        }
        if end > bytes.len() {
            return None;
        }
        let writable = bytes.as_mut().map(<[u8]>::as_mut_ptr);
        Some(Laid { memory: Arc::new(Memory { bytes, writable }), kind, head, parts })
    }

    /// The sample again.
    pub(crate) fn into_object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let bytes = &self.memory.bytes;
        match (self.kind, &self.parts[..]) {
            (BYTES, [part]) => return Ok(PyBytes::new(py, &bytes[part.clone()]).into_any().unbind()),
            (BYTEARRAY, [part]) => return Ok(PyByteArray::new(py, &bytes[part.clone()]).into_any().unbind()),
            _ => {}
        }
        let head = PyBytes::new(py, &bytes[self.head.clone()]);
        if self.kind == PICKLE && self.parts.is_empty() {
            // The usual small sample: nothing of it looks into the slot.
            return Ok(pickle(py, &LOADS, "loads")?.call1((head,))?.unbind());
        }
        let parts = self.parts.iter().map(|place| {
            let memory = Arc::clone(&self.memory);
            Bound::new(py, SlotView { memory, place: place.clone() })
        });
        let parts = PyList::new(py, parts.collect::<PyResult<Vec<_>>>()?)?;
        let arguments = PyTuple::new(py, [self.kind.into_pyobject(py)?.into_any(), head.into_any(), parts.into_any()])?;
        Ok(payload_module(py)?.call_method1(intern!(py, "unpack"), arguments)?.unbind())
    }
}

/// A part of a sample, where it lies. What looks at it keeps the slot.
#[pyclass(frozen, module = "DeepPipeline._engine")]
pub(crate) struct SlotView {
    memory: Arc<Memory>,
    place: Range<usize>,
}

#[pymethods]
impl SlotView {
    /// SAFETY: called by the interpreter, with a `view` that it owns and that we fill as the protocol says.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill"));
        }
        let this = slf.get();
        let read_only = this.memory.writable.is_none();
        if read_only && flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("the sample is read-only: its stage may get it again"));
        }
        let start = this.memory.writable.unwrap_or(this.memory.bytes.as_ptr().cast_mut());
        let length = ffi::Py_ssize_t::try_from(this.place.len())?;
        // SAFETY: the place lies inside the bytes (checked by `Laid::new`), which never move and which the view keeps
        // alive through `obj`.
        unsafe {
            let start = start.add(this.place.start).cast::<c_void>();
            match ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, length, c_int::from(read_only), flags) {
                0 => Ok(()),
                _ => Err(PyErr::fetch(slf.py())),
            }
        }
    }
}

/// Carries payloads from one process to another.
#[derive(Default)]
pub(crate) struct Carrier {
    /// The name of the stage that they are carried to, where this process has to know it.
    stage: String,
}

impl Carrier {
    pub(crate) fn to(stage: &str) -> Self {
        Carrier { stage: stage.to_owned() }
    }
}

impl Codec<Payload> for Carrier {
    fn size(&self, value: &Payload) -> Result<usize, BoxError> {
        match value {
            Payload::Packed(packed) => Ok(packed.size),
            Payload::Tuple(tuple) => tuple.size(&self.stage),
            Payload::Native(Value::Frame(frame)) => Ok(WORD + frame.size()?),
            Payload::Native(Value::Scene(scene)) => Ok(WORD + scene.size()?),
            Payload::Native(Value::Nothing)
            | Payload::Object(_)
            | Payload::Shared(_)
            | Payload::Branches(_)
            | Payload::Way(..)
            | Payload::Parts(..)
            | Payload::Gathered(..)
            | Payload::Laid(_) => Err(not_packed()),
        }
    }

    fn write(&self, value: &Payload, room: &mut [u8]) -> Result<(), BoxError> {
        match value {
            Payload::Packed(packed) => return packed.write(room),
            Payload::Tuple(tuple) => return tuple.write(room, &self.stage),
            _ => {}
        }
        let Some((first, rest)) = room.split_first_chunk_mut::<WORD>() else { return Err(not_packed()) };
        match value {
            Payload::Native(Value::Frame(frame)) => {
                *first = FRAME.to_le_bytes();
                frame.write(rest)
            }
            Payload::Native(Value::Scene(scene)) => {
                *first = SCENE.to_le_bytes();
                scene.write(rest)
            }
            _ => Err(not_packed()),
        }
    }

    fn read(&self, bytes: SharedBytes) -> Result<Payload, BoxError> {
        let kind = bytes.first_chunk().map(|word| u64::from_le_bytes(*word));
        match kind {
            Some(FRAME) => Ok(Payload::Native(Value::Frame(vision::Frame::read(bytes.skip(WORD))?))),
            Some(SCENE) => Ok(Payload::Native(Value::Scene(vision::Scene::read(bytes.skip(WORD))?))),
            _ => Ok(Payload::Laid(Laid::new(bytes).ok_or("the slot holds no sample")?)),
        }
    }
}

pub(crate) fn not_packed() -> BoxError {
    "the value was not made ready for another process".into()
}

/// The protocol that leaves buffers out of the pickle.
const PROTOCOL: u8 = 5;

static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A function of `pickle`.
fn pickle<'py>(py: Python<'py>, once: &PyOnceLock<Py<PyAny>>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    once.import(py, "pickle", name).cloned()
}

fn payload_module(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let module =
        MODULE.get_or_try_init(py, || Ok::<_, PyErr>(py.import("DeepPipeline._payload")?.into_any().unbind()))?;
    Ok(module.bind(py))
}
