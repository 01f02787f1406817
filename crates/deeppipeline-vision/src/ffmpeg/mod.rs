//! Finding and starting the `ffmpeg` program, which reads and writes every video here; nothing is linked.

mod header;
mod log;
mod process;

pub(crate) use log::{FrameInfo, Log};
pub(crate) use process::Process;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::locate;

/// Why there is no `ffmpeg` to work with.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum FfmpegError {
    /// None was found.
    #[error(
        "no ffmpeg found: `apt install ffmpeg` or `pip install imageio-ffmpeg`, or name the program in DEEPPIPELINE_FFMPEG"
    )]
    Missing,
    /// One was found, but it cannot be started or is no ffmpeg.
    #[error("cannot run {program} as ffmpeg: {reason}")]
    Unusable {
        /// The program.
        program: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// An `ffmpeg` program that was found and answered.
pub(crate) struct Ffmpeg {
    program: PathBuf,
    /// Major and minor version; `None` for a build from an unreleased state, which is taken as new.
    version: Option<(u32, u32)>,
}

impl Ffmpeg {
    /// Finds the program: `DEEPPIPELINE_FFMPEG`, then `PATH`, then the Python package `imageio-ffmpeg`.
    pub(crate) fn find() -> Result<Self, FfmpegError> {
        let program = locate::from_variable("DEEPPIPELINE_FFMPEG")
            .or_else(|| locate::on_path("ffmpeg"))
            .or_else(from_python)
            .ok_or(FfmpegError::Missing)?;
        let banner = ask(&program, &["-version"])?;
        let Some(rest) = banner.strip_prefix("ffmpeg version ") else {
            return Err(FfmpegError::Unusable { program, reason: "it does not answer `-version`".into() });
        };
        let version = header::version(rest);
        Ok(Self { program, version })
    }

    /// A command that leaves the terminal alone: no questions, no keys, and Ctrl-C does not reach it, so that a pipeline
    /// that is told to stop can still drain.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"]);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// The options that make it pass every picture on once, at its own time; they were renamed in 5.1.
    pub(crate) fn pass_through(&self) -> [&'static str; 2] {
        let old = self.version.is_some_and(|version| version < (5, 1));
        [if old { "-vsync" } else { "-fps_mode" }, "passthrough"]
    }

    /// Tells whether it can encode with the named encoder.
    pub(crate) fn has_encoder(&self, name: &str) -> bool {
        ask(&self.program, &["-hide_banner", "-encoders"])
            .is_ok_and(|list| list.lines().any(|line| line.split_whitespace().nth(1) == Some(name)))
    }
}

fn from_python() -> Option<PathBuf> {
    let folders = locate::site_packages().iter().map(|folder| folder.join("imageio_ffmpeg").join("binaries"));
    folders.into_iter().find_map(|folder| locate::file_starting(&folder, "ffmpeg-"))
}

fn ask(program: &Path, arguments: &[&str]) -> Result<String, FfmpegError> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| FfmpegError::Unusable { program: program.to_owned(), reason: error.to_string() })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
