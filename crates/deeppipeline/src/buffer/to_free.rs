//! Values that come back out of a buffer, to be freed by the caller: outside of every lock, since that is the user's
//! code.

use crate::unwind::release;

/// The values that a change of a buffer has left to be freed. Mostly that is none, which costs nothing to hand on, or
/// one.
#[derive(Debug, Default)]
pub(crate) enum ToFree<V> {
    #[default]
    Nothing,
    One(V),
    Many(Vec<V>),
}

impl<V> ToFree<V> {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, ToFree::Nothing)
    }

    pub(super) fn add(&mut self, value: V) {
        *self = match std::mem::take(self) {
            ToFree::Nothing => ToFree::One(value),
            ToFree::One(first) => ToFree::Many(vec![first, value]),
            ToFree::Many(mut values) => {
                values.push(value);
                ToFree::Many(values)
            }
        };
    }

    /// Frees them all.
    #[inline]
    pub(crate) fn release(self) {
        if let Some(first) = self.release_but_one() {
            release(first);
        }
    }

    /// Frees all but the first, which the caller frees where it sees fit.
    #[inline]
    pub(crate) fn release_but_one(self) -> Option<V> {
        match self {
            ToFree::Nothing => None,
            ToFree::One(value) => Some(value),
            ToFree::Many(values) => {
                let mut values = values.into_iter();
                let first = values.next();
                values.for_each(release);
                first
            }
        }
    }

    pub(crate) fn into_vec(self) -> Vec<V> {
        match self {
            ToFree::Nothing => Vec::new(),
            ToFree::One(value) => vec![value],
            ToFree::Many(values) => values,
        }
    }
}
