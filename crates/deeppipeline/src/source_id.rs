//! The source or entrance of a sample, as the sample carries it to the last stage: a number for its name.
//!
//! Names are few and samples are many, so each name is kept once for the whole program, and has one number, whichever
//! pipeline says it.

use parking_lot::RwLock;

/// The source or entrance that a sample came from. The default is the one that has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct SourceId(u32);

/// The names that were said so far, each at its number less one.
static NAMES: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());

impl SourceId {
    /// Returns the number of that name.
    #[cfg_attr(not(test), expect(dead_code, reason = "no entrance has a name yet"))]
    pub(crate) fn of(name: &str) -> Self {
        let mut names = NAMES.write();
        let index = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(String::from(name).leak());
            names.len() - 1
        });
        SourceId(index as u32 + 1)
    }

    /// Returns its name, if it has one.
    pub(crate) fn name(self) -> Option<&'static str> {
        let index = self.0.checked_sub(1)?;
        NAMES.read().get(index as usize).copied()
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
}
