//! The description of a pipeline, and what makes it invalid.

mod error;
mod layout;

pub use error::GraphError;
pub(crate) use layout::{Layout, PlacedBlock, PlacedNode, Producer};

use crate::policies::{ErrorPolicy, Executor, Intake, OnCrash, Overflow};
use crate::restart::RestartPolicy;
use crate::supervisor::SOURCE;
use std::ops::Range;
use std::time::Duration;

/// The number of samples that a buffer holds by default.
pub const DEFAULT_BUFFER_SIZE: usize = 2;

/// The number of bytes that the samples in a shared-memory buffer have together at most, by default: 256 MiB.
pub const DEFAULT_BUFFER_BYTES: usize = 256 << 20;

/// The number of samples of each stage, the last, that are kept for the [timeline](crate::report::Timeline) where nothing
/// is said.
pub const DEFAULT_RECORD: usize = 1000;

/// The largest number of samples of each stage that may be kept so.
pub const MOST_RECORD: usize = 1_000_000;

/// The number of times that a worker process is restarted within [`RESTART_WINDOW`], by default.
pub const DEFAULT_MAX_RESTARTS: u32 = 3;

/// Bytes of stack for the thread that runs a worker by default: 16 MiB, room for a sample of 1 MiB that is passed by
/// value in a build without optimisation. Only what is used is ever backed by memory. The variable `RUST_MIN_STACK` is
/// the default where it is set.
pub const DEFAULT_STACK_SIZE: usize = 16 << 20;

/// The number of workers that a stage may have at most.
pub const MAX_WORKERS: usize = 1024;

/// The number of entrances that a pipeline may have at the same time.
pub const MAX_ENTRANCES: usize = 256;

/// The length in bytes that the name of an entrance may have.
pub(crate) const LONGEST_NAME: usize = 1024;

/// The time in which the restarts of a worker process are counted.
pub const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// The number of samples that the buffers hold.
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
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
pub struct Node {
    /// The stage's name in reports and errors; a name that comes again gets a number.
    pub name: String,
    /// True if that is the name of its type, which counts until the worker has made the stage and knows its own.
    pub is_made: bool,
    /// The way the stage takes from its buffer.
    pub intake: Intake,
    /// The number of samples that the buffer in front of it holds; `None` follows the pipeline.
    pub buffer_size: Option<usize>,
    /// The number of bytes that the samples in that buffer have together at most, where it lies in shared memory;
    /// `None` follows the pipeline.
    pub buffer_bytes: Option<usize>,
    /// The policy when its buffer is full; `None` follows the pipeline.
    pub overflow: Option<Overflow>,
    /// The policy when it fails on a sample.
    pub on_error: ErrorPolicy,
    /// The place where it runs.
    pub executor: Executor,
    /// The policy for the sample in flight when its process dies; said only of a stage in a process.
    pub on_crash: Option<OnCrash>,
    /// The number of times that its process is restarted within [`RESTART_WINDOW`]; after one death more the pipeline
    /// stops. `None` is [`DEFAULT_MAX_RESTARTS`]; said only of a stage in a process.
    pub max_restarts: Option<u32>,
    /// The time that `stage_run` may take: a process is killed then and counts as crashed. On a thread it is only
    /// logged; but where it is one of several and keeps the results of the others waiting, they go on without the
    /// sample.
    pub time_limit: Option<Duration>,
    /// The number of its workers; each has a stage of its own.
    pub workers: usize,
    /// The number of workers that it may be scaled to while the pipeline runs; `None` is `workers`.
    pub max_workers: Option<usize>,
    /// True if its samples leave it in the order in which it took them, however many workers it has.
    pub ordered: bool,
    /// A sample that is older when the stage takes it is dropped instead; `None` follows the pipeline.
    pub max_age: Option<Duration>,
    /// Bytes of stack for the thread that runs a worker; `None` is [`DEFAULT_STACK_SIZE`].
    pub stack_size: Option<usize>,
}

impl Node {
    /// Makes a stage with default options.
    pub fn new(name: impl Into<String>) -> Self {
        Node {
            name: name.into(),
            is_made: false,
            intake: Intake::default(),
            buffer_size: None,
            buffer_bytes: None,
            overflow: None,
            on_error: ErrorPolicy::default(),
            executor: Executor::default(),
            on_crash: None,
            max_restarts: None,
            time_limit: None,
            workers: 1,
            max_workers: None,
            ordered: true,
            max_age: None,
            stack_size: None,
        }
    }

    /// Returns the number of workers that there may be at the same time.
    pub(crate) fn most_workers(&self) -> usize {
        self.max_workers.unwrap_or(self.workers)
    }

    /// Returns the policy for the sample in flight when its process dies.
    #[cfg(processes)]
    pub(crate) fn after_a_crash(&self) -> OnCrash {
        self.on_crash.unwrap_or_default()
    }

    /// The number of times that its process is restarted within [`RESTART_WINDOW`].
    #[cfg(processes)]
    pub(crate) fn restarts_allowed(&self) -> usize {
        self.max_restarts.unwrap_or(DEFAULT_MAX_RESTARTS) as usize
    }

    /// Returns true if the stage may get a sample from another process more than once, so that it must not write it.
    #[cfg(processes)]
    pub(crate) fn may_see_again(&self) -> bool {
        let after_a_crash = self.executor.is_process() && self.after_a_crash() == OnCrash::Retry;
        after_a_crash || self.on_error.retries() > 0
    }

    /// The policy in force: the stage's own, else what its intake implies, else the pipeline's.
    pub(crate) fn overflow_in(&self, graph: &Graph) -> Overflow {
        match (self.overflow, self.intake) {
            (Some(own), _) => own,
            (None, intake) if intake.supersedes() => Overflow::DropOldest,
            (None, _) => graph.default_overflow(),
        }
    }
}

/// Branches that all get the same samples at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Block {
    /// The block's name in reports; a name that comes again gets a number.
    pub name: String,
    /// The stages of each branch, as places in [`Graph::stages`]: one branch follows the other.
    pub branches: Vec<Range<usize>>,
    /// What becomes of the branches' results.
    pub results: BlockResults,
    /// True if each sample goes to one of the branches, which the block's code chooses, and not to all.
    pub routed: bool,
}

/// The way of what the branches of a block give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BlockResults {
    /// No way: each branch ends in an end stage.
    End,
    /// To the stage behind the last branch, once there is one of each branch for the same sample.
    Joined,
    /// The same at once for each of the first branch, with the newest of each of the others beside it.
    JoinedWithLatest,
    /// To the stage behind, beside the sample that was split, once each of its parts has a result or none to come: the
    /// parts go through the one branch.
    Gathered,
}

/// The place where what a node gives goes; a node is a stage or a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// No place: it is an end stage.
    End,
    /// The buffer in front of that node.
    Next(usize),
    /// The answers to what was submitted.
    Answers,
    /// Every branch of that block.
    Fork(usize),
    /// The join of a block, as the result of a branch.
    Join {
        /// The block.
        block: usize,
        /// The branch of it.
        branch: usize,
    },
}

/// The source in the description of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceNode {
    /// Returns true if samples come at their own pace, whether the pipeline keeps up or not: a camera, a network
    /// stream.
    pub is_live: bool,
    /// When it is opened again after an error or an end; `None` for one that ends then.
    pub restart: Option<RestartPolicy>,
}

impl SourceNode {
    /// Refuses what cannot work.
    fn check(&self, name: &str) -> Result<(), GraphError> {
        let Some(RestartPolicy { wait, at_most, times }) = self.restart else { return Ok(()) };
        let name = || name.to_owned();
        if wait.is_zero() {
            return Err(GraphError::RestartWithoutWait { name: name() });
        }
        if at_most < wait {
            return Err(GraphError::RestartWaits { name: name(), wait, at_most });
        }
        match times {
            Some(0) => Err(GraphError::RestartNever { name: name() }),
            _ => Ok(()),
        }
    }
}

/// An entrance that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntranceNode {
    /// The name, which its samples tell.
    pub name: String,
    /// The source that samples come from; `None` where they are put.
    pub source: Option<SourceNode>,
    /// The policy when it is full; `None` follows the first stage, then the pipeline, and then what suits the source.
    pub overflow: Option<Overflow>,
    /// The age beyond which a sample is dropped when it is taken; `None` follows the first stage, then the pipeline.
    pub max_age: Option<Duration>,
    /// The time after which a source that has given nothing is stalled; `None` follows the pipeline.
    pub stall_timeout: Option<Duration>,
}

impl EntranceNode {
    /// Refuses what cannot work in front of a stage that takes so.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub(crate) fn check(&self, intake: Intake) -> Result<(), GraphError> {
        let name = || self.name.clone();
        if self.name.is_empty() {
            return Err(GraphError::EntranceWithoutName);
        }
        if self.name.len() > LONGEST_NAME {
            return Err(GraphError::EntranceNameTooLong { bytes: self.name.len() });
        }
        if self.max_age == Some(Duration::ZERO) {
            return Err(GraphError::MaxAgeZeroAtEntrance { name: name() });
        }
        match (&self.source, self.stall_timeout) {
            (None, Some(_)) => return Err(GraphError::StallTimeoutWithoutSource { name: name() }),
            (_, Some(Duration::ZERO)) => return Err(GraphError::StallTimeoutZero),
            (Some(source), _) => source.check(&self.name)?,
            (None, None) => {}
        }
        match self.overflow {
            Some(overflow) if intake.supersedes() && overflow != Overflow::DropOldest => {
                Err(GraphError::OverflowOfEntrance { name: name(), overflow })
            }
            _ => Ok(()),
        }
    }
}

/// A whole pipeline as plain data: what there is, in order, without the code of the stages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    /// The source that samples come from, if they do not come by `put`.
    pub source: Option<SourceNode>,
    /// The entrances that have names, instead of that source and of `put` without a name.
    pub entrances: Vec<EntranceNode>,
    /// True if samples may be submitted: what the last stage gives for them is their answer.
    pub answers: bool,
    /// True if the fate of every sample is told.
    pub fates: bool,
    /// The stages, the end stage last.
    pub stages: Vec<Node>,
    /// Branches that run in parallel, in reading order: a block inside another comes after it.
    pub blocks: Vec<Block>,
    /// The number of samples that the buffers hold.
    pub buffer_size: BufferSize,
    /// The number of bytes that the samples in a buffer have together at most, where it lies in shared memory: in front
    /// of and behind a stage in a process. `None` is [`DEFAULT_BUFFER_BYTES`]; said only where some stage is in a
    /// process.
    pub buffer_bytes: Option<usize>,
    /// The policy when a buffer is full, for stages that do not say; `None` blocks behind a source that is not live,
    /// and drops the oldest otherwise.
    pub overflow: Option<Overflow>,
    /// The age beyond which a sample is dropped when it is taken, for stages that do not say.
    pub max_age: Option<Duration>,
    /// The time after which a source that has given nothing is stalled, for sources that do not say.
    pub stall_timeout: Option<Duration>,
    /// The number of samples of each stage, the last, of which it is kept when they came, were taken and ended; `None` is
    /// [`DEFAULT_RECORD`].
    pub record: Option<usize>,
}

impl Graph {
    /// Refuses what cannot work, naming the argument, what it got and what it wants.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn check(&self) -> Result<(), GraphError> {
        self.layout().map(drop)
    }

    /// Lays out the nodes of the pipeline, if it is one.
    pub(crate) fn layout(&self) -> Result<Layout, GraphError> {
        if self.stages.is_empty() {
            return Err(GraphError::NoStages);
        }
        if let BufferSize::List(sizes) = &self.buffer_size
            && sizes.len() != self.stages.len()
        {
            return Err(GraphError::BufferSizeCount { got: sizes.len(), stages: self.stages.len() });
        }

        if let Some(got) = self.record.filter(|record| *record > MOST_RECORD) {
            return Err(GraphError::RecordTooLarge { got });
        }
        self.check_entrances()?;
        let layout = Layout::new(self)?;
        if self.buffer_bytes.is_some() && self.stages.iter().all(|node| !node.executor.is_process()) {
            return Err(GraphError::BufferBytesOnThreads);
        }

        // Stage by stage: the first thing found wrong is told.
        let places = layout.nodes.iter().enumerate();
        let places = places.filter_map(|(place, node)| Some((place, &self.stages[node.role.stage()?])));
        for (place, node) in places {
            if node.executor.is_process() && !cfg!(processes) {
                return Err(GraphError::NoProcesses { stage: node.name.clone() });
            }
            if node.time_limit == Some(Duration::ZERO) {
                return Err(GraphError::TimeLimitZero { stage: node.name.clone() });
            }
            if node.stack_size == Some(0) {
                return Err(GraphError::StackSizeZero { stage: node.name.clone() });
            }
            Self::check_thread(node)?;
            Self::check_buffer(&layout, place, node)?;
            Self::check_workers(node)?;
            Self::check_lists(&layout, place, node)?;
            if node.max_age.or(self.max_age) == Some(Duration::ZERO) {
                return Err(GraphError::MaxAgeZero { stage: node.name.clone() });
            }
            if let Some(overflow) = node.overflow
                && node.intake.supersedes()
                && overflow != Overflow::DropOldest
            {
                return Err(GraphError::OverflowAgainstIntake {
                    stage: node.name.clone(),
                    intake: node.intake,
                    overflow,
                });
            }
        }
        Ok(layout)
    }

    /// The policy of stages that do not say: the pipeline's, else what suits the producer of the samples. A source that
    /// is not live can wait, and nothing of it has to be lost.
    pub(crate) fn default_overflow(&self) -> Overflow {
        let of_entrances = self.entrances.iter().map(|entrance| entrance.source);
        let mut sources = of_entrances.chain([self.source]).flatten();
        self.overflow.unwrap_or(match sources.any(|source| !source.is_live) {
            true => Overflow::Block,
            false => Overflow::DropOldest,
        })
    }

    fn check_entrances(&self) -> Result<(), GraphError> {
        if self.entrances.len() > MAX_ENTRANCES {
            return Err(GraphError::TooManyEntrances { got: self.entrances.len() });
        }
        if self.source.is_some() && !self.entrances.is_empty() {
            return Err(GraphError::SourceBesideEntrances);
        }
        if let Some(source) = &self.source {
            source.check(SOURCE)?;
        }
        if self.stall_timeout == Some(Duration::ZERO) {
            return Err(GraphError::StallTimeoutZero);
        }
        for (place, entrance) in self.entrances.iter().enumerate() {
            if self.entrances[..place].iter().any(|other| other.name == entrance.name) {
                return Err(GraphError::EntranceTwice { name: entrance.name.clone() });
            }
            entrance.check(self.stages[0].intake)?;
        }
        Ok(())
    }

    /// Refuses what would be said in vain of a stage on a thread, which takes the program with it when it crashes.
    fn check_thread(node: &Node) -> Result<(), GraphError> {
        let in_vain = [("on_crash", node.on_crash.is_some()), ("max_restarts", node.max_restarts.is_some())];
        match in_vain.into_iter().find(|(_, is_said)| *is_said && !node.executor.is_process()) {
            Some((option, _)) => Err(GraphError::OnlyInProcesses { stage: node.name.clone(), option }),
            None => Ok(()),
        }
    }

    fn check_buffer(layout: &Layout, place: usize, node: &Node) -> Result<(), GraphError> {
        let limits = layout.limits[place];
        if limits.capacity == 0 {
            return Err(GraphError::BufferSizeZero { stage: node.name.clone() });
        }
        if limits.bytes == 0 {
            return Err(GraphError::BufferBytesZero { stage: node.name.clone() });
        }
        if node.buffer_bytes.is_some() && !layout.is_shared(place) {
            return Err(GraphError::BufferBytesBetweenThreads { stage: node.name.clone() });
        }
        Ok(())
    }

    fn check_workers(node: &Node) -> Result<(), GraphError> {
        let stage = || node.name.clone();
        if !(1..=MAX_WORKERS).contains(&node.workers) {
            return Err(GraphError::Workers { stage: stage(), got: node.workers });
        }
        let most = node.most_workers();
        if !(node.workers..=MAX_WORKERS).contains(&most) {
            return Err(GraphError::MostWorkers { stage: stage(), got: most, workers: node.workers });
        }
        match node.intake {
            Intake::Window { .. } if most > 1 => {
                Err(GraphError::WindowOfSeveralWorkers { stage: stage(), workers: most })
            }
            _ => Ok(()),
        }
    }

    fn check_lists(layout: &Layout, place: usize, node: &Node) -> Result<(), GraphError> {
        let (stage, buffer_size) = (|| node.name.clone(), layout.limits[place].capacity);
        match node.intake {
            Intake::Window { size, stride } if size == 0 || stride == 0 => {
                Err(GraphError::WindowZero { stage: stage(), size, stride })
            }
            Intake::All if layout.is_for_parts(place) => Err(GraphError::AllOfParts { stage: stage() }),
            Intake::Batch { max_size: 0, .. } => Err(GraphError::BatchZero { stage: stage() }),
            Intake::Batch { max_size, .. } if max_size > buffer_size => {
                Err(GraphError::BatchBeyondBuffer { stage: stage(), max_size, buffer_size })
            }
            _ => Ok(()),
        }
    }
}
