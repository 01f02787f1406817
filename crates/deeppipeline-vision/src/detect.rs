//! Finding the people in a picture.

use std::path::Path;

use deeppipeline::{BoxError, Give, Stage};

use crate::frame::Frame;
use crate::model::{LazyModel, ModelError, Runtime, Values};
use crate::nanodet;
use crate::scene::Scene;

/// Finds the people in each picture with NanoDet.
///
/// The model sees the picture shrunk to 416 pixels on its longer side; people who are only some twenty of those pixels
/// tall, or hardly differ from what is behind them, are often missed. It computes on the stage's own thread.
pub struct DetectPeople {
    model: LazyModel,
    letterbox: nanodet::Letterbox,
    min_score: f32,
}

impl DetectPeople {
    /// Takes the model file `nanodet_416.onnx`, which is loaded when the pipeline starts.
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
        const MIN_SCORE: f32 = 0.2;
        let model = LazyModel::new(model.as_ref(), runtime)?;
        Ok(Self { model, letterbox: nanodet::Letterbox::default(), min_score: MIN_SCORE })
    }

    /// Leaves out people of whom the model is less sure, 0 to 1; 0.2 by default, because the tracker makes use of
    /// uncertain ones.
    #[must_use]
    pub fn min_score(mut self, score: f32) -> Self {
        self.min_score = score;
        self
    }
}

impl Stage for DetectPeople {
    type Input = Frame;
    type Output = Scene;

    fn setup(&mut self) -> Result<(), BoxError> {
        self.model.get()?;
        Ok(())
    }

    fn stage_run(&mut self, frame: Frame) -> Result<Give<Scene>, BoxError> {
        let model = self.model.get()?;
        let (input, scale) = self.letterbox.fill(&frame)?;
        let outputs = model.run(&nanodet::INPUT_SHAPE, Values::F32(input))?;
        let people =
            nanodet::decode(&outputs, self.min_score, scale, &frame).map_err(|reason| model.unsuitable(reason))?;
        Ok(Give::One(Scene { frame, people }))
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        self.model.unload();
        Ok(())
    }
}
