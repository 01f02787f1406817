//! Labels in a font that is part of the program.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};

use super::canvas::{Canvas, Colour};
use crate::scene::Bounds;

/// DejaVu Sans Bold, its ASCII letters; the licence is beside it.
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    let bytes = include_bytes!("../../fonts/DejaVuSans-Bold.ascii.ttf");
    FontRef::try_from_slice(bytes).expect("the font is part of the program")
});

/// Writes a label on a coloured ground on top of a box, or into it where there is no room above.
pub(super) fn label(canvas: &mut Canvas<'_>, text: &str, bounds: &Bounds, size: f32, ground: Colour) {
    let font = FONT.as_scaled(PxScale::from(size));
    let margin = (size * 0.25).ceil();
    let width = (width_of(text, size) + 2.0 * margin).ceil();
    let height = font.height().ceil() + margin;
    let left = bounds.left.min(canvas.width() as f32 - width).max(0.0).round();
    let above = bounds.top - height;
    let top =
        if above >= 0.0 { above } else { bounds.top.max(0.0) }.min(canvas.height() as f32 - height).max(0.0).round();
    canvas.fill(left as i32, top as i32, (left + width) as i32, (top + height) as i32, ground);

    let baseline = top + margin / 2.0 + font.ascent();
    let mut x = left + margin;
    let ink = ink_on(ground);
    let mut last = None;
    for character in text.chars() {
        let id = font.glyph_id(character);
        if let Some(last) = last {
            x += font.kern(last, id);
        }
        let glyph = id.with_scale_and_position(size, point(x, baseline));
        if let Some(outline) = font.outline_glyph(glyph) {
            let corner = outline.px_bounds().min;
            outline.draw(|column, row, cover| {
                canvas.blend(corner.x as i32 + column as i32, corner.y as i32 + row as i32, ink, cover);
            });
        }
        x += font.h_advance(id);
        last = Some(id);
    }
}

fn width_of(text: &str, size: f32) -> f32 {
    let font = FONT.as_scaled(PxScale::from(size));
    let mut last = None;
    text.chars().fold(0.0, |width, character| {
        let id = font.glyph_id(character);
        let kern = last.replace(id).map_or(0.0, |last| font.kern(last, id));
        width + kern + font.h_advance(id)
    })
}

/// Black on light grounds, white on dark ones.
fn ink_on(ground: Colour) -> Colour {
    let [red, green, blue] = ground.map(u32::from);
    if red * 299 + green * 587 + blue * 114 > 128_000 { [0; 3] } else { [255; 3] }
}
