//! What may be wrong with a dead letter.

use std::io;
use std::path::PathBuf;

/// A dead letter, or a folder of such, that cannot be read.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// The folder cannot be read.
    #[error("the folder {folder:?} cannot be read")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// The file is no letter, or was cut off.
    #[error("{path:?} is no dead letter, or cannot be made again here, and stays where it is: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The letter has no value: that was not there any more, or of a type that is not kept.
    #[error("the dead letter {path:?} has no value: a stage on a thread keeps what it fails on with keep_failed")]
    NoValue {
        /// The file.
        path: PathBuf,
    },
    /// The value is in a format of another language.
    #[error("the value of the dead letter {path:?} is {format}, which Rust does not read")]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// The format.
        format: String,
    },
    /// The value is of another type.
    #[error("the dead letter {path:?} has a {has}, not a {wants}")]
    OtherType {
        /// The file.
        path: PathBuf,
        /// The type of its value.
        has: String,
        /// The type that was asked for.
        wants: &'static str,
    },
}
