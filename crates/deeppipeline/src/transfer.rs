//! The transfer of typed values from one process to another.

mod probe;

use crate::buffer::shared::{Codec, SharedBytes};
use crate::typed::Value;
use crate::unwind::BoxError;
use crate::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// A value that may cross from one process to another: any that serde can write and read, and one that writes itself in
/// place.
///
/// Serde writes into [postcard](https://docs.rs/postcard), a format without names and types. So a value that leaves a
/// field out (`#[serde(skip_serializing_if)]`) or has to be asked what it is (`flatten`, `untagged`, `tag`) cannot
/// cross, and is refused with what to do instead: at the start where the type shows it, otherwise with the first
/// sample.
///
/// A type with much data that serde would write piece by piece implements this instead, and not serde's traits: its
/// bytes are then copied once, straight into the memory that both processes share, and read where they lie.
///
/// ```
/// use deeppipeline::BoxError;
/// use deeppipeline::processes::{SharedBytes, Transfer};
///
/// /// One channel of sound.
/// struct Sound {
///     rate: u32,
///     samples: SharedBytes,
/// }
///
/// impl Transfer for Sound {
///     fn size(&self) -> Result<usize, BoxError> {
///         Ok(4 + self.samples.len())
///     }
///     fn write(&self, room: &mut [u8]) -> Result<(), BoxError> {
///         room[..4].copy_from_slice(&self.rate.to_le_bytes());
///         room[4..].copy_from_slice(&self.samples);
///         Ok(())
///     }
///     fn read(bytes: SharedBytes) -> Result<Self, BoxError> {
///         let rate = bytes.first_chunk().ok_or("the sound has no rate")?;
///         Ok(Sound { rate: u32::from_le_bytes(*rate), samples: bytes.skip(4) })
///     }
/// }
/// ```
pub trait Transfer: Sized + Send + 'static {
    /// Returns the number of bytes that the value will take.
    ///
    /// # Errors
    /// An error for a value that cannot cross.
    fn size(&self) -> Result<usize, BoxError>;

    /// Writes the value into exactly as many bytes as `size` said. They hold leftovers of earlier samples.
    ///
    /// # Errors
    /// An error for a value that cannot cross.
    fn write(&self, room: &mut [u8]) -> Result<(), BoxError>;

    /// Reads the value again. It may keep the bytes, which then stay where they are as long as it lives.
    ///
    /// # Errors
    /// An error for bytes that are no such value: the stage fails on that sample.
    fn read(bytes: SharedBytes) -> Result<Self, BoxError>;

    /// Refuses a type of which no value can be read, where that is known before there is one.
    ///
    /// # Errors
    /// The reason, and what to do instead.
    #[doc(hidden)]
    fn check() -> Result<(), BoxError> {
        Ok(())
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Transfer for T {
    fn size(&self) -> Result<usize, BoxError> {
        Ok(wire::size(self)?)
    }

    fn write(&self, room: &mut [u8]) -> Result<(), BoxError> {
        Ok(wire::write(self, room)?)
    }

    fn read(bytes: SharedBytes) -> Result<Self, BoxError> {
        Ok(wire::read(&bytes)?)
    }

    fn check() -> Result<(), BoxError> {
        if probe::asks_what_it_is::<T>() { Err(wire::WireError::AsksWhatItIs.into()) } else { Ok(()) }
    }
}

impl Transfer for SharedBytes {
    fn size(&self) -> Result<usize, BoxError> {
        Ok(self.len())
    }

    fn write(&self, room: &mut [u8]) -> Result<(), BoxError> {
        room.copy_from_slice(self);
        Ok(())
    }

    fn read(bytes: SharedBytes) -> Result<Self, BoxError> {
        Ok(bytes)
    }
}

/// Carries the values of one type that a typed chain has boxed.
pub(crate) struct Typed<T>(PhantomData<fn() -> T>);

impl<T> Typed<T> {
    pub(crate) fn new() -> Self {
        Typed(PhantomData)
    }
}

fn unboxed<T: 'static>(value: &Value) -> Result<&T, BoxError> {
    value.downcast_ref().ok_or_else(|| "the value is not of the type that the chain was built for".into())
}

impl<T: Transfer> Codec<Value> for Typed<T> {
    fn size(&self, value: &Value) -> Result<usize, BoxError> {
        unboxed::<T>(value)?.size()
    }

    fn write(&self, value: &Value, room: &mut [u8]) -> Result<(), BoxError> {
        unboxed::<T>(value)?.write(room)
    }

    fn read(&self, bytes: SharedBytes) -> Result<Value, BoxError> {
        Ok(Box::new(T::read(bytes)?))
    }

    fn check(&self) -> Result<(), BoxError> {
        T::check()
    }
}
