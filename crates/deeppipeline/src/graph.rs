//! The description of a pipeline, and what makes it invalid.

use crate::buffer::Overflow;
use crate::error::GraphError;
use crate::intake::Intake;

/// How many samples a buffer holds when nobody says otherwise.
pub const DEFAULT_BUFFER_SIZE: usize = 2;

/// What the pipeline does when a stage fails on a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnError {
    /// The pipeline stops: what is past the stage flows out, the rest is discarded.
    #[default]
    Stop,
    /// The sample is counted as failed and the stage goes on.
    Skip,
}

/// How many samples the buffers hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BufferSize {
    /// The same for every stage.
    Each(usize),
    /// One per stage, the end stage included.
    List(Vec<usize>),
}

impl Default for BufferSize {
    fn default() -> Self {
        BufferSize::Each(DEFAULT_BUFFER_SIZE)
    }
}

impl From<usize> for BufferSize {
    fn from(size: usize) -> Self {
        BufferSize::Each(size)
    }
}

impl From<Vec<usize>> for BufferSize {
    fn from(sizes: Vec<usize>) -> Self {
        BufferSize::List(sizes)
    }
}

impl<const N: usize> From<[usize; N]> for BufferSize {
    fn from(sizes: [usize; N]) -> Self {
        BufferSize::List(sizes.into())
    }
}

/// One stage in the description of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The stage's name in reports and errors; a name that comes again gets a number.
    pub name: String,
    /// How the stage takes from its buffer.
    pub intake: Intake,
    /// What happens when its buffer is full; `None` follows the pipeline.
    pub overflow: Option<Overflow>,
    /// What happens when it fails on a sample.
    pub on_error: OnError,
}

impl Node {
    /// A stage with default options.
    pub fn new(name: impl Into<String>) -> Self {
        Node { name: name.into(), intake: Intake::default(), overflow: None, on_error: OnError::default() }
    }

    /// The policy in force: the stage's own, else what its intake implies, else the pipeline's.
    pub(crate) fn overflow_in(&self, graph: &Graph) -> Overflow {
        match (self.overflow, self.intake) {
            (Some(own), _) => own,
            (None, Intake::Latest) => Overflow::DropOldest,
            (None, Intake::Single | Intake::All) => graph.overflow,
        }
    }
}

/// A whole pipeline as plain data: what there is, in order, without the code of the stages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    /// Whether samples come from a source instead of `put`.
    pub source: bool,
    /// The stages, the end stage last.
    pub stages: Vec<Node>,
    /// How many samples the buffers hold.
    pub buffer_size: BufferSize,
    /// What happens when a buffer is full, for stages that do not say.
    pub overflow: Overflow,
}

impl Graph {
    /// Refuses what cannot work, naming the argument, what it got and what it wants.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn check(&self) -> Result<(), GraphError> {
        if self.stages.is_empty() {
            return Err(GraphError::NoStages);
        }
        if let BufferSize::List(sizes) = &self.buffer_size
            && sizes.len() != self.stages.len()
        {
            return Err(GraphError::BufferSizeCount { got: sizes.len(), stages: self.stages.len() });
        }
        for (index, node) in self.stages.iter().enumerate() {
            if self.size_of(index) == 0 {
                return Err(GraphError::BufferSizeZero { stage: node.name.clone() });
            }
            if let (Intake::Latest, Some(overflow)) = (node.intake, node.overflow)
                && overflow != Overflow::DropOldest
            {
                return Err(GraphError::OverflowAgainstIntake {
                    stage: node.name.clone(),
                    intake: node.intake,
                    overflow,
                });
            }
        }
        Ok(())
    }

    /// Tells stages of the same name apart, so that a report or an error names one: the second `Detect` becomes
    /// `Detect 2`.
    pub(crate) fn number_repeated_names(&mut self) {
        for index in 1..self.stages.len() {
            let (before, rest) = self.stages.split_at_mut(index);
            let taken = |name: &str| before.iter().any(|node| node.name == name);
            let numbered = (2..).map(|number| format!("{} {number}", rest[0].name));
            let mut names = std::iter::once(rest[0].name.clone()).chain(numbered);
            if let Some(free) = names.find(|name| !taken(name)) {
                rest[0].name = free;
            }
        }
    }

    /// How many samples the buffer in front of a stage holds.
    pub(crate) fn size_of(&self, index: usize) -> usize {
        match &self.buffer_size {
            BufferSize::Each(size) => *size,
            BufferSize::List(sizes) => sizes[index],
        }
    }
}
