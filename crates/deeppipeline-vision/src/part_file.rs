//! Files that appear under their name only when they are whole.

use std::path::{Path, PathBuf};

/// Why an output file cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The place cannot be written to.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file that was asked for.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// There is no `ffmpeg` program.
    #[error(transparent)]
    Ffmpeg(#[from] crate::ffmpeg::FfmpegError),
}

/// A file written under another name beside its place (`.NAME.part`); it goes away unless it is [kept](PartFile::keep).
#[derive(Debug)]
pub(crate) struct PartFile {
    target: PathBuf,
    part: PathBuf,
    kept: bool,
}

impl PartFile {
    /// Creates the empty part file, so that a folder that cannot be written to is noticed before any work is done.
    pub(crate) fn create(target: &Path) -> Result<(Self, std::fs::File), OutputError> {
        let error = |reason: String| OutputError::Write { path: target.to_owned(), reason };
        let Some(name) = target.file_name() else { return Err(error("it names no file".into())) };
        if target.is_dir() {
            return Err(error("it is a folder".into()));
        }
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(".part");
        let part = target.with_file_name(part);
        let file = std::fs::File::create(&part).map_err(|cause| error(cause.to_string()))?;
        Ok((Self { target: target.to_owned(), part, kept: false }, file))
    }

    /// Where the bytes go meanwhile.
    pub(crate) fn path(&self) -> &Path {
        &self.part
    }

    /// An error about this file.
    pub(crate) fn error(&self, reason: impl std::fmt::Display) -> OutputError {
        OutputError::Write { path: self.target.clone(), reason: reason.to_string() }
    }

    /// The file is whole: gives it its name.
    pub(crate) fn keep(mut self) -> Result<(), OutputError> {
        std::fs::rename(&self.part, &self.target).map_err(|cause| self.error(cause))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.kept {
            // If even this fails, the name still says that it is only a part.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
