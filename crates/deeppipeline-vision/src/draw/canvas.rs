//! Rectangles, lines and dots on an RGB picture, clipped to it.

use crate::scene::Bounds;

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// A picture to draw on.
pub(super) struct Canvas<'a> {
    pixels: &'a mut [u8],
    width: i32,
    height: i32,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(pixels: &'a mut [u8], width: u32, height: u32) -> Self {
        Self { pixels, width: width as i32, height: height as i32 }
    }

    pub(super) fn width(&self) -> i32 {
        self.width
    }

    pub(super) fn height(&self) -> i32 {
        self.height
    }

    /// Mixes a colour into one pixel; `cover` is 0 (nothing) to 1 (all of it).
    pub(super) fn blend(&mut self, x: i32, y: i32, colour: Colour, cover: f32) {
        if x < 0 || y < 0 || x >= self.width || y >= self.height || cover <= 0.0 {
            return;
        }
        let start = (y as usize * self.width as usize + x as usize) * 3;
        let part = (cover.min(1.0) * 256.0) as i32;
        for (old, new) in self.pixels[start..start + 3].iter_mut().zip(colour) {
            *old = (i32::from(*old) + (i32::from(new) - i32::from(*old)) * part / 256) as u8;
        }
    }

    /// Fills columns `left..right` and rows `top..bottom`.
    pub(super) fn fill(&mut self, left: i32, top: i32, right: i32, bottom: i32, colour: Colour) {
        let (left, right) = (left.clamp(0, self.width), right.clamp(0, self.width));
        let (top, bottom) = (top.clamp(0, self.height), bottom.clamp(0, self.height));
        for row in top..bottom {
            let start = (row * self.width + left) as usize * 3;
            let length = (right - left).max(0) as usize * 3;
            for pixel in self.pixels[start..start + length].chunks_exact_mut(3) {
                pixel.copy_from_slice(&colour);
            }
        }
    }

    /// The outline of a box, drawn inwards.
    pub(super) fn frame(&mut self, bounds: &Bounds, thickness: i32, colour: Colour) {
        let (left, top) = (bounds.left.round() as i32, bounds.top.round() as i32);
        let (right, bottom) = (bounds.right.round() as i32, bounds.bottom.round() as i32);
        self.fill(left, top, right, top + thickness, colour);
        self.fill(left, bottom - thickness, right, bottom, colour);
        self.fill(left, top, left + thickness, bottom, colour);
        self.fill(right - thickness, top, right, bottom, colour);
    }

    /// A smooth line.
    pub(super) fn line(&mut self, from: (f32, f32), to: (f32, f32), thickness: f32, colour: Colour) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy);
        if length < 0.5 {
            return;
        }
        let half = thickness / 2.0;
        let steep = dy.abs() > dx.abs();
        // Walks along the longer axis and covers, at each step, the few pixels across that the line touches.
        let (start, end, slope, other) =
            if steep { (from.1, to.1, dx / dy, from.0) } else { (from.0, to.0, dy / dx, from.1) };
        let limit = if steep { self.height } else { self.width } as f32;
        let across = half * length / dx.abs().max(dy.abs()) + 1.0;
        let (first, last) = (start.min(end).max(0.0) as i32, start.max(end).min(limit) as i32);
        for along in first..=last {
            let middle = other + (along as f32 - start) * slope;
            for side in (middle - across).floor() as i32..=(middle + across).ceil() as i32 {
                let distance = (side as f32 - middle).abs() * dx.abs().max(dy.abs()) / length;
                let (x, y) = if steep { (side, along) } else { (along, side) };
                self.blend(x, y, colour, half + 0.5 - distance);
            }
        }
    }

    /// A smooth filled circle.
    pub(super) fn dot(&mut self, (x, y): (f32, f32), radius: f32, colour: Colour) {
        for row in (y - radius).floor() as i32..=(y + radius).ceil() as i32 {
            for column in (x - radius).floor() as i32..=(x + radius).ceil() as i32 {
                let distance = (column as f32 - x).hypot(row as f32 - y);
                self.blend(column, row, colour, radius + 0.5 - distance);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_left_out() {
        let mut pixels = vec![0; 10 * 10 * 3];
        let mut canvas = Canvas::new(&mut pixels, 10, 10);
        canvas.fill(-5, -5, 2, 2, [255; 3]);
        canvas.frame(&Bounds { left: 5.0, top: 5.0, right: 50.0, bottom: 50.0 }, 2, [255; 3]);
        canvas.line((-100.0, 5.0), (100.0, 5.0), 1.0, [255; 3]);
        canvas.dot((9.0, 9.0), 4.0, [255; 3]);
        assert_eq!(pixels[0..3], [255; 3]);
        assert_eq!(pixels[(3 * 10 + 3) * 3], 0);
    }

    #[test]
    fn half_cover_is_half_way() {
        let mut pixels = vec![0, 100, 200];
        Canvas::new(&mut pixels, 1, 1).blend(0, 0, [200, 100, 0], 0.5);
        assert_eq!(pixels, [100, 100, 100]);
    }
}
