//! The bytes of a picture, wherever they lie.

use std::ops::Deref;
use std::sync::Arc;

#[cfg(processes)]
use deeppipeline::processes::SharedBytes;

/// The bytes of a picture, which cloning shares; it reads like a slice.
///
/// Those of a picture that came from another process stay where they are, in memory that both share, until the last
/// clone is gone.
#[derive(Clone)]
pub struct Pixels(Arc<Place>);

enum Place {
    Own(Vec<u8>),
    /// The first `length` bytes of memory shared with another process; the rest belongs to others.
    #[cfg(processes)]
    Shared {
        bytes: SharedBytes,
        length: usize,
    },
}

impl Pixels {
    /// The first bytes of a sample from another process, or all if there are fewer.
    #[cfg(processes)]
    pub(crate) fn received(bytes: SharedBytes, length: usize) -> Self {
        let length = length.min(bytes.len());
        Self(Arc::new(Place::Shared { bytes, length }))
    }

    /// The bytes, to be written: copied first if someone else looks at them too.
    pub(crate) fn make_mut(&mut self) -> &mut [u8] {
        if Arc::get_mut(&mut self.0).and_then(Place::bytes_mut).is_none() {
            self.0 = Arc::new(Place::Own(self.to_vec()));
        }
        match Arc::get_mut(&mut self.0).and_then(Place::bytes_mut) {
            Some(bytes) => bytes,
            None => unreachable!("nobody else has what was copied just before"),
        }
    }
}

impl Place {
    /// The bytes for writing; `None` where a worker that is started again after a crash may have to get the same bytes.
    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            Place::Own(bytes) => Some(bytes),
            #[cfg(processes)]
            Place::Shared { bytes, length } => bytes.as_mut().map(|bytes| &mut bytes[..*length]),
        }
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Place::Own(bytes) => bytes,
            #[cfg(processes)]
            Place::Shared { bytes, length } => &bytes[..*length],
        }
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Place::Own(bytes)))
    }
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl Eq for Pixels {}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pixels({} bytes)", self.len())
    }
}
