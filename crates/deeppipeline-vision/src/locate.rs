//! Where programs and libraries that are not linked are found.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The file an environment variable names, if it is set and not empty.
pub(crate) fn from_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A program of that name on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_program(file))
}

/// The first file in `folder` whose name starts with `start`, in alphabetical order.
pub(crate) fn file_starting(folder: &Path, start: &str) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)))
        .collect();
    found.sort();
    found.into_iter().next()
}

/// The folders where pip puts packages: the active virtual environment first, then what `python3` on `PATH` looks through.
pub(crate) fn site_packages() -> &'static [PathBuf] {
    static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOLDERS.get_or_init(|| {
        let mut folders = Vec::new();
        for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
            if let Some(library) = from_variable(variable).map(|root| root.join("lib"))
                && let Ok(entries) = std::fs::read_dir(library)
            {
                folders
                    .extend(entries.flatten().map(|entry| entry.path().join("site-packages")).filter(|p| p.is_dir()));
            }
        }
        folders.extend(python_path());
        folders
    })
}

/// What the `python3` on `PATH` has as its module search path; nothing without a Python.
fn python_path() -> Vec<PathBuf> {
    let output = Command::new("python3")
        .args(["-c", "import sys; print('\\n'.join(p for p in sys.path if p))"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).filter(|path| path.is_dir()).collect()
}

#[cfg(unix)]
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(file: &Path) -> bool {
    file.is_file()
}
