//! The flush: an exact cut through the pipeline, at what has entered by now, by any source or by one.

use super::Supervisor;
use super::Waiting;
use super::stopping::{NotDone, Patience};
#[cfg(processes)]
use crate::buffer::HearsEnds;
use crate::buffer::Wait;
use crate::cuts::Cut;
use crate::error::EntranceError;
use crate::graph::{Flow, MAX_ENTRANCES};
use crate::source_id::SourceId;
use std::time::Duration;

impl<V: Send + 'static> Supervisor<V> {
    /// Gives up all that has entered by now, wherever it is: what waits leaves as flushed, and so does what stages still
    /// give of it. What the end stages work on is waited for by [`wait_flushed`](Supervisor::wait_flushed).
    pub fn flush(&self) {
        self.notices.mark("flush".to_owned());
        let given_up = self.cut(None, &mut self.cutting.lock());
        self.end_flush(given_up);
    }

    /// Does so with what has entered by one source or entrance; what others gave is untouched.
    ///
    /// # Errors
    /// A name that none has, or samples of too many flushed sources that are still in work.
    pub fn flush_source(&self, name: &str) -> Result<(), EntranceError> {
        let source = self.source_to_flush(name)?;
        self.notices.mark(format!("flush of {name}"));
        let mut known = self.cutting.lock();
        if !known.contains(&source) && known.len() == MAX_ENTRANCES {
            self.forget_cuts(&mut known);
            if known.len() == MAX_ENTRANCES {
                return Err(EntranceError::TooManyFlushed { most: MAX_ENTRANCES });
            }
        }
        let given_up = self.cut(Some(source), &mut known);
        drop(known);
        self.end_flush(given_up);
        Ok(())
    }

    /// Forgets the flushes of sources of which nothing is in work any more: nothing from before them comes in anywhere.
    fn forget_cuts(&self, known: &mut Vec<SourceId>) {
        let joins = || (0..self.layout.blocks.len()).map(|block| self.blocks.join(block));
        known.retain(|source| {
            let is_in_work = self.inlets.iter().any(|inlet| !inlet.buffer.has_landed(*source))
                || joins().any(|join| !join.has_landed(*source));
            if !is_in_work {
                self.inlets.iter().for_each(|inlet| inlet.buffer.forget_cut(*source));
                joins().for_each(|join| join.forget_cut(*source));
            }
            is_in_work
        });
    }

    /// Cuts all buffers, and returns what they gave up. The sources of whose flush they know then are noted.
    fn cut(&self, source: Option<SourceId>, known: &mut Vec<SourceId>) -> Vec<(String, Vec<V>)> {
        match source {
            None => known.clear(),
            Some(source) if known.contains(&source) => {}
            Some(source) => known.push(source),
        }
        // What is on its way to who waits for it has left its end stage.
        let cut_off = || self.inlets.iter().filter(|inlet| !self.layout.brings_answers(inlet.index));
        // Nothing is taken before every buffer is cut: neither what is given up, by a worker that hears of the flush or finds
        // room before, nor what enters from now on, so that nothing in a list is from both sides.
        let entrances = self.entrances();
        let entered = cut_off().map(|inlet| (inlet.index, inlet.buffer.hold()));
        let number = entered.filter(|(index, _)| entrances.contains(index)).map(|(_, entered)| entered).max();
        let cut = Cut { number: number.unwrap_or_default(), source };
        self.cuts.add(cut);
        let flushed = cut_off().map(|inlet| (inlet.name.get().to_owned(), inlet.buffer.cut(cut)));
        let mut given_up: Vec<_> = flushed.filter(|(_, values)| !values.is_empty()).collect();
        let blocks = self.layout.blocks.iter().enumerate();
        let joins = blocks.map(|(index, block)| (block.name.clone(), self.blocks.join(index).cut(cut)));
        given_up.extend(joins.filter(|(_, values)| !values.is_empty()));
        self.inlets.iter().for_each(|inlet| inlet.buffer.wake());
        cut_off().for_each(|inlet| inlet.buffer.let_take());
        given_up
    }

    /// Does what follows once all buffers are cut.
    fn end_flush(&self, given_up: Vec<(String, Vec<V>)>) {
        if let Some(call) = self.when_flushed.get() {
            call();
        }

        (0..self.layout.blocks.len()).for_each(|block| self.blocks.tidy(block));
        // What has ended in another way was written down before.
        #[cfg(processes)]
        (0..self.inlets.len()).for_each(|node| self.look_for_ends(node));
        // What waited in a join was told by no buffer.
        self.look_for_all();
        self.release_discarded(given_up);
    }

    /// Sets what is called after each flush, before the end stages are waited for; it is set once.
    pub(crate) fn when_flushed(&self, call: Box<dyn Fn() + Send + Sync>) {
        let _ = self.when_flushed.set(call);
    }

    /// Waits until no end stage works on anything that had entered before the last flush; false when it still does after
    /// the time-out. In a pipeline that is aborted, a stage that is still in the user's code is left behind as there. The
    /// caller is told what happens meanwhile, and an error of its own ends the wait.
    ///
    /// # Errors
    /// The error of the caller.
    pub fn wait_flushed<E>(
        &self,
        timeout: Option<Duration>,
        meanwhile: impl FnMut(Waiting) -> Result<(), E>,
    ) -> Result<bool, E> {
        let named = |()| self.not_flushed().join(", ");
        let waited = self.wait_patiently(Patience::from_now(timeout), meanwhile, named, |wait| {
            if self.end_stages_are_flushed(wait) { Ok(()) } else { Err(()) }
        });
        Ok(!matches!(waited?, Err(NotDone::Late(()))))
    }

    /// Returns the end stages that work on something that had entered before the last flush.
    pub fn not_flushed(&self) -> Vec<String> {
        let late = self.end_stages().filter(|index| !self.inlets[*index].buffer.wait_flushed(Wait::No));
        late.map(|index| self.stage_name(index).to_owned()).collect()
    }

    fn end_stages_are_flushed(&self, wait: Wait) -> bool {
        self.end_stages().all(|index| self.inlets[index].buffer.wait_flushed(wait))
    }

    fn end_stages(&self) -> impl Iterator<Item = usize> {
        let nodes = self.layout.nodes.iter().enumerate();
        nodes.filter(|(index, node)| node.flow == Flow::Answers || self.layout.is_last(*index)).map(|(index, _)| index)
    }

    /// The nodes in front of which samples enter.
    pub(super) fn entrances(&self) -> Vec<usize> {
        match self.layout.entrance {
            Flow::Next(index) => vec![index],
            Flow::Fork(block) => self.branches(block).collect(),
            Flow::End | Flow::Answers | Flow::Join { .. } => Vec::new(),
        }
    }
}
