//! Finding and starting the `ffmpeg` program, which reads and writes every video here; nothing is linked.

mod header;
mod inherited;
mod log;
mod nut;
mod process;
mod signals;

pub(crate) use header::Header;
pub(crate) use inherited::FilterPipe;
#[cfg(unix)]
pub(crate) use inherited::StandardInput;
pub(crate) use log::{Log, Said};
pub(crate) use nut::NutReader;
pub(crate) use process::Process;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::locate;

/// The reason why there is no `ffmpeg` to work with.
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
        /// The reason of the failure.
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

    /// A command that leaves the terminal alone: no questions, no keys, and Ctrl-C does not reach it.
    pub(crate) fn command(&self) -> Command {
        quiet(Command::new(&self.program))
    }

    /// The same for one that might wait without end: what it holds at its standard input is its lifeline, and when that
    /// is cut, because its owner let go of it or died, however that came about, it ends.
    ///
    /// A shell stands between the two, as ffmpeg itself does not look at its input while it waits for a camera. Where
    /// there is no shell, ffmpeg has no lifeline. (A parent-death signal would do without a shell, but comes also when
    /// only the thread that started ffmpeg ends.)
    pub(crate) fn command_with_lifeline(&self) -> Command {
        const SHELL: &str = "/bin/sh";
        // ffmpeg alone holds its output and log, so that they end with it. Its status is the shell's. The first signal is
        // for what a script around ffmpeg may have started, and none of those that all of them are deaf to.
        // The shell ignores them all, as some shells unblock what is blocked when they wait.
        const GUARD: &str = "\"$@\" </dev/null & trap '' HUP INT QUIT USR1 USR2 TERM ALRM; exec >/dev/null 2>&1; \
                             read -r end; kill -s ALRM 0; kill -9 $!; wait $!";
        if !Path::new(SHELL).exists() {
            return self.command();
        }
        let mut shell = Command::new(SHELL);
        shell.args(["-c", GUARD, "sh"]).arg(&self.program).stdin(Stdio::piped());
        quiet(shell)
    }

    /// The option that reads the description of the filters, from where the argument behind it says.
    pub(crate) fn filters_from(&self) -> &'static str {
        let old = self.version.is_some_and(|version| version < (7, 0));
        if old { "-filter_script:v" } else { "-/filter:v" }
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

fn quiet(mut command: Command) -> Command {
    command.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"]);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

fn from_python() -> Option<PathBuf> {
    let folders = locate::site_packages().iter().map(|folder| folder.join("imageio_ffmpeg").join("binaries"));
    folders.into_iter().find_map(|folder| locate::file_starting(&folder, "ffmpeg-"))
}

/// The answer of the program; its status is of no interest, and may be lost where a program ignores `SIGCHLD`.
fn ask(program: &Path, arguments: &[&str]) -> Result<String, FfmpegError> {
    let unusable =
        |error: std::io::Error| FfmpegError::Unusable { program: program.to_owned(), reason: error.to_string() };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = signals::spawn(&mut command).map_err(unusable)?;
    let mut answer = Vec::new();
    let read = child.stdout.take().map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut answer));
    let _ = child.wait();
    read.map_err(unusable)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
