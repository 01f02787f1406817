//! Reports for the user, as Python objects.

use crate::payload::raise;
use deeppipeline::report::{self, Setting};
use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyKeyError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// A class of the report: what it wraps, its attributes, and what its `repr` shows.
macro_rules! reported {
    (
        $(#[$about:meta])*
        $class:ident {
            $($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;)*
            @repr $repr:expr;
            $($method:tt)*
        }
    ) => {
        $(#[$about])*
        #[pyclass(frozen, eq, module = "DeepPipeline")]
        #[derive(Clone, PartialEq)]
        pub(crate) struct $class(pub(crate) report::$class);

        #[pymethods]
        impl $class {
            $($(#[$doc])* #[getter] fn $name(&self) -> $type {
                let read: fn(&report::$class) -> $type = $value;
                read(&self.0)
            })*

            #[classmethod]
            fn _from_json(_class: &Bound<'_, PyType>, json: &str) -> PyResult<Self> {
                from_json(json).map($class)
            }

            fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Remade<'py>> {
                reduce::<Self>(py, &self.0)
            }

            /// The same as plain data, with the same names; durations are in seconds.
            fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                to_dict(py, &self.0)
            }

            fn __repr__(&self) -> String {
                let shown: fn(&report::$class) -> String = $repr;
                shown(&self.0)
            }

            $($method)*
        }
    };
}

/// The recipe by which pickle makes a report again: a class method, and the JSON that it takes. Its fields have names,
/// so that another version of the package says which of them it misses.
type Remade<'py> = (Bound<'py, PyAny>, (String,));

fn reduce<'py, T: PyTypeInfo>(py: Python<'py>, value: &impl Serialize) -> PyResult<Remade<'py>> {
    Ok((py.get_type::<T>().getattr("_from_json")?, (to_json(value)?,)))
}

fn to_json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn to_dict<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (to_json(value)?,))
}

fn from_json<T: DeserializeOwned>(json: &str) -> PyResult<T> {
    let unknown = |error| format!("this report is of another version of DeepPipeline: {error}");
    serde_json::from_str(json).map_err(|error| PyValueError::new_err(unknown(error)))
}

/// The identity of a sample: the number of its put, from 1, and its part (0 unless a stage made many of one).
#[pyclass(frozen, eq, ord, module = "DeepPipeline")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SampleId {
    #[pyo3(get)]
    number: u64,
    #[pyo3(get)]
    part: u64,
}

impl From<report::SampleId> for SampleId {
    fn from(id: report::SampleId) -> Self {
        SampleId { number: id.number, part: id.part }
    }
}

#[pymethods]
impl SampleId {
    #[new]
    #[pyo3(signature = (number, part = 0))]
    fn new(number: u64, part: u64) -> Self {
        SampleId { number, part }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyType>, (u64, u64)) {
        (py.get_type::<Self>(), (self.number, self.part))
    }

    fn __str__(&self) -> String {
        report::SampleId { number: self.number, part: self.part }.to_string()
    }

    fn __repr__(&self) -> String {
        format!("SampleId(number={}, part={})", self.number, self.part)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.number, self.part).hash(&mut hasher);
        hasher.finish()
    }
}

reported! {
    /// The spread of a number of durations, in seconds.
    Spread {
        /// Half of them are no longer than this.
        p50: f64 = |s| s.p50.as_secs_f64();
        /// 99 of 100 are no longer than this.
        p99: f64 = |s| s.p99.as_secs_f64();
        /// The longest.
        max: f64 = |s| s.max.as_secs_f64();
        /// The mean, within one hundredth.
        mean: f64 = |s| s.mean.as_secs_f64();
        /// The number of them.
        count: u64 = |s| s.count;
        @repr |s| format!(
            "Spread(p50={:?}, p99={:?}, max={:?})", s.p50.as_secs_f64(), s.p99.as_secs_f64(), s.max.as_secs_f64()
        );
    }
}

macro_rules! buffer_counts {
    ($($(#[$doc:meta])* $count:ident,)* ; $($(#[$total_doc:meta])* $total:ident,)*) => {
        reported! {
            /// The counts of one buffer. At any quiet moment `entered = taken + dropped + discarded + flushed + waiting`.
            BufferCounts {
                $($(#[$doc])* $count: u64 = |b| b.$count;)*
                $($(#[$total_doc])* $total: u64 = |b| b.$total;)*
                /// All samples dropped: oldest, newest, superseded and expired.
                dropped: u64 = |b| b.dropped();
                /// The last samples dropped, superseded or expired, oldest first: 16 at most, all of them in a
                /// simulation.
                last_dropped: Vec<SampleId> = |b| b.last_dropped.iter().copied().map(SampleId::from).collect();
                @repr |b| format!(
                    "<BufferCounts entered={} taken={} dropped={} discarded={} waiting={}>",
                    b.entered, b.taken, b.dropped(), b.discarded, b.waiting
                );
            }
        }
    };
}
deeppipeline::buffer_counters!(buffer_counts);

macro_rules! stage_counts {
    ($($(#[$doc:meta])* $count:ident,)* ; $($(#[$total_doc:meta])* $total:ident,)*) => {
        reported! {
            /// The counts of one stage. At any quiet moment
            /// `taken = used + absorbed + skipped + failed + lost + flushed + in_flight`.
            StageCounts {
                $($(#[$doc])* $count: u64 = |c| c.$count;)*
                $($(#[$total_doc])* $total: u64 = |c| c.$total;)*
                /// The last samples on which the stage has failed, oldest first: 16 at most, all of them in a
                /// simulation.
                last_failed: Vec<SampleId> = |c| c.last_failed.iter().copied().map(SampleId::from).collect();
                @repr |c| format!(
                    "<StageCounts used={} absorbed={} skipped={} failed={} lost={} in_flight={} gave={}>",
                    c.used, c.absorbed, c.skipped, c.failed, c.lost, c.in_flight, c.gave
                );
            }
        }
    };
}
deeppipeline::stage_counters!(stage_counts);

reported! {
    /// The shares of the time of a stage's workers, each 0 to 1; together they are 1.
    Shares {
        /// In stage_run, in the last ten seconds also in a call that has not come to its end.
        busy: f64 = |s| s.busy;
        /// Without a sample.
        starved: f64 = |s| s.starved;
        /// Waiting until the next stage had room.
        blocked: f64 = |s| s.blocked;
        @repr |s| format!("Shares(busy={:.3}, starved={:.3}, blocked={:.3})", s.busy, s.starved, s.blocked);
    }
}

reported! {
    /// A stage in the last ten seconds: what changes now does not show in the quantiles of a long run. In steps of two
    /// seconds, so up to twelve.
    Recent {
        /// The ages of samples when the stage took them.
        age: Spread = |r| Spread(r.age);
        /// The times that samples waited in front of the stage until it took them.
        wait: Spread = |r| Spread(r.wait);
        /// The durations of stage_run.
        run: Spread = |r| Spread(r.run);
        /// Samples that it took in a second.
        rate: f64 = |r| r.rate;
        /// What its workers did.
        shares: Shares = |r| Shares(r.shares);
        @repr |r| format!(
            "<Recent rate={:.1} age.p50={:?} run.p50={:?}>", r.rate, r.age.p50.as_secs_f64(), r.run.p50.as_secs_f64()
        );
    }
}

reported! {
    /// One worker that has not ended, at this moment.
    WorkerReport {
        /// Its index among those of its stage, from 0.
        index: usize = |w| w.index;
        /// "starting", "waiting" (for samples; one in a process that waits for room says this, too), "working" (in
        /// stage_run), "blocked" (until the next stage has room) or "ending" (in finish or teardown).
        doing: String = |w| w.doing.to_string();
        /// Seconds for which it has done so; None where that is not known.
        since: Option<f64> = |w| w.since.map(|since| since.as_secs_f64());
        /// The number of the sample that it works on or has for the next stage, where that is known.
        sample: Option<u64> = |w| w.sample;
        @repr |w| format!("<WorkerReport {} {}>", w.index, w.doing);
    }
}

reported! {
    /// One stage and the buffer in front of it.
    StageReport {
        /// The stage's name.
        name: String = |s| s.name.clone();
        /// The intake: "single", "latest", "all", "batch" or "window".
        intake: String = |s| s.intake.to_string();
        /// The overflow policy: what its buffer does when full.
        overflow: &'static str = |s| s.overflow.name();
        /// The number of samples that its buffer holds at most.
        buffer_size: usize = |s| s.buffer_size;
        /// The rows, by their indices in `report.stages`, that get what it gives: several behind a block without a stage in
        /// front of it, none behind an end stage. What comes in goes to the first row.
        next: Vec<usize> = |s| s.next.clone();
        /// The counts of the buffer in front of it.
        buffer: BufferCounts = |s| BufferCounts(s.buffer.clone());
        /// The counts of the stage.
        counts: StageCounts = |s| StageCounts(s.counts.clone());
        /// The number of its workers.
        workers: usize = |s| s.workers;
        /// What each of its workers does, of those that have not ended.
        doing: Vec<WorkerReport> = |s| s.doing.iter().copied().map(WorkerReport).collect();
        /// The number of workers that it may be scaled to.
        max_workers: usize = |s| s.max_workers;
        /// True if it takes nothing until it is resumed.
        paused: bool = |s| s.paused;
        /// The number of times that a worker process of it was started again after a death.
        restarts: u64 = |s| s.restarts;
        /// The ages of samples when it took them.
        age: Spread = |s| Spread(s.age);
        /// The times that samples waited in front of it until it took them.
        wait: Spread = |s| Spread(s.wait);
        /// Seconds spent in stage_run, all samples together.
        busy: f64 = |s| s.busy.as_secs_f64();
        /// Half of the calls of stage_run took no longer than this many seconds.
        p50: f64 = |s| s.p50.as_secs_f64();
        /// 99 of 100 calls of stage_run took no longer than this many seconds.
        p99: f64 = |s| s.p99.as_secs_f64();
        /// The last ten seconds.
        recent: Recent = |s| Recent(s.recent);
        /// Seconds for which its workers waited until the next stage had room for what they gave, or for the results that
        /// come before theirs, all together; what waits now counts once it is over.
        blocked: f64 = |s| s.blocked.as_secs_f64();
        /// The seconds since the birth of the newest sample that it was done with, where it is an end stage: the age of
        /// what is known at the end. It grows while nothing comes out. None before the first, and for all other stages.
        age_of_information: Option<f64> = |s| s.age_of_information.map(|age| age.as_secs_f64());
        @repr |s| format!(
            "<StageReport {:?} taken={} used={} dropped={}>", s.name, s.buffer.taken, s.counts.used, s.buffer.dropped()
        );
    }
}

reported! {
    /// One source, or one entrance to put into.
    SourceReport {
        /// Its name; "source" for one without a name.
        name: String = |s| s.name.clone();
        /// "opening", "streaming", "stalled", "waiting", "ended" or "failed"; "open" for an entrance to put into. One
        /// that waits is opened again after an error or an end.
        state: String = |s| s.state.to_string();
        /// The text of its last error: the one for which it has failed for good, or for which it is, or was, opened
        /// again.
        last_error: Option<String> = |s| s.last_error.clone();
        /// The number of times that it was opened again.
        restarts: u64 = |s| s.restarts;
        /// Seconds until it is opened again, where it waits for that.
        next_try: Option<f64> = |s| s.next_try.map(|wait| wait.as_secs_f64());
        /// The counts of its samples in front of the first stage, without the numbers of those that were dropped.
        counts: BufferCounts = |s| BufferCounts(s.counts.clone());
        /// Seconds for which it has been asked for its next sample by now; `None` when it is not being asked. Its own
        /// wait for room does not count.
        wait: Option<f64> = |s| s.wait.map(|wait| wait.as_secs_f64());
        /// The most seconds for which it was asked for one sample, the present wait included.
        longest_wait: f64 = |s| s.longest_wait.as_secs_f64();
        @repr |s| {
            let (entered, dropped) = (s.counts.entered, s.counts.dropped());
            format!("<SourceReport {:?} {} entered={entered} dropped={dropped}>", s.name, s.state)
        };
    }
}

reported! {
    /// The counts of one parallel block. At any quiet moment `entered = joined + unjoined + waiting`.
    JoinCounts {
        /// Samples that were given to all branches; where the first branch goes on with the newest of the others, its
        /// results.
        entered: u64 = |c| c.entered;
        /// Samples of which every branch, or the first, had a result: the next stage got these.
        joined: u64 = |c| c.joined;
        /// Samples that some branch has ended without a result, or whose results were given up.
        unjoined: u64 = |c| c.unjoined;
        /// Samples that are still inside.
        waiting: u64 = |c| c.waiting;
        /// Results of the other branches, where those of the first go on with the newest of them.
        renewed: u64 = |c| c.renewed;
        @repr |c| format!(
            "<JoinCounts entered={} joined={} unjoined={} waiting={}>", c.entered, c.joined, c.unjoined, c.waiting
        );
    }
}

reported! {
    /// One parallel block.
    JoinReport {
        /// The block's name.
        name: String = |j| j.name.clone();
        /// The number of its branches.
        branches: usize = |j| j.branches;
        /// The counts of its samples.
        counts: JoinCounts = |j| JoinCounts(j.counts.clone());
        @repr |j| {
            let report::JoinCounts { entered, joined, unjoined, .. } = j.counts;
            format!("<JoinReport {:?} entered={entered} joined={joined} unjoined={unjoined}>", j.name)
        };
    }
}

reported! {
    /// What limits a pipeline, and what another worker would change. `print(explanation)` says it in words.
    Explanation {
        /// The stage that limits the rate; None where no stage does: less comes in than there is room for.
        limit: Option<String> = |e| e.limit.clone();
        /// How sure that is, from 0 (another stage has hardly more room) to 1.
        confidence: f64 = |e| e.confidence;
        /// Samples that the limiting stage takes in a second; without one, the last stage.
        rate: f64 = |e| e.rate;
        /// The rate that one more worker of that stage would allow, where it may have one and a core is free for it.
        with_another_worker: Option<f64> = |e| e.with_another_worker;
        /// The stage that would limit then; None for what comes in.
        then: Option<String> = |e| e.then.clone();
        /// What the pipeline does by its last samples; None where those were not asked.
        present: Option<Prediction> = |e| e.present.map(Prediction);
        /// What it would do with another setting of that stage, by the setting, where that makes a difference.
        alternatives: BTreeMap<String, Prediction> = |e| {
            let alternatives = e.alternatives.iter();
            alternatives.map(|other| (other.setting.to_string(), Prediction(other.prediction))).collect()
        };
        /// All of it in words.
        text: String = |e| e.text.clone();
        @repr |e| format!("<Explanation limit={:?} confidence={:.2}>", e.limit.as_deref().unwrap_or("what comes in"), e.confidence);

        fn __str__(&self) -> String {
            self.0.text.clone()
        }
    }
}

reported! {
    /// A stage of a timeline.
    TimelineStage {
        /// Its name.
        name: String = |s| s.name.clone();
        /// How many workers it has.
        workers: usize = |s| s.workers;
        /// True if its samples leave it in the order in which it took them.
        ordered: bool = |s| s.ordered;
        /// How it takes: "single", "latest", "all", "window" or "batch".
        intake: String = |s| s.intake.to_string();
        /// For how many samples the buffer in front of it has room.
        buffer_size: usize = |s| s.buffer_size;
        /// What happens when that is full.
        overflow: &'static str = |s| s.overflow.name();
        /// How many seconds old a sample may be when it is taken, or None.
        max_age: Option<f64> = |s| s.max_age.map(|age| age.as_secs_f64());
        @repr |s| format!("<TimelineStage {:?}>", s.name);
    }
}

reported! {
    /// The visit of a sample at a stage: from its arrival in front of it to its end there. Times are seconds since all
    /// workers were up.
    Visit {
        /// The place of the stage in `Timeline.stages`.
        stage: usize = |v| v.stage;
        /// The identity of the sample.
        sample: SampleId = |v| v.sample.into();
        /// The name of the source or entrance that it came from, or None.
        source: Option<String> = |v| v.source.clone();
        /// When it came: when the stage before gave it or, where that had to wait for room, when there was some.
        came: f64 = |v| v.came.as_secs_f64();
        /// When a worker took it; None if none did.
        taken: Option<f64> = |v| v.taken.map(|at| at.as_secs_f64());
        /// The index of that worker among those of the stage.
        worker: Option<usize> = |v| v.worker;
        /// When it ended there: `stage_run` returned, or it was given up. None while it is there.
        ended: Option<f64> = |v| v.ended.map(|at| at.as_secs_f64());
        /// How it ended: None where its result went on, where it is there, and where it is tried again.
        fate: Option<&'static str> = |v| v.fate.map(report::Fate::word);
        /// True if its worker process died with it. Without a fate it is tried again.
        crashed: bool = |v| v.crashed;
        @repr |v| format!("<Visit of {} at stage {}: {}>", v.sample, v.stage, v.word());
    }
}

reported! {
    /// Something that happened to the pipeline.
    Mark {
        /// When it happened, in seconds since all workers were up.
        at: f64 = |m| m.at.as_secs_f64();
        /// The event, in words.
        text: String = |m| m.text.clone();
        @repr |m| format!("<Mark {:?}>", m.text);
    }
}

reported! {
    /// When each of the last samples came to a stage, was taken there, and ended. A notebook shows it as a picture.
    Timeline {
        /// When it was read, in seconds since all workers were up.
        until: f64 = |t| t.until.as_secs_f64();
        /// The stages, in reading order.
        stages: Vec<TimelineStage> = |t| t.stages.iter().cloned().map(TimelineStage).collect();
        /// The visits of samples, by the time when they came.
        visits: Vec<Visit> = |t| t.visits.iter().cloned().map(Visit).collect();
        /// What happened to the pipeline, in order.
        marks: Vec<Mark> = |t| t.marks.iter().cloned().map(Mark).collect();
        @repr |t| format!("<Timeline stages={} visits={}>", t.stages.len(), t.visits.len());

        /// Returns the part of it that is no older than that many seconds: visits that ended before are left out.
        fn last(&self, seconds: f64) -> PyResult<Self> {
            match Duration::try_from_secs_f64(seconds) {
                Ok(time) => Ok(Timeline(self.0.last(time))),
                Err(_) => Err(PyValueError::new_err(format!("seconds is {seconds}, but must be 0 or more"))),
            }
        }

        /// Returns the visits of the sample of that number, and of its parts, by the time when they came.
        fn of_sample(&self, number: u64) -> Vec<Visit> {
            self.0.of_sample(number).into_iter().cloned().map(Visit).collect()
        }

        /// Returns it as an SVG picture: a row for each worker and for what waits in front of each stage, a bar for each sample.
        /// `follow` draws the way of one sample, by its number.
        #[pyo3(signature = (follow = None))]
        fn to_svg(&self, follow: Option<u64>) -> String {
            self.0.to_svg(follow)
        }

        /// Returns it as JSON that Perfetto opens, and that `from_json` reads.
        fn to_json(&self, py: Python<'_>) -> String {
            py.detach(|| self.0.to_json())
        }

        /// Reads what `to_json` has made. Raises `ValueError` where it is something else.
        #[classmethod]
        fn from_json(_class: &Bound<'_, PyType>, text: &str) -> PyResult<Self> {
            let read = report::Timeline::from_json(text.as_bytes());
            read.map(Timeline).map_err(|error| PyValueError::new_err(error.to_string()))
        }

        /// Writes it into a file: as a picture where the name ends in `.svg`, and otherwise as JSON, which Perfetto
        /// (https://ui.perfetto.dev) opens and `load` reads.
        #[pyo3(signature = (path, follow = None))]
        fn save(&self, py: Python<'_>, path: PathBuf, follow: Option<u64>) -> PyResult<()> {
            py.detach(|| self.0.save(&path, follow)).map_err(|error| with_path(error, &path))
        }

        /// Reads what `save` has written. Raises `ValueError` where it is something else.
        #[classmethod]
        fn load(_class: &Bound<'_, PyType>, path: PathBuf) -> PyResult<Self> {
            let text = fs::read(&path).map_err(|error| with_path(error, &path))?;
            let read = report::Timeline::from_json(&text);
            read.map(Timeline).map_err(|error| PyValueError::new_err(format!("{}: {error}", path.display())))
        }

        /// Returns what the pipeline would do with these settings, or without any what it does, as its last samples tell:
        /// `{"detect": {"workers": 2, "buffer_size": 4}}`. See `Pipeline.what_if`.
        #[pyo3(signature = (settings = HashMap::new()))]
        fn what_if(&self, py: Python<'_>, settings: HashMap<String, HashMap<String, Bound<'_, PyAny>>>) -> PyResult<Prediction> {
            let mut set = Vec::new();
            for (stage, options) in settings {
                for (option, value) in options {
                    set.push(Setting::new(&*stage, &option, &value.str()?.to_string_lossy()).map_err(wrong_setting)?);
                }
            }
            py.detach(|| self.0.what_if(&set)).map(Prediction).map_err(wrong_setting)
        }

        /// Searches for settings with which the pipeline would do better. See `Pipeline.tune`.
        fn _tune(&self, py: Python<'_>, goal: &str, most_workers: usize) -> PyResult<Tuned> {
            let goal = if goal == "age" { report::Goal::Age } else { report::Goal::Rate };
            py.detach(|| self.0.tune(goal, most_workers)).map(Tuned).map_err(wrong_setting)
        }

        fn _repr_html_(&self) -> String {
            self.0.to_svg(None)
        }
    }
}

fn wrong_setting(error: report::WhatIfError) -> PyErr {
    Python::attach(|py| raise(py, "GraphError", &error.to_string()))
}

reported! {
    /// What a pipeline does, or would do.
    Prediction {
        /// Samples that come out in a second; of several end stages, at the last.
        rate: f64 = |p| p.rate;
        /// The median age of what comes out, in seconds from the moment when it came in.
        age_p50: f64 = |p| p.age_p50.as_secs_f64();
        /// The 99th percentile of it.
        age_p99: f64 = |p| p.age_p99.as_secs_f64();
        /// The share of what comes in that is dropped or too old somewhere, 0 to 1.
        dropped: f64 = |p| p.dropped;
        /// The workers that are in `stage_run` at the same time, on the average. Where they compute, and this is more than
        /// there are cores for them, less comes out.
        busy_workers: f64 = |p| p.busy_workers;
        @repr |p| format!("<Prediction: {p}>");

        fn __str__(&self) -> String {
            self.0.to_string()
        }
    }
}

reported! {
    /// Settings that were found by `Pipeline.tune`, and what the pipeline would do with them.
    Tuned {
        /// The settings to change, as `what_if` takes them; none where nothing better was found.
        settings: BTreeMap<String, BTreeMap<&'static str, usize>> = |t| {
            let mut settings: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
            for setting in &t.settings {
                let value = setting.value().parse().unwrap_or_default();
                settings.entry(setting.stage().to_owned()).or_default().insert(setting.option(), value);
            }
            settings
        };
        /// What it does as it is.
        before: Prediction = |t| Prediction(t.before);
        /// What it would do.
        after: Prediction = |t| Prediction(t.after);
        @repr |t| format!("<Tuned: {t}>");

        fn __str__(&self) -> String {
            self.0.to_string()
        }
    }
}

/// The error of a file, with its number and name as Python's own have them.
fn with_path(error: io::Error, path: &Path) -> PyErr {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    PyOSError::new_err((error.raw_os_error(), text, path.to_path_buf()))
}

reported! {
    /// The fate of every sample, stage by stage. `print(report)` shows a table with a row per stage, and so does a
    /// notebook.
    Report {
        /// "running", "finished", "failed" or "aborted".
        outcome: String = |r| r.outcome.to_string();
        /// Seconds from the moment every stage was up until the last worker ended (or now).
        elapsed: f64 = |r| r.elapsed.as_secs_f64();
        /// One entry per source, and per entrance with a name, in the order in which they were added.
        sources: Vec<SourceReport> = |r| r.sources.iter().cloned().map(SourceReport).collect();
        /// One entry per stage, in order.
        stages: Vec<StageReport> = |r| r.stages.iter().cloned().map(StageReport).collect();
        /// The ages of samples when the end stage was done with them (for a list, its newest).
        age: Spread = |r| Spread(r.age);
        /// The same of the last ten seconds.
        recent_age: Spread = |r| Spread(r.recent_age);
        /// One entry per parallel block whose branches are joined.
        joins: Vec<JoinReport> = |r| r.joins.iter().cloned().map(JoinReport).collect();
        /// Workers that were still in the user's code when the pipeline stopped waiting for them, and what was
        /// discarded and is still in its `__del__`.
        left_behind: Vec<String> = |r| r.left_behind.clone();
        /// Samples that did not come through of which `on_fate` learnt nothing, since it was too slow.
        fates_missed: u64 = |r| r.fates_missed;
        /// All samples dropped in front of any stage.
        dropped: u64 = |r| r.dropped();
        @repr |r| {
            let stages: Vec<&str> = r.stages.iter().map(|stage| stage.name.as_str()).collect();
            format!("<Report {} stages={stages:?} dropped={}>", r.outcome, r.dropped())
        };

        /// Returns true if every sample has exactly one fate.
        fn balances(&self) -> bool {
            self.0.balances()
        }

        /// Returns what limits the pipeline, from what its workers did in the last ten seconds (of one that has ended: in the
        /// last ten seconds before its end), and what another worker of that stage would give.
        fn explain(&self) -> Explanation {
            Explanation(self.0.explain())
        }

        /// The stage of that name. Raises `KeyError`, which names those that there are.
        fn stage(&self, name: &Bound<'_, PyString>) -> PyResult<StageReport> {
            let name = name.to_string_lossy();
            self.0.stage(&name).cloned().map(StageReport).ok_or_else(|| {
                let known: Vec<String> = self.0.stages.iter().map(|stage| format!("{:?}", stage.name)).collect();
                PyKeyError::new_err(format!("no stage is called {name:?}: there are {}", known.join(", ")))
            })
        }

        /// The source or entrance of that name ("source" for one without). Raises `KeyError`, which names those that
        /// there are.
        #[pyo3(signature = (name = deeppipeline::report::SOURCE))]
        fn source(&self, name: &str) -> PyResult<SourceReport> {
            self.0.source(name).cloned().map(SourceReport).ok_or_else(|| {
                let known: Vec<String> = self.0.sources.iter().map(|source| format!("{:?}", source.name)).collect();
                PyKeyError::new_err(format!("no source is called {name:?}: there are {}", known.join(", ")))
            })
        }

        /// Returns the stages and what goes from one to the next as a Mermaid flowchart, with the numbers of what has begun.
        fn to_mermaid(&self) -> String {
            self.0.to_mermaid()
        }

        /// Returns the same as an SVG picture; the stage that limits has a frame.
        fn to_svg(&self) -> String {
            self.0.to_svg()
        }

        fn _repr_html_(&self) -> String {
            self.0.to_html()
        }

        fn __str__(&self) -> String {
            self.0.to_string()
        }
    }
}
