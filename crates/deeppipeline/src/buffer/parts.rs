//! The numbering of the parts of a sample, so that no two that enter a buffer have the same, whichever worker made
//! them.
//!
//! Several workers make parts of one number side by side, one is started again and does not know what was made before,
//! and what `finish` gives comes long after the rest. They all meet at the buffer behind their stage, so that is where
//! parts are numbered, under its lock. A part that is free stays what it is; one that may be taken is counted on.

use super::Arrival;
use crate::sample::SampleId;

/// The parts that have entered one buffer, as far as those that follow have to keep clear of them.
///
/// Of the newest number they are known; of all older ones together only the highest, so that this never grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Parts {
    /// The highest number of which a part has entered.
    number: u64,
    newest: Highest,
    older: Highest,
}

/// The highest part of each kind; 0 where there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Highest {
    /// Made of samples that were whole. No two of them meet: their worker counts them, and the number is theirs alone.
    of_whole: u64,
    /// Made of parts, or counted on.
    of_part: u64,
    /// Parts already in front of the stage. No two of them meet, as no two have met there.
    passed: u64,
}

impl Highest {
    fn all(self) -> u64 {
        self.of_whole.max(self.of_part).max(self.passed)
    }

    fn include(&mut self, other: Highest) {
        self.of_whole = self.of_whole.max(other.of_whole);
        self.of_part = self.of_part.max(other.of_part);
        self.passed = self.passed.max(other.passed);
    }

    /// The part itself where it is certain to be free, otherwise the next.
    fn enter(&mut self, part: u64, arrival: Arrival) -> u64 {
        let (others, kind) = match arrival {
            Arrival::PartOfWhole => (self.of_part.max(self.passed), &mut self.of_whole),
            Arrival::Stage => (self.of_whole.max(self.of_part), &mut self.passed),
            Arrival::PartOfPart | Arrival::Source | Arrival::Outside => (self.all(), &mut self.of_part),
        };
        if part > others {
            *kind = part.max(*kind);
            return part;
        }
        // What another process has damaged must not overflow here; a look at the counts finds it.
        self.of_part = self.all().saturating_add(1);
        self.of_part
    }
}

impl Parts {
    /// Reads it from seven words in memory.
    pub(super) fn from_words([number, a, b, c, d, e, f]: [u64; 7]) -> Self {
        let newest = Highest { of_whole: a, of_part: b, passed: c };
        Parts { number, newest, older: Highest { of_whole: d, of_part: e, passed: f } }
    }

    pub(super) fn to_words(self) -> [u64; 7] {
        let Parts { number, newest, older } = self;
        [number, newest.of_whole, newest.of_part, newest.passed, older.of_whole, older.of_part, older.passed]
    }

    /// The identity of what a stage gives, which it has of itself unless another may have it. A whole sample always
    /// has.
    pub(super) fn enter(&mut self, id: SampleId, arrival: Arrival) -> SampleId {
        if id.part == 0 && arrival == Arrival::Stage {
            return id;
        }
        if id.number > self.number {
            self.older.include(self.newest);
            (self.number, self.newest) = (id.number, Highest::default());
        }
        let highest = if id.number == self.number { &mut self.newest } else { &mut self.older };
        SampleId { number: id.number, part: highest.enter(id.part, arrival) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ids(given: &[(u64, u64, Arrival)]) -> Vec<String> {
        let mut parts = Parts::default();
        let enter = |(number, part, arrival): &(u64, u64, Arrival)| {
            parts.enter(SampleId { number: *number, part: *part }, *arrival).to_string()
        };
        given.iter().map(enter).collect()
    }

    #[test]
    fn what_a_stage_only_passes_on_keeps_its_part_whatever_the_order() {
        use Arrival::Stage;
        let given = [(2, 1, Stage), (1, 2, Stage), (1, 1, Stage), (2, 0, Stage), (3, 1, Stage), (2, 2, Stage)];
        assert_eq!(ids(&given), ["2.1", "1.2", "1.1", "2", "3.1", "2.2"]);
    }

    #[test]
    fn parts_of_whole_samples_count_from_1_whatever_the_order() {
        use Arrival::PartOfWhole;
        let given = [(2, 1), (1, 1), (2, 2), (3, 1), (1, 2), (2, 3)].map(|(number, part)| (number, part, PartOfWhole));
        assert_eq!(ids(&given), ["2.1", "1.1", "2.2", "3.1", "1.2", "2.3"]);
    }

    #[test]
    fn parts_of_parts_count_on() {
        use Arrival::{PartOfPart, Stage};
        let given =
            [(1, 1, PartOfPart), (1, 1, PartOfPart), (1, 2, Stage), (1, 3, Stage), (1, 7, Stage), (2, 2, Stage)];
        assert_eq!(ids(&given), ["1.1", "1.2", "1.3", "1.4", "1.7", "2.2"]);
    }

    /// No matter what a stage does with samples that have a number of their own, in whatever order its workers give.
    #[test]
    fn no_two_samples_are_ever_the_same() {
        let mut state = 1_u64;
        let mut below = |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % end
        };
        for _ in 0..500 {
            let mut inputs: Vec<SampleId> =
                (1..=6).flat_map(|number| (0..=below(4)).map(move |part| SampleId { number, part })).collect();
            let mut parts = Parts::default();
            let mut seen = HashSet::new();
            while !inputs.is_empty() {
                let id = inputs.swap_remove(below(inputs.len() as u64) as usize);
                let given: Vec<_> = match (below(3), id.part) {
                    (0, _) => vec![(id, Arrival::Stage)],
                    (1, 0) => (1..=below(4)).map(|part| (SampleId { part, ..id }, Arrival::PartOfWhole)).collect(),
                    _ => (0..below(4)).map(|_| (id, Arrival::PartOfPart)).collect(),
                };
                for (id, arrival) in given {
                    let id = parts.enter(id, arrival);
                    assert!(seen.insert(id), "{id} comes twice: {parts:?}");
                }
            }
        }
    }
}
