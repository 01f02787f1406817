//! The transfer of pictures, and of what is known about them, from one process to another.
//!
//! A picture is a short header and its pixels, a scene is its picture and then its people. The pixels are copied once,
//! into the memory that both processes share; the receiver reads them, and draws on them, where they lie.

use std::time::Duration;

use deeppipeline::BoxError;
use deeppipeline::processes::{SharedBytes, Transfer};

use crate::frame::{Frame, bytes_of};
use crate::pixels::Pixels;
use crate::scene::{Person, Scene};

/// The length of the header before the pixels: width, height, index, and the time's seconds and nanoseconds,
/// little-endian.
const HEADER: usize = 4 + 4 + 8 + 8 + 4;

/// One second in nanoseconds.
const SECOND: u32 = 1_000_000_000;

const SHORT: &str = "the bytes of a picture end too early";

impl Transfer for Frame {
    fn size(&self) -> Result<usize, BoxError> {
        let pixels = self.pixels.len();
        if bytes_of(self.width, self.height) != Some(pixels) {
            return Err(format!("{self:?} has {pixels} bytes of pixels").into());
        }
        Ok(HEADER + pixels)
    }

    fn write(&self, room: &mut [u8]) -> Result<(), BoxError> {
        let (header, pixels) = room.split_at_mut(HEADER);
        header[..4].copy_from_slice(&self.width.to_le_bytes());
        header[4..8].copy_from_slice(&self.height.to_le_bytes());
        header[8..16].copy_from_slice(&self.index.to_le_bytes());
        header[16..24].copy_from_slice(&self.time.as_secs().to_le_bytes());
        header[24..].copy_from_slice(&self.time.subsec_nanos().to_le_bytes());
        pixels.copy_from_slice(&self.pixels);
        Ok(())
    }

    fn read(bytes: SharedBytes) -> Result<Self, BoxError> {
        let header = Header::read(&bytes)?;
        match bytes.len() == header.end {
            true => Ok(header.frame(bytes)),
            false => Err("there is something behind the bytes of a picture".into()),
        }
    }
}

impl Transfer for Scene {
    fn size(&self) -> Result<usize, BoxError> {
        Ok(self.frame.size()? + self.people.size()?)
    }

    fn write(&self, room: &mut [u8]) -> Result<(), BoxError> {
        let (frame, people) = room.split_at_mut(HEADER + self.frame.pixels.len());
        self.frame.write(frame)?;
        self.people.write(people)
    }

    fn read(bytes: SharedBytes) -> Result<Self, BoxError> {
        let header = Header::read(&bytes)?;
        // Some hundred bytes a person.
        let rest = bytes[header.end..].to_vec();
        let length = rest.len();
        let people = Vec::<Person>::read(rest.into())?;
        if people.size()? != length {
            return Err("there is something behind the people of a scene".into());
        }
        Ok(Self { frame: header.frame(bytes), people })
    }
}

/// The header of a picture, before its pixels.
struct Header {
    width: u32,
    height: u32,
    index: u64,
    time: Duration,
    /// The end of the pixels.
    end: usize,
}

impl Header {
    /// Reads it, and makes sure that all of the pixels are there.
    fn read(bytes: &[u8]) -> Result<Self, BoxError> {
        let mut rest = bytes;
        let (width, height) = (u32::from_le_bytes(next(&mut rest)?), u32::from_le_bytes(next(&mut rest)?));
        let index = u64::from_le_bytes(next(&mut rest)?);
        let (seconds, nanoseconds) = (u64::from_le_bytes(next(&mut rest)?), u32::from_le_bytes(next(&mut rest)?));
        if nanoseconds >= SECOND {
            return Err("the time of a picture is none".into());
        }
        let time = Duration::new(seconds, nanoseconds);
        let length = bytes_of(width, height).filter(|length| *length <= rest.len()).ok_or(SHORT)?;
        Ok(Self { width, height, index, time, end: HEADER + length })
    }

    /// The picture, whose pixels stay where they are.
    fn frame(self, bytes: SharedBytes) -> Frame {
        let Self { width, height, index, time, end } = self;
        Frame { width, height, index, time, pixels: Pixels::received(bytes.skip(HEADER), end - HEADER) }
    }
}

fn next<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], BoxError> {
    let (first, rest) = bytes.split_first_chunk().ok_or(SHORT)?;
    *bytes = rest;
    Ok(*first)
}
