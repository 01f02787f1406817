//! One picture of a video.

use std::time::Duration;

use crate::pixels::Pixels;

/// One picture of a video; cloning it shares the pixels.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Columns, in pixels.
    pub width: u32,
    /// Rows, in pixels.
    pub height: u32,
    /// The number of the picture in its video, from 0.
    pub index: u64,
    /// The time at which the picture is to be shown, counted from the start of the video.
    pub time: Duration,
    /// `height` × `width` × 3 bytes: red, green, blue (full range sRGB), row by row, without padding.
    pub pixels: Pixels,
}

impl Frame {
    /// Wraps pixels, `height * width * 3` bytes of RGB; `None` if there are more or fewer.
    pub fn new(width: u32, height: u32, index: u64, time: Duration, pixels: Vec<u8>) -> Option<Self> {
        let expected = bytes_of(width, height)?;
        (pixels.len() == expected).then(|| Self { width, height, index, time, pixels: pixels.into() })
    }

    /// The pixels for drawing on: copied first if someone else holds this picture too, in place otherwise.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        self.pixels.make_mut()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame {} ({}x{} at {:?})", self.index, self.width, self.height, self.time)
    }
}

/// The number of bytes of an RGB picture; `None` if that is more than can be addressed.
pub(crate) fn bytes_of(width: u32, height: u32) -> Option<usize> {
    (width as usize).checked_mul(height as usize)?.checked_mul(3)
}
