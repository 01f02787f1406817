//! The search for programs and libraries that are not linked.
//!
//! Nothing is taken from the current folder unless the user names it: it may be a download folder or a stranger's
//! project. So entries of search paths that are empty or relative, which mean that folder, are passed over.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The file an environment variable names, if it is set and not empty.
pub(crate) fn from_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A program of that name on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    absolute_entries("PATH").map(|folder| folder.join(program)).find(|file| is_program(file))
}

/// The folders of a search path that do not depend on the current one.
fn absolute_entries(variable: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os(variable).unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    folders.into_iter()
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

/// The folders where pip puts packages: the active virtual environment first, then what `python3` on `PATH` looks
/// through.
pub(crate) fn site_packages() -> &'static [PathBuf] {
    static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOLDERS.get_or_init(|| {
        let mut folders = Vec::new();
        for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
            if let Some(library) =
                from_variable(variable).filter(|root| root.is_absolute()).map(|root| root.join("lib"))
                && let Ok(entries) = std::fs::read_dir(library)
            {
                folders
                    .extend(entries.flatten().map(|entry| entry.path().join("site-packages")).filter(|p| p.is_dir()));
            }
        }
        folders.extend(absolute_entries("PYTHONPATH"));
        folders.extend(python_path());
        folders
    })
}

/// The module search path of the `python3` on `PATH`, without `PYTHONPATH`; empty without a Python.
fn python_path() -> Vec<PathBuf> {
    // Isolated (-I), since an interpreter runs the `sitecustomize` it finds on the way, and an empty entry of PYTHONPATH
    // would have it find one in the current folder. That leaves out the user's own packages too, so they are asked for.
    let output = on_path("python3").map(|python| {
        Command::new(python)
            .args(["-I", "-c", "import site, sys; print(*sys.path, site.getusersitepackages(), sep='\\n')"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
    });
    let Some(Ok(output)) = output else { return Vec::new() };
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
