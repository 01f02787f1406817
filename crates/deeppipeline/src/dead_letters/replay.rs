//! The way back: dead letters are read, for the program to put each in again where it belongs.

use super::writer::letters;
use super::{FORMAT, Header, Letter};
use crate::error::DeadLetterError;
use crate::report::Fate;
use crate::sample::SampleId;
use crate::unwind::catch_panic;
use crate::whole_file::remove;
use std::any::type_name;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A sample that was kept: what became of it, and what the stage had got.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The stage that failed on it, or whose process died with it.
    pub stage: String,
    /// The identity that it had.
    pub sample: SampleId,
    /// The source or entrance that it had come from, if that had a name.
    pub source: Option<String>,
    /// The way in which it ended: [`Fate::Failed`] or [`Fate::Lost`].
    pub fate: Fate,
    /// The text of the error.
    pub error: Option<String>,
    /// The name of the type of the value; none where that was not there any more.
    pub type_name: Option<String>,
    /// The time when it was written.
    pub time: SystemTime,
    /// The file.
    pub path: PathBuf,
    format: Option<String>,
    payload: Vec<u8>,
}

impl DeadLetter {
    /// Reads what the stage had got. Nothing but the type's own `Deserialize` runs, so a folder need not be trusted more
    /// than any other input.
    ///
    /// # Errors
    /// An error where the letter has no value, one of another type, or bytes that are none.
    pub fn value<T: Letter>(&self) -> Result<T, DeadLetterError> {
        let (path, wants) = (self.path.clone(), type_name::<T>());
        let (Some(has), Some(format)) = (&self.type_name, &self.format) else {
            return Err(DeadLetterError::NoValue { path });
        };
        if format != FORMAT {
            return Err(DeadLetterError::OtherFormat { path, format: format.clone() });
        }
        if has != wants {
            return Err(DeadLetterError::OtherType { path, has: has.clone(), wants });
        }
        catch_panic(|| T::from_letter(self.payload.clone()))
            .map_err(|cause| DeadLetterError::Unreadable { path, why: cause.to_string() })
    }

    /// Removes the file, once the sample is where it belongs.
    ///
    /// # Errors
    /// The error of the operating system, but none where the file is gone already.
    pub fn remove(self) -> io::Result<()> {
        remove(&self.path)
    }

    fn read(path: PathBuf, content: Vec<u8>) -> Result<Self, DeadLetterError> {
        let mut parts = content.splitn(2, |byte| *byte == b'\n');
        let header = serde_json::from_slice(parts.next().unwrap_or_default());
        let header: Header = match header {
            Ok(header) => header,
            Err(why) => return Err(DeadLetterError::Unreadable { path, why: why.to_string() }),
        };
        let since = Duration::try_from_secs_f64(header.time).unwrap_or(Duration::ZERO);
        Ok(DeadLetter {
            stage: header.stage,
            sample: SampleId { number: header.number, part: header.part },
            source: header.source,
            fate: header.fate,
            error: header.error,
            type_name: header.r#type,
            time: UNIX_EPOCH + since,
            path,
            format: header.format,
            payload: parts.next().unwrap_or_default().to_vec(),
        })
    }
}

/// Gives out the samples that were kept in a folder, oldest first, for the caller to put in again where it sees fit. A
/// dead letter is what the failed stage had got, which is what its pipeline takes only where that stage is the first.
///
/// ```
/// use deeppipeline::report::replay;
/// use deeppipeline::{OnError, Pipeline, stage};
///
/// # let folder = std::env::temp_dir().join(format!("doc of replay {}", std::process::id()));
/// let parse = |text: String| text.parse::<i32>().map(|number| println!("{number}"));
/// let pipeline = Pipeline::builder()
///     .dead_letters(&folder)
///     .end_stage(stage(parse).name("parse").on_error(OnError::Skip).keep_failed())
///     .start()?;
/// pipeline.put("one".to_owned())?;
/// pipeline.setstop()?;
///
/// for letter in replay(&folder)? {
///     let letter = letter?;
///     assert_eq!((letter.stage.as_str(), letter.value::<String>()?), ("parse", "one".to_owned()));
///     letter.remove()?;
/// }
/// # std::fs::remove_dir(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A letter that cannot be read, as its file was cut off, is an error of the iterator, which goes on with the next; its
/// file stays. A file that disappears meanwhile is passed over.
///
/// # Errors
/// An error for a folder that cannot be read.
pub fn replay(folder: impl AsRef<Path>) -> Result<Replay, DeadLetterError> {
    let folder = folder.as_ref();
    match letters(folder) {
        Ok(paths) => Ok(Replay { paths: paths.into_iter() }),
        Err(cause) => Err(DeadLetterError::Folder { folder: folder.to_owned(), cause }),
    }
}

/// The iterator over the letters of a folder.
#[derive(Debug)]
pub struct Replay {
    paths: std::vec::IntoIter<PathBuf>,
}

impl Iterator for Replay {
    type Item = Result<DeadLetter, DeadLetterError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let path = self.paths.next()?;
            match fs::read(&path) {
                Ok(content) => return Some(DeadLetter::read(path, content)),
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Some(Err(DeadLetterError::Unreadable { path, why: cause.to_string() })),
            }
        }
    }
}
