//! Answers, as a case looks at them: the same on every executor, and each the fate that the ledger counts.

use crate::case::{Case, Does};
use deeppipeline::Report;
use deeppipeline::engine::{Got, Receives};
use deeppipeline::error::{DroppedBy, NoAnswer, SkippedBy};
use deeppipeline::intake::Intake;
use std::sync::Mutex;

/// The answer to one put, as it is compared.
pub(crate) fn describe(answer: &Result<Vec<i64>, NoAnswer>) -> String {
    match answer {
        Ok(values) => format!("{values:?}"),
        Err(NoAnswer::Dropped { stage, why }) => format!("{} in front of {stage}", why.word()),
        Err(NoAnswer::Skipped { stage, why }) => format!("skipped in {stage} by its {}", why.word()),
        Err(NoAnswer::Failed(failure)) => format!("failed in {} ({})", failure.stage(), failure.cause()),
        Err(NoAnswer::Lost { stage }) => format!("lost in {stage}"),
        Err(NoAnswer::Flushed) => "flushed".to_owned(),
        // What is discarded first is told before the failure is known.
        Err(NoAnswer::Discarded(_)) => "discarded".to_owned(),
        Err(other) => panic!("{other:?} is not known here"),
    }
}

/// The receiver of the answer to one put of a follower.
#[derive(Default)]
pub(crate) struct Receiver(Mutex<Option<Result<Vec<i64>, NoAnswer>>>);

impl Receives<i64> for Receiver {
    fn receive(&self, answer: Result<Got<i64>, NoAnswer>) {
        let answer = answer.map(|got| match got {
            Got::One(value) => vec![value],
            Got::Many(values) => values,
        });
        let before = self.0.lock().unwrap().replace(answer);
        assert!(before.is_none(), "an answer comes once");
    }
}

impl Receiver {
    /// The answer; none where the put was refused.
    pub(crate) fn describe(&self) -> Option<String> {
        self.0.lock().unwrap().as_ref().map(describe)
    }
}

/// The answers of a run, a line for each put that was not refused.
pub(crate) fn lines(answers: impl Iterator<Item = Option<String>>) -> String {
    let lines = answers.zip(1..).filter_map(|(answer, put)| Some(format!("answer {put}: {}\n", answer?)));
    lines.collect()
}

impl Case {
    /// The same with answers to its puts, if there can be any.
    pub(crate) fn with_answers(&self) -> Option<Case> {
        let is_put = self.sources().next().is_none();
        // Whether a window keeps a sample already when a flush comes does not show in the ledger.
        let has_window = self.stages.iter().any(|stage| matches!(stage.intake, Intake::Window { .. }));
        let is_told_apart = !self.is_flushed() || !has_window;
        (is_put && is_told_apart && !self.ends_apart()).then(|| Case { answers: true, ..self.clone() })
    }
}

/// Every answer is the fate that the ledger counts: where no sample is split or copied, their numbers are the same.
pub(crate) fn assert_as_counted(case: &Case, answers: &[Result<Vec<i64>, NoAnswer>], report: &Report) {
    let splits = |does: Does| {
        matches!(
            does,
            Does::Many(_) | Does::BrokenMany | Does::BreakAtFirst { .. } | Does::HoldUntilFinish | Does::FinishGives(_)
        )
    };
    if case.parallel.is_some() || case.for_each.is_some() || case.stages.iter().any(|stage| splits(stage.does)) {
        return;
    }
    let count = |wanted: fn(&NoAnswer) -> bool| {
        answers.iter().filter(|answer| answer.as_ref().is_err_and(wanted)).count() as u64
    };
    let sum = |of: fn(&deeppipeline::report::StageReport) -> u64| report.stages.iter().map(of).sum::<u64>();
    let last = report.stages.last().expect("a case has a stage");

    let answered = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
    let skipped = |answer: &NoAnswer| matches!(answer, NoAnswer::Skipped { .. });
    // What a window keeps is told before it is counted: as used, skipped, or in flight at the end.
    let in_windows = |answer: &NoAnswer| matches!(answer, NoAnswer::Skipped { why: SkippedBy::Window, .. });
    let of_lists = |answer: &NoAnswer| matches!(answer, NoAnswer::Skipped { why: SkippedBy::List, .. });
    assert_eq!(answered, last.counts.used, "answered: {answers:?}\n{report}");
    let is_flushed = |answer: &NoAnswer| matches!(answer, NoAnswer::Flushed);
    // What is flushed while a window keeps it was told as skipped before.
    let counted =
        sum(|stage| stage.counts.skipped + stage.counts.absorbed + stage.counts.flushed + stage.buffer.flushed);
    assert_eq!(count(skipped) + count(is_flushed), counted, "skipped or flushed\n{report}");
    assert!(count(of_lists) <= sum(|stage| stage.counts.absorbed), "absorbed\n{report}");
    let kept = sum(|stage| stage.counts.absorbed + stage.counts.skipped + stage.counts.flushed);
    assert!(count(in_windows) <= kept, "windowed\n{report}");
    assert_eq!(count(|answer| matches!(answer, NoAnswer::Failed(_))), sum(|stage| stage.counts.failed), "failed");
    assert_eq!(count(|answer| matches!(answer, NoAnswer::Lost { .. })), sum(|stage| stage.counts.lost), "lost");
    let discarded = count(|answer| matches!(answer, NoAnswer::Discarded(_)));
    assert_eq!(discarded, sum(|stage| stage.buffer.discarded), "discarded\n{report}");
    assert!(count(is_flushed) <= sum(|stage| stage.buffer.flushed + stage.counts.flushed), "flushed\n{report}");
    for (by, counted) in [
        (DroppedBy::Oldest, sum(|stage| stage.buffer.dropped_oldest)),
        (DroppedBy::Newest, sum(|stage| stage.buffer.dropped_newest)),
        (DroppedBy::Superseded, sum(|stage| stage.buffer.superseded)),
        (DroppedBy::Expired, sum(|stage| stage.buffer.expired)),
    ] {
        let dropped = answers.iter().filter(|answer| match answer {
            Err(NoAnswer::Dropped { why: dropped, .. }) => *dropped == by,
            _ => false,
        });
        assert_eq!(dropped.count() as u64, counted, "{by:?}\n{report}");
    }
}
