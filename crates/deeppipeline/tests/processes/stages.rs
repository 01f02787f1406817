//! The stages of these tests.

use deeppipeline::{BoxError, Give, Isolated, Stage};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

/// What makes a worker of the test program.
pub(crate) const ARGUMENTS: [&str; 4] = ["--exact", "become_a_worker", "--nocapture", "--quiet"];

pub(crate) struct Double;

impl Stage for Double {
    type Input = i64;
    type Output = i64;
    fn stage_run(&mut self, x: i64) -> Result<Give<i64>, BoxError> {
        Ok(Give::One(2 * x))
    }
}

impl Isolated for Double {
    const NAME: &str = "double";
    type Settings = ();
    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Double)
    }
}

/// Writes what it gets into a file, a line each.
pub(crate) struct Keep(File);

impl Stage for Keep {
    type Input = i64;
    type Output = ();
    fn stage_run(&mut self, x: i64) -> Result<Give<()>, BoxError> {
        writeln!(self.0, "{x}")?;
        Ok(Give::One(()))
    }
}

impl Isolated for Keep {
    const NAME: &str = "keep";
    type Settings = PathBuf;
    fn make(path: PathBuf) -> Result<Self, BoxError> {
        Ok(Keep(OpenOptions::new().create(true).append(true).open(path)?))
    }
}

pub(crate) struct Sum;

impl Stage for Sum {
    type Input = Vec<i64>;
    type Output = i64;
    fn stage_run(&mut self, list: Vec<i64>) -> Result<Give<i64>, BoxError> {
        Ok(Give::One(list.iter().sum()))
    }
}

impl Isolated for Sum {
    const NAME: &str = "sum";
    type Settings = ();
    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Sum)
    }
}

pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("deeppipeline-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

pub(crate) fn kept(path: &PathBuf) -> Vec<i64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let _ = std::fs::remove_file(path);
    text.lines().map(|line| line.parse().unwrap()).collect()
}
