//! `deeppipeline top`: a pipeline in the terminal, from the dashboard of the program that runs it.

use crate::console::print;
use deeppipeline::report::{Outcome, StageReport};
use deeppipeline::{BoxError, Report};
use deeppipeline_monitor::{DEFAULT_PORT, Snapshot};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table, Wrap};
use ratatui::{DefaultTerminal, Frame};
use std::collections::VecDeque;
use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// The time after which a program does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The looks that are remembered.
const REMEMBERED: usize = 300;

/// The arguments of the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the program's dashboard is: its address as the program tells it, or a port of this machine
    #[arg(value_name = "ADDRESS", default_value_t = DEFAULT_PORT.to_string())]
    address: String,

    /// The pipeline, where the program has several [default: the first that runs]
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,

    /// Print what there is now, and end
    #[arg(long)]
    once: bool,

    /// Print JSON: one line for each look, or one in all with --once
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, BoxError> {
    let program = Program::at(&arguments.address, arguments.pipeline.as_deref())?;
    if arguments.json {
        loop {
            print(program.look()?)?;
            if arguments.once {
                return Ok(ExitCode::SUCCESS);
            }
            std::thread::sleep(EVERY);
        }
    }
    let first = program.snapshot()?;
    if arguments.once || !stdout().is_terminal() {
        let Snapshot { name, report, failure, explanation, .. } = first;
        let failure = failure.map_or(String::new(), |failure| format!("\n{failure}"));
        print(format_args!("{name}: {}\n{report}\n{explanation}{failure}", report.outcome))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut terminal = ratatui::try_init()?;
    let watched = watch(&mut terminal, &program, first);
    ratatui::restore();
    watched.map(|()| ExitCode::SUCCESS)
}

/// A program that shows its pipelines.
struct Program {
    agent: ureq::Agent,
    url: String,
}

impl Program {
    fn at(address: &str, pipeline: Option<&str>) -> Result<Self, BoxError> {
        let wants = || {
            format!("{address:?} is no address of a dashboard: it wants a port, or http://127.0.0.1:{DEFAULT_PORT}/")
        };
        let url = match address.parse::<u16>() {
            Ok(port) => format!("http://127.0.0.1:{port}/"),
            Err(_) if address.starts_with("http://") => address.to_owned(),
            Err(_) if address.contains(':') => format!("http://{address}/"),
            Err(_) => return Err(wants().into()),
        };
        // The token is behind the page's own address.
        let (page, query) = url.split_once('?').unwrap_or((&url, ""));
        let mut url = format!("{}/api/report?{query}", page.trim_end_matches('/'));
        if let Some(name) = pipeline {
            url += "&pipeline=";
            for byte in name.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => url.push(char::from(byte)),
                    other => url += &format!("%{other:02X}"),
                }
            }
        }
        let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
        Ok(Program { agent: config.build().into(), url })
    }

    /// Looks once, and returns the JSON.
    fn look(&self) -> Result<String, BoxError> {
        let page = self.url.split("/api/").next().unwrap_or_default();
        let mut answer = self.agent.get(&self.url).call().map_err(|error| {
            format!(
                "no dashboard answers at {page}: {error}. Does the program run, with dashboard=True or --dashboard?"
            )
        })?;
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string()?;
        match answer.status().is_success() {
            true => Ok(text),
            false => Err(format!("{page} says: {}", text.trim()).into()),
        }
    }

    fn snapshot(&self) -> Result<Snapshot, BoxError> {
        let text = self.look()?;
        serde_json::from_str(&text).map_err(|error| format!("its dashboard is of another version: {error}").into())
    }
}

/// What is shown.
struct Shown {
    snapshot: Snapshot,
    /// Why there is nothing newer.
    lost: Option<String>,
    rates: VecDeque<u64>,
    ages: VecDeque<u64>,
    /// The first of the stages that is to be seen.
    from: usize,
}

impl Shown {
    fn new(snapshot: Snapshot) -> Self {
        let mut shown = Shown { snapshot, lost: None, rates: VecDeque::new(), ages: VecDeque::new(), from: 0 };
        shown.remember();
        shown
    }

    fn remember(&mut self) {
        let report = &self.snapshot.report;
        // Tenths, so that slow ones show.
        let rate = (10.0 * rate_at_end(report)) as u64;
        let age = report.recent_age.p99.as_micros().try_into().unwrap_or(u64::MAX);
        for (past, now) in [(&mut self.rates, rate), (&mut self.ages, age)] {
            past.push_back(now);
            if past.len() > REMEMBERED {
                past.pop_front();
            }
        }
    }
}

fn rate_at_end(report: &Report) -> f64 {
    report.stages.iter().filter(|stage| stage.next.is_empty()).map(|stage| stage.recent.rate).sum()
}

/// Shows the pipeline until somebody wants no more.
fn watch(terminal: &mut DefaultTerminal, program: &Program, first: Snapshot) -> Result<(), BoxError> {
    let mut shown = Shown::new(first);
    let mut next = Instant::now() + EVERY;
    loop {
        terminal.draw(|frame| draw(frame, &shown))?;
        while event::poll(next.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                    KeyCode::Down | KeyCode::Char('j') => shown.from += 1,
                    KeyCode::Up | KeyCode::Char('k') => shown.from = shown.from.saturating_sub(1),
                    _ => continue,
                },
                Event::Resize(..) => {}
                _ => continue,
            }
            shown.from = shown.from.min(shown.snapshot.report.stages.len().saturating_sub(1));
            terminal.draw(|frame| draw(frame, &shown))?;
        }
        match program.snapshot() {
            Ok(snapshot) => {
                (shown.snapshot, shown.lost) = (snapshot, None);
                if shown.snapshot.report.outcome == Outcome::Running {
                    shown.remember();
                }
            }
            Err(error) => shown.lost = Some(error.to_string()),
        }
        next = Instant::now() + EVERY;
    }
}

fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let Snapshot { report, explanation, failure, .. } = &shown.snapshot;
    let words = shown.lost.as_deref().or(failure.as_deref()).unwrap_or(&explanation.text);
    let width = frame.area().width.max(1) as usize;
    let lines = words.lines().map(|line| line.chars().count().div_ceil(width).max(1)).sum::<usize>().min(6);
    let sources = report.sources.len().min(5);
    let [head, said, stages, from, past, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(lines as u16 + 1),
        Constraint::Min(4),
        Constraint::Length(if sources > 0 { sources as u16 + 2 } else { 0 }),
        Constraint::Length(5),
        Constraint::Length(1),
    ])
    .areas(frame.area());

    frame.render_widget(headline(shown), head);
    let is_bad = shown.lost.is_some() || failure.is_some();
    let style = if is_bad { Style::new().fg(Color::Red) } else { Style::new() };
    frame.render_widget(Paragraph::new(words).style(style).wrap(Wrap { trim: true }), said);
    draw_stages(frame, stages, shown);
    draw_sources(frame, from, report, sources);
    let [rate, age] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(past);
    let last = |past: &VecDeque<u64>, width: u16| -> Vec<u64> {
        past.iter().skip(past.len().saturating_sub(width.saturating_sub(2) as usize)).copied().collect()
    };
    let curve = |title: String, data: Vec<u64>, colour| {
        Sparkline::default().block(Block::bordered().title(title)).data(data).fg(colour)
    };
    let title = format!(" {:.1}/s at the end ", rate_at_end(report));
    frame.render_widget(curve(title, last(&shown.rates, rate.width), Color::Blue), rate);
    let title = format!(" age p99 {} ", time(report.recent_age.p99));
    frame.render_widget(curve(title, last(&shown.ages, age.width), Color::Yellow), age);
    frame.render_widget(Line::from("q ends, ↑ and ↓ scroll").dark_gray(), keys);
}

fn headline(shown: &Shown) -> Line<'static> {
    let Snapshot { name, report, is_there, .. } = &shown.snapshot;
    let (outcome, colour) = match (report.outcome, is_there) {
        (Outcome::Running, true) => ("running".to_owned(), Color::Blue),
        (Outcome::Running, false) => ("gone".to_owned(), Color::Red),
        (Outcome::Finished, _) => ("finished".to_owned(), Color::Green),
        (outcome, _) => (outcome.to_string(), Color::Red),
    };
    let elapsed = report.elapsed.as_secs();
    let newest = report.stages.iter().filter_map(|stage| stage.age_of_information).max();
    Line::from(vec![
        Span::from(name.clone()).bold(),
        Span::from("  "),
        Span::from(outcome).fg(colour).bold(),
        Span::from(format!("  {}:{:02}:{:02}", elapsed / 3600, elapsed / 60 % 60, elapsed % 60)),
        Span::from(format!("  age p50 {}", time(report.recent_age.p50))),
        Span::from(newest.map_or(String::new(), |age| format!("  newest {}", time(age)))),
        Span::from(format!("  dropped {}", report.dropped())),
    ])
}

fn draw_stages(frame: &mut Frame<'_>, area: Rect, shown: &Shown) {
    let Snapshot { report, explanation, .. } = &shown.snapshot;
    let longest = report.stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0).clamp(5, 30);
    let rows = report.stages.iter().skip(shown.from).map(|stage| {
        let limits = explanation.limit.as_deref() == Some(&stage.name);
        let style = if limits { Style::new().fg(Color::Red).add_modifier(Modifier::BOLD) } else { Style::new() };
        stage_row(stage).style(style)
    });
    let widths = [
        Constraint::Length(longest as u16),
        Constraint::Length(9),
        Constraint::Length(22),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Fill(1),
    ];
    let titles = ["stage", "rate", "busy, blocked", "waiting", "p50", "p99", "dropped", "failed", "workers"];
    let table = Table::new(rows, widths).header(Row::new(titles).dark_gray());
    frame.render_widget(table, area);
}

fn stage_row(stage: &StageReport) -> Row<'static> {
    if stage.workers == 0 {
        return Row::new([Cell::from(stage.name.clone())]);
    }
    const BAR: usize = 10;
    let shares = stage.recent.shares;
    let busy = (shares.busy * BAR as f64).round() as usize;
    let blocked = ((shares.blocked * BAR as f64).round() as usize).min(BAR - busy.min(BAR));
    let rest = BAR.saturating_sub(busy + blocked);
    let bar = Line::from(vec![
        Span::from("█".repeat(busy)).blue(),
        Span::from("▒".repeat(blocked)).yellow(),
        Span::from("·".repeat(rest)).dark_gray(),
        Span::from(format!(" {:>3.0} % {:>3.0} %", 100.0 * shares.busy, 100.0 * shares.blocked)),
    ]);
    let longest = stage.doing.iter().filter_map(|worker| worker.since).max().filter(|since| since.as_secs() >= 1);
    let doing = stage.doing.iter().map(|worker| worker.doing.to_string()).collect::<Vec<_>>();
    let doing = match (doing.first(), longest) {
        (Some(first), Some(longest)) if doing.len() == 1 => format!("{first} for {}", time(longest)),
        (Some(first), _) if doing.len() == 1 => first.clone(),
        (None, _) => "ended".to_owned(),
        _ => format!("{} of {} working", doing.iter().filter(|doing| *doing == "working").count(), doing.len()),
    };
    Row::new([
        Cell::from(stage.name.clone()),
        Cell::from(format!("{:.1}/s", stage.recent.rate)),
        Cell::from(bar),
        Cell::from(format!("{} of {}", stage.buffer.waiting, stage.buffer_size)),
        Cell::from(time(stage.recent.run.p50)),
        Cell::from(time(stage.recent.run.p99)),
        Cell::from(stage.buffer.dropped().to_string()),
        Cell::from((stage.counts.failed + stage.counts.lost).to_string()),
        Cell::from(if stage.paused { "paused".to_owned() } else { doing }),
    ])
}

fn draw_sources(frame: &mut Frame<'_>, area: Rect, report: &Report, shown: usize) {
    let rows = report.sources.iter().take(shown).map(|source| {
        Row::new([
            source.name.clone(),
            source.state.to_string(),
            source.counts.entered.to_string(),
            source.counts.dropped().to_string(),
            source.last_error.clone().unwrap_or_default(),
        ])
    });
    let more = report.sources.len() - shown;
    let title = if more > 0 { format!("source (and {more} more)") } else { "source".to_owned() };
    let titles = [title, "state".to_owned(), "entered".to_owned(), "dropped".to_owned(), "last error".to_owned()];
    let widths = [
        Constraint::Length(30),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Fill(1),
    ];
    frame.render_widget(Table::new(rows, widths).header(Row::new(titles).dark_gray()), area);
}

fn time(duration: Duration) -> String {
    match duration.as_secs_f64() {
        0.0 => "0".to_owned(),
        seconds if seconds < 1e-3 => format!("{:.0} µs", 1e6 * seconds),
        seconds if seconds < 1.0 => format!("{:.1} ms", 1e3 * seconds),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deeppipeline::{Overflow, Pipeline, stage};
    use deeppipeline_monitor::{Dashboard, Options};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn shown_by(dashboard: &Dashboard) -> Snapshot {
        Program::at(&dashboard.url(), None).unwrap().snapshot().unwrap()
    }

    fn screen(shown: &Shown, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, shown)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_screen_has_every_stage_and_source_and_what_limits_in_any_size() {
        let dashboard = Options::new().address(([127, 0, 0, 1], 0).into()).token("0123456789abcdef").open().unwrap();
        let pipeline = Pipeline::builder()
            .overflow(Overflow::Block)
            .source_at("north", 0..100)
            .stage(stage(|x: u32| x).name("detect"))
            .end_stage(stage(|_: u32| {}).name("show"))
            .start()
            .unwrap();
        dashboard.watch("cameras", pipeline.reporter());
        pipeline.join().unwrap();
        let shown = Shown::new(shown_by(&dashboard));
        let seen = screen(&shown, 120, 30);
        for wanted in ["cameras", "finished", "detect", "show", "north", "ended", "What comes in limits", "q ends"] {
            assert!(seen.contains(wanted), "{wanted} is not on\n{seen}");
        }
        for (width, height) in [(1, 1), (10, 3), (40, 12), (300, 100)] {
            screen(&shown, width, height);
        }
        let lost = Shown { lost: Some("no dashboard answers".to_owned()), ..shown };
        assert!(screen(&lost, 120, 30).contains("no dashboard answers"));
    }

    #[test]
    fn names_of_pipelines_are_asked_for_as_they_are_and_others_are_told() {
        let dashboard = Options::new().address(([127, 0, 0, 1], 0).into()).open().unwrap();
        let pipeline = Pipeline::builder().end_stage(|_: u32| {}).start().unwrap();
        let name = dashboard.watch("a b&c=ä", pipeline.reporter());
        let port = dashboard.address().port().to_string();
        for address in [&dashboard.url(), &port, &dashboard.address().to_string()] {
            assert_eq!(Program::at(address, Some(&name)).unwrap().snapshot().unwrap().name, name);
        }
        let error = Program::at(&port, Some("other")).unwrap().snapshot().unwrap_err();
        assert!(error.to_string().contains("no pipeline of that name is watched"), "{error}");
        assert!(Program::at("somewhere", None).is_err());
        drop(dashboard);
        let error = Program::at(&port, None).unwrap().snapshot().unwrap_err();
        assert!(error.to_string().contains("Does the program run"), "{error}");
    }
}
