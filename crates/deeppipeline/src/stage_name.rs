//! The names of stages, as reports, errors and logs say them.

use std::collections::HashSet;
use std::sync::OnceLock;

/// The name of a stage, which its workers and the supervisor share.
#[derive(Debug)]
pub(crate) struct StageName {
    given: String,
    /// The name that the stage gives itself, where its worker has made it: from the moment that everything is up.
    own: OnceLock<String>,
}

impl StageName {
    pub(crate) fn new(given: &str) -> Self {
        StageName { given: given.to_owned(), own: OnceLock::new() }
    }

    /// Returns the name as it is known now.
    pub(crate) fn get(&self) -> &str {
        self.own.get().unwrap_or(&self.given)
    }
}

/// Gives stages that their workers have made the names that they have told. All at once and in their order, so that
/// names that come again have the same numbers in every run.
pub(crate) fn name_made_stages<'a>(names: impl Iterator<Item = &'a StageName> + Clone, told: &mut [Option<String>]) {
    let untold = names.clone().zip(&*told).filter(|(_, told)| told.is_none());
    let mut taken: HashSet<String> = untold.map(|(name, _)| name.get().to_owned()).collect();
    for (stage, told) in names.zip(told) {
        let Some(name) = told.take() else { continue };
        let numbered = (2..).map(|number| format!("{name} {number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
        let name = free.unwrap_or(name);
        taken.insert(name.clone());
        let _ = stage.own.set(name);
    }
}
