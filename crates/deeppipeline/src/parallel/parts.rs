//! The way of a sample whose parts go through a block of their own: it sets out to the node that gathers, its parts one
//! by one to the block, and there it is put together with their results.

use super::gather::PartResults;
use super::{Blocks, Forked, Gathered};
use crate::activity::{Activity, Shown};
use crate::buffer::{Arrival, Origin, Push, Wait};
use crate::error::NoAnswer;
use crate::sample::{ForkTicket, Sample, SampleId};
use crate::unwind::{BoxError, catch_panic, release};
use crate::worker::{GiveError, Given};

/// Takes what a split has given asunder: the sample, and its parts.
pub type Splitter<V> = Box<dyn Fn(V) -> Result<(V, Vec<V>), BoxError> + Send + Sync>;

/// Makes one value of a sample and the results of its parts, in their order.
pub type Gatherer<V> = Box<dyn Fn(V, PartResults<V>) -> V + Send + Sync>;

impl<V> Blocks<V> {
    /// Hands a sample to the node that gathers and each of its parts to the block, one after the other. Where one has no
    /// room and the caller would not wait, that comes back; the next call is with it, and with what is kept in `forked`.
    ///
    /// The sample comes first. So there is only so much inside as that node's buffer holds, and they stay in order.
    pub(super) fn hand_out_parts(
        &self,
        block: usize,
        forked: &mut Option<Forked<V>>,
        sample: Sample<V>,
        arrival: Arrival,
        wait: Wait,
        shown: &Shown,
    ) -> Result<Given<V>, GiveError<V>> {
        let Sample { id, birth, fork: outer, source, mut value } = sample;
        let gather = &self.gathers[block];
        let mut state = match forked.take() {
            Some(state) => state,
            None => {
                let (whole, parts) = self.take_asunder(block, value)?;
                value = whole;
                let ticket = gather.enter(parts.len(), id, outer);
                Forked { ticket, rest: parts.into(), branch: 0, discarded: false }
            }
        };

        let first = &self.inlets[self.blocks[block].branches[0].0];
        let Some(behind) = self.behind(block) else { return Err(GiveError::Refused(Some(value), NOWHERE.into())) };
        loop {
            let inlet = if state.branch == 0 { behind } else { first };
            let (id, arrival) = part_of(id, arrival, state.branch);
            let fork = ForkTicket(state.ticket.0 + state.branch as u64);
            shown.set(Activity::WaitsForRoom(inlet.index));
            match inlet.buffer.push(Sample { id, birth, fork, source, value }, arrival, Origin::default(), wait) {
                Push::Full(value) => {
                    *forked = Some(state);
                    return Err(GiveError::Full(value));
                }
                Push::Refused(value, cause) => {
                    gather.give_up(state.ticket);
                    return Err(GiveError::Refused(Some(value), cause));
                }
                Push::Done { accepted, to_free, .. } => inlet.has_got(accepted, to_free),
                // Its end was told: that of the sample takes it out of the table.
                Push::Discarded(value) | Push::Shut(value) | Push::Late(value) => {
                    state.discarded = true;
                    release(value);
                    if state.branch == 0 {
                        state.rest.drain(..).for_each(release);
                    }
                }
            }
            let Some(next) = state.rest.pop_front() else { break };
            (value, state.branch) = (next, state.branch + 1);
        }
        gather.has_entered(state.ticket);
        Ok(Given { to_free: None, wants_more: !state.discarded })
    }

    fn take_asunder(&self, block: usize, value: V) -> Result<(V, Vec<V>), GiveError<V>> {
        let Some((split, _)) = self.code.get().and_then(|code| code.get(block)?.parts.as_ref()) else {
            return Err(GiveError::Refused(Some(value), NOWHERE.into()));
        };
        catch_panic(|| split(value)).map_err(|cause| GiveError::Refused(None, cause))
    }

    /// Looks whether the parts of a sample are together, as long as the caller would wait.
    pub(crate) fn gather(&self, block: usize, ticket: ForkTicket, wait: Wait) -> Gathered<V> {
        self.gathers[block].gather(ticket, wait)
    }

    /// Puts a sample together with the results of its parts.
    pub(crate) fn put_together(&self, block: usize, value: V, results: PartResults<V>) -> Result<V, BoxError> {
        let Some((_, gather)) = self.code.get().and_then(|code| code.get(block)?.parts.as_ref()) else {
            return Err(NOWHERE.into());
        };
        catch_panic(|| Ok(gather(value, results)))
    }

    /// Forgets a sample that has gone on, or does not, and returns its ticket in the block around.
    pub(crate) fn has_left(&self, block: usize, ticket: ForkTicket) -> Option<ForkTicket> {
        self.gathers[block].leave(ticket)
    }

    /// Lets nothing go on of what is to be put together.
    pub(crate) fn stop_gathering(&self, block: usize) {
        self.gathers[block].stop();
    }

    /// Looks for the parts that are expected from a block, and notes those that are nowhere in it as lost: ends were
    /// missed, or its last worker has ended.
    pub(crate) fn look_for_parts(&self, block: usize) {
        let expected = self.gathers[block].expected();
        if expected.is_empty() {
            return;
        }
        let found = self.found_in(block, &self.ended_in_branches(block + 1));
        let lost = || NoAnswer::Lost { stage: self.blocks[block].name.clone() };
        for part in expected.into_iter().filter(|part| !found.contains(part)) {
            self.gathers[block].end(part, false, lost);
        }
    }
}

const NOWHERE: &str = "nothing was given that takes samples and their parts asunder and together";

/// The identity of a part, and how it arrives; 0 is the sample itself.
fn part_of(whole: SampleId, arrival: Arrival, part: usize) -> (SampleId, Arrival) {
    match (part, whole.part) {
        (0, _) => (whole, arrival),
        (part, 0) => (SampleId { part: part as u64, ..whole }, Arrival::PartOfWhole),
        _ => (whole, Arrival::PartOfPart),
    }
}
