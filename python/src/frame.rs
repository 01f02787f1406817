//! One picture as Python sees it: its pixels are shared with the engine through the buffer protocol, never copied.
//!
//! The only `unsafe` code of this crate is here, because the buffer protocol is a C interface.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyImportError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use std::ffi::{c_int, c_void};
use std::time::Duration;

/// Width, height, index, time and pixels.
type Fields<'py> = (u32, u32, u64, f64, Bound<'py, PyBytes>);

/// One picture: RGB, 8 bits a channel.
///
/// `pixels` is an array of shape (height, width, 3) over the frame's own memory. It is read-only, because other stages
/// may look at the same picture: `pixels.copy()` gives one to draw on, and `Frame(pixels, ...)` makes a frame of it.
#[pyclass(frozen, module = "DeepPipeline.vision")]
pub(crate) struct Frame {
    pub(crate) inner: deeppipeline_vision::Frame,
    /// Height, width, 3. Views point to these two, so they live as long as the frame.
    shape: [ffi::Py_ssize_t; 3],
    strides: [ffi::Py_ssize_t; 3],
}

impl From<deeppipeline_vision::Frame> for Frame {
    fn from(inner: deeppipeline_vision::Frame) -> Self {
        let (height, width) = (inner.height as ffi::Py_ssize_t, inner.width as ffi::Py_ssize_t);
        Frame { inner, shape: [height, width, 3], strides: [3 * width, 3, 1] }
    }
}

#[pymethods]
impl Frame {
    /// A frame of these pixels, which are copied: anything of shape (height, width, 3) and unsigned bytes.
    #[new]
    #[pyo3(signature = (pixels, index = 0, time = 0.0))]
    fn new(py: Python<'_>, pixels: &Bound<'_, PyAny>, index: u64, time: f64) -> PyResult<Self> {
        let wanted = "but must be an array of shape (height, width, 3) of unsigned bytes";
        let buffer = PyBuffer::<u8>::get(pixels)
            .map_err(|error| PyValueError::new_err(format!("pixels has no such buffer ({error}), {wanted}")))?;
        let &[height, width, 3] = buffer.shape() else {
            return Err(PyValueError::new_err(format!("pixels has shape {:?}, {wanted}", buffer.shape())));
        };
        let time = Duration::try_from_secs_f64(time)
            .map_err(|error| PyValueError::new_err(format!("time is {time}, but must be seconds from 0: {error}")))?;
        let side = |n: usize| u32::try_from(n).map_err(|_| PyValueError::new_err(format!("pixels is {n} pixels long")));
        let copy = buffer.to_vec(py)?;
        deeppipeline_vision::Frame::new(side(width)?, side(height)?, index, time, copy)
            .map(Frame::from)
            .ok_or_else(|| PyValueError::new_err(format!("pixels has shape {:?}, {wanted}", buffer.shape())))
    }

    /// The pixels, shape (height, width, 3), RGB, without a copy: an ndarray where numpy imports, else a memoryview.
    #[getter]
    fn pixels<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let view = PyMemoryView::from(slf.as_any())?;
        match slf.py().import("numpy") {
            Ok(numpy) => numpy.call_method1("asarray", (view,)),
            Err(error) if error.is_instance_of::<PyImportError>(slf.py()) => Ok(view.into_any()),
            Err(error) => Err(error),
        }
    }

    /// Pixels from left to right.
    #[getter]
    fn width(&self) -> u32 {
        self.inner.width
    }

    /// Pixels from top to bottom.
    #[getter]
    fn height(&self) -> u32 {
        self.inner.height
    }

    /// Its place in the video, from 0.
    #[getter]
    fn index(&self) -> u64 {
        self.inner.index
    }

    /// The time at which it is to be shown, in seconds.
    #[getter]
    fn time(&self) -> f64 {
        self.inner.time.as_secs_f64()
    }

    /// A frame pickles as its numbers and its pixels. (Between stages it crosses to another process as it is.)
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Fields<'py>)> {
        let rebuild = py.get_type::<Self>().getattr("_of_bytes")?;
        let frame = &self.inner;
        Ok((rebuild, (frame.width, frame.height, frame.index, self.time(), PyBytes::new(py, &frame.pixels))))
    }

    #[staticmethod]
    fn _of_bytes(width: u32, height: u32, index: u64, time: f64, pixels: Vec<u8>) -> PyResult<Self> {
        let time = Duration::try_from_secs_f64(time).map_err(|error| PyValueError::new_err(error.to_string()))?;
        deeppipeline_vision::Frame::new(width, height, index, time, pixels)
            .map(Frame::from)
            .ok_or_else(|| PyValueError::new_err("the pixels are not height x width x 3 bytes"))
    }

    fn __repr__(&self) -> String {
        format!("<Frame {} {}x{} at {:.3} s>", self.inner.index, self.inner.width, self.inner.height, self.time())
    }

    /// SAFETY: called by the interpreter, with a `view` that it owns and that we fill as the protocol says.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill"));
        }
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("a frame is read-only: take pixels.copy() to draw on"));
        }
        let asked = |what: c_int| flags & what == what;
        if asked(ffi::PyBUF_F_CONTIGUOUS) && !asked(ffi::PyBUF_C_CONTIGUOUS) && !asked(ffi::PyBUF_ANY_CONTIGUOUS) {
            return Err(PyBufferError::new_err("a frame is in C order, row by row"));
        }
        let frame = slf.get();
        if frame.inner.pixels.len() != frame.shape.iter().product::<ffi::Py_ssize_t>() as usize {
            return Err(PyBufferError::new_err("the frame's pixels are not height x width x 3 bytes"));
        }
        let pixels = frame.inner.pixels.as_ptr();
        let length = frame.inner.pixels.len();
        let (shape, strides) = (frame.shape.as_ptr(), frame.strides.as_ptr());
        // SAFETY: `view` is valid for writing. There are as many pixels as the shape says. The pixels, shape and strides belong to the frame, which never changes
        // (it is frozen, and its pixels are behind an Arc that copies before anyone else writes), and which the view
        // keeps alive through `obj`. Their `*mut` is never written through, since the view says `readonly`.
        unsafe {
            (*view).obj = slf.into_any().into_ptr();
            (*view).buf = pixels as *mut c_void;
            (*view).len = length as ffi::Py_ssize_t;
            (*view).readonly = 1;
            (*view).itemsize = 1;
            (*view).format = if asked(ffi::PyBUF_FORMAT) { c"B".as_ptr().cast_mut() } else { std::ptr::null_mut() };
            (*view).ndim = if asked(ffi::PyBUF_ND) { 3 } else { 1 };
            (*view).shape = if asked(ffi::PyBUF_ND) { shape.cast_mut() } else { std::ptr::null_mut() };
            (*view).strides = if asked(ffi::PyBUF_STRIDES) { strides.cast_mut() } else { std::ptr::null_mut() };
            (*view).suboffsets = std::ptr::null_mut();
            (*view).internal = std::ptr::null_mut();
        }
        Ok(())
    }
}
