//! The fates of samples as events, as a case looks at them: the same on every executor, and exactly what the ledger counts.

use crate::case::Case;
use crate::outcome::REMEMBERED;
use deeppipeline::Report;
use deeppipeline::intake::Intake;
use deeppipeline::report::{Fate, FateEvent, SampleId, StageReport};
use std::fmt;

/// One event, as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    stage: String,
    sample: SampleId,
    fate: Fate,
    error: Option<String>,
}

impl<V> From<FateEvent<V>> for Told {
    fn from(event: FateEvent<V>) -> Self {
        let FateEvent { stage, sample, fate, error, .. } = event;
        Told { stage, sample, fate, error: error.map(|error| error.cause().to_string()) }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in {}", self.sample, self.fate, self.stage)?;
        self.error.as_ref().map_or(Ok(()), |error| write!(f, " ({error})"))
    }
}

impl Case {
    /// The same with every fate told.
    pub(crate) fn with_fates(&self) -> Case {
        Case { fates: true, ..self.clone() }
    }
}

/// The fates of a run, a line for each, once they are exactly what the ledger counts.
pub(crate) fn lines(case: &Case, mut told: Vec<Told>, report: &Report) -> String {
    if !case.fates {
        assert_eq!(told, []);
        return String::new();
    }
    assert_as_counted(case, &told, report);
    let has_window = case.stages.iter().any(|stage| matches!(stage.intake, Intake::Window { .. }));
    if has_window && case.is_flushed() {
        // Whether a window keeps a sample already when a flush comes does not show in the ledger.
        return String::new();
    }
    // Those of different stages come in no order.
    told.sort();
    told.retain(|told| case.stages.iter().any(|stage| stage.name == told.stage));
    told.iter().map(|told| format!("{told}\n")).collect()
}

fn assert_as_counted(case: &Case, told: &[Told], report: &Report) {
    assert_eq!(report.fates_missed, 0);
    for stage in &report.stages {
        let of_stage: Vec<Fate> = told.iter().filter(|told| told.stage == stage.name).map(|told| told.fate).collect();
        let count = |fate: Fate| of_stage.iter().filter(|other| **other == fate).count() as u64;
        let spec = case.stages.iter().find(|spec| spec.name == stage.name);
        let is_window = spec.is_some_and(|spec| matches!(spec.intake, Intake::Window { .. }));
        for (fate, counted) in counted(stage) {
            // What a window keeps is told before it is counted.
            let is_kept = is_window && !matches!(fate, Fate::Discarded) && of_stage.contains(&Fate::Windowed);
            let told = count(fate);
            let fits = if is_kept { told <= counted } else { told == counted };
            assert!(fits, "{told} told as {fate} in {}: {report}", stage.name);
        }
        assert_failed_are_named(told, stage);
        let all: u64 = counted(stage).iter().map(|(_, counted)| counted).sum();
        assert_eq!(of_stage.len() as u64, all, "{of_stage:?} of {}: {report}", stage.name);
    }
}

/// The report names the samples on which a stage has failed.
fn assert_failed_are_named(told: &[Told], stage: &StageReport) {
    let is_failed = |told: &&Told| told.stage == stage.name && told.fate == Fate::Failed;
    let mut failed: Vec<SampleId> = told.iter().filter(is_failed).map(|told| told.sample).collect();
    let mut named: Vec<SampleId> = stage.counts.last_failed.iter().copied().collect();
    // Beyond that, only the last are.
    if failed.len() <= REMEMBERED {
        failed.sort();
        named.sort();
        assert_eq!(failed, named, "failed in {}", stage.name);
    }
}

/// The counters of a stage that did not come through.
fn counted(stage: &StageReport) -> [(Fate, u64); 10] {
    let (buffer, counts) = (&stage.buffer, &stage.counts);
    [
        (Fate::DroppedOldest, buffer.dropped_oldest),
        (Fate::DroppedNewest, buffer.dropped_newest),
        (Fate::Superseded, buffer.superseded),
        (Fate::Expired, buffer.expired),
        (Fate::Discarded, buffer.discarded),
        (Fate::Flushed, buffer.flushed + counts.flushed),
        (Fate::Absorbed, counts.absorbed),
        (Fate::Skipped, counts.skipped),
        (Fate::Failed, counts.failed),
        (Fate::Lost, counts.lost),
    ]
}
