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

/// The places of the labels so far: left, top, right, bottom.
pub(super) type Taken = Vec<[i32; 4]>;

/// Writes a label on a coloured ground on top of a box, or into it where there is no room above; it moves down past
/// labels that are there already.
pub(super) fn label(
    canvas: &mut Canvas<'_>,
    text: &str,
    bounds: &Bounds,
    size: f32,
    ground: Colour,
    taken: &mut Taken,
) {
    let font = FONT.as_scaled(PxScale::from(size));
    let margin = (size * 0.25).ceil();
    let width = (width_of(text, size) + 2.0 * margin).ceil();
    let height = font.height().ceil() + margin;
    let left = bounds.left.min(canvas.width() as f32 - width).max(0.0).round();
    let above = bounds.top - height;
    let wanted = if above >= 0.0 { above } else { bounds.top.max(0.0) };
    let top = free_row(left as i32, wanted.round() as i32, width as i32, height as i32, taken) as f32;
    let top = top.min(canvas.height() as f32 - height).max(0.0);
    let place = [left as i32, top as i32, (left + width) as i32, (top + height) as i32];
    canvas.fill(place[0], place[1], place[2], place[3], ground);
    taken.push(place);

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

/// The first row from `top` downwards where a label hides no other.
fn free_row(left: i32, mut top: i32, width: i32, height: i32, taken: &Taken) -> i32 {
    let hidden =
        |top: i32| taken.iter().find(|[l, t, r, b]| left < *r && *l < left + width && top < *b && *t < top + height);
    // Every move passes one label, so there are at most as many moves as labels.
    for _ in 0..taken.len() {
        match hidden(top) {
            Some([_, _, _, bottom]) => top = *bottom,
            None => break,
        }
    }
    top
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_hide_each_other() {
        let mut taken = vec![[0, 0, 100, 20], [50, 20, 150, 40]];
        assert_eq!(free_row(60, 5, 50, 20, &taken), 40);
        assert_eq!(free_row(200, 5, 50, 20, &taken), 5);
        taken.clear();
        assert_eq!(free_row(60, 5, 50, 20, &taken), 5);
    }
}
