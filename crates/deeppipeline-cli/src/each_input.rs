//! A stage that remembers what it saw, or writes a file, where several inputs share the stages around it.

use deeppipeline::{BoxError, Give, Stage, current_sample};

/// A stage for each input; each sample is worked on by the one of the input that it comes from.
pub(crate) struct EachInput<S> {
    stages: Vec<(String, S)>,
}

impl<S> EachInput<S> {
    /// Takes a stage for each name of a source. Outside of a pipeline the first gets everything.
    pub(crate) fn new(stages: impl IntoIterator<Item = (String, S)>) -> Self {
        EachInput { stages: stages.into_iter().collect() }
    }

    /// Makes another stage of each.
    pub(crate) fn map<T>(self, mut make: impl FnMut(S) -> T) -> EachInput<T> {
        EachInput::new(self.stages.into_iter().map(|(input, stage)| (input, make(stage))))
    }

    fn each(&mut self) -> impl Iterator<Item = &mut S> {
        self.stages.iter_mut().map(|(_, stage)| stage)
    }
}

impl<S: Stage> Stage for EachInput<S> {
    type Input = S::Input;
    type Output = S::Output;

    fn name(&self) -> String {
        self.stages[0].1.name()
    }

    fn setup(&mut self) -> Result<(), BoxError> {
        self.each().try_for_each(Stage::setup)
    }

    fn stage_run(&mut self, x: S::Input) -> Result<Give<S::Output>, BoxError> {
        let sample = current_sample();
        let source = sample.as_ref().and_then(|sample| sample.source());
        let input = source.and_then(|source| self.stages.iter().position(|(input, _)| input == source));
        self.stages[input.unwrap_or(0)].1.stage_run(x)
    }

    fn finish(&mut self) -> Result<Give<S::Output>, BoxError> {
        // One that fails must not keep the files of the others from being finished.
        let ends: Vec<_> = self.each().map(Stage::finish).collect();
        ends.into_iter().try_fold(Give::Skip, |_, end| end)
    }

    fn teardown(&mut self) -> Result<(), BoxError> {
        let ends: Vec<_> = self.each().map(Stage::teardown).collect();
        ends.into_iter().collect()
    }
}
