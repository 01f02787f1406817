//! The folder that keeps what failed or was lost.

use super::{Builder, Described};
use crate::dead_letters::{DeadLetters, Writer};
use crate::error::GraphError;
use crate::retry::Kept;

impl<I, T> Builder<I, T> {
    /// Keeps every sample on which a stage fails for good, or that a process took with it when it died, in a folder: of an
    /// isolated stage with what had come there, of a stage on a thread if it [keeps](Described::keep_failed) what it fails
    /// on, otherwise without its value. [`replay`](crate::report::replay) reads them again. The folder is made when the
    /// first is written; [`DeadLetters`] says how many bytes all may have together.
    ///
    /// What cannot be written is logged, once a minute at most, and the pipeline goes on. The letters are written on the
    /// thread of [`on_fate`](Builder::on_fate), and those that are missed are counted [there](crate::Report::fates_missed).
    pub fn dead_letters(mut self, folder: impl Into<DeadLetters>) -> Self {
        self.dead_letters = Some(folder.into());
        self
    }

    /// Lets dead letters be written before the program's function hears of a sample, where they are wanted; true where it
    /// is only for them.
    pub(super) fn with_dead_letters(mut self) -> Result<(Self, bool), GraphError> {
        let Some(to) = self.dead_letters.take() else { return Ok((self, false)) };
        if to.folder.as_os_str().is_empty() {
            return Err(GraphError::NoDeadLetterFolder);
        }
        if to.max_bytes == 0 {
            return Err(GraphError::DeadLetterBytesZero);
        }
        let only_failures = self.on_fate.is_none();
        let mut writer = Writer::new(to, std::mem::take(&mut self.parts.letters));
        let mut on_fate = self.on_fate.take();
        self.on_fate = Some(Box::new(move |event| {
            writer.write(&event);
            if let Some(on_fate) = &mut on_fate {
                on_fate(event);
            }
        }));
        self.graph.fates = true;
        Ok((self, only_failures))
    }
}

impl<O, N, E> Described<O, N, E> {
    /// Keeps a copy of each sample until the stage has done with it, so that [`on_fate`](Builder::on_fate) and
    /// [`dead_letters`](Builder::dead_letters) have what it failed on: the stage takes the original, and may do with that
    /// what it likes. A sample must be `Clone`, and one that serde can write and read.
    ///
    /// What an isolated stage fails on is kept anyway. A stage whose lists are no [`Batch`](crate::Batch) is refused: in
    /// them no sample fails alone.
    pub fn keep_failed(self) -> Described<O, N, Kept<E>> {
        let Described { origin, intake, on_error, name, node } = self;
        Described { origin, intake, on_error: Kept(on_error), name, node }
    }
}
