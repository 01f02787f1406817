//! What a case says.

use deeppipeline::builder::BufferSize;
use deeppipeline::engine::{BlockResults, EntranceNode, ErrorPolicy, SourceNode};
use deeppipeline::intake::Intake;
use deeppipeline::report::SOURCE;
use deeppipeline::{Overflow, Window};
use std::time::Duration;

/// A pipeline, its inputs, and when what happens.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) stages: Vec<StageSpec>,
    /// How many stages are before two branches, and how many in each; with none behind, both branches end the pipeline.
    pub(crate) parallel: Option<(usize, [usize; 2])>,
    /// Whether the first goes on with the newest of the second, where they are joined.
    pub(crate) with_latest: bool,
    /// Whether odd samples go to the first branch and even ones to the second, instead of all to both.
    pub(crate) routed: bool,
    /// The stages through which the parts go that the stage in front of them gives for each sample.
    pub(crate) for_each: Option<std::ops::Range<usize>>,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) buffer_size: BufferSize,
    pub(crate) input: Input,
    /// What has a name and samples come in by, beside or instead of that.
    pub(crate) entrances: Vec<EntranceSpec>,
    /// Whether each put is a submission, whose answer is looked at, too.
    pub(crate) answers: bool,
    /// Whether the fate of every sample is told, and looked at.
    pub(crate) fates: bool,
    /// Whether tasks put, which are woken once there is room, instead of a thread that waits.
    pub(crate) by_tasks: bool,
    /// When the workers come up.
    pub(crate) up_after: Duration,
    /// When `setstop` is called; otherwise after the last put, or never where there is a source.
    pub(crate) stop_at: Option<Duration>,
    /// When the pipeline is flushed.
    pub(crate) flushes: Vec<Duration>,
    /// When one of the entrances is flushed alone.
    pub(crate) source_flushes: Vec<(Duration, usize)>,
    /// When a stage, or what stands at the entrance, is paused (true) or resumed.
    pub(crate) pauses: Vec<(Duration, Option<usize>, bool)>,
    /// When a stage is replaced, in the order of time, and what the new one does.
    pub(crate) replacements: Vec<(Duration, usize, Does)>,
    /// When a stage gets another number of workers, and how many.
    pub(crate) scalings: Vec<(Duration, usize, usize)>,
    /// When a stage is told a factor, by which it multiplies what it gets from then on.
    pub(crate) updates: Vec<(Duration, usize, i64)>,
}

/// Where the samples 1, 2, 3, … come from.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// Put at these times.
    Puts(Vec<Duration>),
    /// From a source that takes that long for each of so many, and then ends or fails.
    Source { samples: i64, each: Duration, fails: bool, is_live: bool },
}

/// One source, or entrance to put into, with a name: the samples of the first are 101, 102, 103, …, of the second 201, …
#[derive(Debug, Clone)]
pub(crate) struct EntranceSpec {
    pub(crate) name: String,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) input: Input,
    /// When it is added, if it is a source that is not there from the beginning.
    pub(crate) added_at: Option<Duration>,
    /// When it is removed.
    pub(crate) removed_at: Option<Duration>,
}

/// An entrance with so many puts, one every so many milliseconds, the first at once.
pub(crate) fn entrance(name: &str, count: u64, every: u64) -> EntranceSpec {
    EntranceSpec::of(name, Input::puts(count, every))
}

/// A source of so many samples, one every so many milliseconds.
pub(crate) fn source(name: &str, samples: i64, each: u64) -> EntranceSpec {
    EntranceSpec::of(name, Input::Source { samples, each: ms(each), fails: false, is_live: false })
}

impl Input {
    fn puts(count: u64, every: u64) -> Self {
        Input::Puts((0..count).map(|i| ms(i * every)).collect())
    }
}

impl EntranceSpec {
    pub(crate) fn of(name: &str, input: Input) -> Self {
        let name = name.to_owned();
        EntranceSpec { name, overflow: None, max_age: None, input, added_at: None, removed_at: None }
    }

    /// The source comes only then.
    pub(crate) fn added_at(self, milliseconds: u64) -> Self {
        EntranceSpec { added_at: Some(ms(milliseconds)), ..self }
    }

    pub(crate) fn removed_at(self, milliseconds: u64) -> Self {
        EntranceSpec { removed_at: Some(ms(milliseconds)), ..self }
    }

    pub(crate) fn overflow(self, overflow: Overflow) -> Self {
        EntranceSpec { overflow: Some(overflow), ..self }
    }

    pub(crate) fn max_age(self, max_age: u64) -> Self {
        EntranceSpec { max_age: Some(ms(max_age)), ..self }
    }

    /// The source fails at its end.
    pub(crate) fn fails(mut self) -> Self {
        if let Input::Source { fails, .. } = &mut self.input {
            *fails = true;
        }
        self
    }

    pub(crate) fn node(&self) -> EntranceNode {
        EntranceNode {
            overflow: self.overflow,
            max_age: self.max_age,
            source: self.input.source_node(),
            name: self.name.clone(),
            stall_timeout: None,
        }
    }

    pub(crate) fn is_source(&self) -> bool {
        matches!(self.input, Input::Source { .. })
    }

    /// How many numbers come before its first sample, where it is the entrance of that place.
    pub(crate) fn before_first(place: usize) -> i64 {
        100 * (place as i64 + 1)
    }
}

/// One stage.
#[derive(Debug, Clone)]
pub(crate) struct StageSpec {
    pub(crate) name: String,
    pub(crate) does: Does,
    pub(crate) takes: Duration,
    pub(crate) intake: Intake,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) on_error: ErrorPolicy,
    pub(crate) workers: usize,
    /// The number that it may be scaled to.
    pub(crate) max_workers: Option<usize>,
    pub(crate) ordered: bool,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    /// With a window: how many keys there are, x and x + keys having the same.
    pub(crate) keys: i64,
    /// After how many samples a key is forgotten.
    pub(crate) idle: Option<u64>,
    /// Samples that take longer or shorter, by the numbers of their puts.
    pub(crate) but: Vec<(u64, Duration)>,
}

/// What a stage does with a sample, and with each of a batch. Another list counts as the sum of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Does {
    Identity,
    Double,
    SkipEven,
    /// Gives back that many: 10·x + 1, 10·x + 2, …
    Many(i64),
    /// Like `Many(4)`, but the iterator panics after two.
    BrokenMany,
    FailOn(i64),
    /// Fails on a batch with that one in it, and on that one alone.
    FailWith(i64),
    /// Gives back a result too few for a batch.
    OneTooFew,
    /// Fails so often on that one before it goes through.
    FailAtFirst {
        on: i64,
        times: u32,
    },
    /// Gives two parts and fails, so often on that one; then gives `Many(4)`.
    BreakAtFirst {
        on: i64,
        times: u32,
    },
    PanicOn(i64),
    /// Skips all, and gives them all at the end.
    HoldUntilFinish,
    /// Identity, and then gives −1, −2, … so many at the end.
    FinishGives(i64),
    FailInSetup,
    FailInFinish,
    FailInTeardown,
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A stage that does that in so many milliseconds.
pub(crate) fn stage(name: &str, does: Does, takes: u64) -> StageSpec {
    StageSpec {
        name: name.to_owned(),
        does,
        takes: ms(takes),
        intake: Intake::Single,
        overflow: None,
        on_error: ErrorPolicy::Stop,
        workers: 1,
        max_workers: None,
        ordered: true,
        time_limit: None,
        max_age: None,
        keys: 1,
        idle: None,
        but: Vec::new(),
    }
}

impl StageSpec {
    pub(crate) fn latest(self) -> Self {
        StageSpec { intake: Intake::Latest, ..self }
    }

    pub(crate) fn all(self) -> Self {
        StageSpec { intake: Intake::All, ..self }
    }

    pub(crate) fn overflow(self, overflow: Overflow) -> Self {
        StageSpec { overflow: Some(overflow), ..self }
    }

    pub(crate) fn batch(self, max_size: usize, max_wait: u64) -> Self {
        StageSpec { intake: Intake::Batch { max_size, max_wait: ms(max_wait), fold: false }, ..self }
    }

    /// The batch gives one result for all, which counts as the sum of its values.
    pub(crate) fn fold(mut self) -> Self {
        if let Intake::Batch { fold, .. } = &mut self.intake {
            *fold = true;
        }
        self
    }

    pub(crate) fn window(self, size: usize, stride: usize) -> Self {
        StageSpec { intake: Intake::Window { size, stride }, ..self }
    }

    pub(crate) fn keys(self, keys: i64) -> Self {
        StageSpec { keys, ..self }
    }

    pub(crate) fn idle(self, idle: u64) -> Self {
        StageSpec { idle: Some(idle), ..self }
    }

    /// Its window, if it has one, and how many keys there are.
    pub(crate) fn windows(&self) -> Option<(Window, i64)> {
        let Intake::Window { size, stride } = self.intake else { return None };
        let window = Window::new(size).stride(stride);
        Some((self.idle.map_or(window, |idle| window.idle(idle)), self.keys))
    }

    pub(crate) fn workers(self, workers: usize) -> Self {
        StageSpec { workers, ..self }
    }

    pub(crate) fn max_workers(self, max_workers: usize) -> Self {
        StageSpec { max_workers: Some(max_workers), ..self }
    }

    pub(crate) fn unordered(self) -> Self {
        StageSpec { ordered: false, ..self }
    }

    /// The sample of that put takes so many milliseconds.
    pub(crate) fn but(mut self, number: u64, takes: u64) -> Self {
        self.but.push((number, ms(takes)));
        self
    }

    pub(crate) fn time_limit(self, time_limit: u64) -> Self {
        StageSpec { time_limit: Some(ms(time_limit)), ..self }
    }

    pub(crate) fn max_age(self, max_age: u64) -> Self {
        StageSpec { max_age: Some(ms(max_age)), ..self }
    }

    /// How long a sample takes.
    pub(crate) fn takes_for(&self, number: u64) -> Duration {
        self.but.iter().find(|(of, _)| *of == number).map_or(self.takes, |(_, takes)| *takes)
    }

    pub(crate) fn retry(self, times: u32) -> Self {
        StageSpec { on_error: ErrorPolicy::Retry { times, skip: false }, ..self }
    }

    pub(crate) fn retry_then_skip(self, times: u32) -> Self {
        StageSpec { on_error: ErrorPolicy::Retry { times, skip: true }, ..self }
    }

    pub(crate) fn skip_errors(self) -> Self {
        StageSpec { on_error: ErrorPolicy::Skip, ..self }
    }
}

/// A chain with buffers of two that do what they do by default.
pub(crate) fn chain(stages: impl IntoIterator<Item = StageSpec>) -> Case {
    Case {
        stages: stages.into_iter().collect(),
        parallel: None,
        with_latest: false,
        routed: false,
        for_each: None,
        overflow: None,
        buffer_size: BufferSize::default(),
        input: Input::Puts(Vec::new()),
        entrances: Vec::new(),
        answers: false,
        fates: false,
        by_tasks: false,
        up_after: Duration::ZERO,
        stop_at: None,
        flushes: Vec::new(),
        source_flushes: Vec::new(),
        pauses: Vec::new(),
        replacements: Vec::new(),
        scalings: Vec::new(),
        updates: Vec::new(),
    }
}

impl Case {
    /// So many puts, one every so many milliseconds, the first at once.
    pub(crate) fn puts(self, count: u64, every: u64) -> Self {
        Case { input: Input::puts(count, every), ..self }
    }

    /// Puts at these times, in milliseconds.
    pub(crate) fn puts_at(self, times: &[u64]) -> Self {
        Case { input: Input::Puts(times.iter().copied().map(ms).collect()), ..self }
    }

    pub(crate) fn source(self, samples: i64, each: u64) -> Self {
        Case { input: Input::Source { samples, each: ms(each), fails: false, is_live: false }, ..self }
    }

    pub(crate) fn live_source(self, samples: i64, each: u64) -> Self {
        Case { input: Input::Source { samples, each: ms(each), fails: false, is_live: true }, ..self }
    }

    pub(crate) fn failing_source(self, samples: i64, each: u64) -> Self {
        Case { input: Input::Source { samples, each: ms(each), fails: true, is_live: false }, ..self }
    }

    pub(crate) fn parallel(self, before: usize, branches: [usize; 2]) -> Self {
        Case { parallel: Some((before, branches)), ..self }
    }

    pub(crate) fn routed(self) -> Self {
        Case { routed: true, ..self }
    }

    /// The last of so many stages splits each sample, and the parts go through so many behind it.
    pub(crate) fn for_each(self, before: usize, inside: usize) -> Self {
        Case { for_each: Some(before..before + inside), ..self }
    }

    pub(crate) fn with_latest(self) -> Self {
        Case { with_latest: true, ..self }
    }

    /// The place of the two branches among the stages, if there are two.
    pub(crate) fn branches(&self) -> Option<[std::ops::Range<usize>; 2]> {
        let (before, [first, second]) = self.parallel?;
        Some([before..before + first, before + first..before + first + second])
    }

    /// The stages that get what comes in: the first, or the first of each branch.
    pub(crate) fn heads(&self) -> impl Iterator<Item = usize> {
        let block = self.branches().filter(|[first, _]| first.start == 0);
        let [first, second] = block.map_or([0, 0], |[first, second]| [first.start, second.start]);
        [first, second].into_iter()
    }

    /// Whether the results of the two branches are joined.
    pub(crate) fn is_joined(&self) -> bool {
        self.branches().is_some_and(|[_, second]| second.end < self.stages.len())
    }

    /// What becomes of the results of the two branches.
    pub(crate) fn results(&self) -> BlockResults {
        match (self.is_joined(), self.with_latest && !self.routed) {
            (false, _) => BlockResults::End,
            (true, false) => BlockResults::Joined,
            (true, true) => BlockResults::JoinedWithLatest,
        }
    }

    /// Whether the two branches end the pipeline.
    pub(crate) fn ends_apart(&self) -> bool {
        self.branches().is_some() && !self.is_joined()
    }

    /// Whether nothing comes after the stage at that index.
    pub(crate) fn is_end(&self, index: usize) -> bool {
        let ends_a_branch = self.branches().is_some_and(|branches| branches.iter().any(|b| b.end == index + 1));
        index + 1 == self.stages.len() || (ends_a_branch && !self.is_joined())
    }

    pub(crate) fn overflow(self, overflow: Overflow) -> Self {
        Case { overflow: Some(overflow), ..self }
    }

    pub(crate) fn buffer_size(self, size: impl Into<BufferSize>) -> Self {
        Case { buffer_size: size.into(), ..self }
    }

    pub(crate) fn up_after(self, milliseconds: u64) -> Self {
        Case { up_after: ms(milliseconds), ..self }
    }

    pub(crate) fn stop_at(self, milliseconds: u64) -> Self {
        Case { stop_at: Some(ms(milliseconds)), ..self }
    }

    pub(crate) fn flush_at(mut self, milliseconds: u64) -> Self {
        self.flushes.push(ms(milliseconds));
        self
    }

    pub(crate) fn by(self, entrances: impl IntoIterator<Item = EntranceSpec>) -> Self {
        Case { entrances: entrances.into_iter().collect(), ..self }
    }

    /// Flushes the entrance of that place alone.
    pub(crate) fn flush_source_at(mut self, milliseconds: u64, entrance: usize) -> Self {
        self.source_flushes.push((ms(milliseconds), entrance));
        self
    }

    pub(crate) fn pause_at(mut self, milliseconds: u64, stage: Option<usize>) -> Self {
        self.pauses.push((ms(milliseconds), stage, true));
        self
    }

    pub(crate) fn resume_at(mut self, milliseconds: u64, stage: Option<usize>) -> Self {
        self.pauses.push((ms(milliseconds), stage, false));
        self
    }

    pub(crate) fn scale_at(mut self, milliseconds: u64, stage: usize, workers: usize) -> Self {
        self.scalings.push((ms(milliseconds), stage, workers));
        self
    }

    pub(crate) fn replace_at(mut self, milliseconds: u64, stage: usize, does: Does) -> Self {
        self.replacements.push((ms(milliseconds), stage, does));
        self
    }

    /// The same with tasks that put, if anything is put.
    pub(crate) fn by_tasks(&self) -> Case {
        Case { by_tasks: matches!(self.input, Input::Puts(_)), ..self.clone() }
    }

    pub(crate) fn update_at(mut self, milliseconds: u64, stage: usize, factor: i64) -> Self {
        self.updates.push((ms(milliseconds), stage, factor));
        self
    }

    /// The factors of all updates, in the order in which they are told.
    pub(crate) fn factors(&self) -> Vec<i64> {
        let mut updates = self.updates.clone();
        updates.sort_by_key(|(at, ..)| *at);
        updates.into_iter().map(|(.., factor)| factor).collect()
    }

    /// The sources, by name.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &str> {
        let unnamed = self.input.source_node().map(|_| SOURCE);
        let named = self.entrances.iter().filter(|entrance| entrance.is_source());
        unnamed.into_iter().chain(named.map(|entrance| entrance.name.as_str()))
    }

    /// True if anything is flushed.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.flushes.is_empty() || !self.source_flushes.is_empty()
    }

    /// The entrances that are there from the beginning.
    pub(crate) fn entrance_nodes(&self) -> Vec<EntranceNode> {
        self.entrances.iter().filter(|entrance| entrance.added_at.is_none()).map(EntranceSpec::node).collect()
    }
}

impl Input {
    pub(crate) fn source_node(&self) -> Option<SourceNode> {
        match self {
            Input::Source { is_live, .. } => Some(SourceNode { is_live: *is_live, ..SourceNode::default() }),
            Input::Puts(_) => None,
        }
    }
}

/// The parts of a sample.
pub(crate) fn parts_of(x: i64) -> Vec<i64> {
    (1..=x.rem_euclid(4)).map(|part| 10 * x + part).collect()
}

/// A sample and the results of its parts, in one number: each that is missing counts as a thousand.
pub(crate) fn together<E>(x: i64, results: Vec<Result<i64, E>>) -> i64 {
    x + results.into_iter().map(|result| result.unwrap_or(1000)).sum::<i64>()
}
