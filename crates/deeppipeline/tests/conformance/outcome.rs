//! What a case looks at, in words: the report, the failure, and the end stage's values.

use crate::case::Case;
use deeppipeline::report::{BufferCounts, JoinCounts, SOURCE, SampleId, SourceState};
use deeppipeline::{Report, StageError};
use std::fmt::Write;

/// How many dropped numbers every executor remembers.
pub(crate) const REMEMBERED: usize = 16;

/// The whole outcome, a line for the values, one for the pipeline, and one for each stage.
pub(crate) fn describe(values: &[(SampleId, i64)], failure: Option<&StageError>, report: &Report) -> String {
    let values: Vec<String> = values.iter().map(|(id, x)| format!("{id}={x}")).collect();
    let mut text = format!("values: {}\n", values.join(" "));
    if let Some(failure) = failure {
        let _ = writeln!(text, "{failure}");
    }
    text + &ledger(report)
}

/// What came in by several entrances is what came in.
pub(crate) fn assert_sources_add_up(case: &Case, report: &Report) {
    let first = &report.stages[0].buffer;
    let sum = |of: fn(&BufferCounts) -> u64| report.sources.iter().map(|source| of(&source.counts)).sum::<u64>();
    if !case.entrances.is_empty() {
        for of in [
            (|counts| counts.entered) as fn(&BufferCounts) -> u64,
            |counts| counts.taken,
            |counts| counts.waiting,
            |counts| counts.flushed,
            |counts| counts.dropped() + counts.discarded,
        ] {
            assert_eq!(sum(of), of(first), "{report}");
        }
    }
}

/// Every counter that is not zero.
pub(crate) fn ledger(report: &Report) -> String {
    let mut text = format!("{}\n", report.outcome);
    for stage in &report.stages {
        let (buffer, counts) = (&stage.buffer, &stage.counts);
        let counters = [
            ("early", buffer.reordering),
            ("entered", buffer.entered),
            ("taken", buffer.taken),
            ("oldest", buffer.dropped_oldest),
            ("newest", buffer.dropped_newest),
            ("superseded", buffer.superseded),
            ("expired", buffer.expired),
            ("discarded", buffer.discarded),
            ("flushed", buffer.flushed),
            ("waiting", buffer.waiting),
            ("used", counts.used),
            ("absorbed", counts.absorbed),
            ("skipped", counts.skipped),
            ("failed", counts.failed),
            ("lost", counts.lost),
            ("flushed inside", counts.flushed),
            ("in flight", counts.in_flight),
            ("gave", counts.gave),
        ];
        let counters = counters.iter().filter(|(_, count)| *count > 0);
        let counters: Vec<String> = counters.map(|(name, count)| format!("{count} {name}")).collect();
        let _ = write!(text, "{}: {}", stage.name, counters.join(", "));
        let dropped = buffer.last_dropped.iter().skip(buffer.last_dropped.len().saturating_sub(REMEMBERED));
        let dropped: Vec<String> = dropped.map(SampleId::to_string).collect();
        if !dropped.is_empty() {
            let _ = write!(text, "; dropped {}", dropped.join(" "));
        }
        text.push('\n');
    }
    for source in report.sources.iter().filter(|source| source.name != SOURCE) {
        let counts = &source.counts;
        let counters = [
            ("entered", counts.entered),
            ("taken", counts.taken),
            ("oldest", counts.dropped_oldest),
            ("newest", counts.dropped_newest),
            ("superseded", counts.superseded),
            ("expired", counts.expired),
            ("discarded", counts.discarded),
            ("flushed", counts.flushed),
            ("waiting", counts.waiting),
        ];
        let counters = counters.iter().filter(|(_, count)| *count > 0);
        let counters: Vec<String> = counters.map(|(name, count)| format!("{count} {name}")).collect();
        let has_failed = if source.state == SourceState::Failed { ", failed" } else { "" };
        let _ = writeln!(text, "from {}: {}{has_failed}", source.name, counters.join(", "));
    }
    for join in &report.joins {
        let JoinCounts { entered, joined, unjoined, waiting, renewed, .. } = join.counts;
        let _ =
            write!(text, "{}: {entered} entered, {joined} joined, {unjoined} unjoined, {waiting} inside", join.name);
        text.push_str(&if renewed > 0 { format!(", {renewed} renewed\n") } else { "\n".to_owned() });
    }
    text
}
