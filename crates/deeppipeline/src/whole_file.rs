//! Files that have their name only once they are whole, whatever happens to the program that writes them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The end of the name of a file that is being written.
const UNFINISHED: &str = ".tmp";

/// The time after which nobody writes a file any more.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// Writes a file of that name, and returns its path.
pub(crate) fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> io::Result<PathBuf> {
    let (unfinished, path) = (folder.join(format!(".{name}{UNFINISHED}")), folder.join(name));
    let whole = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &path));
    if whole.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    whole.map(|()| path)
}

/// Returns the files in a folder that have such names, in the order of these.
pub(crate) fn list(folder: &Path, is_one: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(&is_one) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Removes what nobody writes any more of the files that were to have such names, since its process was killed.
pub(crate) fn remove_abandoned(folder: &Path, is_one: impl Fn(&str) -> bool) -> io::Result<()> {
    let unfinished =
        |name: &str| name.strip_prefix('.').and_then(|name| name.strip_suffix(UNFINISHED)).is_some_and(&is_one);
    for path in list(folder, unfinished)? {
        let written = fs::symlink_metadata(&path).and_then(|about| about.modified());
        if written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED_AFTER)) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a file, which another may have done before.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
