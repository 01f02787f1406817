//! Where results go. They are written beside their place and moved there only when the whole run has succeeded, so
//! that nothing half-written looks whole.

use deeppipeline::BoxError;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The two files of one run.
pub(crate) struct Output {
    folder: PathBuf,
    stem: String,
    /// In the same folder, so that moving out of it cannot fail half-way.
    unfinished: TempDir,
}

impl Output {
    /// A place for the results of `input`. Fails where the folder cannot be written.
    pub(crate) fn create(folder: &Path, input: &str) -> Result<Self, BoxError> {
        fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
        Output::scratch(folder, input)
    }

    /// The same for results that nobody wants to keep.
    pub(crate) fn scratch(folder: &Path, input: &str) -> Result<Self, BoxError> {
        let unfinished = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(folder);
        let unfinished = unfinished.map_err(|error| cannot_write(folder, &error))?;
        Ok(Output { folder: folder.to_owned(), stem: stem(input), unfinished })
    }

    /// Where the annotated video is written.
    pub(crate) fn video(&self) -> PathBuf {
        self.unfinished.path().join("video.mp4")
    }

    /// Where the JSON lines are written.
    pub(crate) fn jsonl(&self) -> PathBuf {
        self.unfinished.path().join("tracks.jsonl")
    }

    /// The run has succeeded: the files get their names.
    pub(crate) fn keep(&self) -> Result<(PathBuf, PathBuf), BoxError> {
        let [video, jsonl] = self.places("behaviour");
        for (from, to) in [(self.video(), &video), (self.jsonl(), &jsonl)] {
            fs::rename(from, to).map_err(|error| cannot_write(to, &error))?;
        }
        Ok((video, jsonl))
    }

    /// The run has failed: what there is gets a name that says so.
    pub(crate) fn keep_partial(&self, worth_keeping: bool) -> Option<PathBuf> {
        if !worth_keeping {
            return None;
        }
        let [video, jsonl] = self.places("behaviour.partial");
        // One of the two is missing where its writer failed.
        let mut kept = vec![(self.video(), video), (self.jsonl(), jsonl)];
        kept.retain(|(from, to)| fs::rename(from, to).is_ok());
        kept.into_iter().next().map(|(_, to)| to)
    }

    fn places(&self, name: &str) -> [PathBuf; 2] {
        ["mp4", "jsonl"].map(|ending| self.folder.join(format!("{}.{name}.{ending}", self.stem)))
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> BoxError {
    format!("cannot write to {}: {error}", path.display()).into()
}

/// `park` for `clips/park.mp4`, something usable for an address.
fn stem(input: &str) -> String {
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

    #[test]
    fn of_a_run_that_failed_what_there_is_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::create(folder.path(), "park.mp4").unwrap();
        assert_eq!(output.keep_partial(true), None);
        fs::write(output.jsonl(), "a line").unwrap();
        assert_eq!(output.keep_partial(true), Some(folder.path().join("park.behaviour.partial.jsonl")));
    }

    #[test]
    fn nothing_is_left_of_a_run_that_nobody_keeps() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::create(folder.path(), "park.mp4").unwrap();
        fs::write(output.video(), "half").unwrap();
        drop(output);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
