//! What becomes of cameras while the command runs, told as it is seen.

use crate::console::note;
use deeppipeline::Report;
use deeppipeline::report::SourceState;
use std::collections::HashMap;

/// What was told of each input: its state, and how often it was opened again.
#[derive(Default)]
pub(crate) struct Cameras(HashMap<String, (SourceState, u64)>);

impl Cameras {
    /// Tells what the report knows that was not told yet: who went away, or gives nothing, and who is back.
    pub(crate) fn tell(&mut self, report: &Report) {
        for source in &report.sources {
            let (name, state) = (&source.name, source.state);
            let now = (state, source.restarts);
            let before = self.0.insert(name.clone(), now);
            let (mut state_before, restarts_before) = before.unwrap_or((SourceState::Opening, 0));
            if source.restarts > restarts_before {
                // It may have gone away once more since.
                state_before = SourceState::Streaming;
                let why = source.last_error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
                note(format_args!("{name} was opened again, {} times so far{why}", source.restarts));
            }
            if state != state_before && matches!(state, SourceState::Waiting | SourceState::Stalled) {
                note(format_args!("{name} is {state}"));
            }
        }
    }
}
