//! The input of NanoDet and the meaning of its outputs.
//!
//! NanoDet (RangiLyu, <https://github.com/RangiLyu/nanodet>) gives, for each cell of three grids, a score per class
//! and, for each side of a box, a distribution over distances (Generalized Focal Loss, Li et al. 2020,
//! arXiv:2006.04388).

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::frame::Frame;
use crate::model::Tensor;
use crate::scene::{Bounds, Person};

/// Side of the square the model sees, in pixels.
const SIDE: usize = 416;
const PLANE: usize = SIDE * SIDE;
const STRIDES: [usize; 3] = [8, 16, 32];
const CLASSES: usize = 80;
const PERSON: usize = 0;
/// Distances in each distribution.
const BINS: usize = 11;
/// Two boxes that overlap more are the same person.
const SAME_PERSON: f32 = 0.6;
/// Blue, green, red, as the model was trained.
const MEAN: [f32; 3] = [103.53, 116.28, 123.675];
const DEVIATION: [f32; 3] = [57.375, 57.12, 58.395];

pub(crate) const INPUT_SHAPE: [usize; 4] = [1, 3, SIDE, SIDE];

/// Brings pictures to the model's size and number range, reusing its memory.
pub(crate) struct Letterbox {
    resizer: Resizer,
    small: Image<'static>,
    input: Vec<f32>,
    /// The value that a byte becomes, for each of blue, green, red.
    normalised: [[f32; 256]; 3],
}

impl Default for Letterbox {
    fn default() -> Self {
        let normalised = std::array::from_fn(|c| std::array::from_fn(|byte| (byte as f32 - MEAN[c]) / DEVIATION[c]));
        let small = Image::new(1, 1, PixelType::U8x3);
        Self { resizer: Resizer::new(), small, input: vec![0.0; 3 * PLANE], normalised }
    }
}

impl Letterbox {
    /// The picture as the model wants it, in the top left corner, and how many pixels of the frame one of its pixels
    /// is.
    pub(crate) fn fill(&mut self, frame: &Frame) -> Result<(&[f32], f32), String> {
        let scale = frame.width.max(frame.height) as f32 / SIDE as f32;
        let fit = |size: u32| ((size as f32 / scale).round() as usize).clamp(1, SIDE);
        let (width, height) = (fit(frame.width), fit(frame.height));
        if (self.small.width() as usize, self.small.height() as usize) != (width, height) {
            self.small = Image::new(width as u32, height as u32, PixelType::U8x3);
            // What lies beside the picture is black.
            for c in 0..3 {
                self.input[c * PLANE..(c + 1) * PLANE].fill(self.normalised[c][0]);
            }
        }
        let source = ImageRef::new(frame.width, frame.height, &frame.pixels, PixelType::U8x3)
            .map_err(|error| error.to_string())?;
        let bilinear = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize(&source, &mut self.small, &bilinear).map_err(|error| error.to_string())?;
        for (row, pixels) in self.small.buffer().chunks_exact(3 * width).enumerate() {
            let at = row * SIDE;
            for (column, rgb) in pixels.chunks_exact(3).enumerate() {
                for c in 0..3 {
                    self.input[c * PLANE + at + column] = self.normalised[c][usize::from(rgb[2 - c])];
                }
            }
        }
        Ok((&self.input, scale))
    }
}

/// The people in the model's outputs, in pixels of the frame, the surest first.
pub(crate) fn decode(outputs: &[Tensor], min_score: f32, scale: f32, frame: &Frame) -> Result<Vec<Person>, String> {
    let mut people = Vec::new();
    for stride in STRIDES {
        let side = SIDE / stride;
        let map = |depth: usize| {
            let found = outputs.iter().find(|output| output.shape == [1, side * side, depth]);
            found
                .map(|output| &output.values)
                .ok_or_else(|| format!("it has no output of shape [1, {}, {depth}]", side * side))
        };
        let (scores, distances) = (map(CLASSES)?, map(4 * BINS)?);
        for cell in 0..side * side {
            let score = scores[cell * CLASSES + PERSON];
            if score < min_score {
                continue;
            }
            let distance = |edge: usize| {
                let start = (cell * 4 + edge) * BINS;
                expected_bin(&distances[start..start + BINS]) * stride as f32
            };
            let x = ((cell % side) as f32 + 0.5) * stride as f32;
            let y = ((cell / side) as f32 + 0.5) * stride as f32;
            let bounds = Bounds {
                left: ((x - distance(0)) * scale).clamp(0.0, frame.width as f32),
                top: ((y - distance(1)) * scale).clamp(0.0, frame.height as f32),
                right: ((x + distance(2)) * scale).clamp(0.0, frame.width as f32),
                bottom: ((y + distance(3)) * scale).clamp(0.0, frame.height as f32),
            };
            if bounds.width() >= 1.0 && bounds.height() >= 1.0 {
                people.push(Person::new(bounds, score));
            }
        }
    }
    Ok(keep_best(people))
}

/// The mean of a distribution given by unnormalised logarithms.
fn expected_bin(logits: &[f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (bin, logit) in logits.iter().enumerate() {
        let weight = (logit - largest).exp();
        sum += weight;
        weighted += weight * bin as f32;
    }
    weighted / sum
}

/// Keeps, of boxes that overlap much, the one with the highest score.
fn keep_best(mut people: Vec<Person>) -> Vec<Person> {
    people.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Person> = Vec::new();
    for person in people {
        if kept.iter().all(|better| better.bounds.overlap(&person.bounds) <= SAME_PERSON) {
            kept.push(person);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sharp_distribution_is_its_bin() {
        let mut logits = [0.0; BINS];
        logits[7] = 50.0;
        assert!((expected_bin(&logits) - 7.0).abs() < 1e-3);
        assert!((expected_bin(&[1.0; BINS]) - 5.0).abs() < 1e-5);
    }

    #[test]
    fn boxes_of_one_person_become_one() {
        let at = |left: f32, score| Person::new(Bounds { left, top: 0.0, right: left + 100.0, bottom: 200.0 }, score);
        let kept = keep_best(vec![at(5.0, 0.5), at(0.0, 0.9), at(300.0, 0.4)]);
        assert_eq!(kept, vec![at(0.0, 0.9), at(300.0, 0.4)]);
    }

    #[test]
    fn a_cell_becomes_a_box_in_the_frame() {
        let mut outputs: Vec<Tensor> = STRIDES
            .iter()
            .flat_map(|stride| {
                [CLASSES, 4 * BINS]
                    .map(|depth| (SIDE / stride) * (SIDE / stride) * depth)
                    .into_iter()
                    .zip([CLASSES, 4 * BINS])
            })
            .map(|(length, depth)| Tensor {
                name: String::new(),
                shape: vec![1, length / depth, depth],
                values: vec![0.0; length],
            })
            .collect();
        // Stride 32, column 6, row 3: its centre is (208, 112); every side lies 2 strides away.
        let cell = 3 * 13 + 6;
        outputs[4].values[cell * CLASSES + PERSON] = 0.8;
        for edge in 0..4 {
            outputs[5].values[(cell * 4 + edge) * BINS + 2] = 80.0;
        }
        let frame = Frame::new(832, 832, 0, std::time::Duration::ZERO, vec![0; 832 * 832 * 3]).unwrap();
        let people = decode(&outputs, 0.3, 2.0, &frame).unwrap();
        assert_eq!(people.len(), 1);
        let Bounds { left, top, right, bottom } = people[0].bounds;
        for (found, expected) in [(left, 288.0), (top, 96.0), (right, 544.0), (bottom, 352.0)] {
            assert!((found - expected).abs() < 0.1, "{found} is not {expected}");
        }
    }
}
