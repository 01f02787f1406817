//! The timeline as an SVG picture.

use super::rows::{Bar, Bars, Row};
use super::{Timeline, Visit};
use crate::fates::Fate;
use crate::report::table::escaped;
use std::fmt::Write;
use std::time::Duration;

/// Sizes in pixels.
const WIDTH: f64 = 1120.0;
const LABELS: f64 = 150.0;
const BAR: f64 = 16.0;
const ROW: f64 = 20.0;
const BETWEEN: f64 = 12.0;
const AXIS: f64 = 28.0;
/// The rows of a buffer that are drawn; what waits in others shows in the last.
const MOST_LANES: usize = 4;
/// The bars that are drawn: a picture of more would be of no use. The newest are.
const MOST_BARS: usize = 4000;
/// The letters of a name for which there is room.
const LETTERS: usize = 18;

impl Timeline {
    /// Returns it as a picture: a row for each worker and for what waits in front of each stage, a bar for each sample, in the
    /// sample's colour. Crosses are samples that were dropped or failed. `follow` draws the way of one sample, by its number.
    ///
    /// For a long time draw the [last](Timeline::last) of it.
    pub fn to_svg(&self, follow: Option<u64>) -> String {
        let Bars { mut bars, lanes, workers } = self.bars();
        // The newest, and what is followed or is still there.
        let (all, mut index) = (bars.len(), 0);
        bars.retain(|bar| {
            index += 1;
            index + MOST_BARS > all || bar.visit.ended.is_none() || follow == Some(bar.visit.sample.number)
        });
        let left_out = all - bars.len();
        let first = bars.iter().map(|bar| bar.begin).min();
        let from = self.shown_from.or(first).unwrap_or(self.until);
        bars.retain(|bar| bar.end >= from);
        bars.iter_mut().for_each(|bar| bar.begin = bar.begin.max(from));
        let lanes: Vec<usize> = lanes.iter().map(|lanes| (*lanes).clamp(1, MOST_LANES)).collect();

        // Where each stage begins.
        let (mut tops, mut top) = (Vec::new(), AXIS);
        for (stage, workers) in workers.iter().enumerate() {
            tops.push(top);
            top += (lanes[stage] + workers) as f64 * ROW + BETWEEN;
        }
        let span = self.until.saturating_sub(from).as_secs_f64().max(1e-9);
        let scale = (WIDTH - LABELS - 8.0) / span;
        let across = |time: Duration| LABELS + time.saturating_sub(from).as_secs_f64() * scale;
        let down = |row: Row| match row {
            Row::Buffer { stage, lane } => tops[stage] + lane.min(lanes[stage] - 1) as f64 * ROW,
            Row::Worker { stage, worker } => tops[stage] + (lanes[stage] + worker) as f64 * ROW,
        };

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" viewBox=\"0 0 {WIDTH} {top}\" \
             role=\"img\" aria-label=\"the last {} of {} stages\">{STYLE}",
            seconds(span),
            self.stages.len()
        );
        svg += &self.axis(from, span, &across, top);
        for (stage, row) in self.stages.iter().enumerate() {
            let name = match row.name.char_indices().nth(LETTERS) {
                Some((end, _)) => format!("{}…", escaped(&row.name[..end])),
                None => escaped(&row.name),
            };
            let (y, tall) = (tops[stage], (lanes[stage] + workers[stage]) as f64 * ROW);
            let waiting = lanes[stage] as f64 * ROW;
            let _ = write!(
                svg,
                "<rect class=\"w\" x=\"{LABELS}\" y=\"{y}\" width=\"{}\" height=\"{waiting}\"/><rect class=\"k\" \
                 x=\"{LABELS}\" y=\"{}\" width=\"{}\" height=\"{}\"/><text class=\"n\" x=\"4\" y=\"{}\">{name}</text>\
                 <text class=\"s\" x=\"4\" y=\"{}\">waiting, then {} worker{}</text>",
                WIDTH - LABELS,
                y + waiting,
                WIDTH - LABELS,
                tall - waiting,
                y + 13.0,
                y + 28.0,
                workers[stage],
                if workers[stage] == 1 { "" } else { "s" },
            );
        }
        for bar in &bars {
            self.draw(&mut svg, bar, &across, down(bar.row), follow);
        }
        svg += &self.draw_marks(from, &across, top);
        if left_out > 0 {
            let _ = write!(svg, "<text class=\"s\" x=\"4\" y=\"13\">{left_out} older bars left out</text>");
        }
        if let Some(number) = follow {
            let way: Vec<String> = bars
                .iter()
                .filter(|bar| bar.visit.sample.number == number)
                .flat_map(|bar| [(bar.begin, bar), (bar.end, bar)])
                .map(|(time, bar)| format!("{:.1},{:.1}", across(time), down(bar.row) + BAR / 2.0))
                .collect();
            let _ = write!(svg, "<polyline class=\"f\" points=\"{}\"/>", way.join(" "));
        }
        svg + "</svg>"
    }

    /// The times along the top.
    fn axis(&self, from: Duration, span: f64, across: &impl Fn(Duration) -> f64, bottom: f64) -> String {
        let mut svg = String::new();
        // A round number of seconds, so that there are some ten steps at most.
        let rough = span / 8.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (from.as_secs_f64() / step).ceil() as u64;
        let places = if step < 0.001 {
            4
        } else if step < 1.0 {
            3
        } else {
            0
        };
        for number in first..first + 12 {
            let at = number as f64 * step;
            let Ok(time) = Duration::try_from_secs_f64(at) else { break };
            if time > self.until {
                break;
            }
            let x = across(time);
            let _ = write!(
                svg,
                "<path class=\"g\" d=\"M{x:.1} 18V{bottom}\"/><text class=\"s\" x=\"{x:.1}\" y=\"13\" \
                 text-anchor=\"middle\">{at:.places$} s</text>"
            );
        }
        svg
    }

    /// What happened to the pipeline.
    fn draw_marks(&self, from: Duration, across: &impl Fn(Duration) -> f64, bottom: f64) -> String {
        let mut svg = String::new();
        for mark in self.marks.iter().filter(|mark| mark.at >= from) {
            let x = across(mark.at);
            let text = escaped(&mark.text);
            let _ = write!(
                svg,
                "<g><title>{text}</title><path class=\"m\" d=\"M{x:.1} 18V{bottom}\"/><circle class=\"x\" cx=\"{x:.1}\" \
                 cy=\"20\" r=\"4\"/></g>"
            );
        }
        svg
    }

    fn draw(&self, svg: &mut String, bar: &Bar<'_>, across: &impl Fn(Duration) -> f64, y: f64, follow: Option<u64>) {
        let Visit { sample, source, .. } = bar.visit;
        let is_worker = matches!(bar.row, Row::Worker { .. });
        let (x, end) = (across(bar.begin), across(bar.end));
        let width = (end - x).max(1.0);
        // Colours of neighbours are far apart on the circle: the golden angle.
        let hue = (sample.number as f64 * 137.508) % 360.0;
        let is_aside = follow.is_some_and(|number| number != sample.number);
        let opacity = match (is_aside, is_worker) {
            (false, true) => 1.0,
            (false, false) => 0.45,
            (true, true) => 0.4,
            (true, false) => 0.2,
        };
        let took = bar.end.saturating_sub(bar.begin).as_secs_f64();
        let of_source = source.as_ref().map_or(String::new(), |source| format!(" of {}", escaped(source)));
        let doing = if is_worker { "worked on" } else { "waited" };
        let _ = write!(
            svg,
            "<g data-sample=\"{}\"><title>{sample}{of_source}: {doing} for {}, {}</title><rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{BAR}\" rx=\"2\" fill=\"hsl({hue:.0} 60% 50%)\" opacity=\"{opacity}\"/>",
            sample.number,
            seconds(took),
            bar.visit.word()
        );
        let name = sample.to_string();
        if is_worker && width > 7.0 * name.len() as f64 + 4.0 {
            let _ = write!(svg, "<text class=\"t\" x=\"{:.1}\" y=\"{}\">{name}</text>", x + 3.0, y + 12.0);
        }
        let is_its_last = is_worker || bar.visit.taken.is_none();
        let is_gone = bar.visit.crashed
            || bar.visit.fate.is_some_and(|fate| !matches!(fate, Fate::Absorbed | Fate::Windowed | Fate::Skipped));
        if is_its_last && is_gone {
            let _ = write!(svg, "<path class=\"x\" d=\"M{:.1} {}l8 8m0 -8l-8 8\"/>", end - 4.0, y + 4.0);
        }
        svg.push_str("</g>");
    }
}

/// A duration in a unit that suits it.
fn seconds(seconds: f64) -> String {
    match seconds {
        long if long >= 1.0 => format!("{long:.2} s"),
        short if short >= 0.001 => format!("{:.1} ms", short * 1e3),
        shorter => format!("{:.1} µs", shorter * 1e6),
    }
}

/// The colours of what is no sample, which follow those of the page around.
const STYLE: &str = "<style>text{font:12px system-ui,sans-serif;fill:#1b2330}.s{fill:#5b6777;font-size:11px}\
    .n{font-weight:600}.t{fill:#fff;font-size:11px}.w{fill:#f0edf7}.k{fill:#eef1f5}.g{stroke:#d5dae1}\
    .m{stroke:#c0313a;stroke-dasharray:3 3}.x{stroke:#c0313a;stroke-width:2;fill:none}\
    .f{stroke:#1b2330;stroke-width:1.5;fill:none}\
    @media (prefers-color-scheme:dark){text{fill:#e6eaf0}.s{fill:#9aa6b5}.w{fill:#262233}.k{fill:#1f252e}.g{stroke:#36404d}\
    .m,.x{stroke:#f0777f}.f{stroke:#e6eaf0}}</style>";
