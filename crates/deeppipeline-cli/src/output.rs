//! The files for results. They are written beside their place and moved there when the run has ended: under their name
//! when all of it has succeeded, else under one that says that they are partial. The results of an earlier run are
//! never replaced unless the user says so.

use deeppipeline::BoxError;
use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, TempPath};

/// The two files of one input. Dropped before they got a name, what is in them gets a name that says that it is partial.
pub(crate) struct Output {
    folder: PathBuf,
    stem: String,
    overwrite: bool,
    /// A folder in the same folder, so that moving out of it cannot fail half-way; `None` when it was left for the user
    /// to see to.
    unfinished: Option<TempDir>,
    video: PathBuf,
    jsonl: PathBuf,
    is_wanted: bool,
}

impl Output {
    /// A place for the results of each input. Fails where the folder cannot be written.
    pub(crate) fn create(folder: &Path, inputs: &[String], overwrite: bool) -> Result<Vec<Self>, BoxError> {
        fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
        // Inputs of the same name in different folders must not write over each other.
        let mut taken = HashSet::new();
        let stems = inputs.iter().map(|input| {
            let stem = stem(input);
            let numbered = (2..).map(|number| format!("{stem}_{number}"));
            let free = std::iter::once(stem.clone()).chain(numbered).find(|stem| !taken.contains(stem));
            let free = free.unwrap_or(stem);
            taken.insert(free.clone());
            free
        });
        stems.map(|stem| Output::open(folder, stem, overwrite, true)).collect()
    }

    /// The same for results of one input that are not to be kept.
    pub(crate) fn scratch(folder: &Path) -> Result<Self, BoxError> {
        Output::open(folder, "scratch".to_owned(), false, false)
    }

    fn open(folder: &Path, stem: String, overwrite: bool, is_wanted: bool) -> Result<Self, BoxError> {
        let unfinished = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(folder);
        let unfinished = unfinished.map_err(|error| cannot_write(folder, &error))?;
        Ok(Output {
            folder: folder.to_owned(),
            stem,
            overwrite,
            video: unfinished.path().join("video.mp4"),
            jsonl: unfinished.path().join("tracks.jsonl"),
            unfinished: Some(unfinished),
            is_wanted,
        })
    }

    /// The file that the annotated video is written to.
    pub(crate) fn video(&self) -> PathBuf {
        self.video.clone()
    }

    /// The file that the JSON lines are written to.
    pub(crate) fn jsonl(&self) -> PathBuf {
        self.jsonl.clone()
    }

    /// The run has succeeded: the files get their names. What cannot be moved stays where it is, and the error says
    /// where.
    pub(crate) fn keep(mut self) -> Result<Vec<PathBuf>, BoxError> {
        self.move_out("behaviour").map_err(|(place, error)| {
            let error = cannot_write(&place, &error);
            let left = self.unfinished.take().map(TempDir::keep);
            left.map_or(error.to_string(), |left| format!("{error}; the rest of the results is in {}", left.display()))
                .into()
        })
    }

    /// The run has failed, or was cut short: what there is gets a name that says so.
    pub(crate) fn keep_partial(mut self) -> Vec<PathBuf> {
        self.move_partial()
    }

    fn move_partial(&mut self) -> Vec<PathBuf> {
        self.move_out("behaviour.partial").unwrap_or_else(|_| {
            // No name can be had for them, so the folder is their name.
            self.unfinished.take().map(TempDir::keep).into_iter().collect()
        })
    }

    /// Moves what there is to names that are free; else gives the place that refused, and why.
    fn move_out(&self, name: &str) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
        let size = |path: &Path| path.metadata().map_or(0, |data| data.len());
        if size(&self.video) == 0 && size(&self.jsonl) == 0 {
            return Ok(Vec::new());
        }
        let mut number = 1;
        loop {
            let numbered = if number == 1 { name.to_owned() } else { format!("{name}.{number}") };
            if let Some(moved) = self.move_all(&numbered)? {
                return Ok(moved);
            }
            number += 1;
        }
    }

    /// Gives both files this name; `None` when one of the two is taken.
    fn move_all(&self, name: &str) -> Result<Option<Vec<PathBuf>>, (PathBuf, io::Error)> {
        let files = [(&self.video, "mp4"), (&self.jsonl, "jsonl")]
            .map(|(from, ending)| (from, self.folder.join(format!("{}.{name}.{ending}", self.stem))));
        if !self.overwrite && files.iter().any(|(_, to)| to.symlink_metadata().is_ok()) {
            return Ok(None);
        }
        let mut moved = Vec::new();
        // A writer that failed has left no file.
        for (from, to) in files.iter().filter(|(from, _)| from.exists()) {
            match self.move_to(from, to) {
                Ok(()) => moved.push((from, to)),
                // Another run was faster, just now: both files are to have the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    for (from, to) in moved {
                        fs::rename(to, from).map_err(|error| (to.clone(), error))?;
                    }
                    return Ok(None);
                }
                Err(error) => return Err((to.clone(), error)),
            }
        }
        Ok(Some(moved.into_iter().map(|(_, to)| to.clone()).collect()))
    }

    fn move_to(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.overwrite {
            return fs::rename(from, to);
        }
        TempPath::try_from_path(from)?.persist_noclobber(to).map_err(|refused| {
            // It is no temporary file: the folder goes away, or is left.
            let _ = refused.path.keep();
            refused.error
        })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.is_wanted && self.unfinished.is_some() {
            self.move_partial();
        }
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> BoxError {
    format!("cannot write to {}: {error}", path.display()).into()
}

/// `park` for `clips/park.mp4`, something usable for an address, without the name and password that it may contain.
fn stem(input: &str) -> String {
    let input = match input.split_once("://") {
        Some((_, rest)) => {
            let host = rest.find('/').map_or(rest, |end| &rest[..end]);
            &rest[host.rfind('@').map_or(0, |end| end + 1)..]
        }
        None => input,
    };
    let stem = Path::new(input).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let usable = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    match stem.trim_matches('.') {
        "" => "input".to_owned(),
        stem => stem.chars().map(usable).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_named_after_the_input() {
        assert_eq!(stem("clips/park.mp4"), "park");
        assert_eq!(stem("/dev/video0"), "video0");
        assert_eq!(stem("rtsp://camera.local/live?channel=1"), "live_channel_1");
        assert_eq!(stem(".."), "input");
    }

    fn create(folder: &Path, overwrite: bool) -> Output {
        Output::create(folder, &["park.mp4".to_owned()], overwrite).unwrap().remove(0)
    }

    #[test]
    fn inputs_of_the_same_name_have_results_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = ["a/park.mp4", "b/park.mp4", "park_2.mp4", "c/park.mp4"].map(str::to_owned);
        let outputs = Output::create(folder.path(), &inputs, true).unwrap();
        let stems: Vec<&str> = outputs.iter().map(|output| output.stem.as_str()).collect();
        assert_eq!(stems, ["park", "park_2", "park_2_2", "park_3"]);
    }

    fn output(folder: &Path, overwrite: bool) -> Output {
        let output = create(folder, overwrite);
        fs::write(output.video(), "pictures").unwrap();
        fs::write(output.jsonl(), "lines").unwrap();
        output
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_password_in_an_address_does_not_get_into_the_name() {
        assert_eq!(stem("rtsp://me:secret@camera.local"), "camera");
        assert_eq!(stem("rtsp://me:p@ss@camera:554/"), "camera_554");
        assert_eq!(stem("rtsp://camera.local/live@1"), "live_1");
    }

    #[test]
    fn results_of_the_same_name_are_numbered_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("park.behaviour.jsonl"), "of somebody else").unwrap();
        let kept = output(folder.path(), false).keep().unwrap();
        assert_eq!(kept, ["mp4", "jsonl"].map(|ending| folder.path().join(format!("park.behaviour.2.{ending}"))));
        output(folder.path(), false).keep().unwrap();
        output(folder.path(), false).keep_partial();
        output(folder.path(), false).keep_partial();
        let wanted = ["2.jsonl", "2.mp4", "3.jsonl", "3.mp4", "jsonl", "partial.2.jsonl", "partial.2.mp4"];
        let wanted = wanted.into_iter().chain(["partial.jsonl", "partial.mp4"]);
        assert_eq!(names(folder.path()), wanted.map(|rest| format!("park.behaviour.{rest}")).collect::<Vec<_>>());
        assert_eq!(fs::read_to_string(folder.path().join("park.behaviour.jsonl")).unwrap(), "of somebody else");
    }

    #[test]
    fn results_are_replaced_where_the_user_says_so() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("park.behaviour.jsonl"), "old").unwrap();
        output(folder.path(), true).keep().unwrap();
        assert_eq!(names(folder.path()), ["park.behaviour.jsonl", "park.behaviour.mp4"]);
        assert_eq!(fs::read_to_string(folder.path().join("park.behaviour.jsonl")).unwrap(), "lines");
    }

    #[test]
    fn of_two_files_the_one_that_cannot_be_moved_is_left_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let output = output(folder.path(), true);
        let unfinished = output.jsonl().parent().unwrap().to_owned();
        // A folder of that name is what a file cannot replace.
        fs::create_dir(folder.path().join("park.behaviour.jsonl")).unwrap();
        let error = output.keep().unwrap_err().to_string();
        assert!(error.contains("park.behaviour.jsonl"), "{error}");
        assert!(error.contains(&*unfinished.to_string_lossy()), "{error}");
        assert_eq!(fs::read_to_string(unfinished.join("tracks.jsonl")).unwrap(), "lines");
        assert_eq!(fs::read_to_string(folder.path().join("park.behaviour.mp4")).unwrap(), "pictures");
    }

    #[test]
    fn of_a_run_that_failed_what_there_is_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let output = create(folder.path(), false);
        fs::write(output.jsonl(), "a line").unwrap();
        assert_eq!(output.keep_partial(), [folder.path().join("park.behaviour.partial.jsonl")]);
        assert_eq!(names(folder.path()), ["park.behaviour.partial.jsonl"]);
    }

    #[test]
    fn of_a_run_that_nobody_has_ended_what_there_is_is_kept_too() {
        let folder = tempfile::tempdir().unwrap();
        drop(output(folder.path(), false));
        assert_eq!(names(folder.path()), ["park.behaviour.partial.jsonl", "park.behaviour.partial.mp4"]);
    }

    #[test]
    fn nothing_is_left_of_a_run_that_wrote_nothing_or_that_nobody_wants_to_keep() {
        let folder = tempfile::tempdir().unwrap();
        let output = create(folder.path(), false);
        fs::write(output.jsonl(), "").unwrap();
        assert_eq!(output.keep_partial(), [""; 0].map(PathBuf::from));
        let output = Output::scratch(folder.path()).unwrap();
        fs::write(output.video(), "half").unwrap();
        drop(output);
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
