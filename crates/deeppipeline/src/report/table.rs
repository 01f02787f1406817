//! The report as a table: as text, and as HTML.

use super::{Report, SOURCE, SourceReport, SourceState, StageReport};
use std::fmt::{self, Write};
use std::time::Duration;

/// A source that gives nothing for so long is worth a word.
const SILENCE: Duration = Duration::from_secs(1);

/// The number of letters of a stage's name for which the table has room.
const WIDEST_NAME: usize = 60;

/// The columns behind the name: their titles, and how wide they are.
const COLUMNS: [(&str, usize); 10] = [
    ("samples", 8),
    ("busy", 5),
    ("p50 ms", 9),
    ("p99 ms", 9),
    ("age ms", 9),
    ("dropped", 8),
    ("skipped", 8),
    ("failed", 7),
    ("lost", 6),
    ("discarded", 10),
];

/// The columns behind the name of a source.
const SOURCE_COLUMNS: [(&str, usize); 5] =
    [("state", 9), ("entered", 8), ("taken", 8), ("dropped", 8), ("discarded", 10)];

impl Report {
    /// Returns the report as HTML: a table with a row per stage, one with a row per named source, and what is said below
    /// them; for a notebook or a page.
    pub fn to_html(&self) -> String {
        let titles = COLUMNS.map(|(title, _)| format!("<th>{title}</th>")).concat();
        let rows = self.stages.iter().map(|stage| {
            let cells = self.cells(stage).map(|cell| format!("<td>{cell}</td>")).concat();
            format!("<tr><th style=\"text-align: left\">{}</th>{cells}</tr>", escaped(&stage.name))
        });
        let stages = table("stage", &titles, rows.collect());
        let rows = self.named_sources().map(|source| {
            let cells = Self::source_cells(source).map(|cell| format!("<td>{cell}</td>")).concat();
            format!("<tr><th style=\"text-align: left\">{}</th>{cells}</tr>", escaped(&source.name))
        });
        let titles = SOURCE_COLUMNS.map(|(title, _)| format!("<th>{title}</th>")).concat();
        let rows: String = rows.collect();
        let sources = if rows.is_empty() { String::new() } else { table("source", &titles, rows) };
        format!("{stages}{sources}<p>{}</p>", escaped(&self.summary()))
    }

    fn named_sources(&self) -> impl Iterator<Item = &SourceReport> {
        self.sources.iter().filter(|source| source.name != SOURCE)
    }

    /// What the row of a source says behind its name.
    fn source_cells(source: &SourceReport) -> [String; SOURCE_COLUMNS.len()] {
        let counts = &source.counts;
        [
            source.state.to_string(),
            counts.entered.to_string(),
            counts.taken.to_string(),
            counts.dropped().to_string(),
            counts.discarded.to_string(),
        ]
    }

    /// What the row of a stage says behind its name.
    fn cells(&self, stage: &StageReport) -> [String; COLUMNS.len()] {
        let milliseconds = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1000.0);
        [
            stage.buffer.taken.to_string(),
            format!("{:.0}%", 100.0 * stage.busy_share(self.elapsed)),
            milliseconds(stage.p50),
            milliseconds(stage.p99),
            milliseconds(stage.age.p50),
            stage.buffer.dropped().to_string(),
            stage.counts.skipped.to_string(),
            stage.counts.failed.to_string(),
            stage.counts.lost.to_string(),
            stage.buffer.discarded.to_string(),
        ]
    }

    /// What is said below the table.
    fn summary(&self) -> String {
        let mut said = vec![format!("{} after {:.2} s", self.outcome, self.elapsed.as_secs_f64())];
        for source in &self.sources {
            let name = if source.name == SOURCE { "the source" } else { &source.name };
            match (source.wait, source.longest_wait) {
                (Some(wait), _) if wait >= SILENCE => {
                    said.push(format!("{name} has given nothing for {:.2} s", wait.as_secs_f64()));
                }
                (_, longest) if longest >= SILENCE => {
                    said.push(format!("{name} once gave nothing for {:.2} s", longest.as_secs_f64()));
                }
                _ => {}
            }
            let because = source.last_error.as_ref().map_or(String::new(), |error| format!(": {error}"));
            match (source.state, source.next_try) {
                (SourceState::Failed, _) if source.name != SOURCE => said.push(format!("{name} failed{because}")),
                (_, Some(wait)) => {
                    said.push(format!("{name} is opened again in {:.2} s{because}", wait.as_secs_f64()));
                }
                _ => {}
            }
            if source.restarts > 0 {
                said.push(format!("{name} restarted {}", times(source.restarts)));
            }
        }
        for join in self.joins.iter().filter(|join| join.counts.unjoined > 0) {
            said.push(format!("{}: {} joined, {} unjoined", join.name, join.counts.joined, join.counts.unjoined));
        }
        let flushed: u64 = self.stages.iter().map(|stage| stage.buffer.flushed + stage.counts.flushed).sum();
        if flushed > 0 {
            said.push(format!("{flushed} flushed"));
        }
        said.extend(self.stages.iter().filter(|stage| stage.paused).map(|stage| format!("{} is paused", stage.name)));
        for stage in self.stages.iter().filter(|stage| stage.workers != stage.max_workers) {
            said.push(format!("{} has {} of {} workers", stage.name, stage.workers, stage.max_workers));
        }
        for stage in self.stages.iter().filter(|stage| stage.restarts > 0) {
            said.push(format!("{} restarted {}", stage.name, times(stage.restarts)));
        }
        if !self.left_behind.is_empty() {
            said.push(format!("still in user code and left behind: {}", self.left_behind.join(", ")));
        }
        said.join("; ")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.stages.iter().map(|s| s.name.chars().count()).max();
        // A longer name moves its own row only. (And the formatter panics at widths of more than 16 bits.)
        let width = longest.unwrap_or(0).clamp("stage".len(), WIDEST_NAME);
        let mut row = |name: &str, cells: [&str; COLUMNS.len()]| {
            write!(f, "{name:width$} ")?;
            for (cell, (_, width)) in cells.into_iter().zip(COLUMNS) {
                write!(f, " {cell:>width$}")?;
            }
            f.write_char('\n')
        };
        row("stage", COLUMNS.map(|(title, _)| title))?;
        for stage in &self.stages {
            row(&stage.name, self.cells(stage).each_ref().map(String::as_str))?;
        }
        if self.named_sources().next().is_some() {
            let longest = self.named_sources().map(|source| source.name.chars().count()).max();
            let width = longest.unwrap_or(0).clamp("source".len(), WIDEST_NAME);
            let mut row = |name: &str, cells: [&str; SOURCE_COLUMNS.len()]| {
                write!(f, "{name:width$} ")?;
                for (cell, (_, width)) in cells.into_iter().zip(SOURCE_COLUMNS) {
                    write!(f, " {cell:>width$}")?;
                }
                f.write_char('\n')
            };
            row("source", SOURCE_COLUMNS.map(|(title, _)| title))?;
            for source in self.named_sources() {
                row(&source.name, Self::source_cells(source).each_ref().map(String::as_str))?;
            }
        }
        f.write_str(&self.summary())
    }
}

/// A table in HTML.
fn table(first: &str, titles: &str, rows: String) -> String {
    let head = format!("<thead><tr><th style=\"text-align: left\">{first}</th>{titles}</tr></thead>");
    format!("<table>{head}<tbody>{rows}</tbody></table>")
}

/// `once`, or `3 times`.
fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// Returns text for HTML, where a name may look like a tag.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // XML has no place for them, whatever an error's text may have.
            letter if letter.is_control() && !matches!(letter, '\n' | '\t') => html.push(' '),
            other => html.push(other),
        }
    }
    html
}
