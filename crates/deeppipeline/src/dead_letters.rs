//! The samples on which a stage failed, or that a process took with it when it died, kept in a folder.
//!
//! One file is one sample: a line of JSON that says what became of it, and its value. Letters of Python have the same
//! first line, and a pickle behind it.

mod replay;
mod writer;

use crate::unwind::BoxError;
use serde::{Deserialize, Serialize};
use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::path::PathBuf;

pub use replay::{DeadLetter, Replay, replay};
pub(crate) use writer::Writer;

/// The end of the name of a letter's file.
const SUFFIX: &str = "letter";

/// The bytes that all letters of a folder may have together, unless the program says otherwise.
const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// The folder for the samples on which a stage failed, or that were lost, and how many bytes they may have together. When
/// there are more, the oldest are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetters {
    pub(crate) folder: PathBuf,
    pub(crate) max_bytes: u64,
}

impl DeadLetters {
    /// Makes the description of a folder whose letters have 1 GiB together at most.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        DeadLetters { folder: folder.into(), max_bytes: DEFAULT_MAX_BYTES }
    }

    /// Sets the bytes that all letters in it may have together.
    #[must_use]
    pub fn max_bytes(self, max_bytes: u64) -> Self {
        DeadLetters { max_bytes, ..self }
    }
}

impl<P: Into<PathBuf>> From<P> for DeadLetters {
    fn from(folder: P) -> Self {
        DeadLetters::new(folder)
    }
}

/// A value that a dead letter may have: any that serde can write and read, and with the feature `processes` any that is
/// [`Transfer`](crate::processes). It is written as it crosses to a process, in a format without names: so only the type
/// that was written can be read.
pub trait Letter: Send + Sized + 'static {
    /// Writes the value.
    #[doc(hidden)]
    fn to_letter(&self) -> Result<Vec<u8>, BoxError>;

    /// Reads it again.
    #[doc(hidden)]
    fn from_letter(bytes: Vec<u8>) -> Result<Self, BoxError>;
}

#[cfg(processes)]
impl<T: crate::transfer::Transfer> Letter for T {
    fn to_letter(&self) -> Result<Vec<u8>, BoxError> {
        let mut bytes = vec![0; self.size()?];
        self.write(&mut bytes)?;
        Ok(bytes)
    }

    fn from_letter(bytes: Vec<u8>) -> Result<Self, BoxError> {
        T::read(bytes.into())
    }
}

#[cfg(not(processes))]
impl<T: Serialize + serde::de::DeserializeOwned + Send + 'static> Letter for T {
    fn to_letter(&self) -> Result<Vec<u8>, BoxError> {
        let mut bytes = vec![0; crate::wire::size(self)?];
        crate::wire::write(self, &mut bytes)?;
        Ok(bytes)
    }

    fn from_letter(bytes: Vec<u8>) -> Result<Self, BoxError> {
        Ok(crate::wire::read(&bytes)?)
    }
}

/// A type of values that can be written into letters.
#[derive(Clone, Copy)]
pub(crate) struct LetterType {
    id: fn() -> TypeId,
    name: fn() -> &'static str,
    write: fn(&dyn Any) -> Result<Vec<u8>, BoxError>,
}

impl fmt::Debug for LetterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LetterType").field(&(self.name)()).finish()
    }
}

impl LetterType {
    pub(crate) const fn of<T: Letter>() -> Self {
        LetterType {
            id: TypeId::of::<T>,
            name: type_name::<T>,
            write: |value| value.downcast_ref::<T>().ok_or("it is of another type")?.to_letter(),
        }
    }
}

/// The first line of a letter, the same in Rust and in Python.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    stage: String,
    number: u64,
    part: u64,
    source: Option<String>,
    fate: crate::report::Fate,
    error: Option<String>,
    /// The type of the error, where the language has one for each.
    error_type: Option<String>,
    /// The type of the value; none where that was not there any more.
    r#type: Option<String>,
    /// The format in which the value is.
    format: Option<String>,
    /// Seconds since 1970.
    time: f64,
}

/// The format of a value from Rust.
const FORMAT: &str = "postcard";
