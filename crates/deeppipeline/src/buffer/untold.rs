//! The samples whose ends were taken out of a buffer and are still being told: they are in no slot, and whoever looks for
//! them then must not take them for lost.

use crate::sample::ForkTicket;

#[derive(Debug, Default)]
pub(super) struct Untold(Vec<ForkTicket>);

impl Untold {
    /// Adds those of these samples for which somebody waits.
    pub(super) fn add(&mut self, tickets: impl Iterator<Item = ForkTicket>) {
        self.0.extend(tickets.filter(|ticket| !ticket.is_none()));
    }

    /// Forgets them, once they were told: each as often as it is there.
    pub(super) fn remove(&mut self, told: &[ForkTicket]) {
        for ticket in told {
            if let Some(place) = self.0.iter().position(|untold| untold == ticket) {
                self.0.swap_remove(place);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = ForkTicket> {
        self.0.iter().copied()
    }
}
