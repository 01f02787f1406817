//! The conversion of values into bytes in shared memory, and back.

use super::SharedBytes;
use crate::unwind::BoxError;

/// The way the values in one buffer cross to another process. Called without any lock of the engine.
pub trait Codec<V>: Send + Sync {
    /// Returns the number of bytes that the value will take.
    ///
    /// # Errors
    /// An error for a value that cannot cross.
    fn size(&self, value: &V) -> Result<usize, BoxError>;

    /// Writes the value into exactly as many bytes as `size` said. They hold leftovers of earlier samples.
    ///
    /// # Errors
    /// An error for a value that cannot cross.
    fn write(&self, value: &V, room: &mut [u8]) -> Result<(), BoxError>;

    /// Reads the value again, which may keep the bytes.
    ///
    /// # Errors
    /// An error for bytes that are no such value: the stage fails on that sample.
    fn read(&self, bytes: SharedBytes) -> Result<V, BoxError>;

    /// Refuses what can never cross, before anything starts.
    ///
    /// # Errors
    /// The reason, and what to do instead.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}
