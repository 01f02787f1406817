//! Reading where a person's joints are.

use std::path::Path;

use deeppipeline::{BoxError, Give, Stage};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::frame::Frame;
use crate::model::{LazyModel, ModelError, Runtime, Tensor, Values};
use crate::scene::{Bounds, Joint, Keypoint, Pose, Scene};

/// Side of the square the model sees, in pixels.
const SIDE: usize = 192;
const INPUT_SHAPE: [usize; 4] = [1, SIDE, SIDE, 3];
const OUTPUT_SHAPE: [usize; 4] = [1, 1, Joint::COUNT, 3];

/// Reads the pose of each person with MoveNet Lightning, one run of the model per person.
///
/// It computes on the stage's own thread.
pub struct EstimatePose {
    model: LazyModel,
    crop: Crop,
}

impl EstimatePose {
    /// Takes the model file `movenet_lightning_192.onnx`, which is loaded when the pipeline starts.
    ///
    /// # Errors
    /// If the file cannot be read or is no ONNX model.
    pub fn load(model: impl AsRef<Path>) -> Result<Self, ModelError> {
        Self::load_with(model, Runtime::Auto)
    }

    /// The same with a runtime of your choice.
    ///
    /// # Errors
    /// If the file cannot be read or is no ONNX model.
    pub fn load_with(model: impl AsRef<Path>, runtime: Runtime) -> Result<Self, ModelError> {
        Ok(Self { model: LazyModel::new(model.as_ref(), runtime)?, crop: Crop::default() })
    }
}

impl Stage for EstimatePose {
    type Input = Scene;
    type Output = Scene;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.model.get()?;
        Ok(())
    }

    fn stage_run(&mut self, mut scene: Scene) -> Result<Give<Scene>, BoxError> {
        let model = self.model.get()?;
        for person in &mut scene.people {
            let square = Square::around(&person.bounds);
            let input = self.crop.cut(&scene.frame, square)?;
            let outputs = model.run(&INPUT_SHAPE, Values::I32(input))?;
            let pose = square.pose(&outputs);
            person.pose =
                Some(pose.ok_or_else(|| model.unsuitable(format!("it has no output of shape {OUTPUT_SHAPE:?}")))?);
        }
        Ok(Give::One(scene))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.model.unload();
        Ok(())
    }
}

/// The part of the frame the model looks at; it may reach beyond the frame.
#[derive(Clone, Copy, Debug)]
struct Square {
    left: f32,
    top: f32,
    side: f32,
}

impl Square {
    /// Room around the box, because the model does badly on limbs at the border.
    const MARGIN: f32 = 1.25;

    fn around(bounds: &Bounds) -> Self {
        let side = (bounds.width().max(bounds.height()) * Self::MARGIN).max(1.0);
        let (x, y) = bounds.center();
        Self { left: x - side / 2.0, top: y - side / 2.0, side }
    }

    /// Brings the model's points, given as y, x in 0 to 1 of the square, into the frame.
    fn pose(&self, outputs: &[Tensor]) -> Option<Pose> {
        let points = &outputs.iter().find(|output| output.shape == OUTPUT_SHAPE)?.values;
        let keypoint = |joint: usize| {
            let [y, x, score] = [0, 1, 2].map(|part| points[joint * 3 + part]);
            Keypoint { x: self.left + x * self.side, y: self.top + y * self.side, score }
        };
        Some(Pose { keypoints: std::array::from_fn(keypoint) })
    }
}

/// Cuts squares out of frames and brings them to the model's size, reusing its memory.
struct Crop {
    resizer: Resizer,
    input: Vec<i32>,
}

impl Default for Crop {
    fn default() -> Self {
        Self { resizer: Resizer::new(), input: vec![0; SIDE * SIDE * 3] }
    }
}

impl Crop {
    /// The square as the model wants it; what lies beyond the frame is black.
    fn cut(&mut self, frame: &Frame, square: Square) -> Result<&[i32], String> {
        self.input.fill(0);
        let scale = square.side / SIDE as f32;
        let to_input = |at: f32, start: f32, limit: u32| {
            let inside = at.clamp(0.0, limit as f32);
            (((inside - start) / scale).round() as isize).clamp(0, SIDE as isize) as usize
        };
        let (left, right) = (
            to_input(square.left, square.left, frame.width),
            to_input(square.left + square.side, square.left, frame.width),
        );
        let (top, bottom) = (
            to_input(square.top, square.top, frame.height),
            to_input(square.top + square.side, square.top, frame.height),
        );
        if right <= left || bottom <= top {
            return Ok(&self.input);
        }
        let in_frame =
            |at: usize, start: f32, limit: u32| f64::from((start + at as f32 * scale).clamp(0.0, limit as f32));
        let (x, y) = (in_frame(left, square.left, frame.width), in_frame(top, square.top, frame.height));
        let width = in_frame(right, square.left, frame.width) - x;
        let height = in_frame(bottom, square.top, frame.height) - y;

        let source = ImageRef::new(frame.width, frame.height, &frame.pixels, PixelType::U8x3)
            .map_err(|error| error.to_string())?;
        let mut small = Image::new((right - left) as u32, (bottom - top) as u32, PixelType::U8x3);
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(x, y, width, height);
        self.resizer.resize(&source, &mut small, &options).map_err(|error| error.to_string())?;
        for (row, pixels) in small.buffer().chunks_exact((right - left) * 3).enumerate() {
            let start = ((top + row) * SIDE + left) * 3;
            for (to, from) in self.input[start..].iter_mut().zip(pixels) {
                *to = i32::from(*from);
            }
        }
        Ok(&self.input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_at_the_corner_is_padded_with_black() {
        let frame = Frame::new(100, 100, 0, std::time::Duration::ZERO, vec![200; 100 * 100 * 3]).unwrap();
        let square = Square::around(&Bounds { left: 0.0, top: 0.0, right: 80.0, bottom: 80.0 });
        assert_eq!((square.left, square.top, square.side), (-10.0, -10.0, 100.0));
        let mut crop = Crop::default();
        let input = crop.cut(&frame, square).unwrap();
        assert_eq!(input[0], 0);
        assert_eq!(input[(100 * SIDE + 100) * 3], 200);
    }

    #[test]
    fn points_come_back_into_the_frame() {
        let square = Square { left: -10.0, top: 20.0, side: 100.0 };
        let mut values = vec![0.0; 51];
        values[..3].copy_from_slice(&[0.5, 0.25, 0.9]);
        let outputs = [Tensor { name: String::new(), shape: OUTPUT_SHAPE.to_vec(), values }];
        let nose = square.pose(&outputs).unwrap().joint(Joint::Nose);
        assert_eq!(nose, Keypoint { x: 15.0, y: 70.0, score: 0.9 });
    }
}
