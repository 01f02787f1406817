//! tract, the runtime that cargo builds.

use std::path::Path;

use tract_onnx::prelude::*;

use super::{Flavour, Tensor as Output, Values};

pub(super) struct PureRust {
    plan: Arc<TypedRunnableModel>,
    names: Vec<String>,
}

impl PureRust {
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let model = tract_onnx::onnx().model_for_path(path).map_err(|error| root(&error))?;
        if model.inputs.len() != 1 {
            return Err(format!("it has {} inputs, not one", model.inputs.len()));
        }
        let names = model
            .outputs
            .iter()
            .map(|&outlet| {
                model.outlet_label(outlet).map_or_else(|| model.node(outlet.node).name.clone(), str::to_owned)
            })
            .collect();
        let plan = model.into_optimized().and_then(|model| model.into_runnable()).map_err(|error| root(&error))?;
        Ok(Self { plan, names })
    }
}

impl Flavour for PureRust {
    fn run(&mut self, shape: &[usize], values: Values<'_>) -> Result<Vec<Output>, String> {
        let input = match values {
            Values::F32(values) => Tensor::from_shape(shape, values),
            Values::I32(values) => Tensor::from_shape(shape, values),
        }
        .map_err(|error| root(&error))?;
        let outputs = self.plan.run(tvec!(input.into())).map_err(|error| root(&error))?;
        self.names
            .iter()
            .zip(outputs.iter())
            .map(|(name, value)| {
                let values = value.to_plain_array_view::<f32>().map_err(|error| root(&error))?;
                Ok(Output {
                    name: name.clone(),
                    shape: value.shape().to_vec(),
                    values: values.iter().copied().collect(),
                })
            })
            .collect()
    }
}

/// The innermost cause, which is the one that says what is wrong.
fn root(error: &TractError) -> String {
    error.root_cause().to_string()
}
