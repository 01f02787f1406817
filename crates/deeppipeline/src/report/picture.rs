//! The report as a picture: the stages and what goes from one to the next, as Mermaid and as SVG.

use super::table::escaped;
use super::{Outcome, Report, StageReport};
use std::fmt::Write;

/// A stage in the picture, in pixels, and what is between two.
const WIDTH: usize = 156;
const HEIGHT: usize = 78;
const ACROSS: usize = 36;
const DOWN: usize = 18;
/// What stands in front of the first stage.
const SOURCES: usize = 132;
/// The number of sources that are drawn; of more their number is said.
const MOST_SOURCES: usize = 6;
/// The letters of a name for which a stage has room.
const LETTERS: usize = 20;

impl Report {
    /// Returns the stages and what goes from one to the next as a [Mermaid](https://mermaid.js.org) flowchart, which GitHub,
    /// GitLab and many editors draw. What has begun has its numbers: rates of the last ten seconds, what waits, what was
    /// dropped.
    pub fn to_mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        for (index, stage) in self.stages.iter().enumerate() {
            let name = quoted(&stage.name);
            let _ = match is_block(stage) {
                true => writeln!(text, "    n{index}{{{{\"{name}\"}}}}"),
                false => {
                    let numbers = self.numbers(stage).map_or(String::new(), |numbers| format!("<br>{numbers}"));
                    let _ = writeln!(text, "    n{index}[\"{name}{numbers}\"]");
                    writeln!(text, "    b{index}[/\"{}\"/] --> n{index}", in_front(stage))
                }
            };
        }
        let entry = |index: usize| if is_block(&self.stages[index]) { "n" } else { "b" };
        if self.stages.is_empty() {
            return text;
        }
        for (index, source) in self.sources.iter().enumerate() {
            let _ = writeln!(text, "    s{index}([\"{}\"]) --> {}0", quoted(&source.name), entry(0));
        }
        if self.sources.is_empty() {
            let _ = writeln!(text, "    put([\"put\"]) --> {}0", entry(0));
        }
        for (index, stage) in self.stages.iter().enumerate() {
            for next in &stage.next {
                let _ = writeln!(text, "    n{index} --> {}{next}", entry(*next));
            }
        }
        text
    }

    /// Returns the same as an SVG picture: in each stage its name, its rate, how busy its workers are, and how full the buffer
    /// in front of it is; the one that [limits](Report::explain) has a frame.
    pub fn to_svg(&self) -> String {
        let places = self.places();
        let columns = places.iter().map(|(column, _)| column + 1).max().unwrap_or(0);
        let lanes = 1.0 + places.iter().map(|(_, lane)| *lane).fold(0.0, f64::max);
        let shown = self.sources.len().min(MOST_SOURCES);
        let beside = shown * 34 + if self.sources.len() > shown { 20 } else { 0 };
        let of_lanes = (lanes * (HEIGHT + DOWN) as f64) as usize;
        let (tall, width) = (of_lanes.max(beside), SOURCES + columns * (WIDTH + ACROSS));
        let place = |index: usize| {
            let (column, lane) = places[index];
            let down = (tall - of_lanes + DOWN) / 2 + (lane * (HEIGHT + DOWN) as f64) as usize;
            (SOURCES + column * (WIDTH + ACROSS), down)
        };
        let middle = |index: usize| (place(index).0, place(index).1 + HEIGHT / 2);

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{tall}\" viewBox=\"0 0 {width} {tall}\" \
             role=\"img\" aria-label=\"{} stages and what goes from one to the next\">{STYLE}",
            self.stages.len()
        );
        if !self.stages.is_empty() {
            let first = middle(0);
            for (index, source) in self.sources.iter().take(MOST_SOURCES).enumerate() {
                let y = (tall - beside) / 2 + index * 34;
                let _ = write!(
                    svg,
                    "<rect class=\"c\" x=\"1\" y=\"{}\" width=\"104\" height=\"28\" rx=\"14\"/>\
                     <text x=\"53\" y=\"{}\" text-anchor=\"middle\">{}</text>\
                     <text class=\"s\" x=\"53\" y=\"{}\" text-anchor=\"middle\">{}</text>{}",
                    y + 2,
                    y + 14,
                    shortened(&source.name, 14),
                    y + 26,
                    source.state,
                    arrow((106, y + 16), first)
                );
            }
            if self.sources.len() > shown {
                let more = self.sources.len() - shown;
                let y = (tall - beside) / 2 + shown * 34 + 12;
                let _ =
                    write!(svg, "<text class=\"s\" x=\"53\" y=\"{y}\" text-anchor=\"middle\">and {more} more</text>");
            }
            if self.sources.is_empty() {
                let _ = write!(svg, "<text x=\"60\" y=\"{}\" text-anchor=\"end\">put</text>", first.1 + 4);
                svg += &arrow((66, first.1), first);
            }
        }
        for (index, stage) in self.stages.iter().enumerate() {
            let from = middle(index);
            stage.next.iter().for_each(|next| svg += &arrow((from.0 + WIDTH, from.1), middle(*next)));
        }
        let limit = self.explain().limit;
        for (index, stage) in self.stages.iter().enumerate() {
            svg += &self.card(stage, place(index), limit.as_deref() == Some(&stage.name));
        }
        svg + "</svg>"
    }

    /// Returns where each stage stands in a picture: its column, as far to the right as the longest way to it, and its lane,
    /// which is between two where branches begin or come together.
    #[doc(hidden)]
    pub fn places(&self) -> Vec<(usize, f64)> {
        let stages = &self.stages;
        let mut columns = vec![0; stages.len()];
        let mut before = vec![Vec::new(); stages.len()];
        // A row stands before those that get what it gives.
        for (index, stage) in stages.iter().enumerate() {
            for next in &stage.next {
                columns[*next] = columns[*next].max(columns[index] + 1);
                before[*next].push(index);
            }
        }
        // The first of several branches goes on in the lane of the stage before, the others in lanes of their own.
        let mut lanes: Vec<Option<f64>> = vec![None; stages.len()];
        for index in 0..stages.len() {
            let lane = *lanes[index].get_or_insert(0.0);
            for (branch, next) in stages[index].next.iter().enumerate() {
                if before[*next].len() > 1 {
                    continue;
                }
                let is_taken = |lane: f64| {
                    (0..stages.len()).any(|other| lanes[other] == Some(lane) && columns[other] == columns[*next])
                };
                let mut free = lane + branch as f64;
                while is_taken(free) {
                    free += 1.0;
                }
                lanes[*next] = Some(free);
            }
            // What is behind branches stands between them; all of them stand before it.
            let together = (0..stages.len()).filter(|behind| before[*behind].len() > 1 && lanes[*behind].is_none());
            for behind in together.collect::<Vec<_>>() {
                let of_branches: Option<Vec<f64>> = before[behind].iter().map(|branch| lanes[*branch]).collect();
                lanes[behind] = of_branches.map(|lanes| mean(&lanes));
            }
        }
        // What is in front of branches stands between them, and with it those from which it gets all.
        for index in (0..stages.len()).rev() {
            lanes[index] = match stages[index].next.as_slice() {
                [] => lanes[index],
                [next] if before[*next].len() > 1 => lanes[index],
                next => Some(mean(&next.iter().filter_map(|next| lanes[*next]).collect::<Vec<_>>())),
            };
        }
        columns.into_iter().zip(lanes).map(|(column, lane)| (column, lane.unwrap_or_default())).collect()
    }

    /// The numbers of a stage, if it has any.
    fn numbers(&self, stage: &StageReport) -> Option<String> {
        let has_begun = stage.buffer.taken > 0;
        has_begun.then(|| match self.outcome {
            Outcome::Running => format!("{:.1}/s, busy {:.0} %", stage.recent.rate, 100.0 * stage.recent.shares.busy),
            _ => format!("{} taken, busy {:.0} %", stage.buffer.taken, 100.0 * stage.busy_share(self.elapsed)),
        })
    }

    fn card(&self, stage: &StageReport, (x, y): (usize, usize), limits: bool) -> String {
        let name = shortened(&stage.name, LETTERS);
        if is_block(stage) {
            let (top, middle) = (y + HEIGHT / 2 - 15, y + HEIGHT / 2 + 4);
            return format!(
                "<rect class=\"c\" x=\"{x}\" y=\"{top}\" width=\"{WIDTH}\" height=\"30\" rx=\"15\"/><text class=\"n\" \
                 x=\"{}\" y=\"{middle}\" text-anchor=\"middle\">{name}</text>",
                x + WIDTH / 2
            );
        }
        let bar = (WIDTH - 24) as f64;
        let shares = match self.outcome {
            Outcome::Running => stage.recent.shares,
            _ => stage.shares(self.elapsed),
        };
        let fill = (stage.buffer.waiting as f64 / stage.buffer_size.max(1) as f64).min(1.0);
        let (left, dropped) = (x + 12, stage.buffer.dropped());
        format!(
            "<g><title>{}</title><rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\"/>\
             <text class=\"n\" x=\"{left}\" y=\"{}\">{name}</text><text class=\"s\" x=\"{left}\" y=\"{}\">{}</text>\
             <rect class=\"r\" x=\"{left}\" y=\"{}\" width=\"{bar}\" height=\"8\"/>\
             <rect class=\"b\" x=\"{left}\" y=\"{}\" width=\"{:.1}\" height=\"8\"/>\
             <rect class=\"k\" x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"8\"/>\
             <rect class=\"q\" x=\"{left}\" y=\"{}\" width=\"{:.1}\" height=\"4\"/>\
             <text class=\"{}\" x=\"{left}\" y=\"{}\">{}</text></g>",
            escaped(&stage.name),
            if limits { "c l" } else { "c" },
            y + 18,
            y + 34,
            self.numbers(stage).unwrap_or_else(|| "nothing yet".to_owned()),
            y + 40,
            y + 40,
            bar * shares.busy,
            left as f64 + bar * shares.busy,
            y + 40,
            bar * shares.blocked,
            y + 51,
            bar * fill,
            if dropped > 0 { "d" } else { "s" },
            y + 69,
            in_front(stage),
        )
    }
}

/// The colours, which follow those of the page around where that says what it is.
const STYLE: &str = "<style>text{font:12px system-ui,sans-serif;fill:#1b2330}.s{fill:#5b6777;font-size:11px}\
    .n{font-weight:600}.d{fill:#c0313a;font-size:11px}.c{fill:#fff;stroke:#d5dae1}.l{stroke:#c0313a;stroke-width:2}\
    .r{fill:#dfe4ea}.b{fill:#2a6fdb}.k{fill:#d9822b}.q{fill:#7a4fc9}.e{fill:none;stroke:#5b6777}\
    @media (prefers-color-scheme:dark){text{fill:#e6eaf0}.s{fill:#9aa6b5}.d{fill:#f0777f}.c{fill:#1b212a;stroke:#36404d}\
    .l{stroke:#f0777f}.r{fill:#323b47}.b{fill:#5b97f2}.k{fill:#e79b4d}.q{fill:#a78bea}.e{stroke:#9aa6b5}}</style>\
    <defs><marker id=\"h\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
    <path d=\"M0 0L8 4L0 8z\" fill=\"#7f8a99\"/></marker></defs>";

/// A block has a row without a buffer or a worker: samples only pass it.
fn is_block(stage: &StageReport) -> bool {
    stage.workers == 0 && stage.buffer_size == 0
}

/// What the buffer in front of a stage has.
fn in_front(stage: &StageReport) -> String {
    let StageReport { buffer, buffer_size, .. } = stage;
    match buffer.dropped() {
        0 => format!("{} of {buffer_size} wait", buffer.waiting),
        dropped => format!("{} of {buffer_size} wait, {dropped} dropped", buffer.waiting),
    }
}

fn mean(lanes: &[f64]) -> f64 {
    lanes.iter().sum::<f64>() / lanes.len().max(1) as f64
}

fn arrow((x, y): (usize, usize), (to_x, to_y): (usize, usize)) -> String {
    let middle = (x + to_x) / 2;
    let to_x = to_x - 2;
    format!("<path class=\"e\" marker-end=\"url(#h)\" d=\"M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}\"/>")
}

fn shortened(name: &str, letters: usize) -> String {
    match name.char_indices().nth(letters) {
        Some((end, _)) => format!("{}…", escaped(&name[..end])),
        None => escaped(name),
    }
}

/// A name as Mermaid takes it in quotes.
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '"' => text.push_str("#quot;"),
            '#' => text.push_str("#35;"),
            '<' => text.push_str("#lt;"),
            '>' => text.push_str("#gt;"),
            '&' => text.push_str("#amp;"),
            letter if letter.is_control() => text.push(' '),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::{Pipeline, chain, stage};

    fn report() -> super::Report {
        let pair = (chain().stage(stage(|x: u32| x).name("a \"b\" <c>")), chain().stage(stage(|x: u32| x).name("d")));
        let builder = Pipeline::builder().stage(stage(|x: u32| x).name("first")).parallel(pair);
        builder.end_stage(stage(|_: (u32, u32)| {}).name("end")).simulate().unwrap().report()
    }

    #[test]
    fn mermaid_has_every_stage_its_buffer_and_what_goes_where() {
        assert_eq!(
            report().to_mermaid(),
            "flowchart LR\n    n0[\"first\"]\n    b0[/\"0 of 2 wait\"/] --> n0\n    n1{{\"parallel\"}}\n    \
             n2[\"a #quot;b#quot; #lt;c#gt;\"]\n    b2[/\"0 of 2 wait\"/] --> n2\n    n3[\"d\"]\n    \
             b3[/\"0 of 2 wait\"/] --> n3\n    n4[\"end\"]\n    b4[/\"0 of 2 wait\"/] --> n4\n    put([\"put\"]) --> b0\n    \
             n0 --> n1\n    n1 --> b2\n    n1 --> b3\n    n2 --> b4\n    n3 --> b4\n"
        );
    }

    #[test]
    fn no_two_stages_stand_in_the_same_place_and_what_joins_branches_stands_between_them() {
        let one = |name| chain().stage(stage(|x: u32| x).name(name));
        let long = one("long").stage(|x: u32| x).stage(|x: u32| x);
        let pair = (one("left"), one("right"));
        let inner = chain().stage(stage(|x: u32| x).name("in")).parallel(pair).stage(|(x, _): (u32, u32)| x);
        let builder = Pipeline::builder().stage(stage(|x: u32| x).name("first")).parallel((long, inner));
        let report = builder.end_stage(stage(|_: (u32, u32)| {}).name("end")).simulate().unwrap().report();
        let places = report.places();
        for (index, place) in places.iter().enumerate() {
            assert!(!places[..index].contains(place), "{places:?}");
        }
        let place = |name: &str| places[report.stages.iter().position(|stage| stage.name == name).unwrap()];
        assert_eq!((place("left").0, place("right").0), (place("in").0 + 2, place("in").0 + 2));
        assert_eq!(place("in").1, (place("left").1 + place("right").1) / 2.0);
        assert!(place("first").1 > place("long").1 && place("first").1 < place("in").1, "{places:?}");
        assert_eq!(place("end").0, places.iter().map(|(column, _)| *column).max().unwrap());
    }

    #[test]
    fn the_picture_has_every_stage_once_and_names_stay_text() {
        let svg = report().to_svg();
        assert_eq!(svg.matches("<title>").count(), 4);
        assert_eq!(svg.matches("marker-end").count(), 6);
        assert!(svg.contains("a &quot;b&quot; &lt;c&gt;") && !svg.contains("<c>"), "{svg}");
    }
}
