//! What Prometheus reads, in the [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) text format.
//!
//! All have the label `pipeline`; those of a stage `stage`, those of a source `source`.
//!
//! | metric | type | |
//! |---|---|---|
//! | `deeppipeline_entered_samples_total` | counter | samples that came to a stage's buffer |
//! | `deeppipeline_samples_total` | counter | what became of them, by `fate`: `used`, `absorbed`, `skipped`, `failed`, `lost`, `dropped_oldest`, `dropped_newest`, `superseded`, `expired`, `flushed`, `discarded`. With those that wait and those in work they add up to what entered |
//! | `deeppipeline_waiting_samples`, `deeppipeline_samples_in_work` | gauge | where they are otherwise |
//! | `deeppipeline_buffer_size` | gauge | the samples for which a stage's buffer has room |
//! | `deeppipeline_gave_samples_total` | counter | what a stage gave |
//! | `deeppipeline_source_entered_samples_total`, `deeppipeline_source_samples_total` | counter | the same of each source and entrance in front of the first stage, where `taken` is a fate |
//! | `deeppipeline_source_up` | gauge | 1 while samples may come from a source or an entrance |
//! | `deeppipeline_busy_seconds_total`, `deeppipeline_blocked_seconds_total` | counter | time of a stage's workers in `stage_run`, and waiting for room behind it |
//! | `deeppipeline_workers` | gauge | the workers of a stage |
//! | `deeppipeline_restarts_total` | counter | processes of a stage, or openings of a source, after the first |
//! | `deeppipeline_wait_seconds`, `deeppipeline_run_seconds`, `deeppipeline_age_when_taken_seconds` | gauge | times that samples waited in front of a stage, durations of `stage_run`, and ages of samples when it took them, by `quantile` (0.5 and 0.99), in the last ten seconds |
//! | `deeppipeline_age_seconds` | gauge | ages at the end of the pipeline, the same way |
//! | `deeppipeline_age_of_information_seconds` | gauge | the time since the birth of the newest sample that an end stage was done with |
//! | `deeppipeline_running` | gauge | 1 while the pipeline runs |
//!
//! A counter begins at 0 when a pipeline starts, also one of the same name as another before it.

use crate::watched::Snapshot;
use deeppipeline::report::{BufferCounts, Outcome, SourceState, Spread, StageReport};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Writes the metrics of all pipelines.
pub(crate) fn encode(pipelines: &[Arc<Snapshot>]) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Pipelines(pipelines.to_vec())));
    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Pipelines(Vec<Arc<Snapshot>>);

/// One number with its labels.
enum Number {
    Count(u64),
    Seconds(f64),
}

/// A family of numbers.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    unit: Option<Unit>,
    numbers: Vec<(Labels, Number)>,
}

impl Family {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), self.kind)?;
        for (labels, number) in &self.numbers {
            let mut metric = metric.encode_family(labels)?;
            match self.kind {
                MetricType::Counter => encode_counter(&mut metric, number)?,
                _ => encode_gauge(&mut metric, number)?,
            }
        }
        Ok(())
    }
}

fn encode_counter(metric: &mut MetricEncoder<'_>, number: &Number) -> fmt::Result {
    match number {
        Number::Count(count) => metric.encode_counter::<NoLabelSet, _, u64>(count, None),
        Number::Seconds(seconds) => metric.encode_counter::<NoLabelSet, _, u64>(seconds, None),
    }
}

fn encode_gauge(metric: &mut MetricEncoder<'_>, number: &Number) -> fmt::Result {
    match number {
        Number::Count(count) => metric.encode_gauge(count),
        Number::Seconds(seconds) => metric.encode_gauge(seconds),
    }
}

impl Pipelines {
    /// Makes a family of what is said of each stage.
    fn of_stages(&self, family: Family, numbers: impl Fn(&StageReport) -> Vec<(Option<Label>, Number)>) -> Family {
        let stages =
            self.0.iter().flat_map(|pipeline| pipeline.report.stages.iter().map(move |stage| (pipeline, stage)));
        let all = stages.flat_map(|(pipeline, stage)| {
            let of_stage = move |(more, number): (Option<Label>, Number)| {
                let mut labels = vec![("pipeline", pipeline.name.clone()), ("stage", stage.name.clone())];
                labels.extend(more.map(|(name, value)| (name, value.to_owned())));
                (labels, number)
            };
            numbers(stage).into_iter().map(of_stage)
        });
        Family { numbers: all.collect(), ..family }
    }

    fn families(&self) -> Vec<Family> {
        let counted = |name, help, of: fn(&StageReport) -> u64| {
            self.of_stages(counter(name, help), move |stage| vec![(None, Number::Count(of(stage)))])
        };
        let shown = |name, help, of: fn(&StageReport) -> u64| {
            self.of_stages(gauge(name, help), move |stage| vec![(None, Number::Count(of(stage)))])
        };
        let timed = |name, help, of: fn(&StageReport) -> Duration| {
            let family = Family { unit: Some(Unit::Seconds), ..counter(name, help) };
            self.of_stages(family, move |stage| vec![(None, Number::Seconds(of(stage).as_secs_f64()))])
        };
        let spread = |name, help, of: fn(&StageReport) -> Spread| {
            let family = Family { unit: Some(Unit::Seconds), ..gauge(name, help) };
            self.of_stages(family, move |stage| quantiles(of(stage)))
        };
        let mut families = vec![
            counted("deeppipeline_entered_samples", "Samples that came to a stage's buffer", |stage| {
                stage.buffer.entered
            }),
            self.of_stages(counter("deeppipeline_samples", "What became of samples"), fates),
            shown("deeppipeline_waiting_samples", "Samples that wait in front of a stage", |stage| {
                stage.buffer.waiting
            }),
            shown("deeppipeline_samples_in_work", "Samples on which a stage works", |stage| stage.counts.in_flight),
            shown("deeppipeline_buffer_size", "Samples for which a buffer has room", |stage| stage.buffer_size as u64),
            counted("deeppipeline_gave_samples", "Samples that a stage gave", |stage| stage.counts.gave),
            timed("deeppipeline_busy", "Time of workers in stage_run", |stage| stage.busy),
            timed("deeppipeline_blocked", "Time of workers waiting for room", |stage| stage.blocked),
            shown("deeppipeline_workers", "Workers of a stage", |stage| stage.workers as u64),
            spread(
                "deeppipeline_wait",
                "Times that samples waited in front of a stage, in the last ten seconds",
                |stage| stage.recent.wait,
            ),
            spread("deeppipeline_run", "Durations of stage_run in the last ten seconds", |stage| stage.recent.run),
            spread("deeppipeline_age_when_taken", "Ages of samples when taken, in the last ten seconds", |stage| {
                stage.recent.age
            }),
        ];
        let family = gauge("deeppipeline_age_of_information", "Time since the birth of the newest sample at the end");
        families.push(self.of_stages(Family { unit: Some(Unit::Seconds), ..family }, |stage| {
            stage.age_of_information.map(|age| (None, Number::Seconds(age.as_secs_f64()))).into_iter().collect()
        }));
        let restarts =
            counter("deeppipeline_restarts", "Processes of a stage, or openings of a source, after the first");
        let mut restarts = self.of_stages(restarts, |stage| vec![(None, Number::Count(stage.restarts))]);
        let mut entered =
            counter("deeppipeline_source_entered_samples", "Samples that came by a source or an entrance");
        let mut sources = counter("deeppipeline_source_samples", "What became of them in front of the first stage");
        let mut up = gauge("deeppipeline_source_up", "1 while samples may come from a source or an entrance");
        let mut running = gauge("deeppipeline_running", "1 while the pipeline runs");
        let mut age = Family {
            unit: Some(Unit::Seconds),
            ..gauge("deeppipeline_age", "Ages at the end of the pipeline, in the last ten seconds")
        };

        for pipeline in &self.0 {
            let of_pipeline = || vec![("pipeline", pipeline.name.clone())];
            let is_running = pipeline.is_there && pipeline.report.outcome == Outcome::Running;
            running.numbers.push((of_pipeline(), Number::Count(u64::from(is_running))));
            age.numbers.extend(quantiles(pipeline.report.recent_age).into_iter().map(|(label, number)| {
                let mut labels = of_pipeline();
                labels.extend(label.map(|(name, value)| (name, value.to_owned())));
                (labels, number)
            }));
            for source in &pipeline.report.sources {
                let labels = || vec![("pipeline", pipeline.name.clone()), ("source", source.name.clone())];
                restarts.numbers.push((labels(), Number::Count(source.restarts)));
                entered.numbers.push((labels(), Number::Count(source.counts.entered)));
                let fates = buffer_fates(&source.counts).into_iter().chain([("taken", source.counts.taken)]);
                sources.numbers.extend(fates.map(|(fate, count)| {
                    let mut labels = labels();
                    labels.push(("fate", fate.to_owned()));
                    (labels, Number::Count(count))
                }));
                let is_up = matches!(source.state, SourceState::Streaming | SourceState::Open);
                up.numbers.push((labels(), Number::Count(u64::from(is_up))));
            }
        }
        families.extend([restarts, entered, sources, up, age, running]);
        families
    }
}

impl Collector for Pipelines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.families().iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: MetricType::Counter, unit: None, numbers: Vec::new() }
}

fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { kind: MetricType::Gauge, ..counter(name, help) }
}

/// A label beside those that say of what a number is.
type Label = (&'static str, &'static str);

fn quantiles(spread: Spread) -> Vec<(Option<Label>, Number)> {
    let quantile = |of, time: Duration| (Some(("quantile", of)), Number::Seconds(time.as_secs_f64()));
    match spread.count {
        0 => Vec::new(),
        _ => vec![quantile("0.5", spread.p50), quantile("0.99", spread.p99)],
    }
}

/// What became of samples in a buffer, without those that were taken.
fn buffer_fates(counts: &BufferCounts) -> [(&'static str, u64); 6] {
    [
        ("dropped_oldest", counts.dropped_oldest),
        ("dropped_newest", counts.dropped_newest),
        ("superseded", counts.superseded),
        ("expired", counts.expired),
        ("flushed", counts.flushed),
        ("discarded", counts.discarded),
    ]
}

/// What became of the samples that came to a stage.
fn fates(stage: &StageReport) -> Vec<(Option<Label>, Number)> {
    let counts = &stage.counts;
    let inside = [
        ("used", counts.used),
        ("absorbed", counts.absorbed),
        ("skipped", counts.skipped),
        ("failed", counts.failed),
        ("lost", counts.lost),
        // Kept for a window, or about to be tried again, when a flush came.
        ("flushed", counts.flushed),
    ];
    let mut fates = inside.to_vec();
    for (fate, count) in buffer_fates(&stage.buffer) {
        match fates.iter_mut().find(|(known, _)| *known == fate) {
            Some((_, known)) => *known += count,
            None => fates.push((fate, count)),
        }
    }
    fates.into_iter().map(|(fate, count)| (Some(("fate", fate)), Number::Count(count))).collect()
}
