//! What makes a description invalid, in words.

use super::{LONGEST_NAME, MAX_ENTRANCES, MAX_WORKERS, MOST_RECORD};
use crate::policies::{Intake, Overflow};
use std::time::Duration;

/// A reason why the description of a pipeline is invalid; found before anything starts.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A pipeline needs at least one stage.
    #[error("stages is empty: a pipeline needs at least one stage")]
    NoStages,
    /// A list of buffer sizes must have one size per stage, the end stage included.
    #[error(
        "buffer_size has {got} sizes, but the pipeline has {stages} stages (the end stage counts): give one size per stage, or a single number for all"
    )]
    BufferSizeCount {
        /// The number of sizes that were given.
        got: usize,
        /// The number of stages.
        stages: usize,
    },
    /// A buffer must hold at least one sample.
    #[error("buffer_size of stage {stage:?} is 0, but must be at least 1")]
    BufferSizeZero {
        /// The stage behind that buffer.
        stage: String,
    },
    /// A shared buffer must have room for something.
    #[error("buffer_bytes of stage {stage:?} is 0, but must be at least 1: how many bytes wait in front of it at most")]
    BufferBytesZero {
        /// The stage behind that buffer.
        stage: String,
    },
    /// What is kept of a failed sample is its own value.
    #[error(
        "stage {stage:?} keeps what it fails on, but takes lists that are no batch, in which no sample fails alone: leave \
         keep_failed out, or use the intake Batch"
    )]
    KeepsLists {
        /// The stage.
        stage: String,
    },
    /// Dead letters need a place.
    #[error("the folder of dead_letters is empty, but must be the path of a folder; \".\" is the current one")]
    NoDeadLetterFolder,
    /// Dead letters need room.
    #[error("max_bytes of dead_letters is 0, but must be at least 1: how many bytes all letters may have together")]
    DeadLetterBytesZero,
    /// A time limit must leave some time.
    #[error("time_limit of stage {stage:?} is 0, but must be more: the time that stage_run may take for one sample")]
    TimeLimitZero {
        /// The stage.
        stage: String,
    },
    /// A thread has a stack.
    #[error("stack_size of stage {stage:?} is 0, but must be more: bytes of stack for the thread of each worker")]
    StackSizeZero {
        /// The stage.
        stage: String,
    },
    /// An option about the death of a process is only for a stage in one.
    #[error(
        "{option} of stage {stage:?} is set, but the stage runs on a thread, where a crash ends the whole program: leave it out, or run the stage in a process"
    )]
    OnlyInProcesses {
        /// The stage.
        stage: String,
        /// The option.
        option: &'static str,
    },
    /// Bytes are counted only where samples cross from one process to another.
    #[error(
        "buffer_bytes is set, but every stage runs on a thread, where only buffer_size bounds what waits: leave it out, or run a stage in a process"
    )]
    BufferBytesOnThreads,
    /// The bytes of one buffer are counted only where samples cross from one process to another in it.
    #[error(
        "buffer_bytes of stage {stage:?} is set, but neither it nor the stage before it runs in a process, and between threads only buffer_size bounds what waits: leave it out, or run one of the two in a process"
    )]
    BufferBytesBetweenThreads {
        /// The stage behind that buffer.
        stage: String,
    },
    /// A stage has at least one worker.
    #[error("workers of stage {stage:?} is {got}, but must be 1 to {MAX_WORKERS}")]
    Workers {
        /// The stage.
        stage: String,
        /// The value that was asked for.
        got: usize,
    },
    /// A stage may have no fewer workers than it begins with.
    #[error("max_workers of stage {stage:?} is {got}, but must be {workers} (its workers) to {MAX_WORKERS}")]
    MostWorkers {
        /// The stage.
        stage: String,
        /// The number it got.
        got: usize,
        /// The number of workers that it begins with.
        workers: usize,
    },
    /// A window is of one worker's samples.
    #[error(
        "stage {stage:?} takes windows and has {workers} workers, each of which would see some of the samples: leave workers and max_workers out"
    )]
    WindowOfSeveralWorkers {
        /// The stage.
        stage: String,
        /// The number of workers it was to have.
        workers: usize,
    },
    /// Whoever waits for a full buffer may wait for parts that never come.
    #[error(
        "stage {stage:?} takes all, and so waits for parts of samples that may have none: let it take a batch, which waits no longer than it is told to"
    )]
    AllOfParts {
        /// The stage.
        stage: String,
    },
    /// A window has samples, and moves.
    #[error("the window of stage {stage:?} has size {size} and stride {stride}, but both must be at least 1")]
    WindowZero {
        /// The stage.
        stage: String,
        /// Its size.
        size: usize,
        /// Its stride.
        stride: usize,
    },
    /// A stage with windows for keys keeps at least one.
    #[error("max_keys of a window is 0, but must be at least 1: for how many keys windows are kept")]
    MaxKeysZero,
    /// A key is not forgotten at once.
    #[error("idle of a window is 0, but must be at least 1: after how many samples without it a key is forgotten")]
    IdleZero,
    /// A batch has room for a sample.
    #[error("max_size of the batch of stage {stage:?} is 0, but must be at least 1")]
    BatchZero {
        /// The stage.
        stage: String,
    },
    /// A batch waits in the buffer until it is complete.
    #[error(
        "stage {stage:?} takes batches of up to {max_size}, but its buffer_size is {buffer_size}: give it a buffer_size of {max_size} or more"
    )]
    BatchBeyondBuffer {
        /// The stage.
        stage: String,
        /// The size of a full batch.
        max_size: usize,
        /// The size of the buffer that it would have to be in.
        buffer_size: usize,
    },
    /// A folder has a name: an empty one would be the current folder.
    #[error("dump_to is empty, but must be the path of a folder; \".\" is the current one")]
    NoDumpFolder,
    /// What is kept for the timeline takes memory.
    #[error(
        "record is {got}, but may be {MOST_RECORD} at most: so many samples of each stage are kept for the timeline"
    )]
    RecordTooLarge {
        /// The number of samples that was given.
        got: usize,
    },
    /// Samples must be allowed some age.
    #[error("max_age of stage {stage:?} is 0, but must be more: how old a sample may be when the stage takes it")]
    MaxAgeZero {
        /// The stage.
        stage: String,
    },
    /// There is a limit to the entrances of a pipeline.
    #[error("the pipeline has {got} entrances, but may have {MAX_ENTRANCES} at the same time")]
    TooManyEntrances {
        /// The number of entrances.
        got: usize,
    },
    /// A source without a name stands alone.
    #[error("the pipeline has a source without a name beside named entrances: give it a name, as one of the sources")]
    SourceBesideEntrances,
    /// A name says something.
    #[error("the name of an entrance is empty: give it one that its samples can tell")]
    EntranceWithoutName,
    /// A name is no text.
    #[error("the name of an entrance has {bytes} bytes, but may have {LONGEST_NAME}")]
    EntranceNameTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Names tell entrances apart.
    #[error("two entrances are named {name:?}: give each a name of its own")]
    EntranceTwice {
        /// The name.
        name: String,
    },
    /// Samples must be allowed some age.
    #[error(
        "max_age of entrance {name:?} is 0, but must be more: how old a sample may be when the first stage takes it"
    )]
    MaxAgeZeroAtEntrance {
        /// The entrance.
        name: String,
    },
    /// A source that fails at once is not to be opened without a pause.
    #[error("wait of the restart of {name:?} is 0, but must be more: the time before it is opened again")]
    RestartWithoutWait {
        /// The source.
        name: String,
    },
    /// The wait grows.
    #[error(
        "at_most of the restart of {name:?} is {at_most:?}, but must be at least its wait, which is {wait:?} and grows to that"
    )]
    RestartWaits {
        /// The source.
        name: String,
        /// The first wait.
        wait: Duration,
        /// The longest.
        at_most: Duration,
    },
    /// A source must be allowed some time.
    #[error("stall_timeout is 0, but must be more: how long a source may give nothing")]
    StallTimeoutZero,
    /// Only a source stalls.
    #[error(
        "stall_timeout of entrance {name:?} is said in vain, since it has no source: samples are put into it; leave it out"
    )]
    StallTimeoutWithoutSource {
        /// The entrance.
        name: String,
    },
    /// A restart restarts.
    #[error(
        "times of the restart of {name:?} is 0, but must be at least 1, or left out: give the source as it is where it ends with its first failure"
    )]
    RestartNever {
        /// The source.
        name: String,
    },
    /// The intake `latest` implies `drop_oldest`.
    #[error(
        "the first stage takes the latest of each entrance, which implies overflow \"drop_oldest\", but overflow of entrance {name:?} is \"{overflow}\": leave one of the two out"
    )]
    OverflowOfEntrance {
        /// The entrance.
        name: String,
        /// The policy that was asked of it.
        overflow: Overflow,
    },
    /// Samples must become bytes where processes meet.
    #[error("no codec was given for the buffer of stage {stage:?}, which processes share")]
    NoCodec {
        /// The stage behind that buffer.
        stage: String,
    },
    /// The name of an isolated stage says which it is.
    #[error(
        "{name:?} is the NAME of two isolated stages, {first} and {second}: give each a NAME of its own; a generic stage is another stage for each of its types"
    )]
    SameIsolatedName {
        /// The name.
        name: String,
        /// The type of the stage that had it first.
        first: String,
        /// The type of the other one.
        second: String,
    },
    /// Settings must become bytes to reach the process of their stage.
    #[error("the settings of stage {stage:?} cannot be sent to its process: {cause}")]
    Settings {
        /// The stage.
        stage: String,
        /// The reason.
        cause: String,
    },
    /// Samples must become bytes to cross from one process to another, and be read again.
    #[error("the samples in front of stage {stage:?} cannot cross from one process to another: {cause}")]
    Samples {
        /// The stage.
        stage: String,
        /// The reason.
        cause: String,
    },
    /// Processes are not there on every system, and not without the feature `processes`.
    #[error(
        "stage {stage:?} is to run in a process, which needs Linux and the feature \"processes\": leave executor (or multiprocess) out, and it runs on a thread"
    )]
    NoProcesses {
        /// The stage.
        stage: String,
    },
    /// The intake `latest` implies `drop_oldest`.
    #[error(
        "stage {stage:?} takes {intake}, which implies overflow \"drop_oldest\", but its overflow is set to \"{overflow}\": leave one of the two out"
    )]
    OverflowAgainstIntake {
        /// The stage.
        stage: String,
        /// The way it takes.
        intake: Intake,
        /// The policy that was asked of its buffer.
        overflow: Overflow,
    },
    /// Branches that end the pipeline have no stage behind them, since nothing comes out of them.
    #[error("something follows end stages in parallel, which give nothing: put it into a branch, or join the branches")]
    BehindTheEnd,
    /// A parallel block that joins its branches has a stage behind it, to take what it joins.
    #[error(
        "a parallel block that joins its branches is the last, and nobody takes what it joins: add a stage behind it, or end each branch in a stage of its own"
    )]
    JoinAtTheEnd,
    /// An answer is what one last stage gives.
    #[error(
        "end stages in parallel give no answers: join the branches, and let a stage behind them give what is the answer"
    )]
    AnswersOfBranches,
    /// The branches of a parallel block stand one after the other, in one chain.
    #[error("blocks has a parallel block out of place: {problem}")]
    MisplacedBlock {
        /// The problem with it.
        problem: &'static str,
    },
    /// A sample goes one way.
    #[error("the key {key} is given twice in a route: a sample goes one way, so give each key once")]
    SameKeyTwice {
        /// The key.
        key: String,
    },
    /// A sample must have somewhere to go.
    #[error("a route has no ways: add a stage for a key, or an otherwise")]
    NoWays,
    /// A branch does something.
    #[error("a branch of a parallel block is empty: add a stage to it")]
    EmptyBranch,
}
