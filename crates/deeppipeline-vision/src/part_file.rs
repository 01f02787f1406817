//! Files that appear under their name only when they are whole.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

/// The reason why an output file cannot be written.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The place cannot be written to.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file that was asked for.
        path: PathBuf,
        /// The obstacle.
        reason: String,
    },
    /// There is no `ffmpeg` program.
    #[error(transparent)]
    Ffmpeg(#[from] crate::ffmpeg::FfmpegError),
}

/// A file written under another name beside its place (`.NAME.XXXXXX.part`); it goes away unless it is
/// [kept](PartFile::keep).
///
/// The name is new and not to be guessed, so no link that was left there is written through, and two runs do not write
/// into each other's part.
#[derive(Debug)]
pub(crate) struct PartFile {
    target: PathBuf,
    part: TempPath,
}

impl PartFile {
    /// Creates the empty part file, so that a folder that cannot be written to is noticed before any work is done.
    pub(crate) fn create(target: &Path) -> Result<(Self, File), OutputError> {
        let error = |reason: String| OutputError::Write { path: target.to_owned(), reason };
        let Some(name) = target.file_name() else { return Err(error("it names no file".into())) };
        if target.is_dir() {
            return Err(error("it is a folder".into()));
        }
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".part");
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Created as any new file is: a temporary file would be its owner's alone, also under its final name.
        let created = builder.make_in(folder, |part| File::create_new(part));
        let (file, part) = created.map_err(|cause| error(cause.to_string()))?.into_parts();
        Ok((Self { target: target.to_owned(), part }, file))
    }

    /// The file that the bytes go to meanwhile.
    pub(crate) fn path(&self) -> &Path {
        &self.part
    }

    /// An error about this file.
    pub(crate) fn error(&self, reason: impl std::fmt::Display) -> OutputError {
        OutputError::Write { path: self.target.clone(), reason: reason.to_string() }
    }

    /// The file is whole: gives it its name. If that is refused, the part stays where it is, and the error names it.
    pub(crate) fn keep(self) -> Result<(), OutputError> {
        let Self { target, part } = self;
        part.persist(&target).map_err(|refused| {
            let kept = refused.path.to_path_buf();
            let reason = match refused.path.keep() {
                Ok(_) => format!("{}; what was written is kept as {}", refused.error, kept.display()),
                Err(_) => refused.error.to_string(),
            };
            OutputError::Write { path: target, reason }
        })
    }
}
