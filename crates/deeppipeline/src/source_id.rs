//! The source or entrance of a sample, as the sample carries it to the last stage: a number for its name.
//!
//! Names are few and samples are many, so each name is kept once for the whole program, and has one number, whichever
//! pipeline says it. A worker process learns the names of its pipeline from the process of that; what it names itself
//! has other numbers, those with the other parity.

#[cfg(processes)]
use parking_lot::Condvar;
use parking_lot::Mutex;
use std::collections::HashMap;
#[cfg(processes)]
use std::time::Duration;

/// The source or entrance that a sample came from. The default is the one that has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct SourceId(u32);

/// The names that are known.
struct Names {
    /// The number that the next name gets.
    next: u32,
    of_numbers: Option<HashMap<u32, &'static str>>,
    numbers: Option<HashMap<&'static str, u32>>,
}

static NAMES: Mutex<Names> = Mutex::new(Names { next: 2, of_numbers: None, numbers: None });
/// A name has come from the process of the pipeline.
#[cfg(processes)]
static LEARNT: Condvar = Condvar::new();
/// The time that a name may take from there: it is under way before a sample that has it.
#[cfg(processes)]
const COMES_WITHIN: Duration = Duration::from_secs(5);

impl Names {
    fn name(&self, number: u32) -> Option<&'static str> {
        self.of_numbers.as_ref()?.get(&number).copied()
    }
}

impl SourceId {
    /// Returns the number of that name.
    pub(crate) fn of(name: &str) -> Self {
        let mut names = NAMES.lock();
        if let Some(number) = names.numbers.get_or_insert_default().get(name) {
            return SourceId(*number);
        }
        let (name, number): (&'static str, _) = (name.to_owned().leak(), names.next);
        names.next += 2;
        names.of_numbers.get_or_insert_default().insert(number, name);
        names.numbers.get_or_insert_default().insert(name, number);
        SourceId(number)
    }

    /// Returns its name, if it has one.
    pub(crate) fn name(self) -> Option<&'static str> {
        if self == SourceId::default() {
            return None;
        }
        let names = NAMES.lock();
        let known = names.name(self.0);
        #[cfg(processes)]
        if known.is_none() {
            let mut names = names;
            LEARNT.wait_while_for(&mut names, |names| names.name(self.0).is_none(), COMES_WITHIN);
            return names.name(self.0);
        }
        known
    }

    /// Returns its name, if it has one that is known here by now.
    pub(crate) fn name_if_known(self) -> Option<&'static str> {
        NAMES.lock().name(self.0).filter(|_| self != SourceId::default())
    }

    #[inline(always)]
    pub(crate) fn to_word(self) -> u64 {
        self.0.into()
    }

    #[inline(always)]
    pub(crate) fn from_word(word: u64) -> Self {
        SourceId(word as u32)
    }
}

#[cfg(processes)]
impl SourceId {
    /// Returns the parity that numbers have in a worker process of this one.
    pub(crate) fn parity_in_workers() -> u32 {
        1 - NAMES.lock().next % 2
    }

    /// Numbers what this process names from now on with that parity, since it has become a worker.
    pub(crate) fn number_with(parity: u32) {
        let mut names = NAMES.lock();
        names.next += (names.next + parity) % 2;
    }

    /// Learns a name from the process of the pipeline.
    pub(crate) fn learn(number: u32, name: String) {
        NAMES.lock().of_numbers.get_or_insert_default().entry(number).or_insert_with(|| name.leak());
        LEARNT.notify_all();
    }

    /// Returns what a worker process is told of it: its number and its name.
    pub(crate) fn told(self) -> Option<(u32, String)> {
        Some((self.0, self.name()?.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_and_the_default_has_none() {
        let north = SourceId::of("north");
        assert_eq!((SourceId::of("north"), north.name()), (north, Some("north")));
        assert_eq!(SourceId::from_word(north.to_word()), north);
        assert_eq!(SourceId::default().name(), None);
    }

    #[cfg(processes)]
    #[test]
    fn a_name_that_is_on_its_way_is_waited_for() {
        let number = u32::MAX - 1;
        let asks = std::thread::spawn(move || SourceId(number).name());
        SourceId::learn(number, "south".to_owned());
        assert_eq!(asks.join().unwrap(), Some("south"));
    }
}
