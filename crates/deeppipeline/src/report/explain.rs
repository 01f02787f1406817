//! What limits a pipeline, in plain words, from its report.

use super::{Doing, Outcome, Prediction, Report, Setting, StageReport, Timeline};
use crate::policies::Overflow;
use std::fmt;
use std::thread::available_parallelism;

/// A stage whose workers are busy for less than that share of the time has room left.
const FULL: f64 = 0.9;

/// A share of the time that is worth a word.
const SOME: f64 = 0.1;

/// By how much more than the limit another stage must let through for there to be no doubt.
const CLEAR: f64 = 0.2;

/// What limits a pipeline, and what another worker would change. Printing it says it in words.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Explanation {
    /// The stage that limits the rate; `None` where no stage does: less comes in than there is room for.
    pub limit: Option<String>,
    /// How sure that is, from 0 (another stage has hardly more room) to 1.
    pub confidence: f64,
    /// Samples that the limiting stage takes in a second; without one, the last stage.
    pub rate: f64,
    /// The rate that one more worker of that stage would allow, where it may have one and a core is free for it.
    pub with_another_worker: Option<f64>,
    /// What would limit then: a stage; `None` for what comes in.
    pub then: Option<String>,
    /// What the pipeline does by its last samples, where those were asked: see [`Timeline::what_if`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub present: Option<Prediction>,
    /// What it would do with another setting of that stage, where that makes a difference.
    #[cfg_attr(feature = "serde", serde(default))]
    pub alternatives: Vec<Alternative>,
    /// All of it in words.
    pub text: String,
}

/// Another setting of the stage that limits, and what the pipeline would do with it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Alternative {
    /// The setting.
    pub setting: Setting,
    /// What the pipeline would do.
    pub prediction: Prediction,
}

impl Explanation {
    /// Adds what the last samples tell of other settings of the stage that limits.
    pub(crate) fn with_alternatives(mut self, timeline: &Timeline) -> Self {
        let stage = timeline.stages.iter().find(|stage| Some(&stage.name) == self.limit.as_ref());
        let (Some(stage), Ok(present)) = (stage, timeline.what_if(&[])) else { return self };
        let (workers, size) = (stage.workers + 1, stage.buffer_size);
        let mut options = vec![("workers", workers.to_string()), ("buffer_size", (2 * size).to_string())];
        if size > 1 {
            options.push(("buffer_size", (size / 2).to_string()));
        }
        if stage.overflow == Overflow::Block {
            options.push(("overflow", Overflow::DropOldest.to_string()));
        }
        for (option, value) in options {
            // What the stage could not have, such as several workers with windows, is no alternative.
            let Ok(setting) = Setting::new(&*stage.name, option, &value) else { continue };
            let Ok(prediction) = timeline.what_if(std::slice::from_ref(&setting)) else { continue };
            if prediction.differs_from(&present) {
                self.alternatives.push(Alternative { setting, prediction });
            }
        }
        self.text += &format!("\nBy its last samples, on a virtual clock: {present}.");
        let cores = available_parallelism().map_or(1, |cores| cores.get());
        for Alternative { setting, prediction } in &self.alternatives {
            self.text += &format!("\nWith {setting}: {prediction}");
            self.text += if prediction.busy_workers > cores as f64 { ", more than there are cores." } else { "." };
        }
        if self.alternatives.is_empty() {
            self.text += " No other setting of it would change that.";
        }
        self.present = Some(present);
        self
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What each stage would let through if it were busy all the time, in samples that come in a second.
struct Rooms<'a> {
    report: &'a Report,
    /// How many samples come to each row for one that comes in, were none dropped on the way.
    per_sample: Vec<f64>,
}

impl<'a> Rooms<'a> {
    fn of(report: &'a Report) -> Self {
        let mut per_sample = vec![None; report.stages.len()];
        if let Some(first) = per_sample.first_mut() {
            *first = Some(1.0);
        }
        // A row stands before those that get what it gives.
        for (index, stage) in report.stages.iter().enumerate() {
            let (Some(here), taken) = (per_sample[index], stage.buffer.taken) else { continue };
            for next in &stage.next {
                let gave = report.stages[*next].buffer.entered as f64;
                per_sample[*next].get_or_insert(if taken == 0 { here } else { here * gave / taken as f64 });
            }
        }
        Rooms { report, per_sample: per_sample.into_iter().map(|of| of.unwrap_or(1.0).max(f64::EPSILON)).collect() }
    }

    /// The room of a stage as it is.
    fn room(&self, index: usize) -> f64 {
        let recent = &self.report.stages[index].recent;
        recent.rate / recent.shares.busy.max(f64::EPSILON) / self.per_sample[index]
    }

    /// What comes in; `None` where those who bring it wait for the limit, so that nobody knows how much there is.
    fn comes_in(&self, limit: usize) -> Option<f64> {
        let first = self.report.stages.first()?;
        let leads = |index: &usize| *index == limit || self.leads_to(*index, limit);
        let mut on_the_way = (0..self.report.stages.len()).filter(leads).map(|index| &self.report.stages[index]);
        if on_the_way.all(|stage| stage.overflow == Overflow::Block) {
            return None;
        }
        let settled = first.buffer.entered.saturating_sub(first.buffer.waiting) as f64;
        Some(first.recent.rate * settled / first.buffer.taken.max(1) as f64)
    }

    /// Returns true if what the one gives comes to the other, at last.
    fn leads_to(&self, from: usize, to: usize) -> bool {
        let mut seen = vec![false; self.report.stages.len()];
        let mut left = vec![from];
        while let Some(stage) = left.pop() {
            for next in &self.report.stages[stage].next {
                if *next == to {
                    return true;
                }
                if !std::mem::replace(&mut seen[*next], true) {
                    left.push(*next);
                }
            }
        }
        false
    }

    /// What the stages around the limiting one do.
    fn in_words(&self, limit: usize) -> String {
        let mut text = String::new();
        let buffer = &self.report.stages[limit].buffer;
        if buffer.dropped() > 0 {
            let of_all = buffer.dropped() as f64 / buffer.entered.max(1) as f64;
            text += &format!(" In front of it {} of all samples were dropped.", percent(of_all));
        }
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for (index, other) in self.report.stages.iter().enumerate().filter(|(_, other)| other.workers > 0) {
            let shares = other.recent.shares;
            if shares.blocked > SOME && self.leads_to(index, limit) {
                before.push(format!("{} ({})", other.name, percent(shares.blocked)));
            }
            if shares.starved > SOME && self.leads_to(limit, index) {
                behind.push(format!("{} ({})", other.name, percent(shares.starved)));
            }
        }
        if !before.is_empty() {
            text += &format!(" Those in front of it wait for room: {}.", listed(&before));
        }
        if !behind.is_empty() {
            text += &format!(" Those behind it wait for samples: {}.", listed(&behind));
        }
        text
    }
}

impl Report {
    /// Returns what limits the pipeline, from what its workers did in the last ten seconds (of one that has ended: in the
    /// last ten seconds before its end), and what another worker of that stage would give.
    ///
    /// The stage that limits is the one that would let the fewest samples through if its workers were busy all the time, and
    /// they are. The longest call alone says nothing: a stage with several workers, or of which few samples get so far, may
    /// well be the one with the most room; and in front of a stage that drops, another may be busy all the time and let more
    /// through than that.
    pub fn explain(&self) -> Explanation {
        let rate_at_end =
            self.stages.iter().rev().find(|stage| stage.next.is_empty()).map_or(0.0, |end| end.recent.rate);
        let nothing = |text: String| Explanation {
            limit: None,
            confidence: 1.0,
            rate: rate_at_end,
            with_another_worker: None,
            then: None,
            present: None,
            alternatives: Vec::new(),
            text,
        };
        if let Some(paused) = self.stages.iter().find(|stage| stage.paused) {
            return nothing(format!("{} is paused: it takes nothing until it is resumed.", paused.name));
        }
        // What stands in a call for so long has no rate, while those in front of it may go on and drop.
        let hangs = |stage: &&StageReport| stage.recent.rate == 0.0 && stage.recent.shares.busy >= FULL;
        if let Some(stage) = self.stages.iter().find(hangs) {
            let text = format!("{}, and has taken nothing in the last ten seconds.", at_work(stage));
            return Explanation { limit: Some(stage.name.clone()), rate: 0.0, ..nothing(text) };
        }
        let rooms = Rooms::of(self);
        let moves = |index: &usize| self.stages[*index].workers > 0 && self.stages[*index].recent.rate > 0.0;
        let mut tightest: Vec<usize> = (0..self.stages.len()).filter(moves).collect();
        tightest.sort_by(|a, b| rooms.room(*a).total_cmp(&rooms.room(*b)));
        let Some(&limit) = tightest.first() else { return nothing(self.nothing_moves()) };
        let (stage, busy) = (&self.stages[limit], self.busy(limit));
        if busy < FULL {
            return nothing(format!(
                "What comes in limits: {} a second go through, and {}, the stage with the least room, is busy for {} of the \
                 time.",
                rate(rate_at_end),
                stage.name,
                percent(busy)
            ));
        }

        let (room, now) = (rooms.room(limit), stage.recent.rate);
        let second = tightest.get(1).map(|second| (*second, rooms.room(*second)));
        let confidence = second.map_or(1.0, |(_, second)| ((second / room - 1.0) / CLEAR).clamp(0.0, 1.0));
        // Another worker does what those that are there do, until another stage lets no more through, or all is taken.
        let workers = stage.workers as f64;
        let mut bounds = vec![(room * (workers + 1.0) / workers, Some(limit))];
        bounds.extend(second.map(|(second, room)| (room, Some(second))));
        bounds.extend(rooms.comes_in(limit).map(|comes| (comes, None)));
        let (least, then) = bounds.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((room, Some(limit)));
        let then_rate = (least * rooms.per_sample[limit]).max(now);

        let mut text = format!(
            "{} {}: {} busy for {} of the time, and it takes {} samples a second.",
            stage.name,
            if confidence >= 0.5 { "limits" } else { "seems to limit" },
            if stage.workers == 1 { "its worker is".to_owned() } else { format!("its {} workers are", stage.workers) },
            percent(busy),
            rate(now),
        );
        text += &rooms.in_words(limit);
        if let Some((second, _)) = second.filter(|_| confidence < 0.5) {
            text += &format!(" {} has hardly more room.", self.stages[second].name);
        }
        text += &match then {
            Some(then) if then == limit => {
                format!(
                    " Another worker, if a core is free for it, would take {} a second, and still limit.",
                    rate(then_rate)
                )
            }
            _ if then_rate < 1.02 * now => " Another worker of it would change little.".to_owned(),
            Some(then) => format!(
                " With another worker, if a core is free for it, {} a second would go through, and {} would limit.",
                rate(then_rate),
                self.stages[then].name
            ),
            None => format!(
                " With another worker, if a core is free for it, all that comes would be taken: {} a second.",
                rate(then_rate)
            ),
        };
        Explanation {
            limit: Some(stage.name.clone()),
            confidence,
            rate: now,
            with_another_worker: Some(then_rate),
            then: then.map(|then| self.stages[then].name.clone()),
            present: None,
            alternatives: Vec::new(),
            text,
        }
    }

    fn busy(&self, stage: usize) -> f64 {
        self.stages[stage].recent.shares.busy
    }

    /// What there is to say where nothing was taken lately.
    fn nothing_moves(&self) -> String {
        let at_work: Vec<String> = self.stages.iter().filter(|stage| stage.counts.in_flight > 0).map(at_work).collect();
        match (self.outcome, at_work.is_empty()) {
            (Outcome::Running, false) => {
                format!("Nothing has been taken in the last ten seconds: {}.", at_work.join(", "))
            }
            (Outcome::Running, true) => "Nothing has come in for ten seconds.".to_owned(),
            (outcome, _) => format!("The pipeline has {outcome}, and nothing was taken in its last ten seconds."),
        }
    }
}

/// What a stage has in work, and for how long where that is known.
fn at_work(stage: &StageReport) -> String {
    let working = stage.doing.iter().filter(|worker| worker.doing == Doing::Working);
    match working.filter_map(|worker| worker.since).max() {
        Some(longest) => format!("{} works on a sample for {:.0} s", stage.name, longest.as_secs_f64()),
        None => format!("{} has {} in work", stage.name, stage.counts.in_flight),
    }
}

/// The first of a list, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate if rate >= 10.0 => format!("{rate:.1}"),
        rate => format!("{rate:.2}"),
    }
}
