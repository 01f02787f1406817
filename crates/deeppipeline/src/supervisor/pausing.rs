//! Pauses: a stage takes nothing until it is resumed, and the buffer in front of it goes on as ever.

use super::Supervisor;
use crate::error::UnknownStage;
use crate::phase::Phase;
use crate::worker::Role;

impl<V: Send + 'static> Supervisor<V> {
    /// Lets the stage of that name, or what stands at the entrance, take nothing until it is resumed. Once the pipeline
    /// drains, or has stopped, it does nothing.
    ///
    /// # Errors
    /// An error if there is no stage of that name.
    pub fn pause(&self, stage: Option<&str>) -> Result<(), UnknownStage> {
        let nodes = self.nodes_of(stage)?;
        let mut paused = self.paused.lock();
        // What stops the pipeline says so before it ends all pauses, for which it needs the lock.
        if matches!(self.state.lock().phase, Phase::Starting | Phase::Running) {
            nodes.iter().for_each(|index| self.inlets[*index].buffer.set_paused(true));
            paused.extend(nodes);
            self.notices.mark(format!("{} paused", stage.unwrap_or("the entrance is")));
        }
        Ok(())
    }

    /// Lets the stage of that name, or what stands at the entrance, take samples again.
    ///
    /// # Errors
    /// An error if there is no stage of that name.
    pub fn resume(&self, stage: Option<&str>) -> Result<(), UnknownStage> {
        let nodes = self.nodes_of(stage)?;
        let mut paused = self.paused.lock();
        for index in nodes.into_iter().filter(|index| paused.remove(index)) {
            self.notices.mark(format!("{} goes on", stage.unwrap_or("the entrance")));
            self.inlets[index].buffer.set_paused(false);
        }
        Ok(())
    }

    /// Lets every stage take samples again, in a pipeline that stops.
    pub(super) fn end_pauses(&self) {
        let mut paused = self.paused.lock();
        for index in std::mem::take(&mut *paused) {
            self.inlets[index].buffer.set_paused(false);
        }
    }

    pub(super) fn is_paused(&self, index: usize) -> bool {
        self.paused.lock().contains(&index)
    }

    /// The nodes that a name stands for, or none: those at the entrance.
    pub(super) fn nodes_of(&self, stage: Option<&str>) -> Result<Vec<usize>, UnknownStage> {
        let Some(wanted) = stage else { return Ok(self.entrances()) };
        let stages = || (0..self.inlets.len()).filter(|index| self.layout.nodes[*index].role != Role::Relay);
        let found: Vec<usize> = stages().filter(|index| self.stage_name(*index) == wanted).collect();
        match found.is_empty() {
            true => Err(UnknownStage {
                got: wanted.to_owned(),
                known: stages().map(|index| self.stage_name(index).to_owned()).collect(),
            }),
            false => Ok(found),
        }
    }
}
