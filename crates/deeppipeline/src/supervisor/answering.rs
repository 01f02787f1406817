//! The answers to what is submitted: how a sample with a ticket comes in, and what its end means for who waits.

use super::{Accepted, Supervisor};
use crate::answers::{Receives, fate_of};
use crate::buffer::{Ended, HearsEnds, How, SampleEnd, Wait};
use crate::clock::Moment;
use crate::error::{Discarded, NoAnswer, PutError, StageFailure};
use crate::job::works_for;
use crate::parallel::End;
#[cfg(processes)]
use crate::policies::OnCrash;
use crate::sample::ForkTicket;
use std::sync::{Arc, Weak};

impl<V: Send + 'static> Supervisor<V> {
    /// Puts one sample into the first buffer, as [`put_born`](Supervisor::put_born) does, and lets the receiver have
    /// what the last stage gives for it, or its fate: once, whatever happens, unless the sample is handed back.
    ///
    /// # Errors
    /// As `put`; the receiver gets nothing then.
    pub fn submit(
        &self,
        value: V,
        entrance: Option<&str>,
        birth: Moment,
        wait: Wait,
        receiver: Arc<dyn Receives<V>>,
    ) -> Result<Accepted<V>, PutError<V>> {
        if works_for(self.id) {
            return Err(PutError::OwnStage(value));
        }
        let Some(ticket) = self.answers.enter(receiver, wait) else { return Err(PutError::Timeout(value)) };
        let put = self.put_with(value, entrance, birth, None, ticket, wait);
        self.has_submitted(ticket, put)
    }

    /// Notes what came of the put of what was entered in the table, which takes it back where the sample is handed back.
    pub(super) fn has_submitted(
        &self,
        ticket: ForkTicket,
        put: Result<Accepted<V>, PutError<V>>,
    ) -> Result<Accepted<V>, PutError<V>> {
        match &put {
            Ok(_) if self.answers.has_entered(ticket) => self.look_for(&[ticket]),
            Ok(_) => {}
            Err(_) => self.answers.withdraw(ticket),
        }
        put
    }

    /// Hears of the ends of samples from now on, where samples may be submitted.
    pub(super) fn listen_for_ends(self: &Arc<Self>) {
        if !self.layout.tells_ends() {
            return;
        }
        let listener: Weak<Self> = Arc::downgrade(self);
        for (node, inlet) in self.inlets.iter().enumerate() {
            inlet.buffer.tell_ends_to(node, Weak::clone(&listener) as _);
        }
    }

    /// Takes in one end.
    fn hear_end(&self, node: usize, ended: &SampleEnd, suspects: &mut Vec<ForkTicket>) {
        if ended.fork.is_none() {
            return;
        }
        let how = ended.how;
        let is_discarded = how == How::Discarded;
        let fate = || match is_discarded {
            true => Some(self.discarded()),
            false => {
                let failure = if how == How::Failed { self.answers.failure(node, ended) } else { None };
                fate_of(how, self.stage_name(node).to_owned(), failure)
            }
        };

        // Nothing goes on of what a branch has ended, or gave to a join after a flush.
        let is_old = || self.cuts.are_before(ended.id.number, ended.source);
        let (ticket, id) = match how {
            How::Used if !is_old() => (ended.fork, ended.id),
            _ => {
                let of_part = || fate().unwrap_or(NoAnswer::Flushed);
                let end = End { fails: self.stops_after(node, how), is_discarded, fate: &of_part };
                let Some(doomed) = self.blocks.doom(ended.fork, ended.id, &end) else { return };
                doomed
            }
        };
        if is_discarded && !self.knows_why_it_stops() {
            return self.answers.is_undecided(ticket, id);
        }
        // What is used has gone on, and so may parts of one that was split.
        let is_all = id.part == 0 && !ended.is_split && how != How::Used;
        if self.answers.ended(ticket, id, fate(), is_all) {
            suspects.push(ticket);
        }
    }

    /// Returns true if the pipeline stops when a sample ends like that in a node.
    fn stops_after(&self, node: usize, how: How) -> bool {
        let options = &self.layout.nodes[node].options;
        match how {
            How::Failed => options.on_error.stops(),
            #[cfg(processes)]
            How::Lost => options.executor.is_process() && options.after_a_crash() == OnCrash::Stop,
            _ => false,
        }
    }

    /// Looks for everything that was submitted.
    pub(super) fn look_for_all(&self) {
        if self.answers.is_open() {
            self.look_for(&self.answers.all());
        }
    }

    /// Completes the answers to what a stop has discarded, once it is known why.
    pub(super) fn look_after_a_stop(&self) {
        if !self.answers.is_open() || !self.knows_why_it_stops() {
            return;
        }
        let undecided = self.answers.take_undecided();
        for (ticket, id) in undecided {
            self.answers.ended(ticket, id, Some(self.discarded()), false);
        }
        // What waited in a join was told by no buffer.
        self.look_for_all();
    }

    /// Completes all answers, since nothing more will happen.
    pub(super) fn end_answers(&self) {
        if !self.layout.tells_errors() {
            return;
        }
        #[cfg(processes)]
        (0..self.inlets.len()).for_each(|node| self.look_for_ends(node));
        for (node, ended) in self.answers.take_untold() {
            self.hear_end(node, &ended, &mut Vec::new());
            self.tell_fate(node, ended.into());
        }
        self.look_after_a_stop();
        self.answers.end(&self.discarded());
    }

    /// Returns true if a failure or an abort has said why samples are discarded.
    fn knows_why_it_stops(&self) -> bool {
        self.failure.get().is_some() || self.aborted_at().is_some()
    }

    /// The fate of what is discarded.
    pub(crate) fn discarded(&self) -> NoAnswer {
        let cause = self.failure.get().map(|failure| StageFailure::new(Arc::clone(failure)));
        NoAnswer::Discarded(Discarded { cause })
    }
}

impl<V: Send + 'static> HearsEnds<V> for Supervisor<V> {
    fn hear_ends(&self, node: usize, ends: Vec<Ended<V>>) -> Vec<ForkTicket> {
        let mut suspects = Vec::new();
        let mut failed = Vec::new();
        let has_drops = ends.iter().any(|ended| matches!(ended.end.how, How::DroppedOldest | How::DroppedNewest));
        for ended in ends {
            let end = ended.end;
            // Another thread may have read this before the word of the worker.
            #[cfg(processes)]
            if end.how == How::Failed
                && self.layout.tells_errors()
                && self.is_in_process(node)
                && self.answers.keep_untold(node, end)
            {
                continue;
            }
            self.hear_end(node, &end, &mut suspects);
            self.tell_fate(node, ended);
            failed.extend((end.how == How::Failed).then_some(end));
        }
        self.answers.forget_failures(node, failed.iter());
        if has_drops {
            self.inlets[node].note_drop(self.clock.moment());
        }
        suspects
    }

    fn look_for(&self, suspects: &[ForkTicket]) {
        let expected = self.answers.expected(suspects);
        if expected.is_empty() {
            return;
        }
        // What was given up in a join no buffer has told of: a flush did that, or a stop.
        let was_flushed = self.cuts.is_any() && !self.knows_why_it_stops();
        for ticket in self.blocks.nowhere(expected) {
            self.answers.is_nowhere(ticket, if was_flushed { NoAnswer::Flushed } else { self.discarded() });
        }
    }

    #[cfg(processes)]
    fn look_for_ends(&self, node: usize) {
        let Some(buffer) = self.inlets[node].buffer.shared().filter(|_| self.layout.tells_ends()) else { return };
        let (ends, missed) = buffer.read_ends();
        if !ends.is_empty() {
            let told: Vec<ForkTicket> = ends.iter().map(|end| end.fork).collect();
            let suspects = self.hear_ends(node, ends.into_iter().map(Ended::from).collect());
            buffer.has_told(&told);
            self.look_for(&suspects);
        }
        if missed > 0 {
            self.fates.miss(missed);
            self.blocks.tidy(0);
            let gathering = (0..self.layout.blocks.len()).filter(|block| self.layout.blocks[*block].gathers());
            gathering.for_each(|block| self.blocks.look_for_parts(block));
            self.look_for_all();
        }
    }
}
