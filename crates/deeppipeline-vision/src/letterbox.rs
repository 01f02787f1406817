//! Pictures of any size in a video of one: as large as they fit, in the middle, with black around.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeOptions, Resizer};

use crate::frame::Frame;

/// The pixels of a picture, which has some, as one of `width` × `height`.
pub(crate) fn letterbox(frame: &Frame, width: u32, height: u32) -> Vec<u8> {
    let mut whole = vec![0; width as usize * height as usize * 3];
    let scale = (f64::from(width) / f64::from(frame.width)).min(f64::from(height) / f64::from(frame.height));
    let fitted = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
    let (inner_width, inner_height) = (fitted(frame.width, width), fitted(frame.height, height));
    let mut inner = Image::new(inner_width, inner_height, PixelType::U8x3);
    // It cannot fail for a frame, whose pixels are as many as it says; if it did, the picture would be black.
    if let Ok(source) = ImageRef::new(frame.width, frame.height, &frame.pixels, PixelType::U8x3) {
        let _ = Resizer::new().resize(&source, &mut inner, &ResizeOptions::new());
    }

    let (left, top) = ((width - inner_width) / 2, (height - inner_height) / 2);
    let (row_bytes, start) = (inner_width as usize * 3, left as usize * 3);
    let rows = whole.chunks_exact_mut(width as usize * 3).skip(top as usize);
    for (row, inner) in rows.zip(inner.buffer().chunks_exact(row_bytes)) {
        row[start..start + row_bytes].copy_from_slice(inner);
    }
    whole
}
